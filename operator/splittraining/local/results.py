"""The results of a run: the record of it, and the report rendered from that."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import splittraining
from splittraining.api.report import Report
from splittraining.api.spec.schedule import ScheduleSpec
from splittraining.local.accepted import AcceptedTraining
from splittraining.local.leftovers import read_metrics, read_plan, read_record
from splittraining.local.outcome import Outcome
from splittraining.local.workspace import RECORD_FILE, REPORT_FILE, write_file
from splittraining.plan.topology import get_role, list_parties
from splittraining.report.record import RecordedOutcome, RecordedParty, RunRecord
from splittraining.report.render import render_report

_DISTRIBUTIONS = ("torch", "numpy", "grpcio", "cryptography", "safetensors")
"""What computes, carries, protects and stores: what a result can depend on."""


def build_record(
    accepted: AcceptedTraining,
    *,
    run_id: str,
    outcome: Outcome,
    reports: Mapping[str, Report],
    folder: Path,
    started_at: datetime,
    finished_at: datetime,
    elapsed_s: float,
) -> RunRecord:
    """Builds the record of a run that has ended.

    Args:
        accepted: What was run.
        run_id: What its identities carried.
        outcome: How it ended.
        reports: The last report of each party that reported.
        folder: The run folder, read for the plan that the parties agreed on.
        started_at: When the command began.
        finished_at: When the last party had ended.
        elapsed_s: Between the two, by a clock that never goes back.
    """
    training = accepted.training
    spec = training.spec
    parties = list_parties(spec)
    return RunRecord(
        name=training.metadata.name,
        namespace=training.metadata.namespace,
        run_id=run_id,
        topology=spec.topology.value,
        schedule=render_schedule(spec.schedule),
        rounds=spec.rounds,
        batch_size=spec.training.batch_size,
        parties=tuple(RecordedParty(name=party, role=get_role(party)) for party in parties),
        contract_digest=accepted.contract.compute_digest(),
        started_at=started_at.isoformat(timespec="seconds"),
        finished_at=finished_at.isoformat(timespec="seconds"),
        elapsed_milliseconds=round(elapsed_s * 1000),
        outcome=RecordedOutcome(
            exit_code=outcome.exit_code,
            reason=outcome.reason,
            party=outcome.party,
            message=outcome.message,
            remedy=outcome.remedy,
        ),
        versions=find_versions(),
        reports=tuple(reports[party] for party in parties if party in reports),
        plan=read_plan(folder, parties),
    )


def write_results(record: RunRecord, folder: Path) -> Path:
    """Writes the record and the report of a run, and returns the report's path.

    Raises:
        StorageFailed: if the disk is full.
    """
    write_file(folder / RECORD_FILE, (record.model_dump_json(by_alias=True, indent=2) + "\n").encode())
    return write_report(record, folder)


def rewrite_report(folder: Path) -> Path:
    """Renders the report of a finished run again, from what its folder holds, and returns its path.

    Raises:
        UsageInvalid: if the folder holds no run that has ended.
    """
    return write_report(read_record(folder), folder)


def write_report(record: RunRecord, folder: Path) -> Path:
    """Renders a report from a record and the parties' metrics, and returns its path."""
    metrics = read_metrics(folder, [party.name for party in record.parties])
    path = folder / REPORT_FILE
    write_file(path, render_report(record, metrics).encode())
    return path


def render_schedule(schedule: ScheduleSpec) -> str:
    """Renders a schedule as the manifest's own words in one phrase."""
    if schedule.sequential is None:
        return schedule.mode.value
    turn, handoff = schedule.sequential.turn, schedule.sequential.handoff
    return f"{schedule.mode.value}, turns of {turn.length} {turn.unit.value}, hand-off {handoff.value}"


def find_versions() -> dict[str, str]:
    """Returns the versions of what the parties ran on, without importing any of it."""
    versions = {"splittraining": splittraining.__version__, "python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
