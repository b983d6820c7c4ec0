"""Tensors as raw bytes and back, without a copy where the memory already lies in sending order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from splittraining.party.dtypes import TORCH_DTYPES
from splittraining.party.wire.frame import ROW_MAJOR, Flags, Header, iterate_chunks
from splittraining.party.wire.layout import decide_layout, get_order, render_strides


def iterate_tensor_frames(header: Header, tensor: torch.Tensor) -> Iterator[bytes]:
    """Yields the frames of one tensor; whatever of the header says how it lies is filled in here."""
    layout = decide_layout(tensor)  # of the tensor where it is: no copy of it has to lie in the same way
    header, prefix = replace(header, dimension_order=layout.dimension_order), b""
    if layout.strides is not None:
        header = replace(header, flags=header.flags | Flags.STRIDED, dimension_order=len(layout.strides))
        prefix = render_strides(layout.strides)
    return iterate_chunks(header, _get_bytes(tensor, layout.dimension_order), prefix)


def build_empty(shape: tuple[int, ...], first: Header) -> tuple[torch.Tensor, memoryview]:
    """Returns an uninitialized dense tensor and its memory in travelling order, to be filled chunk by chunk."""
    assert first.dtype is not None  # a TENSOR frame has one
    order = get_order(len(shape), ROW_MAJOR if first.flags & Flags.STRIDED else first.dimension_order)
    dense = torch.empty([shape[axis] for axis in order], dtype=TORCH_DTYPES[first.dtype])
    back = sorted(range(len(shape)), key=order.__getitem__)
    return dense.permute(back), _view_bytes(dense)


def _get_bytes(tensor: torch.Tensor, dimension_order: int) -> memoryview:
    # A view of the tensor's own memory if that is on the CPU and dense.
    local = tensor.detach().to("cpu")
    if dimension_order != ROW_MAJOR:
        local = local.permute(get_order(local.dim(), dimension_order))
    return _view_bytes(local.contiguous())


def _view_bytes(dense: torch.Tensor) -> memoryview:
    # numpy knows no bfloat16, so every element type is looked at as bytes: bit patterns such as NaN payloads survive.
    # A lone element may have any strides, so it is laid flat by them and not by its shape.
    return dense.as_strided((dense.numel(),), (1,)).view(torch.uint8).numpy().data
