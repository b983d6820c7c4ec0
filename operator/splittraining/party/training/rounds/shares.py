"""Which rows each client brings to each step of a parallel epoch: a pure function of the seed and the clients' rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from splittraining.api.spec.schedule import ParallelBatch
from splittraining.party.data.order import RowIndices, compute_epoch_order
from splittraining.party.training.schedule import count_batches

EVERYONES_ORDER = ""
"""Stands for the client in the key of an order that runs through all clients' rows."""


def count_parallel_steps(batch: ParallelBatch, *, batch_size: int, train_rows: Mapping[str, int]) -> int:
    """Returns the steps of one pass over all clients' rows."""
    longest = max(train_rows.values()) if batch is ParallelBatch.UNION else sum(train_rows.values())
    return count_batches(longest, batch_size)


def iterate_shares(
    batch: ParallelBatch, *, seed: int, epoch: int, batch_size: int, train_rows: Mapping[str, int]
) -> Iterator[dict[str, RowIndices]]:
    """Yields, step by step, the positions of the rows that each client brings; none where its share is empty.

    Args:
        batch: What makes up a batch.
        seed: The training's seed.
        epoch: Number of the pass.
        batch_size: Rows of each client (Union) or of the whole step (Global).
        train_rows: Rows of every client, in listed order.
    """
    if batch is ParallelBatch.UNION:
        orders = {name: compute_epoch_order(seed, name, epoch, rows) for name, rows in train_rows.items()}
        for start in range(0, max(train_rows.values()), batch_size):
            yield {name: order[start : start + batch_size] for name, order in orders.items()}
        return
    order = compute_epoch_order(seed, EVERYONES_ORDER, epoch, sum(train_rows.values()))
    for start in range(0, len(order), batch_size):
        taken, first, shares = order[start : start + batch_size], 0, {}
        for name, rows in train_rows.items():
            shares[name] = taken[(taken >= first) & (taken < first + rows)] - first
            first += rows
        yield shares
