"""The work queue: no key twice, one worker per key, later when asked, back-off after errors."""

from __future__ import annotations

import asyncio

import pytest

from splittraining.controller.work_queue import (
    FIRST_BACKOFF_S,
    LONGEST_ASKED_PAUSE_S,
    LONGEST_BACKOFF_S,
    Key,
    WorkQueue,
)
from support.clocks import ManualClock

XRAY, MRI = Key("trial", "chest-xray"), Key("trial", "mri")


class Ear:
    """Remembers what a queue told it."""

    def __init__(self) -> None:
        self.depths: list[int] = []
        self.waits: list[float] = []

    def observe_depth(self, depth: int) -> None:
        self.depths.append(depth)

    def observe_wait(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> WorkQueue:
    return WorkQueue(monotonic_s=clock.monotonic_s)


def test_a_key_that_is_added_twice_is_served_once(queue: WorkQueue) -> None:
    for key in (XRAY, MRI, XRAY):
        queue.add(key)
    assert [queue.take(), queue.take(), queue.take()] == [XRAY, MRI, None]


def test_a_key_that_a_worker_has_waits_until_that_worker_is_done(queue: WorkQueue) -> None:
    queue.add(XRAY)
    assert queue.take() == XRAY
    queue.add(XRAY)
    queue.add(XRAY)
    assert queue.take() is None
    queue.done(XRAY)
    assert [queue.take(), queue.take()] == [XRAY, None]


def test_a_key_without_news_does_not_come_again(queue: WorkQueue) -> None:
    queue.add(XRAY)
    queue.take()
    queue.done(XRAY)
    assert queue.take() is None


def test_a_key_comes_after_the_time_it_was_given(queue: WorkQueue, clock: ManualClock) -> None:
    queue.add_after(XRAY, 10)
    clock.advance(9.9)
    assert queue.take() is None
    clock.advance(0.2)
    assert queue.take() == XRAY


def test_the_earlier_of_two_times_holds(queue: WorkQueue, clock: ManualClock) -> None:
    queue.add_after(XRAY, 5)
    queue.add_after(XRAY, 30)
    queue.add_after(XRAY, 2)
    clock.advance(2.5)
    assert queue.take() == XRAY
    queue.done(XRAY)
    clock.advance(60)
    assert queue.take() is None


def test_an_event_is_not_kept_waiting_by_a_later_time_and_takes_its_place(queue: WorkQueue, clock: ManualClock) -> None:
    queue.add_after(XRAY, 30)
    queue.add(XRAY)
    assert queue.take() == XRAY
    queue.done(XRAY)
    clock.advance(60)
    assert queue.take() is None


def test_a_time_that_is_given_by_the_worker_itself_holds(queue: WorkQueue, clock: ManualClock) -> None:
    queue.add(XRAY)
    queue.take()
    queue.add_after(XRAY, 3)
    queue.done(XRAY)
    clock.advance(4)
    assert queue.take() == XRAY


def test_errors_back_off_up_to_a_bound_and_success_forgets_them(queue: WorkQueue, clock: ManualClock) -> None:
    delays = []
    queue.add(XRAY)
    for _ in range(8):
        assert queue.take() == XRAY
        delays.append(queue.failed(XRAY))
        clock.advance(delays[-1])
    assert delays[:3] == [FIRST_BACKOFF_S, 2 * FIRST_BACKOFF_S, 4 * FIRST_BACKOFF_S]
    assert delays[-1] == LONGEST_BACKOFF_S
    assert queue.take() == XRAY
    queue.done(XRAY)
    queue.add(XRAY)
    queue.take()
    assert queue.failed(XRAY) == FIRST_BACKOFF_S


@pytest.mark.parametrize(("asked_s", "pause_s"), [(0.1, FIRST_BACKOFF_S), (7, 7), (3600, LONGEST_ASKED_PAUSE_S)])
def test_the_api_server_gets_the_pause_that_it_asks_for(
    queue: WorkQueue, clock: ManualClock, asked_s: float, pause_s: float
) -> None:
    queue.add(XRAY)
    queue.take()
    assert queue.failed(XRAY, asked_pause_s=asked_s) == pause_s
    clock.advance(pause_s - 0.01)
    assert queue.take() is None
    clock.advance(0.02)
    assert queue.take() == XRAY


def test_another_trouble_than_the_last_time_begins_at_the_shortest_pause(queue: WorkQueue, clock: ManualClock) -> None:
    delays = []
    queue.add(XRAY)
    for trouble in ("PATCH a", "PATCH a", "PATCH b", "PATCH b", "PATCH a"):
        assert queue.take() == XRAY
        delays.append(queue.failed(XRAY, trouble=trouble) / FIRST_BACKOFF_S)
        clock.advance(60)
    assert delays == [1, 2, 1, 2, 1]


def test_events_do_not_cut_a_back_off_short(queue: WorkQueue, clock: ManualClock) -> None:
    queue.add(XRAY)
    queue.take()
    queue.add(XRAY)
    delay_s = queue.failed(XRAY)
    queue.add(XRAY)
    assert queue.take() is None
    clock.advance(delay_s)
    assert queue.take() == XRAY


def test_a_failing_key_does_not_hold_up_another(queue: WorkQueue) -> None:
    queue.add(XRAY)
    queue.take()
    queue.failed(XRAY)
    queue.add(MRI)
    assert queue.take() == MRI


def test_the_oldest_key_counts_from_when_it_began_to_wait_or_to_be_worked_on(
    queue: WorkQueue, clock: ManualClock
) -> None:
    assert queue.get_oldest_age_s() == 0
    queue.add(XRAY)
    clock.advance(3)
    assert queue.get_oldest_age_s() == 3
    queue.take()
    clock.advance(5)
    assert queue.get_oldest_age_s() == 5
    queue.done(XRAY)
    assert queue.get_oldest_age_s() == 0


def test_depth_and_waits_are_told(clock: ManualClock) -> None:
    ear = Ear()
    queue = WorkQueue(monotonic_s=clock.monotonic_s, observer=ear)
    queue.add(XRAY)
    queue.add(MRI)
    clock.advance(2)
    queue.take()
    assert ear.depths == [1, 2, 1]
    assert ear.waits == [2]


def test_a_sleeping_worker_is_woken_by_each_way_of_adding() -> None:
    async def work() -> list[Key]:
        loop = asyncio.get_running_loop()
        queue = WorkQueue(monotonic_s=loop.time)
        workers = [asyncio.create_task(queue.get()) for _ in range(2)]
        loop.call_soon(queue.add, XRAY)
        loop.call_soon(queue.add_after, MRI, 0.001)
        return sorted(await asyncio.gather(*workers))

    assert asyncio.run(work()) == [XRAY, MRI]
