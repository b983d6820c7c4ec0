"""Keyed augmentation: chance depends on seed, party, epoch and row, and on nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from splittraining.api.errors import ModelCodeFailed
from splittraining.party.data.augmentation import Row, RowTransform, compute_row_key
from splittraining.party.data.dataset import Dataset
from splittraining.party.training.engine import StepInput
from splittraining.party.training.feed import BatchFeed
from splittraining.party.training.schedule import Span, count_batches
from support.data_support import CANARY

NUM_ROWS = 7
X = torch.arange(NUM_ROWS * 3, dtype=torch.float32).reshape(NUM_ROWS, 3)


def add_noise(row: Row, generator: torch.Generator) -> Row:
    return {**row, "x": row["x"] + torch.randn(3, generator=generator)}


def a_transform(function: Callable[[Row, torch.Generator], Any] = add_noise, **changes: Any) -> RowTransform:
    return RowTransform(function, **{"entrypoint": "xray:transform", "seed": 5, "party": "north", **changes})


def a_feed(transform: RowTransform | None, *, batch_size: int = 3, x: torch.Tensor = X) -> BatchFeed:
    dataset = Dataset({"x": x}, torch.arange(NUM_ROWS), None, NUM_ROWS)
    return BatchFeed(dataset, num_rows=NUM_ROWS, batch_size=batch_size, seed=5, client="north", transform=transform)


def list_training(feed: BatchFeed, *, epoch: int, batch_size: int = 3, first_batch: int = 0) -> list[StepInput]:
    num_batches = count_batches(NUM_ROWS, batch_size) - first_batch
    return list(feed.iterate_training([Span(epoch, first_batch, num_batches)], first_step=0))


def collect(inputs: list[StepInput]) -> dict[int, list[float]]:
    """Returns what the model sees of each row, known by its label."""
    seen = {}
    for given in inputs:
        assert given.label is not None
        seen.update(zip(given.label.tolist(), given.arguments["x"].tolist(), strict=True))
    return seen


def compute_by_hand(epoch: int, *, party: str = "north") -> dict[int, list[float]]:
    expected = {}
    for index in range(NUM_ROWS):
        generator = torch.Generator().manual_seed(compute_row_key(5, party, epoch, index))
        expected[index] = (X[index] + torch.randn(3, generator=generator)).tolist()
    return expected


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_an_epoch_equals_one_written_by_hand_at_any_batch_size(batch_size: int) -> None:
    inputs = list_training(a_feed(a_transform(), batch_size=batch_size), epoch=2, batch_size=batch_size)
    assert collect(inputs) == compute_by_hand(2)


def test_epochs_rows_and_parties_draw_apart() -> None:
    keys = {
        compute_row_key(seed, party, epoch, index)
        for seed in (1, 2)
        for party in ("north", "south")
        for epoch in range(3)
        for index in range(12)
    }
    assert len(keys) == 2 * 2 * 3 * 12
    assert len({key & 0xFFFFFFFF for key in keys}) == len(keys), "torch uses the low 32 bits alone"


def test_a_start_over_in_the_middle_of_an_epoch_sees_the_same_rows() -> None:
    whole = collect(list_training(a_feed(a_transform()), epoch=1))
    rest = collect(list_training(a_feed(a_transform()), epoch=1, first_batch=1))
    assert rest == {label: row for label, row in whole.items() if label in rest}
    assert len(rest) == 4


def test_the_global_generators_neither_matter_nor_move() -> None:
    torch.manual_seed(1)
    first = collect(list_training(a_feed(a_transform()), epoch=0))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert collect(list_training(a_feed(a_transform()), epoch=0)) == first
    assert torch.equal(torch.get_rng_state(), before)


def test_test_rows_and_the_stored_rows_stay_as_they_are() -> None:
    def overwrite(row: Row, _generator: torch.Generator) -> Row:
        row["x"].zero_()
        return row

    stored = X.clone()
    feed = a_feed(a_transform(overwrite), x=stored)
    assert set(map(tuple, collect(list_training(feed, epoch=0)).values())) == {(0.0, 0.0, 0.0)}
    assert torch.equal(stored, X)
    assert torch.equal(torch.cat([given.arguments["x"] for given in feed.iterate_test(step=0)]), X)


def test_the_label_may_change_with_its_row() -> None:
    def flip(row: Row, _generator: torch.Generator) -> Row:
        return {"x": row["x"], "label": 10 - row["label"]}

    assert sorted(collect(list_training(a_feed(a_transform(flip)), epoch=0))) == [4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(3),
        lambda: torch.tensor(np.random.rand(3), dtype=torch.float32),  # noqa: NPY002 - what must not be
        lambda: torch.full((3,), random.random()),
    ],
    ids=["torch", "NumPy", "Python"],
)
def test_drawing_from_a_generator_of_the_whole_process_is_refused(draw: Callable[[], torch.Tensor]) -> None:
    with pytest.raises(ModelCodeFailed, match=r"data\.transform xray:transform draws from a generator of the whole"):
        list_training(a_feed(a_transform(lambda row, _: {**row, "x": draw()})), epoch=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (list, "returned list"),
        (lambda row: {"x": row["x"]}, r"returned other names than it got\. Allowed: 'x', 'label'"),
        (lambda row: {**row, "z": row["x"]}, "returned other names than it got"),
        (lambda row: {**row, "x": row["x"][:2]}, r"returned 'x' as \[2\] float32, it got \[3\] float32"),
        (lambda row: {**row, "x": row["x"].double()}, r"returned 'x' as \[3\] float64, it got \[3\] float32"),
        (lambda row: {**row, "x": row["x"].numpy()}, r"returned 'x' as ndarray, it got \[3\] float32"),
    ],
    ids=["no dict", "a name less", "a name more", "another shape", "another dtype", "no tensor"],
)
def test_what_is_not_the_same_form_is_refused_by_name(change: Callable[[Row], object], message: str) -> None:
    with pytest.raises(ModelCodeFailed, match=message):
        list_training(a_feed(a_transform(lambda row, _: change(row))), epoch=0)


def test_an_error_of_the_function_is_named_without_its_text() -> None:
    def fail(_row: Row, _generator: torch.Generator) -> Row:
        raise RuntimeError(CANARY)

    with pytest.raises(ModelCodeFailed, match=r"data\.transform xray:transform raised RuntimeError for row") as refused:
        list_training(a_feed(a_transform(fail)), epoch=0)
    assert CANARY not in str(refused.value)


def test_an_input_called_label_is_refused_beside_the_label() -> None:
    dataset = Dataset({"label": X}, torch.arange(NUM_ROWS), None, NUM_ROWS)
    feed = BatchFeed(dataset, num_rows=NUM_ROWS, batch_size=3, seed=5, client="north", transform=a_transform())
    with pytest.raises(ModelCodeFailed, match="under one name, 'label'"):
        list_training(feed, epoch=0)
