"""What is expensive is made once: kept in the user's cache folder under the hash of what it is made from."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).parent


def find_cache(environment: Mapping[str, str], room: str = "images") -> Path:
    """Returns the folder in which pieces of one sort are kept; it need not be there yet."""
    root = environment.get("XDG_CACHE_HOME", "")
    # The XDG rules: a relative path is as good as none.
    base = Path(root) if Path(root).is_absolute() else Path(environment.get("HOME") or Path.home()) / ".cache"
    return base / "splittraining" / room


def compute_key(*parts: str | bytes) -> str:
    """Computes the key of a piece from everything it is made from; where one part ends and the next begins counts."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:16]


def read_makers(*modules: str) -> bytes:
    """Returns the source of modules of this package: what makes a piece is part of what it is made from."""
    return b"".join((HERE / f"{module}.py").read_bytes() for module in sorted(modules))


def keep(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """Returns a piece from the cache, and makes it where it is missing.

    It appears under its name only when it is whole, and two builds at once make it once.

    Args:
        cache: The cache folder.
        name: The piece's name, with its key.
        make: Makes the piece at a path that does not exist yet: a file or a folder.
    """
    piece = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if piece.exists():
            piece.touch()  # it is used: see forget_unused
            return piece
        workshop = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=cache))
        try:
            # mkdtemp's folder is for its owner alone; what is made in it is not.
            make(workshop / "made")
            (workshop / "made").rename(piece)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    return piece


def forget_unused(cache: Path, *, now: float, days: int = 30) -> None:
    """Removes pieces that no build has used for a while: an update of a lock leaves gigabytes behind.

    Args:
        cache: The cache folder.
        now: The time, in seconds since 1970.
        days: How long a piece is kept after its last use.
    """
    for piece in cache.iterdir():
        if now - piece.lstat().st_mtime <= days * 24 * 3600:
            continue
        if piece.is_dir():
            shutil.rmtree(piece)
        else:
            piece.unlink()
