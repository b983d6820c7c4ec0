"""Blobs that one party seals for another though the server carries them, signed so that the server cannot forge one.

HPKE (RFC 9180, base mode, X25519, HKDF-SHA256, AES-128-GCM) gives secrecy towards the one recipient. Base mode says
nothing about the sender, so the sender's leaf signs a digest over all ciphertext and over what the blob is for. The
recipient's key is fresh in each generation and signed by the recipient's leaf (`sealing_keys`).

Limit: who controls the CA of a party's trust domain can be that party. A CA per institution removes that.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from splittraining.api.base import render_canonical_json
from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.credentials import Credentials
from splittraining.pki.sealing_keys import (
    SealingKey,
    SignedSealingKey,
    parse_sealing_key,
    sign_sealing_key,
    verify_sealing_key,
)
from splittraining.pki.verify import verify_leaf

__all__ = [
    "MAX_PIECE_BYTES",
    "PIECE_OVERHEAD_BYTES",
    "SealInfo",
    "SealedBlob",
    "SealingKey",
    "SignedSealingKey",
    "open_sealed",
    "parse_sealing_key",
    "seal",
    "sign_sealing_key",
    "verify_sealing_key",
]

MAX_PIECE_BYTES = 64 * 1024 * 1024
"""HPKE here is one-shot: a piece is in memory twice, so larger blobs are cut."""
PIECE_OVERHEAD_BYTES = 48
"""What sealing adds to each piece: a 32 byte encapsulated key and a 16 byte tag."""

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)


@dataclass(frozen=True, slots=True)
class SealInfo:
    """What a blob is, for whom and from whom, and which one: both ends must mean the same."""

    kind: str
    """For example `HandOff`, `ClientSecret`, `Evaluation`."""
    contract_digest: str
    generation: int
    sender: str
    recipient: str
    sequence: int


@dataclass(frozen=True, slots=True)
class SealedBlob:
    """Ciphertext in pieces, and the sender's signature over all of them."""

    pieces: tuple[bytes, ...]
    signature: bytes


def seal(
    data: bytes,
    *,
    recipient_public: bytes,
    info: SealInfo,
    credentials: Credentials,
    piece_bytes: int = MAX_PIECE_BYTES,
) -> SealedBlob:
    """Seals data to a recipient's verified public key and signs it as the sender.

    Args:
        data: What only the recipient may read.
        recipient_public: The recipient's key, as ``verify_sealing_key`` returned it.
        info: What the blob is; the recipient opens it with an equal one.
        credentials: The sender's.
        piece_bytes: Plaintext bytes per piece, at most ``MAX_PIECE_BYTES``.

    Raises:
        IdentityRefused: if the recipient's key is one to which nothing can be sealed.
    """
    assert 0 < piece_bytes <= MAX_PIECE_BYTES
    count = max(1, -(-len(data) // piece_bytes))
    view = memoryview(data)
    try:
        public_key = x25519.X25519PublicKey.from_public_bytes(recipient_public)
        pieces = tuple(
            _SUITE.encrypt(
                view[index * piece_bytes : (index + 1) * piece_bytes], public_key, info=_render_info(info, index, count)
            )
            for index in range(count)
        )
    except ValueError as error:
        raise _refuse(info, "cannot be sealed to the recipient's key: it is no usable X25519 key") from error
    statement = _render_statement(pieces, info, recipient_public)
    return SealedBlob(pieces, credentials.key.sign(statement, ec.ECDSA(hashes.SHA256())))


def open_sealed(
    blob: SealedBlob,
    *,
    key: SealingKey,
    info: SealInfo,
    sender: PartyIdentity,
    sender_leaf_pem: bytes,
    bundle: TrustBundle,
    now: datetime,
) -> bytes:
    """Opens a blob after checking that exactly this sender sealed it, for this key and this purpose.

    Args:
        blob: As it came.
        key: The recipient's own key of this generation.
        info: What the blob must be.
        sender: Who must have sealed it.
        sender_leaf_pem: The sender's leaf, from wherever it came: it is verified here.
        bundle: Roots by trust domain.
        now: The moment, with time zone.

    Raises:
        IdentityRefused: if the sender is another one, a piece is missing, added, moved or changed, or the blob was
            sealed for another key or another purpose.
    """
    leaf = verify_leaf(sender_leaf_pem, bundle=bundle, expected=sender, now=now)
    if sender.party != info.sender:
        raise _refuse(info, f"came from party {sender.party!r}")
    statement = _render_statement(blob.pieces, info, key.public_bytes)
    try:
        leaf.public_key.verify(blob.signature, statement, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise _refuse(info, "is not signed by its sender for these pieces, this key and this purpose") from error
    count = len(blob.pieces)
    try:
        return b"".join(
            _SUITE.decrypt(piece, key.private_key, info=_render_info(info, index, count))
            for index, piece in enumerate(blob.pieces)
        )
    except (InvalidTag, ValueError) as error:
        raise _refuse(info, "is signed by its sender but cannot be opened with this party's key") from error


def _render_info(info: SealInfo, index: int, count: int) -> bytes:
    purpose = {"label": "splittraining/sealed-piece/v1", **asdict(info), "index": index, "count": count}
    return render_canonical_json(purpose)


def _render_statement(pieces: tuple[bytes, ...], info: SealInfo, recipient_public: bytes) -> bytes:
    return render_canonical_json(
        {
            "label": "splittraining/sealed-blob/v1",
            **asdict(info),
            "recipientKey": recipient_public.hex(),
            "pieces": [hashlib.sha256(piece).hexdigest() for piece in pieces],
        }
    )


def _refuse(info: SealInfo, given: str) -> IdentityRefused:
    return IdentityRefused(
        f"the sealed {info.kind} number {info.sequence} of generation {info.generation} {given}",
        allowed=f"a blob sealed and signed by party {info.sender!r} for party {info.recipient!r}",
        remedy="look at who carries messages between these parties: a blob was changed, swapped or replayed on its way",
    )
