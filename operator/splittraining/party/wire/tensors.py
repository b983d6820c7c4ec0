"""Tensors as raw bytes and back, without a copy where the memory already lies in sending order."""

from __future__ import annotations

import torch

from splittraining.api.wire_plan import DType
from splittraining.party.wire.frame import MemoryFormat

TORCH_DTYPES: dict[DType, torch.dtype] = {
    DType.FLOAT64: torch.float64,
    DType.FLOAT32: torch.float32,
    DType.FLOAT16: torch.float16,
    DType.BFLOAT16: torch.bfloat16,
    DType.INT64: torch.int64,
    DType.INT32: torch.int32,
    DType.INT16: torch.int16,
    DType.INT8: torch.int8,
    DType.UINT8: torch.uint8,
    DType.BOOL: torch.bool,
}
_CHANNELS_LAST_DIMENSIONS = 4


def decide_memory_format(tensor: torch.Tensor) -> MemoryFormat:
    """Decides in which order a tensor's elements travel: channels_last only where they lie so and not row-major."""
    if tensor.is_contiguous() or tensor.dim() != _CHANNELS_LAST_DIMENSIONS:
        return MemoryFormat.CONTIGUOUS
    if tensor.is_contiguous(memory_format=torch.channels_last):
        return MemoryFormat.CHANNELS_LAST
    return MemoryFormat.CONTIGUOUS


def get_bytes(tensor: torch.Tensor, memory_format: MemoryFormat) -> memoryview:
    """Returns a tensor's raw bytes in travelling order; a view of its own memory if that is on the CPU and dense."""
    local = tensor.detach().to("cpu")
    if memory_format is MemoryFormat.CHANNELS_LAST:
        local = local.permute(0, 2, 3, 1)
    return _view_bytes(local.contiguous())


def build_empty(shape: tuple[int, ...], dtype: DType, memory_format: MemoryFormat) -> tuple[torch.Tensor, memoryview]:
    """Returns an uninitialized tensor and its memory in travelling order, to be filled chunk by chunk."""
    if memory_format is MemoryFormat.CHANNELS_LAST:
        batch, channels, height, width = shape
        dense = torch.empty((batch, height, width, channels), dtype=TORCH_DTYPES[dtype])
        return dense.permute(0, 3, 1, 2), _view_bytes(dense)
    dense = torch.empty(shape, dtype=TORCH_DTYPES[dtype])
    return dense, _view_bytes(dense)


def is_sendable_as(memory_format: MemoryFormat, shape: tuple[int, ...]) -> bool:
    """Tells whether a tensor of this shape can have this memory format."""
    return memory_format is MemoryFormat.CONTIGUOUS or len(shape) == _CHANNELS_LAST_DIMENSIONS


def _view_bytes(dense: torch.Tensor) -> memoryview:
    # numpy knows no bfloat16, so every element type is looked at as bytes: bit patterns such as NaN payloads survive.
    return dense.reshape(-1).view(torch.uint8).numpy().data
