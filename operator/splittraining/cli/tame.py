"""Text that others wrote, made safe to show: parties' messages and logs may hold what moves a terminal's cursor."""

from __future__ import annotations

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def tame(text: str) -> str:
    """Returns a text with its control characters written out; tabs and line breaks stay."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def tame_line(text: str) -> str:
    """Returns a text as one tame line."""
    return " ".join(tame(text).split())
