"""Who signs behind the door: this site's own CA, or, in a cluster, whatever issuer its settings name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from splittraining.api.identity import PartyIdentity
from splittraining.pki.ca import DEFAULT_LEAF_DURATION, SiteCA


class Signer(Protocol):
    """Turns a request into a leaf."""

    async def sign(self, csr_pem: bytes, identity: PartyIdentity) -> bytes:
        """Returns the leaf in PEM.

        Raises:
            IdentityRefused: if the request asks for anything but exactly this identity's leaf.
        """
        ...


class CASigner:
    """Signs with a CA in this process.

    Args:
        ca: The CA.
        duration: How long its leaves are valid.
        clock: Returns the moment, with time zone.
    """

    def __init__(
        self, ca: SiteCA, *, duration: timedelta = DEFAULT_LEAF_DURATION, clock: Callable[[], datetime]
    ) -> None:
        self._ca = ca
        self._duration = duration
        self._clock = clock

    async def sign(self, csr_pem: bytes, identity: PartyIdentity) -> bytes:
        """Returns the leaf in PEM."""
        return self._ca.issue_leaf(csr_pem, identity, duration=self._duration, now=self._clock())
