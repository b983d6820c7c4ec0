"""The curves as small tables: one row per round, and the mean loss of stretches of steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from splittraining.report.markdown import MAX_ROWS, render_number, render_table, sample_rows
from splittraining.report.metrics import MetricRows, RoundRow, StepRow


def render_rounds(metrics: MetricRows) -> str:
    """Renders what each round trained and what its evaluation found, at most a dozen rounds."""
    if not metrics.rounds:
        return ""
    names = list(dict.fromkeys(name for row in metrics.rounds for name in row.metrics))
    rows = [_render_round(row, names) for row in sample_rows(metrics.rounds)]
    table = render_table(["round", "last step", "seconds", *names], rows)
    total = len(metrics.rounds)
    note = f"\n\n{MAX_ROWS} of {total} rounds are shown; metrics.jsonl has all." if total > MAX_ROWS else ""
    return f"## Rounds\n\n{table}{note}"


def render_loss_curve(metrics: MetricRows) -> str:
    """Renders the loss over the steps as the means of at most a dozen equal stretches."""
    steps = metrics.steps
    if not steps:
        return ""
    size = math.ceil(len(steps) / MAX_ROWS)
    rows = []
    for start in range(0, len(steps), size):
        stretch = steps[start : start + size]
        losses = [step.loss for step in stretch]
        span = str(stretch[0].step) if len(stretch) == 1 else f"{stretch[0].step} to {stretch[-1].step}"
        rows.append([span, render_number(compute_mean_loss(stretch)), *map(render_number, (min(losses), max(losses)))])
    return "## Loss by step\n\n" + render_table(["steps", "mean", "lowest", "highest"], rows)


def compute_mean_loss(steps: Sequence[StepRow]) -> float:
    """Returns the mean loss, weighted by rows: a short last batch counts for what it holds."""
    return math.fsum(step.loss * step.rows for step in steps) / max(1, sum(step.rows for step in steps))


def _render_round(row: RoundRow, names: Sequence[str]) -> list[str]:
    seconds = "" if row.seconds is None else f"{row.seconds:.2f}"
    return [str(row.round), str(row.step), seconds, *(render_number(row.metrics.get(name)) for name in names)]
