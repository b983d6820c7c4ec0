"""The test cluster keeps its promises: side by side by name, up again changes nothing, down leaves nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cluster import node
from cluster.kind import KindCluster
from cluster.namespaces import CGROUPS
from image_builder.cache import find_cache
from support.installation import run_cluster

FOLDER = find_cache(os.environ, "clusters")


def list_traces(name: str) -> list[str]:
    """Lists what a cluster of that name has on this machine: files, cgroups, mounts, processes."""
    found = [str(path) for path in (FOLDER / name, *CGROUPS.glob(f"*/splittraining-{name}")) if path.exists()]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{name}/" in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if f"/{name}/".encode() in command:
            found.append(f"{process.name} {command[:100]!r}")
    return found


def test_a_second_cluster_lives_beside_the_first_and_leaves_nothing(cluster: node.Cluster | KindCluster) -> None:
    if isinstance(cluster, KindCluster):
        pytest.skip("kind keeps its own promises")
    name = f"{cluster.name}-b"
    try:
        said = run_cluster("up", name)
        second = node.find_cluster(FOLDER, name)
        assert second is not None
        assert str(second.kubeconfig) in said
        assert list_traces(name)
        assert second.number != cluster.number
        for one in (cluster, second):
            (seen,) = one.client.list("/api/v1/nodes")
            assert seen["metadata"]["name"] == one.name
            assert seen["status"]["allocatable"]["nvidia.com/gpu"] == "4"
        assert run_cluster("up", name) == said
        again = node.find_cluster(FOLDER, name)
        assert again == second
        assert {cluster.name, name} <= {line.split()[0] for line in run_cluster("status", name).splitlines()}
    finally:
        run_cluster("down", name)
    assert list_traces(name) == []
    assert cluster.client.is_up()
