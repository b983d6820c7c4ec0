"""The order of rows: keyed, the same for ever, and by id where parties must agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.errors import DataInvalid
from splittraining.party.data.dataset import find_repeated_id
from splittraining.party.data.order import compute_epoch_order, iterate_batches
from splittraining.party.data.row_ids import compute_row_ids_digest, order_by_id
from support.data_support import a_dataset

KEY = bytes(range(32))
IDS = st.lists(st.text(max_size=4), max_size=6)


@given(st.integers(0, 2**53 - 1), st.text(max_size=8), st.integers(0, 100), st.integers(0, 50))
def test_every_row_is_visited_once_and_again_in_the_same_order(seed: int, client: str, epoch: int, rows: int) -> None:
    order = compute_epoch_order(seed, client, epoch, rows)
    assert sorted(order) == list(range(rows))
    assert np.array_equal(order, compute_epoch_order(seed, client, epoch, rows))


def test_the_order_is_the_one_that_earlier_versions_visited() -> None:
    assert compute_epoch_order(7, "st-mary", 0, 8).tolist() == [0, 7, 3, 4, 2, 6, 5, 1]


@pytest.mark.parametrize(
    "other", [(8, "st-mary", 0), (7, "st-luke", 0), (7, "st-mary", 1), (7 + 2**32, "st-mary", 0)], ids=str
)
def test_another_seed_client_or_epoch_gives_another_order(other: tuple[int, str, int]) -> None:
    assert not np.array_equal(compute_epoch_order(7, "st-mary", 0, 50), compute_epoch_order(*other, 50))


def test_the_last_short_batch_is_kept() -> None:
    assert [batch.tolist() for batch in iterate_batches(np.arange(5), 2)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(ValueError, match="at least one row"):
        list(iterate_batches(np.arange(5), 0))


def test_rows_are_ordered_by_the_bytes_of_their_ids() -> None:
    ordered = order_by_id(a_dataset(4, ids=["p10", "é", "p2", "Z"]))
    assert ordered.ids == ("Z", "p10", "p2", "é")
    assert ordered.inputs["x"].tolist() == [3, 0, 2, 1]
    assert ordered.label is not None
    assert ordered.label.tolist() == [3, 0, 2, 1]


def test_rows_without_ids_or_with_one_twice_cannot_be_ordered() -> None:
    with pytest.raises(DataInvalid, match="has no row ids"):
        order_by_id(a_dataset(2))
    with pytest.raises(DataInvalid, match="rows 0 and 2"):
        order_by_id(a_dataset(3, ids=["p", "q", "p"]))
    assert find_repeated_id(["p", "q"]) is None


@given(IDS, IDS, st.text(max_size=3), st.text(max_size=3))
def test_only_the_same_ids_in_the_same_order_and_scope_have_the_same_digest(
    ids: list[str], others: list[str], scope: str, other_scope: str
) -> None:
    first = compute_row_ids_digest(KEY, scope=scope, ids=ids)
    second = compute_row_ids_digest(KEY, scope=other_scope, ids=others)
    assert len(first) == 16
    assert (first == second) is ((ids, scope) == (others, other_scope))


def test_where_one_id_ends_and_the_next_begins_is_part_of_the_digest() -> None:
    first, second = (compute_row_ids_digest(KEY, scope="s", ids=ids) for ids in (["ab", "c"], ["a", "bc"]))
    assert first != second
    assert first != compute_row_ids_digest(KEY, scope="sab", ids=["", "c"])


def test_a_digest_needs_the_key() -> None:
    assert compute_row_ids_digest(KEY, scope="", ids=["p"]) != compute_row_ids_digest(KEY[::-1], scope="", ids=["p"])
    with pytest.raises(ValueError, match="32 bytes"):
        compute_row_ids_digest(b"short", scope="", ids=[])
