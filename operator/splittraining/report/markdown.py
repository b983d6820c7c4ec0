"""Markdown tables and the few number formats of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

MAX_ROWS = 12
"""Rows of a curve: enough to see its shape, few enough to read."""

_KIBI = 1024
_MINUTE_S = 60
_FIXED_POINT = (1e-3, 1e6)  # within it four decimals say enough and no exponent is needed

Row = TypeVar("Row")


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Renders a Markdown table whose columns line up in a plain editor too. Columns of numbers go to the right.

    Args:
        header: Column titles.
        rows: Cells, as many a row as there are titles.
    """
    body = [[_escape(cell) for cell in row] for row in rows]
    columns = range(len(header))
    widths = [max(3, len(header[column]), *(len(row[column]) for row in body)) for column in columns]
    numeric = [all(_begins_as_number(row[column]) for row in body) for column in columns]
    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    return "\n".join(_render_row(row, widths, numeric) for row in (header, rule, *body))


def sample_rows(rows: Sequence[Row], *, limit: int = MAX_ROWS) -> list[Row]:
    """Returns at most `limit` rows, evenly spread, the first and the last always among them."""
    if len(rows) <= limit:
        return list(rows)
    last = len(rows) - 1
    return [rows[index * last // (limit - 1)] for index in range(limit)]


def render_number(value: float | None) -> str:
    """Renders a metric with four decimals, or six significant digits where that would hide it."""
    if value is None:
        return ""
    low, high = _FIXED_POINT
    return f"{value:.4f}" if value == 0 or low <= abs(value) < high else f"{value:.5e}"


def render_count(number: int, noun: str) -> str:
    """Renders a number of things: `1 round`, `12 rounds`. The noun's plural ends in s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def render_size(size_bytes: int) -> str:
    """Renders bytes in the largest binary unit that keeps one digit before the point."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < _KIBI:
            return f"{size_bytes} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KIBI
    return f"{size:.2f} GiB"


def render_duration(seconds: float) -> str:
    """Renders a duration as a person says it: `7.4 s`, `3 min 12 s`, `2 h 5 min`."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), _MINUTE_S)
    if minutes < _MINUTE_S:
        return f"{minutes} min {rest_s} s"
    return f"{minutes // _MINUTE_S} h {minutes % _MINUTE_S} min"


def _render_row(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    ]
    return "| " + " | ".join(padded) + " |"


def _begins_as_number(cell: str) -> bool:
    return not cell or cell[0].isdigit() or cell[0] == "-"


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
