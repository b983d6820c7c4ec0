"""What the API has and this version does not run is refused by name."""

from __future__ import annotations

import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.api.spec.data import DataFormat
from splittraining.api.support import find_unsupported
from support.builders import (
    TrainingBuilder,
    a_multi_hop_training,
    a_multi_task_training,
    a_u_shaped_training,
    a_vanilla_training,
    a_vertical_training,
    an_extended_training,
)

VANILLA = a_vanilla_training()


@pytest.mark.parametrize(
    "build",
    [
        a_vanilla_training,
        a_u_shaped_training,
        a_vertical_training,
        an_extended_training,
        a_multi_hop_training,
        a_multi_task_training,
    ],
)
def test_every_topology_runs(build):
    assert find_unsupported(build().build().spec) == []


@pytest.mark.parametrize(
    ("training", "given", "allowed"),
    [
        pytest.param(
            VANILLA.with_value("spec.training.numerics.mode", "Fast"),
            "spec.training.numerics.mode: Fast is not in this version",
            "Exact",
            id="Fast",
        ),
        pytest.param(
            VANILLA.with_value("spec.mode", "Predict"),
            "spec.mode: Predict is not in this version",
            "Train",
            id="Predict",
        ),
        pytest.param(
            VANILLA.with_value("spec.faultTolerance.onClientLoss", "Skip"),
            "spec.faultTolerance.onClientLoss: Skip is not in this version",
            "Wait, Fail",
            id="Skip",
        ),
        pytest.param(
            VANILLA.with_value("spec.suspend", True),  # noqa: FBT003 - the value of a field
            "spec.suspend is given, and a local run cannot be suspended",
            "",
            id="suspending",
        ),
        pytest.param(
            VANILLA.with_value("spec.activeDeadlineSeconds", 60),
            "spec.activeDeadlineSeconds is given, and a local run keeps no deadline",
            "",
            id="a deadline",
        ),
        pytest.param(
            VANILLA.with_value("spec.checkpoint", {}),
            "spec.checkpoint is given, and checkpoints are not in this version",
            "",
            id="checkpoints",
        ),
    ],
)
def test_what_this_version_does_not_run_is_refused_by_name(training: TrainingBuilder, given: str, allowed: str):
    (refusal,) = find_unsupported(training.build().spec)
    assert (refusal.given, refusal.allowed) == (given, allowed)
    assert refusal.exit_code is ExitCode.NOT_SUPPORTED
    assert refusal.remedy


def test_all_of_it_is_told_at_once():
    training = (
        VANILLA.with_value("spec.mode", "Predict")
        .with_value("spec.training.numerics.mode", "Fast")
        .with_value("spec.checkpoint", {})
    )
    assert len(find_unsupported(training.build().spec)) == 3


WITH_VOLUME = VANILLA.with_value("spec.checkpoint", {"volume": {"storage": "2Gi"}})


@pytest.mark.parametrize(
    ("training", "paths"),
    [
        pytest.param(VANILLA.with_value("spec.suspend", True), [], id="suspending"),  # noqa: FBT003 - a field's value
        pytest.param(VANILLA.with_value("spec.activeDeadlineSeconds", 60), [], id="a deadline"),
        pytest.param(WITH_VOLUME, [], id="a volume"),
        pytest.param(WITH_VOLUME.with_value("spec.checkpoint.everyRounds", 1), [], id="a volume, defaults filled in"),
        pytest.param(WITH_VOLUME.with_value("spec.checkpoint.everyRounds", 2), ["spec.checkpoint"], id="checkpoints"),
        pytest.param(VANILLA.with_value("spec.checkpoint", {}), ["spec.checkpoint"], id="checkpoints without a volume"),
    ],
)
def test_an_operator_runs_more_than_a_local_run(training: TrainingBuilder, paths: list[str]):
    found = find_unsupported(training.build().spec, in_cluster=True)
    assert [error.given.split()[0] for error in found] == paths


@pytest.mark.parametrize("file_format", DataFormat)
def test_every_format_is_read(file_format: DataFormat):
    training = VANILLA.with_value("spec.clients.1.data.format", file_format.value)
    assert find_unsupported(training.build().spec) == []
