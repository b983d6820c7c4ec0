"""Reads .safetensors: a file of named tensors, each with one row per record. It holds numbers only, and no code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from splittraining.api.errors import DataInvalid
from splittraining.party.data.conversion import convert_to_numpy
from splittraining.party.data.table import Column, refuse_missing, render_counted_row
from splittraining.party.dtypes import TORCH_DTYPES

_READ = {*TORCH_DTYPES.values(), torch.uint16, torch.uint32, torch.uint64}


def read_safetensors(path: Path, file: str, wanted: Sequence[str]) -> dict[str, Column]:
    """Reads the wanted tensors of a .safetensors file.

    Args:
        path: The file.
        file: How messages name it.
        wanted: Names of the tensors.

    Raises:
        DataInvalid: if it is no such file, or a tensor is missing or has no rows of numbers.
        OSError: if the file cannot be read.
    """
    with path.open("rb"):  # the library's own errors say less than the system's
        pass
    try:
        with safe_open(path, framework="pt") as archive:
            return {name: _read(archive.get_tensor(name), file, name) for name in _check(archive.keys(), file, wanted)}
    except (SafetensorError, ValueError) as error:
        raise DataInvalid(
            f"{file} cannot be read as .safetensors: it is damaged, cut off or of another format"
            f" ({type(error).__name__})",
            allowed="a file that safetensors.torch.save_file or safetensors.numpy.save_file wrote",
            remedy="copy the file again and compare its checksum, or write it again",
        ) from error


def _check(existing: Sequence[str], file: str, wanted: Sequence[str]) -> Sequence[str]:
    for name in wanted:
        if name not in existing:
            raise refuse_missing(file, name, sorted(existing))
    return wanted


def _read(tensor: torch.Tensor, file: str, name: str) -> Column:
    if tensor.ndim == 0 or tensor.dtype not in _READ:
        raise DataInvalid(
            f"{file}, column {name!r}: not an array of rows of numbers"
            f" ({str(tensor.dtype).removeprefix('torch.')}, {tensor.ndim} dimensions)",
            allowed="whole numbers, floats or booleans, one row per record",
            remedy="write it again with safetensors.torch.save_file, the rows in the first dimension",
        )
    return Column(file, name, convert_to_numpy(tensor), render_counted_row)
