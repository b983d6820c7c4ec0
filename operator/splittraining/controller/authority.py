"""The site's CA as all replicas share it: one Secret, made once by the leader, read by everybody, never overwritten."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from splittraining.pki.bundle import TrustBundle
from splittraining.pki.ca import SiteCA

CERTIFICATE_KEY = "ca.crt"
PRIVATE_KEY = "ca.key"

_LOG = logging.getLogger(__name__)


class Vault(Protocol):
    """Where the CA is kept."""

    async def read(self) -> Mapping[str, bytes] | None:
        """Returns what is kept, or None where nothing is."""
        ...

    async def create(self, data: Mapping[str, bytes]) -> bool:
        """Keeps something where nothing is kept yet; False where something was there already."""
        ...


class Authority:
    """The CA of the moment.

    Args:
        vault: Where it is kept.
        trust_domain: The trust domain that it signs for.
        clock: Returns the moment, with time zone.
        on_replaced: Called when another CA is found than the one before.
    """

    def __init__(
        self,
        vault: Vault,
        *,
        trust_domain: str,
        clock: Callable[[], datetime],
        on_replaced: Callable[[], None],
    ) -> None:
        self._vault = vault
        self._trust_domain = trust_domain
        self._clock = clock
        self._on_replaced = on_replaced
        self._current: tuple[SiteCA, TrustBundle] | None = None

    @property
    def ca(self) -> SiteCA | None:
        """The CA; None until it was read once."""
        return self._current[0] if self._current else None

    @property
    def bundle(self) -> TrustBundle | None:
        """The roots that parties are given; None until the CA was read once."""
        return self._current[1] if self._current else None

    @property
    def bundle_pem(self) -> str:
        """The same as text; empty until the CA was read once."""
        return self._current[1].render_pem().decode("ascii") if self._current else ""

    async def refresh(self) -> bool:
        """Reads the CA again; returns whether there is one.

        One that has vanished stays in use here: the leader makes a new one, and only that one counts.

        Raises:
            IdentityRefused: if what is kept is no CA.
        """
        kept = await self._vault.read()
        if kept is None:
            return False
        ca = SiteCA.parse(
            self._trust_domain,
            key_pem=kept.get(PRIVATE_KEY, b""),
            certificate_pem=kept.get(CERTIFICATE_KEY, b""),
        )
        self._take(ca)
        return True

    async def ensure(self) -> None:
        """Reads the CA, and makes one where there is none: the leader's part.

        Raises:
            IdentityRefused: if what is kept is no CA. It is never overwritten: every running party stands on it.
        """
        if await self.refresh():
            return
        ca = SiteCA.create(self._trust_domain, now=self._clock())
        if await self._vault.create({CERTIFICATE_KEY: ca.certificate_pem, PRIVATE_KEY: ca.key_pem}):
            _LOG.info("made the CA of trust domain %s", self._trust_domain)
        # What counts is what is kept, whoever put it there.
        await self.refresh()

    def _take(self, ca: SiteCA) -> None:
        before = self.ca
        if before is not None and before.certificate_pem == ca.certificate_pem:
            return
        self._current = ca, TrustBundle({self._trust_domain: (ca.certificate_pem,)})
        if before is not None:
            _LOG.warning(
                "the CA of trust domain %s was replaced: parties that run hold certificates of the one before",
                self._trust_domain,
                extra={"reason": "CAReplaced"},
            )
            self._on_replaced()
