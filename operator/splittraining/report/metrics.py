"""The rows of metrics.jsonl: one line per step where a loss is computed, one line per round at the conductor.

With several tasks each label party has a line per step; here they are one step, whose loss is the sum.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class StepRow:
    """One training step."""

    step: int
    round: int
    loss: float
    rows: int
    client: str = ""


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round: what it trained, and what the evaluation after it found."""

    round: int
    step: int
    metrics: Mapping[str, float]
    seconds: float | None = None
    evaluated: Mapping[str, int] = field(default_factory=dict)
    """Test rows run forward after the round, by client (`all` in a joint step); empty where it evaluated nothing."""


@dataclass(frozen=True, slots=True)
class MetricRows:
    """Every row of a run, in order of steps and rounds."""

    steps: tuple[StepRow, ...] = ()
    rounds: tuple[RoundRow, ...] = ()


@dataclass(slots=True)
class _Collected:
    steps: list[StepRow] = field(default_factory=list)
    of_tasks: dict[int, StepRow] = field(default_factory=dict)
    """Steps of several tasks by their numbers."""
    rounds: list[RoundRow] = field(default_factory=list)


def parse_metric_lines(files: Iterable[Iterable[str]]) -> MetricRows:
    """Reads the lines of every party's metrics.jsonl into one ordered table.

    A line that a dying process left half written is left out: the report of a failed run must still render.

    Args:
        files: The lines of each file.
    """
    collected = _Collected()
    for lines in files:
        for line in lines:
            row = _parse_object(line)
            if row.get("kind") == "step":
                _collect_step(collected, _parse_step(row), task=str(row.get("task") or ""))
            elif row.get("kind") == "round":
                collected.rounds.append(_parse_round(row))
    steps = sorted([*collected.steps, *collected.of_tasks.values()], key=lambda row: row.step)
    rounds = sorted(collected.rounds, key=lambda row: (row.round, row.step))
    return MetricRows(tuple(steps), tuple(rounds))


def _collect_step(collected: _Collected, row: StepRow, *, task: str) -> None:
    if not task:
        collected.steps.append(row)
        return
    known = collected.of_tasks.get(row.step)
    collected.of_tasks[row.step] = row if known is None else replace(known, loss=known.loss + row.loss)


def _parse_object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _parse_step(row: Mapping[str, Any]) -> StepRow:
    return StepRow(
        step=int(row["step"]),
        round=int(row["round"]),
        loss=float(row["loss"]),
        rows=int(row["rows"]),
        client=str(row.get("client") or ""),
    )


def _parse_round(row: Mapping[str, Any]) -> RoundRow:
    seconds = row.get("seconds")
    return RoundRow(
        round=int(row["round"]),
        step=int(row["step"]),
        metrics={str(name): float(value) for name, value in dict(row.get("metrics", {})).items() if value is not None},
        seconds=None if seconds is None else float(seconds),
        evaluated={str(name): int(count) for name, count in dict(row.get("evaluated") or {}).items()},
    )
