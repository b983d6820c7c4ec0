"""The live table of a training in a cluster: where it is, one row per party, what is wrong, what happened last."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from splittraining.api.conditions import ConditionType, ProgressingReason
from splittraining.api.status import PartyStatus
from splittraining.cli.status_board import EventLine, Notice, StatusBoard
from splittraining.cli.tame import tame_line
from splittraining.report.markdown import render_duration, render_size

_BAR_WIDTH = 30
_STYLES = {
    ProgressingReason.RUNNING: "bold cyan",
    ProgressingReason.COMPLETED: "bold green",
    ProgressingReason.FAILED: "bold red",
    ProgressingReason.SUSPENDED: "yellow",
}
_WARNING = "Warning"


def build_status_view(board: StatusBoard, *, now: datetime, note: str = "") -> RenderableType:
    """Builds the whole picture.

    Args:
        board: What is known.
        now: The moment, for the age of events.
        note: What else is to be said, such as that the cluster does not answer.
    """
    parts: list[RenderableType] = [
        Text(board.headline, style=_STYLES.get(board.state, "")),  # type: ignore[call-overload]
        _build_progress(board),
    ]
    if board.parties:
        parts.append(build_party_table(board))
    if board.metrics:
        parts.append(Text(render_metrics(board)))
    parts += [_build_notice(notice) for notice in board.notices]
    parts += [_build_event(event, now) for event in board.events]
    if note:
        parts.append(Text(note, style="yellow"))
    return Group(*parts)


def build_party_table(board: StatusBoard) -> Table:
    """Builds the table of all parties."""
    table = Table(expand=False)
    for header in ("party", "role", "ready"):
        table.add_column(header, no_wrap=True)
    for header in ("round", "step", "rows", "sent", "received"):
        table.add_column(header, justify="right", no_wrap=True)
    for header in ("device", "node", "reason"):
        table.add_column(header, overflow="fold")
    for party in board.parties:
        ready, *cells = list_cells(party)
        style = "green" if party.ready else "yellow"
        table.add_row(party.name, party.role.value.lower(), Text(ready, style=style), *map(Text, cells))
    return table


def list_cells(party: PartyStatus) -> list[str]:
    """Lists what is told of a party: ready, round, step, rows, bytes sent and received, device, node, reason."""
    return [
        "yes" if party.ready else "no",
        str(party.round or ""),
        str(party.step or ""),
        str(party.samples or ""),
        render_size(party.bytes_sent) if party.bytes_sent else "",
        render_size(party.bytes_received) if party.bytes_received else "",
        tame_line(party.device),
        tame_line(party.node),
        tame_line(party.reason),
    ]


def render_metrics(board: StatusBoard) -> str:
    """Renders the latest numbers as one line."""
    return ", ".join(f"{name} {value}" for name, value in board.metrics)


def render_event(event: EventLine, now: datetime) -> str:
    """Renders an event as one line with its age."""
    age = render_duration(max(0.0, (now - event.time).total_seconds()))
    return f"{age} ago  {event.kind}  {event.reason}  {event.note}"


def _build_progress(board: StatusBoard) -> RenderableType:
    words = Text("  ".join(board.progress_words))
    if board.progress is None:
        return words
    line = Table.grid(padding=(0, 2))
    line.add_row(
        ProgressBar(
            total=100, completed=board.progress.percent, width=_BAR_WIDTH, complete_style="cyan", finished_style="green"
        ),
        words,
    )
    return line


def _build_notice(notice: Notice) -> RenderableType:
    return Text(notice.text, style="bold red" if notice.condition == ConditionType.FAILED else "yellow")


def _build_event(event: EventLine, now: datetime) -> RenderableType:
    return Text(render_event(event, now), style="yellow" if event.kind == _WARNING else "dim")
