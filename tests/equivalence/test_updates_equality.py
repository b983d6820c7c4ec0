"""Schedules, clipping, groups and freezing in real processes equal plain PyTorch over the unsplit model, to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from support.cases import ADAM, MOMENTUM, Case, a_multi_hop_case, a_u_shaped_case, a_vanilla_case, a_vertical_case
from support.runs import FinishedRun, run_case
from support.training_oracle import Means, Rate, Trained, train_by

CLASSIFIER_STEPS = 8  # a round of the three clients: 3 + 2 + 3 batches


def with_training(case: Case, fields: Mapping[str, Any], *, rounds: int | None = None) -> Case:
    def change(spec: dict[str, Any]) -> None:
        spec["training"].update(fields)
        spec["rounds"] = rounds or spec["rounds"]

    return case.changed(change)


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def assert_equals(run: FinishedRun, case: Case, expected: Trained) -> None:
    assert run.read_losses() == expected.losses
    clients = [client["name"] for client in case.spec["clients"]]
    groups = [clients] if case.spec["schedule"]["mode"] == "Joint" else [[client] for client in clients]
    for group in groups:
        merged = run.merge_segments(["server", *group])
        assert merged.keys() == expected.state.keys()
        assert not [name for name, tensor in expected.state.items() if not torch.equal(merged[name], tensor)]


def fall(done: int, horizon: int, warmup: int, least: float) -> float:
    """Half a cosine wave, written out once more."""
    share = min(1.0, (done - warmup) / (horizon - warmup))
    return least + (1 - least) * ((1 + math.cos(math.pi * share)) / 2)


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        pytest.param(
            {"name": "Cosine", "unit": "Step", "warmup": 3, "horizon": 14, "minimumFactor": "0.1"},
            lambda _round, step: step / 3 if step <= 3 else (fall(step - 1, 14, 3, 0.1) if step <= 14 else 0.1),
            id="a cosine over steps that warms up and ends before the training does",
        ),
        pytest.param(
            {"name": "Step", "every": 1, "gamma": "0.3"},
            lambda round_number, _step: 0.3 ** (round_number - 1),
            id="a reduction every round",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"name": "MultiStep", "unit": "Step", "milestones": [5, 13], "gamma": "0.5", "warmup": 2},
            lambda _round, step: (
                [0.5, 1.0][step - 1] if step <= 2 else 1.0 if step <= 5 else 0.5 if step <= 13 else 0.25
            ),
            id="milestones in the middle of turns",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"name": "Linear", "horizon": 4},
            lambda round_number, _step: 1 - (round_number - 1) / 4,
            id="a line down over rounds",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_learning_rate_schedule_equals_plain_pytorch(schedule: dict[str, Any], rate: Rate, tmp_path: Path) -> None:
    case = with_training(a_vanilla_case(optimizer=MOMENTUM), {"learningRateSchedule": schedule})
    expected = train_by(case, Means(rate=rate))
    assert len(expected.losses) == 2 * CLASSIFIER_STEPS
    run = succeed(case, tmp_path)
    assert_equals(run, case, expected)
    assert [row["metrics"]["learning_rate"] for row in run.read_rounds()] == expected.rates


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case(optimizer=MOMENTUM), id="Vanilla with hand-off"),
        pytest.param(a_u_shaped_case(optimizer=ADAM), id="UShaped"),
        pytest.param(a_vertical_case(optimizer=MOMENTUM), id="Vertical with a label holder of its own"),
        pytest.param(
            a_vertical_case(label_at="server"), id="Vertical with labels at the server", marks=pytest.mark.slow
        ),
        pytest.param(a_multi_hop_case(), id="a chain of four owners, whose values are relayed"),
    ],
)
def test_clipping_by_global_norm_equals_the_unsplit_model(case: Case, tmp_path: Path) -> None:
    limit = 0.2
    case = with_training(case, {"gradientClipping": {"mode": "GlobalNorm", "limit": str(limit)}})
    expected = train_by(
        case, Means(clip=lambda all_of_them: nn.utils.clip_grad_norm_(all_of_them, limit, foreach=False))
    )
    assert expected.num_clipped >= len(expected.losses) // 2
    assert_equals(succeed(case, tmp_path), case, expected)


def test_clipping_by_value_equals_the_unsplit_model(tmp_path: Path) -> None:
    case = with_training(a_vanilla_case(optimizer=ADAM), {"gradientClipping": {"mode": "Value", "limit": "0.05"}})
    expected = train_by(case, Means(clip=lambda all_of_them: nn.utils.clip_grad_value_(all_of_them, 0.05)))
    assert expected.num_clipped > len(expected.losses) // 2
    assert_equals(succeed(case, tmp_path), case, expected)


@pytest.mark.slow
def test_clipping_by_segment_norm_is_each_partys_own(tmp_path: Path) -> None:
    def clip(all_of_them: list[nn.Parameter]) -> None:
        for own in (all_of_them[:2], all_of_them[2:]):  # the client's linear layer, then the server's two
            nn.utils.clip_grad_norm_(own, 0.1, foreach=False)

    case = with_training(a_vanilla_case(), {"gradientClipping": {"mode": "SegmentNorm", "limit": "0.1"}})
    expected = train_by(case, Means(clip=clip))
    assert expected.num_clipped > len(expected.losses) // 2
    assert_equals(succeed(case, tmp_path), case, expected)


def test_parameter_groups_under_a_schedule_equal_plain_pytorch(tmp_path: Path) -> None:
    groups = [
        {"parameters": ["*.bias"], "weightDecay": "0"},
        {"parameters": ["top.*"], "learningRateFactor": "0.3", "weightDecay": "0.1"},
    ]

    def group(name: str) -> dict[str, float]:
        if name.endswith("bias"):
            return {"weight_decay": 0.0}
        return {"lr": 0.3, "weight_decay": 0.1} if name.startswith("top") else {}

    case = with_training(
        a_vanilla_case(optimizer=MOMENTUM),
        {
            "optimizer": {**MOMENTUM, "parameterGroups": groups},
            "learningRateSchedule": {"name": "Step", "unit": "Step", "every": 3, "gamma": "0.7"},
        },
    )
    expected = train_by(case, Means(group=group, rate=lambda _round, step: 0.7 ** ((step - 1) // 3)))
    assert_equals(succeed(case, tmp_path), case, expected)


@pytest.mark.parametrize(
    ("case", "patterns", "frozen", "gradients"),
    [
        pytest.param(
            a_vanilla_case(optimizer=MOMENTUM),
            ["bottom.*"],
            ["bottom.0.weight", "bottom.0.bias"],
            [False],
            id="a client",
        ),
        pytest.param(
            a_u_shaped_case(),
            ["trunk.*"],
            ["trunk.0.weight", "trunk.0.bias"],
            [True, True],
            id="the server's trunk",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            a_u_shaped_case(),
            ["encoder.*", "trunk.*", "*.bias"],
            ["encoder.0.weight", "encoder.0.bias", "trunk.0.weight", "trunk.0.bias", "head.bias"],
            [False, False],
            id="all but the head",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_frozen_layers_stay_and_no_gradient_goes_back_for_them(
    case: Case, patterns: list[str], frozen: list[str], gradients: list[bool], tmp_path: Path
) -> None:
    case = with_training(case, {"freeze": patterns, "gradientClipping": {"mode": "GlobalNorm", "limit": "0.5"}})
    clip = lambda all_of_them: nn.utils.clip_grad_norm_(all_of_them, 0.5, foreach=False)  # noqa: E731
    expected = train_by(case, Means(frozen=frozen, clip=clip))
    run = succeed(case, tmp_path)
    assert_equals(run, case, expected)
    assert run.record.plan is not None
    values = [value for value in run.record.plan.wire_plan.values if value.source == "Cut"]
    assert [value.differentiable for value in values] == gradients


def test_label_smoothing_and_class_weights_equal_plain_pytorch(tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["training"]["loss"]["arguments"] = {"label_smoothing": "0.1", "weight": "1,2.5,0.5"}

    def loss(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(output, label, weight=torch.tensor([1.0, 2.5, 0.5]), label_smoothing=0.1)

    case = a_vanilla_case(optimizer=ADAM).changed(change)
    expected = train_by(case, Means(loss=loss))
    assert expected.losses != train_by(case).losses
    assert_equals(succeed(case, tmp_path), case, expected)
