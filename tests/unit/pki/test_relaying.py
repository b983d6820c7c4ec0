"""Frames sealed for one other party: whoever carries them can stop them, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from splittraining.api.errors import IdentityRefused, ProtocolViolation
from splittraining.pki.relaying import PAIR_KEY_BYTES, Direction, FrameOpener, FrameSealer

KEY = bytes(range(PAIR_KEY_BYTES))
DIRECTION = Direction(contract_digest="sha256:" + "1" * 64, generation=2, sender="clinic", recipient="lab")
FRAMES = [b"activations of row 1", b"activations of row 2", b""]
HEADER = b"what the carrier sees"


def seal_all(*, key: bytes = KEY, direction: Direction = DIRECTION) -> list[bytes]:
    sealer = FrameSealer(key, direction)
    return [sealer.seal(frame, HEADER) for frame in FRAMES]


def an_opener(**changes: object) -> FrameOpener:
    return FrameOpener(KEY, replace(DIRECTION, **changes))


def open_all(frames: list[bytes]) -> list[bytes]:
    opener = an_opener()
    return [opener.open(sealed, HEADER) for sealed in frames]


def test_frames_open_in_order_at_the_one_they_were_sealed_for() -> None:
    assert open_all(seal_all()) == FRAMES


def test_the_carrier_sees_neither_a_frame_nor_that_two_are_equal() -> None:
    sealer = FrameSealer(KEY, DIRECTION)
    first, second = sealer.seal(FRAMES[0], HEADER), sealer.seal(FRAMES[0], HEADER)
    assert FRAMES[0] not in first
    assert first != second
    assert len(first) == len(FRAMES[0]) + 16


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sender": "lab", "recipient": "clinic"}, id="the other direction"),
        pytest.param({"generation": 3}, id="the next generation"),
    ],
)
def test_no_key_and_nonce_are_ever_used_twice(changes: dict[str, object]) -> None:
    """Equal frames of equal numbers would otherwise give equal bytes, and others their difference away."""
    one, other = (FrameSealer(KEY, direction) for direction in (DIRECTION, replace(DIRECTION, **changes)))
    assert one.seal(FRAMES[0], HEADER)[:-16] != other.seal(FRAMES[0], HEADER)[:-16]


@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(lambda frames: frames[1:], id="the first one is left out"),
        pytest.param(lambda frames: [frames[0], frames[0]], id="one is repeated"),
        pytest.param(lambda frames: [frames[1], frames[0]], id="two change places"),
        pytest.param(lambda frames: [bytes([frames[0][0] ^ 1]) + frames[0][1:]], id="a bit of one is changed"),
        pytest.param(lambda frames: [frames[0][:-1]], id="one is cut short"),
        pytest.param(lambda frames: [frames[0][:0]], id="one is emptied"),
    ],
)
def test_whatever_the_carrier_does_to_frames_is_refused_by_name(meddle: Callable[[list[bytes]], list[bytes]]) -> None:
    with pytest.raises(IdentityRefused, match="relayed from clinic to lab cannot be opened"):
        open_all(meddle(seal_all()))


def test_another_header_on_a_frame_is_refused() -> None:
    with pytest.raises(IdentityRefused):
        an_opener().open(seal_all()[0], HEADER + b"!")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"contract_digest": "sha256:" + "2" * 64}, id="of another contract"),
        pytest.param({"generation": 3}, id="of another generation"),
        pytest.param({"sender": "lab", "recipient": "clinic"}, id="sent back to who sealed it"),
        pytest.param({"recipient": "center"}, id="for another recipient"),
        pytest.param({"sender": "center"}, id="of another sender"),
    ],
)
def test_a_frame_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(IdentityRefused):
        an_opener(**changes).open(seal_all()[0], HEADER)


def test_a_frame_under_another_pairs_key_is_refused() -> None:
    with pytest.raises(IdentityRefused):
        an_opener().open(seal_all(key=bytes(PAIR_KEY_BYTES))[0], HEADER)


def test_a_key_seals_no_more_frames_than_it_may() -> None:
    sealer = FrameSealer(KEY, DIRECTION, max_frames=2)
    sealer.seal(FRAMES[0], HEADER)
    sealer.seal(FRAMES[1], HEADER)
    with pytest.raises(ProtocolViolation, match="clinic has sealed 2 frames for lab"):
        sealer.seal(FRAMES[2], HEADER)


def test_neither_end_shows_its_key() -> None:
    assert KEY.hex() not in repr(FrameSealer(KEY, DIRECTION)) + repr(an_opener())
