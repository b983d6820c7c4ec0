"""A link: one channel seen as control messages, the wire plan's tensors and sealed blobs, each in its turn.

Whoever receives knows what comes next, so a link takes exactly that and believes no length before it has compared it
with the wire plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from splittraining.api.errors import ProtocolViolation
from splittraining.api.wire_plan import Direction, Transfer, Value
from splittraining.party.dtypes import TORCH_DTYPES
from splittraining.party.wire.channel import Channel
from splittraining.party.wire.frame import (
    CHUNK_BYTES,
    NO_DIGEST,
    Flags,
    FrameType,
    Header,
    build_chunk,
    compute_num_chunks,
    describe_header,
    get_body,
    iterate_bodies,
    parse_header,
    render_frame,
)
from splittraining.party.wire.layout import (
    ALLOWED_STRIDES,
    can_be_laid_out,
    find_layout_fault,
    lay_out,
    parse_strides,
)
from splittraining.party.wire.message import Message, build_registry, parse_message, render_message
from splittraining.party.wire.messages import MESSAGES
from splittraining.party.wire.tensors import build_empty, iterate_tensor_frames

MAX_BLOB_BYTES = 1 << 36
_PURPOSE_FLAGS = Flags.EVALUATION | Flags.BACKWARD


@dataclass(frozen=True, slots=True)
class ReceivedTensor:
    """One received value or gradient.

    Attributes:
        tensor: On the CPU, with the sender's strides; None for a gradient that does not exist.
        rows: Rows in the batch.
        batch_digest: Keyed digest of the batch's row ids, or zeros.
    """

    tensor: torch.Tensor | None
    rows: int
    batch_digest: bytes


class TensorLink(Protocol):
    """What a step needs of a link: each value or gradient of the wire plan, sent or received in its turn."""

    def send_tensor(
        self,
        transfer: Transfer,
        tensor: torch.Tensor | None,
        *,
        step: int,
        rows: int,
        training: bool,
        batch_digest: bytes = NO_DIGEST,
    ) -> None:
        """Sends one value or gradient of a step."""

    def recv_tensor(
        self, transfer: Transfer, *, step: int, rows: int | None, training: bool, batch_digest: bytes | None
    ) -> ReceivedTensor:
        """Returns one value or gradient of a step."""


class Link:
    """One channel, with what the two parties agreed on.

    Args:
        channel: To the peer.
        generation: Of the run; frames of another one are refused.
        max_rows: Most rows of any batch: bounds every tensor.
        messages: What control messages may come.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        generation: int,
        max_rows: int,
        messages: Sequence[type[Message]] = MESSAGES,
    ) -> None:
        self.channel = channel
        self.peer = channel.peer
        self.generation = generation
        self._max_rows = max_rows
        self._registry = build_registry(messages)
        self._received_step: tuple[int, Flags] = (-1, Flags(0))
        self._received: set[tuple[int, Flags]] = set()

    # --- control messages ---------------------------------------------------------------------------------------------

    def send_control(self, message: Message) -> None:
        """Sends one message.

        Raises:
            ProtocolViolation: if it is longer than a control frame may be.
        """
        body = render_message(message)
        header = Header(FrameType.CONTROL, size_bytes=len(body), generation=self.generation)
        self.channel.send(render_frame(header, body))

    def recv_control(self, timeout_s: float | None = None) -> Message:
        """Returns the peer's next message.

        Raises:
            ProtocolViolation: if something else came.
        """
        frame = self.channel.recv(timeout_s)
        self._parse(frame, FrameType.CONTROL, "a control message")
        return parse_message(bytes(get_body(frame)), self._registry)

    # --- tensors ------------------------------------------------------------------------------------------------------

    def send_tensor(
        self,
        transfer: Transfer,
        tensor: torch.Tensor | None,
        *,
        step: int,
        rows: int,
        training: bool,
        batch_digest: bytes = NO_DIGEST,
    ) -> None:
        """Sends one value or gradient of a step.

        Args:
            transfer: Which one.
            tensor: Its elements, on any device; None for a gradient that does not exist.
            step: Global step.
            rows: Rows in the batch.
            training: False in an evaluation.
            batch_digest: Keyed digest of the batch's row ids.

        Raises:
            ProtocolViolation: if the tensor is not what the wire plan says.
        """
        header = self._build_header(transfer, step=step, rows=rows, training=training, batch_digest=batch_digest)
        if tensor is None:
            if transfer.direction is Direction.FORWARD:
                raise ProtocolViolation(f"no tensor for {_describe(transfer, header)}", allowed="a tensor")
            self.channel.send(render_frame(replace(header, flags=header.flags | Flags.NONE_GRADIENT | Flags.LAST)))
            return
        shape, dtype = transfer.value.compute_shape(rows), TORCH_DTYPES[transfer.value.dtype]
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise ProtocolViolation(
                f"{_describe(transfer, header)} has shape {list(tensor.shape)} of {tensor.dtype} here",
                allowed=f"shape {list(shape)} of {dtype}, as the wire plan says",
                remedy="look whether the model's shapes depend on anything but the number of rows",
            )
        for frame in iterate_tensor_frames(header, tensor):
            self.channel.send(frame)
        self.channel.counters.attribute_sent(transfer, transfer.value.compute_size_bytes(rows), training=training)

    def recv_tensor(
        self,
        transfer: Transfer,
        *,
        step: int,
        rows: int | None,
        training: bool,
        batch_digest: bytes | None,
        timeout_s: float | None = None,
    ) -> ReceivedTensor:
        """Returns one value or gradient of a step: exactly this one, or an error.

        Args:
            transfer: Which one.
            step: Global step.
            rows: Rows that it must have; None to be told.
            training: False in an evaluation.
            batch_digest: Digest that it must carry; None to be told.
            timeout_s: Longest wait for all of it; None leaves it to the channel's own limits.

        Raises:
            ProtocolViolation: names what came and what was expected.
        """
        deadline = _Deadline(timeout_s)
        frame = self.channel.recv(deadline.compute_left_s())
        first = self._parse(frame, FrameType.TENSOR, _describe_expected(transfer, step))
        expected = self._build_header(
            transfer,
            step=step,
            rows=first.rows if rows is None else rows,
            training=training,
            batch_digest=first.batch_digest if batch_digest is None else batch_digest,
        )
        self._check_first(first, expected, transfer)
        self._remember(first)
        if first.flags & Flags.NONE_GRADIENT:
            return ReceivedTensor(None, first.rows, first.batch_digest)
        shape = transfer.value.compute_shape(first.rows)
        strides = self._take_strides(frame, transfer.value, shape) if first.flags & Flags.STRIDED else None
        tensor, memory = build_empty(shape, first)
        self._fill(memory, frame, first, deadline)
        size_bytes = first.size_bytes - first.strides_bytes
        self.channel.counters.attribute_received(transfer, size_bytes, training=training)
        return ReceivedTensor(tensor if strides is None else lay_out(tensor, strides), first.rows, first.batch_digest)

    def _build_header(self, transfer: Transfer, *, step: int, rows: int, training: bool, batch_digest: bytes) -> Header:
        flags = Flags(0)
        if not training:
            flags |= Flags.EVALUATION
        if transfer.direction is Direction.BACKWARD:
            flags |= Flags.BACKWARD
        return Header(
            FrameType.TENSOR,
            flags=flags,
            dtype=transfer.value.dtype,
            value_id=transfer.value.id,
            rows=rows,
            step=step,
            batch_digest=batch_digest,
            generation=self.generation,
        )

    def _check_first(self, first: Header, expected: Header, transfer: Transfer) -> None:
        """Compares a tensor's first frame with what is expected, before any memory is taken."""
        given_key, expected_key = _build_key(first), _build_key(expected)
        if given_key != expected_key:
            again = (first.step, first.flags & Flags.EVALUATION) == self._received_step and (
                first.value_id,
                first.flags & Flags.BACKWARD,
            ) in self._received
            raise self._violation(
                f"{'a repeated frame: ' if again else ''}{describe_header(first)}",
                describe_header(expected),
            )
        size_bytes = transfer.value.compute_size_bytes(first.rows) if first.rows <= self._max_rows else -1
        fault = find_layout_fault(first, len(transfer.value.shape), has_elements=size_bytes != 0)
        if fault is not None:
            raise self._violation(f"{fault.given} for {describe_header(first)}", fault.allowed)
        size_bytes += first.strides_bytes
        if first.flags & Flags.NONE_GRADIENT:
            size_bytes = 0 if first.flags & Flags.BACKWARD else -1
        if first.rows > self._max_rows or first.size_bytes != size_bytes or first.chunk_index != 0:
            raise self._violation(
                f"{first.size_bytes} bytes, chunk {first.chunk_index}, of {describe_header(first)}",
                f"at most {self._max_rows} rows, {max(size_bytes, 0)} bytes, chunk 0",
            )

    def _take_strides(self, frame: bytes, value: Value, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Reads the strides in a tensor's first frame, and checks what memory they ask for before it is taken."""
        strides = parse_strides(get_body(frame), len(shape))
        if not can_be_laid_out(shape, strides, value.dtype.size_bytes):
            raise self._violation(f"strides {list(strides)} of shape {list(shape)} for {value.name!r}", ALLOWED_STRIDES)
        return strides

    def _remember(self, first: Header) -> None:
        step = (first.step, first.flags & Flags.EVALUATION)
        if step != self._received_step:
            self._received_step = step
            self._received.clear()
        self._received.add((first.value_id, first.flags & Flags.BACKWARD))

    def _fill(self, memory: memoryview, frame: bytes, first: Header, deadline: _Deadline) -> None:
        """Copies each chunk to its place as it comes, while the next one is on its way."""
        for index in range(first.num_chunks):
            if index:
                frame = self.channel.recv(deadline.compute_left_s())
                self._check_chunk(frame, first, index)
            body = get_body(frame)[0 if index else first.strides_bytes :]
            start = index * CHUNK_BYTES - first.strides_bytes if index else 0
            memory[start : start + len(body)] = body

    # --- blobs --------------------------------------------------------------------------------------------------------

    def send_blob(self, blob_id: int, data: bytes | Sequence[bytes]) -> None:
        """Sends sealed bytes, one after the other, to a peer that knows their total size.

        Raises:
            ProtocolViolation: if they are too many.
        """
        pieces = (data,) if isinstance(data, bytes) else data
        size_bytes = sum(map(len, pieces))
        _check_blob_size(size_bytes)
        header = self._build_blob_header(blob_id, size_bytes)
        for index, body in enumerate(iterate_bodies(pieces)):
            self.channel.send(render_frame(build_chunk(header, index), body))

    def recv_blob(self, blob_id: int, size_bytes: int, timeout_s: float | None = None) -> bytes:
        """Returns a blob of exactly the announced size. Memory is taken only as bytes arrive.

        Raises:
            ProtocolViolation: if another blob or another size came.
        """
        return b"".join(get_body(frame) for frame in self.iterate_blob_frames(blob_id, size_bytes, timeout_s))

    def iterate_blob_frames(self, blob_id: int, size_bytes: int, timeout_s: float | None = None) -> Iterable[bytes]:
        """Yields the frames of one blob as they come.

        Raises:
            ProtocolViolation: if another blob or another size came.
        """
        _check_blob_size(size_bytes)
        deadline = _Deadline(timeout_s)
        header = self._build_blob_header(blob_id, size_bytes)
        for index in range(header.num_chunks):
            frame = self.channel.recv(deadline.compute_left_s())
            self._check_chunk(frame, header, index)
            yield frame

    def _build_blob_header(self, blob_id: int, size_bytes: int) -> Header:
        return Header(
            FrameType.BLOB,
            value_id=blob_id,
            num_chunks=compute_num_chunks(size_bytes),
            size_bytes=size_bytes,
            generation=self.generation,
        )

    # --- both ---------------------------------------------------------------------------------------------------------

    def _parse(self, frame: bytes, kind: FrameType, expected: str) -> Header:
        header = parse_header(frame)
        if header.type is not kind or header.generation != self.generation:
            raise self._violation(describe_header(header), f"{expected} of generation {self.generation}")
        return header

    def _check_chunk(self, frame: bytes, first: Header, index: int) -> None:
        header = parse_header(frame)
        expected = build_chunk(first, index)
        if header != expected:
            raise self._violation(
                f"chunk {header.chunk_index} of {header.num_chunks} of {describe_header(header)}",
                f"chunk {index} of {first.num_chunks} of {describe_header(expected)}",
            )

    def _violation(self, given: str, allowed: str) -> ProtocolViolation:
        return ProtocolViolation(
            f"{self.peer} sent {given}",
            allowed=allowed,
            remedy="use the same version of splittraining at every party; if they are equal, report it",
        )


def relay_blob(source: Link, target: Link, blob_id: int, size_bytes: int) -> None:
    """Carries one blob from link to link, frame by frame, without keeping it.

    Raises:
        ProtocolViolation: if another blob or another size came.
    """
    for frame in source.iterate_blob_frames(blob_id, size_bytes):
        target.channel.send(frame)


class _Deadline:
    """One limit over several waits."""

    def __init__(self, timeout_s: float | None) -> None:
        self._at_s = None if timeout_s is None else time.monotonic() + timeout_s

    def compute_left_s(self) -> float | None:
        """Returns the seconds left, or None for no limit."""
        return None if self._at_s is None else max(0.0, self._at_s - time.monotonic())


def _build_key(header: Header) -> tuple[object, ...]:
    """Returns what must be equal before a frame is looked at any closer."""
    return (
        header.step,
        header.value_id,
        header.flags & _PURPOSE_FLAGS,
        header.dtype,
        header.rows,
        header.batch_digest,
    )


def _describe(transfer: Transfer, header: Header) -> str:
    return f"{transfer.direction} {transfer.value.name!r} at {header.purpose} step {header.step}"


def _describe_expected(transfer: Transfer, step: int) -> str:
    return f"{transfer.direction} {transfer.value.name!r} (value {transfer.value.id}) of step {step}"


def _check_blob_size(size_bytes: int) -> None:
    if not 0 <= size_bytes <= MAX_BLOB_BYTES:
        raise ProtocolViolation(f"a blob of {size_bytes} bytes", allowed=f"at most {MAX_BLOB_BYTES} bytes")
