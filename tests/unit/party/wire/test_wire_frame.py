"""The header, byte by byte, and what a frame may not be."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splittraining.api.errors import ProtocolViolation
from splittraining.api.wire_plan import DType
from splittraining.party.wire.frame import (
    CHUNK_BYTES,
    CONTROL_LIMIT_BYTES,
    DTYPE_CODES,
    FRAME_LIMIT_BYTES,
    HEADER_BYTES,
    RELAY_LIMIT_BYTES,
    Flags,
    FrameType,
    Header,
    get_body,
    iterate_bodies,
    iterate_chunks,
    parse_header,
    render_frame,
)

WIRE_PAGE = Path(__file__).parents[4] / "docs" / "wire.md"

FULL = Header(
    type=FrameType.TENSOR,
    flags=Flags.BACKWARD | Flags.EVALUATION | Flags.LAST,
    dtype=DType.BFLOAT16,
    dimension_order=3,
    value_id=0x01020304,
    rows=0x05060708,
    step=0x1112131415161718,
    size_bytes=2,
    batch_digest=bytes(range(16)),
    generation=0x21222324,
)


def test_the_header_lies_at_the_documented_offsets() -> None:
    frame = render_frame(FULL, b"\xaa\xbb")
    assert frame == bytes.fromhex(
        "53540102"  # magic, version, type
        "0e040300"  # flags, dtype, dimension order, codec
        "04030201"
        "08070605"
        "1817161514131211"
        "0000000001000000"  # chunk 0 of 1
        "0200000000000000"
        "000102030405060708090a0b0c0d0e0f"
        "24232221"
        "00000000"
        "aabb"
    )
    assert parse_header(frame) == FULL
    assert bytes(get_body(frame)) == b"\xaa\xbb"


def test_the_page_lists_64_bytes_without_a_gap() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| [a-z ]+ \|", WIRE_PAGE.read_text(), re.MULTILINE)
    header = [(int(offset), int(size)) for offset, size in rows if int(offset) < HEADER_BYTES][:16]
    ends = [offset + size for offset, size in header]
    assert [offset for offset, _ in header] == [0, *ends[:-1]]
    assert ends[-1] == HEADER_BYTES


def test_the_page_lists_every_dtype_with_its_code() -> None:
    cells = re.findall(r"\| ([A-Z][A-Za-z]+\d*) \| (\d+) \| (\d+) ", WIRE_PAGE.read_text())
    assert {name: (int(code), int(size)) for name, code, size in cells if name in set(DType)} == {
        dtype.value: (code, dtype.size_bytes) for dtype, code in DTYPE_CODES.items()
    }


@given(size_bytes=st.integers(0, 3 * CHUNK_BYTES), prefix=st.binary(max_size=40))
def test_the_chunks_of_a_body_are_frames_that_join_to_it(size_bytes: int, prefix: bytes) -> None:
    body = memoryview(bytes(size_bytes))
    frames = list(iterate_chunks(Header(FrameType.BLOB), body, prefix))
    headers = [parse_header(frame) for frame in frames]
    assert b"".join(get_body(frame) for frame in frames) == prefix + bytes(body)
    assert [header.chunk_index for header in headers] == list(range(len(frames)))
    assert [bool(header.flags & Flags.LAST) for header in headers] == [False] * (len(frames) - 1) + [True]
    assert max(map(len, frames)) <= FRAME_LIMIT_BYTES


@given(sizes=st.lists(st.sampled_from([0, 1, 5, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1]), max_size=4))
def test_pieces_are_laid_end_to_end_in_full_chunks(sizes: list[int]) -> None:
    pieces = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    bodies = list(iterate_bodies(pieces))
    assert b"".join(bodies) == b"".join(pieces)
    assert all(len(body) == CHUNK_BYTES for body in bodies[:-1])
    assert len(bodies) == max(1, -(-sum(sizes) // CHUNK_BYTES))


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"XT", "magic 5854"),
        (2, b"\x02", "version 2.*Allowed: 5354, 1"),
        (3, b"\x00", "frame type 0.*1 CONTROL"),
        (3, b"\x08", "frame type 8"),
        (3, b"\x07", "dtype code 4 in a RELAY frame"),
        (3, b"\x01", "dtype code 4 in a CONTROL frame"),
        (4, b"\x28", "flags 40"),
        (4, b"\x18", "2 bytes of a tensor with the strides of 3 dimensions.*at least 8 bytes for each"),
        (4, b"\x19", "flags 25 in a TENSOR frame.*not with NONE_GRADIENT"),
        (4, b"\x06", "LAST"),
        (5, b"\x00", "dtype code 0 in a TENSOR frame"),
        (5, b"\x0b", "dtype code 11"),
        (6, b"\x78", "dimension order 120"),
        (7, b"\x01", "codec 1"),
        (24, b"\x01", "chunk 1 of 1"),
        (28, b"\x02", "chunk 0 of 2 for 2 bytes.*1 chunks"),
        (28, b"\x00", "chunk 0 of 0"),
        (32, b"\x03", "2 bytes in chunk 0 of a body of 3 bytes"),
        (39, b"\xff", "chunk 0 of 1 for 18374686479671623682 bytes"),
        (60, b"\x01", "reserved 1"),
    ],
)
def test_a_header_that_breaks_a_rule_is_refused_by_name(offset: int, value: bytes, message: str) -> None:
    frame = bytearray(render_frame(FULL, b"\xaa\xbb"))
    frame[offset : offset + len(value)] = value
    with pytest.raises(ProtocolViolation, match=message):
        parse_header(bytes(frame))


@pytest.mark.parametrize("size_bytes", [0, HEADER_BYTES - 1, FRAME_LIMIT_BYTES + 1])
def test_a_frame_of_another_length_is_refused(size_bytes: int) -> None:
    with pytest.raises(ProtocolViolation, match=f"a frame of {size_bytes} bytes.*64 to {FRAME_LIMIT_BYTES}"):
        parse_header(bytes(size_bytes))


@pytest.mark.parametrize("kind", [FrameType.CONTROL, FrameType.HEARTBEAT, FrameType.GOODBYE])
def test_bodies_of_small_frames_are_bounded(kind: FrameType) -> None:
    body = bytes(CONTROL_LIMIT_BYTES + 1)
    with pytest.raises(ProtocolViolation, match=f"a {kind.name} body of {len(body)} bytes"):
        parse_header(render_frame(Header(kind, size_bytes=len(body)), body))


@given(frame=st.binary(max_size=200))
def test_no_bytes_make_the_parser_do_anything_but_refuse(frame: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_header(frame)


@given(tail=st.binary(min_size=61, max_size=80))
def test_no_header_makes_the_parser_do_anything_but_refuse_or_read(tail: bytes) -> None:
    with contextlib.suppress(ProtocolViolation):
        assert parse_header(b"ST\x01" + tail).size_bytes <= len(tail)


@pytest.mark.parametrize("kind", [kind for kind in FrameType if kind not in (FrameType.TENSOR, FrameType.RELAY)])
def test_nothing_but_tensors_is_strided(kind: FrameType) -> None:
    with pytest.raises(ProtocolViolation, match=f"flags 24 in a {kind.name} frame"):
        parse_header(render_frame(Header(kind, flags=Flags.LAST | Flags.STRIDED)))


def test_a_relay_frame_holds_one_whole_frame_and_no_more() -> None:
    longest = Header(FrameType.RELAY, size_bytes=RELAY_LIMIT_BYTES)
    frame = render_frame(longest, bytes(RELAY_LIMIT_BYTES))
    assert len(frame) == FRAME_LIMIT_BYTES
    assert parse_header(frame) == longest
    with pytest.raises(ProtocolViolation, match=f"a RELAY body of {RELAY_LIMIT_BYTES + 1} bytes"):
        parse_header(render_frame(replace(longest, size_bytes=RELAY_LIMIT_BYTES + 1), bytes(RELAY_LIMIT_BYTES)))
    with pytest.raises(ProtocolViolation, match=r"chunk 0 of 2 for 1048656 bytes.*1 chunks"):
        parse_header(render_frame(replace(longest, num_chunks=2, flags=Flags(0)), bytes(RELAY_LIMIT_BYTES)))


def test_a_tensors_chunk_is_no_longer_than_before() -> None:
    header = replace(FULL, size_bytes=RELAY_LIMIT_BYTES, num_chunks=2, flags=Flags(0))
    with pytest.raises(ProtocolViolation, match=f"{RELAY_LIMIT_BYTES} bytes in chunk 0.*{CHUNK_BYTES} bytes"):
        parse_header(render_frame(header, bytes(RELAY_LIMIT_BYTES)))
