"""What a run refuses: through the command itself, with the message, the exit code, and no traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.cli.main import main
from support import faulty_models
from support.cases import Case, a_u_shaped_case, a_vanilla_case, a_vertical_case

Change = Callable[[dict[str, Any]], object]
FAULTY = Path(faulty_models.__file__).read_text(encoding="utf-8")


def a_small_case() -> Case:
    return a_vanilla_case({"north": 6, "south": 5}, rounds=1)


def a_case_of(entrypoint: str) -> Case:
    case = a_small_case().changed(lambda spec: spec["model"].update(entrypoint=f"faulty_models:{entrypoint}"))
    case.source = {"faulty_models.py": FAULTY}
    return case


def cut_at(*layers: str) -> Change:
    return lambda spec: spec["model"].update(cutPoints=[{"layer": layer} for layer in layers])


def load_with(function: str) -> Change:
    def change(spec: dict[str, Any]) -> None:
        data = spec["clients"][1]["data"]
        data.pop("format")
        data["loader"] = {"entrypoint": f"faulty_models:{function}"}

    return change


def with_rows(case: Case, client: str, **columns: np.ndarray) -> Case:
    case.tables[client]["train"].update(columns)
    return case


def without_last_row(case: Case, client: str) -> Case:
    table = case.tables[client]["train"]
    case.tables[client]["train"] = {name: column[:-1] for name, column in table.items()}
    return case


def with_another_id(case: Case, client: str) -> Case:
    ids = case.tables[client]["train"]["id"].copy()
    ids[0] = "somebody-else"
    return with_rows(case, client, id=ids)


def refuse(case: Case, folder: Path, capfd: pytest.CaptureFixture[str], code: ExitCode) -> str:
    """Runs a case through the command and returns what it wrote to stderr."""
    manifest = case.write(folder)
    assert main(["run", "-f", str(manifest), "--runs", str(folder / "runs")]) == code
    written = capfd.readouterr()
    assert "Traceback" not in written.err + written.out
    assert written.err.startswith("error: ")
    assert "To do: " in written.err
    return written.err


# Each of these is a run of real processes; those whose refusal other tests see in process are left to the slow ones.
REFUSED: list[Any] = [
    pytest.param(
        a_small_case().changed(lambda spec: spec["training"].update(batchSzie=4)),
        ExitCode.SPEC_INVALID,
        ["spec.training.batchSzie: no such field", "did you mean batchSize?"],
        id="a typo in the manifest",
    ),
    pytest.param(
        a_small_case().changed(lambda spec: spec["training"].update(numerics={"mode": "Fast"})),
        ExitCode.NOT_SUPPORTED,
        ["spec.training.numerics.mode: Fast is not in this version", "Allowed: Exact"],
        id="a value that is not there yet",
    ),
    pytest.param(
        a_small_case().changed(cut_at("botom")),
        ExitCode.MODEL_INVALID,
        ["botom", "bottom"],
        id="a cut point that does not exist",
    ),
    pytest.param(
        a_u_shaped_case().changed(cut_at("trunk", "encoder")),
        ExitCode.MODEL_INVALID,
        ["'trunk'", "'encoder'", "order"],
        id="cut points out of order",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        a_case_of("build_flat").changed(cut_at("flatten")),
        ExitCode.MODEL_INVALID,
        ["flatten", "parameter"],
        id="a cut point with no parameter before it",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        a_case_of("build_skip"),
        ExitCode.MODEL_INVALID,
        ["early", "extraCrossings"],
        id="an unlisted skip",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        a_case_of("build_tied"),
        ExitCode.MODEL_INVALID,
        ["bottom.weight", "top.weight"],
        id="a weight shared by two owners",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        a_case_of("build_branching"),
        ExitCode.MODEL_INVALID,
        ["faulty_models.py", "if x.sum() > 0"],
        id="a model that cannot be traced",
    ),
    pytest.param(
        a_small_case().changed(lambda spec: spec["clients"][0]["data"]["label"].update(columns=["finding"])),
        ExitCode.DATA_INVALID,
        ["north", "finding", "train.npz"],
        id="a missing label column",
    ),
    pytest.param(
        without_last_row(a_vertical_case(), "ward"),
        ExitCode.DATA_INVALID,
        ["training sets have different numbers of rows", "ward has 10"],
        id="unequal rows in Vertical",
    ),
    pytest.param(
        with_another_id(a_vertical_case(), "ward"),
        ExitCode.DATA_INVALID,
        ["training rows of ward have other ids"],
        id="other rows in Vertical",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        with_rows(a_small_case(), "south", x=np.zeros((5, 7), np.float32)),
        ExitCode.DATA_INVALID,
        ["south", "train.npz", "7", "5"],
        id="a row of another shape than declared",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        with_rows(a_small_case(), "south", x=np.zeros((0, 5), np.float32), y=np.zeros(0, np.int64)),
        ExitCode.DATA_INVALID,
        ["south", "train.npz", "no row"],
        id="an empty data set",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        a_vanilla_case({"north": 20}, optimizer={"name": "SGD", "learningRate": "1e30"}, rounds=2),
        ExitCode.NUMERICS,
        ["the loss is nan at step 2", "Allowed: a finite number"],
        id="a loss that is not a number",
    ),
    pytest.param(
        a_case_of("build_flat").changed(load_with("load_until_killed")),
        ExitCode.OUT_OF_MEMORY,
        ["south", "memory"],
        id="a party that the kernel kills for memory",
    ),
    pytest.param(
        a_case_of("build_flat").changed(load_with("load_too_much")),
        ExitCode.OUT_OF_MEMORY,
        ["south", "allocat"],
        id="an allocation that cannot be had",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("case", "code", "parts"), REFUSED)
def test_a_run_is_refused(
    case: Case, code: ExitCode, parts: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    message = refuse(case, tmp_path, capfd, code)
    missing = [part for part in parts if part not in message]
    assert not missing, message


@pytest.mark.slow  # one more run; without --debug every other test here sees that there is none
def test_a_partys_traceback_is_shown_with_debug(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest = a_case_of("build_branching").write(tmp_path)
    assert main(["run", "--debug", "-f", str(manifest), "--runs", str(tmp_path / "runs")]) == ExitCode.MODEL_INVALID
    message = capfd.readouterr().err
    assert "Traceback (most recent call last)" in message
    assert message.splitlines()[-1].startswith("error: ")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system of its own")
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named(tiny_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case = a_vanilla_case({"north": 40}, turn=("Epoch", 50), rounds=4)
    manifest = case.write(tmp_path)
    assert main(["run", "-f", str(manifest), "--runs", str(tiny_disk / "runs")]) == ExitCode.STORAGE
    message = capfd.readouterr().err
    assert "Traceback" not in message
    assert "No space left on device" in message
    assert "free space" in message
