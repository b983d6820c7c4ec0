"""The operator's log: one JSON object a line on standard output, for whatever collects a pod's output."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

_QUIET = ("aiohttp.access", "asyncio", "kopf", "kubernetes")
"""Loggers of others that say at every step what they do: their warnings are enough."""

_FIELDS = ("training", "party", "object", "reason")
"""What a record may say of itself by `extra=`, so that a log can be searched by it."""


class JsonFormatter(logging.Formatter):
    """Renders a record as one JSON line with time, level, logger, message, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: str(vars(record)[name]) for name in _FIELDS if name in vars(record)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_logging(level: str, *, stream: TextIO | None = None) -> logging.Handler:
    """Sends this process's log records to a stream as JSON; returns the handler, for whoever takes it off again.

    Args:
        level: Least level of this project's own records.
        stream: Where to; standard output unless given.
    """
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("splittraining").setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return handler
