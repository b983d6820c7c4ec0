"""Parts of a lock: which of the locked packages go into which layer. Versions and hashes stay as they are locked."""

from __future__ import annotations

import re
from collections.abc import Callable

from image_builder.refusal import BuildRefused

# Each entry starts at the margin and goes on, indented, with its hashes.
_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)==\S+.*(?:\n[ \t]+\S.*)*", re.MULTILINE)
_CUDA = re.compile(r"nvidia-|cuda-|triton$")


def is_torch(name: str) -> bool:
    """Tells whether a package is torch or CUDA: gigabytes that change seldom, hence a layer of their own."""
    return name == "torch" or _CUDA.match(name) is not None


def is_torch_without_cuda(name: str) -> bool:
    """Tells whether a package belongs to torch for tests without CUDA: its runtime is small, and kept as it is."""
    return name in {"torch", "nvidia-cuda-runtime"}


def select_from_lock(lock: str, wanted: Callable[[str], bool]) -> str:
    """Returns the entries of a lock whose package is wanted, with their markers and hashes.

    Args:
        lock: The text of a file in ``requirements/``.
        wanted: Told a package's name, says whether it is wanted.

    Raises:
        BuildRefused: Nothing was selected: the lock does not look as expected.
    """
    entries = [entry.group() for entry in _ENTRY.finditer(lock) if wanted(entry["name"])]
    if not entries:
        raise BuildRefused("A lock holds none of the packages of a layer. To do: compare requirements/ with locks.py")
    bare = [re.sub(r"^\s+#.*\n?", "", entry, flags=re.MULTILINE).rstrip() for entry in entries]
    return "".join(f"{entry}\n" for entry in bare)
