"""Every example does what its README promises, run as a person would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from splittraining.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, runs: Path) -> tuple[Path, dict[str, float]]:
    """Makes the example's data, runs its manifest and returns the run's folder and its last metrics."""
    subprocess.run([sys.executable, EXAMPLES / name / "make_data.py"], check=True, capture_output=True)
    assert main(["run", "-f", str(EXAMPLES / name / "training.yaml"), "--runs", str(runs)]) == 0
    (folder,) = runs.iterdir()
    rows = [json.loads(line) for line in (folder / "server" / "metrics.jsonl").read_text("utf-8").splitlines()]
    return folder, [row for row in rows if row["kind"] == "round"][-1]["metrics"]


def test_01_two_hospitals_reach_95_percent(tmp_path: Path) -> None:
    folder, metrics = run_example("01-vanilla-two-hospitals", tmp_path)
    assert metrics["accuracy"] >= 0.95
    segments = {
        party: (folder / party / "result" / "segments.safetensors").read_bytes() for party in ("st-mary", "st-luke")
    }
    assert segments["st-mary"] == segments["st-luke"]


def test_02_the_server_trains_without_a_label(tmp_path: Path) -> None:
    folder, metrics = run_example("02-u-shaped-no-labels", tmp_path)
    assert metrics["accuracy"] >= 0.93
    assert metrics["auc_mean" if "auc_mean" in metrics else "auc"] >= 0.97
    plan = json.loads((folder / "server" / "plan.json").read_text("utf-8"))
    assert "Label" not in {value["source"] for value in plan["wirePlan"]["values"]}


def test_03_three_institutions_and_a_label_holder_join(tmp_path: Path) -> None:
    _, metrics = run_example("03-vertical-modalities", tmp_path)
    assert metrics["accuracy"] >= 0.93
    assert metrics["auc"] >= 0.97


def test_06_one_image_has_two_answers_at_two_institutions(tmp_path: Path) -> None:
    _, metrics = run_example("06-multi-task-one-image-two-answers", tmp_path)
    assert metrics["accuracy_digit"] >= 0.93
    assert metrics["accuracy_odd"] >= 0.93


def test_04_a_board_works_on_what_two_institutions_say(tmp_path: Path) -> None:
    folder, metrics = run_example("04-extended-vanilla-board", tmp_path)
    assert metrics["accuracy"] >= 0.93
    assert metrics["auc"] >= 0.96
    assert list_carried(folder) == {("cytology", "board"), ("pathology", "board"), ("board", "server")}


def test_05_four_owners_learn_in_a_chain(tmp_path: Path) -> None:
    folder, metrics = run_example("05-multi-hop-chain", tmp_path)
    assert metrics["accuracy"] >= 0.92
    assert list_carried(folder) == {("clinic", "institute"), ("institute", "university"), ("university", "server")}


def list_carried(folder: Path) -> set[tuple[str, str]]:
    """Returns from whom to whom values of cuts go, by the plan that all parties derived."""
    plan = json.loads((folder / "server" / "plan.json").read_text("utf-8"))["wirePlan"]
    owners = [stage["owner"] for stage in plan["stages"]]
    return {
        (owners[value["producer"]], owners[consumer])
        for value in plan["values"]
        for consumer in value["consumers"]
        if value["source"] == "Cut"
    }


def test_09_three_clinics_hand_on_past_the_server(tmp_path: Path) -> None:
    folder, metrics = run_example("09-peer-to-peer-three-clinics", tmp_path)
    assert metrics["accuracy"] >= 0.95
    reports = json.loads((folder / "run.json").read_text("utf-8"))["reports"]
    (server,) = (report for report in reports if report["party"] == "server")
    secret = 512  # the clients' secret, sealed to two of them, is all that goes through the server
    assert sum(link.get("sealedReceived", 0) for link in server["links"]) < secret


def test_07_many_clinics_train_on_one_batch(tmp_path: Path) -> None:
    folder, metrics = run_example("07-parallel-many-clinics", tmp_path)
    assert metrics["accuracy"] >= 0.93
    clinics = ("harbor", "hillside", "station")
    assert len({(folder / name / "result" / "segments.safetensors").read_bytes() for name in clinics}) == 1


def test_08_hospitals_average_their_layers(tmp_path: Path) -> None:
    folder, metrics = run_example("08-split-fed-hospitals", tmp_path)
    assert metrics["accuracy"] >= 0.93
    hospitals = ("north", "south", "west")
    assert len({(folder / name / "result" / "segments.safetensors").read_bytes() for name in hospitals}) == 1


@pytest.mark.parametrize("folder", sorted(EXAMPLES.iterdir()), ids=lambda folder: folder.name)
def test_every_example_is_complete_and_accepted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("README.md", "training.yaml", "make_data.py"):
        assert (folder / name).is_file()
    assert main(["validate", "-f", str(folder / "training.yaml")]) == 0, capsys.readouterr().err
