"""A tensor arrives with the strides it was sent with, or, where those would be refused, as it reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from splittraining.api.errors import ProtocolViolation
from splittraining.api.wire_plan import DType
from splittraining.party.wire.frame import CHUNK_BYTES, Flags, FrameType, Header, compute_num_chunks, render_frame
from splittraining.party.wire.layout import render_strides
from support.wire_support import ChannelPair, a_link, a_transfer, open_pair

ROWS = 6


@pytest.fixture(params=("loopback", "grpc"), scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[ChannelPair]:
    with open_pair(str(request.param)) as channels:
        yield channels


@pytest.fixture(scope="module")
def steps() -> Iterator[int]:
    return iter(range(1, 1000))


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


def carry(
    pair: ChannelPair, tensor: torch.Tensor, step: int, *, dtype: DType = DType.FLOAT32
) -> tuple[torch.Tensor, int, int]:
    """Sends a tensor; returns what arrived, and the bytes of payload and framing that both ends counted alike."""
    transfer = a_transfer(dtype=dtype, shape=(1, *tensor.shape[1:]))
    before = pair.server.counters.snapshot(), pair.client.counters.snapshot()
    given = {"step": step, "rows": len(tensor), "training": True}
    a_link(pair.client).send_tensor(transfer, tensor, **given)
    got = a_link(pair.server).recv_tensor(transfer, batch_digest=None, timeout_s=10, **given).tensor
    received, sent = pair.server.counters.snapshot(), pair.client.counters.snapshot()
    counted = (
        received.payload_received - before[0].payload_received,
        received.framing_received - before[0].framing_received,
    )
    assert counted == (sent.payload_sent - before[1].payload_sent, sent.framing_sent - before[1].framing_sent)
    assert got is not None
    return got, *counted


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(rand(1, 3, 4).expand(ROWS, 3, 4), id="expanded along the rows"),
        pytest.param(rand(ROWS, 1, 4).expand(ROWS, 3, 4), id="expanded in the middle"),
        pytest.param(rand(ROWS, 3, 1).expand(ROWS, 3, 4), id="expanded along the last dimension"),
        pytest.param(rand(1).expand(ROWS, 3, 4), id="one element for all"),
        pytest.param(rand(ROWS, 9, 4)[:, 2:5], id="narrowed in the middle"),
        pytest.param(rand(ROWS, 3, 9)[..., 5:], id="narrowed in the last dimension"),
        pytest.param(rand(2 * ROWS, 3, 4)[::2], id="every second row"),
        pytest.param(rand(ROWS, 9, 1)[:, 2:5].expand(ROWS, 3, 4), id="narrowed and expanded"),
        pytest.param(rand(ROWS, 4, 9)[..., 2:5].transpose(1, 2), id="narrowed and transposed"),
        pytest.param(rand(ROWS, 197, 4)[:, 0], id="one token of many"),
        pytest.param(rand(ROWS, 8, 4, 5).to(memory_format=torch.channels_last)[:, 2:5], id="channels_last, narrowed"),
        pytest.param(rand(ROWS, 3, 4, 2, 2, 2).transpose(1, 2), id="six dimensions, transposed"),
        pytest.param(rand(1, 3, 9)[..., 2:6], id="one row, narrowed"),
        pytest.param(rand(8, 9)[3:4, 2:6], id="one row of a part, which is as good as dense"),
        pytest.param(rand(1).as_strided((1, 1, 1), (0, 7, 3)), id="one of everything"),
    ],
)
def test_a_view_arrives_with_its_strides(pair: ChannelPair, tensor: torch.Tensor, steps: Iterator[int]) -> None:
    got, payload, framing = carry(pair, tensor, next(steps))
    assert got.stride() == tensor.stride()
    assert torch.equal(got, tensor)
    assert (payload, framing) == (4 * tensor.numel(), 64 + 8 * tensor.dim())


@pytest.mark.parametrize(
    ("tensor", "strides"),
    [
        pytest.param(rand(ROWS, 3, 4), (12, 4, 1), id="row-major"),
        pytest.param(rand(ROWS, 4, 3).transpose(1, 2), (12, 1, 3), id="transposed"),
        pytest.param(rand(ROWS, 3, 1, 1).to(memory_format=torch.channels_last), (3, 1, 3, 3), id="N, C, 1, 1"),
        pytest.param(rand(ROWS, 1, 4), (4, 4, 1), id="a dimension of one"),
        pytest.param(rand(4, 1).T, (1, 1), id="a column as a row"),
        pytest.param(rand(ROWS, 9, 4)[:0, 2:5], (12, 4, 1), id="no rows"),
        pytest.param(rand(ROWS, 10).unfold(1, 4, 2), (16, 4, 1), id="windows that overlap"),
    ],
)
def test_what_lies_densely_needs_no_more_bytes_and_what_would_be_refused_arrives_densely(
    pair: ChannelPair, tensor: torch.Tensor, strides: tuple[int, ...], steps: Iterator[int]
) -> None:
    got, payload, framing = carry(pair, tensor, next(steps))
    assert got.stride() == strides
    assert torch.equal(got, tensor)
    assert (payload, framing) == (4 * tensor.numel(), 64)


@pytest.mark.parametrize(("size", "strides"), [(1 << 18, (1 << 26, 1)), (1, (4, 1))], ids=["64 times", "more"])
def test_elements_that_lie_too_far_apart_arrive_densely(
    pair: ChannelPair, size: int, strides: tuple[int, ...], steps: Iterator[int]
) -> None:
    memory = torch.empty((1 << 26) + (1 << 23))  # what is not written takes no memory
    tensor = memory.as_strided((2, 4 * size), (1 << 26, 1)).fill_(1.5)
    got, *_ = carry(pair, tensor, next(steps))
    assert got.stride() == strides
    assert torch.equal(got, tensor)


@pytest.mark.parametrize(("num_elements", "num_chunks"), [(CHUNK_BYTES // 8, 2), (CHUNK_BYTES // 8 - 4, 1)])
def test_strides_stand_before_the_elements_whatever_the_chunks(
    pair: ChannelPair, num_elements: int, num_chunks: int, steps: Iterator[int]
) -> None:
    tensor = rand(2, num_elements + 3)[:, 3:]
    got, payload, framing = carry(pair, tensor, next(steps))
    assert got.stride() == tensor.stride()
    assert torch.equal(got, tensor)
    assert (payload, framing) == (8 * num_elements, 64 * num_chunks + 16)


def test_strides_are_no_part_of_what_an_evaluation_moved(pair: ChannelPair, steps: Iterator[int]) -> None:
    tensor, transfer = rand(ROWS, 9)[:, 2:6], a_transfer()
    before = pair.server.counters.snapshot().evaluation_received
    given = {"step": next(steps), "rows": ROWS, "training": False}
    a_link(pair.client).send_tensor(transfer, tensor, **given)
    a_link(pair.server).recv_tensor(transfer, batch_digest=None, timeout_s=10, **given)
    sent, received = pair.client.counters.snapshot(), pair.server.counters.snapshot()
    assert received.evaluation_received == sent.evaluation_sent
    assert received.evaluation_received - before == 4 * ROWS * 4


def test_bfloat16_keeps_its_strides_and_bits(pair: ChannelPair, steps: Iterator[int]) -> None:
    bits = torch.arange(-ROWS * 9, ROWS * 9, dtype=torch.int16).reshape(ROWS, 18)[:, 3:7] * 501
    whole = torch.empty(ROWS, 18, dtype=torch.int16)
    whole[:, 3:7] = bits
    got, payload, _ = carry(pair, whole.view(torch.bfloat16)[:, 3:7], next(steps), dtype=DType.BFLOAT16)
    assert got.stride() == (18, 1)
    assert torch.equal(got.contiguous().view(torch.int16), bits)
    assert payload == 2 * ROWS * 4


def test_a_received_view_is_nobody_elses_memory(pair: ChannelPair, steps: Iterator[int]) -> None:
    tensor = rand(ROWS, 9)[:, 2:6]
    first, *_ = carry(pair, tensor, next(steps))
    second, *_ = carry(pair, tensor, next(steps))
    first.add_(1)
    assert torch.equal(first, tensor + 1)
    assert torch.equal(second, tensor)


HUGE = 1 << 40


@pytest.mark.parametrize(
    ("strides", "shape", "message"),
    [
        pytest.param((2**64 - 1, 1), (2, 4), rf"strides \[{2**64 - 1}, 1\]", id="negative"),
        pytest.param((HUGE, 1), (2, 4), rf"strides \[{HUGE}, 1\] of shape \[2, 4\].*or 256 MiB", id="too large"),
        pytest.param((4, HUGE), (2, 1), rf"strides \[4, {HUGE}\]", id="too large where it is never gone"),
        pytest.param((3, 1), (2, 4), "in a place of its own", id="overlapping"),
        pytest.param((1, 1), (2, 4), "in a place of its own", id="in the same places"),
        pytest.param((4,), (2, 4), "strides of 1 dimensions.*those of 2", id="one too few"),
        pytest.param((16, 4, 1), (2, 4), "strides of 3 dimensions.*those of 2", id="one too many"),
        pytest.param((), (2, 4), "strides of 0 dimensions.*those of 2", id="none"),
        pytest.param((4, 1), (0, 4), "none for a tensor without elements", id="of no elements"),
    ],
)
@pytest.mark.parametrize("cut", [0, 4])
def test_strides_that_no_tensor_has_are_refused_before_memory_is_taken(
    strides: tuple[int, ...], shape: tuple[int, int], message: str, cut: int
) -> None:
    body = render_strides(strides) + bytes(4 * shape[0] * shape[1])
    body = body[: len(body) - cut] if shape[0] else body
    header = Header(
        FrameType.TENSOR,
        flags=Flags.LAST | Flags.STRIDED,
        dtype=DType.FLOAT32,
        dimension_order=len(strides),
        value_id=3,
        rows=shape[0],
        step=8,
        num_chunks=compute_num_chunks(len(body)),
        size_bytes=len(body),
        generation=1,
    )
    with open_pair("loopback") as pair:
        pair.client.send(render_frame(header, body))
        expected = f"{len(body)} bytes, chunk 0" if cut and shape[0] and len(strides) == 2 else message
        with pytest.raises(ProtocolViolation, match=expected):
            a_link(pair.server).recv_tensor(
                a_transfer(shape=(1, shape[1])), step=8, rows=None, training=True, batch_digest=None, timeout_s=5
            )
