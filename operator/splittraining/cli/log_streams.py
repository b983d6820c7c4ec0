"""Logs of several pods as one: line by line, in the order of their times or as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from splittraining.cluster.errors import NotFound

MOST_LINE_BYTES = 1 << 16
"""Where a line without an end is cut: what a pod writes is not to fill the reader's memory."""

_WAITING_LINES = 256
"""Lines that may wait to be shown; then the pods' streams wait."""


async def split_lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yields the lines of a stream, without their ends; bytes that are no UTF-8 are shown as such."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode(errors="backslashreplace")
        while len(rest) > MOST_LINE_BYTES:
            yield rest[:MOST_LINE_BYTES].decode(errors="backslashreplace")
            rest = rest[MOST_LINE_BYTES:]
    if rest:
        yield rest.decode(errors="backslashreplace")


async def merge_by_time(streams: Mapping[str, AsyncIterator[str]]) -> AsyncIterator[tuple[str, str]]:
    """Merges streams whose lines begin with a time, each in order, into one in order; the times are cut off.

    Args:
        streams: Lines as the API server gives them with ``timestamps``, by party.

    Yields:
        Party and line.
    """
    heads: dict[str, tuple[str, str]] = {}

    async def advance(party: str) -> None:
        try:
            line = await anext(streams[party])
        except StopAsyncIteration:
            heads.pop(party, None)
            return
        moment, _, text = line.partition(" ")
        heads[party] = (_order(moment), text)

    for party in streams:
        await advance(party)
    while heads:
        party = min(heads, key=lambda name: heads[name][0])
        text = heads[party][1]
        yield party, text
        await advance(party)


class Interleaved:
    """Lines of streams that begin at any time, as they come. Open until everything is read."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_WAITING_LINES)
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, party: str, lines: AsyncIterator[str]) -> None:
        """Begins to read one more stream."""
        self._tasks.add(asyncio.create_task(self._read(party, lines)))

    @property
    def is_drained(self) -> bool:
        """Whether every stream that was added has ended and is read."""
        return self._lines.empty() and all(task.done() for task in self._tasks)

    async def wait(self, timeout_s: float) -> Sequence[tuple[str, str]]:
        """Returns the lines that are there, or none after a while.

        Raises:
            ApiError: if a stream broke.
        """
        try:
            async with asyncio.timeout(timeout_s):
                lines = [await self._lines.get()]
        except TimeoutError:
            lines = []
        while not self._lines.empty():
            lines.append(self._lines.get_nowait())
        for task in [task for task in self._tasks if task.done()]:
            task.result()
        return lines

    async def close(self) -> None:
        """Stops reading."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _read(self, party: str, lines: AsyncIterator[str]) -> None:
        with contextlib.suppress(NotFound):  # deleted while it was read: what it wrote is told
            async for line in lines:
                await self._lines.put((party, line))


def _order(moment: str) -> str:
    """Returns a time in a form that sorts as text: fractions of a second are written without their trailing zeros."""
    whole, _, fraction = moment.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
