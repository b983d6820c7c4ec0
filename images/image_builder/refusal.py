"""What stops a build: said in one line, without a traceback."""

from __future__ import annotations


class BuildRefused(Exception):
    """An image that cannot be built as things are; the message says what is wrong and what to do."""
