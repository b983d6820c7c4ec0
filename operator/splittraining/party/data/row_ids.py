"""Row ids of Joint trainings: one order by id at every party, and digests that show that the rows are the same.

Ids never leave their party. What travels is a keyed digest per batch; the key is known to the clients alone, so that
the server cannot try ids out.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np

from splittraining.api.errors import DataInvalid
from splittraining.party.data.dataset import Dataset, find_repeated_id

DIGEST_SIZE_BYTES = 16
"""Half of SHA-256: two different batches meet by chance once in 2^64 tries, and a frame header stays small."""

KEY_SIZE_BYTES = 32
"""As long as SHA-256's output; RFC 2104 advises no less."""


def order_by_id(dataset: Dataset) -> Dataset:
    """Returns the data set with its rows sorted by the UTF-8 bytes of their ids.

    Raises:
        DataInvalid: if the data set has no ids, or one id twice.
    """
    if dataset.ids is None:
        raise DataInvalid(
            "the data set has no row ids",
            allowed="a Joint schedule orders and checks rows by id at every party",
            remedy="name the column with the ids in `data.idColumn` of each party with data",
        )
    repeated = find_repeated_id(dataset.ids)
    if repeated is not None:
        raise DataInvalid(
            f"rows {repeated[0]} and {repeated[1]} (counted from 0) have the same id",
            allowed="one row per id",
            remedy="make the ids unique",
        )
    encoded = [row_id.encode() for row_id in dataset.ids]
    order = np.array(sorted(range(dataset.num_rows), key=encoded.__getitem__), dtype=np.int64)
    rows = dataset.take(order)
    return Dataset(inputs=rows.inputs, label=rows.label, ids=rows.ids, num_rows=rows.num_rows)


def compute_row_ids_digest(key: bytes, *, scope: str, ids: Sequence[str]) -> bytes:
    """Returns the keyed digest of a sequence of row ids.

    Every string is preceded by its length, so that no other sequence has the same encoding.

    Args:
        key: 32 secret bytes that the clients share.
        scope: What the digest stands for, for example the step; equal rows of two scopes give two digests.
        ids: The ids in the order of the rows.

    Returns:
        16 bytes.

    Raises:
        ValueError: if the key is not 32 bytes long.

    Source: RFC 2104 (HMAC, truncation in section 5).
    """
    if len(key) != KEY_SIZE_BYTES:
        raise ValueError(f"a row-id key has {KEY_SIZE_BYTES} bytes, got {len(key)}")
    mac = hmac.new(key, digestmod=hashlib.sha256)
    mac.update(len(ids).to_bytes(8, "big"))
    for text in (scope, *ids):
        encoded = text.encode()
        mac.update(len(encoded).to_bytes(8, "big"))
        mac.update(encoded)
    return mac.digest()[:DIGEST_SIZE_BYTES]
