"""TLS contexts of the intake and of its callers: version 1.3 only, no session resumed, keys from memory."""

from __future__ import annotations

import os
import ssl

from splittraining.api.errors import IdentityRefused


def build_server_context(leaf_pem: bytes, key_pem: bytes, *, client_roots_pem: bytes) -> ssl.SSLContext:
    """Builds the context of a door that asks for a client certificate and does not insist on one.

    Who comes for a first certificate has none yet; what needs one checks the peer's leaf itself, exactly.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # A resumed session skips the chain check: after a CA was removed, a ticket from before would still open the door.
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=client_roots_pem.decode("ascii"))
    _load_chain(context, leaf_pem, key_pem)
    return context


def build_client_context(
    roots_pem: bytes, *, leaf_pem: bytes | None = None, key_pem: bytes | None = None
) -> ssl.SSLContext:
    """Builds the context of a caller that trusts exactly the given roots and checks the door's name.

    Raises:
        IdentityRefused: if the roots cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=roots_pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise IdentityRefused(
            "the trust bundle for the intake holds no certificate that can be read",
            allowed="X.509 certificates in PEM",
            remedy="look at the file that intake.bundlePath of the party document names",
        ) from error
    if leaf_pem is not None and key_pem is not None:
        _load_chain(context, leaf_pem, key_pem)
    return context


def _load_chain(context: ssl.SSLContext, leaf_pem: bytes, key_pem: bytes) -> None:
    """Loads a key into a context through memory: Python's ssl takes only file names, and a key touches no disk here."""
    descriptor = os.memfd_create("splittraining-leaf", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as memory:
        memory.write(key_pem + b"\n" + leaf_pem)
        memory.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
