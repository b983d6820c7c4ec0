"""Checks fetched weights against their manifest, tensor by tensor, without a library that knows tensors.

Source: the safetensors format (eight bytes with the header's length, little-endian; a JSON header with each tensor's
place; the bytes).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from splittraining.api.errors import ContractMismatch, StorageFailed
from splittraining.api.results import MANIFEST_PATH, SEGMENTS_PATH, ResultManifest

_MOST_HEADER_BYTES = 100 << 20  # the format's own bound
_PIECE_BYTES = 1 << 20
_METADATA = "__metadata__"
_LENGTH_BYTES = 8


def check_result(folder: Path, *, party: str, contract_digest: str) -> ResultManifest | None:
    """Checks the weights in a folder.

    Args:
        folder: Has the files in a party's layout.
        party: Whose weights these must be.
        contract_digest: The contract that they must have been trained under; empty where it is not known.

    Returns:
        The manifest; None where there are no weights.

    Raises:
        StorageFailed: if weights and manifest do not belong together.
        ContractMismatch: if they are another party's or another contract's.
    """
    if not (folder / MANIFEST_PATH).exists() or not (folder / SEGMENTS_PATH).exists():
        return None
    manifest = _read_manifest(folder / MANIFEST_PATH)
    if manifest.party != party:
        raise ContractMismatch(f"the weights are those of {manifest.party}", allowed=f"those of {party}")
    if contract_digest and manifest.contract_digest != contract_digest:
        raise ContractMismatch(
            f"the weights were trained under contract {manifest.contract_digest}",
            allowed=f"{contract_digest}, as the training's status has it",
            remedy="look who wrote to the volume besides the party",
        )
    with (folder / SEGMENTS_PATH).open("rb") as file:
        found = _compute_digests(file, (folder / SEGMENTS_PATH).stat().st_size)
    wrong = sorted(name for name in {*found, *manifest.tensors} if found.get(name) != manifest.tensors.get(name))
    if wrong:
        raise _damaged(f"{len(wrong)} of {len(manifest.tensors)} tensors are not those of the manifest: {wrong[0]}")
    return manifest


def _read_manifest(path: Path) -> ResultManifest:
    try:
        return ResultManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "its text"
        raise _damaged(f"the manifest is none: {place}: {problem['msg']}") from error


def _compute_digests(file: BinaryIO, size: int) -> dict[str, str]:
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or length > min(_MOST_HEADER_BYTES, size - _LENGTH_BYTES):
        raise _damaged("the weights' header is longer than the file")
    try:
        header = json.loads(file.read(length))
        entries = {name: entry["data_offsets"] for name, entry in header.items() if name != _METADATA}
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise _damaged("the weights' header cannot be read") from error
    first = _LENGTH_BYTES + length
    return {name: _compute_digest(file, offsets, first, size, name) for name, offsets in entries.items()}


def _compute_digest(file: BinaryIO, offsets: object, first: int, size: int, name: str) -> str:
    match offsets:
        case [int(begin), int(end)] if 0 <= begin <= end <= size - first:
            pass
        case _:
            raise _damaged(f"tensor {name} lies outside the file")
    file.seek(first + begin)
    left = end - begin
    digest = hashlib.sha256()
    while left:
        piece = file.read(min(left, _PIECE_BYTES))
        if not piece:
            raise _damaged(f"tensor {name} ends too soon")
        digest.update(piece)
        left -= len(piece)
    return f"sha256:{digest.hexdigest()}"


def _damaged(what: str) -> StorageFailed:
    return StorageFailed(
        f"the party's result is damaged: {what}",
        remedy="call the command again once the party has ended; if it lasts, the volume lost what was written",
    )
