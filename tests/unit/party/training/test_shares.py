"""Who brings which rows to which parallel step."""

from __future__ import annotations

import pytest

from splittraining.api.spec.schedule import ParallelBatch
from splittraining.party.training.rounds.shares import count_parallel_steps, iterate_shares

ROWS = {"north": 11, "south": 2, "west": 6}


def list_shares(batch: ParallelBatch, *, epoch: int = 0, seed: int = 7) -> list[dict[str, list[int]]]:
    shares = iterate_shares(batch, seed=seed, epoch=epoch, batch_size=4, train_rows=ROWS)
    return [{name: indices.tolist() for name, indices in share.items()} for share in shares]


@pytest.mark.parametrize("batch", list(ParallelBatch))
def test_every_row_of_every_client_comes_once_in_an_epoch(batch: ParallelBatch) -> None:
    shares = list_shares(batch)
    for name, rows in ROWS.items():
        assert sorted(index for share in shares for index in share[name]) == list(range(rows))
    assert len(shares) == count_parallel_steps(batch, batch_size=4, train_rows=ROWS)


def test_in_a_union_each_client_brings_batches_of_its_own_until_it_has_no_more() -> None:
    sizes = [[len(share[name]) for name in ROWS] for share in list_shares(ParallelBatch.UNION)]
    assert sizes == [[4, 2, 4], [4, 0, 2], [3, 0, 0]]


def test_a_global_batch_has_its_size_whoever_brings_the_rows_and_the_last_may_be_short() -> None:
    shares = list_shares(ParallelBatch.GLOBAL)
    assert [sum(map(len, share.values())) for share in shares] == [4, 4, 4, 4, 3]
    assert any(not share["south"] for share in shares)


@pytest.mark.parametrize("batch", list(ParallelBatch))
def test_the_order_follows_from_seed_and_epoch_alone(batch: ParallelBatch) -> None:
    assert list_shares(batch) == list_shares(batch)
    assert list_shares(batch) != list_shares(batch, epoch=1)
    assert list_shares(batch) != list_shares(batch, seed=8)
