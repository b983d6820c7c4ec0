"""Where the command's own log goes: what the door refuses is for the run folder, not for the table on the terminal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Sends warnings and errors of this process to a file while the context lasts."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)  # no file where nothing is logged
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
