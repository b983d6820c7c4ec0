"""Frames: a fixed 64-byte little-endian header and a body of at most 1 MiB. docs/wire.md has the byte offsets."""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from splittraining.api.errors import ProtocolViolation
from splittraining.api.wire_plan import DType

WIRE_VERSION = 1
HEADER_BYTES = 64
CHUNK_BYTES = 1 << 20
SEAL_BYTES = 16
"""What sealing adds to a frame that another party relays: the tag."""
RELAYED_OVERHEAD_BYTES = HEADER_BYTES + SEAL_BYTES
"""What a RELAY frame's body holds beside the payload of the frame in it."""
RELAY_LIMIT_BYTES = RELAYED_OVERHEAD_BYTES + CHUNK_BYTES
FRAME_LIMIT_BYTES = HEADER_BYTES + RELAY_LIMIT_BYTES
CONTROL_LIMIT_BYTES = 64 << 10
GOODBYE_LIMIT_BYTES = 16 << 10
RENEWAL_LIMIT_BYTES = 16 << 10
HEARTBEAT_LIMIT_BYTES = 80
DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)

_MAGIC = b"ST"
_LAYOUT = struct.Struct("<2sBBBBBBIIQIIQ16sII")


class FrameType(enum.IntEnum):
    """What a frame's body is."""

    CONTROL = 1
    TENSOR = 2
    BLOB = 3
    HEARTBEAT = 4
    GOODBYE = 5
    RENEWAL = 6
    RELAY = 7


class Flags(enum.IntFlag):
    """Bits of the header's flag byte."""

    NONE_GRADIENT = 1
    EVALUATION = 2
    BACKWARD = 4
    LAST = 8
    STRIDED = 16


STRIDE_BYTES = 8
"""Of one dimension's stride before the elements of a STRIDED tensor."""
ROW_MAJOR = 0
"""Dimension order of a tensor whose last dimension runs fastest."""
MAX_DIMENSION_ORDER = 119
"""The last of the 5! orders of five dimensions."""


DTYPE_CODES: dict[DType, int] = {
    DType.FLOAT64: 1,
    DType.FLOAT32: 2,
    DType.FLOAT16: 3,
    DType.BFLOAT16: 4,
    DType.INT64: 5,
    DType.INT32: 6,
    DType.INT16: 7,
    DType.INT8: 8,
    DType.UINT8: 9,
    DType.BOOL: 10,
}
_DTYPES = {code: dtype for dtype, code in DTYPE_CODES.items()}
_ALL_FLAGS = sum(Flags)
_LIMITS = {
    FrameType.CONTROL: CONTROL_LIMIT_BYTES,
    FrameType.HEARTBEAT: HEARTBEAT_LIMIT_BYTES,
    FrameType.GOODBYE: GOODBYE_LIMIT_BYTES,
    FrameType.RENEWAL: RENEWAL_LIMIT_BYTES,
    FrameType.RELAY: RELAY_LIMIT_BYTES,
}


@dataclass(frozen=True, slots=True)
class Header:
    """One frame's header; field by field what docs/wire.md lists.

    `dimension_order` of a STRIDED tensor is its number of dimensions.
    """

    type: FrameType
    flags: Flags = Flags.LAST
    dtype: DType | None = None
    dimension_order: int = ROW_MAJOR
    value_id: int = 0
    rows: int = 0
    step: int = 0
    chunk_index: int = 0
    num_chunks: int = 1
    size_bytes: int = 0
    batch_digest: bytes = NO_DIGEST
    generation: int = 0

    @property
    def direction(self) -> str:
        """`Forward` or `Backward`, as the wire plan says it."""
        return "Backward" if self.flags & Flags.BACKWARD else "Forward"

    @property
    def purpose(self) -> str:
        """`training` or `evaluation`."""
        return "evaluation" if self.flags & Flags.EVALUATION else "training"

    @property
    def strides_bytes(self) -> int:
        """Bytes of strides before the elements, in all frames of this body together."""
        is_strided = self.type is FrameType.TENSOR and self.flags & Flags.STRIDED
        return STRIDE_BYTES * self.dimension_order if is_strided else 0

    @property
    def framing_bytes(self) -> int:
        """Bytes of this frame that are no element: the header, and in a first frame the strides."""
        return HEADER_BYTES + (0 if self.chunk_index else self.strides_bytes)


