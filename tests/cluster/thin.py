"""An image without the layers that a node has: gigabytes that containerd would read, write and throw away again.

Form: the OCI image layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md) in a tar file, which
``ctr images import`` reads. A blob that the manifest names and the archive lacks is taken from what is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_NAME = "io.containerd.image.name"


def write_thin_archive(target: Path, archive: Path, name: str, known: Collection[str]) -> None:
    """Writes an image again without some of its layers.

    Args:
        target: Where the archive goes.
        archive: The docker archive with all of it, beside which its description lies.
        name: The image's full name.
        known: Digests of layers that may be left out.
    """
    facts = json.loads(archive.with_suffix(".json").read_text())
    image_id = str(facts["image_id"]).removeprefix("sha256:")
    with tarfile.open(archive) as source, tarfile.open(target, "w") as output:
        config = source.extractfile(f"{image_id}.json")
        assert config is not None
        layers = [_describe(_LAYER, layer["diff_id"], layer["size"]) for layer in facts["layers"]]
        for index, layer in enumerate(layers):
            if layer["digest"] not in known:
                entry = source.getmember(f"{index}.tar")
                blob = tarfile.TarInfo(_find_place(layer["digest"]))
                blob.size = entry.size
                output.addfile(blob, source.extractfile(entry))
        described = _add_blob(output, _CONFIG, config.read())
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers}
        listed = _add_blob(output, _MANIFEST, _render(manifest)) | {"annotations": {_NAME: name}}
        _add(output, "index.json", _render({"schemaVersion": 2, "manifests": [listed]}))
        _add(output, "oci-layout", _render(_LAYOUT))


def _add_blob(output: tarfile.TarFile, media_type: str, content: bytes) -> dict[str, Any]:
    described = _describe(media_type, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    _add(output, _find_place(described["digest"]), content)
    return described


def _add(output: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    output.addfile(info, io.BytesIO(content))


def _describe(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _find_place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _render(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()
