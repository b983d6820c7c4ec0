"""Tensors as raw bytes and back, without a copy where the memory already lies in sending order."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from math import factorial

import torch

from splittraining.api.wire_plan import DType
from splittraining.party.dtypes import TORCH_DTYPES
from splittraining.party.wire.frame import ROW_MAJOR

_MAX_DIMENSIONS = 5
"""Values with more dimensions travel row-major: their orders do not fit the header's byte."""


def decide_dimension_order(tensor: torch.Tensor) -> int:
    """Decides in which order a tensor's elements travel: as they lie in memory, where they lie densely.

    Returns:
        The rank of the order of dimensions, slowest first, among all orders of so many dimensions; 0 is row-major.
        Four dimensions N, C, H, W that lie channels_last give the rank of (0, 2, 3, 1).
    """
    if tensor.is_contiguous() or tensor.dim() > _MAX_DIMENSIONS:
        return ROW_MAJOR
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda axis: -strides[axis]))
    return _list_orders(tensor.dim()).index(order) if tensor.permute(order).is_contiguous() else ROW_MAJOR


def get_bytes(tensor: torch.Tensor, dimension_order: int) -> memoryview:
    """Returns a tensor's raw bytes in travelling order; a view of its own memory if that is on the CPU and dense."""
    local = tensor.detach().to("cpu")
    if dimension_order != ROW_MAJOR:
        local = local.permute(_list_orders(local.dim())[dimension_order])
    return _view_bytes(local.contiguous())


def build_empty(shape: tuple[int, ...], dtype: DType, dimension_order: int) -> tuple[torch.Tensor, memoryview]:
    """Returns an uninitialized tensor and its memory in travelling order, to be filled chunk by chunk."""
    if dimension_order == ROW_MAJOR:
        dense = torch.empty(shape, dtype=TORCH_DTYPES[dtype])
        return dense, _view_bytes(dense)
    order = _list_orders(len(shape))[dimension_order]
    dense = torch.empty([shape[axis] for axis in order], dtype=TORCH_DTYPES[dtype])
    back = sorted(range(len(shape)), key=order.__getitem__)
    return dense.permute(back), _view_bytes(dense)


def count_dimension_orders(num_dimensions: int) -> int:
    """Returns how many orders a tensor of so many dimensions can have on the wire."""
    return factorial(num_dimensions) if num_dimensions <= _MAX_DIMENSIONS else 1


@cache
def _list_orders(num_dimensions: int) -> tuple[tuple[int, ...], ...]:
    return tuple(permutations(range(num_dimensions)))


def _view_bytes(dense: torch.Tensor) -> memoryview:
    # numpy knows no bfloat16, so every element type is looked at as bytes: bit patterns such as NaN payloads survive.
    return dense.reshape(-1).view(torch.uint8).numpy().data
