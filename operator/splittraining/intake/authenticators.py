"""Who is asking: the authenticators of first certificates by file token, and of everything later by leaf.

The third, for pods, is `projected_token`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from splittraining.api.errors import IdentityRefused
from splittraining.api.identity import PartyIdentity
from splittraining.intake.directory import Claims, Directory, IdentityClaims
from splittraining.intake.errors import Unauthenticated
from splittraining.pki.bundle import TrustBundle
from splittraining.pki.verify import Leaf, parse_claimed_identity, verify_leaf

_TOKEN_BYTES = 32


class TokenAuthenticator(Protocol):
    """Says what a bearer token stands for."""

    async def authenticate(self, token: str) -> Claims:
        """Returns what the token proves.

        Raises:
            Unauthenticated: if it proves nothing.
        """
        ...


class OneTimeFileToken:
    """One random token per party of a local run, in a file that only its user can read; good for one certificate.

    Only digests are kept. A token counts as used as soon as it was shown, whatever became of the request: whoever
    shows it a second time may have read it on its way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # tokens are issued in another thread than the door's
        self._identities: dict[bytes, PartyIdentity] = {}
        self._used: set[bytes] = set()

    def issue(self, identity: PartyIdentity, path: Path) -> None:
        """Writes a fresh token for one party into a new file of mode 0600.

        Raises:
            FileExistsError: if the file is there already: it may be readable by others.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token)
        with self._lock:
            self._identities[_digest(token)] = identity

    async def authenticate(self, token: str) -> Claims:
        """Returns the party that the token was made for, once."""
        given = _digest(token)
        with self._lock:
            identity = None
            # All digests are compared, each in constant time: the time says nothing about a near miss.
            for known, candidate in self._identities.items():
                if hmac.compare_digest(known, given):
                    identity = candidate
            if identity is None:
                raise Unauthenticated(
                    "the token is not known here",
                    allowed="a token that this very run has written",
                    remedy="start the run again; its tokens are made anew each time",
                )
            if given in self._used:
                raise Unauthenticated(
                    f"the token of party {identity.party!r} of run {identity.run_id!r} was used before",
                    allowed="one certificate for each token",
                    remedy="start the run again; if nothing was started twice, somebody else has read the token's file",
                )
            self._used.add(given)
        return IdentityClaims(identity)


class LeafAuthenticator:
    """Says whose leaf a TLS peer holds: renewals and reports.

    Args:
        directory: Who is admitted now: a leaf outlives its training.
        fetch_bundle: Returns the roots of the moment.
        clock: Returns the moment, with time zone.
    """

    def __init__(
        self, directory: Directory, *, fetch_bundle: Callable[[], TrustBundle], clock: Callable[[], datetime]
    ) -> None:
        self._directory = directory
        self._fetch_bundle = fetch_bundle
        self._clock = clock

    async def authenticate(self, leaf_pem: bytes) -> Leaf:
        """Returns the verified leaf of an admitted party.

        The TLS handshake has checked the chain against all roots as one pool, and the time once at the start of a
        connection that may last; both are checked again here, against the roots of that party's own trust domain.

        Raises:
            Unauthenticated: if the certificate is not a valid leaf.
            IdentityRefused: if it is one, of nobody admitted here.
        """
        try:
            claimed = parse_claimed_identity(leaf_pem)
            leaf = verify_leaf(leaf_pem, bundle=self._fetch_bundle(), expected=claimed, now=self._clock())
        except IdentityRefused as error:
            raise Unauthenticated(error.given, allowed=error.allowed, remedy=error.remedy) from error
        if await self._directory.find_party(IdentityClaims(claimed)) != claimed:
            raise IdentityRefused(
                f"the leaf of {claimed.spiffe_id} was given",
                allowed="leaves of parties that run here now",
                remedy="let the party get a fresh certificate for this run; one of an earlier run is never accepted",
            )
        return leaf


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