def compute_num_chunks(size_bytes: int) -> int:
    """Returns how many frames carry a body: at least one."""
    return max(1, -(-size_bytes // CHUNK_BYTES))


def render_frame(header: Header, *body: bytes | memoryview) -> bytes:
    """Renders one frame. The join is the one copy per chunk that gRPC's need for `bytes` costs."""
    packed = _LAYOUT.pack(
        _MAGIC,
        WIRE_VERSION,
        header.type,
        header.flags,
        DTYPE_CODES[header.dtype] if header.dtype is not None else 0,
        header.dimension_order,
        0,
        header.value_id,
        header.rows,
        header.step,
        header.chunk_index,
        header.num_chunks,
        header.size_bytes,
        header.batch_digest,
        header.generation,
        0,
    )
    return b"".join((packed, *body))


def build_chunk(header: Header, index: int) -> Header:
    """Returns the header of one chunk of a body whose size and number of chunks are filled in."""
    last = index == header.num_chunks - 1
    return replace(header, chunk_index=index, flags=header.flags | Flags.LAST if last else header.flags & ~Flags.LAST)


def iterate_chunks(header: Header, body: memoryview, prefix: bytes = b"") -> Iterator[bytes]:
    """Yields the frames of one body; size, chunk fields and LAST are filled in here.

    Args:
        header: Fields that all chunks share.
        body: The whole body as a flat view of bytes.
        prefix: What the body begins with; no longer than one chunk.
    """
    size_bytes = len(prefix) + len(body)
    whole = replace(header, num_chunks=compute_num_chunks(size_bytes), size_bytes=size_bytes)
    yield render_frame(build_chunk(whole, 0), prefix, body[: CHUNK_BYTES - len(prefix)])
    for index in range(1, whole.num_chunks):
        start = index * CHUNK_BYTES - len(prefix)
        yield render_frame(build_chunk(whole, index), body[start : start + CHUNK_BYTES])


def iterate_bodies(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Yields chunk bodies of pieces laid end to end; at least one, be it empty."""
    chunk: list[memoryview] = []
    room = CHUNK_BYTES
    for piece in pieces:
        rest = memoryview(piece)
        while len(rest) > room:
            yield b"".join((*chunk, rest[:room]))
            rest, chunk, room = rest[room:], [], CHUNK_BYTES
        chunk.append(rest)
        room -= len(rest)
    yield b"".join(chunk)


def get_body(frame: bytes) -> memoryview:
    """Returns a frame's body without copying it."""
    return memoryview(frame)[HEADER_BYTES:]


def describe_header(header: Header) -> str:
    """Returns what a frame claims to be, for messages."""
    if header.type is FrameType.BLOB:
        return f"BLOB {header.value_id} of {header.size_bytes} bytes, generation {header.generation}"
    if header.type is FrameType.RELAY:
        return (
            f"a RELAY frame with {header.direction} value {header.value_id} at {header.purpose} step {header.step}, "
            f"{header.size_bytes} bytes sealed, generation {header.generation}"
        )
    if header.type is not FrameType.TENSOR:
        return f"a {header.type.name} frame of generation {header.generation}"
    return (
        f"{header.direction} value {header.value_id} of {header.dtype} at {header.purpose} step {header.step}, "
        f"{header.rows} rows, batch digest {header.batch_digest.hex()}, generation {header.generation}"
    )


def parse_header(frame: bytes) -> Header:
    """Reads and checks one frame's header, and that the body is as long as the header says.

    Raises:
        ProtocolViolation: names the field, what was given and what is allowed.
    """
    if not HEADER_BYTES <= len(frame) <= FRAME_LIMIT_BYTES:
        raise _violation(f"a frame of {len(frame)} bytes", f"{HEADER_BYTES} to {FRAME_LIMIT_BYTES} bytes")
    (magic, version, kind, flags, dtype, dimension_order, codec, value_id, rows, step, chunk_index, num_chunks, size,
     digest, generation, reserved) = _LAYOUT.unpack_from(frame)  # fmt: skip
    if magic != _MAGIC or version != WIRE_VERSION:
        raise _violation(f"a frame of magic {magic.hex()}, version {version}", f"{_MAGIC.hex()}, {WIRE_VERSION}")
    if kind not in FrameType.__members__.values():
        raise _violation(f"frame type {kind}", ", ".join(f"{t.value} {t.name}" for t in FrameType))
    if flags & ~_ALL_FLAGS or dimension_order > MAX_DIMENSION_ORDER or codec or reserved:
        given = f"flags {flags}, dimension order {dimension_order}, codec {codec}, reserved {reserved}"
        allowed = f"flags up to {_ALL_FLAGS}, dimension order up to {MAX_DIMENSION_ORDER}, codec 0, reserved 0"
        raise _violation(given, allowed)
    if (kind == FrameType.TENSOR) != (dtype in _DTYPES):
        raise _violation(f"dtype code {dtype} in a {FrameType(kind).name} frame", "1 to 10 in TENSOR, 0 elsewhere")
    header = Header(
        type=FrameType(kind),
        flags=Flags(flags),
        dtype=_DTYPES.get(dtype),
        dimension_order=dimension_order,
        value_id=value_id,
        rows=rows,
        step=step,
        chunk_index=chunk_index,
        num_chunks=num_chunks,
        size_bytes=size,
        batch_digest=digest,
        generation=generation,
    )
    _check_strided(header)
    _check_lengths(header, len(frame) - HEADER_BYTES)
    return header


def _check_strided(header: Header) -> None:
    if not header.flags & Flags.STRIDED:
        return
    if header.type not in (FrameType.TENSOR, FrameType.RELAY) or header.flags & Flags.NONE_GRADIENT:
        given = f"flags {int(header.flags)} in a {header.type.name} frame"
        raise _violation(given, "STRIDED in TENSOR and RELAY frames, and not with NONE_GRADIENT")
    if header.size_bytes < header.strides_bytes:
        given = f"{header.size_bytes} bytes of a tensor with the strides of {header.dimension_order} dimensions"
        raise _violation(given, f"at least {STRIDE_BYTES} bytes for each")


def _check_lengths(header: Header, body_bytes: int) -> None:
    limit = _LIMITS.get(header.type)
    if limit is not None and header.size_bytes > limit:
        raise _violation(f"a {header.type.name} body of {header.size_bytes} bytes", f"at most {limit} bytes")
    # A RELAY frame is always whole: it holds one frame, be that a full chunk of a tensor.
    chunk_bytes = RELAY_LIMIT_BYTES if header.type is FrameType.RELAY else CHUNK_BYTES
    num_chunks = 1 if header.type is FrameType.RELAY else compute_num_chunks(header.size_bytes)
    if header.num_chunks != num_chunks or header.chunk_index >= header.num_chunks:
        given = f"chunk {header.chunk_index} of {header.num_chunks} for {header.size_bytes} bytes"
        raise _violation(given, f"{num_chunks} chunks of {chunk_bytes} bytes")
    expected = min(chunk_bytes, header.size_bytes - header.chunk_index * chunk_bytes)
    if body_bytes != expected:
        given = f"{body_bytes} bytes in chunk {header.chunk_index} of a body of {header.size_bytes} bytes"
        raise _violation(given, f"{expected} bytes")
    if bool(header.flags & Flags.LAST) != (header.chunk_index == header.num_chunks - 1):
        given = f"flag LAST on chunk {header.chunk_index} of {header.num_chunks}"
        raise _violation(given, "LAST on the last chunk, and there alone")


def _violation(given: str, allowed: str) -> ProtocolViolation:
    return ProtocolViolation(given, allowed=allowed, remedy="use the same version of splittraining at every party")
