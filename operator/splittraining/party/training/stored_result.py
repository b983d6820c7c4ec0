"""A party's result read back from its folder: believed only where tensors and manifest belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load

from splittraining.api.errors import StorageFailed
from splittraining.api.results import ResultManifest
from splittraining.party.training.results import MANIFEST_FILE, SEGMENTS_FILE, compute_tensor_digest


@dataclass(frozen=True, slots=True)
class StoredResult:
    """One party's trained segments, on the CPU, with what they belong to."""

    folder: Path
    manifest: ResultManifest
    tensors: dict[str, torch.Tensor]


def read_result(folder: Path) -> StoredResult:
    """Reads a party's result.

    Args:
        folder: Holds the segments and their manifest.

    Raises:
        StorageFailed: if either is missing, torn or damaged, or a tensor is not the one that the manifest names.
    """
    manifest = _read_manifest(folder / MANIFEST_FILE)
    path = folder / SEGMENTS_FILE
    try:
        tensors = load(_read(path))
    except (SafetensorError, KeyError) as error:  # KeyError: an element type that the format has and PyTorch has not
        raise _refuse(path, f"it is torn, damaged or no safetensors file ({error})") from error
    digests = {name: compute_tensor_digest(tensor) for name, tensor in tensors.items()}
    wrong = sorted(
        name for name in digests.keys() | manifest.tensors if digests.get(name) != manifest.tensors.get(name)
    )
    if wrong:
        raise _refuse(path, f"{_list_some(wrong)} not the manifest's: missing, added or changed")
    unknown = sorted({*manifest.also_named.values(), *manifest.not_persistent} - tensors.keys())
    if unknown:
        raise _refuse(folder / MANIFEST_FILE, f"{_list_some(unknown)} not among its tensors")
    return StoredResult(folder, manifest, tensors)


def _read_manifest(path: Path) -> ResultManifest:
    try:
        return ResultManifest.model_validate_json(_read(path))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, problem["loc"])) or "its text"
        raise _refuse(path, f"it is torn or no manifest: {place}: {problem['msg']}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be read: {error.strerror or error}",
            allowed="the result of a party that has finished: its segments and their manifest",
            remedy="wait until the training is Complete, or look whether this is a party's folder",
        ) from error


def _refuse(path: Path, what: str) -> StorageFailed:
    return StorageFailed(
        f"{path}: {what}",
        allowed="a result just as its party wrote it",
        remedy="fetch or copy it again; if it stays so, the volume lost what was written",
    )


def _list_some(names: Iterable[str]) -> str:
    first, *others = names
    return f"tensor {first} is" if not others else f"tensor {first} and {len(others)} others are"
