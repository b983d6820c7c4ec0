"""The two ways a run is shown: a live table on a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live

from splittraining.api.report import PartyState
from splittraining.cli.board import Board, update_board
from splittraining.cli.table import build_view, render_round
from splittraining.local.events import Event, PartyExited, PartyReported, RoundCompleted, RunStarted, RunStopping
from splittraining.report.markdown import render_count

_REFRESH_HZ = 4
_ANNOUNCED = (PartyState.CONNECTING, PartyState.READY, PartyState.TRAINING, PartyState.PREDICTING, PartyState.FINISHING)
"""States that plain lines tell, each once per party: turns come and go too often for a log."""


class View(Protocol):
    """Shows a run; open for as long as it lasts."""

    def __enter__(self) -> Self:
        """Begins to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaves the last picture standing."""

    def show(self, event: Event) -> None:
        """Takes one event in."""


def choose_view(console: Console) -> View:
    """Chooses the live table where somebody can watch it, else lines."""
    return LiveView(console) if console.is_terminal else LineView(console)


class LiveView:
    """A table that redraws itself.

    Args:
        console: Where to draw.
        monotonic_s: A clock that never goes back.
    """

    def __init__(self, console: Console, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._board = Board()
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=_REFRESH_HZ)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        """Takes one event in; the picture follows with the next refresh."""
        self._board = update_board(self._board, event)

    def _draw(self) -> RenderableType:
        return build_view(self._board, elapsed_s=self._monotonic_s() - self._started_s)


class LineView:
    """One line per round and per step in a party's life, with the seconds since the start.

    Args:
        console: Where to write.
        monotonic_s: A clock that never goes back.
    """

    def __init__(self, console: Console, *, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._told: set[tuple[str, PartyState]] = set()
        self._rounds = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def show(self, event: Event) -> None:
        """Takes one event in."""
        line = self._render(event)
        if line:
            elapsed_s = self._monotonic_s() - self._started_s
            self._console.print(f"{elapsed_s:7.1f}s  {line}", markup=False, highlight=False, soft_wrap=True)

    def _render(self, event: Event) -> str:
        line = ""
        match event:
            case RunStarted():
                self._rounds = event.rounds
                parties = ", ".join(party.name for party in event.parties)
                work = render_count(event.rounds, "round") if event.rounds else "prediction"
                line = f"{event.namespace}/{event.name}: {event.topology}, {work}, parties {parties}"
            case PartyReported(report) if report.state in _ANNOUNCED and (report.party, report.state) not in self._told:
                self._told.add((report.party, report.state))
                line = f"{report.party}: {report.state.value}"
            case RoundCompleted(row):
                line = render_round(row, self._rounds)
            case PartyExited(party, 0):
                line = f"{party}: {PartyState.SUCCEEDED.value}"
            case PartyExited(party, code, reason, message):
                line = f"{party}: {PartyState.FAILED.value}, {reason} (exit code {code}): {message}"
            case RunStopping(why):
                line = why
        return line
