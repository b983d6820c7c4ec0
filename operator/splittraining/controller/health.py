"""Whether this process still works: pure rules over what it last did. A green light must mean that work moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

HEARTBEAT_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each thing may take before the process counts as stuck."""

    heartbeat_s: float = 15.0
    """Since the event loop last turned."""
    oldest_key_s: float = 180.0
    """Since the oldest key began to wait or be worked on: several times what all deadlines of one look add up to."""
    watch_age_s: float = 1500.0
    """Since a kind's last event or list: a list comes every ten minutes, whatever the watch does."""


class Health:
    """Collects signs of life, and judges them.

    Args:
        monotonic_s: Returns seconds that never go back.
        limits: How long each thing may take.
        get_oldest_key_age_s: Age of the oldest key of the queue.
        get_watch_ages_s: Age of the last event or list, by kind.
    """

    def __init__(
        self,
        *,
        monotonic_s: Callable[[], float],
        limits: Limits | None = None,
        get_oldest_key_age_s: Callable[[], float] = lambda: 0.0,
        get_watch_ages_s: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._monotonic_s = monotonic_s
        self._limits = limits or Limits()
        self._get_oldest_key_age_s = get_oldest_key_age_s
        self._get_watch_ages_s = get_watch_ages_s
        self._beat_s = monotonic_s()
        self._unready: dict[str, None] = {"starting": None}

    def beat(self) -> None:
        """Notes that the event loop turned."""
        self._beat_s = self._monotonic_s()

    def set_ready(self, part: str, *, ready: bool) -> None:
        """Notes whether one part of the process can serve."""
        if ready:
            self._unready.pop(part, None)
        else:
            self._unready[part] = None

    def find_troubles(self) -> list[str]:
        """Returns why the process should be ended and started anew; empty while it works."""
        troubles = []
        silence = self._monotonic_s() - self._beat_s
        if silence > self._limits.heartbeat_s:
            troubles.append(f"the event loop has not turned for {silence:.0f} s")
        age = self._get_oldest_key_age_s()
        if age > self._limits.oldest_key_s:
            troubles.append(f"the oldest key of the queue is {age:.0f} s old")
        troubles += [
            f"nothing was heard of {kind} for {age:.0f} s"
            for kind, age in sorted(self._get_watch_ages_s().items())
            if age > self._limits.watch_age_s
        ]
        return troubles

    def find_unready(self) -> list[str]:
        """Returns the parts that cannot serve yet; empty once all can."""
        return sorted(self._unready)
