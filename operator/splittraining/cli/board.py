"""What a run looks like right now: one entry per party, built from the run's events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from splittraining.api.party_document import Role
from splittraining.api.report import PartyState, Report
from splittraining.local.events import Event, PartyExited, PartyReported, RoundCompleted, RunStarted, RunStopping
from splittraining.report.metrics import RoundRow


@dataclass(frozen=True, slots=True)
class Entry:
    """One party."""

    name: str
    role: Role
    report: Report | None = None
    exit_code: int | None = None
    message: str = ""

    @property
    def state(self) -> str:
        """The state in one word; the process's end says more than the last report."""
        if self.exit_code is not None:
            return PartyState.SUCCEEDED.value if self.exit_code == 0 else PartyState.FAILED.value
        return PartyState.STARTING.value if self.report is None else self.report.state.value

    @property
    def progress(self) -> float:
        """From 0 to 1: steps where their number is known, else rounds."""
        if self.exit_code == 0:
            return 1.0
        if self.report is None:
            return 0.0
        if self.report.steps:
            return min(1.0, self.report.step / self.report.steps)
        return min(1.0, max(0, self.report.round - 1) / self.report.rounds) if self.report.rounds else 0.0

    @property
    def sent_bytes(self) -> int:
        """Everything sent, framing and control included."""
        links = self.report.links if self.report else ()
        return sum(
            link.payload_sent + link.framing_sent + link.sealed_sent + link.control_sent + link.relayed_sent
            for link in links
        )

    @property
    def received_bytes(self) -> int:
        """Everything received, framing and control included."""
        links = self.report.links if self.report else ()
        return sum(
            link.payload_received
            + link.framing_received
            + link.sealed_received
            + link.control_received
            + link.relayed_received
            for link in links
        )


@dataclass(frozen=True, slots=True)
class Board:
    """The whole run."""

    title: str = ""
    rounds: int = 0
    entries: Mapping[str, Entry] = field(default_factory=dict)
    last_round: RoundRow | None = None
    notice: str = ""


def update_board(board: Board, event: Event) -> Board:
    """Returns the board after an event."""
    match event:
        case RunStarted():
            entries = {party.name: Entry(party.name, party.role) for party in event.parties}
            title = f"{event.namespace}/{event.name} ({event.topology})"
            return Board(title=title, rounds=event.rounds, entries=entries)
        case PartyReported(report) if report.party in board.entries:
            return _replace_entry(board, replace(board.entries[report.party], report=report))
        case PartyExited(party, code, _, message):
            return _replace_entry(board, replace(board.entries[party], exit_code=code, message=message))
        case RoundCompleted(row):
            return replace(board, last_round=row)
        case RunStopping(why):
            return replace(board, notice=why)
        case _:
            return board


def _replace_entry(board: Board, entry: Entry) -> Board:
    return replace(board, entries={**board.entries, entry.name: entry})
