"""Sums of gradients and averages of weights over clients, in one fixed order; and how named tensors travel there.

An average is computed in float64 and rounded once to the tensor's own type: each client's value times its rows over all
rows, added in listed order. Integers (a BatchNorm's count of batches) have no average; the largest is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from splittraining.api.errors import ProtocolViolation
from splittraining.party.model.segment import Segment

Named = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Outline:
    """Names, shapes and types of some segments' tensors: what packed ones are checked against and bounded by."""

    parameters: Named
    buffers: Named

    @classmethod
    def of_segments(cls, segments: Iterable[Segment]) -> Self:
        """Returns the outline of segments that will be let go of; it holds none of their memory."""
        parameters: dict[str, torch.Tensor] = {}
        buffers: dict[str, torch.Tensor] = {}
        for segment in segments:
            for own, tensors in ((parameters, segment.parameters()), (buffers, segment.buffers())):
                own.update({name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()})
        return cls(parameters, buffers)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers together."""
        return {**self.parameters, **self.buffers}

    def count_state_bytes(self) -> int:
        """Returns an upper bound of what a packed state of these segments can hold."""
        weights = self.weights
        size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        return 4 * size_bytes + 1024 * (len(weights) + 64)


def combine_gradients(parts: Sequence[bytes], outline: Outline) -> bytes:
    """Adds packed gradients in the order given.

    Raises:
        ProtocolViolation: if one of them is not of these segments.
    """
    gradients = [unpack_tensors(part, like=outline.parameters, whole=False) for part in parts]
    return pack_tensors(sum_gradients(gradients))


def combine_weights(parts: Sequence[bytes], outline: Outline, rows: Sequence[int]) -> bytes:
    """Averages packed parameters and buffers.

    Raises:
        ProtocolViolation: if one of them is not of these segments.
    """
    states = [unpack_tensors(part, like=outline.weights, whole=True) for part in parts]
    return pack_tensors(average_named(states, rows))


def sum_gradients(gradients: Sequence[Named]) -> dict[str, torch.Tensor]:
    """Adds the clients' gradients, in the order given; a gradient that no client has is in none of the sums."""
    total: dict[str, torch.Tensor] = {}
    for each in gradients:
        for name, tensor in each.items():
            total[name] = total[name] + tensor if name in total else tensor
    return total


def average_tensors(tensors: Sequence[torch.Tensor], rows: Sequence[int]) -> torch.Tensor:
    """Averages one tensor of several clients.

    Args:
        tensors: One of each client, in listed order.
        rows: Training rows of each client: its weight.
    """
    first = tensors[0]
    if not (first.is_floating_point() or first.is_complex()):
        largest = first
        for tensor in tensors[1:]:
            largest = torch.maximum(largest, tensor)
        return largest.clone()
    if all(torch.equal(first, tensor) for tensor in tensors[1:]):
        return first.clone()  # a frozen weight stays what it is: weights do not sum up to exactly 1
    total_rows = sum(rows)
    wide = torch.complex128 if first.is_complex() else torch.float64
    total = torch.zeros_like(first, dtype=wide)
    for tensor, num_rows in zip(tensors, rows, strict=True):
        total += tensor.to(wide) * (num_rows / total_rows)
    return total.to(first.dtype)


def average_named(states: Sequence[Named], rows: Sequence[int]) -> dict[str, torch.Tensor]:
    """Averages tensors by name; all clients have the same names."""
    return {name: average_tensors([state[name] for state in states], rows) for name in states[0]}


def pack_tensors(tensors: Named) -> bytes:
    """Packs named tensors, bit for bit."""
    # Copied, since safetensors refuses two names over one memory.
    return save({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()})


def unpack_tensors(data: bytes, *, like: Named, whole: bool) -> dict[str, torch.Tensor]:
    """Reads packed tensors and checks them against those that this party has itself.

    Args:
        data: What :func:`pack_tensors` made.
        like: This party's own tensors, for names, shapes and dtypes.
        whole: Whether none of them may be missing.

    Raises:
        ProtocolViolation: if the bytes are not packed tensors, or others than this party has.
    """
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # KeyError: an element type that the format has and PyTorch has not
        raise ProtocolViolation(f"packed tensors of {len(data)} bytes cannot be read: {error}") from error
    for name, tensor in tensors.items():
        own = like.get(name)
        if own is None or tensor.shape != own.shape or tensor.dtype != own.dtype:
            raise ProtocolViolation(
                f"a tensor {name!r} of shape {tuple(tensor.shape)} and {tensor.dtype} arrived",
                allowed="the names, shapes and dtypes of this party's own segment",
                remedy="use the same model source and contract at every client",
            )
    missing = sorted(like.keys() - tensors.keys())
    if whole and missing:
        raise ProtocolViolation(f"the tensors {missing} are missing", allowed="every tensor of the segment")
    return tensors
