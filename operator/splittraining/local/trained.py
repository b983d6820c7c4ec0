"""What a run trained, as its folder says before any party is started: whose results are there, of which step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from splittraining.api.errors import ContractMismatch, StorageFailed
from splittraining.api.exit_codes import ExitCode
from splittraining.api.results import MANIFEST_PATH, RESULT_FOLDER, ResultManifest
from splittraining.api.usage import UsageInvalid
from splittraining.local.accepted import AcceptedTraining
from splittraining.local.leftovers import read_record
from splittraining.local.workspace import DOCUMENT_FILE, RECORD_FILE
from splittraining.plan.topology import list_parties

_MOST_DIFFERENCES = 8


@dataclass(frozen=True, slots=True)
class Trained:
    """The results of one run."""

    folders: Mapping[str, Path]
    """Folder of each party's result."""
    generation: int
    step: int


def find_trained(accepted: AcceptedTraining, run_folder: Path) -> Trained:
    """Finds every party's result of one training.

    Args:
        accepted: The training, as its manifest has it now.
        run_folder: A run's folder, or any with one folder per party, such as `fetch` leaves.

    Raises:
        UsageInvalid: if there is no such run, it has not finished, or a party's result is missing.
        ContractMismatch: if a result is of another contract, with the fields that differ, or of another step.
        StorageFailed: if a manifest is damaged.
    """
    if not run_folder.is_dir():
        raise UsageInvalid(
            f"there is no run in {run_folder}",
            allowed="the folder of a finished run, such as runs/NAME",
            remedy="train first with `splittraining run`, or name the folder with --run",
        )
    _check_finished(run_folder)
    parties = list_parties(accepted.training.spec)
    missing = [party for party in parties if not (run_folder / party / MANIFEST_PATH).is_file()]
    if missing:
        raise UsageInvalid(
            f"{run_folder} holds no result of {', '.join(missing)}",
            allowed=f"{MANIFEST_PATH} in the folder of every party: {', '.join(parties)}",
            remedy="wait until the training has finished, or bring these folders with `splittraining fetch`",
        )
    manifests = {party: _read_manifest(run_folder / party / MANIFEST_PATH) for party in parties}
    for party, manifest in manifests.items():
        _check_contract(accepted, run_folder / party, manifest)
    first = manifests[parties[0]]
    for party, manifest in manifests.items():
        if (manifest.generation, manifest.step) != (first.generation, first.step):
            raise ContractMismatch(
                f"the result of {party} is of generation {manifest.generation}, step {manifest.step}",
                allowed=f"generation {first.generation}, step {first.step}, as that of {parties[0]}",
                remedy="take all folders from one run",
            )
    folders = {party: run_folder.resolve() / party / RESULT_FOLDER for party in parties}
    return Trained(folders, first.generation, first.step)


def _check_finished(run_folder: Path) -> None:
    if not (run_folder / RECORD_FILE).is_file():
        return  # folders that were brought here one by one: the results themselves say whether they are there
    outcome = read_record(run_folder).outcome
    if outcome.exit_code != ExitCode.OK:
        raise UsageInvalid(
            f"the run in {run_folder} has not finished: it ended with {outcome.reason}",
            allowed="a run that has succeeded",
            remedy="run the training to its end first",
        )


def _read_manifest(path: Path) -> ResultManifest:
    try:
        return ResultManifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StorageFailed(
            f"{path} cannot be read as the manifest of a result ({type(error).__name__})",
            allowed="a result just as its party wrote it",
            remedy="fetch or copy it again",
        ) from error


def _check_contract(accepted: AcceptedTraining, folder: Path, manifest: ResultManifest) -> None:
    digest = accepted.contract.compute_digest()
    if manifest.contract_digest == digest:
        return
    trained = _read_contract(folder / DOCUMENT_FILE)
    paths = (
        []
        if trained is None
        else list(iterate_differences(trained, accepted.contract.model_dump(mode="json", by_alias=True)))
    )
    shown = ", ".join(paths[:_MOST_DIFFERENCES]) + (", …" if len(paths) > _MOST_DIFFERENCES else "")
    raise ContractMismatch(
        f"the result in {folder} was trained under contract {manifest.contract_digest}"
        + (f"; these fields differ: {shown}" if shown else ""),
        allowed=f"contract {digest}, which the manifest and the model's source give",
        remedy="predict with the manifest and the source that the training had",
    )


def _read_contract(path: Path) -> object:
    try:
        document = json.loads(path.read_bytes())
        return document.get("contract") if isinstance(document, dict) else None
    except (OSError, ValueError):
        return None


def iterate_differences(first: object, second: object, place: str = "") -> Iterator[str]:
    """Yields the places where two JSON values differ, the deepest that both have."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in dict.fromkeys((*first, *second)):
            inside = f"{place}.{name}" if place else name
            yield from iterate_differences(first.get(name), second.get(name), inside)
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from iterate_differences(one, other, f"{place}[{index}]")
    elif first != second:
        yield place
