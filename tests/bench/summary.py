"""Medians with their spread: the only form in which the benchmark says a time or a ratio."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles around it."""

    median: float
    low: float
    high: float
    num: int

    def render(self, digits: int = 2, *, unit: str = "") -> str:
        """Renders `median [low quartile - high quartile]`."""
        return f"{self.median:.{digits}f}{unit} [{self.low:.{digits}f} - {self.high:.{digits}f}]"


def summarize(values: Sequence[float]) -> Spread:
    """Summarizes repeated measurements of one thing."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Renders a table with columns as wide as their widest cell."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
             for line in (header, *rows)]  # fmt: skip
    return "\n".join((lines[0], "  ".join("-" * width for width in widths), *lines[1:]))
