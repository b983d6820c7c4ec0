"""What the API has and this version does not run is refused by name."""

from __future__ import annotations

import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.api.spec.data import DataFormat
from splittraining.api.spec.schedule import ScheduleMode
from splittraining.api.spec.split_training import Topology
from splittraining.api.support import FORMATS, SCHEDULES, TOPOLOGIES, find_unsupported
from support.builders import (
    TrainingBuilder,
    a_multi_hop_training,
    a_multi_task_training,
    a_u_shaped_training,
    a_vanilla_training,
    a_vertical_training,
    an_extended_training,
    make_data,
)

VANILLA = a_vanilla_training()

FORMAT = "spec.clients.1.data.format"


@pytest.mark.parametrize("build", [a_vanilla_training, a_u_shaped_training, a_vertical_training, a_multi_task_training])
def test_these_topologies_run(build):
    assert find_unsupported(build().build().spec) == []


@pytest.mark.parametrize(
    "build",
    [a_vanilla_training, a_u_shaped_training, a_vertical_training, a_multi_hop_training, an_extended_training],
)
def test_the_topologies_run(build):
    assert find_unsupported(build().build().spec) == []


@pytest.mark.parametrize(
    ("training", "given", "allowed"),
    [
        *(
            pytest.param(
                VANILLA.with_value("spec.topology", topology.value),
                f"spec.topology: {topology.value} is not in this version",
                "Vanilla, UShaped, Vertical, ExtendedVanilla, MultiHop",
                id=topology.value,
            )
            for topology in Topology
            if topology not in TOPOLOGIES
        ),
        *(
            pytest.param(
                VANILLA.with_value("spec.schedule", {"mode": mode.value}),
                f"spec.schedule.mode: {mode.value} is not in this version",
                "Sequential, Joint",
                id=mode.value,
            )
            for mode in ScheduleMode
            if mode not in SCHEDULES
        ),
        *(
            pytest.param(
                VANILLA.with_value(FORMAT, file_format.value),
                f"spec.clients[1].data.format: {file_format.value} is not in this version",
                "NPZ, CSV, or a loader of your own (data.loader)",
                id=file_format.value,
            )
            for file_format in DataFormat
            if file_format not in FORMATS
        ),
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
        pytest.param(
            a_vertical_training().with_server(data={**make_data(label="malignant", ids="id"), "format": "Parquet"}),
            "spec.server.data.format: Parquet is not in this version",
            "NPZ, CSV, or a loader of your own (data.loader)",
            id="a server's data",
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
        VANILLA.with_value("spec.mode", "Predict").with_value(FORMAT, "Parquet").with_value("spec.checkpoint", {})
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
