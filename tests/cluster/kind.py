"""The same cluster by kind, for people who have a Docker engine: what is told to kind and to Docker.

Only its command lines are tested in this project's own runs: they have no Docker engine.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from cluster.binaries import KUBERNETES
from cluster.client import Client
from cluster.commands import run_command
from cluster.images import read_reference
from cluster.volumes import NUM_VOLUMES, build_claimed_volume, build_volume

NODE_IMAGE = f"kindest/node:v{KUBERNETES}"
_VOLUMES = "/var/local/splittraining"  # on the node


def list_create(name: str, kubeconfig: Path) -> list[str]:
    """Lists the command that makes a cluster."""
    return [
        "kind", "create", "cluster", "--name", name, "--image", NODE_IMAGE,
        "--kubeconfig", str(kubeconfig), "--wait", "120s",
    ]  # fmt: skip


def list_delete(name: str, kubeconfig: Path) -> list[str]:
    """Lists the command that removes one."""
    return ["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)]


def list_load(name: str, archive: Path) -> list[str]:
    """Lists the command that loads an image."""
    return ["kind", "load", "image-archive", str(archive), "--name", name]


def list_copy(name: str, content: Path, folder: str) -> list[list[str]]:
    """Lists the commands that put files on the node."""
    node = find_node(name)
    return [
        ["docker", "exec", node, "mkdir", "-p", folder],
        ["docker", "cp", f"{content}/.", f"{node}:{folder}"],
    ]


def find_node(name: str) -> str:
    """Returns the name of a cluster's only node, which is that of its container."""
    return f"{name}-control-plane"


@dataclass(frozen=True)
class KindCluster:
    """A cluster of kind's.

    Attributes:
        name: What it is called.
        folder: Where its kubeconfig and keys are.
        run: Runs a command.
    """

    name: str
    folder: Path
    run: Callable[[Sequence[str]], str] = run_command

    @property
    def kubeconfig(self) -> Path:
        """How an administrator reaches it from this machine."""
        return self.folder / "kubeconfig"

    @property
    def client(self) -> Client:
        """A client with an administrator's rights."""
        return read_client(self.kubeconfig)

    def lives(self) -> bool:
        """Tells whether it is up."""
        return self.name in self.run(["kind", "get", "clusters"]).split()

    def load(self, archive: Path) -> str:
        """Loads an image; returns its reference."""
        self.run(list_load(self.name, archive))
        return read_reference(archive)

    def add_volumes(self, prefix: str, number: int) -> None:
        """Makes more volumes for claims that do not say which they want."""
        node = find_node(self.name)
        for index in range(number):
            path = f"{_VOLUMES}/{prefix}-{index}"
            self.run(["docker", "exec", node, "mkdir", "-p", path])
            self.client.apply(build_volume(f"{prefix}-{index}", path, node))

    def offer_volume(self, namespace: str, claim: str, content: Path) -> None:
        """Makes a claim with a volume of its own behind it, which holds a folder's files."""
        folder = f"{_VOLUMES}/{namespace}-{claim}"
        for command in list_copy(self.name, content, folder):
            self.run(command)
        self.client.apply(*build_claimed_volume(namespace, claim, folder, find_node(self.name)))


def bring_up(folder: Path, name: str, run: Callable[[Sequence[str]], str] = run_command) -> KindCluster:
    """Brings a cluster up; one that is up stays as it is.

    Raises:
        ClusterRefused: There is no Docker engine or no kind, or they failed.
    """
    run(["docker", "info"])  # the command alone says nothing: it is of use only with an engine
    cluster = KindCluster(name, folder / name, run)
    if cluster.lives():
        return cluster
    cluster.folder.mkdir(parents=True, exist_ok=True)
    run(list_create(name, cluster.kubeconfig))
    cluster.add_volumes("local", NUM_VOLUMES)
    return cluster


def take_down(folder: Path, name: str, run: Callable[[Sequence[str]], str] = run_command) -> None:
    """Takes a cluster down; where there is none it does nothing."""
    run(list_delete(name, folder / name / "kubeconfig"))
    shutil.rmtree(folder / name, ignore_errors=True)


def read_client(kubeconfig: Path) -> Client:
    """Makes a client from a kubeconfig; writes its certificates beside it, since Python's TLS wants files."""
    document = yaml.safe_load(kubeconfig.read_text())
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    files = {
        "ca.crt": cluster["certificate-authority-data"],
        "admin.crt": user["client-certificate-data"],
        "admin.key": user["client-key-data"],
    }
    for name, text in files.items():
        path = kubeconfig.with_name(name)
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(text))
    port = urlsplit(cluster["server"]).port
    assert port is not None
    here = kubeconfig.parent
    return Client(port, here / "ca.crt", (here / "admin.crt", here / "admin.key"))
