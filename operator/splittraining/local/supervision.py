"""Watching over the parties until the last one has ended.

Parties end each other by themselves: whoever fails says Goodbye, and the rest follow with an error that names it. Only
who does not follow within the grace period is told to (SIGTERM), and then made to (SIGKILL).
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.report import PartyState, Report
from splittraining.local.crew import Crew
from splittraining.local.events import Event, PartyExited, PartyReported, RoundCompleted, RunStopping
from splittraining.local.leftovers import MetricsTail, read_stderr_tail, read_termination
from splittraining.local.outcome import PartyEnd, describe_end
from splittraining.local.signals import Mailbox, StopWish, Wakeup


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the command waits for parties that should end."""

    follow_s: float = 15.0
    """From the first failure until the others are told to stop."""
    unheard_s: float = 2.0
    """The same while the parties are not connected yet: nobody can hear of a failure, and the rest would wait."""
    stop_s: float = 10.0
    """From being told to stop until being killed: time to finish a step and say Goodbye."""


class _Stage(enum.IntEnum):
    WATCHING = 0
    FOLLOWING = 1  # somebody failed: the others are expected to end by themselves
    TOLD = 2
    KILLED = 3


class Supervision:
    """The watch over one run's parties.

    Args:
        crew: Their processes, started.
        folder: The run folder, with a folder per party.
        wakeup: Rung by both of the following.
        reports: What parties reported, filled by the intake's thread.
        wish: The user's wish to stop.
        emit: Called with every event, in this thread.
        patience: How long to wait.
        monotonic_s: A clock that never goes back.
    """

    def __init__(
        self,
        crew: Crew,
        *,
        folder: Path,
        wakeup: Wakeup,
        reports: Mailbox[Report],
        wish: StopWish,
        emit: Callable[[Event], None],
        patience: Patience,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._crew = crew
        self._folder = folder
        self._wakeup = wakeup
        self._reports = reports
        self._wish = wish
        self._emit = emit
        self._rounds = MetricsTail(folder / SERVER_PARTY)
        self._patience = patience
        self._monotonic_s = monotonic_s
        self._stage = _Stage.WATCHING
        self._deadline_s: float | None = None
        self._follow_s = patience.follow_s
        self._ends: list[PartyEnd] = []
        self.newest: dict[str, Report] = {}
        """The last report of each party."""

    def watch(self) -> list[PartyEnd]:
        """Waits until every party has ended and returns their ends, the first one first."""
        while self._crew.running:
            left_s = None if self._deadline_s is None else max(0.0, self._deadline_s - self._monotonic_s())
            self._crew.wait(self._wakeup, timeout_s=left_s)
            self._wakeup.silence()
            self._take_reports()
            self._take_ends()
            self._heed_wish()
            self._heed_deadline()
        self._take_reports()
        return self._ends

    def _take_reports(self) -> None:
        for report in self._reports.drain():
            self.newest[report.party] = report
            self._emit(PartyReported(report))
        # Reports are coalesced, so a short round may never be in one; the conductor's own file has them all.
        for row in self._rounds.read_rounds():
            self._emit(RoundCompleted(row))

    def _take_ends(self) -> None:
        ended = self._crew.reap()
        # A party's last report is in the mailbox before its process ends.
        self._take_reports()
        for party, process_exit_code in ended:
            end = self._describe(party, process_exit_code)
            self._ends.append(end)
            self._emit(PartyExited(party, end.exit_code, end.reason, end.message))
            if end.exit_code != 0 and self._stage is _Stage.WATCHING:
                self._follow_s = self._patience.follow_s if self._are_connected() else self._patience.unheard_s
                self._enter(_Stage.FOLLOWING, self._follow_s)

    def _describe(self, party: str, process_exit_code: int) -> PartyEnd:
        folder = self._folder / party
        last_word = read_termination(folder)
        return describe_end(
            party,
            process_exit_code,
            reason=last_word.reason if last_word else "",
            message=last_word.message if last_word else "",
            stderr=read_stderr_tail(folder),
            made_to_stop=self._stage >= _Stage.TOLD,
        )

    def _are_connected(self) -> bool:
        """Whether the conductor has seen every party; it says Ready then, and never goes back."""
        server = self.newest.get(SERVER_PARTY)
        return server is not None and server.state not in (PartyState.STARTING, PartyState.CONNECTING)

    def _heed_wish(self) -> None:
        if not self._crew.running:
            return
        if self._wish.count > 1 and self._stage < _Stage.KILLED:
            self._make_them_end("asked twice to stop: the parties are killed")
        elif self._wish.count and self._stage < _Stage.TOLD:
            self._tell_them("asked to stop: the parties finish their step; once more to end them at once")

    def _heed_deadline(self) -> None:
        if self._deadline_s is None or self._monotonic_s() < self._deadline_s or not self._crew.running:
            return
        late = ", ".join(self._crew.running)
        if self._stage is _Stage.FOLLOWING:
            self._tell_them(f"{late} did not follow within {self._follow_s:g} s and is told to stop")
        elif self._stage is _Stage.TOLD:
            self._make_them_end(f"{late} did not stop within {self._patience.stop_s:g} s and is killed")

    def _tell_them(self, why: str) -> None:
        self._emit(RunStopping(why))
        self._enter(_Stage.TOLD, self._patience.stop_s)
        self._crew.terminate()

    def _make_them_end(self, why: str) -> None:
        self._emit(RunStopping(why))
        self._stage, self._deadline_s = _Stage.KILLED, None
        self._crew.kill()

    def _enter(self, stage: _Stage, seconds: float) -> None:
        self._stage = stage
        self._deadline_s = self._monotonic_s() + seconds
