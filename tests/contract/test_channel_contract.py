"""What every channel holds, on loopback and over real mTLS alike."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch

from splittraining.api.errors import DataInvalid, PeerFailed, PeerLost, ProtocolViolation, Stalled
from splittraining.api.wire_plan import Direction, DType
from splittraining.party.wire.channel import ChannelSettings
from splittraining.party.wire.frame import (
    FRAME_LIMIT_BYTES,
    HEADER_BYTES,
    RELAY_LIMIT_BYTES,
    FrameType,
    Header,
    get_body,
    render_frame,
)
from splittraining.party.wire.goodbye import PeerFinished, PeerSaidGoodbye, build_finished, build_goodbye
from splittraining.party.wire.link import relay_blob
from splittraining.party.wire.progress import Progress
from support.wire_support import CLIENT, ChannelPair, a_control_frame, a_link, a_transfer, in_thread, open_pair

KINDS = ("loopback", "grpc")
MIB = 1 << 20


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(kind: str) -> Iterator[ChannelPair]:
    with open_pair(kind) as channels:
        yield channels


def test_frames_arrive_in_the_order_of_sending_in_both_directions(pair: ChannelPair) -> None:
    texts = [f'{{"n":{number}}}' for number in range(200)]
    sent = in_thread(lambda: [pair.client.send(a_control_frame(text)) for text in texts])
    for text in texts:
        pair.server.send(a_control_frame(text))
    assert [bytes(get_body(pair.server.recv(10))).decode() for _ in texts] == texts
    assert [bytes(get_body(pair.client.recv(10))).decode() for _ in texts] == texts
    sent.result(10)


def test_both_sides_may_write_32_mib_before_they_read(pair: ChannelPair) -> None:
    value_mib = 32
    forward, backward = a_transfer(shape=(1, MIB // 4)), a_transfer(Direction.BACKWARD, shape=(1, MIB // 4))
    client, server = a_link(pair.client), a_link(pair.server)
    tensor = torch.arange(value_mib * MIB // 4, dtype=torch.float32).reshape(value_mib, -1)
    sent = in_thread(lambda: client.send_tensor(forward, tensor, step=1, rows=value_mib, training=True))
    server.send_tensor(backward, -tensor, step=1, rows=value_mib, training=True)
    sent.result(30)  # both have written all of it, and nobody has read
    there = server.recv_tensor(forward, step=1, rows=value_mib, training=True, batch_digest=None, timeout_s=30)
    back = client.recv_tensor(backward, step=1, rows=value_mib, training=True, batch_digest=None, timeout_s=30)
    assert there.tensor is not None
    assert torch.equal(there.tensor, tensor)
    assert back.tensor is not None
    assert torch.equal(back.tensor, -tensor)


def test_a_frame_longer_than_allowed_is_not_sent(pair: ChannelPair) -> None:
    with pytest.raises(ProtocolViolation, match=str(FRAME_LIMIT_BYTES)):
        pair.client.send(bytes(FRAME_LIMIT_BYTES + 1))


def test_the_longest_frame_of_all_arrives(pair: ChannelPair) -> None:
    body = bytes(range(256)) * (RELAY_LIMIT_BYTES // 256)
    longest = render_frame(Header(FrameType.RELAY, size_bytes=RELAY_LIMIT_BYTES), body.ljust(RELAY_LIMIT_BYTES, b"!"))
    assert len(longest) == FRAME_LIMIT_BYTES
    pair.client.send(longest)
    assert pair.server.recv(5) == longest
    pair.server.send(longest)
    assert pair.client.recv(5) == longest


def test_a_clean_goodbye_is_heard_after_everything_before_it(pair: ChannelPair) -> None:
    pair.client.send(a_control_frame())
    closed = in_thread(lambda: pair.client.close(build_finished(CLIENT)))
    assert pair.server.recv(10) == a_control_frame()
    with pytest.raises(PeerFinished, match="clean Goodbye"):
        pair.server.recv(10)
    closed.result(10)
    with pytest.raises(PeerLost, match="closed by this party"):
        pair.client.send(a_control_frame())


def test_the_server_may_say_goodbye_as_well_and_waits_until_it_is_read(pair: ChannelPair) -> None:
    pair.server.close(build_finished("server"))
    pair.server.close(build_finished("server"))
    with pytest.raises(PeerFinished):
        pair.client.recv(10)


def test_a_goodbye_with_an_error_names_party_reason_and_remedy_at_once(pair: ChannelPair) -> None:
    pair.client.send(a_control_frame())
    trouble = DataInvalid("row 7 has no label", remedy="drop the row")
    pair.client.close(build_goodbye(trouble, CLIENT))
    with pytest.raises(PeerFailed, match=f"{CLIENT} ended with DataInvalid: row 7 has no label.*drop the row") as heard:
        pair.server.recv(10)
    assert heard.value.reason == "PeerFailed"
    assert isinstance(heard.value, PeerSaidGoodbye)
    assert heard.value.goodbye.exit_code == trouble.exit_code
    with pytest.raises(PeerFailed):
        pair.server.send(a_control_frame())


def test_a_stream_that_ends_without_a_goodbye_is_a_loss(pair: ChannelPair) -> None:
    waiting = in_thread(lambda: pair.server.recv(30))
    began_s = time.monotonic()
    pair.client.abort()
    with pytest.raises(PeerLost, match=f"{CLIENT} ended without a Goodbye"):
        waiting.result(10)
    assert time.monotonic() - began_s < 5
    with pytest.raises(PeerLost):
        pair.server.send(a_control_frame())


def test_a_cut_by_the_server_is_a_loss_for_the_client(pair: ChannelPair) -> None:
    pair.server.abort()
    with pytest.raises(PeerLost, match="server ended without a Goodbye"):
        pair.client.recv(10)


def test_a_sender_that_waits_for_room_ends_with_its_peer(kind: str) -> None:
    settings = ChannelSettings(queue_frames=1)
    with open_pair(kind, settings=settings) as pair:
        blob = bytes(100 * MIB)
        sending = in_thread(lambda: a_link(pair.client).send_blob(1, blob))
        assert pair.server.recv(10)  # it is under way, and stops at the window
        pair.server.abort()
        with pytest.raises(PeerLost):
            sending.result(10)


def test_a_connected_peer_without_progress_is_stalled(kind: str) -> None:
    settings = ChannelSettings(heartbeat_s=0.02, stall_timeout_s=0.3)
    progress = Progress()
    progress.mark(41, "forward")
    expected = pytest.raises(Stalled, match=f"{CLIENT} is connected and made no progress.*step 41, forward")
    with open_pair(kind, settings=settings, client_progress=progress) as pair, expected:
        pair.server.recv()


def test_a_peer_that_makes_progress_is_not_stalled(kind: str) -> None:
    settings = ChannelSettings(heartbeat_s=0.02, stall_timeout_s=0.2)
    expected = pytest.raises(Stalled, match="sent nothing within 1 s")
    with open_pair(kind, settings=settings, client_progress=Progress(clock=lambda: 0.0)) as pair, expected:
        pair.server.recv(1)


def test_blobs_arrive_whole_though_the_inbox_is_smaller(kind: str) -> None:
    size_bytes = ChannelSettings().inbox_limit_bytes + 5
    pieces = (bytes([1]) * (30 * MIB), b"", bytes([2]) * (size_bytes - 30 * MIB))
    with open_pair(kind) as pair:
        sending = in_thread(lambda: a_link(pair.client).send_blob(9, pieces))
        with pytest.raises(TimeoutError):
            sending.result(0.5)  # nobody reads: it stops at the window
        assert a_link(pair.server).recv_blob(9, size_bytes, timeout_s=30) == b"".join(pieces)
        sending.result(10)


def test_a_sender_that_needs_no_answers_waits_for_its_reader(kind: str) -> None:
    transfer, num_steps = a_transfer(), 500  # as in an evaluation: values go up, and nothing comes back
    with open_pair(kind, settings=ChannelSettings(inbox_limit_bytes=30_000)) as pair:
        client, server = a_link(pair.client), a_link(pair.server)
        sending = in_thread(
            lambda: [
                client.send_tensor(transfer, torch.ones(1, 4), step=step, rows=1, training=False)
                for step in range(num_steps)
            ]
        )
        for step in range(num_steps):
            server.recv_tensor(transfer, step=step, rows=1, training=False, batch_digest=None, timeout_s=10)
        sending.result(10)


def test_a_blob_is_relayed_from_link_to_link(kind: str) -> None:
    blob = bytes(range(256)) * (20 * MIB // 256)
    with open_pair(kind) as first, open_pair(kind) as second:
        sending = in_thread(lambda: a_link(first.client).send_blob(5, blob))
        relaying = in_thread(lambda: relay_blob(a_link(first.server), a_link(second.server), 5, len(blob)))
        assert a_link(second.client).recv_blob(5, len(blob), timeout_s=30) == blob
        sending.result(10)
        relaying.result(10)
        sealed = first.server.counters.snapshot().sealed_received
        assert sealed == second.server.counters.snapshot().sealed_sent == len(blob) + 20 * HEADER_BYTES


@pytest.mark.parametrize("dtype", list(DType))
def test_every_dtype_arrives_bit_for_bit(pair: ChannelPair, dtype: DType) -> None:
    transfer = a_transfer(dtype=dtype, shape=(1, 3, 5))
    raw = torch.randint(
        0, 256, (7 * 15 * dtype.size_bytes,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    if dtype is DType.BOOL:
        raw %= 2
    tensor = raw.view(_torch_dtype(dtype)).reshape(7, 3, 5)  # random bits: NaN payloads and negative zeros among them
    a_link(pair.client).send_tensor(transfer, tensor, step=1, rows=7, training=True)
    got = a_link(pair.server).recv_tensor(transfer, step=1, rows=7, training=True, batch_digest=None, timeout_s=10)
    assert got.tensor is not None
    assert got.tensor.dtype == tensor.dtype
    assert torch.equal(got.tensor.reshape(-1).view(torch.uint8), raw)


def _torch_dtype(dtype: DType) -> torch.dtype:
    known = {str(t).removeprefix("torch."): t for t in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
    known |= {str(t).removeprefix("torch."): t for t in (torch.int64, torch.int32, torch.int16, torch.int8)}
    return (known | {"uint8": torch.uint8, "bool": torch.bool})[dtype.value.lower()]


def test_nan_payloads_and_negative_zeros_arrive_bit_for_bit(pair: ChannelPair) -> None:
    bits = torch.tensor([[0x7FC00001, 0x7F800ABC, -0x80000000, 0x00000001]], dtype=torch.int64).to(torch.int32)
    transfer = a_transfer()
    a_link(pair.client).send_tensor(transfer, bits.view(torch.float32), step=1, rows=1, training=True)
    got = a_link(pair.server).recv_tensor(transfer, step=1, rows=1, training=True, batch_digest=None, timeout_s=10)
    assert got.tensor is not None
    assert torch.equal(got.tensor.view(torch.int32), bits)


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(torch.randn(6, 3, 4, 5).to(memory_format=torch.channels_last), id="channels_last"),
        pytest.param(torch.randn(6, 5, 3, 2, 4).to(memory_format=torch.channels_last_3d), id="channels_last_3d"),
        pytest.param(torch.randn(6, 4, 3).transpose(1, 2), id="tokens made from patches"),
        pytest.param(torch.randn(4, 6).T, id="a transposed matrix"),
    ],
)
def test_a_tensor_arrives_with_its_strides(pair: ChannelPair, tensor: torch.Tensor) -> None:
    transfer = a_transfer(shape=(1, *tensor.shape[1:]))
    a_link(pair.client).send_tensor(transfer, tensor, step=1, rows=6, training=True)
    got = a_link(pair.server).recv_tensor(transfer, step=1, rows=6, training=True, batch_digest=None, timeout_s=10)
    assert got.tensor is not None
    assert got.tensor.stride() == tensor.stride()
    assert torch.equal(got.tensor, tensor)


@pytest.mark.parametrize("rows", [0, 1, MIB // 16, MIB // 16 + 1])
def test_counters_equal_the_formula_to_the_byte(pair: ChannelPair, rows: int) -> None:
    transfer = a_transfer()  # 16 bytes per row: the last two cases are exactly one chunk, and one byte-row more
    client, server = a_link(pair.client, max_rows=MIB), a_link(pair.server, max_rows=MIB)
    client.send_tensor(transfer, torch.ones(rows, 4), step=1, rows=rows, training=True)
    server.recv_tensor(transfer, step=1, rows=rows, training=True, batch_digest=None, timeout_s=10)
    sent, received = pair.client.counters.snapshot(), pair.server.counters.snapshot()
    assert sent.payload_sent == received.payload_received == transfer.value.compute_size_bytes(rows)
    num_chunks = max(1, -(-16 * rows // MIB))
    assert sent.framing_sent == received.framing_received == 64 * num_chunks


@pytest.mark.parametrize("size_bytes", [4, 4096, 64 << 10, 4 * MIB])
def test_framing_is_small(pair: ChannelPair, size_bytes: int) -> None:
    transfer = a_transfer(shape=(1, size_bytes // 4))
    a_link(pair.client).send_tensor(transfer, torch.ones(1, size_bytes // 4), step=1, rows=1, training=True)
    num_frames = -(-size_bytes // MIB)
    http2_bytes = num_frames * 5 + 9 * -(-(size_bytes + num_frames * 69) // (16 << 10))  # RFC 9113: 16 KiB frames
    framing = pair.client.counters.snapshot().framing_sent + http2_bytes
    assert framing <= 128 if size_bytes < 64 << 10 else framing < size_bytes / 100


def test_control_and_heartbeats_are_counted_apart(pair: ChannelPair) -> None:
    frame = a_control_frame('{"type":"Ping"}')
    pair.client.send(frame)
    pair.server.recv(10)
    counted = pair.server.counters.snapshot()
    assert counted.control_received >= len(frame)
    assert (counted.payload_received, counted.framing_received, counted.sealed_received) == (0, 0, 0)


def test_a_frame_that_is_none_is_refused_by_name(pair: ChannelPair) -> None:
    frame = bytearray(render_frame(Header(FrameType.CONTROL)))
    frame[3] = 9
    with pytest.raises(ProtocolViolation, match="frame type 9"):
        pair.client.send(bytes(frame))
