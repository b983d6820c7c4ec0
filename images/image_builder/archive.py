"""Writes an image as a docker archive, in one pass and without an engine; the same input gives the same bytes.

``docker load``, ``podman load`` and ``ctr images import`` read it. Entries are sorted, belong to root and have no time.
Layers are not compressed: a registry's client does that when it pushes.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from image_builder.dockerfile import ImageConfig

_PIECE = 1 << 20
_BLOCK = 512
# What Docker, containerd and buildah use for layers unless told otherwise.
_GZIP_LEVEL = 6
_AS_GZIP = 31


@dataclass(frozen=True)
class Layer:
    """One layer: a tar file as it is, or a folder that appears at a place in the image.

    Attributes:
        name: What people call it.
        source: The tar file or the folder.
        place: Where a folder appears, "/" for the root; empty for a tar file.
        compressed: Its size when it is compressed, where that is known.
    """

    name: str
    source: Path
    place: str = ""
    compressed: int | None = None


@dataclass(frozen=True)
class LayerFacts:
    """What a layer came out as."""

    name: str
    diff_id: str
    size: int
    compressed: int | None


@dataclass(frozen=True)
class ImageFacts:
    """What an image came out as; `image_id` is what ``docker images --no-trunc`` shows."""

    reference: str
    image_id: str
    layers: tuple[LayerFacts, ...]

    @property
    def size(self) -> int:
        """Returns the size of all layers, as they lie on a disk."""
        return sum(layer.size for layer in self.layers)

    @property
    def compressed(self) -> int | None:
        """Returns the size of all layers as pushed, where it is known."""
        sizes = [layer.compressed for layer in self.layers if layer.compressed is not None]
        return sum(sizes) if len(sizes) == len(self.layers) else None

    def as_document(self) -> dict[str, object]:
        """Returns the facts as plain values for a JSON file."""
        return {**asdict(self), "size": self.size, "compressed": self.compressed}


def write_archive(
    output: BinaryIO, repository: str, tag: str, layers: list[Layer], config: ImageConfig, *, measure: bool = False
) -> ImageFacts:
    """Writes an image.

    Args:
        output: Where the archive goes; need not be seekable.
        repository: The image's name without a tag.
        tag: What its tag begins with; the first digits of the image's digest follow, so that one tag is one image.
        layers: From the bottom up.
        config: How a container starts.
        measure: Also compress each layer as a push would, to learn its size, where it is not known: about a second
            for 30 MB.
    """
    facts = []
    for index, layer in enumerate(layers):
        size = compute_layer_size(layer)
        output.write(_header(f"{index}.tar", size))
        facts.append(_copy_layer(output, layer, measure=measure))
        assert facts[-1].size == size, f"{layer.source} changed while it was read"
        output.write(_padding(size))
    document = render_config(config, [item.diff_id for item in facts])
    image_id = hashlib.sha256(document).hexdigest()
    reference = f"{repository}:{tag}-{image_id[:12]}"
    names = [f"{index}.tar" for index in range(len(layers))]
    manifest = json.dumps([{"Config": f"{image_id}.json", "RepoTags": [reference], "Layers": names}]).encode()
    output.writelines(
        _header(name, len(text)) + text + _padding(len(text))
        for name, text in ((f"{image_id}.json", document), ("manifest.json", manifest))
    )
    output.write(b"\0" * 2 * _BLOCK)
    return ImageFacts(reference, f"sha256:{image_id}", tuple(facts))


def render_config(config: ImageConfig, diff_ids: list[str]) -> bytes:
    """Returns an image's configuration document; its hash is the image's id."""
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "User": config.user,
                "Env": [f"{name}={value}" for name, value in config.environment.items()],
                "Entrypoint": list(config.entrypoint),
                "WorkingDir": config.working_directory,
                "Labels": dict(config.labels),
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "image_builder"}] * len(diff_ids),
        },
        sort_keys=True,
    ).encode()


def compute_layer_size(layer: Layer) -> int:
    """Computes a layer's size before it is written: an archive names it first."""
    if not layer.place:
        return layer.source.stat().st_size
    entries = sum(len(info.tobuf(tarfile.GNU_FORMAT)) + _padded(info.size) for info, _ in list_entries(layer))
    return entries + 2 * _BLOCK


def list_entries(layer: Layer) -> list[tuple[tarfile.TarInfo, Path]]:
    """Lists what a folder's layer holds, the folders above its place first."""
    place = layer.place.strip("/")
    above = [place[:index] for index, letter in enumerate(place) if letter == "/"]
    found = [(_describe(name, layer.source), layer.source) for name in (*above, place) if name]
    for folder, folders, files in os.walk(layer.source):
        folders.sort()
        within = Path(place) / Path(folder).relative_to(layer.source)
        paths = [(within / name, Path(folder) / name) for name in sorted(folders + files)]
        found += [(_describe(name.as_posix(), path), path) for name, path in paths]
    return found


def _copy_layer(output: BinaryIO, layer: Layer, *, measure: bool) -> LayerFacts:
    digest, size, compressed = hashlib.sha256(), 0, 0
    measure = measure and layer.compressed is None
    squeeze = zlib.compressobj(_GZIP_LEVEL, wbits=_AS_GZIP)
    for piece in _stream_layer(layer):
        digest.update(piece)
        output.write(piece)
        size += len(piece)
        compressed += len(squeeze.compress(piece)) if measure else 0
    compressed += len(squeeze.flush())
    return LayerFacts(layer.name, f"sha256:{digest.hexdigest()}", size, compressed if measure else layer.compressed)


def _stream_layer(layer: Layer) -> Iterator[bytes]:
    if not layer.place:
        yield from _read(layer.source)
        return
    for info, path in list_entries(layer):
        yield info.tobuf(tarfile.GNU_FORMAT)
        if info.size:
            yield from _read(path)
            yield _padding(info.size)
    yield b"\0" * 2 * _BLOCK


def _describe(name: str, path: Path) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    if path.is_symlink():
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
    elif path.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        status = path.stat()
        info.size, info.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
    return info


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


def _padded(size: int) -> int:
    return size + -size % _BLOCK


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _BLOCK)
