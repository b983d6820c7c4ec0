"""What a node already has of an image is not carried to it again."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cluster.thin import write_thin_archive
from image_builder.archive import ImageFacts, Layer, write_archive
from image_builder.dockerfile import ImageConfig

CONFIG = ImageConfig(user="65532:65532", entrypoint=("run-it",), environment={}, labels={})
NAME = "docker.io/library/tool:1"


@pytest.fixture
def image(tmp_path: Path) -> tuple[Path, ImageFacts]:
    """An archive of two layers, with its description beside it."""
    layers = []
    for name in ("lower", "upper"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name * 1000)
        layers.append(Layer(name, tmp_path / name, place="/"))
    archive = tmp_path / "tool.tar"
    with archive.open("wb") as output:
        facts = write_archive(output, "tool", "1", layers, CONFIG)
    archive.with_suffix(".json").write_text(json.dumps(facts.as_document()))
    return archive, facts


def read_image(archive: Path) -> tuple[dict[str, bytes], dict[str, Any], dict[str, Any]]:
    """Returns what is in an archive by digest, the entry of its index, and the manifest, as a node reads them."""
    with tarfile.open(archive) as tar:
        files = {item.name: tar.extractfile(item).read() for item in tar.getmembers()}  # type: ignore[union-attr]
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    (listed,) = json.loads(files.pop("index.json"))["manifests"]
    blobs = {name.removeprefix("blobs/").replace("/", ":"): content for name, content in files.items()}
    assert all(digest == f"sha256:{hashlib.sha256(content).hexdigest()}" for digest, content in blobs.items())
    return blobs, listed, json.loads(blobs[listed["digest"]])


def test_it_names_all_layers_and_holds_those_that_are_missing(image: tuple[Path, ImageFacts], tmp_path: Path) -> None:
    archive, facts = image
    lower, upper = (layer.diff_id for layer in facts.layers)
    write_thin_archive(tmp_path / "thin.tar", archive, NAME, {lower})
    blobs, listed, manifest = read_image(tmp_path / "thin.tar")
    assert listed["annotations"] == {"io.containerd.image.name": NAME}
    assert manifest["config"]["digest"] == facts.image_id
    assert [(layer["digest"], layer["size"]) for layer in manifest["layers"]] == [
        (layer.diff_id, layer.size) for layer in facts.layers
    ]
    assert set(blobs) == {upper, facts.image_id, listed["digest"]}
    with tarfile.open(fileobj=io.BytesIO(blobs[upper])) as layer:
        assert layer.getnames()[-1] == "file"


def test_for_a_node_that_has_nothing_of_it_all_is_there(image: tuple[Path, ImageFacts], tmp_path: Path) -> None:
    archive, facts = image
    write_thin_archive(tmp_path / "thin.tar", archive, NAME, ())
    blobs, _, _ = read_image(tmp_path / "thin.tar")
    assert {layer.diff_id for layer in facts.layers} <= set(blobs)
