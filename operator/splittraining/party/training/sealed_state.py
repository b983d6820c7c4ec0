"""A client segment's state as one piece of bytes: what is sealed in a Sequential hand-off and round the ring.

The layout is safetensors: names, shapes and raw bytes, nothing that could run code. The reader knows which tensors its
own segment has and takes these, all of these and no others, so that a sender cannot make it hold anything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from splittraining.api.errors import ProtocolViolation

_PARAMETER, _BUFFER, _OPTIMIZER = "parameter:", "buffer:", "optimizer:"

META = "meta"
"""Name of the tensor that says where the state was taken."""

_MAX_META_BYTES = 65536
"""Far more than a few short strings need."""


@dataclass(frozen=True, slots=True)
class SegmentState:
    """The tensors of a client's segments, on the CPU.

    `optimizer` is empty where only weights travel (evaluation, finish). `meta` says where the state was taken: short
    strings such as the step.
    """

    parameters: Mapping[str, torch.Tensor]
    buffers: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    meta: Mapping[str, str]


def pack_state(
    parameters: Mapping[str, torch.Tensor],
    buffers: Mapping[str, torch.Tensor],
    optimizer_state: Mapping[str, torch.Tensor],
    meta: Mapping[str, str],
) -> bytes:
    """Packs a segment's state, bit for bit."""
    tensors: dict[str, torch.Tensor] = {}
    for prefix, group in ((_PARAMETER, parameters), (_BUFFER, buffers), (_OPTIMIZER, optimizer_state)):
        for name, tensor in group.items():
            # Copied, since safetensors refuses two names over one memory and a weight may have two names.
            tensors[prefix + name] = tensor.detach().to("cpu", copy=True).contiguous()
    # A tensor and not safetensors' own metadata, which its reader of bytes does not hand out.
    encoded = json.dumps(dict(meta), sort_keys=True).encode()
    tensors[META] = torch.frombuffer(bytearray(encoded), dtype=torch.uint8)
    return save(tensors)


def unpack_state(
    data: bytes, *, parameters: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor]
) -> SegmentState:
    """Reads a packed state and checks it against the segment that will take it.

    The optimizer's state is checked by :func:`import_optimizer_state`, which knows the optimizer.

    Args:
        data: What :func:`pack_state` made.
        parameters: The reader's own parameters, for their names, dtypes and shapes.
        buffers: The reader's own buffers, likewise.

    Raises:
        ProtocolViolation: if the bytes are not a packed state, or hold other tensors than the reader's segment has.
    """
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # KeyError: an element type that the format has and PyTorch has not
        raise ProtocolViolation(f"a segment state of {len(data)} bytes cannot be read: {error}") from error
    meta = _parse_meta(tensors.pop(META, None))
    groups: dict[str, dict[str, torch.Tensor]] = {_PARAMETER: {}, _BUFFER: {}, _OPTIMIZER: {}}
    for full_name, tensor in tensors.items():
        kind, colon, name = full_name.partition(":")
        if kind + colon not in groups:
            raise ProtocolViolation(
                f"a segment state holds a tensor {full_name!r}", allowed=f"names that begin with {sorted(groups)}"
            )
        groups[kind + colon][name] = tensor
    _check_group("parameter", groups[_PARAMETER], parameters)
    _check_group("buffer", groups[_BUFFER], buffers)
    return SegmentState(groups[_PARAMETER], groups[_BUFFER], groups[_OPTIMIZER], meta)


@torch.no_grad()
def copy_state_into(
    state: SegmentState, *, parameters: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor]
) -> None:
    """Writes a state's parameters and buffers into a segment's own tensors, wherever they live."""
    for received, own in ((state.parameters, parameters), (state.buffers, buffers)):
        for name, tensor in own.items():
            tensor.copy_(received[name])


def _parse_meta(tensor: torch.Tensor | None) -> dict[str, str]:
    meta = None
    # Looked at before it is read: bytes(n) of a single number n would take n bytes of memory.
    if tensor is not None and tensor.dtype is torch.uint8 and tensor.dim() == 1 and tensor.numel() <= _MAX_META_BYTES:
        try:
            meta = json.loads(bytes(tensor.tolist()))
        except (ValueError, RecursionError) as error:
            raise ProtocolViolation(f"a segment state's meta cannot be read: {type(error).__name__}") from error
    if not isinstance(meta, dict) or not all(isinstance(value, str) for value in meta.values()):
        raise ProtocolViolation(
            "a segment state has no meta",
            allowed=f"one JSON object of strings, at most {_MAX_META_BYTES} bytes of UTF-8",
        )
    return meta


def _check_group(kind: str, received: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    missing = sorted(expected.keys() - received.keys())
    unknown = sorted(received.keys() - expected.keys())
    if missing or unknown:
        raise ProtocolViolation(
            f"a segment state lacks the {kind}s {missing} and has the unknown ones {unknown}",
            allowed=f"exactly the {kind}s of the receiving segment",
            remedy="use the same model source and contract at every client",
        )
    for name, own in expected.items():
        tensor = received[name]
        if tensor.shape != own.shape or tensor.dtype != own.dtype:
            raise ProtocolViolation(
                f"{kind} {name!r} of a segment state has shape {tuple(tensor.shape)} and dtype {tensor.dtype}",
                allowed=f"shape {tuple(own.shape)} and dtype {own.dtype}",
                remedy="use the same model source and contract at every client",
            )
