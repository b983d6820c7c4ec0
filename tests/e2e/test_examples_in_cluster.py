"""The examples reach Complete on a real node, and what the parties learnt is what a local run learns, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.house_support import list_examples, name_of
from support.installation import (
    IMAGES,
    Room,
    begin_alike,
    compare_results,
    make_data,
    read_example,
    read_hospitals,
    run_here,
)

SHOWN_ELSEWHERE = {
    "04-extended-vanilla-board": "03: several owners and a label holder, all of which dial the server and nobody else",
    "05-multi-hop-chain": "03: likewise; what goes from owner to owner is carried by the server",
    "06-multi-task-one-image-two-answers": "03: likewise, with labels at two of them",
    "07-parallel-many-clinics": "01: hospitals that dial the server and nobody else",
    "08-split-fed-hospitals": "01: likewise",
    "09-peer-to-peer-three-clinics": "test_isolation_in_cluster runs it for as long as its tests take",
}
"""Examples that a run which has to be short may leave out: what they need of a cluster, which is Services, policies and
links, others need too. What each learns is shown by `tests/local` in every run."""


@dataclass(frozen=True)
class Prepared:
    """An example that was run on this machine.

    Attributes:
        name: The training's.
        claims: Folders with the data, by claim.
        documents: The training and what it needs.
        folder: Where `run_here` ran it.
    """

    name: str
    claims: Mapping[str, Path]
    documents: list[dict[str, Any]]
    folder: Path


def run_example_here(example: Path, folder: Path) -> Prepared:
    claims, documents = make_data(example), read_example(example)
    name = begin_alike(documents)
    run_here(folder, documents, claims)
    return Prepared(name, claims, documents, folder)


@pytest.fixture(scope="module")
def local_runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Prepared]:
    """Runs all examples that are wanted on this machine, before the first one needs the cluster."""
    wanted = [
        item.callspec.params["example"]
        for item in request.session.items
        if hasattr(item, "callspec") and "example" in item.callspec.params
    ]
    return {example: run_example_here(example, tmp_path_factory.mktemp(example.name)) for example in wanted}


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=name_of(example), marks=[pytest.mark.full] if example.name in SHOWN_ELSEWHERE else [])
        for example in list_examples()
    ],
)
def test_an_example_is_complete_with_the_weights_of_a_local_run(
    example: Path, local_runs: dict[Path, Prepared], room: Room
) -> None:
    prepared = local_runs[example]
    room.offer(prepared.claims)
    room.apply(*sorted(prepared.documents, key=lambda document: document["kind"] == "SplitTraining"))
    training = room.wait_for_state(prepared.name, "Completed", "Failed", patience_s=240)
    status = training["status"]
    conditions = {each["type"]: each for each in status["conditions"]}
    assert conditions["Complete"]["status"] == "True", conditions
    assert conditions["NetworkIsolated"]["reason"] == "PoliciesApplied"
    assert status["progress"]["percent"] == 100
    assert all(party["device"] == "cpu" for party in status["parties"])
    compare_results(room, training, prepared.folder)


@pytest.mark.full
def test_the_image_with_the_unmodified_torch_learns_the_same(room: Room, tmp_path: Path) -> None:
    """The other tests run a variant without CUDA's libraries; this is the image that users run."""
    archive = IMAGES / "party.tar"
    image = room.installation.cluster.load(archive)
    assert "cpu-test" not in image
    labels = json.loads(archive.with_suffix(".json").read_text())
    assert sum(layer["size"] for layer in labels["layers"]) > 4e9, "CUDA's libraries are in it"
    hospitals = read_hospitals(rounds=2)
    hospitals.spec["image"] = image
    begin_alike([hospitals.training])
    hospitals.begin(room)
    run_here(tmp_path, [hospitals.training, *hospitals.others], hospitals.claims)
    training = room.wait_for_state(hospitals.name, "Completed", "Failed", patience_s=240)
    compare_results(room, training, tmp_path)
