"""Which round is the best and when the training ends: ties, a least gain, and metrics that are not there."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.errors import ProtocolViolation
from splittraining.api.spec.training import EvaluationSpec
from splittraining.party.training.best_round import EvaluatedRound, KeptWeights, RoundSelection


def select(values: list[float], *, name: str = "loss", **spec: Any) -> tuple[int, int]:
    """Returns the best round and the last one."""
    selection = RoundSelection(EvaluationSpec.model_validate(spec))
    number = 0
    for number, value in enumerate(values, start=1):
        selection.observe(EvaluatedRound(number, 10 * number), {name: value, "train_loss": 0.0})
        if selection.is_over(number):
            break
    return selection.best.round if selection.best else 0, number


@pytest.mark.parametrize(
    ("values", "spec", "expected"),
    [
        ([3, 2, 2, 2.5], {}, (2, 4)),
        ([3, 2, 2, 2.5, 1], {"earlyStopping": {"patienceRounds": 2}}, (2, 4)),
        ([3, 2, 2, 1.5, 1.6, 1.7], {"earlyStopping": {"patienceRounds": 2}}, (4, 6)),
        ([3, 2, 1.95, 1.94, 1], {"earlyStopping": {"patienceRounds": 2, "minDelta": "0.1"}}, (2, 4)),
        ([math.nan, 2, math.nan, math.nan], {"earlyStopping": {"patienceRounds": 2}}, (2, 4)),
        ([math.nan, math.nan, 1], {"earlyStopping": {"patienceRounds": 2}}, (0, 2)),
    ],
)
def test_a_lower_loss_is_better(values: list[float], spec: dict[str, Any], expected: tuple[int, int]) -> None:
    assert select(values, **spec) == expected


@pytest.mark.parametrize(("monitor", "name"), [("Accuracy", "accuracy"), ("AUC", "auc"), ("AUC", "auc_mean")])
def test_a_higher_accuracy_or_auc_is_better_and_of_equal_rounds_the_first(monitor: str, name: str) -> None:
    assert select([0.5, 0.9, 0.9, 0.7], name=name, monitor=monitor) == (2, 4)


def test_a_metric_that_is_not_defined_makes_no_round_better() -> None:
    assert select([0.5, 0.6], name="loss", monitor="AUC") == (0, 2)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30))
def test_the_best_round_is_the_first_of_the_lowest_loss(values: list[float]) -> None:
    assert select(values) == (values.index(min(values)) + 1, len(values))


def test_kept_weights_come_back_whatever_happened_since_and_only_for_their_round() -> None:
    tensors = {"weight": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    kept = KeptWeights()
    with pytest.raises(ProtocolViolation, match="no round is kept"):
        kept.restore(1, tensors)
    kept.keep(4, tensors)
    tensors["weight"].zero_()
    tensors["count"].add_(1)
    with pytest.raises(ProtocolViolation, match="round 4, whose weights are kept"):
        kept.restore(5, tensors)
    kept.restore(4, tensors)
    assert tensors["weight"].tolist() == [1.0, 2.0]
    assert tensors["count"].item() == 3
