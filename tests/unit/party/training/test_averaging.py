"""Sums and averages over clients."""

from __future__ import annotations

import pytest
import torch

from splittraining.api.errors import ProtocolViolation
from splittraining.party.training.averaging import (
    Outline,
    average_tensors,
    combine_gradients,
    combine_weights,
    pack_tensors,
    unpack_tensors,
)

OWN = {"weight": torch.zeros(2), "bias": torch.zeros(1)}


def test_an_average_weighs_clients_by_their_rows() -> None:
    average = average_tensors([torch.tensor([1.0, 0.0]), torch.tensor([5.0, 8.0])], [3, 1])
    assert average.tolist() == [2.0, 2.0]
    assert average.dtype is torch.float32


def test_an_average_is_rounded_once_and_added_in_the_order_given() -> None:
    values = [torch.tensor([value]) for value in (0.1, 0.2, 0.7)]
    total = 0.0
    for value, rows in zip(values, (11, 5, 9), strict=True):
        total += float(value.double()) * (rows / 25)
    assert torch.equal(average_tensors(values, [11, 5, 9]), torch.tensor([total], dtype=torch.float64).float())


def test_what_is_equal_everywhere_stays_as_it_is() -> None:
    frozen = torch.tensor([0.1, 1e-300], dtype=torch.float64)
    assert torch.equal(average_tensors([frozen, frozen.clone(), frozen.clone()], [11, 5, 9]), frozen)


@pytest.mark.parametrize(
    ("values", "largest"),
    [([3, 9, 4], 9), ([False, True, False], True)],
    ids=["integers", "booleans"],
)
def test_of_whole_numbers_the_largest_is_taken(values: list[int], largest: int) -> None:
    assert average_tensors([torch.tensor(value) for value in values], [1, 1, 1]).item() == largest


def test_a_gradient_that_a_client_has_not_is_no_zero_and_one_that_nobody_has_stays_away() -> None:
    outline = Outline({**OWN, "unused": torch.zeros(1)}, {})
    parts = [{"weight": torch.tensor([1.0, 2.0])}, {}, {"weight": torch.tensor([3.0, 4.0]), "bias": torch.ones(1)}]
    summed = unpack_tensors(
        combine_gradients([pack_tensors(part) for part in parts], outline), like=outline.parameters, whole=False
    )
    assert {name: tensor.tolist() for name, tensor in summed.items()} == {"weight": [4.0, 6.0], "bias": [1.0]}


@pytest.mark.parametrize(
    "data",
    [
        b"no tensors",
        pack_tensors({**OWN, "weight": torch.zeros(3)}),
        pack_tensors({**OWN, "weight": torch.zeros(2, dtype=torch.float64)}),
        pack_tensors({**OWN, "other": torch.zeros(1)}),
        pack_tensors({"weight": torch.zeros(2)}),
    ],
    ids=["no tensors", "another shape", "another type", "another name", "one too few"],
)
def test_weights_of_another_segment_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        combine_weights([pack_tensors(OWN), data], Outline(OWN, {}), [1, 1])
