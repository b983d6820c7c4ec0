"""Blobs between two parties that a third carries: what it cannot read, forge, reorder, replay or redirect."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splittraining.api.errors import IdentityRefused, ProtocolViolation
from splittraining.pki.sealing import (
    MAX_PIECE_BYTES,
    PIECE_OVERHEAD_BYTES,
    SealedBlob,
    SealInfo,
    SealingKey,
    open_sealed,
    parse_sealing_key,
    seal,
    sign_sealing_key,
    verify_sealing_key,
)
from support.pki_support import a_site, an_identity, join_bundles

NOW = datetime(2031, 5, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
INFO = SealInfo("HandOff", DIGEST, generation=1, sender="st-mary", recipient="st-john", sequence=3)

SITE = a_site(now=NOW)
SENDER = SITE.admit("st-mary")
SERVER = SITE.admit("server")
KEY = SealingKey.generate()


def a_blob(data=b"weights " * 100, *, info=INFO, credentials=SENDER, key=KEY, piece_bytes=256):
    return seal(data, recipient_public=key.public_bytes, info=info, credentials=credentials, piece_bytes=piece_bytes)


def opened(blob, *, info=INFO, key=KEY, sender=SENDER.identity, leaf_pem=SENDER.leaf_pem, now=NOW):
    return open_sealed(blob, key=key, info=info, sender=sender, sender_leaf_pem=leaf_pem, bundle=SITE.bundle, now=now)


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=600), piece_bytes=st.integers(1, 300))
def test_what_was_sealed_comes_out_again(data, piece_bytes):
    blob = a_blob(data, piece_bytes=piece_bytes)
    assert opened(blob) == data
    assert sum(map(len, blob.pieces)) == len(data) + PIECE_OVERHEAD_BYTES * len(blob.pieces)


def test_a_blob_above_the_cap_is_cut_into_pieces():
    data = bytes(MAX_PIECE_BYTES + 1)
    blob = a_blob(data, piece_bytes=MAX_PIECE_BYTES)
    assert [len(piece) - PIECE_OVERHEAD_BYTES for piece in blob.pieces] == [MAX_PIECE_BYTES, 1]
    assert opened(blob) == data


def test_the_carrier_sees_none_of_the_content():
    canary = b"canary-weights-of-st-mary"
    blob = a_blob(canary * 20)
    assert all(canary[:8] not in piece for piece in blob.pieces)


def test_another_recipient_cannot_open_a_blob():
    with pytest.raises(IdentityRefused, match=r"sealed HandOff number 3 of generation 1 is not signed .* this key"):
        opened(a_blob(), key=SealingKey.generate())


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "ClientSecret"},
        {"contract_digest": "sha256:" + "b" * 64},
        {"generation": 2},
        {"recipient": "st-paul"},
        {"sequence": 4},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_blob_for_another_purpose_is_refused(change):
    with pytest.raises(IdentityRefused, match="is not signed by its sender"):
        opened(a_blob(), info=replace(INFO, **change))


def test_a_blob_that_the_server_forged_is_refused():
    forged = a_blob(b"poisoned", credentials=SERVER)
    with pytest.raises(IdentityRefused, match="is not signed by its sender"):
        opened(forged)
    with pytest.raises(IdentityRefused, match=r"presented as party 'st-mary' .* is for .*party/server"):
        opened(forged, leaf_pem=SERVER.leaf_pem)
    with pytest.raises(IdentityRefused, match="came from party 'server'"):
        opened(forged, sender=SERVER.identity, leaf_pem=SERVER.leaf_pem)


def test_a_blob_of_a_sender_of_another_run_is_refused():
    earlier = SITE.admit("st-mary", run_id="run-0")
    with pytest.raises(IdentityRefused, match="run/run-0/party/st-mary"):
        opened(a_blob(credentials=earlier), leaf_pem=earlier.leaf_pem)


def test_a_blob_with_an_expired_senders_leaf_is_refused():
    with pytest.raises(IdentityRefused, match="expired at"):
        opened(a_blob(), now=NOW + timedelta(days=2))


@pytest.mark.parametrize(
    "tamper",
    [
        lambda pieces: pieces[:-1],
        lambda pieces: pieces[1:],
        lambda pieces: pieces[:0],
        lambda pieces: (pieces[1], pieces[0], *pieces[2:]),
        lambda pieces: (*pieces, pieces[0]),
        lambda pieces: (bytes([pieces[0][0] ^ 1]) + pieces[0][1:], *pieces[1:]),
    ],
    ids=["last dropped", "first dropped", "all dropped", "reordered", "repeated", "one bit changed"],
)
def test_tampered_pieces_are_refused(tamper):
    blob = a_blob()
    assert len(blob.pieces) > 2
    with pytest.raises(IdentityRefused, match="is not signed by its sender"):
        opened(SealedBlob(tamper(blob.pieces), blob.signature))


def test_pieces_are_bound_to_their_place_even_if_the_sender_signs_them_elsewhere():
    # The signature covers the order; HPKE's own info must hold it as well, so that neither stands alone.
    halves = a_blob(b"ab", piece_bytes=1)
    swapped = seal_again(halves.pieces[::-1])
    with pytest.raises(IdentityRefused, match="cannot be opened with this party's key"):
        opened(swapped)


def seal_again(pieces):
    from splittraining.pki import sealing  # noqa: PLC0415 - the private statement, only to play a broken sender

    statement = sealing._render_statement(pieces, INFO, KEY.public_bytes)
    signature = SENDER.key.sign(statement, sealing.ec.ECDSA(sealing.hashes.SHA256()))
    return SealedBlob(tuple(pieces), signature)


def test_a_garbled_signature_is_refused():
    with pytest.raises(IdentityRefused, match="is not signed by its sender"):
        opened(SealedBlob(a_blob().pieces, b"no signature"))


def signed_key(*, credentials=SENDER, generation=1, contract_digest=DIGEST):
    return sign_sealing_key(credentials, KEY.public_bytes, contract_digest=contract_digest, generation=generation)


def verified(signed, *, expected=SENDER.identity, generation=1, contract_digest=DIGEST, bundle=SITE.bundle):
    return verify_sealing_key(
        signed, bundle=bundle, expected=expected, contract_digest=contract_digest, generation=generation, now=NOW
    )


def test_a_signed_sealing_key_survives_its_json_form():
    assert verified(parse_sealing_key(signed_key().as_json_object())) == KEY.public_bytes


def test_a_sealing_key_of_another_generation_or_contract_is_refused():
    for signed in (signed_key(generation=2), signed_key(contract_digest="sha256:" + "b" * 64)):
        with pytest.raises(IdentityRefused, match=f"not signed by it for generation 1 of contract {DIGEST}"):
            verified(signed)


def test_a_sealing_key_that_the_server_swapped_for_its_own_is_refused():
    own = SealingKey.generate().public_bytes
    swapped = replace(signed_key(), public_key=own)
    with pytest.raises(IdentityRefused, match="not signed by it"):
        verified(swapped)
    signed_as_server = sign_sealing_key(SERVER, own, contract_digest=DIGEST, generation=1)
    with pytest.raises(IdentityRefused, match="presented as party 'st-mary'"):
        verified(replace(signed_as_server, party="st-mary"))


def test_a_sealing_key_is_verified_in_the_trust_domain_of_the_party_document():
    beta = a_site("beta.example", now=NOW)
    impostor = beta.admit("st-mary")
    with pytest.raises(IdentityRefused):
        verified(signed_key(credentials=impostor), bundle=join_bundles(SITE, beta))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        {},
        {**signed_key().as_json_object(), "extra": ""},
        {**signed_key().as_json_object(), "leaf": 5},
        {**signed_key().as_json_object(), "signature": "not base64!"},
    ],
    ids=["nothing", "text", "empty", "one field more", "a number", "not base64"],
)
def test_a_malformed_sealing_key_is_refused(value):
    with pytest.raises(ProtocolViolation):
        parse_sealing_key(value)


def test_a_useless_recipient_key_is_refused():
    # The all-zero point makes every shared secret zero: anybody could open what is sealed to it.
    with pytest.raises(IdentityRefused, match="cannot be sealed to"):
        seal(b"x", recipient_public=bytes(32), info=INFO, credentials=SENDER)


def test_a_sealing_key_does_not_show_itself():
    assert KEY.private_key.private_bytes_raw().hex() not in repr(KEY)
    assert repr(KEY) == "SealingKey(...)"
    assert an_identity("st-mary") == SENDER.identity
