"""Taking in what the reader of a volume sends: only files that were asked for, only as long as was announced.

No name that comes over the line becomes a path unless it is one of those that were asked for, letter by letter, so that
nothing outside the folder can be written whatever the other side says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splittraining.api.errors import ProtocolViolation, StorageFailed
from splittraining.api.usage import ClusterFailed
from splittraining.cli.volume_reader import VERSION
from splittraining.report.markdown import render_size

_MOST_LINE_BYTES = 1 << 16
_AGAIN = "call the same command again; nothing was kept"


@dataclass(frozen=True, slots=True)
class AnnouncedFile:
    """A file that is to come."""

    path: str
    size: int


class ByteSource:
    """Pieces of bytes, read as lines and lengths.

    Args:
        pieces: The pieces, cut anywhere.
    """

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    async def read_line(self) -> bytes:
        """Returns the next line without its end.

        Raises:
            ClusterFailed: if the stream ends before the line does.
            ProtocolViolation: if it is too long.
        """
        while b"\n" not in self._held:
            if len(self._held) > _MOST_LINE_BYTES:
                raise _violation(f"a line of more than {_MOST_LINE_BYTES} bytes")
            await self._pull("in the middle of a line")
        line, _, self._held = self._held.partition(b"\n")
        return line

    async def read_pieces(self, size: int, path: str) -> AsyncIterator[bytes]:
        """Yields exactly so many bytes.

        Raises:
            ClusterFailed: if the stream ends before.
        """
        left = size
        while left:
            if not self._held:
                await self._pull(f"{left} of {size} bytes before the end of {path}")
            piece, self._held = self._held[:left], self._held[left:]
            left -= len(piece)
            yield piece

    async def _pull(self, where: str) -> None:
        try:
            self._held += await anext(self._pieces)
        except StopAsyncIteration:
            raise ClusterFailed(f"the transfer ended {where}", remedy=_AGAIN) from None


async def receive_files(
    pieces: AsyncIterator[bytes],
    folder: Path,
    wanted: Sequence[str],
    *,
    free_bytes: int,
    announce: Callable[[int], None] = lambda _: None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[AnnouncedFile]:
    """Writes the files that come into a folder, and returns which came.

    Args:
        pieces: What the reader sends.
        folder: Where to; it is there and empty.
        wanted: Paths that were asked for; no other is taken.
        free_bytes: How much may be written.
        announce: Told the size of everything, before the first byte.
        advance: Told how many bytes have come since it was told last.

    Raises:
        ClusterFailed: if the transfer ends too soon or bytes were changed on the way.
        ProtocolViolation: if what comes is not what the format allows.
        StorageFailed: if there is no room.
    """
    source = ByteSource(pieces)
    files = parse_announcement(await source.read_line(), wanted)
    total = sum(file.size for file in files)
    if total > free_bytes:
        raise StorageFailed(
            f"{render_size(total)} are to come, and {folder} has {render_size(free_bytes)} free",
            remedy="free space there, or choose another folder with -o",
        )
    announce(total)
    for file in files:
        await _receive_file(source, folder / file.path, file, advance)
    if _parse_line(await source.read_line()) != {"end": True}:
        raise _violation("more than was announced")
    return files


def parse_announcement(line: bytes, wanted: Sequence[str]) -> list[AnnouncedFile]:
    """Reads which files are to come.

    Raises:
        ProtocolViolation: if one was not asked for or comes twice, or a size is none.
    """
    record = _parse_line(line)
    if record.get("version") != VERSION or not isinstance(record.get("files"), list):
        raise _violation(f"an announcement of version {record.get('version')!r}, where {VERSION} is known")
    files: list[AnnouncedFile] = []
    for entry in record["files"]:
        path, size = (entry.get("path"), entry.get("size")) if isinstance(entry, dict) else (None, None)
        if not isinstance(path, str) or path not in wanted or path in {file.path for file in files}:
            raise _violation(f"a file that was not asked for, or for a second time: {str(path)[:100]!r}")
        if type(size) is not int or size < 0:
            raise _violation(f"{path} with a size of {size!r}")
        files.append(AnnouncedFile(path, size))
    return files


async def _receive_file(source: ByteSource, path: Path, file: AnnouncedFile, advance: Callable[[int], None]) -> None:
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            async for piece in source.read_pieces(file.size, file.path):
                digest.update(piece)
                target.write(piece)
                advance(len(piece))
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error.strerror or error}", remedy="choose another folder with -o"
        ) from error
    trailer = _parse_line(await source.read_line())
    if trailer != {"path": file.path, "sha256": digest.hexdigest()}:
        raise ClusterFailed(f"{file.path} was changed on its way: its digest is another one", remedy=_AGAIN)


def _parse_line(line: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise _violation(f"{line[:80]!r} where a JSON object belongs")
    return record


def _violation(what: str) -> ProtocolViolation:
    return ProtocolViolation(
        f"the volume's reader sent {what}",
        remedy="use an image with python3 (--image), and look what the party's image prints by itself",
    )
