"""One node with the operator installed for all tests of this folder, and a namespace for each."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster import kind, node
from image_builder.cache import find_cache
from support.house_support import ROOT
from support.installation import Installation, Room, list_archives, read_images, run_cluster
from support.marks import mark_tests_below
from support.shared import locked, shared

# For whoever writes these tests, and for a run that has just shown the demonstration: this cluster is taken as it is,
# and stays.
KEPT = os.environ.get("KEEP_CLUSTER", "")
# Two checkouts on one machine do not meet.
NAME = KEPT or f"e2e-{zlib.crc32(str(ROOT).encode()):08x}"
FORM = os.environ.get("CLUSTER") or "node"

ORDER = [
    "test_troubles_in_cluster",
    "test_isolation_in_cluster",
    "test_install_in_cluster",
    "test_lifecycle_in_cluster",
    "test_node_itself",
    "test_examples_in_cluster",
]
"""Of the files, for two processes: while one replaces the operator the other has tests that outlast that."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tests_below(Path(__file__).parent, items, pytest.mark.e2e)
    files = {name: number for number, name in enumerate(ORDER)}
    items.sort(key=lambda item: (files.get(item.path.stem, -1), item.get_closest_marker("alone") is not None))


@pytest.fixture(scope="session")
def meeting_place(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of this run know."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def cluster(meeting_place: Path) -> Iterator[node.Cluster | kind.KindCluster]:
    def bring_up() -> None:
        take_down()
        run_cluster("up", NAME, FORM, *list_archives())

    def take_down() -> None:
        if not KEPT:
            run_cluster("down", NAME, FORM)

    with shared(meeting_place / "cluster", bring_up, take_down):
        if FORM == "kind":
            yield kind.KindCluster(NAME, find_cache(os.environ, "kind") / NAME)
        else:
            found = node.find_cluster(find_cache(os.environ, "clusters"), NAME)
            assert found is not None
            yield found


@pytest.fixture(scope="session")
def installation(cluster: node.Cluster | kind.KindCluster, meeting_place: Path) -> Iterator[Installation]:
    installed = Installation(cluster, *read_images())
    with shared(meeting_place / "installation", installed.install, installed.wait_for_empty):
        yield installed


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, meeting_place: Path) -> Iterator[None]:
    """Keeps the processes of a run out of each other's way: no two replace the operator, nor disturb what is timed."""
    marks = {mark.name for mark in request.node.iter_markers()}
    with ExitStack() as held:
        if "installation" in request.fixturenames:
            if "outlasts_operator" not in marks:
                held.enter_context(locked(meeting_place / "operator", alone="replaces_operator" in marks))
            held.enter_context(locked(meeting_place / "node", alone="alone" in marks))
        yield


@pytest.fixture
def room(installation: Installation) -> Iterator[Room]:
    room = installation.make_room()
    yield room
    room.leave()
