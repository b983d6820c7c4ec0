"""A green light must mean that work moves; and the doors that show it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from splittraining.controller.health import Health, Limits
from splittraining.controller.metrics import Metrics
from splittraining.controller.probes import build_metrics_routes, build_probe_routes, serving
from support.clocks import ManualClock

LIMITS = Limits(heartbeat_s=15, oldest_key_s=60, watch_age_s=1500)


def make_health(clock: ManualClock, *, oldest_s: float = 0, ages_s: dict[str, float] | None = None) -> Health:
    return Health(
        monotonic_s=clock.monotonic_s,
        limits=LIMITS,
        get_oldest_key_age_s=lambda: oldest_s,
        get_watch_ages_s=lambda: ages_s or {},
    )


def test_all_is_well_while_everything_moves() -> None:
    clock = ManualClock()
    health = make_health(clock, oldest_s=60, ages_s={"Pod": 1500})
    clock.advance(14)
    assert health.find_troubles() == []


def stand_still(clock: ManualClock) -> Health:
    health = make_health(clock)
    clock.advance(16)
    return health


TROUBLES: dict[str, tuple[Callable[[ManualClock], Health], str]] = {
    "a loop that stands still": (stand_still, "the event loop has not turned for 16 s"),
    "a key that nobody finishes": (
        lambda clock: make_health(clock, oldest_s=61),
        "the oldest key of the queue is 61 s old",
    ),
    "a deaf watch whose list fails too": (
        lambda clock: make_health(clock, ages_s={"Job": 3, "Pod": 1501}),
        "nothing was heard of Pod for 1501 s",
    ),
}


@pytest.mark.parametrize("case", TROUBLES)
def test_trouble_is_told(case: str) -> None:
    make, expected = TROUBLES[case]
    assert make(ManualClock()).find_troubles() == [expected]


def test_a_beat_makes_up_for_a_pause() -> None:
    clock = ManualClock()
    health = stand_still(clock)
    health.beat()
    assert health.find_troubles() == []


def test_a_replica_is_ready_once_all_its_parts_are() -> None:
    health = make_health(ManualClock())
    health.set_ready("the CA", ready=False)
    health.set_ready("starting", ready=True)
    assert health.find_unready() == ["the CA"]
    health.set_ready("the CA", ready=True)
    assert health.find_unready() == []


async def fetch(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


def test_the_doors_say_what_health_says() -> None:
    async def ask() -> list[tuple[int, str]]:
        clock = ManualClock()
        health = make_health(clock)
        async with serving(build_probe_routes(health), port=0, host="127.0.0.1") as port:
            answers = [await fetch(port, "/readyz"), await fetch(port, "/healthz")]
            health.set_ready("starting", ready=True)
            clock.advance(16)
            answers += [await fetch(port, "/readyz"), await fetch(port, "/healthz")]
        return answers

    assert asyncio.run(ask()) == [
        (503, "not ready: starting\n"),
        (200, "ok\n"),
        (200, "ok\n"),
        (503, "the event loop has not turned for 16 s\n"),
    ]


def test_metrics_are_served_as_prometheus_reads_them() -> None:
    async def ask() -> tuple[int, str]:
        async with serving(build_metrics_routes(Metrics().render), port=0, host="127.0.0.1") as port:
            return await fetch(port, "/metrics")

    status, text = asyncio.run(ask())
    assert status == 200
    assert "# TYPE splittraining_leading gauge" in text
