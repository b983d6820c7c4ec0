"""Brings a node up, takes it down, and tells what there is. All that is known of a cluster lies in its folder."""

from __future__ import annotations

import fcntl
import json
import shutil
import socket
import string
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.addresses import NUM_CLUSTERS, Addresses, choose_number
from cluster.certificates import Authority, Subject, write_kubeconfig, write_service_account_key
from cluster.client import Client, find_condition
from cluster.components import (
    NodePlan,
    list_api_server,
    list_controller_manager,
    list_kubelet,
    list_proxy,
    list_scheduler,
    render_configs,
)
from cluster.images import copy_images, load_archive
from cluster.namespaces import ENVIRONMENT, Holder, furnish, make_cgroups, read_start_time, remove_cgroups, start_holder
from cluster.refusal import ClusterRefused
from cluster.volumes import NUM_VOLUMES, build_claimed_volume, build_volume

NUM_GPUS = 4
_PATIENCE_S = 60.0
_NODES = "system:nodes"
_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    # What this project's own account does is looked at; all that Kubernetes does to itself would be gigabytes.
    "rules": [
        {"level": "None", "userGroups": [_NODES]},
        {"level": "None", "users": ["system:apiserver", "system:kube-scheduler", "system:kube-proxy", "policies"]},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]},
    ],
}


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up, or was.

    Attributes:
        name: What it is called, and its node.
        number: Which addresses it has.
        folder: Everything of it.
        holder: Its first process.
        port: Of the API server, on this machine's loopback.
        forward: The process that takes connections there; with its start time.
    """

    name: str
    number: int
    folder: Path
    holder: Holder
    port: int
    forward: tuple[int, str]

    @property
    def plan(self) -> NodePlan:
        """Where everything of it is."""
        return NodePlan(self.name, Addresses(self.number), self.folder)

    @property
    def kubeconfig(self) -> Path:
        """How an administrator reaches it from this machine."""
        return self.folder / "kubeconfig"

    @property
    def programs(self) -> Path:
        """A folder for people's PATH, with kubectl and helm."""
        return self.folder / "bin"

    @property
    def client(self) -> Client:
        """A client with an administrator's rights."""
        keys = self.plan.certificates
        return Client(self.port, keys / "ca.crt", (keys / "admin.crt", keys / "admin.key"))

    def lives(self) -> bool:
        """Tells whether it is up."""
        return self.holder.lives()

    def load(self, archive: Path) -> str:
        """Imports an image; returns its reference."""
        return load_archive(self.holder, archive)

    def add_volumes(self, prefix: str, number: int) -> None:
        """Makes more volumes for claims that do not say which they want."""
        for index in range(number):
            folder = self.folder / "volumes" / f"{prefix}-{index}"
            folder.mkdir(parents=True)
            self.client.apply(build_volume(folder.name, str(folder), self.name))

    def offer_volume(self, namespace: str, claim: str, content: Path) -> None:
        """Makes a claim with a volume of its own behind it, which holds a folder's files."""
        folder = self.folder / "volumes" / f"{namespace}-{claim}"
        shutil.copytree(content, folder)
        self.client.apply(*build_claimed_volume(namespace, claim, str(folder), self.name))


