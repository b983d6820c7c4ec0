"""How tensors lie in memory: what is said of it, what is allowed, and that it is kept on the way to a device."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from splittraining.party.wire.layout import (
    can_be_laid_out,
    compute_dense_strides,
    decide_layout,
    lay_out,
    move_as_it_lies,
    parse_strides,
    render_strides,
)

CPU = torch.device("cpu")
ELSEWHERE = torch.device("meta")
"""A device that holds shapes and strides alone: what a move does to them shows without a GPU."""
LIMIT_BYTES = 256 << 20

SIZES = st.lists(st.integers(1, 4), max_size=6).map(tuple)


@st.composite
def views(draw: st.DrawFn) -> torch.Tensor:
    """Any mixture of dimensions put in another order, narrowed, stepped over and expanded."""
    sizes = draw(SIZES)
    steps = [draw(st.integers(1, 3)) for _ in sizes]
    room = [size * step for size, step in zip(sizes, steps, strict=True)]
    tensor = torch.arange(float(torch.Size(room).numel())).reshape(room)
    ways = [(slice(size), slice(-size, None), slice(0, None, step)) for size, step in zip(sizes, steps, strict=True)]
    tensor = tensor[tuple(draw(st.sampled_from(way)) for way in ways)]
    order = draw(st.permutations(range(len(sizes))))
    tensor = tensor.permute(order)
    for axis in draw(st.sets(st.sampled_from(range(len(sizes))))) if sizes else ():
        tensor = tensor.narrow(axis, 0, 1).expand(tensor.shape)
    return tensor


@given(tensor=views())
def test_every_view_is_said_so_that_the_receiver_can_build_it_again(tensor: torch.Tensor) -> None:
    layout = decide_layout(tensor)
    if layout.strides is None:
        assert compute_dense_strides(tuple(tensor.shape), layout.dimension_order) == tensor.stride()
        return
    strides = parse_strides(memoryview(render_strides(layout.strides) + b"elements"), tensor.dim())
    assert can_be_laid_out(tuple(tensor.shape), strides, tensor.element_size())
    again = lay_out(tensor.contiguous(), strides)
    assert again.stride() == tensor.stride()
    assert torch.equal(again, tensor)


@given(shape=SIZES, data=st.data())
def test_whatever_strides_come_are_refused_or_hold_every_element_within_the_limit(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    anything = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
    strides = tuple(data.draw(st.lists(anything, min_size=len(shape), max_size=len(shape))))
    if not can_be_laid_out(shape, strides, 4):
        return
    once = [1 if stride == 0 else size for stride, size in zip(strides, shape, strict=True)]
    elements = torch.arange(float(torch.Size(once).numel())).reshape(once).expand(shape)
    laid_out = lay_out(elements, strides)
    assert torch.equal(laid_out, elements)
    assert laid_out.stride() == strides
    assert laid_out.untyped_storage().nbytes() <= LIMIT_BYTES


def test_a_tensor_that_is_there_already_is_not_copied() -> None:
    view = torch.rand(4, 9)[:, 2:6]
    assert move_as_it_lies(view, CPU) is view


def test_a_move_keeps_the_strides() -> None:
    for view in (
        torch.rand(4, 9)[:, 2:6],
        torch.rand(4, 1).expand(4, 5),
        torch.rand(4, 8, 3, 3).to(memory_format=torch.channels_last)[:, 2:4],
        torch.rand(3, 4).T,
        torch.rand(0, 9)[:, 2:6],
    ):
        moved = move_as_it_lies(view, ELSEWHERE)
        assert moved.device == ELSEWHERE
        assert moved.shape == view.shape
        assert moved.stride() == view.stride() or not view.numel()
