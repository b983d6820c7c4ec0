"""The rules of TLS between parties, and gRPC's environment, which must stand before grpc is imported.

grpc itself is not imported here: `prepare_grpc_environment` is what a process calls first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.verify import Leaf, verify_leaf

CIPHER_SUITES_VARIABLE = "GRPC_SSL_CIPHER_SUITES"
CIPHER_SUITES = "ECDHE-RSA-AES128-GCM-SHA256"
"""A suite of TLS 1.2 that needs an RSA leaf. Ours are ECDSA, so 1.2 has none left; those of 1.3 are not touched."""


def prepare_grpc_environment() -> None:
    """Sets what gRPC reads once, when it starts. Call it before anything imports grpc.

    Raises:
        RuntimeError: if grpc was imported before, without these settings.
    """
    if "grpc" in sys.modules and os.environ.get(CIPHER_SUITES_VARIABLE) != CIPHER_SUITES:
        raise RuntimeError(f"grpc was imported before {CIPHER_SUITES_VARIABLE} was set: it would take TLS 1.2")
    os.environ[CIPHER_SUITES_VARIABLE] = CIPHER_SUITES
    # Refused handshakes are this project's own errors; gRPC's lines on stderr would say them again, without the party.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def require_grpc_environment() -> None:
    """Checks that `prepare_grpc_environment` was called.

    Raises:
        RuntimeError: if it was not.
    """
    if os.environ.get(CIPHER_SUITES_VARIABLE) != CIPHER_SUITES:
        raise RuntimeError("call prepare_grpc_environment() before grpc is imported")


@dataclass(frozen=True, slots=True)
class AdmittedPeer:
    """A client that may have a stream."""

    identity: PartyIdentity
    leaf: Leaf


def verify_client(
    auth_context: Mapping[str, Sequence[bytes]],
    *,
    expected: Mapping[str, PartyIdentity],
    bundle: TrustBundle,
    now: datetime,
) -> AdmittedPeer:
    """Verifies what gRPC says of a TLS session against what this run allows. Everything not wanted is refused.

    Args:
        auth_context: gRPC's properties of the session.
        expected: The clients of this run by name.
        bundle: Roots by trust domain.
        now: The moment, with time zone.

    Raises:
        IdentityRefused: says what was given and what is allowed.
    """
    version, reused = _get_one(auth_context, "ssl_tls_version"), _get_one(auth_context, "ssl_session_reused")
    if version != "TLSv1.3" or reused != "false":
        raise IdentityRefused(
            f"a stream over {version or 'no TLS'}, session reused: {reused or 'unknown'}",
            allowed="TLSv1.3 with a full handshake",
            remedy="connect with TLS 1.3 and without a session cache",
        )
    spiffe_id = _get_one(auth_context, "peer_spiffe_id")
    by_id = {identity.spiffe_id: identity for identity in expected.values()}
    if spiffe_id not in by_id:
        raise IdentityRefused(
            f"a stream of {spiffe_id or 'a party without exactly one SPIFFE id'}",
            allowed=", ".join(by_id),
            remedy="let the party get its certificate for this run and under this name",
        )
    identity = by_id[spiffe_id]
    leaf_pem = _get_one(auth_context, "x509_pem_cert").encode()
    # gRPC pools the roots of all trust domains; here only those of this party's own count.
    return AdmittedPeer(identity, verify_leaf(leaf_pem, bundle=bundle, expected=identity, now=now))


def _get_one(auth_context: Mapping[str, Sequence[bytes]], name: str) -> str:
    values = auth_context.get(name, ())
    return values[0].decode("utf-8", errors="replace") if len(values) == 1 else ""
