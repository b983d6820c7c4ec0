"""A prediction by the parties of a finished training: the same processes, identities and door as a run's."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from splittraining.api.party_document import PredictionTask
from splittraining.api.resource import SplitTraining
from splittraining.api.results import PREDICTIONS_PATH
from splittraining.api.spec.data import DataFile
from splittraining.api.usage import UsageInvalid
from splittraining.local.accepted import AcceptedTraining, accept_manifest, list_data_claims, list_warm_start_claims
from splittraining.local.events import Event
from splittraining.local.launcher import Launcher
from splittraining.local.logs import logging_to
from splittraining.local.manifest import Manifest
from splittraining.local.outcome import Outcome, decide_outcome
from splittraining.local.results import find_versions
from splittraining.local.runner import PartiesRun, Surroundings, announce
from splittraining.local.signals import StopWish, Wakeup
from splittraining.local.trained import Trained, find_trained
from splittraining.local.volumes import resolve_volumes
from splittraining.local.workspace import LOG_FILE, PREDICTION_RECORD_FILE, PREDICTIONS_FOLDER, Workspace, write_file
from splittraining.plan.environment import build_environment
from splittraining.plan.topology import get_data, list_parties
from splittraining.report.prediction import PredictionRecord
from splittraining.report.record import RecordedOutcome


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """What to predict, with what, and where it goes."""

    manifest: Manifest
    run_folder: Path | None = None
    """The run that trained; by default the one of the training's name in `runs`."""
    output_folder: Path | None = None
    """By default `predictions` in the run's folder."""
    rows: Mapping[str, Path] = field(default_factory=dict)
    """Files by party, relative to their volumes."""
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Folders by claim, as the user gave them."""
    restart: bool = False
    debug: bool = False


@dataclass(frozen=True, slots=True)
class PredictionResult:
    """How a prediction ended, and where it is."""

    outcome: Outcome
    folder: Path
    record: PredictionRecord


def run_prediction(
    request: PredictionRequest,
    *,
    emit: Callable[[Event], None],
    wakeup: Wakeup,
    wish: StopWish,
    launcher: Launcher | None = None,
    surroundings: Surroundings | None = None,
) -> PredictionResult:
    """Predicts on this machine with what a run trained, until the last party has ended.

    Args:
        request: What to predict.
        emit: Called with every event, in this thread.
        wakeup: Rung by `wish`.
        wish: The user's wish to stop.
        launcher: Starts the parties; by default one whose fork server has the training's own thread counts.
        surroundings: Time and names.

    Raises:
        SplitTrainingError: if it cannot start. What happens to parties is in the result instead.
    """
    around = surroundings or Surroundings()
    started_at = around.now()
    accepted = accept_manifest(request.manifest)
    spec, metadata = accepted.training.spec, accepted.training.metadata
    run_folder = request.run_folder or Path("runs") / metadata.name
    tasks, trained = build_tasks(accepted, run_folder, request.rows)
    claims = choose_claims(accepted.training, request.volumes)
    volumes = resolve_volumes(claims, request.volumes, request.manifest.folder)
    launcher = launcher or Launcher(
        environment=build_environment(intra_op_threads=spec.training.numerics.intra_op_threads)
    )
    folder = request.output_folder or run_folder / PREDICTIONS_FOLDER
    with Workspace(folder, restart=request.restart, flag="--output") as workspace, logging_to(folder / LOG_FILE):
        launcher.warm_up()
        run = PartiesRun(
            accepted, volumes, workspace, run_id=around.make_run_id(), debug=request.debug, predictions=tasks
        )
        emit(announce(accepted, folder, predicts=True))
        ends, reports = run.execute(launcher, emit=emit, wakeup=wakeup, wish=wish, around=around)
        outcome = decide_outcome(ends, interrupted=wish.count > 0)
        parties = list_parties(spec)
        record = PredictionRecord(
            name=metadata.name,
            namespace=metadata.namespace,
            run_id=run.run_id,
            contract_digest=accepted.contract.compute_digest(),
            result_generation=trained.generation,
            result_step=trained.step,
            rows={party: str(path) for party, path in request.rows.items()},
            files={
                party: f"{party}/{PREDICTIONS_PATH}"
                for party in parties
                if (folder / party / PREDICTIONS_PATH).is_file()
            },
            started_at=started_at.isoformat(timespec="seconds"),
            finished_at=around.now().isoformat(timespec="seconds"),
            outcome=RecordedOutcome(
                exit_code=outcome.exit_code,
                reason=outcome.reason,
                party=outcome.party,
                message=outcome.message,
                remedy=outcome.remedy,
            ),
            versions=find_versions(),
            reports=tuple(reports[party] for party in parties if party in reports),
        )
        rendered = record.model_dump_json(by_alias=True, indent=2) + "\n"
        write_file(folder / PREDICTION_RECORD_FILE, rendered.encode())
        return PredictionResult(outcome, folder, record)


def choose_claims(training: SplitTraining, given: Container[str]) -> list[str]:
    """Returns the claims that a prediction has to find: those with rows.

    First weights are not needed again. Whoever repeats the flags of the training may name their claims all the same.
    """
    return [*list_data_claims(training), *(claim for claim in list_warm_start_claims(training) if claim in given)]


def build_tasks(
    accepted: AcceptedTraining, run_folder: Path, rows: Mapping[str, Path]
) -> tuple[dict[str, PredictionTask], Trained]:
    """Builds what each party is to predict with.

    Raises:
        UsageInvalid: if rows are named for a party that brings none, or there is nothing to predict with.
        SplitTrainingError: if the results do not belong to this training.
    """
    spec = accepted.training.spec
    holders = [party for party in list_parties(spec) if get_data(spec, party) is not None]
    unknown = sorted(rows.keys() - set(holders))
    if unknown:
        raise UsageInvalid(
            f"--rows names {', '.join(unknown)}, which brings no rows",
            allowed=f"parties with data: {', '.join(holders)}",
            remedy="correct the name before the equals sign",
        )
    trained = find_trained(accepted, run_folder)
    return {
        party: PredictionTask(result_path=str(folder), rows=_build_file(party, rows[party]) if party in rows else None)
        for party, folder in trained.folders.items()
    }, trained


def _build_file(party: str, path: Path) -> DataFile:
    try:
        return DataFile(path=str(path))
    except ValidationError as error:
        raise UsageInvalid(
            f"--rows {party}={path}: that is not a path on the party's volume",
            allowed="a path relative to the volume's root, such as new/rows.npz, without `..`",
            remedy="put the file on the volume, or give another volume with --volume CLAIM=FOLDER",
        ) from error
