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


@pytest.mark.parametrize("folder", sorted(EXAMPLES.iterdir()), ids=lambda folder: folder.name)
def test_every_example_is_complete_and_accepted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("README.md", "training.yaml", "make_data.py"):
        assert (folder / name).is_file()
    assert main(["validate", "-f", str(folder / "training.yaml")]) == 0, capsys.readouterr().err
