"""Parties predict together with what they trained: `splittraining predict` over real processes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from splittraining.api.exit_codes import ExitCode
from splittraining.api.usage import UsageInvalid
from splittraining.plan.environment import build_environment
from support.cases import Case, a_norm_case, a_u_shaped_case, a_vanilla_case, a_vertical_case
from support.predicting import Trained, forward, read, train, without_labels
from support.spying import MEMORY, RECORDED, SpyLauncher, find_canaries, find_in_folder


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case({"north": 6, "south": 5}), id="Vanilla"),
        pytest.param(
            a_norm_case(dropout="0.3", topology="UShaped"),
            id="UShaped with BatchNorm and dropout",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            a_vanilla_case({"north": 6, "south": 5}, handoff="None"),
            id="every client with its own bottom",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            a_vanilla_case({"north": 6, "south": 5}, handoff="PeerToPeer"),
            id="a hand-off past the server, which a prediction has none of",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_each_client_gets_what_the_unsplit_model_says_to_its_rows(case: Case, tmp_path: Path) -> None:
    trained = train(without_labels(case), tmp_path)
    before = {path: path.read_bytes() for path in trained.run.folder.rglob("*") if path.is_file()}
    result = trained.predict(rows={client["name"]: "new.npz" for client in case.spec["clients"]})
    assert result.record.files.keys() == {client["name"] for client in case.spec["clients"]}
    for each in case.test_rows:
        predicted = read(result, each.client)
        expected = forward(trained.load_whole([each.client]), each.inputs, case.plan.batch_size)
        assert torch.equal(torch.from_numpy(predicted["output"]), expected)
        assert predicted["row"].tolist() == list(range(len(each)))
        assert predicted["class"].tolist() == expected.argmax(1).tolist()
        assert predicted["probability"] == pytest.approx(torch.softmax(expected.double(), 1).numpy())
    assert {path: path.read_bytes() for path in before} == before, "the training's own files were touched"


def test_rows_of_several_institutions_are_joined_by_id_and_the_label_holder_gets_the_outputs(tmp_path: Path) -> None:
    case = without_labels(a_vertical_case())
    trained = train(case, tmp_path)
    clients = [client["name"] for client in case.spec["clients"]]
    result = trained.predict(rows=dict.fromkeys(clients, "new.csv"))
    (rows,) = case.test_rows
    assert list(result.record.files) == ["registry"]
    predicted = read(result, "registry")
    expected = forward(trained.load_whole(trained.list_owners()), rows.inputs, case.plan.batch_size)
    assert torch.equal(torch.from_numpy(predicted["output"]), expected)
    assert predicted["id"].tolist() == sorted(case.tables["registry"]["test"]["id"].tolist())
    assert predicted["probability"] == pytest.approx(torch.sigmoid(expected.double()).numpy())
    manifest = json.loads((trained.run.folder / "server" / "result" / "manifest.json").read_text())
    assert (predicted["step"], predicted["contract_digest"]) == (manifest["step"], manifest["contractDigest"])
    assert result.record.result_step == manifest["step"]


def a_case_with_wide_outputs() -> Case:
    """A U-shape whose outputs are so many floats that their bytes are nowhere by chance."""
    case = without_labels(a_u_shaped_case(num_clients=1))
    for parts in case.tables.values():
        for part in ("train", "test"):
            parts[part]["y"] = np.random.default_rng(7).uniform(size=(len(parts[part]["x"]), 6)).astype(np.float32)

    def widen(spec: dict) -> None:
        spec["model"]["arguments"] = {"num_outputs": "6"}
        spec["model"]["label"]["shape"] = [6]
        spec["training"]["loss"] = {"name": "MSE"}
        spec["training"]["evaluation"]["metrics"] = []

    return case.changed(widen)


def test_the_server_of_a_u_shape_never_has_a_prediction(tmp_path: Path) -> None:
    trained = train(a_case_with_wide_outputs(), tmp_path)
    launcher = SpyLauncher(tmp_path / "seen", environment=build_environment(intra_op_threads=1))
    result = trained.predict(rows={"north": "new.npz"}, launcher=launcher)
    canaries = [(f"prediction {row}", output.tobytes()) for row, output in enumerate(read(result, "north")["output"])]
    seen = tmp_path / "seen"
    assert find_canaries(seen / "server" / RECORDED, canaries) == []
    assert find_canaries(seen / "server" / MEMORY, canaries) == []
    assert find_in_folder(result.folder / "server", canaries) == []
    assert find_in_folder(result.folder / "north", canaries), "the search would not find what is there"


@pytest.fixture(scope="module")
def two_hospitals(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    case = without_labels(a_vanilla_case({"north": 5, "south": 4}, rounds=1)).without_test_rows("south")
    return train(case, tmp_path_factory.mktemp("two-hospitals"))


def test_in_vanilla_outputs_go_back_and_labels_do_not_travel(two_hospitals: Trained) -> None:
    result = two_hospitals.predict()
    # By default the rows are data.test, and a client without any predicts nothing.
    assert list(result.record.files) == ["north"]
    assert len(read(result, "north")["output"]) == 5
    plan = json.loads((result.folder / "server" / "plan.json").read_text("utf-8"))["wirePlan"]
    assert [(value["name"], value["source"]) for value in plan["values"]] == [("bottom", "Cut"), ("output", "Output")]
    links = {report.party: report.links for report in result.record.reports}
    (link,) = links["north"]
    assert (link.payload_sent, link.payload_received) == (
        5 * 4 * plan["values"][0]["shape"][1],
        5 * 4 * plan["values"][1]["shape"][1],
    )
    # What is there is not written over unasked, and another folder does as well.
    with pytest.raises(
        UsageInvalid, match="--restart to delete it and start over, or give another folder with --output"
    ):
        two_hospitals.predict()


def test_rows_that_are_not_there_end_it_by_name(two_hospitals: Trained, tmp_path: Path) -> None:
    result = two_hospitals.predict(rows={"south": "nothing.npz"}, output=tmp_path / "out")
    assert (result.outcome.exit_code, result.outcome.party) == (ExitCode.DATA_INVALID, "south")
    assert "nothing.npz in volume 'south' cannot be read" in result.outcome.message
    assert result.record.files == {}
    with pytest.raises(UsageInvalid, match="--rows names server, which brings no rows"):
        two_hospitals.predict(rows={"server": "new.npz"})
    with pytest.raises(UsageInvalid, match="that is not a path on the party's volume"):
        two_hospitals.predict(rows={"south": "/etc/passwd"})


def test_a_result_that_was_changed_ends_it_by_name(two_hospitals: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(two_hospitals.run.folder, folder)
    path = folder / "north" / "result" / "segments.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = Trained(two_hospitals.case, replace(two_hospitals.run, folder=folder), two_hospitals.manifest)
    result = changed.predict(output=tmp_path / "out")
    assert (result.outcome.exit_code, result.outcome.party) == (ExitCode.STORAGE, "north")
    assert "not the manifest's: missing, added or changed" in result.outcome.message
