"""Metrics: equal to scikit-learn's, whatever the batches, and safe to take from a peer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor

from splittraining.api.errors import NumericsInvalid, ProtocolViolation
from splittraining.api.spec.training import LossName, MetricName
from splittraining.party.training.auc import compute_auc
from splittraining.party.training.metrics import (
    EvaluationSums,
    MetricSet,
    combine_evaluations,
    parse_number,
    render_number,
)

BOTH = (MetricName.ACCURACY, MetricName.AUC)


def evaluate(
    output: Tensor,
    label: Tensor,
    loss_name: LossName | None,
    *,
    names: Sequence[MetricName] = BOTH,
    batch_size: int = 7,
    ignore_index: int = -100,
) -> dict[str, float]:
    metrics = MetricSet(names, loss_name, ignore_index=ignore_index)
    for outputs, labels in zip(output.split(batch_size), label.split(batch_size), strict=True):
        metrics.update(outputs, labels, torch.tensor(0.5), len(outputs))
    return combine_evaluations([metrics.summary()])


def draw(*shape: int, levels: int = 8) -> Tensor:
    """Logits of few different values, so that many tie."""
    return torch.randint(-levels, levels, shape, generator=torch.Generator().manual_seed(levels)) / 4


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_the_area_under_the_curve_is_scikit_learns_with_ties(rows: list[tuple[int, bool]]) -> None:
    scores, truths = [float(score) for score, _ in rows], [truth for _, truth in rows]
    auc = compute_auc(torch.tensor(scores)[:, None], torch.tensor(truths)[:, None])
    if len(set(truths)) == 1:
        assert auc is None
    else:
        assert auc == pytest.approx(roc_auc_score(truths, scores), abs=1e-12)


@pytest.mark.parametrize("shape", [(40,), (40, 1)], ids=["a number a row", "one logit a row"])
@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_answers_are_counted_as_scikit_learn_does(shape: tuple[int, ...], batch_size: int) -> None:
    logits = draw(*shape)
    answers = (draw(*shape, levels=5) > 0).float()
    found = evaluate(logits, answers, LossName.BCE_WITH_LOGITS, batch_size=batch_size)
    truth, scores = answers.flatten().numpy(), logits.flatten().numpy()
    assert found == {
        "loss": 0.5,
        "accuracy": accuracy_score(truth, scores > 0),
        "auc": pytest.approx(roc_auc_score(truth, scores), abs=1e-12),
    }


def test_several_answers_a_row_are_counted_each_and_their_areas_averaged() -> None:
    logits, answers = draw(50, 3), (draw(50, 3, levels=5) > 0).float()
    found = evaluate(logits, answers, LossName.BCE_WITH_LOGITS)
    assert found["accuracy"] == pytest.approx(float(((logits > 0) == (answers > 0)).float().mean()))
    assert found["auc"] == pytest.approx(roc_auc_score(answers.numpy(), logits.numpy()), abs=1e-12)


def test_two_classes_are_ranked_by_the_second_against_the_first() -> None:
    logits, classes = draw(40, 2), (draw(40, levels=5) > 0).long()
    found = evaluate(logits, classes, LossName.CROSS_ENTROPY)
    assert found["accuracy"] == accuracy_score(classes, logits.argmax(dim=1))
    margin = logits[:, 1] - logits[:, 0]
    assert found["auc"] == pytest.approx(roc_auc_score(classes.numpy(), margin.numpy()), abs=1e-12)


def test_sure_predictions_do_not_tie_by_rounding() -> None:
    logits = torch.tensor([[0.0, 30.0], [0.0, 40.0], [0.0, 50.0]])  # softmax of all is 1 in float32
    assert evaluate(logits, torch.tensor([0, 0, 1]), LossName.CROSS_ENTROPY)["auc"] == 1


def test_many_classes_are_ranked_one_against_the_rest_and_averaged() -> None:
    logits = draw(60, 4)
    classes = torch.arange(60) % 4
    found = evaluate(logits, classes, LossName.CROSS_ENTROPY)
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    expected = roc_auc_score(classes.numpy(), probabilities, multi_class="ovr", average="macro")
    assert found["auc"] == pytest.approx(expected, abs=1e-12)
    assert found["accuracy"] == accuracy_score(classes, logits.argmax(dim=1))


def test_classes_that_no_row_has_are_left_out_of_the_mean() -> None:
    logits, classes = draw(30, 4), torch.arange(30) % 2
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    expected = np.mean([roc_auc_score(classes.numpy() == k, probabilities[:, k]) for k in range(2)])
    assert evaluate(logits, classes, LossName.CROSS_ENTROPY)["auc"] == pytest.approx(expected, abs=1e-12)


def test_pixels_are_predictions_and_ignored_ones_count_for_nothing() -> None:
    logits, classes = draw(5, 3, 4, 4), torch.arange(80).reshape(5, 4, 4) % 4  # class 3 stands for: no class
    found = evaluate(logits, classes, LossName.CROSS_ENTROPY, ignore_index=3, batch_size=2)
    flat, truth = logits.movedim(1, -1).reshape(-1, 3), classes.flatten()
    kept = truth != 3
    assert found["accuracy"] == accuracy_score(truth[kept], flat[kept].argmax(dim=1))


def test_class_probabilities_are_judged_by_the_likeliest() -> None:
    logits = draw(20, 3)
    assert evaluate(logits, torch.softmax(logits, dim=1), LossName.CROSS_ENTROPY)["accuracy"] == 1


def test_one_class_alone_has_no_area() -> None:
    assert evaluate(draw(9, 2), torch.zeros(9).long(), LossName.CROSS_ENTROPY).keys() == {"loss", "accuracy"}
    assert evaluate(draw(9), torch.ones(9), LossName.BCE_WITH_LOGITS).keys() == {"loss", "accuracy"}


def test_only_what_is_asked_for_is_computed() -> None:
    logits, classes = draw(9, 3), torch.arange(9) % 3
    assert evaluate(logits, classes, LossName.CROSS_ENTROPY, names=()).keys() == {"loss"}
    assert evaluate(logits, classes, LossName.CROSS_ENTROPY, names=(MetricName.AUC,)).keys() == {"loss", "auc"}


def test_numbers_to_come_near_to_have_no_accuracy() -> None:
    assert evaluate(draw(9, 3), draw(9, 3), LossName.MSE).keys() == {"loss"}


def test_the_classes_of_a_loss_of_ones_own_are_known_by_their_labels() -> None:
    logits = draw(9, 3)
    assert evaluate(logits, logits.argmax(dim=1), None)["accuracy"] == 1
    assert evaluate(logits, logits.clone(), None).keys() == {"loss"}


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 50)), min_size=1, max_size=6))
def test_the_loss_is_weighted_by_rows(batches: list[tuple[float, int]]) -> None:
    metrics = MetricSet((), LossName.MSE)
    for loss, rows in batches:
        metrics.update(torch.zeros(rows), torch.zeros(rows), loss, rows)
    expected = sum(loss * rows for loss, rows in batches) / sum(rows for _, rows in batches)
    assert combine_evaluations([metrics.summary()])["loss"] == pytest.approx(expected)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_evaluation(loss: float) -> None:
    with pytest.raises(NumericsInvalid, match="the evaluation's loss is"):
        MetricSet((), LossName.MSE).update(torch.zeros(1), torch.zeros(1), torch.tensor(loss), 1)


def test_several_holders_are_weighted_by_rows_and_predictions_and_their_area_is_called_a_mean() -> None:
    north = EvaluationSums(rows=30, loss_sum=15.0, predictions=60, correct=30, auc=0.5)
    south = EvaluationSums(rows=10, loss_sum=1.0, predictions=20, correct=20, auc=0.9)
    no_area = EvaluationSums(rows=5, loss_sum=0.0, predictions=10, correct=0)
    nobody = EvaluationSums()
    assert combine_evaluations([north, nobody, south]) == {"loss": 0.4, "accuracy": 0.625, "auc_mean": 0.6}
    assert combine_evaluations([north, south, no_area])["auc_mean"] == 0.6
    assert combine_evaluations([north, no_area])["auc_mean"] == 0.5
    assert combine_evaluations([north, nobody])["auc"] == 0.5


def test_where_nobody_evaluated_there_is_nothing() -> None:
    assert combine_evaluations([]) == {}
    assert combine_evaluations([MetricSet(BOTH, LossName.MSE).summary()]) == {}


@given(
    st.builds(
        EvaluationSums,
        rows=st.integers(0, 2**53),
        loss_sum=st.floats(allow_nan=False, allow_infinity=False),
        predictions=st.just(9),
        correct=st.integers(0, 9),
        auc=st.none() | st.floats(0, 1),
    )
)
def test_sums_come_through_as_text_unchanged(sums: EvaluationSums) -> None:
    assert EvaluationSums.from_texts(sums.as_texts()) == sums
    assert all(len(text) <= 32 for _, text in sums.as_texts())


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "-1"},
        {"rows": "1.0"},
        {"rows": "²"},
        {"rows": "9" * 32},
        {"rows": "9" * 5000},
        {"rows": None},
        {"loss_sum": "nan"},
        {"loss_sum": "1e999"},
        {"loss_sum": "0" * 33},
        {"loss_sum": "much"},
        {"correct": "11"},
        {"correct": None},
        {"predictions": None},
        {"auc": "1.5"},
        {"auc": "-0.1"},
        {"f1": "0.5"},
    ],
    ids=str,
)
def test_sums_that_cannot_be_are_refused(change: dict[str, str | None]) -> None:
    good = {"rows": "10", "loss_sum": "1.5", "predictions": "10", "correct": "9", "auc": "0.5"}
    EvaluationSums.from_texts(good.items())
    wrong = [(name, text) for name, text in (good | change).items() if text is not None]
    with pytest.raises(ProtocolViolation) as refused:
        EvaluationSums.from_texts(wrong)
    assert len(str(refused.value)) < 300


def test_a_number_given_twice_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="at most once"):
        EvaluationSums.from_texts([("rows", "1"), ("rows", "2"), ("loss_sum", "0")])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_itself(value: float) -> None:
    assert parse_number(render_number(value), name="loss_sum") == value
    assert render_number(np.float64(value)) == render_number(value)
