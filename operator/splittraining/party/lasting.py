"""Imports of what lasts as long as the process: PyTorch and what a party needs of it are a million objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collections(*, for_good: bool = False) -> Iterator[None]:
    """Keeps the garbage collector away from imports, which leave none: its visits are a fifth of their time.

    Args:
        for_good: Whether it is never to look at anything that is there at the end: for a process that ends by
            `os._exit`, since what is left over at an ordinary end is complained of.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if not for_good:
            gc.unfreeze()  # which makes it old at once: the next visit to the young would see all of it
        if was_enabled:
            gc.enable()
