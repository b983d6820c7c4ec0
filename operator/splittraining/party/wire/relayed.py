"""Links between two clients over their streams to the server, which carries sealed frames and cannot read them.

A client's `RelayedChannel` puts each frame for the other client, sealed, into a RELAY frame to the server. The server
knows from the wire plan which transfer comes next on every stream, so it needs no address: it takes the frames of
exactly this transfer from one stream and puts them on the other. docs/wire.md section 9 has the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from splittraining.api.errors import ProtocolViolation
from splittraining.api.wire_plan import Direction, Transfer
from splittraining.party.wire.channel import Channel
from splittraining.party.wire.counters import Counters
from splittraining.party.wire.frame import (
    CHUNK_BYTES,
    HEADER_BYTES,
    RELAYED_OVERHEAD_BYTES,
    SEAL_BYTES,
    STRIDE_BYTES,
    Flags,
    FrameType,
    Header,
    compute_num_chunks,
    describe_header,
    get_body,
    parse_header,
    render_frame,
)
from splittraining.party.wire.goodbye import Goodbye
from splittraining.party.wire.link import Link
from splittraining.pki.relaying import FrameOpener, FrameSealer

_SHOWN_FLAGS = Flags.EVALUATION | Flags.BACKWARD | Flags.STRIDED


class RelayedChannel:
    """A channel to another client, within the channel to the server.

    Only tensors travel on it. It has no Goodbye of its own: when the stream below it ends, so does it.

    Args:
        below: The channel to the server.
        peer: The client at the other end.
        sealer: For what goes to it.
        opener: For what comes from it.
        generation: Of the run; frames of another one are refused.
    """

    def __init__(self, below: Channel, peer: str, *, sealer: FrameSealer, opener: FrameOpener, generation: int) -> None:
        self.peer = peer
        self.counters = Counters(peer, added_bytes=HEADER_BYTES + SEAL_BYTES)
        self._below = below
        self._sealer = sealer
        self._opener = opener
        self._generation = generation

    def send(self, frame: bytes) -> None:
        """Seals one frame and gives it to the server; see `Channel.send`."""
        inner = parse_header(frame)
        outer = Header(
            FrameType.RELAY,
            flags=(inner.flags & _SHOWN_FLAGS) | Flags.LAST,
            value_id=inner.value_id,
            step=inner.step,
            size_bytes=len(frame) + SEAL_BYTES,
            generation=self._generation,
        )
        header = render_frame(outer)
        self._below.send(header + self._sealer.seal(frame, header))
        self.counters.count_sent(inner, len(frame))

    def recv(self, timeout_s: float | None = None) -> bytes:
        """Returns the peer's next frame; see `Channel.recv`.

        Raises:
            ProtocolViolation: if the server sent something of its own instead.
            IdentityRefused: if it is not the peer's next frame, unchanged.
        """
        frame = self._below.recv(timeout_s)
        outer = parse_header(frame)
        if outer.type is not FrameType.RELAY or outer.generation != self._generation:
            raise ProtocolViolation(
                f"{self._below.peer} sent {describe_header(outer)}",
                allowed=f"a RELAY frame with what {self.peer} sent, generation {self._generation}",
                remedy="use the same version of splittraining at every party; if they are equal, report it",
            )
        inner = self._opener.open(get_body(frame), frame[:HEADER_BYTES])
        self.counters.count_received(parse_header(inner), len(inner))
        return inner

    def close(self, goodbye: Goodbye) -> None:
        """Does nothing: the stream below is closed by whoever opened it."""

    def abort(self) -> None:
        """Cuts the stream below; see `Channel.abort`."""
        self._below.abort()


def relay_tensor(source: Link, target: Link, transfer: Transfer, *, step: int, rows: int, training: bool) -> None:
    """Carries one sealed value or gradient from link to link, frame by frame, without keeping or reading it.

    Args:
        source: To the sender.
        target: To the receiver.
        transfer: Which one.
        step: Global step.
        rows: Rows in the batch.
        training: False in an evaluation.

    Raises:
        ProtocolViolation: if the sender sent anything but the frames of this transfer.
    """
    flags = Flags.LAST
    if not training:
        flags |= Flags.EVALUATION
    if transfer.direction is Direction.BACKWARD:
        flags |= Flags.BACKWARD
    frame = source.channel.recv()
    header = parse_header(frame)
    size_bytes = transfer.value.compute_size_bytes(rows)
    if header.flags & Flags.STRIDED:
        flags |= Flags.STRIDED
        size_bytes += STRIDE_BYTES * len(transfer.value.shape)
    expected = Header(FrameType.RELAY, flags=flags, value_id=transfer.value.id, step=step, generation=source.generation)
    for index, relayed_bytes in enumerate(iterate_relayed_sizes(size_bytes)):
        if index:
            frame = source.channel.recv()
            header = parse_header(frame)
        # A gradient that does not exist is one frame without elements; nobody but its receiver can tell.
        is_empty = index == 0 and bool(flags & Flags.BACKWARD) and header.size_bytes == RELAYED_OVERHEAD_BYTES
        if header != replace(expected, size_bytes=RELAYED_OVERHEAD_BYTES if is_empty else relayed_bytes):
            raise ProtocolViolation(
                f"{source.peer} sent {describe_header(header)}",
                allowed=f"{describe_header(replace(expected, size_bytes=relayed_bytes))}, for {transfer.receiver}",
                remedy="use the same version of splittraining at every party; if they are equal, report it",
            )
        target.channel.send(frame)
        if is_empty:
            return


def iterate_relayed_sizes(size_bytes: int) -> Iterator[int]:
    """Yields the body sizes of the RELAY frames that carry a tensor of so many bytes."""
    for index in range(compute_num_chunks(size_bytes)):
        yield RELAYED_OVERHEAD_BYTES + min(CHUNK_BYTES, size_bytes - index * CHUNK_BYTES)
