"""What is sealed is counted as tensors: not the layout's header, not what says where a state was taken."""

from __future__ import annotations

import pytest
import torch

from splittraining.party.training.averaging import pack_tensors
from splittraining.party.training.moved_bytes import MovedBytes, count_tensor_bytes
from splittraining.party.training.sealed_state import META, pack_state

WEIGHT, COUNT = torch.zeros(3, 5), torch.tensor(7)
NUM_BYTES = 3 * 5 * 4 + 8


def test_tensors_count_and_the_header_does_not() -> None:
    data = pack_tensors({"weight": WEIGHT, META: COUNT})
    assert count_tensor_bytes(data) == NUM_BYTES < len(data)


def test_what_says_where_a_state_was_taken_does_not_count() -> None:
    data = pack_state({"weight": WEIGHT}, {"count": COUNT}, {"weight/momentum_buffer": WEIGHT}, {"step": "123"})
    assert count_tensor_bytes(data, besides=META) == NUM_BYTES + 60
    assert count_tensor_bytes(data) == NUM_BYTES + 60 + len('{"step": "123"}')


def test_no_tensors_are_no_bytes() -> None:
    assert count_tensor_bytes(pack_tensors({})) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b'{"a": 1}',
        b'{"a": {"data_offsets": [0]}}',
        b'{"a": {"data_offsets": [0, Infinity]}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_packed_tensors_counts_nothing_and_stops_nothing(body: bytes) -> None:
    assert count_tensor_bytes(len(body).to_bytes(8, "little") + body) == 0


def test_no_more_is_counted_than_there_is() -> None:
    body = b'{"a": {"data_offsets": [0, 1000000]}}'
    data = len(body).to_bytes(8, "little") + body
    assert count_tensor_bytes(data) == len(data)


def test_peers_and_directions_are_counted_apart() -> None:
    moved = MovedBytes()
    assert moved.snapshot() == ()
    moved.count_sent("lab", 5)
    moved.count_received("lab", 7)
    moved.count_sent("lab", 1)
    moved.count_received("ward", 2)
    counted = {each.peer: (each.moved_sent, each.moved_received) for each in moved.snapshot()}
    assert counted == {"lab": (6, 7), "ward": (0, 2)}
