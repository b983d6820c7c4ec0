"""The operator in a real cluster, as its users have it: images loaded, chart installed, commands on the PATH."""

from __future__ import annotations

import functools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.client import Client, find_condition, wait_until
from cluster.kind import KindCluster
from cluster.node import Cluster
from splittraining.cli.main import main
from support.house_support import ROOT

SYSTEM = "splittraining-system"
RELEASE = "splittraining"
CHART = ROOT / "helm" / "splittraining"
IMAGES = ROOT / "build" / "images"
GROUP = "/apis/splitlearning.dev/v1alpha1"
NUM_VOLUMES = 9
"""For each namespace: three trainings of three parties."""
FOR_A_WHILE = 5000
"""Rounds: more than any test waits for."""
_PREFIX = "trial-"
_HELM_PATIENCE = "180s"


@dataclass(frozen=True)
class Installation:
    """An installed operator.

    Attributes:
        cluster: Where it runs.
        operator_image: Its own image.
        party_image: What parties run.
    """

    cluster: Cluster | KindCluster
    operator_image: str
    party_image: str

    @property
    def client(self) -> Client:
        """A client with an administrator's rights."""
        return self.cluster.client

    @property
    def environment(self) -> dict[str, str]:
        """The environment of people's commands."""
        programs = f"{self.cluster.programs}:" if isinstance(self.cluster, Cluster) else ""
        path = f"{programs}{Path(sys.executable).parent}:{os.environ['PATH']}"
        home = {"HELM_CACHE_HOME": "/nonexistent", "HELM_CONFIG_HOME": "/nonexistent"}
        return {**os.environ, **home, "KUBECONFIG": str(self.cluster.kubeconfig), "PATH": path}

    def run(self, *command: str, check: bool = True, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Runs a command as its user types it."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def install(self, chart: Path = CHART, **values: str) -> None:
        """Installs the operator, or upgrades it."""
        repositories = {"image": self.operator_image, "partyImage": self.party_image}
        settings = {
            f"{key}.{part}": word
            for key, image in repositories.items()
            for part, word in zip(("repository", "tag"), image.split(":"), strict=True)
        } | values
        given = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        self.run(
            "helm", "upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM, "--create-namespace",
            "--wait", "--timeout", _HELM_PATIENCE, *given,
        )  # fmt: skip

    def wait_for_empty(self) -> None:
        """Waits until no namespace of a test is left."""

        def list_left() -> list[str]:
            names = [each["metadata"]["name"] for each in self.client.list("/api/v1/namespaces")]
            return [name for name in names if name.startswith(_PREFIX)]

        wait_until("no namespace of a test left", lambda: not list_left())

    def make_room(self) -> Room:
        """Makes a namespace of a new name with volumes enough for a few trainings."""
        namespace = f"{_PREFIX}{secrets.token_hex(4)}"
        self.cluster.add_volumes(namespace, NUM_VOLUMES)
        return self.invite(namespace)

    def invite(self, namespace: str, *, enforce: str = "restricted") -> Room:
        """Makes a namespace that lets the operator work in it."""
        labels = {"pod-security.kubernetes.io/enforce": enforce}
        self.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
        self.run(
            "kubectl", "--namespace", namespace, "create", "rolebinding", f"{RELEASE}-workloads",
            f"--clusterrole={RELEASE}-workloads", f"--serviceaccount={SYSTEM}:{RELEASE}-operator",
        )  # fmt: skip
        return Room(self, namespace)


@dataclass(frozen=True)
class Room:
    """A namespace with trainings."""

    installation: Installation
    namespace: str

    @property
    def client(self) -> Client:
        """A client with an administrator's rights."""
        return self.installation.client

    def path(self, plural: str, name: str = "", *, group: str = GROUP) -> str:
        """Returns a path in this namespace."""
        return f"{group}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def kubectl(self, *words: str, check: bool = True) -> str:
        """Runs kubectl in this namespace and returns what it printed."""
        # kubectl takes no flag before the name of a plugin.
        plugin = words[:1] if words[0] == "splittraining" else ()
        command = ["kubectl", *plugin, *words[len(plugin) :][:1], "--namespace", self.namespace]
        return self.installation.run(*command, *words[len(plugin) + 1 :], check=check).stdout

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Applies objects here."""
        for manifest in manifests:
            self.client.apply({**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}})

    def offer(self, claims: Mapping[str, Path]) -> None:
        """Makes claims whose volumes hold folders' files."""
        for claim, folder in claims.items():
            self.installation.cluster.offer_volume(self.namespace, claim, folder)

    def get(self, name: str) -> dict[str, Any]:
        """Returns a training, empty where there is none."""
        return self.client.find(self.path("splittrainings", name)) or {}

    def wait_for(
        self, name: str, what: str, look: Callable[[dict[str, Any]], object], *, patience_s: float = 120
    ) -> dict[str, Any]:
        """Waits until a training is seen to be so; returns it. What it says instead is told where that is in vain."""
        try:
            wait_until(what, lambda: look(self.get(name)), patience_s=patience_s)
        except AssertionError as error:
            status = json.dumps(self.get(name).get("status"), indent=1)
            raise AssertionError(f"{error}\n{status}\n{self.tell_pods()}") from error
        return self.get(name)

    def wait_for_state(self, name: str, *states: str, patience_s: float = 120) -> dict[str, Any]:
        """Waits until a training's state is one of some."""
        return self.wait_for(name, f"{name} {states}", lambda seen: get_state(seen) in states, patience_s=patience_s)

    def list_pods(self, *, party: str = "") -> list[dict[str, Any]]:
        """Lists all pods here, or a party's: those of a Job, since others bear its labels to try what that opens."""
        pods = self.client.list(self.path("pods", group="/api/v1"))
        return [pod for pod in pods if not party or _is_of(party, pod["metadata"].get("labels", {}))]

    def tell_pods(self) -> str:
        """Tells what the pods are up to, for a failure's message."""
        told = self.installation.run("kubectl", "-n", self.namespace, "get", "pods", "-o", "wide", check=False).stdout
        for pod in self.list_pods():
            name = pod["metadata"]["name"]
            told += f"\n== {name}\n"
            told += self.installation.run(
                "kubectl", "-n", self.namespace, "logs", "--tail=20", name, check=False
            ).stdout
        return told

    def run_pod(self, name: str, script: str, *words: str, labels: Mapping[str, str] | None = None) -> str:
        """Runs a Python script in a pod of this namespace; returns what it printed, also where it failed."""
        container = {
            "name": "script",
            "image": self.installation.party_image,
            "command": ["python3", "-c", script, *words],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        }
        metadata = {"name": name, "labels": dict(labels or {})}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        path = self.path("pods", name, group="/api/v1")
        wait_until(f"pod {name} over", lambda: self.client.get(path)["status"].get("phase") in {"Succeeded", "Failed"})
        printed = self.kubectl("logs", name)
        self.client.delete(path)
        return printed

    def leave(self) -> None:
        """Deletes the namespace and waits for nothing: `Installation.wait_for_empty` sees that none stays."""
        self.client.delete(f"/api/v1/namespaces/{self.namespace}")

    def remove(self, *, patience_s: float = 60) -> None:
        """Deletes the namespace; returns when it is gone."""
        self.leave()
        path = f"/api/v1/namespaces/{self.namespace}"
        wait_until(f"{self.namespace} gone", lambda: self.client.find(path) is None, patience_s=patience_s)


def _is_of(party: str, labels: Mapping[str, str]) -> bool:
    return labels.get("splitlearning.dev/party") == party and "batch.kubernetes.io/job-name" in labels


def get_state(training: Mapping[str, Any]) -> str:
    """Returns the state that a training shows."""
    return str(find_condition(training, "Progressing").get("reason", ""))


def run_cluster(command: str, name: str, form: str = "node", *words: str) -> str:
    """Runs a command of the test cluster in a process of its own: a cluster is nobody's child."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'images'}"}
    arguments = [sys.executable, "-m", "cluster", command, "--name", name, "--form", form, *words]
    return subprocess.run(arguments, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def list_archives() -> list[str]:
    """Lists the images that every installation needs."""
    return [str(IMAGES / f"{name}.tar") for name in ("operator", "party-cpu-test")]


def read_images() -> tuple[str, str]:
    """Returns the references of the operator's image and of the party's, as they were built."""
    operator, party = (json.loads((IMAGES / f"{name}.json").read_text()) for name in ("operator", "party-cpu-test"))
    return operator["reference"], party["reference"]


def read_example(folder: Path) -> list[dict[str, Any]]:
    """Reads an example's documents."""
    return list(yaml.safe_load_all((folder / "training.yaml").read_text()))


@functools.cache
def make_data(folder: Path) -> dict[str, Path]:
    """Makes an example's data, once for this process, in a place of its own; returns its claims with their folders."""
    place = ROOT / "build" / "data" / os.environ.get("PYTEST_XDIST_WORKER", "main") / folder.name
    subprocess.run([sys.executable, str(folder / "make_data.py"), str(place)], check=True, capture_output=True)
    return {path.name: path for path in sorted(place.iterdir())}


@dataclass(frozen=True)
class Hospitals:
    """Example 01, ready to be changed and applied: two hospitals in turns.

    Attributes:
        training: The resource.
        others: What it needs beside it: the model's source.
        claims: By claim, the folder with its data.
    """

    training: dict[str, Any]
    others: tuple[dict[str, Any], ...]
    claims: Mapping[str, Path]

    @property
    def name(self) -> str:
        """Returns the training's name."""
        return str(self.training["metadata"]["name"])

    @property
    def spec(self) -> dict[str, Any]:
        """Returns its spec, to be changed before it is applied."""
        spec: dict[str, Any] = self.training["spec"]
        return spec

    def client(self, name: str) -> dict[str, Any]:
        """Returns a client of it."""
        return next(client for client in self.spec["clients"] if client["name"] == name)

    def keep_only(self, name: str) -> None:
        """Leaves one client beside the server: where one will do, a third of the processes is spared."""
        self.spec["clients"] = [self.client(name)]

    def lay_out(self, room: Room) -> None:
        """Puts everything but the training into a namespace."""
        room.offer(self.claims)
        room.apply(*self.others)

    def begin(self, room: Room) -> None:
        """Puts all of it into a namespace."""
        self.lay_out(room)
        room.apply(self.training)


def is_training(seen: dict[str, Any]) -> bool:
    """Tells whether a training has done a step."""
    return get_state(seen) == "Running" and bool(seen["status"].get("progress", {}).get("step"))


LEISURELY_LOSS = """
import time

import torch.nn.functional as F


def compute_loss(output, label):
    time.sleep(0.1)
    return F.cross_entropy(output, label)
"""
"""Leaves the machine to others: the loss of a training that a test only looks at."""


def make_lasting(documents: Iterable[dict[str, Any]], *, rounds: int = FOR_A_WHILE) -> None:
    """Lets an example go on for longer than any test looks at it, without keeping the machine busy."""
    for document in documents:
        if document["kind"] == "SplitTraining":
            document["spec"]["rounds"] = rounds
            document["spec"]["training"]["loss"] = {"entrypoint": "leisurely:compute_loss"}
            document["spec"]["training"]["evaluation"].pop("metrics")  # they are known for losses by name only
        else:
            document["data"]["leisurely.py"] = LEISURELY_LOSS


def read_leisurely_hospitals(*, rounds: int = FOR_A_WHILE) -> Hospitals:
    """Reads example 01 with one hospital and a loss that waits: a round takes about five seconds."""
    hospitals = read_hospitals()
    hospitals.keep_only("st-mary")
    make_lasting([hospitals.training, *hospitals.others], rounds=rounds)
    return hospitals


def begin_lasting(*rooms: Room) -> dict[str, Any]:
    """Begins a training in each namespace that no test has the patience to see the end of.

    Returns:
        That of the first one, when all have done a step.
    """
    hospitals = read_leisurely_hospitals()
    for room in rooms:
        hospitals.begin(room)
    for room in rooms:
        room.wait_for(hospitals.name, "a trained step", is_training)
    return rooms[0].get(hospitals.name)


def read_hospitals(*, rounds: int | None = None) -> Hospitals:
    """Reads example 01.

    Args:
        rounds: How long it is to go on; a round takes less than a second. Absent means as long as the example says.
    """
    folder = ROOT / "examples" / "01-vanilla-two-hospitals"
    documents = read_example(folder)
    training = next(document for document in documents if document["kind"] == "SplitTraining")
    training["spec"]["rounds"] = rounds or training["spec"]["rounds"]
    others = tuple(document for document in documents if document is not training)
    return Hospitals(training, others, make_data(folder))


SEGMENTS = Path("result") / "segments.safetensors"


def begin_alike(documents: list[dict[str, Any]]) -> str:
    """Lets the first weights come from the manifest's seed; returns the training's name.

    As the examples are written they come from a secret that the clients make anew in every run.
    """
    training = next(document for document in documents if document["kind"] == "SplitTraining")
    training["spec"]["model"]["initialization"] = "Shared"
    return str(training["metadata"]["name"])


def run_here(folder: Path, documents: list[dict[str, Any]], claims: Mapping[str, Path]) -> None:
    """Runs a training on this machine, into the folder `here`."""
    manifest = folder / "training.yaml"
    manifest.write_text(yaml.safe_dump_all(documents))
    volumes = [word for claim, data in claims.items() for word in ("--volume", f"{claim}={data}")]
    assert main(["run", "-f", str(manifest), "--runs", str(folder / "here"), *volumes]) == 0


def compare_results(room: Room, training: Mapping[str, Any], folder: Path) -> None:
    """Fetches what every party of a training learnt, and compares it with the run that `run_here` left in a folder."""
    name = training["metadata"]["name"]
    parties = [each["name"] for each in training["status"]["parties"]]

    def fetch(party: str) -> bytes:
        output = folder / "there" / party
        room.kubectl("splittraining", "fetch", name, party, "-o", str(output))
        return (output / SEGMENTS).read_bytes()

    with ThreadPoolExecutor() as pool:
        fetched = dict(zip(parties, pool.map(fetch, parties), strict=True))
    for party, segments in fetched.items():
        assert segments == (folder / "here" / name / party / SEGMENTS).read_bytes(), party
