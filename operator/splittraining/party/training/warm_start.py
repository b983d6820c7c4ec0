"""First weights from a file: a safetensors file on one of the party's own volumes, held against its digest.

Nobody else sees the file; its digest stands in the contract, so that all know that the training starts from it. The
file may hold the whole model: a party takes what it owns. It is never unpickled, and what does not fit is refused.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from splittraining.api.errors import ContractMismatch, DataInvalid
from splittraining.api.spec.warm_start import WarmStartSpec

_BLOCK_BYTES = 1 << 20


def load_warm_start(
    spec: WarmStartSpec, root: str, *, own: Mapping[str, torch.Tensor], known: Collection[str]
) -> dict[str, torch.Tensor]:
    """Reads a party's first weights.

    Args:
        spec: Path, digest, and which of the party's own tensors to take.
        root: Folder that the path is relative to.
        own: The party's own parameters and persistent buffers, by name in the whole model.
        known: Names of the whole model's state.

    Returns:
        The tensors to start from, on the CPU.

    Raises:
        ContractMismatch: if the file is another one than the contract names.
        DataInvalid: if it cannot be read, or does not hold what is to be taken from it.
    """
    path = Path(root) / spec.path
    _check_digest(path, spec)
    wanted = _choose(spec, own)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            held = list(file.keys())
            _check_names(spec.path, held, wanted, known)
            tensors = {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError) as error:
        raise DataInvalid(
            f"{spec.path} cannot be read as safetensors: {error}",
            allowed="a file of tensors in the safetensors format; other formats may run code when they are read",
            remedy="write it with safetensors.torch.save_file(model.state_dict(), path)",
        ) from error
    for name, tensor in tensors.items():
        _check_tensor(spec.path, name, tensor, own[name])
    return tensors


def _check_digest(path: Path, spec: WarmStartSpec) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise DataInvalid(
            f"the warm start {spec.path} cannot be read: {error.strerror or error}",
            allowed="a file on the volume that warmStart.volume names, else on that of the party's data",
            remedy="look at warmStart.path and at what the volume holds",
        ) from error
    given = f"sha256:{digest.hexdigest()}"
    if given != spec.digest:
        raise ContractMismatch(
            f"the warm start {spec.path} has digest {given}",
            allowed=f"the file that the contract names, {spec.digest}",
            remedy="put that file on the volume, or start a training that names this one (sha256sum)",
        )


def _choose(spec: WarmStartSpec, own: Mapping[str, torch.Tensor]) -> list[str]:
    patterns = spec.parameters or ("*",)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in own):
            raise DataInvalid(
                f"warmStart.parameters: {pattern!r} matches nothing that this party owns",
                allowed=f"names or patterns of {_list_some(own)}",
                remedy="correct the pattern, or leave warmStart out at a party that owns no layers",
            )
    return [name for name in own if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _check_names(path: str, held: Iterable[str], wanted: Iterable[str], known: Collection[str]) -> None:
    held = set(held)
    missing = [name for name in wanted if name not in held]
    if missing:
        raise DataInvalid(
            f"{path} lacks {_list_some(missing)}",
            allowed="a file with every parameter and buffer that this party owns",
            remedy="name what to take under warmStart.parameters; the rest then starts as without a warm start",
        )
    unknown = sorted(held - set(known))
    if unknown:
        near = difflib.get_close_matches(unknown[0], list(known), n=1)
        raise DataInvalid(
            f"{path} holds {_list_some(unknown)}, which the model has not",
            allowed="names of the whole model's state_dict()",
            remedy="rename the tensors to the model's names" + (f"; did you mean {near[0]!r}?" if near else ""),
        )


def _check_tensor(path: str, name: str, tensor: torch.Tensor, own: torch.Tensor) -> None:
    if tensor.shape != own.shape or tensor.dtype != own.dtype:
        raise DataInvalid(
            f"{path}: {name} has shape {list(tensor.shape)} of {tensor.dtype}",
            allowed=f"shape {list(own.shape)} of {own.dtype}, as the model has it",
            remedy="use weights of the same model, or leave this one out of warmStart.parameters",
        )


def _list_some(names: Iterable[str], *, shown: int = 5) -> str:
    listed = list(names)
    return ", ".join(listed[:shown]) + (f" and {len(listed) - shown} more" if len(listed) > shown else "")
