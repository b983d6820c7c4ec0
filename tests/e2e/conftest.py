"""One node with the operator installed for all tests of this folder, and a namespace for each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import kind, node
from image_builder.cache import find_cache
from support.house_support import ROOT
from support.installation import IMAGES, Installation, Room, read_images

NAME = "e2e"
FORM = os.environ.get("CLUSTER") or "node"
# For whoever writes these tests: the cluster stays, and is taken as it is.
KEPT = bool(os.environ.get("KEEP_CLUSTER"))
PYTHONPATH = f"{ROOT / 'tests'}:{ROOT / 'images'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


def run_cluster(command: str) -> None:
    """Runs a command of the test cluster in a process of its own: a cluster is nobody's child."""
    archives = [str(IMAGES / f"{name}.tar") for name in ("operator", "party-cpu-test")] if command == "up" else []
    words = [command, "--name", NAME, "--form", FORM, *archives]
    subprocess.run([sys.executable, "-m", "cluster", *words], env={**os.environ, "PYTHONPATH": PYTHONPATH}, check=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[node.Cluster | kind.KindCluster]:
    if not KEPT:
        run_cluster("down")
    run_cluster("up")
    try:
        if FORM == "kind":
            yield kind.KindCluster(NAME, find_cache(os.environ, "kind") / NAME)
        else:
            found = node.find_cluster(find_cache(os.environ, "clusters"), NAME)
            assert found is not None
            yield found
    finally:
        if not KEPT:
            run_cluster("down")


@pytest.fixture(scope="session")
def installation(cluster: node.Cluster | kind.KindCluster) -> Installation:
    operator_image, party_image = read_images()
    installed = Installation(cluster, operator_image, party_image)
    installed.install()
    return installed


@pytest.fixture
def room(installation: Installation) -> Iterator[Room]:
    room = installation.make_room()
    yield room
    room.remove()
