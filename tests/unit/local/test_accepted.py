import io
import zipfile

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet
from safetensors.numpy import save_file

from splittraining.api.errors import NotSupported, SpecInvalid
from splittraining.api.resource import parse_split_training
from splittraining.api.usage import UsageInvalid
from splittraining.local.accepted import (
    ManifestInvalid,
    accept_manifest,
    list_claims,
    list_data_claims,
    list_warm_start_claims,
)
from splittraining.local.manifest import load_manifest
from splittraining.local.predictor import choose_claims
from splittraining.local.row_counts import count_test_rows, count_train_rows
from support.local_support import build_manifest_document

CODE = {"kind": "ConfigMap", "metadata": {"name": "code"}, "data": {"model.py": "x = 1\n", "notes.md": "hi"}}


def load(tmp_path, *documents, **options):
    path = tmp_path / "training.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return load_manifest(path, **options)


def test_an_accepted_training_carries_its_python_files_and_their_digest(tmp_path):
    accepted = accept_manifest(load(tmp_path, build_manifest_document(), CODE))
    assert accepted.source_files == {"model.py": b"x = 1\n"}
    assert accepted.contract.source_digest.startswith("sha256:")


def test_another_source_makes_another_contract(tmp_path):
    first = accept_manifest(load(tmp_path, build_manifest_document(), CODE)).contract
    changed = CODE | {"data": {"model.py": "x = 2\n"}}
    second = accept_manifest(load(tmp_path, build_manifest_document(), changed)).contract
    assert first.compute_digest() != second.compute_digest()


def test_a_source_that_the_file_does_not_hold_names_the_flag(tmp_path):
    with pytest.raises(SpecInvalid, match=r"ConfigMap code, which .* --source code=FOLDER"):
        accept_manifest(load(tmp_path, build_manifest_document()))


def test_a_source_without_python_is_refused(tmp_path):
    with pytest.raises(SpecInvalid, match=r"no \*\.py file \(found: notes\.md\)"):
        accept_manifest(load(tmp_path, build_manifest_document(), CODE | {"data": {"notes.md": "hi"}}))


def test_a_source_folder_nobody_asked_for_is_refused(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "model.py").write_text("")
    manifest = load(tmp_path, build_manifest_document(), CODE, source_folders={"cod": folder})
    with pytest.raises(UsageInvalid, match="cod, which is not the model's source"):
        accept_manifest(manifest)


def test_a_single_problem_keeps_its_own_kind(tmp_path):
    document = build_manifest_document()
    document["spec"]["mode"] = "Predict"
    with pytest.raises(NotSupported):
        accept_manifest(load(tmp_path, document, CODE))


def test_several_problems_are_told_together(tmp_path):
    document = build_manifest_document()
    document["spec"]["mode"] = "Predict"
    with pytest.raises(ManifestInvalid, match=r"2 problems(.|\n)*spec\.mode(.|\n)*ConfigMap code") as refused:
        accept_manifest(load(tmp_path, document))
    assert len(refused.value.problems) == 2


def test_a_claim_that_two_parties_read_is_listed_once():
    document = build_manifest_document(clients=("a", "b", "c"))
    document["spec"]["clients"][2]["data"]["volume"]["persistentVolumeClaim"]["claimName"] = "claim-a"
    assert list_claims(parse_split_training(document)) == ["claim-a", "claim-b"]


def test_claims_with_first_weights_are_listed_too(tmp_path):
    document = build_manifest_document(clients=("a", "b"))
    weights = {"path": "first.safetensors", "digest": "sha256:" + "0" * 64}
    document["spec"]["server"]["warmStart"] = weights | {"volume": {"persistentVolumeClaim": {"claimName": "trunk"}}}
    document["spec"]["clients"][0]["warmStart"] = weights
    training = parse_split_training(document)
    assert list_claims(training) == ["claim-a", "claim-b", "trunk"]
    assert list_data_claims(training) == ["claim-a", "claim-b"]
    assert list_warm_start_claims(training) == ["trunk", "claim-a"]
    # A prediction starts from what was trained.
    assert {*choose_claims(training, {})} == {"claim-a", "claim-b"}
    assert {*choose_claims(training, {"trunk": tmp_path})} == {"claim-a", "claim-b", "trunk"}


@pytest.mark.parametrize("rows", [0, 1, 70000])
def test_rows_of_an_npz_are_read_from_its_header(tmp_path, rows):
    np.savez(tmp_path / "train.npz", x=np.zeros((rows, 4), np.float32), y=np.zeros(rows, np.int64))
    training = parse_split_training(build_manifest_document())
    assert count_train_rows(training, {"claim-st-mary": tmp_path}) == {"st-mary": rows}


def test_rows_of_a_csv_are_its_lines_without_the_names(tmp_path):
    (tmp_path / "train.csv").write_text('x,y\n1,"two\nlines"\n3,4\n')
    document = build_manifest_document()
    document["spec"]["clients"][0]["data"] |= {"format": "CSV", "train": {"path": "train.csv"}}
    training = parse_split_training(document)
    assert count_train_rows(training, {"claim-st-mary": tmp_path}) == {"st-mary": 2}


IMAGES = ("a/1.png", "a/2.png", "b/1.png")


def write_parquet(folder):
    columns = {f"c{number}": [[1.0]] * 70 for number in range(20)} | {"x": range(70), "when": [None] * 70}
    parquet.write_table(pa.table(columns), folder / "train", row_group_size=32)


def write_safetensors(folder):
    save_file({"other": np.zeros(9), "x": np.zeros((7, 4)), "y": np.zeros(7)}, folder / "train")


def write_images(folder):
    for name in (*IMAGES, ".hidden/1.png", "a/.hidden"):
        (folder / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "train" / name).touch()


@pytest.mark.parametrize(
    ("file_format", "write", "rows"),
    [("Parquet", write_parquet, 70), ("SafeTensors", write_safetensors, 7), ("ImageFolder", write_images, 3)],
)
def test_rows_of_the_other_formats_are_counted_without_their_libraries(tmp_path, file_format, write, rows):
    write(tmp_path)
    document = build_manifest_document()
    document["spec"]["clients"][0]["data"] |= {"format": file_format, "train": {"path": "train"}}
    training = parse_split_training(document)
    assert count_train_rows(training, {"claim-st-mary": tmp_path}) == {"st-mary": rows}
    assert count_test_rows(training, {"claim-st-mary": tmp_path}) == {"st-mary": 0}


@pytest.mark.parametrize("file_format", ["Parquet", "SafeTensors", "ImageFolder"])
@pytest.mark.parametrize("content", [b"", b"junk of some length", bytes(8) + b"PAR1", b"\x19\x1c\x02\0\0\0PAR1"])
def test_what_is_no_file_of_its_format_is_left_to_the_run(tmp_path, file_format, content):
    (tmp_path / "train").write_bytes(content)
    document = build_manifest_document()
    document["spec"]["clients"][0]["data"] |= {"format": file_format, "train": {"path": "train"}}
    counted = count_train_rows(parse_split_training(document), {"claim-st-mary": tmp_path})
    assert counted in ({}, {"st-mary": 0})


def build_zip(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        build_zip("other.npy", b""),
        build_zip("x.npy", b"junk"),
        build_zip("x.npy", b"\x93NUMPY\x01\x00"),
    ],
)
def test_a_file_that_cannot_be_counted_is_left_to_the_run(tmp_path, content):
    (tmp_path / "train.npz").write_bytes(content)
    training = parse_split_training(build_manifest_document())
    assert count_train_rows(training, {"claim-st-mary": tmp_path}) == {}
    assert count_train_rows(training, {}) == {}
