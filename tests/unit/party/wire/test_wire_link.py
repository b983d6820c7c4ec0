"""A link takes exactly the transfer that comes next, and believes no length."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from splittraining.api.errors import ProtocolViolation, Stalled
from splittraining.api.wire_plan import Direction, DType, ValueSource
from splittraining.party.wire.frame import CHUNK_BYTES, Flags, FrameType, Header, render_frame
from splittraining.party.wire.link import Link
from splittraining.party.wire.orders import Finish, TurnDone
from support.wire_support import CLIENT, ChannelPair, a_control_frame, a_link, a_transfer, open_pair

FORWARD, BACKWARD = a_transfer(), a_transfer(Direction.BACKWARD)
DIGEST = bytes(range(16))


@pytest.fixture
def pair() -> Iterator[ChannelPair]:
    with open_pair("loopback") as channels:
        yield channels


def expect(link: Link, **changes: Any) -> Any:
    """Receives FORWARD of training step 8 with 2 rows and DIGEST, or what changes say instead."""
    expected = {"step": 8, "rows": 2, "training": True, "batch_digest": DIGEST, "timeout_s": 5} | changes
    return link.recv_tensor(FORWARD, **expected)


def send(link: Link, **changes: Any) -> None:
    """Sends FORWARD of training step 8 with 2 rows and DIGEST, or what changes say instead."""
    given = {"step": 8, "rows": 2, "training": True, "batch_digest": DIGEST, "transfer": FORWARD} | changes
    transfer, rows = given.pop("transfer"), given["rows"]
    shape = transfer.value.compute_shape(rows)
    link.send_tensor(transfer, torch.zeros(shape, dtype=torch.float32), **given)


@pytest.mark.parametrize(
    ("changes", "given", "allowed"),
    [
        ({"step": 7}, "step 7", "step 8"),
        ({"step": 9}, "step 9", "step 8"),
        ({"transfer": a_transfer(value_id=4)}, "Forward value 4", "Forward value 3"),
        ({"transfer": BACKWARD}, "Backward value 3", "Forward value 3"),
        ({"training": False}, "evaluation step 8", "training step 8"),
        ({"rows": 3}, "3 rows", "2 rows"),
        ({"batch_digest": bytes(16)}, f"batch digest {bytes(16).hex()}", f"batch digest {DIGEST.hex()}"),
    ],
)
def test_any_other_transfer_is_refused_with_both_named(
    pair: ChannelPair, changes: dict[str, Any], given: str, allowed: str
) -> None:
    send(a_link(pair.client), **changes)
    with pytest.raises(ProtocolViolation, match=f"{CLIENT} sent .*{given}") as refused:
        expect(a_link(pair.server))
    assert allowed in refused.value.allowed


def test_another_generation_is_refused_with_both_named(pair: ChannelPair) -> None:
    send(a_link(pair.client, generation=2))
    with pytest.raises(ProtocolViolation, match=r"generation 2.*generation 1"):
        expect(a_link(pair.server, generation=1))


def test_a_control_message_of_another_generation_is_refused(pair: ChannelPair) -> None:
    a_link(pair.client, generation=2).send_control(Finish(step=1))
    with pytest.raises(ProtocolViolation, match=r"generation 2.*generation 1"):
        a_link(pair.server, generation=1).recv_control(5)


def test_rows_and_digest_may_be_left_to_the_sender(pair: ChannelPair) -> None:
    send(a_link(pair.client))
    got = expect(a_link(pair.server), rows=None, batch_digest=None)
    assert (got.rows, got.batch_digest) == (2, DIGEST)


def test_a_repeated_frame_is_recognized(pair: ChannelPair) -> None:
    client, server = a_link(pair.client), a_link(pair.server)
    send(client)
    send(client)
    expect(server)
    with pytest.raises(ProtocolViolation, match="a repeated frame: Forward value 3"):
        server.recv_tensor(a_transfer(value_id=4), step=8, rows=2, training=True, batch_digest=None, timeout_s=5)


def test_the_same_value_may_come_again_in_an_evaluation_of_the_same_step(pair: ChannelPair) -> None:
    client, server = a_link(pair.client), a_link(pair.server)
    send(client)
    send(client, training=False)
    assert expect(server).rows == expect(server, training=False).rows == 2


def test_a_gradient_that_does_not_exist_is_told_apart_from_zeros(pair: ChannelPair) -> None:
    client, server = a_link(pair.client), a_link(pair.server)
    server.send_tensor(BACKWARD, None, step=8, rows=2, training=True)
    got = client.recv_tensor(BACKWARD, step=8, rows=2, training=True, batch_digest=None, timeout_s=5)
    assert got.tensor is None
    assert pair.server.counters.snapshot().payload_sent == 0
    assert pair.server.counters.snapshot().framing_sent == 64


def test_labels_and_what_only_goes_forward_are_told_apart_within_the_payload(pair: ChannelPair) -> None:
    client, server = a_link(pair.client), a_link(pair.server)
    label = replace(FORWARD, value=FORWARD.value.model_copy(update={"source": ValueSource.LABEL}))
    for transfer, training in ((FORWARD, True), (label, True), (FORWARD, False), (label, False)):
        send(client, transfer=transfer, training=training)
        server.recv_tensor(transfer, step=8, rows=2, training=training, batch_digest=DIGEST, timeout_s=5)
    sent, received = pair.client.counters.snapshot(), pair.server.counters.snapshot()
    one = FORWARD.value.compute_size_bytes(2)
    assert (sent.payload_sent, sent.labels_sent, sent.evaluation_sent) == (4 * one, one, 2 * one)
    assert (received.payload_received, received.labels_received, received.evaluation_received) == (
        4 * one,
        one,
        2 * one,
    )
    assert not sent.labels_received + sent.evaluation_received + received.labels_sent + received.evaluation_sent


def test_a_forward_value_must_be_a_tensor(pair: ChannelPair) -> None:
    with pytest.raises(ProtocolViolation, match="no tensor for Forward 'layer3'"):
        a_link(pair.client).send_tensor(FORWARD, None, step=8, rows=2, training=True)


def test_a_forward_frame_without_a_tensor_is_refused(pair: ChannelPair) -> None:
    header = _a_header(flags=Flags.NONE_GRADIENT | Flags.LAST)
    pair.client.send(render_frame(header))
    with pytest.raises(ProtocolViolation):
        expect(a_link(pair.server))


def test_zero_rows_are_a_batch_as_well(pair: ChannelPair) -> None:
    send(a_link(pair.client), rows=0)
    got = expect(a_link(pair.server), rows=None)
    assert got.rows == 0
    assert got.tensor.shape == (0, 4)


def test_a_value_without_a_batch_dimension_has_its_size_whatever_the_rows(pair: ChannelPair) -> None:
    value = FORWARD.value.model_copy(update={"batch_dimension": -1, "shape": (3,)})
    transfer = type(FORWARD)(value, Direction.FORWARD, 0, 1, CLIENT, "server")
    a_link(pair.client).send_tensor(transfer, torch.arange(3.0), step=1, rows=7, training=True)
    got = a_link(pair.server).recv_tensor(transfer, step=1, rows=7, training=True, batch_digest=None, timeout_s=5)
    assert got.tensor is not None
    assert got.tensor.tolist() == [0, 1, 2]


def _a_header(**changes: Any) -> Header:
    fields = {
        "flags": Flags.LAST,
        "dtype": DType.FLOAT32,
        "value_id": 3,
        "rows": 2,
        "step": 8,
        "batch_digest": DIGEST,
        "generation": 1,
    }
    return Header(FrameType.TENSOR, **(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "body_bytes", "message"),
    [
        pytest.param(_a_header(size_bytes=36), 36, "36 bytes.*Allowed:.*32 bytes", id="more bytes than two rows have"),
        pytest.param(_a_header(size_bytes=16), 16, "16 bytes.*Allowed:.*32 bytes", id="fewer bytes than two rows have"),
        pytest.param(
            _a_header(flags=Flags(0), size_bytes=2**42, num_chunks=2**22),
            CHUNK_BYTES,
            f"{2**42} bytes.*Allowed:.*32 bytes",
            id="a size that would take terabytes",
        ),
        pytest.param(_a_header(dtype=DType.INT32, size_bytes=32), 32, "Int32.*Float32", id="another dtype"),
        pytest.param(
            _a_header(dimension_order=6, size_bytes=32),
            32,
            "dimension order 6",
            id="channels_last for two dimensions",
        ),
    ],
)
def test_a_length_or_layout_that_the_plan_does_not_give_is_refused(
    pair: ChannelPair, header: Header, body_bytes: int, message: str
) -> None:
    pair.client.send(render_frame(header, bytes(body_bytes)))
    with pytest.raises(ProtocolViolation, match=message):
        expect(a_link(pair.server))


def test_more_rows_than_any_batch_has_are_refused_before_memory_is_taken(pair: ChannelPair) -> None:
    rows = 2**32 - 1
    header = _a_header(flags=Flags(0), rows=rows, size_bytes=16 * rows, num_chunks=-(-16 * rows // CHUNK_BYTES))
    pair.client.send(render_frame(header, bytes(CHUNK_BYTES)))
    with pytest.raises(ProtocolViolation, match=f"{rows} rows.*at most 64 rows"):
        expect(a_link(pair.server), rows=None)


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (0, 2)])
def test_chunks_out_of_order_are_refused(pair: ChannelPair, order: tuple[int, int]) -> None:
    transfer = a_transfer(shape=(1, 3 * CHUNK_BYTES // 4))
    for index in order:
        flags = Flags.LAST if index == 2 else Flags(0)
        header = _a_header(flags=flags, rows=1, size_bytes=3 * CHUNK_BYTES, num_chunks=3, chunk_index=index)
        pair.client.send(render_frame(header, bytes(CHUNK_BYTES)))
    with pytest.raises(ProtocolViolation, match="chunk"):
        a_link(pair.server).recv_tensor(transfer, step=8, rows=1, training=True, batch_digest=None, timeout_s=5)


def test_the_next_value_cannot_slip_in_between_two_chunks(pair: ChannelPair) -> None:
    transfer = a_transfer(shape=(1, CHUNK_BYTES // 2))
    first = _a_header(flags=Flags(0), rows=1, size_bytes=2 * CHUNK_BYTES, num_chunks=2)
    pair.client.send(render_frame(first, bytes(CHUNK_BYTES)))
    pair.client.send(a_control_frame())
    with pytest.raises(ProtocolViolation, match="a CONTROL frame"):
        a_link(pair.server).recv_tensor(transfer, step=8, rows=1, training=True, batch_digest=None, timeout_s=5)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(2, 5), r"shape \[2, 5\].*Allowed: shape \[2, 4\]"),
        (torch.zeros(2, 4, dtype=torch.float64), "torch.float64 here.*torch.float32"),
    ],
)
def test_a_tensor_that_is_not_what_the_plan_says_is_not_sent(
    pair: ChannelPair, tensor: torch.Tensor, message: str
) -> None:
    with pytest.raises(ProtocolViolation, match=message):
        a_link(pair.client).send_tensor(FORWARD, tensor, step=8, rows=2, training=True)
    assert pair.client.counters.snapshot().payload_sent == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[::2],
        lambda x: x.t()[:4].t()[:2],
        lambda x: x[:1, :4].expand(2, 4),
        lambda x: x[:2, 4:].requires_grad_(),
    ],
    ids=["every second row", "transposed", "expanded", "requiring gradients"],
)
def test_views_of_any_strides_arrive_as_they_lie(
    pair: ChannelPair, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    tensor = change(torch.arange(32.0).reshape(4, 8))[:2, :4]
    a_link(pair.client).send_tensor(FORWARD, tensor, step=8, rows=2, training=True)
    got = expect(a_link(pair.server), batch_digest=None)
    assert torch.equal(got.tensor, tensor)
    assert got.tensor.stride() == tensor.stride()


def test_a_received_tensor_may_be_trained_on(pair: ChannelPair) -> None:
    send(a_link(pair.client))
    leaf = expect(a_link(pair.server)).tensor.requires_grad_()
    (leaf * 2).sum().backward()
    leaf.detach().add_(1)
    assert leaf.grad.tolist() == [[2.0] * 4] * 2


def test_messages_come_as_what_they_were_sent_as(pair: ChannelPair) -> None:
    message = TurnDone(step=12, rows=64, loss_sum="0.5")
    a_link(pair.client).send_control(message)
    assert a_link(pair.server).recv_control(5) == message


def test_a_message_in_the_place_of_a_tensor_is_refused(pair: ChannelPair) -> None:
    a_link(pair.client).send_control(Finish(step=1))
    with pytest.raises(ProtocolViolation, match=r"a CONTROL frame.*Allowed: Forward 'layer3' \(value 3\) of step 8"):
        expect(a_link(pair.server))


def test_a_tensor_in_the_place_of_a_message_is_refused(pair: ChannelPair) -> None:
    send(a_link(pair.client))
    with pytest.raises(ProtocolViolation, match=r"Forward value 3.*Allowed: a control message"):
        a_link(pair.server).recv_control(5)


@pytest.mark.parametrize(
    ("blob_id", "size_bytes", "allowed"),
    [(6, 10, "BLOB 6 of 10 bytes"), (5, 11, "BLOB 5 of 11 bytes"), (5, CHUNK_BYTES + 1, "chunk 0 of 2")],
)
def test_another_blob_than_the_announced_one_is_refused(
    pair: ChannelPair, blob_id: int, size_bytes: int, allowed: str
) -> None:
    a_link(pair.client).send_blob(5, bytes(10))
    with pytest.raises(ProtocolViolation, match=re.escape("BLOB 5 of 10 bytes")) as refused:
        a_link(pair.server).recv_blob(blob_id, size_bytes, timeout_s=5)
    assert allowed in refused.value.allowed


def test_a_blob_beyond_any_bound_is_refused_before_it_is_waited_for(pair: ChannelPair) -> None:
    with pytest.raises(ProtocolViolation, match=f"a blob of {2**40} bytes"):
        a_link(pair.server).recv_blob(1, 2**40)


@pytest.mark.parametrize("data", [b"", (), (b"", b"")])
def test_an_empty_blob_is_one_frame(pair: ChannelPair, data: Any) -> None:
    a_link(pair.client).send_blob(1, data)
    assert a_link(pair.server).recv_blob(1, 0, timeout_s=5) == b""


def test_a_limit_holds_for_all_chunks_together(pair: ChannelPair) -> None:
    transfer = a_transfer(shape=(1, CHUNK_BYTES // 2))
    first = _a_header(flags=Flags(0), rows=1, size_bytes=2 * CHUNK_BYTES, num_chunks=2)
    pair.client.send(render_frame(first, bytes(CHUNK_BYTES)))
    with pytest.raises(Stalled, match=f"{CLIENT} sent nothing within"):
        a_link(pair.server).recv_tensor(transfer, step=8, rows=1, training=True, batch_digest=None, timeout_s=0.2)
