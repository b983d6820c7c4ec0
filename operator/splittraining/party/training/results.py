"""What a party leaves on its volume: its trained segments with a manifest, its metrics, and how it ended.

A file of results is there whole or not at all: it is written under a temporary name, flushed to the disk and renamed,
and the folder is flushed too. The manifest is written after the tensors and holds their digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from safetensors.torch import save

from splittraining.api.errors import StorageFailed
from splittraining.api.results import ResultManifest

SEGMENTS_FILE = "segments.safetensors"
"""The party's own parameters and buffers under the names they have in the whole model."""

MANIFEST_FILE = "manifest.json"
"""What the tensors belong to."""

_MAX_MESSAGE = 2048
"""Characters kept of a message."""

_MAX_TERMINATION_BYTES = 4096
"""What Kubernetes keeps of a termination log."""


def build_manifest(
    tensors: Mapping[str, torch.Tensor],
    *,
    party: str,
    contract_digest: str,
    generation: int,
    step: int,
    also_named: Mapping[str, str] | None = None,
    not_persistent: Sequence[str] = (),
    round_number: int = 0,
) -> ResultManifest:
    """Builds the manifest of a party's tensors."""
    return ResultManifest(
        party=party,
        contract_digest=contract_digest,
        generation=generation,
        step=step,
        round=round_number,
        torch_version=torch.__version__,
        tensors={name: compute_tensor_digest(tensor) for name, tensor in sorted(tensors.items())},
        also_named=dict(also_named or {}),
        not_persistent=tuple(not_persistent),
    )


def compute_tensor_digest(tensor: torch.Tensor) -> str:
    """Returns ``sha256:<hex>`` of a tensor's raw bytes."""
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return "sha256:" + hashlib.sha256(raw.numpy().data).hexdigest()


def write_result(folder: Path, tensors: Mapping[str, torch.Tensor], manifest: ResultManifest) -> None:
    """Writes a party's trained segments and their manifest into a folder, which is made if it is not there.

    Raises:
        StorageFailed: if the volume is full or cannot be written.
    """
    # Copied, since safetensors refuses two names over one memory and a weight may have two names.
    held = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    rendered = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=2) + "\n"
    with _naming_the_path(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / SEGMENTS_FILE, save(held))
    write_atomically(folder / MANIFEST_FILE, rendered.encode())


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is there whole or not at all, also after a power cut.

    Raises:
        StorageFailed: if the volume is full or cannot be written; no temporary file stays behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _naming_the_path(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise
        _flush_folder(path.parent)


def write_termination(path: Path, *, code: int, reason: str, message: str) -> None:
    """Writes how the party ended, as one JSON object of at most 4096 bytes.

    In place and not by renaming: in a pod the path is a file that the kubelet has mounted, which cannot be replaced.

    Raises:
        StorageFailed: if the file cannot be written.
    """
    rendered = render_termination(code=code, reason=reason, message=message)
    with _naming_the_path(path), path.open("wb") as file:
        file.write(rendered)
        file.flush()
        os.fsync(file.fileno())


def render_termination(*, code: int, reason: str, message: str) -> bytes:
    """Renders how a party ended; a message that is too long loses its end and stays JSON."""
    kept = message[:_MAX_MESSAGE]
    while True:
        # One character may take twelve bytes, so what has to go is found by trying.
        rendered = json.dumps({"code": code, "reason": reason, "message": kept}).encode() + b"\n"
        excess = len(rendered) - _MAX_TERMINATION_BYTES
        if excess <= 0:
            return rendered
        kept = kept[: -max(1, excess // 12)]


class JsonLines:
    """A file of one JSON object a line, for example metrics.jsonl; it grows at its end and is never rewritten.

    Args:
        path: The file; a line that an earlier process left torn is closed first.

    Raises:
        StorageFailed: if the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _naming_the_path(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            torn = _ends_within_a_line(path)
            self._file = path.open("a", encoding="utf-8")
        if torn:
            self._write("\n")

    def append(self, record: Mapping[str, object]) -> None:
        """Adds one line and hands it to the operating system."""
        self._write(json.dumps(dict(record), allow_nan=False) + "\n")

    def close(self) -> None:
        """Closes the file."""
        with _naming_the_path(self._path):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, text: str) -> None:
        with _naming_the_path(self._path):
            self._file.write(text)
            self._file.flush()


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _flush_folder(folder: Path) -> None:
    # Without this a renamed file may be gone after a power cut, though its content is on the disk.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _naming_the_path(path: Path) -> Iterator[None]:
    """Turns an operating system's error into one that names the path, what is free there and what to do."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(
            f"{path} cannot be written: {error.strerror or error}; {_render_free(path)}",
            allowed="a writable volume with room for the party's segments, metrics and logs",
            remedy="free space on the volume or give the party a larger one, then run again",
        ) from error


def _render_free(path: Path) -> str:
    existing = next((folder for folder in (path, *path.parents) if folder.is_dir()), None)
    try:
        return f"{shutil.disk_usage(existing).free} bytes are free there" if existing else "its volume is not there"
    except OSError:
        return "its volume cannot be asked how much is free"
