"""One API server for all tests of this folder, and a pair of namespaces for each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.client import wait_until
from cluster.light import ApiServer, running_api_server
from support.builders import a_vanilla_training
from support.helm import helm  # noqa: F401 - a fixture
from support.house_support import ROOT
from support.marks import mark_tests_below
from support.operators import OPERATORS, OperatorProcess, list_writes, start_operator
from support.yaml_text import load

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TRAININGS = "/apis/splitlearning.dev/v1alpha1/namespaces/{}/splittrainings"
CHILDREN = {
    "SplitParticipation": "/apis/splitlearning.dev/v1alpha1/namespaces/{}/splitparticipations",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}
NUM_CHILDREN = 3 * 8 + 1
"""Of a Vanilla training with two clients. Per party a participation, an account, three ConfigMaps, a claim, a policy
and a Job; and the server's Service."""

_NUMBERS = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tests_below(Path(__file__).parent, items, pytest.mark.api)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running_api_server(tmp_path_factory.mktemp("api"), OPERATORS) as running:
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            running.create(CRDS, load(path.read_text()))
        for kind in ("splittrainings", "splitparticipations"):
            path = f"/apis/splitlearning.dev/v1alpha1/{kind}"
            wait_until(f"the API of {kind}", lambda path=path: running.call("GET", path)[0] == 200)
        yield running


@dataclass
class Place:
    """A namespace with trainings, one with operators, and what is in them."""

    server: ApiServer
    namespace: str
    operators: str
    started: list[OperatorProcess]

    def start(self, user: str = "operator-a", **variables: str) -> OperatorProcess:
        operator = start_operator(self.server, user, namespace=self.operators, watch=self.namespace, **variables)
        self.started.append(operator)
        return operator

    def apply_training(self, name: str = "chest-xray") -> dict[str, Any]:
        manifest = a_vanilla_training().named(name).with_value("metadata.namespace", self.namespace).as_manifest()
        return self.server.create(TRAININGS.format(self.namespace), manifest)

    def get_training(self, name: str = "chest-xray") -> dict[str, Any]:
        return dict(self.server.get(f"{TRAININGS.format(self.namespace)}/{name}"))

    def get_state(self, name: str = "chest-xray") -> str:
        conditions = self.get_training(name).get("status", {}).get("conditions", [])
        return next((each["reason"] for each in conditions if each["type"] == "Progressing"), "")

    def list_children(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Returns what the operator made here, by kind and name."""
        query = "?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dsplittraining"
        return {
            (kind, obj["metadata"]["name"]): obj
            for kind, path in CHILDREN.items()
            for obj in self.server.get(path.format(self.namespace) + query)["items"]
        }

    def wait_for_children(
        self, number: int = NUM_CHILDREN, *, patience_s: float = 60
    ) -> dict[tuple[str, str], dict[str, Any]]:
        wait_until(f"{number} children", lambda: len(self.list_children()) >= number, patience_s=patience_s)
        children = self.list_children()
        assert len(children) == number, sorted(children)
        return children

    def list_writes(self, of: str = "") -> list[str]:
        """Returns what operators wrote here, or tried to, as one line each."""
        return self.describe_writes(self.read_writes(of))

    def read_writes(self, of: str = "") -> list[dict[str, Any]]:
        """Returns the same as the audit log has it."""
        rows = list_writes(self.server, of=[of] if of else OPERATORS)
        return [row for row in rows if row["objectRef"].get("namespace") in {self.namespace, self.operators}]

    def describe_writes(self, rows: list[dict[str, Any]]) -> list[str]:
        """Returns rows of the audit log as one line each."""
        lines = []
        for row in rows:
            reference = row["objectRef"]
            resource = "/".join(reference[part] for part in ("resource", "subresource") if part in reference)
            lines.append(f"{row['verb']} {resource} {reference.get('name', '')}")
        return lines


@pytest.fixture
def place(server: ApiServer) -> Iterator[Place]:
    number = next(_NUMBERS)
    place = Place(server, f"trial-{number}", f"operators-{number}", [])
    for namespace in (place.namespace, place.operators):
        server.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    source = {"metadata": {"name": "xray-code"}, "data": {"model.py": "def build(): ...\n"}}
    server.create(f"/api/v1/namespaces/{place.namespace}/configmaps", source)
    yield place
    for operator in place.started:
        if operator.process.poll() is None:
            operator.kill()


@pytest.fixture
def wait() -> Callable[..., Any]:
    return wait_until
