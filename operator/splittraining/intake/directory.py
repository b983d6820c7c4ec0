"""Who may have which leaf: what a credential claims, and the protocol that answers for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from splittraining.api.identity import PartyIdentity


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """The credential stands for one identity by itself: a leaf, or a token made for one party."""

    identity: PartyIdentity


@dataclass(frozen=True, slots=True)
class PodClaims:
    """The credential stands for a pod; which party that is, and whether it lives, only the cluster knows."""

    issuer: str
    audience: str
    namespace: str
    service_account: str
    pod_name: str
    pod_uid: str


Claims = IdentityClaims | PodClaims


class Directory(Protocol):
    """Says who may have which leaf, now: a credential may be genuine and its party gone."""

    async def find_party(self, claims: Claims) -> PartyIdentity | None:
        """Returns the one party that the claims stand for, or None where they stand for nobody admitted."""
        ...


class StaticDirectory:
    """A fixed set of parties, known before the door opens: all that a local run needs.

    Args:
        parties: Who is admitted.
    """

    def __init__(self, parties: Iterable[PartyIdentity]) -> None:
        self._parties = frozenset(parties)

    async def find_party(self, claims: Claims) -> PartyIdentity | None:
        """Returns the claimed party if it is admitted. Pods mean nothing here."""
        if isinstance(claims, IdentityClaims) and claims.identity in self._parties:
            return claims.identity
        return None
