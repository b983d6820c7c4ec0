"""The record of a run that predicted: of what, with which weights, and where the outputs are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.report import Report
from splittraining.report.record import RecordedOutcome


class PredictionRecord(Document):
    """One prediction by the parties of one training."""

    record_version: int = 1
    name: str
    """Name of the SplitTraining."""
    namespace: str = "default"
    """Its namespace."""
    run_id: str
    """What every identity of the prediction carried."""
    contract_digest: str
    """The contract of the training, and of every party's result."""
    result_generation: Annotated[int, Field(ge=1)]
    """Generation of the run that trained."""
    result_step: Annotated[int, Field(ge=0)]
    """Global step of the weights."""
    rows: dict[str, str]
    """The files that were named, by party; all others took data.test."""
    files: dict[str, str]
    """Predictions by the party that has them, relative to this record."""
    started_at: str
    """UTC, ISO 8601."""
    finished_at: str
    """UTC, ISO 8601."""
    outcome: RecordedOutcome
    """How it ended."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Version by distribution, of what computed."""
    reports: tuple[Report, ...] = ()
    """The last report of each party that reported."""
