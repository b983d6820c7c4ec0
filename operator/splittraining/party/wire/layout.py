"""How a tensor's elements lie in memory, as the wire says it: the receiver then computes on the same strides.

Kernels and BLAS choose by strides in which order they add, so another layout is another last bit (docs/backward.md).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations
from math import factorial

import torch

from splittraining.party.wire.frame import ROW_MAJOR, STRIDE_BYTES, Flags, Header

_MAX_ORDERED_DIMENSIONS = 5
"""With more dimensions, orders do not fit the header's byte."""
_MAX_SPREAD = 64
_FREE_SPREAD_BYTES = 256 << 20
"""What strides may ask of memory: so many times the elements' own bytes or so many bytes, whichever is more."""
ALLOWED_STRIDES = (
    "strides that put each element in a place of its own, or a whole dimension in one place by 0, and ask for no more "
    f"memory than {_MAX_SPREAD} times the elements' own or {_FREE_SPREAD_BYTES >> 20} MiB"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How one tensor travels.

    Attributes:
        dimension_order: Rank of the order of dimensions in which the elements travel; 0 with strides.
        strides: Steps from element to element along each dimension, where no order of dimensions gives them; else None.
    """

    dimension_order: int = ROW_MAJOR
    strides: tuple[int, ...] | None = None


def decide_layout(tensor: torch.Tensor) -> Layout:
    """Decides how a tensor travels: so that its strides arrive, in the header alone wherever that can say them.

    An order of dimensions (its rank among all orders of so many, slowest first) gives the strides of a tensor that lies
    densely: 0 is row-major, and N, C, H, W in channels_last give the rank of (0, 2, 3, 1). Whatever lies otherwise,
    a view into something larger or an expanded one, needs its strides written out. Where these would be refused, the
    elements travel densely.
    """
    return _decide(tuple(tensor.shape), tensor.stride(), tensor.element_size())


@lru_cache(maxsize=1024)
def _decide(shape: tuple[int, ...], strides: tuple[int, ...], element_bytes: int) -> Layout:
    if 0 in shape:
        return Layout()
    # Where strides are equal, the dimension of size 1 is the faster one: N, C, 1, 1 in channels_last is told apart.
    order = tuple(sorted(range(len(shape)), key=lambda axis: (-strides[axis], shape[axis] == 1)))
    rank = _find_rank(order)
    if rank is not None and compute_dense_strides(shape, rank) == strides:
        return Layout(rank)
    if can_be_laid_out(shape, strides, element_bytes):
        return Layout(strides=strides)
    return Layout()


@dataclass(frozen=True, slots=True)
class LayoutFault:
    """What a header says of a layout and must not, and what it may."""

    given: str
    allowed: str


def find_layout_fault(first: Header, num_dimensions: int, *, has_elements: bool) -> LayoutFault | None:
    """Returns what is wrong with a header's word on the layout of a tensor of so many dimensions, if anything is."""
    if first.flags & Flags.STRIDED:
        if first.dimension_order == num_dimensions and has_elements:
            return None
        allowed = f"those of {num_dimensions}" if has_elements else "none for a tensor without elements"
        return LayoutFault(f"the strides of {first.dimension_order} dimensions", allowed)
    if first.dimension_order >= _count_orders(num_dimensions):
        return LayoutFault(f"dimension order {first.dimension_order}", f"an order of {num_dimensions} dimensions")
    return None


def can_be_laid_out(shape: tuple[int, ...], strides: tuple[int, ...], element_bytes: int) -> bool:
    """Returns whether memory is taken for such strides: bounded, and no two elements in one place but by stride 0."""
    limit = max(_MAX_SPREAD * math.prod(shape) * element_bytes, _FREE_SPREAD_BYTES) // element_bytes
    if any(not 0 <= stride <= limit for stride in strides):
        return False
    end = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1 and stride:
            if stride < end:
                return False
            end += stride * (size - 1)
    return end <= limit


def compute_dense_strides(shape: tuple[int, ...], dimension_order: int) -> tuple[int, ...]:
    """Returns the strides of a tensor whose elements lie without gaps in an order of its dimensions."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(get_order(len(shape), dimension_order)):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def get_order(num_dimensions: int, dimension_order: int) -> tuple[int, ...]:
    """Returns the dimensions from the slowest to the fastest."""
    if dimension_order == ROW_MAJOR:
        return tuple(range(num_dimensions))
    return _list_orders(num_dimensions)[dimension_order]


def render_strides(strides: tuple[int, ...]) -> bytes:
    """Renders strides as they stand before the elements."""
    return struct.pack(f"<{len(strides)}Q", *strides)


def parse_strides(body: memoryview, num_dimensions: int) -> tuple[int, ...]:
    """Reads the strides that a body begins with; whoever calls has seen that it is long enough."""
    return struct.unpack(f"<{num_dimensions}Q", body[: num_dimensions * STRIDE_BYTES])


def lay_out(tensor: torch.Tensor, strides: tuple[int, ...], device: torch.device | None = None) -> torch.Tensor:
    """Returns a copy with the given strides. What lies between its elements is never read, and not initialized.

    Args:
        tensor: The elements, in any layout; along a stride of 0 the first ones stand for all.
        strides: As `can_be_laid_out` allows them.
        device: Where the copy is; None for where the tensor is.
    """
    shape = tuple(tensor.shape)
    num_elements = 1 + sum(stride * (size - 1) for stride, size in zip(strides, shape, strict=True))
    memory = torch.empty(num_elements, dtype=tensor.dtype, device=device or tensor.device)
    once = [1 if stride == 0 else size for stride, size in zip(strides, shape, strict=True)]
    memory.as_strided(once, strides).copy_(tensor.detach()[tuple(map(slice, once))])
    return memory.as_strided(shape, strides)


def move_as_it_lies(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Moves a tensor to a device with its strides, which `Tensor.to` keeps only of what lies densely."""
    moved = tensor.to(device)
    if moved.stride() == tensor.stride() or not tensor.numel():
        return moved
    return lay_out(tensor, tensor.stride(), device)


def _count_orders(num_dimensions: int) -> int:
    return factorial(num_dimensions) if num_dimensions <= _MAX_ORDERED_DIMENSIONS else 1


def _find_rank(order: tuple[int, ...]) -> int | None:
    if order == tuple(range(len(order))):
        return ROW_MAJOR
    return _list_orders(len(order)).index(order) if len(order) <= _MAX_ORDERED_DIMENSIONS else None


@cache
def _list_orders(num_dimensions: int) -> tuple[tuple[int, ...], ...]:
    return tuple(permutations(range(num_dimensions)))
