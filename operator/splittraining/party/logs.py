"""A party's log: one JSON object a line, in its own folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path


class JsonFormatter(logging.Formatter):
    """Renders a record as one JSON line with time, level, party, logger and message.

    Args:
        party: Whose log it is.
        debug: Whether a traceback is written along.
    """

    def __init__(self, party: str, *, debug: bool) -> None:
        super().__init__()
        self._party = party
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "party": self._party,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._debug and record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def logging_to(path: Path, *, party: str, debug: bool) -> Iterator[None]:
    """Sends this project's log records to a file while the context lasts."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonFormatter(party, debug=debug))
    logger = logging.getLogger("splittraining")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
