"""The Lease: never two that lead, whatever stands still. Time is pretended, and so is the API server."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from splittraining.cluster.errors import AlreadyExists, Conflict, NotFound, ServerFailed
from splittraining.cluster.lease import Lease, LeaseLost, LeaseTimes, watch_deadline

TIMES = LeaseTimes(duration_s=15, deadline_s=10, period_s=2)
BEGIN = datetime(2026, 1, 2, tzinfo=UTC)


class FakeClient:
    """One Lease, kept as the API server would."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.is_away = False
        self.before_put: Callable[[], None] = lambda: None

    async def call(self, method: str, path: str, *, body: Any = None, timeout_s: float | None = None) -> dict[str, Any]:
        assert timeout_s is not None, "every call has an end"
        if self.is_away:
            raise ServerFailed(f"{method} {path}", "away")
        if method == "GET":
            if self.lease is None:
                raise NotFound(path, "no")
            return copy.deepcopy(self.lease)
        if method == "POST" and self.lease is not None:
            raise AlreadyExists(path, "there")
        if method == "PUT":
            self.before_put()
            assert self.lease is not None
            if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise Conflict(path, "modified")
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)


class Clock:
    """Time that goes on when somebody sleeps; `on_sleep` may do things meanwhile."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.on_sleep: Callable[[], Awaitable[None] | None] = lambda: None

    def read(self) -> float:
        return self.s

    async def sleep(self, seconds: float) -> None:
        self.s += seconds
        done = self.on_sleep()
        if done is not None:
            await done
        await asyncio.sleep(0)


def candidate(client: FakeClient, clock: Clock, identity: str) -> Lease:
    return Lease(
        client,  # type: ignore[arg-type]
        "system",
        "splittraining-controller",
        identity=identity,
        times=TIMES,
        monotonic_s=clock.read,
        now=lambda: BEGIN + timedelta(seconds=clock.s),
        sleep=clock.sleep,
    )


def test_the_first_one_leads_and_the_second_waits():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        first, second = candidate(client, clock, "a"), candidate(client, clock, "b")
        await first.acquire()
        assert client.lease is not None
        assert client.lease["spec"]["holderIdentity"] == "a"
        assert not await second._try_within(5)
        clock.s += TIMES.duration_s - 1
        assert not await second._try_within(5)
        clock.s += 1
        assert await second._try_within(5)
        assert client.lease["spec"] | {"renewTime": "", "acquireTime": ""} == {
            "holderIdentity": "b", "leaseDurationSeconds": 15, "leaseTransitions": 1, "renewTime": "", "acquireTime": ""
        }  # fmt: skip

    asyncio.run(run())


def test_a_leader_that_renews_is_not_replaced():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        first, second = candidate(client, clock, "a"), candidate(client, clock, "b")
        await first.acquire()
        for _ in range(30):
            clock.s += TIMES.period_s
            assert await first._try_within(5)
            assert not await second._try_within(5)

    asyncio.run(run())


def test_a_leader_whose_api_server_is_away_stops_before_anybody_else_may_begin():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        lease = candidate(client, clock, "a")
        await lease.acquire()
        led_from_s = clock.s
        client.is_away = True
        with pytest.raises(LeaseLost):
            await lease.hold()
        assert clock.s - led_from_s <= TIMES.deadline_s + TIMES.period_s < TIMES.duration_s

    asyncio.run(run())


def test_a_short_absence_of_the_api_server_is_survived():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        lease = candidate(client, clock, "a")
        await lease.acquire()
        away_until_s = clock.s + TIMES.deadline_s - TIMES.period_s
        end_at_s = clock.s + 60

        def go_on() -> None:
            client.is_away = clock.s < away_until_s
            if clock.s > end_at_s:
                client.is_away = True

        clock.on_sleep = go_on
        with pytest.raises(LeaseLost):
            await lease.hold()
        assert clock.s > end_at_s

    asyncio.run(run())


def test_a_leader_that_was_frozen_finds_another_one_and_stops_without_a_write():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        frozen, other = candidate(client, clock, "a"), candidate(client, clock, "b")
        await frozen.acquire()
        assert not await other._try_within(5)
        clock.s += TIMES.duration_s
        assert await other._try_within(5)
        version = client.version
        with pytest.raises(LeaseLost):
            await frozen.hold()
        assert client.version == version

    asyncio.run(run())


def test_who_loses_the_race_for_a_free_lease_does_not_lead():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        first, second = candidate(client, clock, "a"), candidate(client, clock, "b")
        await first.acquire()
        await first.release()

        def steal() -> None:
            client.before_put = lambda: None
            assert client.lease is not None
            client.version += 1
            client.lease["metadata"]["resourceVersion"] = str(client.version)

        client.before_put = steal
        assert not await second._try_within(5)
        assert await second._try_within(5)

    asyncio.run(run())


def test_a_released_lease_is_taken_at_once():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        first, second = candidate(client, clock, "a"), candidate(client, clock, "b")
        await first.acquire()
        await first.release()
        assert first.renewed_at_s is None
        assert await second._try_within(5)

    asyncio.run(run())


def test_releasing_does_not_take_another_ones_lease_away():
    async def run() -> None:
        client, clock = FakeClient(), Clock()
        first, second = candidate(client, clock, "a"), candidate(client, clock, "b")
        await first.acquire()
        await second._try_within(5)
        clock.s += TIMES.duration_s
        await second._try_within(5)
        await first.release()
        assert client.lease is not None
        assert client.lease["spec"]["holderIdentity"] == "b"

    asyncio.run(run())


def test_a_thread_ends_the_process_whose_loop_stands_still():
    ended: list[float] = []
    done = asyncio.Event()
    client, clock = FakeClient(), Clock()
    lease = candidate(client, clock, "a")

    async def run() -> None:
        await lease.acquire()
        loop = asyncio.get_running_loop()
        watch_deadline(lease, end=lambda: (ended.append(clock.s), loop.call_soon_threadsafe(done.set)), period_s=0.01)
        clock.s += TIMES.deadline_s
        await asyncio.wait_for(done.wait(), 10)

    asyncio.run(run())
    assert ended


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2, 2), (15, 10, 0)])
def test_times_that_let_two_lead_are_refused(times: tuple[float, float, float]):
    with pytest.raises(ValueError, match="allowed: duration > deadline > period > 0"):
        LeaseTimes(*times)
