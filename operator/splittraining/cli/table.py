"""The live table: one row and one progress bar per party."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from splittraining.api.report import PartyState
from splittraining.cli.board import Board, Entry
from splittraining.report.markdown import render_duration, render_number, render_size
from splittraining.report.metrics import RoundRow

_STYLES = {
    PartyState.TRAINING.value: "bold cyan",
    PartyState.PREDICTING.value: "bold cyan",
    PartyState.EVALUATING.value: "cyan",
    PartyState.SUCCEEDED.value: "green",
    PartyState.FAILED.value: "bold red",
}
_BAR_WIDTH = 20


def build_view(board: Board, *, elapsed_s: float) -> RenderableType:
    """Builds the whole picture: the table, the last round's metrics, and a notice while parties are being stopped."""
    parts: list[RenderableType] = [build_table(board, elapsed_s=elapsed_s)]
    if board.last_round is not None:
        parts.append(Text(render_round(board.last_round, board.rounds)))
    if board.notice:
        parts.append(Text(board.notice, style="yellow"))
    return Group(*parts)


def build_table(board: Board, *, elapsed_s: float) -> Table:
    """Builds the table of all parties."""
    table = Table(title=f"{board.title}  {render_duration(elapsed_s)}", title_justify="left", expand=False)
    for header in ("party", "role", "state"):
        table.add_column(header, no_wrap=True)
    table.add_column("progress", width=_BAR_WIDTH, no_wrap=True)
    for header in ("round", "step", "rows", "loss", "sent", "received"):
        table.add_column(header, justify="right", no_wrap=True)
    for entry in board.entries.values():
        table.add_row(*_build_cells(entry))
    return table


def render_round(row: RoundRow, rounds: int) -> str:
    """Renders what a round brought, as one line."""
    metrics = ", ".join(f"{name} {render_number(value)}" for name, value in row.metrics.items())
    seconds = "" if row.seconds is None else f" ({row.seconds:.1f} s)"
    return f"round {row.round}/{rounds}: step {row.step}, {metrics}{seconds}"


def _build_cells(entry: Entry) -> list[RenderableType]:
    state = Text(entry.state, style=_STYLES.get(entry.state, ""))
    bar = ProgressBar(
        total=1.0, completed=entry.progress, width=_BAR_WIDTH, complete_style="cyan", finished_style="green"
    )
    report = entry.report
    if report is None:
        return [entry.name, entry.role.value.lower(), state, bar, "", "", "", "", "", ""]
    steps = f"{report.step}/{report.steps}" if report.steps else str(report.step)
    loss = next((metric.value for metric in report.metrics if metric.name == "loss"), "")
    return [
        entry.name,
        entry.role.value.lower(),
        state,
        bar,
        f"{report.round}/{report.rounds}" if report.rounds else "",
        steps,
        str(report.samples),
        render_number(float(loss)) if loss else "",
        render_size(entry.sent_bytes),
        render_size(entry.received_bytes),
    ]
