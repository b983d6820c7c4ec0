"""The loss: PyTorch's own to the bit, and labels that do not fit are told in a sentence, without a label in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splittraining.api.errors import DataInvalid, ModelCodeFailed, ModelInvalid, NumericsInvalid, SpecInvalid
from splittraining.api.spec.training import LossName, LossSpec
from splittraining.party.training.loss import build_loss, check_finite_loss, parse_ignore_index

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([0, 1, 2, 2, 1, 0])
ANSWERS = torch.tensor([[0.0, 1.0, 1.0]]).repeat(6, 1)


def refuse_import(entrypoint: str) -> Callable[..., Any]:
    raise AssertionError(f"imported {entrypoint}")


def named(name: LossName, **arguments: str) -> Callable[[Tensor, Tensor], Tensor]:
    return build_loss(LossSpec(name=name, arguments=arguments), refuse_import)


def own(function: Callable[..., Any], **arguments: str) -> Callable[[Tensor, Tensor], Tensor]:
    return build_loss(LossSpec(entrypoint="xray.loss:compute", arguments=arguments), lambda _: function)


@pytest.mark.parametrize(
    ("loss", "plain", "label"),
    [
        (named(LossName.CROSS_ENTROPY), nn.CrossEntropyLoss(), CLASSES),
        (
            named(LossName.CROSS_ENTROPY, weight="0.1, 0.7,2e-1", label_smoothing="0.1", ignore_index="1"),
            nn.CrossEntropyLoss(torch.tensor([0.1, 0.7, 0.2]), label_smoothing=0.1, ignore_index=1),
            CLASSES,
        ),
        (named(LossName.CROSS_ENTROPY), nn.CrossEntropyLoss(), torch.softmax(LOGITS * 2, dim=1)),
        (named(LossName.CROSS_ENTROPY), nn.CrossEntropyLoss(), torch.tensor([0, -100, 2, 2, 1, -100])),
        (named(LossName.BCE_WITH_LOGITS), nn.BCEWithLogitsLoss(), ANSWERS),
        (
            named(LossName.BCE_WITH_LOGITS, weight="1,2,3", pos_weight="0.5"),
            nn.BCEWithLogitsLoss(torch.tensor([1.0, 2, 3]), pos_weight=torch.tensor(0.5)),
            ANSWERS,
        ),
        (named(LossName.MSE), nn.MSELoss(), ANSWERS),
    ],
    ids=[
        "CrossEntropy",
        "CrossEntropy with arguments",
        "class probabilities",
        "ignored rows",
        "BCEWithLogits",
        "BCEWithLogits with arguments",
        "MSE",
    ],
)
def test_value_and_gradient_are_bit_equal_to_pytorchs_own(
    loss: Callable[[Tensor, Tensor], Tensor], plain: nn.Module, label: Tensor
) -> None:
    ours, theirs = (LOGITS.clone().requires_grad_() for _ in range(2))
    given, expected = loss(ours, label), plain(theirs, label)
    assert torch.equal(given, expected)
    given.backward()
    expected.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)


def test_cross_entropy_of_pixels_takes_class_numbers_of_a_smaller_type() -> None:
    logits = torch.randn(2, 3, 4, 4)
    pixels = torch.randint(0, 3, (2, 4, 4))
    expected = nn.functional.cross_entropy(logits, pixels)
    assert torch.equal(named(LossName.CROSS_ENTROPY)(logits, pixels.to(torch.uint8)), expected)


def test_whole_number_answers_are_answers() -> None:
    loss = named(LossName.BCE_WITH_LOGITS)
    assert torch.equal(loss(LOGITS, ANSWERS.long()), loss(LOGITS, ANSWERS))


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        (LossName.CROSS_ENTROPY, CLASSES + 1, "which has 3 classes. Allowed: 0 to 2"),
        (LossName.CROSS_ENTROPY, CLASSES - 1, "which has 3 classes. Allowed: 0 to 2"),
        (LossName.CROSS_ENTROPY, CLASSES[:, None], r"output of shape \[3\] and labels of shape \[1\] a row"),
        (LossName.CROSS_ENTROPY, CLASSES[:5], "for 6 and 5 rows"),
        (LossName.CROSS_ENTROPY, CLASSES.float(), "got labels of torch.float32. Allowed: class numbers, Int64"),
        (LossName.BCE_WITH_LOGITS, CLASSES.float(), r"BCEWithLogits got an output of shape \[3\] and labels of"),
        (LossName.BCE_WITH_LOGITS, ANSWERS * 2, "a label outside 0 to 1"),
        (LossName.MSE, ANSWERS[:, :1], r"labels of shape \[1\] a row.*equal shapes"),
    ],
    ids=[
        "class too large",
        "class negative",
        "class with an axis",
        "rows missing",
        "float classes",
        "flat answers",
        "answer of two",
        "stretched",
    ],
)
def test_labels_that_do_not_fit_the_output_are_refused(name: LossName, label: Tensor, message: str) -> None:
    with pytest.raises(DataInvalid, match=message):
        named(name)(LOGITS, label)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (LossName.CROSS_ENTROPY, {"reduction": "sum"}, "has reduction.*weight, ignore_index, label_smoothing"),
        (LossName.MSE, {"weight": "1"}, "has weight. Allowed: no arguments"),
        (LossName.BCE_WITH_LOGITS, {"ignore_index": "1"}, "has ignore_index. Allowed: weight, pos_weight"),
        (LossName.CROSS_ENTROPY, {"weight": "0.1;0.9"}, "weight is '0.1;0.9'. Allowed: numbers separated by commas"),
        (LossName.CROSS_ENTROPY, {"weight": "nan,1"}, "weight is 'nan,1'"),
        (LossName.CROSS_ENTROPY, {"weight": ""}, "weight is ''"),
        (LossName.CROSS_ENTROPY, {"label_smoothing": "1.5"}, "label_smoothing is '1.5'. Allowed: a number from 0 to 1"),
        (LossName.CROSS_ENTROPY, {"ignore_index": "1.0"}, "ignore_index is '1.0'. Allowed: a whole number"),
    ],
)
def test_arguments_that_a_loss_does_not_take_are_refused(
    name: LossName, arguments: dict[str, str], message: str
) -> None:
    with pytest.raises(SpecInvalid, match=message):
        named(name, **arguments)


def test_as_many_weights_as_classes_are_needed() -> None:
    with pytest.raises(SpecInvalid, match="weight has 2 numbers, the model's output has 3 a row"):
        named(LossName.CROSS_ENTROPY, weight="0.1,0.9")(LOGITS, CLASSES)


def test_no_loss_at_all_is_refused() -> None:
    with pytest.raises(SpecInvalid, match=r"training\.loss is empty"):
        build_loss(LossSpec(), refuse_import)


def test_the_ignored_class_is_what_the_arguments_say() -> None:
    assert parse_ignore_index(LossSpec(name=LossName.CROSS_ENTROPY, arguments={"ignore_index": "255"})) == 255
    assert parse_ignore_index(LossSpec(name=LossName.CROSS_ENTROPY)) == -100
    assert parse_ignore_index(LossSpec(entrypoint="a.b:c", arguments={"ignore_index": "255"})) == -100


def test_a_loss_of_ones_own_gets_its_arguments_by_annotation() -> None:
    def compute(output: Tensor, label: Tensor, scale: float, powers: tuple[int, ...] = (1,)) -> Tensor:
        return scale * sum(((output - label) ** power).mean() for power in powers)

    loss = own(compute, scale="0.5", powers="1,2")
    difference = LOGITS - ANSWERS
    assert torch.equal(loss(LOGITS, ANSWERS), 0.5 * (difference.mean() + (difference**2).mean()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({}, "needs scale"), ({"scale": "large"}, "'scale' is 'large'"), ({"scale": "1", "label": "2"}, "no parameter")],
)
def test_arguments_that_a_loss_of_ones_own_does_not_take_are_refused(arguments: dict[str, str], message: str) -> None:
    def compute(output: Tensor, label: Tensor, scale: float) -> Tensor:
        return ((output - label) * scale).mean()

    with pytest.raises(ModelInvalid, match=message):
        own(compute, **arguments)


def test_a_loss_of_ones_own_that_raises_is_told_with_its_line_and_without_its_text() -> None:
    def compute(output: Tensor, label: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output, label)

    with pytest.raises(ModelCodeFailed) as failed:
        own(compute)(LOGITS, torch.full((6,), 77))
    line = compute.__code__.co_firstlineno + 1
    assert f"training.loss.entrypoint xray.loss:compute raised IndexError at {__file__}, line {line}" in str(
        failed.value
    )
    assert "77" not in str(failed.value).replace(str(line), "")
    assert "77" in str(failed.value.__cause__)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (3.0, "returned float"),
        (torch.ones(6), r"returned a tensor of shape \[6\]"),
        (torch.tensor(3), "torch.int64"),
        (torch.tensor(3.0), "returned a number without gradient"),
    ],
    ids=["float", "one a row", "whole number", "no gradient"],
)
def test_a_loss_of_ones_own_must_return_one_number_to_go_back_from(returned: object, message: str) -> None:
    with pytest.raises(ModelCodeFailed, match=message):
        own(lambda output, label: returned)(LOGITS.clone().requires_grad_(), CLASSES)  # noqa: ARG005


def test_a_loss_needs_no_gradient_in_an_evaluation() -> None:
    with torch.no_grad():
        assert own(lambda output, _: output.mean().reshape(1))(LOGITS, CLASSES).shape == ()


def test_memory_that_runs_out_in_a_loss_is_not_taken_for_a_fault_of_its_code() -> None:
    def compute(*_: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        own(compute)(LOGITS, CLASSES)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_told_with_its_step(value: float) -> None:
    with pytest.raises(NumericsInvalid, match=rf"the loss is {value} at step 31, computed by party st-mary"):
        check_finite_loss(value, step=31, party="st-mary")
    check_finite_loss(1e300, step=31, party="st-mary")