@dataclass(frozen=True)
class Site:
    """Where clusters are kept.

    Attributes:
        folder: One folder for each below it.
        binaries: Where each program lies.
        system_images: What every node starts with.
    """

    folder: Path
    binaries: Mapping[str, Path]
    system_images: Path

    def bring_up(self, name: str, *, tell: Callable[[str], None] = lambda _: None) -> Cluster:
        """Brings a cluster up; one that is up stays as it is.

        Args:
            name: A DNS label.
            tell: Told what was reached.

        Raises:
            ClusterRefused: It does not come up; what was begun is gone again.
        """
        with _locked(self.folder, name):
            found = find_cluster(self.folder, name)
            if found is not None and found.lives():
                return found
            take_down(self.folder, name)
            try:
                cluster = self._begin(name)
                _Start(cluster, self.binaries, tell).run()
            except BaseException:
                take_down(self.folder, name, keep_logs=True)
                raise
            return cluster

    def _begin(self, name: str) -> Cluster:
        """Makes the namespaces, under the lock that keeps two clusters from taking the same addresses."""
        with _locked(self.folder, ".numbers"):
            taken = {cluster.number for cluster in list_clusters(self.folder)}
            number = choose_number(taken)
            if number is None:
                raise ClusterRefused(f"{NUM_CLUSTERS} clusters are there, no more fit. To do: take one down")
            plan = NodePlan(name, Addresses(number), self.folder / name)
            for folder in (plan.folder, plan.certificates, plan.configs, plan.logs, *plan.mounts.values()):
                folder.mkdir(parents=True, exist_ok=True)
            make_cgroups(plan.cgroup)
            holder = start_holder(self.binaries["pause"], plan.logs / "pause.log")
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
                forward = _start_forward(self.binaries["forward"], plan, holder, listener)
            cluster = Cluster(name, number, plan.folder, holder, port, forward)
            state = {**asdict(cluster), "folder": str(plan.folder)}
            (plan.folder / "cluster.json").write_text(json.dumps(state, indent=2))
        cluster.programs.mkdir()
        for program, binary in (("kubectl", "kube"), ("helm", "helm")):
            (cluster.programs / program).symlink_to(self.binaries[binary])
        copy_images(self.system_images, plan.folder / "containerd")
        furnish(holder, name, plan.addresses, plan.mounts)
        return cluster


def find_cluster(folder: Path, name: str) -> Cluster | None:
    """Reads what is known of a cluster; None where there is none."""
    try:
        state = json.loads((folder / name / "cluster.json").read_text())
    except OSError:
        return None
    return Cluster(
        name=state["name"],
        number=state["number"],
        folder=Path(state["folder"]),
        holder=Holder(**state["holder"]),
        port=state["port"],
        forward=(state["forward"][0], state["forward"][1]),
    )


def list_clusters(folder: Path) -> list[Cluster]:
    """Lists all clusters, also such as are dead and not taken down."""
    found = (
        [find_cluster(folder, path.name) for path in sorted(folder.iterdir()) if path.is_dir()]
        if folder.exists()
        else []
    )
    return [cluster for cluster in found if cluster is not None]


def take_down(folder: Path, name: str, *, keep_logs: bool = False) -> None:
    """Takes a cluster down; where there is none it does nothing. Nothing is left but, on request, its logs.

    Args:
        folder: Where clusters are kept.
        name: Its name.
        keep_logs: Moves its logs to ``NAME-logs`` beside it.

    Raises:
        ClusterRefused: A process does not end.
    """
    own = folder / name
    cluster = find_cluster(folder, name)
    if cluster is not None:
        cluster.holder.end()
        pid, started = cluster.forward
        Holder(pid, started).end()
    remove_cgroups(NodePlan(name, Addresses(0), own).cgroup)
    if keep_logs and (own / "logs").exists():
        kept = folder / f"{name}-logs"
        shutil.rmtree(kept, ignore_errors=True)
        (own / "logs").rename(kept)
    if own.exists():
        shutil.rmtree(own)


