"""Results of parties as one state dict, under the names that the author's own model has.

One folder gives its party's segments. Several give the whole model, or nothing: all must come from one step of one
run, and together hold every owner's segments. Where clients hold different values of the same segments, the whole model
is that of one of them, and who asks says whose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors.torch import save

from splittraining.api.errors import ContractMismatch, StorageFailed
from splittraining.api.plan_report import PlanReport
from splittraining.api.results import RESULT_FOLDER, ExportReport
from splittraining.api.usage import UsageInvalid
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.training.results import write_atomically
from splittraining.party.training.stored_result import StoredResult, read_result

PLAN_FILE = "plan.json"
"""The plan that the party agreed to, beside its result."""


def export_state_dict(folders: Sequence[Path], output: Path, *, client: str = "") -> ExportReport:
    """Writes the results in some parties' folders as one safetensors file.

    Args:
        folders: Each in the layout of a party's volume: one for its own segments, all owners' for the whole model.
        output: The file.
        client: Of clients that hold the same segments, the one whose values the whole model has; empty where none is
            chosen.

    Raises:
        StorageFailed: if a result is not whole, or the file cannot be written.
        ContractMismatch: if the results are not of one run, generation and step.
        UsageInvalid: if owners are missing, or clients hold different segments of the same name and none is chosen, or
            the chosen one is not among them.
    """
    stored = [read_result(folder / RESULT_FOLDER) for folder in folders]
    _refuse_repeated(stored)
    if len(stored) > 1:
        _check_one_run(stored)
        plan = _agree_on_plan({each.manifest.party: _read_plan(each) for each in stored})
        if client:
            stored = _choose_client(stored, plan, client)
        _check_owners(stored, plan)
    elif client:
        raise UsageInvalid(
            f"--client {client} with the one folder of {stored[0].manifest.party}",
            allowed="a choice between clients where the whole model is asked for",
            remedy="leave --client out, or give the folders of all owners too",
        )
    tensors: dict[str, torch.Tensor] = {}
    for each in stored:
        tensors |= build_state_dict(each)
    if not tensors:
        raise UsageInvalid(
            f"{stored[0].manifest.party} owns no tensors: it holds labels and computes the loss",
            allowed="the folder of a party that owns layers",
            remedy="`splittraining plan` shows who owns what",
        )
    manifest = stored[0].manifest
    parties = tuple(each.manifest.party for each in stored)
    data = save(tensors, metadata=_build_metadata(stored))
    write_atomically(output, data)
    return ExportReport(
        path=str(output),
        parties=parties,
        is_whole=len(stored) > 1,
        num_tensors=len(tensors),
        size_bytes=len(data),
        contract_digest=manifest.contract_digest,
        generation=manifest.generation,
        step=manifest.step,
    )


def build_state_dict(stored: StoredResult) -> dict[str, torch.Tensor]:
    """Returns a result's tensors under every name that they have in the model's state dict, and no others."""
    manifest = stored.manifest
    state = {name: tensor for name, tensor in stored.tensors.items() if name not in manifest.not_persistent}
    # A copy, since safetensors refuses two names over one memory.
    return state | {name: stored.tensors[held].clone() for name, held in manifest.also_named.items()}


def _build_metadata(stored: Sequence[StoredResult]) -> dict[str, str]:
    manifest = stored[0].manifest
    return {
        "format": "pt",
        "parties": ",".join(each.manifest.party for each in stored),
        "contractDigest": manifest.contract_digest,
        "generation": str(manifest.generation),
        "step": str(manifest.step),
    }


def _refuse_repeated(stored: Sequence[StoredResult]) -> None:
    folders: dict[str, Path] = {}
    for each in stored:
        party = each.manifest.party
        if party in folders:
            raise UsageInvalid(
                f"{folders[party]} and {each.folder} are both results of {party}",
                allowed="one folder per party",
                remedy="leave one of them out",
            )
        folders[party] = each.folder


def _check_one_run(stored: Sequence[StoredResult]) -> None:
    first = stored[0].manifest
    for each in stored[1:]:
        for what, field in (("contract", "contract_digest"), ("generation", "generation"), ("step", "step")):
            expected, given = getattr(first, field), getattr(each.manifest, field)
            if given != expected:
                raise ContractMismatch(
                    f"the result of {each.manifest.party} in {each.folder} is of {what} {given}",
                    allowed=f"{what} {expected}, as the result of {first.party} in {stored[0].folder}",
                    remedy="take all folders from one run, after it has finished",
                )


def _read_plan(stored: StoredResult) -> PlanReport:
    path = stored.folder.parent / PLAN_FILE
    try:
        report = PlanReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StorageFailed(
            f"{path} cannot be read as a plan ({type(error).__name__})",
            allowed="the plan that the party agreed to; it says who owns what",
            remedy="give the party's whole folder, with its plan.json",
        ) from error
    if report.wire_plan.compute_digest() != report.wire_plan_digest:
        raise StorageFailed(
            f"{path} was changed: its wire plan is not the one of digest {report.wire_plan_digest}",
            allowed="the plan as the party wrote it",
            remedy="fetch or copy the folder again",
        )
    return report


def _agree_on_plan(plans: Mapping[str, PlanReport]) -> PlanReport:
    """Returns the plan that all have, or refuses."""
    party, plan = next(iter(plans.items()))
    for other, given in plans.items():
        if (given.wire_plan_digest, given.segments) != (plan.wire_plan_digest, plan.segments):
            raise ContractMismatch(
                f"{other} agreed to wire plan {given.wire_plan_digest}",
                allowed=f"{plan.wire_plan_digest}, as {party} did, with the same segments",
                remedy="take all folders from one run",
            )
    return plan


def _choose_client(stored: Sequence[StoredResult], plan: PlanReport, client: str) -> list[StoredResult]:
    """Leaves out all other clients that hold the same segments as the chosen one."""
    alike = [each.manifest.party for each in stored if _find_owner(each, plan) == CLIENT_OWNER]
    if client not in alike:
        raise UsageInvalid(
            f"--client {client}: that is none of the clients to choose from",
            allowed=f"one of {_join(alike)}" if alike else "no --client, since each of these parties owns other layers",
            remedy="correct the name, or add that client's folder" if alike else "leave --client out",
        )
    return [each for each in stored if each.manifest.party == client or each.manifest.party not in alike]


def _find_owner(stored: StoredResult, plan: PlanReport) -> str:
    party = stored.manifest.party
    return party if party in {segment.owner for segment in plan.segments} else CLIENT_OWNER


def _check_owners(stored: Sequence[StoredResult], plan: PlanReport) -> None:
    """Refuses folders that together are not exactly one whole model."""
    # Who only computes a loss owns no tensor; its folder may be there or not.
    owners = [segment.owner for segment in plan.segments if segment.num_parameters + segment.num_buffers]
    results: dict[str, list[StoredResult]] = {}
    for each in stored:
        results.setdefault(_find_owner(each, plan), []).append(each)
    missing = [owner for owner in dict.fromkeys(owners) if owner not in results]
    if missing:
        listed = ", ".join("any client" if owner == CLIENT_OWNER else owner for owner in missing)
        raise UsageInvalid(
            f"the model is not whole without the folders of {listed}",
            allowed="the folders of all who own layers, or one folder for that party's own layers",
            remedy="ask them for their folders; nobody else has what they trained",
        )
    _refuse_different_clients(results.get(CLIENT_OWNER, []))
    _refuse_shared_names([each[0] for each in results.values()])


def _refuse_different_clients(clients: Sequence[StoredResult]) -> None:
    tensors = {each.manifest.party: each.manifest.tensors for each in clients}
    first = next(iter(tensors.values()), {})
    different = [name for name in first if any(held.get(name) != first[name] for held in tensors.values())]
    if different:
        others = f" and {len(different) - 1} more" if len(different) > 1 else ""
        raise UsageInvalid(
            f"the clients {_join(list(tensors))} hold different values of {different[0]}{others}",
            allowed="clients with the same segments, or the whole model of one of them",
            remedy=f"choose whose it shall be, such as --client {next(iter(tensors))}",
        )


def _refuse_shared_names(results: Iterable[StoredResult]) -> None:
    owners: dict[str, str] = {}
    for each in results:
        for name in build_state_dict(each):
            if name in owners:
                raise ContractMismatch(
                    f"{owners[name]} and {each.manifest.party} both hold {name!r}",
                    allowed="one owner for every tensor",
                    remedy="take all folders from one run",
                )
            owners[name] = each.manifest.party


def _join(names: Sequence[str]) -> str:
    return ", ".join(names)
