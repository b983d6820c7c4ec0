"""What the listening end makes of a TLS session, and the dialing end of gRPC's words.

Real handshakes stand in tests/contract.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from splittraining.api.errors import ContractMismatch, IdentityRefused, PeerFailed, ProtocolViolation
from splittraining.party.wire.goodbye import Goodbye
from splittraining.party.wire.grpc_client import DialFailure, decide_refusal
from splittraining.party.wire.tls import verify_client
from support.pki_support import a_site, an_identity, current_time

SITE = a_site()
LEAF = SITE.admit("st-mary").leaf_pem
EXPECTED = {name: an_identity(name) for name in ("st-mary", "north")}
SERVER = an_identity("server")


def a_session(**changes: list[bytes]) -> dict[str, list[bytes]]:
    """What gRPC says of a session that is as it should be."""
    session = {
        "transport_security_type": [b"ssl"],
        "ssl_tls_version": [b"TLSv1.3"],
        "ssl_session_reused": [b"false"],
        "peer_spiffe_id": [an_identity("st-mary").spiffe_id.encode()],
        "x509_pem_cert": [LEAF],
    }
    return session | changes


def test_the_expected_client_is_admitted_under_its_name() -> None:
    peer = verify_client(a_session(), expected=EXPECTED, bundle=SITE.bundle, now=current_time())
    assert peer.identity == an_identity("st-mary")
    assert peer.leaf.not_after > current_time()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ssl_tls_version": [b"TLSv1.2"]}, r"a stream over TLSv1.2.*Allowed: TLSv1.3"),
        ({"ssl_tls_version": []}, "a stream over no TLS"),
        ({"ssl_session_reused": [b"true"]}, "session reused: true"),
        ({"ssl_session_reused": []}, "session reused: unknown"),
        ({"peer_spiffe_id": []}, "without exactly one SPIFFE id"),
        ({"peer_spiffe_id": [an_identity(n).spiffe_id.encode() for n in EXPECTED]}, "without exactly one SPIFFE id"),
        ({"peer_spiffe_id": [an_identity("server").spiffe_id.encode()]}, "a stream of .*party/server"),
        ({"peer_spiffe_id": [an_identity("north").spiffe_id.encode()]}, "presented as party 'north'.*is for"),
        ({"peer_spiffe_id": [b"st-mary"]}, "a stream of st-mary"),
        ({"x509_pem_cert": []}, "cannot be read"),
        ({"x509_pem_cert": [LEAF, LEAF]}, "cannot be read"),
        ({"x509_pem_cert": [a_site().admit("st-mary").leaf_pem]}, "not issued by a CA of trust domain"),
    ],
)
def test_whatever_is_not_as_it_should_be_is_refused(changes: dict[str, list[bytes]], message: str) -> None:
    with pytest.raises(IdentityRefused, match=message):
        verify_client(a_session(**changes), expected=EXPECTED, bundle=SITE.bundle, now=current_time())


def _details(error: str) -> str:
    return Goodbye(reason=error, message="because", exit_code=67, party="server").model_dump_json(by_alias=True)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (DialFailure("PERMISSION_DENIED", _details("IdentityRefused")), IdentityRefused),
        (DialFailure("PERMISSION_DENIED", _details("ContractMismatch")), ContractMismatch),
        (DialFailure("PERMISSION_DENIED", _details("Interrupted")), PeerFailed),
        (DialFailure("UNAVAILABLE", "Tls handshake failed: WRONG_VERSION_NUMBER"), IdentityRefused),
        (DialFailure("UNAVAILABLE", "Hostname Verification Check failed."), IdentityRefused),
        (DialFailure("UNAVAILABLE", "Socket closed", "it closed the connection"), IdentityRefused),
        (DialFailure("UNIMPLEMENTED", "Method not found!"), ProtocolViolation),
        (DialFailure("UNAVAILABLE", "Socket closed"), None),
        (DialFailure("UNAVAILABLE", "Connection refused"), None),
        (DialFailure("UNAVAILABLE", "errors resolving certificate.svc: not found", host="certificate.svc"), None),
        (DialFailure("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!"), None),
    ],
)
def test_a_failed_dial_is_a_refusal_or_worth_another_try(failure: DialFailure, kind: type[Exception] | None) -> None:
    error = decide_refusal(failure, SERVER)
    assert error is None if kind is None else isinstance(error, kind)


def test_grpc_that_was_imported_too_early_is_named() -> None:
    script = (
        "import os, grpc\n"
        "os.environ.pop('GRPC_SSL_CIPHER_SUITES', None)\n"
        "from splittraining.party.wire.tls import prepare_grpc_environment\n"
        "prepare_grpc_environment()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: grpc was imported before GRPC_SSL_CIPHER_SUITES was set" in done.stderr
