"""Imports of what lasts as long as the process: PyTorch and what a party needs of it are a million objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Iterator[None]:
    """Keeps the garbage collector away from imports, which leave none: its visits are a fifth of their time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Both together make what is there old at once. The next visit to the young would see all of it.
        gc.freeze()
        gc.unfreeze()
        if was_enabled:
            gc.enable()
