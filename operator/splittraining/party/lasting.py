"""Imports of what lasts as long as the process: PyTorch and what a party needs of it, a million objects and seconds."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ORPHANED = 137
"""As if killed: there is nobody left to read it."""


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


@contextmanager
def ending_with_the_parent(*, period_s: float = 0.1) -> Iterator[None]:
    """Ends this process soon after its parent, in the middle of imports, which hear of nothing.

    Whoever gives up a run that has hardly begun shall not find its fork server busy for a minute. The thread that
    watches is gone when the block ends: a fork server may have none.

    Args:
        period_s: How often it looks, in seconds.
    """
    parent, is_over = os.getppid(), threading.Event()

    def watch() -> None:
        while not is_over.wait(period_s):
            if os.getppid() != parent:
                os._exit(_ORPHANED)

    watcher = threading.Thread(target=watch, name="parent", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
