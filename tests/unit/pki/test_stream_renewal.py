"""Whose signature lets a stream last longer: exactly the peer's new leaf, for this stream alone, while it is valid."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from splittraining.api.errors import IdentityRefused
from splittraining.pki.keys import build_alternative_names, generate_key
from splittraining.pki.renewal import sign_renewal, verify_renewal
from support.pki_support import a_site, an_identity

SITE = a_site()
SERVER = an_identity("server")
BINDING = bytes(range(64))


def verify(**changes: Any) -> object:
    renewed = SITE.admit("st-mary")
    signature = sign_renewal(renewed, recipient=SERVER, binding=BINDING)
    given: dict[str, Any] = {
        "leaf_pem": renewed.leaf_pem,
        "signature": signature,
        "bundle": SITE.bundle,
        "sender": renewed.identity,
        "recipient": SERVER,
        "binding": BINDING,
        "now": SITE.now,
    }
    return verify_renewal(**(given | changes)).not_after


def test_the_peers_own_new_leaf_is_accepted_until_it_ends() -> None:
    assert verify() == SITE.admit("st-mary").not_after


def a_leaf_of_another_key() -> bytes:
    return SITE.forge(build_alternative_names(an_identity("st-mary")), key=generate_key())


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        pytest.param({"binding": bytes(64)}, "did not sign for this stream", id="signed for another stream"),
        pytest.param({"recipient": an_identity("north")}, "did not sign", id="signed for another recipient"),
        pytest.param({"signature": b"no"}, "did not sign", id="not a signature"),
        pytest.param({"leaf_pem": a_leaf_of_another_key()}, "did not sign", id="a leaf whose key did not sign"),
        pytest.param({"sender": an_identity("north")}, "presented as party 'north'", id="another party's leaf"),
        pytest.param({"sender": an_identity("st-mary", run_id="run-2")}, "of run 'run-2'", id="another run's leaf"),
        pytest.param({"now": SITE.now + timedelta(hours=25)}, "expired", id="a leaf that has ended"),
        pytest.param({"bundle": a_site().bundle}, "not issued by a CA", id="another authority's leaf"),
        pytest.param({"leaf_pem": b"no"}, "cannot be read", id="no certificate"),
    ],
)
def test_anything_else_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(IdentityRefused, match=match):
        verify(**changes)


def test_a_signature_does_not_serve_in_the_other_direction() -> None:
    server = SITE.admit("server")
    with pytest.raises(IdentityRefused, match="did not sign for this stream"):
        verify(
            leaf_pem=server.leaf_pem,
            signature=sign_renewal(server, recipient=SERVER, binding=BINDING),
            sender=SERVER,
            recipient=an_identity("st-mary"),
        )
