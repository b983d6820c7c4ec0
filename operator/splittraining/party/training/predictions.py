"""The outputs that one party gets for rows, and the file it writes them to: one array per column, a row per row.

Legend: N rows, K classes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from splittraining.api.errors import ProtocolViolation
from splittraining.api.results import PREDICTIONS_PATH
from splittraining.api.spec.training import LossName
from splittraining.party.model.crossings import OUTPUT
from splittraining.party.training.assembly import Assembly
from splittraining.party.training.results import write_atomically

Array = npt.NDArray[Any]


class Predictions:
    """Takes in one party's outputs, batch by batch, in the order of its rows.

    Args:
        assembly: The party.
    """

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._parts: dict[str, list[torch.Tensor]] = {}
        self.rows = 0
        """Rows that went through, whoever got the output."""

    def add(self, outputs: Mapping[str, torch.Tensor], num_rows: int) -> None:
        """Takes in the outputs of one batch, by name; none where another party gets them."""
        self.rows += num_rows
        for name, output in outputs.items():
            self._parts.setdefault(name, []).append(output)

    def write(self, folder: Path) -> None:
        """Writes what was taken in, if anything was.

        Raises:
            StorageFailed: if the volume is full or cannot be written.
        """
        if not self._parts:
            return
        outputs = {name: torch.cat(parts) for name, parts in self._parts.items()}
        result, rows = self._assembly.result, self._assembly.test
        assert result is not None  # a run that predicts has one
        loss = self._assembly.contract.get_loss(self._assembly.document.party)
        columns = build_columns(outputs, None if loss is None else loss.name, ids=None if rows is None else rows.ids)
        columns["contract_digest"] = np.array(result.manifest.contract_digest)
        columns["step"] = np.array(result.manifest.step)
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **columns)
        write_atomically(folder / PREDICTIONS_PATH, data.getvalue())


def build_columns(
    outputs: Mapping[str, torch.Tensor], loss: LossName | None, *, ids: tuple[str, ...] | None
) -> dict[str, Array]:
    """Builds the columns of a predictions file.

    Args:
        outputs: The model's outputs by name, rows first.
        loss: What the model was trained with, which says what an output means; None for a loss of one's own.
        ids: The rows' ids, where they have some.

    Returns:
        `id`, or `row` counted from 0; the outputs; and where the loss says what they mean, classes and probabilities.

    Raises:
        ProtocolViolation: if there are not as many outputs as rows.
    """
    num_rows = len(next(iter(outputs.values())))
    if any(len(output) != num_rows for output in outputs.values()) or (ids is not None and len(ids) != num_rows):
        raise ProtocolViolation(
            f"{[len(output) for output in outputs.values()]} outputs for {num_rows if ids is None else len(ids)} rows",
            allowed="one output a row",
            remedy="look whether the model keeps the batch in the first dimension",
        )
    columns: dict[str, Array] = {"row": np.arange(num_rows)} if ids is None else {"id": np.array(ids, dtype=np.str_)}
    for name, output in outputs.items():
        prefix = "" if name == OUTPUT else f"{name}."
        columns[prefix + OUTPUT] = _convert(output)
        columns |= {prefix + column: _convert(tensor) for column, tensor in _interpret(output, loss).items()}
    return columns


def _interpret(output: torch.Tensor, loss: LossName | None) -> dict[str, torch.Tensor]:
    """Returns what logits say; sums in double precision, so that probabilities add up to one."""
    if loss is LossName.CROSS_ENTROPY and output.dim() > 1:
        return {"class": output.argmax(dim=1), "probability": torch.softmax(output.double(), dim=1)}
    if loss is LossName.BCE_WITH_LOGITS:
        return {"probability": torch.sigmoid(output.double())}
    return {}


def _convert(tensor: torch.Tensor) -> Array:
    # NumPy has no bfloat16; float32 holds all of its numbers.
    held = tensor.float() if tensor.dtype is torch.bfloat16 else tensor
    array: Array = held.contiguous().numpy()
    return array
