"""A party that is refused never comes back, so the cluster is looked at again before one is."""

from __future__ import annotations

import asyncio

import pytest

from splittraining.api.identity import PartyIdentity
from splittraining.controller.intake import Bridge, PatientTokens
from splittraining.intake.directory import Claims, IdentityClaims
from splittraining.intake.errors import Unauthenticated, Unavailable
from support.clocks import ManualClock

CLAIMS = IdentityClaims(PartyIdentity("hospitals.example", "run-1", "st-mary"))


class Door:
    """Knows a token once the cluster was listed often enough."""

    def __init__(self, *, known_after: int) -> None:
        self.num_lists = 0
        self.known_after = known_after
        self.clock = ManualClock()
        self.tokens = PatientTokens(self, refresh=self.refresh, monotonic_s=self.clock.monotonic_s)

    async def authenticate(self, token: str) -> Claims:
        if self.num_lists < self.known_after:
            raise Unauthenticated(f"the token {token} is for another audience")
        return CLAIMS

    async def refresh(self) -> None:
        self.num_lists += 1

    def come(self) -> Claims:
        return asyncio.run(self.tokens.authenticate("abc"))


def test_a_known_party_costs_no_list() -> None:
    door = Door(known_after=0)
    assert door.come() == CLAIMS
    assert door.num_lists == 0


def test_a_party_that_is_newer_than_what_is_known_is_let_in_after_a_list() -> None:
    door = Door(known_after=1)
    assert door.come() == CLAIMS


def test_nonsense_is_refused_after_one_list_and_does_not_make_more() -> None:
    door = Door(known_after=9)
    with pytest.raises(Unauthenticated):
        door.come()
    for _ in range(3):
        with pytest.raises(Unavailable):
            door.come()
    assert door.num_lists == 1
    door.clock.advance(5)
    with pytest.raises(Unauthenticated):
        door.come()
    assert door.num_lists == 2


def test_a_cluster_that_cannot_be_asked_turns_nobody_away_for_good() -> None:
    async def fail() -> None:
        raise OSError("no route")

    async def ask() -> None:
        bridge = Bridge(asyncio.get_running_loop(), failures=(OSError,))
        await asyncio.to_thread(asyncio.run, bridge.run(fail()))

    with pytest.raises(Unavailable):
        asyncio.run(ask())
