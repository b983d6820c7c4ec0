"""Several tasks at several label parties equal one model trained on the sum of its losses, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.cases import ADAM, MOMENTUM, SGD, Case, a_multi_task_case
from support.oracle import train_tasks
from support.runs import FinishedRun, run_case


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def assert_equals_the_joint_model(case: Case, folder: Path) -> None:
    run = succeed(case, folder)
    inputs, tasks = case.task_rows
    expected = train_tasks(case.build_model, inputs, tasks, case.plan)
    losses = {task.name: run.read_task_losses(task.name) for task in tasks}
    assert losses == expected.losses
    sums = [float(sum(map(np.float32, each))) for each in zip(*losses.values(), strict=True)]
    assert sums == expected.sums
    state = run.merge_segments(["server", *(client["name"] for client in case.spec["clients"])])
    assert state.keys() == expected.state.keys()
    assert [name for name in state if not torch.equal(state[name], expected.state[name])] == []


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_multi_task_case(), id="two tasks over one branch"),
        pytest.param(
            a_multi_task_case(num_branches=2, num_tasks=3, optimizer=ADAM), id="three tasks over two branches, Adam"
        ),
        pytest.param(a_multi_task_case(bare=True), id="a task without a head", marks=pytest.mark.slow),
        pytest.param(
            a_multi_task_case(num_branches=2, at_a_branch=True), id="labels at a branch too", marks=pytest.mark.slow
        ),
    ],
)
def test_equals_plain_pytorch(case: Case, tmp_path: Path) -> None:
    assert_equals_the_joint_model(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [SGD, MOMENTUM, ADAM], ids=["SGD", "momentum and weight decay", "Adam"])
@pytest.mark.parametrize("num_branches", [1, 2], ids=["one branch", "two branches"])
@pytest.mark.parametrize("num_tasks", [2, 3], ids=["two tasks", "three tasks"])
def test_any_number_of_branches_and_tasks_equals_plain_pytorch(
    num_branches: int, num_tasks: int, optimizer: dict[str, str], tmp_path: Path
) -> None:
    case = a_multi_task_case(num_branches=num_branches, num_tasks=num_tasks, optimizer=optimizer)
    assert_equals_the_joint_model(case, tmp_path)


def test_each_task_has_metrics_of_its_own_and_the_losses_are_summed(tmp_path: Path) -> None:
    run = succeed(a_multi_task_case(num_tasks=3), tmp_path)
    for row in run.read_rounds():
        metrics = row["metrics"]
        assert isinstance(metrics, dict)
        assert metrics.keys() == {
            "train_loss", "train_loss_kind", "train_loss_flag", "train_loss_size",
            "loss", "loss_kind", "loss_flag", "loss_size", "accuracy_kind", "accuracy_flag",
        }  # fmt: skip
        for whole in ("train_loss", "loss"):
            parts = [metrics[f"{whole}_{task}"] for task in ("kind", "flag", "size")]
            assert metrics[whole] == pytest.approx(sum(parts))


def test_the_same_seed_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (succeed(a_multi_task_case(), tmp_path / name) for name in ("first", "second"))
    for party in ("server", "lab", "oncology", "surgery"):
        path = Path(party) / "result" / "segments.safetensors"
        assert (first.folder / path).read_bytes() == (second.folder / path).read_bytes()
