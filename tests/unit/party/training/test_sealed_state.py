"""A segment's state as bytes: bit for bit, and nothing that the reader does not have."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from splittraining.api.errors import ProtocolViolation
from splittraining.party.training.sealed_state import copy_state_into, pack_state, unpack_state

PARAMETERS = {"encoder.weight": torch.randn(3, 2), "encoder.scale": torch.tensor(0.1, dtype=torch.float64)}
BUFFERS = {"norm.num_batches_tracked": torch.tensor(7), "norm.running_mean": torch.tensor([float("nan"), -0.0])}
OPTIMIZER = {"encoder.weight/momentum_buffer": torch.randn(3, 2)}


def pack(**groups: dict[str, Tensor]) -> bytes:
    given = {"parameters": PARAMETERS, "buffers": BUFFERS, "optimizer": OPTIMIZER} | groups
    return pack_state(given["parameters"], given["buffers"], given["optimizer"], {"step": "12"})


def render_bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def test_every_bit_comes_through() -> None:
    state = unpack_state(pack(), parameters=PARAMETERS, buffers=BUFFERS)
    for sent, came in ((PARAMETERS, state.parameters), (BUFFERS, state.buffers), (OPTIMIZER, state.optimizer)):
        assert {name: render_bits(tensor) for name, tensor in sent.items()} == {
            name: render_bits(tensor) for name, tensor in came.items()
        }
    assert state.meta == {"step": "12"}


def test_a_transposed_view_and_two_names_of_one_weight_are_packed() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    tied = {"a": weight.T, "b": weight.T}
    state = unpack_state(pack(parameters=tied), parameters=tied, buffers=BUFFERS)
    assert all(torch.equal(state.parameters[name], weight.T) for name in tied)


def test_a_state_is_written_into_the_tensors_that_the_segment_already_has() -> None:
    own = {name: torch.zeros_like(tensor, requires_grad=True) for name, tensor in PARAMETERS.items()}
    buffers = {name: torch.zeros_like(tensor) for name, tensor in BUFFERS.items()}
    before = [tensor.data_ptr() for tensor in own.values()]
    copy_state_into(unpack_state(pack(), parameters=own, buffers=buffers), parameters=own, buffers=buffers)
    assert [tensor.data_ptr() for tensor in own.values()] == before
    assert all(torch.equal(own[name], tensor) for name, tensor in PARAMETERS.items())
    assert buffers["norm.num_batches_tracked"] == 7


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"parameters": {}}, r"lacks the parameters \['encoder.scale', 'encoder.weight'\]"),
        ({"parameters": PARAMETERS | {"server.weight": torch.ones(1)}}, r"unknown ones \['server.weight'\]"),
        ({"buffers": {}}, "lacks the buffers"),
        ({"parameters": PARAMETERS | {"encoder.weight": torch.ones(2, 3)}}, r"'encoder.weight'.*shape \(2, 3\)"),
        ({"parameters": PARAMETERS | {"encoder.scale": torch.tensor(0.1)}}, "dtype torch.float32"),
    ],
    ids=["missing", "unknown", "buffer missing", "shape", "dtype"],
)
def test_a_state_of_another_segment_is_refused(groups: dict[str, dict[str, Tensor]], message: str) -> None:
    with pytest.raises(ProtocolViolation, match=message):
        unpack_state(pack(**groups), parameters=PARAMETERS, buffers=BUFFERS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cannot be read"),
        (pack()[:-1], "cannot be read"),
        (b"\xff" * 8 + b"{}", "cannot be read"),
        (save({"meta": torch.zeros(0)}), "no meta|cannot be read"),
        (save({"weights": torch.zeros(1)}), "no meta"),
        (save({"meta": torch.tensor(list(b'["step"]'), dtype=torch.uint8)}), "has no meta"),
        (save({"meta": torch.tensor(10**15)}), "has no meta"),
        (save({"meta": torch.full((60_000,), ord("["), dtype=torch.uint8)}), "RecursionError"),
        (save({"meta": torch.full((2**16 + 1,), ord(" "), dtype=torch.uint8)}), "has no meta"),
        (save({"meta": torch.zeros(2, dtype=torch.uint8)}).replace(b'"U8","shape":[2]', b'"F4","shape":[4]'), "F4"),
        (save({"meta": torch.tensor(list(b"{}"), dtype=torch.uint8), "other:x": torch.ones(1)}), "'other:x'"),
    ],
    ids=[
        "nothing",
        "cut off",
        "huge header",
        "empty meta",
        "no meta",
        "meta is a list",
        "meta asks for memory",
        "meta is nested without end",
        "meta is too long",
        "an element type that PyTorch has not",
        "unknown kind",
    ],
)
def test_bytes_that_are_no_state_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ProtocolViolation, match=message):
        unpack_state(data, parameters={}, buffers={})