class _Start:
    """The components of one node, in the order in which they need each other."""

    def __init__(self, cluster: Cluster, binaries: Mapping[str, Path], tell: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._plan = cluster.plan
        self._kube = str(binaries["kube"])
        self._binaries = binaries
        self._tell = tell
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        """Starts them all; returns when the node is ready and names resolve."""
        plan, client = self._plan, self._cluster.client
        _write_certificates(plan)
        write_kubeconfig(
            self._cluster.kubeconfig, f"https://127.0.0.1:{self._cluster.port}", plan.certificates, "admin"
        )
        for name, text in {**render_configs(plan), "audit.json": json.dumps(_AUDIT)}.items():
            path = plan.configs / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self._start("etcd", str(self._binaries["etcd"]), "-folder", "/run/etcd")
        self._start("containerd", "containerd", "-c", str(plan.configs / "containerd.toml"))
        self._start("api-server", self._kube, *list_api_server(plan))
        self._wait("the API server", client.is_up)
        for name, arguments in (
            ("controller-manager", list_controller_manager(plan)),
            ("scheduler", list_scheduler(plan)),
            ("kubelet", list_kubelet(plan)),
            ("proxy", list_proxy(plan)),
        ):
            self._start(name, self._kube, *arguments)
        kubeconfig = str(plan.configs / "policies.kubeconfig")
        self._start(
            "policies", str(self._binaries["policies"]), "-kubeconfig", kubeconfig, "-pods", plan.addresses.pods
        )
        client.apply(*_read_addons(plan))
        self._cluster.add_volumes("local", NUM_VOLUMES)
        node = f"/api/v1/nodes/{plan.name}"
        self._wait("the node", lambda: client.call("GET", node)[0] == 200)
        self._advertise_gpus(node)
        self._wait("a ready node", lambda: find_condition(client.get(node), "Ready").get("status") == "True")
        dns = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
        self._wait("names", lambda: client.get(dns).get("status", {}).get("readyReplicas"))

    def _start(self, name: str, *command: str) -> None:
        self._started[name] = self._cluster.holder.start(self._plan.logs / f"{name}.log", *command)

    def _wait(self, what: str, look: Callable[[], Any]) -> None:
        ends_at = time.monotonic() + _PATIENCE_S
        while not look():
            for name, process in self._started.items():
                if process.poll() is not None:
                    raise ClusterRefused(f"{name} ended with {process.returncode}: {self._read_end(name)}")
            if time.monotonic() > ends_at:
                raise ClusterRefused(f"{what}: not there within {_PATIENCE_S:g} s. To do: see {self._plan.name}-logs")
            time.sleep(0.05)
        self._tell(what)

    def _read_end(self, name: str) -> str:
        return (self._plan.logs / f"{name}.log").read_text(errors="replace")[-2000:]

    def _advertise_gpus(self, node: str) -> None:
        """Lets the node say that it has GPUs: an extended resource, which is all that a scheduler sees of one."""
        places = [f"/status/{kind}/nvidia.com~1gpu" for kind in ("capacity", "allocatable")]
        patch = [{"op": "add", "path": place, "value": str(NUM_GPUS)} for place in places]
        self._cluster.client.patch(f"{node}/status", patch, content_type="application/json-patch+json")


def _write_certificates(plan: NodePlan) -> None:
    keys = plan.certificates
    authority = Authority(keys, "ca")
    kubernetes = [f"kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
    authority.issue(
        "api-server",
        Subject("kube-apiserver"),
        names=[*kubernetes, "localhost", "127.0.0.1", plan.addresses.api, plan.addresses.node],
    )
    authority.issue("api-server-to-kubelet", Subject("api-server-to-kubelet"))
    node = Subject(f"system:node:{plan.name}", _NODES)
    authority.issue("kubelet-serving", node, names=[plan.name, plan.addresses.node])
    users = {
        "admin": Subject("admin", "system:masters"),
        "kubelet": node,
        "proxy": Subject("system:kube-proxy"),
        "controller-manager": Subject("system:kube-controller-manager"),
        "scheduler": Subject("system:kube-scheduler"),
        "policies": Subject("policies"),
    }
    for user, subject in users.items():
        authority.issue(user, subject)
        write_kubeconfig(plan.configs / f"{user}.kubeconfig", plan.api_url, keys, user)
    write_service_account_key(keys)


def _read_addons(plan: NodePlan) -> Sequence[Mapping[str, Any]]:
    text = Path(__file__).with_name("addons.yaml").read_text()
    return list(yaml.safe_load_all(string.Template(text).substitute(DNS=plan.addresses.dns)))


def _start_forward(program: Path, plan: NodePlan, holder: Holder, listener: socket.socket) -> tuple[int, str]:
    """Starts what carries connections from this machine's loopback into the cluster."""
    with (plan.logs / "forward.log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(program),
                "-listener-fd", str(listener.fileno()),
                "-namespace", f"/proc/{holder.pid}/ns/net",
                "-to", f"{plan.addresses.node}:6443",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=ENVIRONMENT,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )  # fmt: skip
    return process.pid, read_start_time(process.pid)


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
