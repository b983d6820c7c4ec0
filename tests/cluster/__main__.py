"""The commands behind ``make cluster-up``, ``cluster-load``, ``cluster-status`` and ``cluster-down``.

up [ARCHIVE...]                   brings a cluster up with these images; prints what to put into the environment
load ARCHIVE...                   loads images from docker archives
volume NAMESPACE CLAIM FOLDER     makes a claim whose volume holds a folder's files, unless it is there
status                            lists clusters
down                              takes a cluster down
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster import kind, node
from cluster.binaries import find_builder
from cluster.images import prepare_images
from cluster.refusal import ClusterRefused
from image_builder.cache import find_cache, forget_unused

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
_NUM_WORDS_OF_VOLUME = 3
_NEEDED = ("kube", "etcd", "pause", "forward", "policies", "coredns", "probe", "helm")


def find_site(environment: Mapping[str, str], archives: Sequence[Path] = ()) -> node.Site:
    """Finds the programs and the images of a node; builds what is missing."""
    builder = find_builder(environment)
    binaries = {name: builder.build(name) for name in _NEEDED}
    cache = find_cache(environment, "node-images")
    images = prepare_images(cache, binaries, archives)
    forget_unused(cache, now=time.time(), days=7)  # gigabytes
    return node.Site(find_cache(environment, "clusters"), binaries, images)


def main(arguments: list[str]) -> int:
    """Runs a command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["up", "load", "volume", "status", "down"])
    parser.add_argument("--name", default="splittraining", help="which cluster (a DNS label)")
    parser.add_argument("--form", choices=["node", "kind"], default="node", help="what makes it (default: node)")
    parser.add_argument("words", nargs="*", metavar="WORD", help="what the command is about")
    given = parser.parse_intermixed_args(arguments)
    if not _NAME.fullmatch(given.name):
        parser.error(f"{given.name!r} is no name of a cluster. Allowed: a DNS label of at most 30 characters")
    if given.command == "volume" and len(given.words) != _NUM_WORDS_OF_VOLUME:
        parser.error("volume NAMESPACE CLAIM FOLDER: three words are needed")
    form = _Kind(given.name) if given.form == "kind" else _Node(given.name)
    try:
        if given.command == "up":
            cluster = form.bring_up([Path(word) for word in given.words])
            programs = f" PATH={cluster.programs}:$PATH" if isinstance(cluster, node.Cluster) else ""
            print(f"export KUBECONFIG={cluster.kubeconfig}{programs}")
        elif given.command == "load":
            for archive in given.words:
                print(form.find().load(Path(archive)))
        elif given.command == "volume":
            namespace, claim, folder = given.words
            _offer(form.find(), namespace, claim, Path(folder))
        elif given.command == "status":
            form.show()
        else:
            form.take_down()
    except ClusterRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


class _Node:
    """Clusters of our own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = find_cache(os.environ, "clusters")

    def bring_up(self, archives: Sequence[Path]) -> node.Cluster:
        if os.geteuid() != 0:
            raise ClusterRefused("A node needs root: it makes namespaces, mounts and cgroups. To do: run it as root")
        started = time.monotonic()

        def tell(what: str) -> None:
            print(f"{time.monotonic() - started:5.1f} s  {what}", file=sys.stderr, flush=True)

        found = node.find_cluster(self._folder, self._name)
        if found is None or not found.lives():
            found = find_site(os.environ, archives).bring_up(self._name, tell=tell)
        for archive in archives:
            found.load(archive)
        return found

    def find(self) -> node.Cluster:
        found = node.find_cluster(self._folder, self._name)
        if found is None or not found.lives():
            raise ClusterRefused(f"{self._name} is not up. To do: `make cluster-up NAME={self._name}`")
        return found

    def show(self) -> None:
        for cluster in node.list_clusters(self._folder):
            state = "up" if cluster.lives() else "dead: take it down"
            print(f"{cluster.name}  {state}  KUBECONFIG={cluster.kubeconfig}")

    def take_down(self) -> None:
        node.take_down(self._folder, self._name)


class _Kind:
    """Clusters of kind's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = find_cache(os.environ, "kind")

    def bring_up(self, archives: Sequence[Path]) -> kind.KindCluster:
        cluster = kind.bring_up(self._folder, self._name)
        for archive in archives:
            cluster.load(archive)
        return cluster

    def find(self) -> kind.KindCluster:
        return kind.KindCluster(self._name, self._folder / self._name)

    def show(self) -> None:
        print(kind.run_command(["kind", "get", "clusters"]), end="")

    def take_down(self) -> None:
        kind.take_down(self._folder, self._name)


def _offer(cluster: node.Cluster | kind.KindCluster, namespace: str, claim: str, folder: Path) -> None:
    if not folder.is_dir():
        raise ClusterRefused(f"{folder} is no folder. To do: name the folder whose files the volume is to hold")
    if cluster.client.find(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}") is None:
        cluster.offer_volume(namespace, claim, folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
