"""The commands behind ``make cluster-up``, ``cluster-load``, ``cluster-status`` and ``cluster-down``."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cluster import kind, node
from cluster.binaries import find_builder
from cluster.images import prepare_system_images
from cluster.refusal import ClusterRefused
from image_builder.cache import find_cache

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
_NEEDED = ("kube", "etcd", "pause", "forward", "policies", "coredns", "probe")


def find_site(environment: Mapping[str, str]) -> node.Site:
    """Finds the programs and the images of a node; builds what is missing."""
    builder = find_builder(environment)
    binaries = {name: builder.build(name) for name in _NEEDED}
    images = prepare_system_images(find_cache(environment, "node-images"), binaries)
    return node.Site(find_cache(environment, "clusters"), binaries, images)


def main(arguments: list[str]) -> int:
    """Runs a command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "load"])
    parser.add_argument("--name", default="splittraining", help="which cluster (a DNS label)")
    parser.add_argument("--form", choices=["node", "kind"], default="node", help="what makes it (default: node)")
    parser.add_argument("archives", nargs="*", type=Path, help="for load: docker archives")
    given = parser.parse_args(arguments)
    if not _NAME.fullmatch(given.name):
        parser.error(f"{given.name!r} is no name of a cluster. Allowed: a DNS label of at most 30 characters")
    try:
        run = _run_kind if given.form == "kind" else _run_node
        run(given.command, given.name, given.archives)
    except ClusterRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


def _run_node(command: str, name: str, archives: list[Path]) -> None:
    if os.geteuid() != 0:
        raise ClusterRefused("A node needs root: it makes namespaces, mounts and cgroups. To do: run it as root")
    folder = find_cache(os.environ, "clusters")
    if command == "down":
        node.take_down(folder, name)
    elif command == "status":
        for cluster in node.list_clusters(folder):
            state = "up" if cluster.lives() else "dead: take it down"
            print(f"{cluster.name}  {state}  KUBECONFIG={cluster.kubeconfig}")
    elif command == "load":
        found = node.find_cluster(folder, name)
        if found is None or not found.lives():
            raise ClusterRefused(f"{name} is not up. To do: `make cluster-up NAME={name}`")
        for archive in archives:
            print(found.load(archive))
    else:
        started = time.monotonic()

        def tell(what: str) -> None:
            print(f"{time.monotonic() - started:5.1f} s  {what}", file=sys.stderr, flush=True)

        _greet(find_site(os.environ).bring_up(name, tell=tell).kubeconfig)


def _run_kind(command: str, name: str, archives: list[Path]) -> None:
    folder = find_cache(os.environ, "kind")
    if command == "down":
        kind.take_down(folder, name)
    elif command == "status":
        print(kind.run_command(["kind", "get", "clusters"]), end="")
    elif command == "load":
        for archive in archives:
            print(kind.KindCluster(name, folder / name).load(archive))
    else:
        _greet(kind.bring_up(folder, name).kubeconfig)


def _greet(kubeconfig: Path) -> None:
    print(f"export KUBECONFIG={kubeconfig}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
