"""What a party is doing, as its heartbeats tell it: the trainer marks, the heartbeat threads read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProgressMark:
    """One moment of progress, on the clock of the party that made it."""

    step: int
    phase: str
    at_s: float


class Progress:
    """The latest mark of one party, shared by all its channels.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mark = ProgressMark(0, "starting", clock())

    def mark(self, step: int, phase: str) -> None:
        """Records that the trainer got on. One assignment: readers need no lock."""
        self._mark = ProgressMark(step, phase, self._clock())

    @property
    def latest(self) -> ProgressMark:
        """The latest mark."""
        return self._mark

    def compute_idle_milliseconds(self) -> int:
        """Returns the milliseconds since the latest mark."""
        return max(0, int((self._clock() - self._mark.at_s) * 1000))
