"""How the waiting loop hears of what happens in other threads and in signal handlers: through a file descriptor."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Wakeup:
    """A pipe whose read end becomes ready when somebody rings. Safe in signal handlers and from any thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._read

    def ring(self) -> None:
        """Makes it ready. A full pipe is ready already."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"\0")

    def silence(self) -> None:
        """Makes it wait for the next ring."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Closes both ends."""
        os.close(self._read)
        os.close(self._write)


class Mailbox(Generic[Item]):
    """Items from other threads, in order.

    Args:
        wakeup: Rung for every item.
    """

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._items: collections.deque[Item] = collections.deque()

    def put(self, item: Item) -> None:
        """Adds an item and never blocks."""
        self._items.append(item)
        self._wakeup.ring()

    def drain(self) -> Iterator[Item]:
        """Yields what is there."""
        while self._items:
            yield self._items.popleft()


class StopWish:
    """The user's wish to stop. A second wish means at once.

    Args:
        wakeup: Rung for every wish.
    """

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self.count = 0

    def express(self) -> None:
        """Notes a wish to stop; safe in a signal handler."""
        self.count += 1
        self._wakeup.ring()


@contextlib.contextmanager
def heed_signals(wish: StopWish) -> Iterator[None]:
    """Turns Ctrl-C and SIGTERM into wishes, so that no exception tears the run apart at an unlucky place."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        wish.express()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
