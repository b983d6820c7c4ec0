"""A party's log: one JSON object a line, in its own folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO


class JsonFormatter(logging.Formatter):
    """Renders a record as one JSON line with time, level, party, logger and message.

    Args:
        party: Whose log it is.
        debug: Whether a traceback is written along.
        causes: Whether an error's causes are written with their texts. These may hold data: only where the log stays
            in the party's own folder.
    """

    def __init__(self, party: str, *, debug: bool, causes: bool = True) -> None:
        super().__init__()
        self._party = party
        self._debug = debug
        self._causes = causes

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "party": self._party,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._causes and record.exc_info and record.exc_info[1] is not None:
            line["causes"] = [f"{type(cause).__name__}: {cause}" for cause in iterate_causes(record.exc_info[1])]
            if self._debug:
                line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def iterate_causes(error: BaseException) -> Iterator[BaseException]:
    """Yields what led to an error, the nearest cause first; messages leave these out, since they may hold data."""
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


@contextmanager
def logging_to(path: Path, *, party: str, debug: bool, echo: TextIO | None = None) -> Iterator[None]:
    """Sends this project's log records to a file while the context lasts.

    Args:
        path: The file.
        party: Whose log it is.
        debug: Whether details and tracebacks are wanted.
        echo: Gets each record too, without the texts of causes: what a pod prints is collected by others.
    """
    handlers: list[logging.Handler] = [logging.FileHandler(path, encoding="utf-8")]
    handlers[0].setFormatter(JsonFormatter(party, debug=debug))
    if echo is not None:
        handlers.append(logging.StreamHandler(echo))
        handlers[1].setFormatter(JsonFormatter(party, debug=debug, causes=False))
    logger = logging.getLogger("splittraining")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
