"""A prediction needs a finished run of this very training, and says what is not so before it starts a party."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from splittraining.api.errors import ContractMismatch, StorageFailed
from splittraining.api.usage import UsageInvalid
from splittraining.local.accepted import AcceptedTraining, accept_manifest
from splittraining.local.manifest import load_manifest
from splittraining.local.trained import find_trained, iterate_differences
from support.local_support import build_manifest_document


def accept(folder: Path, *, batch_size: int = 4) -> AcceptedTraining:
    code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": {"model.py": "pass"}}
    path = folder / "training.yaml"
    path.write_text(yaml.safe_dump_all([build_manifest_document(batch_size=batch_size), code]))
    return accept_manifest(load_manifest(path))


def write_result(run: Path, party: str, accepted: AcceptedTraining, *, step: int = 6) -> None:
    (run / party / "result").mkdir(parents=True)
    manifest = {
        "party": party,
        "contractDigest": accepted.contract.compute_digest(),
        "generation": 1,
        "step": step,
        "torchVersion": "2",
        "tensors": {},
    }
    (run / party / "result" / "manifest.json").write_text(json.dumps(manifest))
    contract = accepted.contract.model_dump(mode="json", by_alias=True)
    (run / party / "party.json").write_text(json.dumps({"contract": contract}))


@pytest.fixture
def accepted(tmp_path: Path) -> AcceptedTraining:
    return accept(tmp_path)


def test_folders_that_were_fetched_from_a_cluster_are_enough(accepted: AcceptedTraining, tmp_path: Path) -> None:
    for party in ("server", "st-mary"):
        write_result(tmp_path / "run", party, accepted)
    trained = find_trained(accepted, tmp_path / "run")
    assert (trained.generation, trained.step) == (1, 6)
    assert trained.folders["st-mary"] == tmp_path / "run" / "st-mary" / "result"


def test_a_run_that_is_not_there_or_lacks_a_party_is_refused(accepted: AcceptedTraining, tmp_path: Path) -> None:
    with pytest.raises(UsageInvalid, match="there is no run in"):
        find_trained(accepted, tmp_path / "run")
    write_result(tmp_path / "run", "server", accepted)
    with pytest.raises(UsageInvalid, match="holds no result of st-mary"):
        find_trained(accepted, tmp_path / "run")


def test_another_contract_is_refused_with_the_fields_that_differ(accepted: AcceptedTraining, tmp_path: Path) -> None:
    for party in ("server", "st-mary"):
        write_result(tmp_path / "run", party, accepted)
    with pytest.raises(ContractMismatch, match=r"these fields differ: training\.batchSize\."):
        find_trained(accept(tmp_path, batch_size=8), tmp_path / "run")


def test_results_of_two_steps_are_refused(accepted: AcceptedTraining, tmp_path: Path) -> None:
    write_result(tmp_path / "run", "server", accepted)
    write_result(tmp_path / "run", "st-mary", accepted, step=5)
    with pytest.raises(ContractMismatch, match="result of st-mary is of generation 1, step 5"):
        find_trained(accepted, tmp_path / "run")


def test_a_torn_manifest_is_refused(accepted: AcceptedTraining, tmp_path: Path) -> None:
    for party in ("server", "st-mary"):
        write_result(tmp_path / "run", party, accepted)
    (tmp_path / "run" / "server" / "result" / "manifest.json").write_text("{")
    with pytest.raises(StorageFailed, match="cannot be read as the manifest of a result"):
        find_trained(accepted, tmp_path / "run")


def test_differences_are_named_by_their_place() -> None:
    first = {"a": {"b": 1, "c": [1, {"d": 2}]}, "e": 1, "f": [1]}
    second = {"a": {"b": 1, "c": [1, {"d": 3}]}, "f": [1, 2], "g": 1}
    assert list(iterate_differences(first, second)) == ["a.c[1].d", "e", "f", "g"]
