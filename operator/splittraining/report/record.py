"""The record of a run: all that the report is made from, beside the metrics rows. A run folder keeps it as run.json."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.party_document import Role
from splittraining.api.plan_report import PlanReport
from splittraining.api.report import Report


class RecordedParty(Document):
    """One party of the run."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    """Party name."""
    role: Role
    """Client or Server."""


class RecordedOutcome(Document):
    """How the run ended, and through whom."""

    exit_code: Annotated[int, Field(ge=0, le=255)]
    """The exit code of the command."""
    reason: str = ""
    """The error's name; empty after success."""
    party: str = ""
    """The party that failed first, where one did."""
    message: str = ""
    """A sentence for people."""
    remedy: str = ""
    """What to do next."""


class RunRecord(Document):
    """One run of one training, complete enough to render its report again."""

    record_version: int = 1
    name: str
    """Name of the SplitTraining."""
    namespace: str = "default"
    """Its namespace."""
    run_id: str
    """What every identity of the run carried."""
    topology: str
    """For example `Vanilla`."""
    schedule: str
    """For example `Sequential, turn of 1 Epoch, hand-off ViaServer`."""
    rounds: Annotated[int, Field(ge=1)]
    """Rounds asked for."""
    batch_size: Annotated[int, Field(ge=1)]
    """Rows of a full batch."""
    parties: tuple[RecordedParty, ...]
    """Every party in contract order."""
    contract_digest: str
    """What all parties agreed on."""
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    """UTC, ISO 8601."""
    elapsed_milliseconds: Annotated[int, Field(ge=0)]
    """From the command to the last party's end."""
    outcome: RecordedOutcome
    """How it ended."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Version by distribution, of what computes."""
    reports: tuple[Report, ...] = ()
    """The last report of each party that reported."""
    plan: PlanReport | None = None
    """Segments and wire plan, where the parties got as far as cutting the model."""
