"""What runs in the pod that reads a party's volume: it writes the named files to its standard output.

Its text is handed to the Python of whatever image the pod has, so it uses the standard library alone and imports
nothing of this project. Format: one JSON line with the paths and sizes of all files, then for each its bytes and a JSON
line with their digest, then a line that says that this was all. It then waits until its reader has gone.

Whoever wrote the volume may have put anything there: what is no plain file, or lies behind a link, is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from typing import BinaryIO

VERSION = 1
_PIECE_BYTES = 1 << 20


class Refused(Exception):
    """Something on the volume that is no plain file."""


def open_inside(root: str, path: str) -> int | None:
    """Opens a plain file below a folder, following no link; returns None where there is none."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *way, name = path.split("/")
        for step in way:
            inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        # Not to wait where it is a pipe that nobody writes.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Refused(f"{path}: not a plain file")
    return file


def send(root: str, paths: list[str], out: BinaryIO) -> None:
    """Writes those of the files that are there, each as long as it is now."""
    opened = [(path, file) for path in paths if (file := open_inside(root, path)) is not None]
    sizes = [os.fstat(file).st_size for _, file in opened]
    files = [{"path": path, "size": size} for (path, _), size in zip(opened, sizes)]  # noqa: B905 - of equal length
    _write_line(out, {"version": VERSION, "files": files})
    for (path, file), size in zip(opened, sizes):  # noqa: B905
        digest = hashlib.sha256()
        left = size
        while left:
            piece = os.read(file, min(left, _PIECE_BYTES))
            if not piece:
                raise Refused(f"{path}: became shorter while it was read")
            digest.update(piece)
            out.write(piece)
            left -= len(piece)
        _write_line(out, {"path": path, "sha256": digest.hexdigest()})
    _write_line(out, {"end": True})
    out.flush()


def _write_line(out: BinaryIO, record: object) -> None:
    out.write(json.dumps(record).encode() + b"\n")


if __name__ == "__main__":
    try:
        send(sys.argv[1], sys.argv[2:], sys.stdout.buffer)
    except Refused as refused:
        sys.stdout.buffer.flush()
        sys.exit(str(refused))
    sys.stdin.buffer.read()
