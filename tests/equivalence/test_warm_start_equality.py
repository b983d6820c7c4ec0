"""Parties with and without data start from given weights: the training is the unsplit one's from the same start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from splittraining.api.exit_codes import ExitCode
from splittraining.api.usage import UsageInvalid
from support.cases import Case, a_multi_hop_case
from support.runs import run_case
from support.training_oracle import Means, train_by

OWN_CLAIM = {"persistentVolumeClaim": {"claimName": "pretrained"}}


def write(folder: Path, claim: str, tensors: dict[str, torch.Tensor]) -> str:
    path = folder / "data" / claim / "first.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def a_pretrained_model(case: Case) -> dict[str, torch.Tensor]:
    torch.manual_seed(99)
    return {name: tensor.clone() for name, tensor in case.build_model().state_dict().items()}


def warm(server: dict[str, Any], **clients: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Returns a change of a spec that lets parties start from `first.safetensors`."""

    def change(spec: dict[str, Any]) -> None:
        spec["rounds"] = 1
        for party in [spec["server"], *spec["clients"]]:
            given = server if party is spec["server"] else clients.get(party["name"])
            if given:
                party["warmStart"] = {"path": "first.safetensors", **given}

    return change


def test_a_server_and_a_hop_without_data_start_from_claims_of_their_own_and_a_clinic_from_its_rows(
    tmp_path: Path,
) -> None:
    case = a_multi_hop_case()
    first = a_pretrained_model(case)
    digest = write(tmp_path, "pretrained", first)
    beside_rows = write(tmp_path, "clinic", {name: first[name] for name in first if name.startswith("first.")})
    case = case.changed(
        warm(
            {"volume": OWN_CLAIM, "digest": digest},
            lab={"volume": OWN_CLAIM, "digest": digest, "parameters": ["second.0.weight"]},
            clinic={"digest": beside_rows},
        )
    )
    start = {name: first[name] for name in first if name.startswith(("last.", "first.")) or name == "second.0.weight"}
    expected = train_by(case, Means(start=start))
    assert expected.losses != train_by(case).losses
    run = run_case(case, tmp_path)
    assert run.outcome.exit_code == 0, run.outcome
    assert run.read_losses() == expected.losses
    merged = run.merge_segments(["server", "clinic", "lab", "center"])
    assert merged.keys() == expected.state.keys()
    assert [name for name in merged if not torch.equal(merged[name], expected.state[name])] == []


def test_a_claim_without_a_folder_is_named_before_anything_is_started(tmp_path: Path) -> None:
    case = a_multi_hop_case().changed(warm({"volume": OWN_CLAIM, "digest": "sha256:" + "0" * 64}))
    with pytest.raises(UsageInvalid, match=r"no folder is known for the claim pretrained.* --volume pretrained=FOLDER"):
        run_case(case, tmp_path)


@pytest.mark.slow
def test_another_file_than_the_contract_names_ends_the_run_by_the_servers_name(tmp_path: Path) -> None:
    case = a_multi_hop_case()
    write(tmp_path, "pretrained", a_pretrained_model(case))
    run = run_case(case.changed(warm({"volume": OWN_CLAIM, "digest": "sha256:" + "0" * 64})), tmp_path)
    assert (run.outcome.exit_code, run.outcome.party) == (ExitCode.CONTRACT_MISMATCH, "server")
    assert "the warm start first.safetensors has digest" in run.outcome.message
