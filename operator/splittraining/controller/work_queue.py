"""The work queue: each key at most once, one worker per key at a time, later if asked, later still after errors."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 15.0
"""Short enough that an API server that is back after an outage finds its trainings looked at soon."""
LONGEST_ASKED_PAUSE_S = 60.0
"""Longest pause that is kept because the API server asks for it."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The one thing that work is about: a training's namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class QueueObserver(Protocol):
    """What a queue tells those who measure it."""

    def observe_depth(self, depth: int) -> None:
        """Takes how many keys wait, those that wait for their time left out."""
        ...

    def observe_wait(self, seconds: float) -> None:
        """Takes how long a key waited for a worker."""
        ...


class _Deaf:
    def observe_depth(self, depth: int) -> None:
        """Takes nothing."""

    def observe_wait(self, seconds: float) -> None:
        """Takes nothing."""


class WorkQueue:
    """Keys that wait for a worker. For one event loop: nothing here is locked.

    A key that is added while a worker has it waits until that worker is done, so that what it missed is seen after.

    Args:
        monotonic_s: Returns seconds that never go back.
        observer: Told how deep the queue is and how long keys wait.
    """

    def __init__(self, *, monotonic_s: Callable[[], float], observer: QueueObserver | None = None) -> None:
        self._monotonic_s = monotonic_s
        self._observer = observer or _Deaf()
        self._waiting: dict[Key, float] = {}  # insertion order is the order of service
        self._working: dict[Key, float] = {}
        self._again: dict[Key, float] = {}  # added while a worker had them
        self._due: dict[Key, float] = {}
        self._schedule: list[tuple[float, Key]] = []  # a heap; entries that _due does not confirm are stale
        self._failures: dict[Key, tuple[str, int]] = {}
        self._backing_off: set[Key] = set()
        self._changed = asyncio.Event()

    def add(self, key: Key) -> None:
        """Puts a key at the end, unless it waits already or backs off: an error that events repeat must not spin."""
        if key in self._backing_off:
            return
        self._due.pop(key, None)
        self._put(key, since=self._monotonic_s())

    def add_after(self, key: Key, delay_s: float) -> None:
        """Puts a key on the queue later, or sooner than was planned; never later than was planned."""
        due = self._monotonic_s() + max(0.0, delay_s)
        if key in self._waiting or key in self._again or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._schedule, (due, key))
        self._changed.set()

    def forget(self, key: Key) -> None:
        """Drops what is remembered of a key that is gone for good."""
        self._due.pop(key, None)
        self._failures.pop(key, None)
        self._backing_off.discard(key)

    async def get(self) -> Key:
        """Returns the next key once there is one; the caller must call `done` or `failed` afterwards."""
        while (key := self.take()) is None:
            await self._sleep()
        return key

    def take(self) -> Key | None:
        """Returns the next key if there is one now; the caller must call `done` or `failed` afterwards."""
        now = self._monotonic_s()
        self._move_due(now)
        if not self._waiting:
            return None
        key, since = next(iter(self._waiting.items()))
        del self._waiting[key]
        self._working[key] = now
        self._observer.observe_wait(now - since)
        self._observer.observe_depth(len(self._waiting))
        return key

    def done(self, key: Key) -> None:
        """Gives a key back after success: earlier failures are forgotten."""
        self._failures.pop(key, None)
        self._give_back(key)

    def failed(self, key: Key, *, trouble: str = "", asked_pause_s: float = 0.0) -> float:
        """Gives a key back after an error; returns after how many seconds it comes again.

        Args:
            key: The key.
            trouble: What went wrong: another trouble than the last time means that there was progress in between.
            asked_pause_s: How long the API server asked to be left alone.
        """
        known, failures = self._failures.get(key, (trouble, 0))
        failures = failures if known == trouble else 0
        self._failures[key] = trouble, failures + 1
        own_pause_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(failures, 16))
        delay_s: float = max(own_pause_s, min(asked_pause_s, LONGEST_ASKED_PAUSE_S))
        self._give_back(key, delay_s=delay_s)
        return delay_s

    @property
    def depth(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._waiting)

    def get_oldest_age_s(self) -> float:
        """Returns for how long the oldest key has waited or been worked on; 0 where there is none."""
        starts = [*self._waiting.values(), *self._working.values(), *self._again.values()]
        return self._monotonic_s() - min(starts) if starts else 0.0

    def _put(self, key: Key, *, since: float) -> None:
        if key in self._working:
            self._again.setdefault(key, since)
        elif key not in self._waiting:
            self._waiting[key] = since
            self._observer.observe_depth(len(self._waiting))
            self._changed.set()

    def _give_back(self, key: Key, *, delay_s: float = 0.0) -> None:
        del self._working[key]
        since = self._again.pop(key, None)
        if delay_s:
            self._due.pop(key, None)
            self.add_after(key, delay_s)
            self._backing_off.add(key)
        elif since is not None:
            self._due.pop(key, None)
            self._put(key, since=since)

    def _move_due(self, now: float) -> None:
        while self._schedule and self._schedule[0][0] <= now:
            due, key = heapq.heappop(self._schedule)
            if self._due.get(key) == due:
                del self._due[key]
                self._backing_off.discard(key)
                self._put(key, since=now)

    async def _sleep(self) -> None:
        timeout = max(0.0, self._schedule[0][0] - self._monotonic_s()) if self._schedule else None
        self._changed.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            pass
