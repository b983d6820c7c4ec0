"""What a prediction changes in a topology, what it refuses, and what its file holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splittraining.api.errors import ContractMismatch, ProtocolViolation
from splittraining.api.results import ResultManifest
from splittraining.api.spec.training import LossName
from splittraining.party.model.prediction import build_prediction_stages
from splittraining.party.model.stages import StageSpec
from splittraining.party.training.prediction import check_same_result
from splittraining.party.training.predictions import build_columns
from splittraining.party.wire.orders import Predict


def test_where_labels_would_travel_the_output_goes_back_to_their_holder() -> None:
    vanilla = (StageSpec("client", ("cut",), ("x",), holds_label=True), StageSpec("server"))
    assert build_prediction_stages(vanilla) == (
        StageSpec("client", ("cut",), ("x",)),
        StageSpec("server"),
        StageSpec("client", receives_output=True, holds_label=True),
    )


def test_where_the_loss_is_at_the_label_holder_nothing_changes() -> None:
    tower = StageSpec("ward", ("cut",), ("x",))
    for stages in (
        (tower, StageSpec("server", holds_label=True)),
        (tower, StageSpec("server", ("cut2",)), StageSpec("ward", (), ("x",), holds_label=True)),
        (tower, StageSpec("server"), StageSpec("registry", receives_output=True, holds_label=True)),
    ):
        assert build_prediction_stages(stages) == stages


@pytest.mark.parametrize(("generation", "step"), [(1, 7), (2, 8)], ids=["another step", "another generation"])
def test_segments_of_another_moment_than_the_servers_are_refused(generation: int, step: int) -> None:
    own = ResultManifest(
        party="st-mary", contract_digest="sha256:0", generation=1, step=8, torch_version="2", tensors={}
    )
    check_same_result(own, Predict(first_step=1, result_generation=1, result_step=8))
    with pytest.raises(ContractMismatch, match="result of st-mary is of generation 1, step 8"):
        check_same_result(own, Predict(first_step=1, result_generation=generation, result_step=step))


def test_raw_outputs_are_always_there_and_are_interpreted_where_the_loss_says_how() -> None:
    output_NK = torch.tensor([[0.0, 1.0], [3.0, -1.0]])
    classes = build_columns({"output": output_NK}, LossName.CROSS_ENTROPY, ids=None)
    assert list(classes) == ["row", "output", "class", "probability"]
    assert classes["class"].tolist() == [1, 0]
    assert classes["probability"].sum(axis=1) == pytest.approx([1.0, 1.0])
    assert classes["row"].tolist() == [0, 1]
    binary = build_columns({"output": output_NK}, LossName.BCE_WITH_LOGITS, ids=("p7", "p9"))
    assert list(binary) == ["id", "output", "probability"]
    assert binary["id"].tolist() == ["p7", "p9"]
    assert binary["probability"][0, 0] == 0.5
    assert list(build_columns({"output": output_NK}, LossName.MSE, ids=None)) == ["row", "output"]
    assert list(build_columns({"output": output_NK}, None, ids=None)) == ["row", "output"]


def test_several_outputs_have_columns_of_their_own_names() -> None:
    columns = build_columns({"grade": torch.zeros(3, 2), "stage": torch.ones(3, 1)}, None, ids=None)
    assert list(columns) == ["row", "grade.output", "stage.output"]


def test_element_types_that_numpy_lacks_are_widened() -> None:
    columns = build_columns({"output": torch.ones(2, 1, dtype=torch.bfloat16)}, None, ids=None)
    assert columns["output"].dtype == np.float32


def test_outputs_that_are_not_one_a_row_are_refused() -> None:
    with pytest.raises(ProtocolViolation, match=r"\[3\] outputs for 2 rows"):
        build_columns({"output": torch.zeros(3, 1)}, None, ids=("p7", "p9"))
