"""One node with the operator installed for all tests of this folder, and a namespace for each."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import kind, node
from image_builder.cache import find_cache
from support.house_support import ROOT
from support.installation import Installation, Room, list_archives, read_images, run_cluster
from support.marks import mark_tests_below

# Two checkouts on one machine do not meet.
NAME = f"e2e-{zlib.crc32(str(ROOT).encode()):08x}"
FORM = os.environ.get("CLUSTER") or "node"
# For whoever writes these tests: the cluster stays, and is taken as it is.
KEPT = bool(os.environ.get("KEEP_CLUSTER"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tests_below(Path(__file__).parent, items, pytest.mark.e2e)


@pytest.fixture(scope="session")
def cluster() -> Iterator[node.Cluster | kind.KindCluster]:
    if not KEPT:
        run_cluster("down", NAME, FORM)
    run_cluster("up", NAME, FORM, *list_archives())
    try:
        if FORM == "kind":
            yield kind.KindCluster(NAME, find_cache(os.environ, "kind") / NAME)
        else:
            found = node.find_cluster(find_cache(os.environ, "clusters"), NAME)
            assert found is not None
            yield found
    finally:
        if not KEPT:
            run_cluster("down", NAME, FORM)


@pytest.fixture(scope="session")
def installation(cluster: node.Cluster | kind.KindCluster) -> Iterator[Installation]:
    operator_image, party_image = read_images()
    installed = Installation(cluster, operator_image, party_image)
    installed.install()
    yield installed
    installed.wait_for_empty()


@pytest.fixture
def room(installation: Installation) -> Iterator[Room]:
    room = installation.make_room()
    yield room
    room.leave()
