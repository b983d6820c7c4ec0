"""Keyed augmentation: the party's own function changes each training row, with chance that depends on the row alone.

Every row of every epoch gets a generator seeded with a key of (seed, party, epoch, row). So neither the size of a
batch, nor what was read ahead, nor a start over changes what the model sees. A function that draws from a generator of
the whole process would undo that, and is refused.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from splittraining.api.errors import ModelCodeFailed, SplitTrainingError
from splittraining.party.allocations import is_allocation_failure
from splittraining.party.data.dataset import Batch
from splittraining.party.data.order import RowIndices

Row = dict[str, torch.Tensor]

LABEL = "label"
"""Under this name a row holds its label; no input of such a party may have the name."""

_ALLOWED = "a dict with the tensors that came in: the same names, shapes and dtypes"
# Keeps these keys apart from every other use of the training's seed. blake2b takes at most 16 bytes here.
_PURPOSE = b"st-augmentation"


class RowTransform:
    """Applies the party's function to the rows of a batch.

    Args:
        function: Called with (row, generator), its other arguments bound.
        entrypoint: How messages name it.
        seed: The training's seed.
        party: Whose rows these are.
    """

    def __init__(
        self, function: Callable[[Row, torch.Generator], Any], *, entrypoint: str, seed: int, party: str
    ) -> None:
        self._function = function
        self._name = f"data.transform {entrypoint}"
        self._seed = seed
        self._party = party

    def apply(self, batch: Batch, indices: RowIndices, *, epoch: int) -> Batch:
        """Returns the batch with every row changed.

        Args:
            batch: The rows as they are stored.
            indices: Their positions in the data set, in the order of the batch.
            epoch: Number of the pass over the party's rows.

        Raises:
            ModelCodeFailed: if the function raises, changes a name, shape or dtype, or draws from a global generator.
        """
        if batch.label is not None and LABEL in batch.inputs:
            raise ModelCodeFailed(
                f"{self._name} cannot get an input and the label under one name, {LABEL!r}",
                remedy="rename the input of the model",
            )
        columns = batch.inputs if batch.label is None else {**batch.inputs, LABEL: batch.label}
        before = _get_global_states()
        # The batch is a copy of stored rows already, so that a function may write into what it gets.
        rows = [
            self._transform({name: tensor[place] for name, tensor in columns.items()}, epoch, int(index))
            for place, index in enumerate(indices)
        ]
        if not _are_equal(before, _get_global_states()):
            raise ModelCodeFailed(
                f"{self._name} draws from a generator of the whole process",
                allowed="chance from its second argument alone, so that a start over sees the same rows",
                remedy="pass generator=generator to torch's functions; for others, seed one of your own from it",
            )
        changed = {name: torch.stack([row[name] for row in rows]) for name in columns}
        label = changed.pop(LABEL) if batch.label is not None else None
        return Batch(changed, label, batch.ids, batch.num_rows)

    def _transform(self, row: Row, epoch: int, index: int) -> Row:
        generator = torch.Generator().manual_seed(compute_row_key(self._seed, self._party, epoch, index))
        forms = {name: (tensor.shape, tensor.dtype) for name, tensor in row.items()}
        try:
            returned = self._function(row, generator)
        except SplitTrainingError:
            raise
        except Exception as error:
            if is_allocation_failure(error):
                raise
            # The error's own text stays in this party's log: it may quote the row.
            raise ModelCodeFailed(
                f"{self._name} raised {type(error).__name__} for row {index}, counted from 0",
                remedy="repair the code; the log of this party has the error's text",
            ) from error
        self._check(returned, forms)
        return {name: returned[name].detach() for name in forms}

    def _check(self, returned: object, forms: Mapping[str, tuple[torch.Size, torch.dtype]]) -> None:
        if not isinstance(returned, Mapping):
            raise ModelCodeFailed(f"{self._name} returned {type(returned).__name__}", allowed=_ALLOWED)
        if set(returned) != set(forms):
            # Not what it returned: only a name that came in is surely no content of a row.
            raise ModelCodeFailed(
                f"{self._name} returned other names than it got",
                allowed=", ".join(map(repr, forms)),
                remedy="return the row's own dict, or one with exactly these names",
            )
        for name, (shape, dtype) in forms.items():
            tensor = returned[name]
            given = (tensor.shape, tensor.dtype) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            if given != (shape, dtype):
                raise ModelCodeFailed(
                    f"{self._name} returned {name!r} as {_render(given)}, it got {_render((shape, dtype))}",
                    allowed=_ALLOWED,
                )


def compute_row_key(seed: int, party: str, epoch: int, index: int) -> int:
    """Returns the seed of one row's generator in one epoch."""
    # The party goes last: whatever is in its name, it cannot be read as another number.
    material = f"{seed}/{epoch}/{index}/{party}".encode()
    # torch's CPU generators use the low 32 bits of a seed only: packed numbers would collide, a hash does not.
    return int.from_bytes(hashlib.blake2b(material, digest_size=8, person=_PURPOSE).digest(), "big")


def _render(form: object) -> str:
    if not isinstance(form, tuple):
        return str(form)
    shape, dtype = form
    return f"{list(shape)} {str(dtype).removeprefix('torch.')}"


def _get_global_states() -> tuple[torch.Tensor, object, Any]:
    return torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002 - to watch it


def _are_equal(before: tuple[torch.Tensor, object, Any], after: tuple[torch.Tensor, object, Any]) -> bool:
    numpy_equal = bool(
        np.array_equal(before[2]["state"]["key"], after[2]["state"]["key"])
        and before[2]["state"]["pos"] == after[2]["state"]["pos"]
    )
    return torch.equal(before[0], after[0]) and before[1] == after[1] and numpy_equal
