"""What a party leaves on its volume: whole or not at all, and readable by anyone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splittraining.api.errors import StorageFailed
from splittraining.party.training.results import (
    JsonLines,
    build_manifest,
    compute_tensor_digest,
    write_atomically,
    write_result,
    write_termination,
)

FULL_DEVICE = Path("/dev/full")
"""Linux: every write to it fails because the disk is full."""


def write(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    manifest = build_manifest(tensors, party="st-mary", contract_digest="sha256:00", generation=1, step=9)
    write_result(folder, tensors, manifest)


def test_tensors_and_their_manifest_can_be_read_back(tmp_path: Path) -> None:
    tensors = {"encoder.weight": torch.randn(2, 3).T, "encoder.count": torch.tensor(4)}
    write(tmp_path / "result", tensors)
    read = load_file(tmp_path / "result" / "segments.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    manifest = json.loads((tmp_path / "result" / "manifest.json").read_text())
    assert (manifest["party"], manifest["step"], manifest["torchVersion"]) == ("st-mary", 9, torch.__version__)
    raw = tensors["encoder.weight"].contiguous().numpy().tobytes()
    assert manifest["tensors"]["encoder.weight"] == "sha256:" + hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.float64], ids=str)
def test_every_element_type_has_a_digest_of_its_bytes(dtype: torch.dtype) -> None:
    tensor = torch.tensor([0, 1, 1]).to(dtype)
    raw = tensor.view(torch.uint8).numpy().tobytes()
    assert compute_tensor_digest(tensor) == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert compute_tensor_digest(torch.zeros(0, dtype=dtype)) == "sha256:" + hashlib.sha256(b"").hexdigest()


def test_two_names_of_one_weight_are_written_both(tmp_path: Path) -> None:
    weight = torch.ones(2)
    write(tmp_path, {"a": weight, "b": weight})
    assert load_file(tmp_path / "segments.safetensors").keys() == {"a", "b"}


def test_a_file_that_cannot_be_written_is_told_with_its_path_and_what_is_free(tmp_path: Path) -> None:
    (tmp_path / "result").write_text("in the way")
    with pytest.raises(StorageFailed, match=rf"{tmp_path}/result cannot be written: .*; \d+ bytes are free there"):
        write(tmp_path / "result", {"a": torch.ones(1)})


def test_no_temporary_file_is_left_where_the_new_one_cannot_be_put(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    (folder / "within").mkdir(parents=True)
    with pytest.raises(StorageFailed, match="cannot be written"):
        write_atomically(folder, b"new")  # a folder is in the way of the renaming
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.skipif(not FULL_DEVICE.exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_is_told_as_such() -> None:
    lines = JsonLines(FULL_DEVICE)
    with pytest.raises(StorageFailed, match=r"/dev/full cannot be written: No space left on device.*free space"):
        lines.append({"step": 1})
    with pytest.raises(StorageFailed, match="No space left on device"):
        lines.close()
    with pytest.raises(StorageFailed, match="No space left on device"):
        write_termination(FULL_DEVICE, code=0, reason="", message="")


def test_lines_are_there_as_soon_as_they_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with JsonLines(path) as lines:
        lines.append({"step": 1, "loss": 0.1})
        assert path.read_text() == '{"step": 1, "loss": 0.1}\n'
        lines.append({"step": 2})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"step": 1, "loss": 0.1}, {"step": 2}]


def test_a_line_that_an_earlier_process_left_torn_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"ste')
    with JsonLines(path) as lines:
        lines.append({"step": 2})
    assert path.read_text().splitlines() == ['{"step": 1}', '{"ste', '{"step": 2}']


def test_a_number_that_json_does_not_have_is_refused(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "metrics.jsonl") as lines, pytest.raises(ValueError, match="not JSON compliant"):
        lines.append({"loss": float("nan")})


def test_the_end_is_written_in_place_with_a_short_message(tmp_path: Path) -> None:
    path = tmp_path / "termination.json"
    path.write_text("x" * 10_000)
    inode = path.stat().st_ino
    write_termination(path, code=65, reason="DataInvalid", message="m" * 5000)
    read = json.loads(path.read_text())
    assert (read["code"], read["reason"], len(read["message"])) == (65, "DataInvalid", 2048)
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("character", ["m", "é", "\N{HOSPITAL}", '"', "\0"])
def test_how_it_ended_stays_json_within_what_kubernetes_keeps(character: str, tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    write_termination(path, code=65, reason="DataInvalid", message=character * 2048)
    assert path.stat().st_size <= 4096
    message = json.loads(path.read_text())["message"]
    assert message == character * len(message)
    assert len(message) > 300
