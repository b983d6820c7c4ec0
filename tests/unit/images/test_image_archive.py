"""Docker archives: complete, readable by others, the same every time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from pathlib import Path

import pytest

from image_builder.archive import ImageFacts, Layer, compute_layer_size, write_archive
from image_builder.dockerfile import ImageConfig

CONFIG = ImageConfig(
    user="65532:65532", entrypoint=("run-it",), environment={"PATH": "/bin"}, labels={"title": "A test"}
)


@pytest.fixture
def layers(tmp_path: Path) -> list[Layer]:
    base = tmp_path / "base.tar"
    with tarfile.open(base, "w") as tar:
        tar.addfile(tarfile.TarInfo("etc"))
    folder = tmp_path / "packages"
    (folder / "tool").mkdir(parents=True)
    (folder / "tool" / "__init__.py").write_text("x = 1\n")
    (folder / "tool" / ("long-" * 30 + "name.py")).write_text("y" * 5000)
    (folder / "area").mkdir()
    (folder / "area" / "a.py").touch()
    (folder / "run-it").write_text("#!/bin/sh\n")
    (folder / "run-it").chmod(0o700)
    (folder / "link").symlink_to("run-it")
    return [Layer("base", base), Layer("packages", folder, place="/opt/place")]


def write(layers: list[Layer], *, measure: bool = False) -> tuple[bytes, ImageFacts]:
    output = io.BytesIO()
    facts = write_archive(output, "registry.example/tool", "1.0", layers, CONFIG, measure=measure)
    return output.getvalue(), facts


def read_member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def test_an_archive_names_its_layers_by_the_digests_that_they_have(layers: list[Layer]):
    archive, facts = write(layers)
    manifest = json.loads(read_member(archive, "manifest.json"))[0]
    config = read_member(archive, manifest["Config"])
    assert facts.image_id == f"sha256:{hashlib.sha256(config).hexdigest()}"
    contents = [read_member(archive, name) for name in manifest["Layers"]]
    digests = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    assert json.loads(config)["rootfs"]["diff_ids"] == digests == [layer.diff_id for layer in facts.layers]
    assert [layer.size for layer in facts.layers] == [len(content) for content in contents]
    assert facts.size == sum(map(len, contents))


def test_one_tag_is_one_image(layers: list[Layer]):
    archive, facts = write(layers)
    assert facts.reference == f"registry.example/tool:1.0-{facts.image_id.removeprefix('sha256:')[:12]}"
    assert json.loads(read_member(archive, "manifest.json"))[0]["RepoTags"] == [facts.reference]


def test_a_container_starts_as_the_configuration_says(layers: list[Layer]):
    archive, facts = write(layers)
    config = json.loads(read_member(archive, f"{facts.image_id.removeprefix('sha256:')}.json"))["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["run-it"]
    assert config["Env"] == ["PATH=/bin"]
    assert config["Labels"] == {"title": "A test"}


def test_a_folder_appears_at_its_place_owned_by_root_readable_by_all(layers: list[Layer]):
    archive, _ = write(layers)
    with tarfile.open(fileobj=io.BytesIO(read_member(archive, "1.tar"))) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert list(members)[:4] == ["opt", "opt/place", "opt/place/area", "opt/place/link"]
    assert members["opt/place/link"].linkname == "run-it"
    assert members["opt/place/run-it"].mode == 0o755
    assert members["opt/place/tool/__init__.py"].mode == 0o644
    assert any("long-" * 30 in name and member.size == 5000 for name, member in members.items())
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_a_folder_can_be_the_root(layers: list[Layer]):
    archive, facts = write([Layer("root", layers[1].source, place="/")])
    with tarfile.open(fileobj=io.BytesIO(read_member(archive, "0.tar"))) as tar:
        names = tar.getnames()
    assert names[:6] == ["area", "link", "run-it", "tool", "area/a.py", "tool/__init__.py"]
    assert facts.size == compute_layer_size(Layer("root", layers[1].source, place="/"))


def test_the_same_files_give_the_same_bytes_at_another_time(layers: list[Layer]):
    before, _ = write(layers)
    os.utime(layers[1].source / "run-it", (1, 1))
    (layers[1].source / "run-it").chmod(0o755)
    after, _ = write(layers)
    assert before == after


def test_another_file_gives_another_image(layers: list[Layer]):
    _, before = write(layers)
    (layers[1].source / "run-it").write_text("#!/bin/bash\n")
    _, after = write(layers)
    assert before.reference != after.reference
    assert before.layers[0] == after.layers[0]


def test_the_size_of_a_layer_is_known_before_it_is_written(layers: list[Layer]):
    _, facts = write(layers)
    assert [compute_layer_size(layer) for layer in layers] == [fact.size for fact in facts.layers]


def test_the_size_after_compression_is_told_when_asked_for_or_known(layers: list[Layer]):
    archive, plain = write(layers)
    assert plain.compressed is None
    _, measured = write(layers, measure=True)
    contents = [read_member(archive, f"{index}.tar") for index in range(2)]
    assert [layer.compressed for layer in measured.layers] == [
        len(zlib.compress(content, 6, wbits=31)) for content in contents
    ]
    known = [Layer(layer.name, layer.source, layer.place, compressed=7) for layer in layers]
    assert write(known)[1].compressed == 14
