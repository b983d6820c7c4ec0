"""Entries for parties under observation: what reached them is recorded, their memory is written out at the end.

The launcher starts these functions instead of the party's own. Nothing here knows a canary: it would then be in the
memory that is searched for it.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import os
import re
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import BinaryIO

from splittraining.local.child import Order
from splittraining.local.launcher import Launcher
from splittraining.party.wire.channel import Channel
from splittraining.party.wire.counters import Counters
from splittraining.party.wire.goodbye import Goodbye

RECORDED = "received.bin"
MEMORY = "memory.bin"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_CHUNK_BYTES = 1 << 20
_ENTRY_BYTES = 8
_EXCLUSIVE, _SWAPPED = 1 << 56, 1 << 62


def make_known_bytes(size_bytes: int) -> bytes:
    """Returns the bytes that clients under observation draw instead of random ones."""
    return hashlib.shake_128(b"a secret of the clients").digest(size_bytes)


class RecordingChannel:
    """A channel that writes every frame its party receives to a file, and keeps none."""

    def __init__(self, channel: Channel, file: BinaryIO) -> None:
        self._channel = channel
        self._file = file
        self.peer = channel.peer

    @property
    def counters(self) -> Counters:
        return self._channel.counters

    def send(self, frame: bytes) -> None:
        self._channel.send(frame)

    def recv(self, timeout_s: float | None = None) -> bytes:
        frame = self._channel.recv(timeout_s)
        self._file.write(frame)
        return frame

    def close(self, goodbye: Goodbye) -> None:
        self._channel.close(goodbye)

    def abort(self) -> None:
        self._channel.abort()


class SpyLauncher(Launcher):
    """Starts every party under observation; what is seen goes to `folder/<party>/`.

    Args:
        folder: Where it goes.
        environment: Of the parties.
        searched: Parties whose memory is written out, hundreds of megabytes each.
    """

    def __init__(self, folder: Path, *, environment: dict[str, str], searched: Collection[str] = ("server",)) -> None:
        super().__init__(environment=environment)
        self._folder = folder
        self._searched = searched

    def start(self, name: str, order: Order) -> ForkServerProcess:
        seen = self._folder / name
        seen.mkdir(parents=True)
        target = "support.spying:run_observed"
        return super().start(
            name, replace(order, target=target, arguments=(*order.arguments, str(seen), name in self._searched))
        )


def run_observed(document_path: str, seen_folder: str, is_searched: bool, *, debug: bool) -> int:  # noqa: FBT001
    """Runs one party under observation; a client draws known bytes for random ones."""
    from splittraining.party.main import run_party  # noqa: PLC0415 - only in the party's own process
    from splittraining.party.training.session import Surroundings  # noqa: PLC0415

    seen = Path(seen_folder)
    is_client = seen.name != "server"
    with (seen / RECORDED).open("wb", buffering=0) as recorded:
        surroundings = Surroundings(wrap_channel=lambda channel: RecordingChannel(channel, recorded))
        if is_client:
            surroundings = replace(surroundings, entropy=make_known_bytes)
        code = run_party(document_path, debug=debug, surroundings=surroundings)
    del surroundings
    gc.collect()
    if is_searched:
        write_own_memory(seen / MEMORY)
    return code


def write_own_memory(path: Path) -> None:
    """Writes what this process has in its memory to a file, but for what it only shares with the process it came from.

    Pages that came by the fork and were never written to are what the parent imported: five times as much as the rest,
    and no place for a canary, since the parent began as a program of its own and was told none.
    """
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    with (
        Path("/proc/self/mem").open("rb", buffering=0) as memory,
        Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap,
        path.open("wb", buffering=0) as out,
    ):
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw.(.)", line)
            if match is None or "[vvar" in line:
                continue
            region = int(match[1], 16), int(match[2], 16)
            for start, end in [region] if match[3] == "s" else list(_list_own(pagemap, *region)):
                _copy(memory, out, start, end)


def _list_own(pagemap: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields from where to where no other process has a private region's pages.

    Source: https://docs.kernel.org/admin-guide/mm/pagemap.html
    """
    pagemap.seek(start // _PAGE_BYTES * _ENTRY_BYTES)
    entries = array("Q", pagemap.read((end - start) // _PAGE_BYTES * _ENTRY_BYTES))
    numbered = enumerate(bool(entry & (_EXCLUSIVE | _SWAPPED)) for entry in entries)
    for is_own, pages in itertools.groupby(numbered, key=lambda pair: pair[1]):
        if is_own:
            numbers = [number for number, _ in pages]
            yield start + numbers[0] * _PAGE_BYTES, start + (numbers[-1] + 1) * _PAGE_BYTES


def _copy(memory: BinaryIO, out: BinaryIO, start: int, end: int) -> None:
    memory.seek(start)
    while start < end:
        try:
            chunk = memory.read(min(_CHUNK_BYTES, end - start))
        except OSError:
            return  # a region that the kernel does not let even its owner read, such as a guard page
        if not chunk:
            return
        out.write(chunk)
        start += len(chunk)


def find_canaries(path: Path, canaries: Sequence[tuple[str, bytes]]) -> list[str]:
    """Returns the names of the canaries that occur in a file."""
    content = path.read_bytes()
    return [name for name, canary in canaries if canary in content]


def find_in_folder(folder: Path, canaries: Sequence[tuple[str, bytes]]) -> list[str]:
    """Returns `file: name` of every canary that occurs in a file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [f"{path.name}: {name}" for path in files for name in find_canaries(path, canaries)]
