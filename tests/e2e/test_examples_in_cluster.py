"""The examples reach Complete on a real node, and what the parties learnt is what a local run learns, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.house_support import list_examples, name_of
from support.installation import Room, make_data, read_example

SEGMENTS = Path("result") / "segments.safetensors"


def begin_alike(documents: list[dict[str, Any]]) -> str:
    """Lets the first weights come from the manifest's seed; returns the training's name.

    As the examples are written they come from a secret that the clients make anew in every run.
    """
    training = next(document for document in documents if document["kind"] == "SplitTraining")
    training["spec"]["model"]["initialization"] = "Shared"
    return str(training["metadata"]["name"])


def run_here(folder: Path, documents: list[dict[str, Any]], claims: dict[str, Path]) -> None:
    manifest = folder / "training.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    volumes = [word for claim, data in claims.items() for word in ("--volume", f"{claim}={data}")]
    program = Path(sys.executable).with_name("splittraining")
    command = [str(program), "run", "-f", str(manifest), "--runs", str(folder / "here"), *volumes]
    subprocess.run(command, check=True, capture_output=True, timeout=240)


@pytest.mark.parametrize("example", list_examples(), ids=name_of)
def test_an_example_is_complete_with_the_weights_of_a_local_run(room: Room, tmp_path: Path, example: Path) -> None:
    claims, documents = make_data(example), read_example(example)
    name = begin_alike(documents)
    room.offer(claims)
    room.apply(*(document for document in documents if document["kind"] != "SplitTraining"))
    room.apply(*(document for document in documents if document["kind"] == "SplitTraining"))
    run_here(tmp_path, documents, claims)
    training = room.wait_for_state(name, "Completed", "Failed", patience_s=240)
    status = training["status"]
    conditions = {each["type"]: each for each in status["conditions"]}
    assert conditions["Complete"]["status"] == "True", conditions
    assert conditions["NetworkIsolated"]["reason"] == "PoliciesApplied"
    assert status["progress"]["percent"] == 100
    assert all(party["device"] == "cpu" for party in status["parties"])
    for party in [each["name"] for each in status["parties"]]:
        output = tmp_path / "there" / party
        room.kubectl("splittraining", "fetch", name, party, "-o", str(output))
        assert (output / SEGMENTS).read_bytes() == (tmp_path / "here" / name / party / SEGMENTS).read_bytes(), party
