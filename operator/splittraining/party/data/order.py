"""In which order rows are visited: one keyed permutation per client and epoch, and no random state to save.

The permutation is a pure function of (seed, client, epoch, number of rows), so that a party that starts over visits the
same rows again, and so that all parties of a Joint training (which pass an empty client) visit the same rows together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

RowIndices = npt.NDArray[np.int64]

# Keeps these keys apart from every other use of the training's seed. blake2b takes at most 16 bytes here.
_PURPOSE = b"st-row-order"
_CLIENTS_PURPOSE = b"st-client-order"


def compute_epoch_order(seed: int, client: str, epoch: int, num_rows: int) -> RowIndices:
    """Returns the order in which one client visits its rows in one epoch.

    The rows are sorted by one 64-bit Philox number each, ties by position. ``Generator.permutation`` would be shorter,
    but numpy promises the same stream over its versions only for the bit generators' raw numbers, and the order of rows
    must not depend on who upgraded numpy.

    Args:
        seed: The training's seed.
        client: Name of the client; empty where all parties must visit the same rows.
        epoch: Number of the pass over the client's rows.
        num_rows: Rows of the client.

    Returns:
        Each of 0 to num_rows - 1 once.

    Source: NumPy Enhancement Proposal 19 (stream compatibility); Philox4x64-10 of Salmon et al. 2011, counter from 0.
    """
    # The client goes last: whatever is in its name, it cannot be read as another seed or epoch.
    return _permute(f"{seed}/{epoch}/{client}", num_rows, purpose=_PURPOSE)


def compute_client_order(seed: int, round_number: int, num_clients: int) -> RowIndices:
    """Returns the order in which clients train in one round, where that order is random.

    Returns:
        Each of 0 to num_clients - 1 once.
    """
    return _permute(f"{seed}/{round_number}", num_clients, purpose=_CLIENTS_PURPOSE)


def _permute(material: str, size: int, *, purpose: bytes) -> RowIndices:
    digest = hashlib.blake2b(material.encode(), digest_size=16, person=purpose).digest()
    numbers = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(size)
    return np.argsort(numbers, kind="stable").astype(np.int64, copy=False)


def iterate_batches(order: RowIndices, batch_size: int) -> Iterator[RowIndices]:
    """Yields the rows of each batch in visiting order; the last batch may be short and is kept.

    Raises:
        ValueError: if the batch size is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one row, got batch_size {batch_size}")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
