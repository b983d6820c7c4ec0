"""Tensors as raw bytes and back, without a copy where the memory already lies in sending order."""

from __future__ import annotations

import torch

from splittraining.api.wire_plan import DType
from splittraining.party.dtypes import TORCH_DTYPES
from splittraining.party.wire.frame import ROW_MAJOR
from splittraining.party.wire.layout import get_order


def get_bytes(tensor: torch.Tensor, dimension_order: int) -> memoryview:
    """Returns a tensor's raw bytes in travelling order; a view of its own memory if that is on the CPU and dense."""
    local = tensor.detach().to("cpu")
    if dimension_order != ROW_MAJOR:
        local = local.permute(get_order(local.dim(), dimension_order))
    return _view_bytes(local.contiguous())


def build_empty(shape: tuple[int, ...], dtype: DType, dimension_order: int) -> tuple[torch.Tensor, memoryview]:
    """Returns an uninitialized tensor and its memory in travelling order, to be filled chunk by chunk."""
    if dimension_order == ROW_MAJOR:
        dense = torch.empty(shape, dtype=TORCH_DTYPES[dtype])
        return dense, _view_bytes(dense)
    order = get_order(len(shape), dimension_order)
    dense = torch.empty([shape[axis] for axis in order], dtype=TORCH_DTYPES[dtype])
    back = sorted(range(len(shape)), key=order.__getitem__)
    return dense.permute(back), _view_bytes(dense)


def _view_bytes(dense: torch.Tensor) -> memoryview:
    # numpy knows no bfloat16, so every element type is looked at as bytes: bit patterns such as NaN payloads survive.
    # A lone element may have any strides, so it is laid flat by them and not by its shape.
    return dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy().data
