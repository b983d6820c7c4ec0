import base64

import pytest

from splittraining.api.errors import SpecInvalid
from splittraining.api.usage import UsageInvalid
from splittraining.local.manifest import load_manifest

TRAINING = "kind: SplitTraining\nmetadata: {name: xray}\nspec: {rounds: 1}\n"
CODE = f"{TRAINING}---\nkind: ConfigMap\nmetadata: {{name: c}}\n"


def write(folder, text):
    path = folder / "training.yaml"
    path.write_text(text)
    return path


def test_the_config_maps_of_the_same_file_are_the_sources(tmp_path):
    binary = base64.b64encode(b"\x00raw").decode()
    code = f"kind: ConfigMap\nmetadata: {{name: code}}\ndata:\n  m.py: |\n    x = 1\nbinaryData: {{w.bin: {binary}}}\n"
    manifest = load_manifest(write(tmp_path, f"{TRAINING}---\n{code}---\n"))
    assert manifest.training["metadata"] == {"name": "xray"}
    assert manifest.sources == {"code": {"m.py": b"x = 1\n", "w.bin": b"\x00raw"}}


def test_a_source_folder_stands_in_for_a_config_map(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "m.py").write_text("x = 2\n")
    (folder / "notes.txt").write_text("not code")
    code = "---\nkind: ConfigMap\nmetadata: {name: code}\ndata: {m.py: 'x = 1'}\n"
    manifest = load_manifest(write(tmp_path, TRAINING + code), source_folders={"code": folder})
    assert manifest.sources == {"code": {"m.py": b"x = 2\n"}}


def test_other_documents_of_the_file_are_left_alone(tmp_path):
    manifest = load_manifest(write(tmp_path, f"kind: Namespace\nmetadata: {{name: trial}}\n---\n{TRAINING}"))
    assert manifest.training["kind"] == "SplitTraining"
    assert manifest.sources == {}


def test_a_config_map_of_another_namespace_is_not_a_source(tmp_path):
    code = "---\nkind: ConfigMap\nmetadata: {name: code, namespace: elsewhere}\ndata: {m.py: 'x = 1'}\n"
    assert load_manifest(write(tmp_path, TRAINING + code)).sources == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: SplitTraining\nspec:\n  rounds: [1\n", r"training\.yaml:4:1: not valid YAML"),
        ("kind: SplitTraining\n\tspec: 1\n", r"training\.yaml:2:1: not valid YAML"),
        ("kind: SplitTraining\nspec:\n  rounds: 1\n  rounds: 2\n", r"training\.yaml:4:3: .*'rounds' stands twice"),
        ("- a\n- b\n", "a document is list, not a mapping"),
        ("kind: SplitTrainig\n", r"holds no SplitTraining \(found: SplitTrainig\)"),
        ("", r"holds no SplitTraining \(found: nothing\)"),
        (f"{TRAINING}---\n{TRAINING}", r"holds 2 SplitTrainings \(xray, xray\)"),
        (f"{CODE}data: {{n: 1}}\n", r"data\.n is int"),
        (f"{CODE}data: [1]\n", "data is list"),
        (f"{CODE}binaryData: {{n: '!'}}\n", r"binaryData\.n is not base64"),
        (f"{CODE}data: {{../n.py: ''}}\n", r"has the key '\.\./n\.py'"),
        (f"{TRAINING}---\nkind: ConfigMap\ndata: {{n.py: ''}}\n", r"no metadata\.name"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(SpecInvalid, match=message):
        load_manifest(write(tmp_path, text))


def test_bytes_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / "training.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecInvalid, match="not UTF-8"):
        load_manifest(path)


def test_a_missing_file_names_the_flag(tmp_path):
    with pytest.raises(UsageInvalid, match=r"No such file.*with -f"):
        load_manifest(tmp_path / "none.yaml")


def test_a_source_folder_without_code_is_refused(tmp_path):
    path = write(tmp_path, TRAINING)
    with pytest.raises(UsageInvalid, match=r"no \*\.py file"):
        load_manifest(path, source_folders={"code": tmp_path})
    with pytest.raises(UsageInvalid, match="not a folder"):
        load_manifest(path, source_folders={"code": tmp_path / "none"})
