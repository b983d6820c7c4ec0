"""What the processes of one test run share: one of them makes it, and the last one takes it away."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def shared(place: Path, make: Callable[[], object], remove: Callable[[], object]) -> Iterator[None]:
    """Holds something that is made for the first holder and removed after the last.

    Args:
        place: A file that stands for it; it holds the number of holders.
        make: Called while there is no holder; the others wait.
        remove: Called when there is none any more.
    """
    with locked(place):
        if not _read_count(place):
            make()
        place.write_text(str(_read_count(place) + 1))
    try:
        yield
    finally:
        with locked(place):
            place.write_text(str(_read_count(place) - 1))
            if not _read_count(place):
                remove()


@contextmanager
def locked(place: Path, *, alone: bool = True) -> Iterator[None]:
    """Holds a lock that many may hold together, or one alone. Whoever waits to be alone lets nobody else in before."""
    with (
        place.with_name(f"{place.name}.door").open("w") as door,
        place.with_name(f"{place.name}.lock").open("w") as lock,
    ):
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


def _read_count(place: Path) -> int:
    return int(place.read_text()) if place.exists() else 0
