"""What a run tells whoever started it. The runner emits these to a callback, one at a time, and draws nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from splittraining.api.party_document import Role
from splittraining.api.report import Report
from splittraining.local.outcome import Outcome
from splittraining.report.metrics import RoundRow


@dataclass(frozen=True, slots=True)
class PartyFacts:
    """One party as the plan has it."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The manifest is accepted, and the parties are being started."""

    name: str
    namespace: str
    topology: str
    rounds: int
    """0 in a run that predicts."""
    parties: tuple[PartyFacts, ...]
    folder: Path


@dataclass(frozen=True, slots=True)
class PartyReported:
    """A party told how it goes."""

    report: Report


@dataclass(frozen=True, slots=True)
class RoundCompleted:
    """The conductor finished a round."""

    row: RoundRow


@dataclass(frozen=True, slots=True)
class PartyExited:
    """A party's process ended."""

    party: str
    exit_code: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RunStopping:
    """The parties are asked to stop, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Every party has ended and the results are written."""

    outcome: Outcome
    report_path: Path


Event = RunStarted | PartyReported | RoundCompleted | PartyExited | RunStopping | RunFinished
