"""The ways the status of a training is shown: a live table, plain lines, or the document itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

import yaml
from rich.console import Console, RenderableType
from rich.live import Live

from splittraining.cli.status_board import StatusBoard
from splittraining.cli.status_table import build_status_view, list_cells, render_event, render_metrics
from splittraining.cli.trainings import Training

_REFRESH_HZ = 4


class StatusView(Protocol):
    """Shows a training; open for as long as it is watched."""

    def __enter__(self) -> Self:
        """Begins to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaves the last picture standing."""

    def show(self, training: Training, board: StatusBoard) -> None:
        """Takes in how the training is now."""

    def tell(self, note: str) -> None:
        """Takes in why nothing newer is known; empty when that is over."""


def utc_now() -> datetime:
    """Returns the time."""
    return datetime.now(UTC)


class _Still:
    """What views without a picture have in common."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def tell(self, note: str) -> None:
        """Says nothing: a reader of documents and single pictures wants those alone."""


class LiveStatusView:
    """A picture that redraws itself.

    Args:
        console: Where to draw.
        now: The time.
    """

    def __init__(self, console: Console, *, now: Callable[[], datetime] = utc_now) -> None:
        self._board: StatusBoard | None = None
        self._note = ""
        self._now = now
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=_REFRESH_HZ)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, training: Training, board: StatusBoard) -> None:
        """Takes in how the training is now; the picture follows with the next refresh."""
        del training
        self._board = board

    def tell(self, note: str) -> None:
        """Takes in why nothing newer is known."""
        self._note = note

    def _draw(self) -> RenderableType:
        return "" if self._board is None else build_status_view(self._board, now=self._now(), note=self._note)


class PictureView(_Still):
    """The same picture, once.

    Args:
        console: Where to draw.
        now: The time.
    """

    def __init__(self, console: Console, *, now: Callable[[], datetime] = utc_now) -> None:
        self._console = console
        self._now = now

    def show(self, training: Training, board: StatusBoard) -> None:
        """Draws it."""
        del training
        self._console.print(build_status_view(board, now=self._now()))


class SummaryView(_Still):
    """Everything once, as plain lines.

    Args:
        console: Where to write.
        now: The time.
    """

    def __init__(self, console: Console, *, now: Callable[[], datetime] = utc_now) -> None:
        self._console = console
        self._now = now

    def show(self, training: Training, board: StatusBoard) -> None:
        """Writes them."""
        del training
        for line in render_summary(board, now=self._now()):
            _print(self._console, line)


class ChangeView(_Still):
    """One line for each change, with the seconds since the start.

    Args:
        console: Where to write.
        monotonic_s: A clock that never goes back.
    """

    def __init__(self, console: Console, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._told: set[str] = set()
        self._note = ""

    def show(self, training: Training, board: StatusBoard) -> None:
        """Writes what was not so before."""
        del training
        now = set()
        for line in list_facts(board):
            now.add(line)
            if line not in self._told:
                self._write(line)
        self._told = now

    def tell(self, note: str) -> None:
        """Writes why nothing newer is known, once."""
        if note and not self._note:
            self._write(note)
        self._note = note

    def _write(self, line: str) -> None:
        _print(self._console, f"{self._monotonic_s() - self._started_s:7.1f}s  {line}")


class DocumentView(_Still):
    """The resource itself, once for every version of it that is seen.

    Args:
        console: Where to write.
        form: ``json`` or ``yaml``.
    """

    def __init__(self, console: Console, form: str) -> None:
        self._console = console
        self._form = form
        self._seen = ""

    def show(self, training: Training, board: StatusBoard) -> None:
        """Writes the resource without what only the API server uses."""
        del board
        version = str(training.document["metadata"].get("resourceVersion", ""))
        if version and version == self._seen:
            return
        metadata = {name: value for name, value in training.document["metadata"].items() if name != "managedFields"}
        document = {**training.document, "metadata": metadata}
        if self._form == "json":
            self._console.file.write(json.dumps(document, indent=2) + "\n")
        else:
            separator = "---\n" if self._seen else ""
            self._console.file.write(separator + yaml.safe_dump(document, sort_keys=False))
        self._console.file.flush()
        self._seen = version


def choose_status_view(console: Console, *, form: str, watch: bool) -> StatusView:
    """Chooses how to show: documents where they are asked for, pictures where somebody sees them, else lines."""
    if form:
        return DocumentView(console, form)
    if console.is_terminal:
        return LiveStatusView(console) if watch else PictureView(console)
    return ChangeView(console) if watch else SummaryView(console)


def render_summary(board: StatusBoard, *, now: datetime) -> list[str]:
    """Renders everything as plain lines."""
    lines = [board.headline, ", ".join(board.progress_words)]
    lines += [_render_party(list_cells(party), party.name, party.role.value.lower()) for party in board.parties]
    lines += [render_metrics(board)] if board.metrics else []
    lines += [notice.text for notice in board.notices]
    return lines + [render_event(event, now) for event in board.events]


def list_facts(board: StatusBoard) -> list[str]:
    """Lists what holds now and is worth a line when it begins to; steps and bytes come too often for that."""
    facts = [board.headline]
    if board.progress is not None and board.progress.round:
        rounds = f"round {board.progress.round}/{board.progress.rounds or board.rounds}"
        facts.append(f"{rounds}, {board.progress.percent}%" if board.is_over else rounds)
    for party in board.parties:
        if party.ready:
            facts.append(f"{party.name}: ready" + (f" on {party.node}" if party.node else ""))
        elif party.reason and not board.is_over:
            facts.append(f"{party.name}: {list_cells(party)[-1]}")
    facts += [notice.text for notice in board.notices]
    return facts + [f"{event.kind}: {event.reason}: {event.note}" for event in board.events]


def _render_party(cells: list[str], name: str, role: str) -> str:
    ready, round_, step, rows, sent, received, device, node, reason = cells
    told = [
        role,
        "ready" if ready == "yes" else "not ready",
        round_ and f"round {round_}",
        step and f"step {step}",
        rows and f"{rows} rows",
        sent and f"sent {sent}",
        received and f"received {received}",
        device,
        node and f"on {node}",
        reason,
    ]
    return f"{name}: " + ", ".join(word for word in told if word)


def _print(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
