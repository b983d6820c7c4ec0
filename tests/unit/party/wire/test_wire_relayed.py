"""A link between two clients over the server: it carries exactly what is due, and cannot meddle with it unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch

from splittraining.api.errors import IdentityRefused, ProtocolViolation
from splittraining.api.wire_plan import Direction, DType, Transfer
from splittraining.party.wire.channel import Channel
from splittraining.party.wire.frame import CHUNK_BYTES, HEADER_BYTES, Flags, get_body, parse_header, render_frame
from splittraining.party.wire.link import Link
from splittraining.party.wire.loopback import build_loopback_pair
from splittraining.party.wire.relayed import RelayedChannel, iterate_relayed_sizes, relay_tensor
from splittraining.pki import relaying
from splittraining.pki.relaying import PAIR_KEY_BYTES, FrameOpener, FrameSealer
from support.wire_support import a_control_frame, a_transfer, in_thread

KEY = bytes(range(PAIR_KEY_BYTES))
CONTRACT = "sha256:" + "1" * 64
DIGEST = bytes(range(16))
ROWS = 2
FRAMING_BYTES = 64 + 64 + 16


def between(transfer: Transfer) -> Transfer:
    """The same value from clinic to lab, and its gradient from lab to clinic."""
    ends = ("clinic", "lab") if transfer.direction is Direction.FORWARD else ("lab", "clinic")
    return replace(transfer, sender=ends[0], receiver=ends[1])


VALUE = between(a_transfer())
GRADIENT = between(a_transfer(Direction.BACKWARD))
LARGE = between(a_transfer(shape=(1, 5 * CHUNK_BYTES // 16)))


@dataclass
class Chain:
    """Two clients and the server between them, with each one's links."""

    clinic: Link
    lab: Link
    below: dict[str, Channel]
    at_server: dict[str, Link]

    def relay(self, transfer: Transfer = VALUE, *, step: int = 8, rows: int = ROWS, training: bool = True) -> None:
        source, target = self.at_server[transfer.sender], self.at_server[transfer.receiver]
        relay_tensor(source, target, transfer, step=step, rows=rows, training=training)

    def take(self, count: int) -> list[bytes]:
        """Takes frames of clinic off the server's stream, as a server that does not keep to the protocol could."""
        return [self.at_server["clinic"].channel.recv(5) for _ in range(count)]

    def give(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.at_server["lab"].channel.send(frame)


def a_relayed_link(own: str, peer: str, below: Channel) -> Link:
    ways = [relaying.Direction(CONTRACT, 1, *ends) for ends in ((own, peer), (peer, own))]
    channel = RelayedChannel(
        below, peer, sealer=FrameSealer(KEY, ways[0]), opener=FrameOpener(KEY, ways[1]), generation=1
    )
    return Link(channel, generation=1, max_rows=ROWS)


@pytest.fixture
def chain() -> Iterator[Chain]:
    below, at_server = {}, {}
    for name in ("clinic", "lab"):
        below[name], channel = build_loopback_pair(name, "server")
        at_server[name] = Link(channel, generation=1, max_rows=ROWS)
    links = [a_relayed_link(own, peer, below[own]) for own, peer in (("clinic", "lab"), ("lab", "clinic"))]
    yield Chain(*links, below, at_server)
    for channel in below.values():
        channel.abort()


def send(link: Link, transfer: Transfer = VALUE, tensor: torch.Tensor | None = None, **changes: int) -> torch.Tensor:
    given = {"step": 8, "rows": ROWS, "training": True} | changes
    shape = transfer.value.compute_shape(given["rows"])
    sent = torch.arange(len(torch.empty(shape).reshape(-1)), dtype=torch.float32).reshape(shape)
    sent = sent if tensor is None else tensor
    link.send_tensor(transfer, sent, batch_digest=DIGEST, **given)
    return sent


def recv(link: Link, transfer: Transfer = VALUE, **changes: int) -> torch.Tensor | None:
    given = {"step": 8, "rows": ROWS, "training": True} | changes
    return link.recv_tensor(transfer, batch_digest=DIGEST, timeout_s=5, **given).tensor


def test_values_go_one_way_and_gradients_the_other(chain: Chain) -> None:
    value = send(chain.clinic)
    chain.relay()
    assert torch.equal(recv(chain.lab), value)
    gradient = send(chain.lab, GRADIENT, -value)
    chain.relay(GRADIENT)
    assert torch.equal(recv(chain.clinic, GRADIENT), gradient)


def test_a_value_of_several_chunks_arrives_as_it_lay_in_memory(chain: Chain) -> None:
    large = torch.rand(LARGE.value.compute_shape(ROWS)).t().contiguous().t()
    sending = in_thread(lambda: send(chain.clinic, LARGE, large))
    relaying_it = in_thread(lambda: chain.relay(LARGE))
    received = recv(chain.lab, LARGE)
    sending.result(5)
    relaying_it.result(5)
    assert torch.equal(received, large)
    assert received.stride() == large.stride()


@pytest.mark.parametrize(
    ("num_columns", "num_chunks"),
    [
        pytest.param(CHUNK_BYTES // 8 - 2, 1, id="as much as goes into one frame"),
        pytest.param(CHUNK_BYTES // 8, 2, id="a chunk of elements, which the strides make two"),
        pytest.param(2 * CHUNK_BYTES // 8 + 1, 3, id="several chunks"),
    ],
)
def test_a_view_is_relayed_with_its_strides(chain: Chain, num_columns: int, num_chunks: int) -> None:
    transfer = between(a_transfer(Direction.BACKWARD, shape=(1, num_columns)))
    view = torch.rand(ROWS, num_columns + 5)[:, 2:-3]
    sending = in_thread(lambda: send(chain.lab, transfer, view))
    relaying_it = in_thread(lambda: chain.relay(transfer))
    received = recv(chain.clinic, transfer)
    sending.result(5)
    relaying_it.result(5)
    assert torch.equal(received, view)
    assert received.stride() == view.stride()
    sent, got = chain.lab.channel.counters.snapshot(), chain.clinic.channel.counters.snapshot()
    assert sent.payload_sent == got.payload_received == transfer.value.compute_size_bytes(ROWS)
    assert sent.framing_sent == got.framing_received == num_chunks * FRAMING_BYTES + 16


def test_a_value_that_is_said_to_bring_strides_and_has_none_is_not_relayed(chain: Chain) -> None:
    send(chain.clinic)
    (frame,) = chain.take(1)
    header = parse_header(frame)
    lying = render_frame(replace(header, flags=header.flags | Flags.STRIDED), get_body(frame))
    chain.below["clinic"].send(lying)
    with pytest.raises(ProtocolViolation, match=r"112 bytes sealed.*Allowed: .*128 bytes sealed"):
        chain.relay()


@pytest.mark.slow
def test_more_than_any_window_goes_through(chain: Chain) -> None:
    whole = between(a_transfer(dtype=DType.UINT8, shape=(1, 50 * CHUNK_BYTES)))
    sent = torch.randint(0, 255, whole.value.compute_shape(ROWS), dtype=torch.uint8)
    sending = in_thread(lambda: send(chain.clinic, whole, sent))
    relaying_it = in_thread(lambda: chain.relay(whole))
    assert torch.equal(recv(chain.lab, whole), sent)
    sending.result(5)
    relaying_it.result(5)


def test_a_gradient_that_does_not_exist_is_relayed_as_such(chain: Chain) -> None:
    chain.lab.send_tensor(GRADIENT, None, step=8, rows=ROWS, training=True, batch_digest=DIGEST)
    chain.relay(GRADIENT)
    assert recv(chain.clinic, GRADIENT) is None


def test_the_server_sees_value_and_step_and_neither_elements_rows_nor_digest(chain: Chain) -> None:
    sent = send(chain.clinic)
    (frame,) = chain.take(1)
    header = parse_header(frame)
    assert (header.value_id, header.step, header.purpose) == (VALUE.value.id, 8, "training")
    assert (header.rows, header.batch_digest, header.dtype) == (0, bytes(16), None)
    assert [header.size_bytes] == list(iterate_relayed_sizes(VALUE.value.compute_size_bytes(ROWS)))
    assert sent.numpy().tobytes()[:16] not in frame
    assert DIGEST not in frame


@pytest.mark.parametrize(
    ("transfer", "changes", "given"),
    [
        pytest.param(VALUE, {"step": 9}, "Forward value 3 at training step 9", id="another step"),
        pytest.param(VALUE, {"training": False}, "at evaluation step 8", id="another purpose"),
        pytest.param(VALUE, {"rows": 1}, "96 bytes sealed", id="another number of rows"),
        pytest.param(between(a_transfer(value_id=4)), {}, "Forward value 4", id="another value"),
        pytest.param(LARGE, {}, "1048656 bytes sealed", id="more bytes than the value has"),
    ],
)
def test_the_server_relays_nothing_but_what_is_due(
    chain: Chain, transfer: Transfer, changes: dict[str, int], given: str
) -> None:
    send(chain.clinic, transfer, **changes)
    with pytest.raises(ProtocolViolation, match=f"clinic sent a RELAY frame with .*{given}.*for lab"):
        chain.relay()


def test_the_server_relays_nothing_that_it_could_read(chain: Chain) -> None:
    send(Link(chain.below["clinic"], generation=1, max_rows=ROWS))
    with pytest.raises(ProtocolViolation, match="clinic sent Forward value 3"):
        chain.relay()


def test_a_value_without_elements_is_not_relayed_forward(chain: Chain) -> None:
    with pytest.raises(ProtocolViolation, match="80 bytes sealed"):
        send_empty(chain)


def send_empty(chain: Chain) -> None:
    empty = between(a_transfer(shape=(1, 0)))
    send(chain.clinic, empty)
    chain.relay()


@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(lambda frames: [flip(frames[0], HEADER_BYTES + 70)], id="an element is changed"),
        pytest.param(lambda frames: frames[1:], id="the first one is dropped"),
        pytest.param(lambda frames: [frames[1], frames[0]], id="two change places"),
        pytest.param(lambda frames: [set_step(frames[0], 9)], id="it is said to be of another step"),
    ],
)
def test_a_server_that_meddles_is_found_out(chain: Chain, meddle: Callable[[list[bytes]], list[bytes]]) -> None:
    send(chain.clinic)
    send(chain.clinic, step=9)
    chain.give(meddle(chain.take(2)))
    with pytest.raises(IdentityRefused, match="frame 0 that was relayed from clinic to lab cannot be opened"):
        recv(chain.lab)


def test_a_repeated_frame_is_found_out(chain: Chain) -> None:
    value = send(chain.clinic)
    frames = chain.take(1)
    chain.give([*frames, *frames])
    assert torch.equal(recv(chain.lab), value)
    with pytest.raises(IdentityRefused, match="frame 1 that was relayed"):
        recv(chain.lab, step=9)


def test_a_frame_that_comes_back_to_its_sender_is_found_out(chain: Chain) -> None:
    send(chain.clinic)
    (frame,) = chain.take(1)
    chain.at_server["clinic"].channel.send(frame)
    with pytest.raises(IdentityRefused, match="from lab to clinic"):
        recv(chain.clinic, GRADIENT)


@pytest.mark.parametrize("is_tensor", [True, False], ids=["a tensor", "a control message"])
def test_what_the_server_says_itself_is_not_taken_for_the_peers_word(chain: Chain, is_tensor: bool) -> None:  # noqa: FBT001
    if is_tensor:
        send(chain.at_server["lab"])
    else:
        chain.give([a_control_frame()])
    with pytest.raises(ProtocolViolation, match=r"server sent .*what clinic sent"):
        recv(chain.lab)


def test_a_relayed_frame_is_not_taken_for_the_servers_word(chain: Chain) -> None:
    send(chain.clinic)
    chain.relay()
    with pytest.raises(ProtocolViolation, match="server sent a RELAY frame"):
        recv(Link(chain.below["lab"], generation=1, max_rows=ROWS))


def test_the_checks_of_a_link_hold_inside(chain: Chain) -> None:
    send(chain.clinic)
    chain.relay()
    with pytest.raises(ProtocolViolation, match=r"clinic sent .*batch digest"):
        chain.lab.recv_tensor(VALUE, step=8, rows=ROWS, training=True, batch_digest=bytes(16), timeout_s=5)


def test_both_ends_count_what_is_inside_and_the_server_what_it_carries(chain: Chain) -> None:
    send(chain.clinic)
    chain.relay()
    recv(chain.lab)
    size_bytes = VALUE.value.compute_size_bytes(ROWS)
    sent, received = chain.clinic.channel.counters.snapshot(), chain.lab.channel.counters.snapshot()
    assert (sent.peer, sent.payload_sent, sent.framing_sent) == ("lab", size_bytes, FRAMING_BYTES)
    assert (received.peer, received.payload_received, received.framing_received) == (
        "clinic",
        size_bytes,
        FRAMING_BYTES,
    )
    carried = [chain.at_server[name].channel.counters.snapshot() for name in ("clinic", "lab")]
    assert (carried[0].relayed_received, carried[1].relayed_sent) == (size_bytes + FRAMING_BYTES,) * 2
    below = chain.below["clinic"].counters.snapshot()
    assert below.payload_sent == below.relayed_sent == below.sealed_sent == 0


def flip(frame: bytes, position: int) -> bytes:
    return frame[:position] + bytes([frame[position] ^ 1]) + frame[position + 1 :]


def set_step(frame: bytes, step: int) -> bytes:
    return render_frame(replace(parse_header(frame), step=step), get_body(frame))
