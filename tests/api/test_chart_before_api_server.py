"""The chart as Helm installs it into a real API server, and the operator's own process under exactly its rights."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.client import wait_until
from cluster.light import ADMIN, running_api_server
from splittraining.api.names import SELECTOR
from support.builders import a_vanilla_training
from support.helm import CHART, Helm, Refused
from support.operators import OperatorProcess, start_operator
from support.rights import WATCHES, WORKS, Right, list_own, read_call

Wait = Callable[..., Any]
RELEASE = "clinic"
ACCOUNT = f"{RELEASE}-operator"
TRAININGS = "/apis/splitlearning.dev/v1alpha1/namespaces/{}/splittrainings"
REVIEWS = "/apis/authorization.k8s.io/v1"
MERGE = "application/merge-patch+json"
WITH_A_PODS_TOKEN = {Right("get", "", "pods"), Right("get", "splitlearning.dev", "splittrainings")}
"""What the intake asks when a pod comes to its door, and none does here."""
AT_THE_END_OF_ITS_LIFE = {Right("delete", "splitlearning.dev", "splittrainings")}
NEVER_BY_ITSELF = {right for right in WORKS if right.resource.endswith("/finalizers")}
"""Looked at by an admission plugin within another call."""
_NUMBERS = itertools.count(1)


@dataclass
class Installed:
    """A release, and what runs under its account."""

    place: Any
    helm: Helm
    mode: str
    user: str
    uninvited: str

    @property
    def name(self) -> str:
        """The account as the API server knows it."""
        return f"system:serviceaccount:{self.place.operators}:{ACCOUNT}"

    def helm_here(self, *words: str, values: dict[str, Any] | None = None) -> str:
        kubeconfig = str(self.place.server.write_kubeconfig(ADMIN))
        return self.helm.run(*words, "--namespace", self.place.operators, "--kubeconfig", kubeconfig, values=values)

    def install(self) -> None:
        namespaces = {"namespaced": "watchNamespaces", "cluster": "workNamespaces"}
        values = {namespaces[self.mode]: [self.place.namespace], "crds": {"enabled": False}}
        self.helm_here("install", RELEASE, str(CHART), values=values)
        path = f"/api/v1/namespaces/{self.place.operators}/serviceaccounts/{ACCOUNT}/token"
        token = self.place.server.create(path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
        self.place.server.tokens[self.user] = token

    def start(self) -> OperatorProcess:
        operator = start_operator(
            self.place.server,
            self.user,
            namespace=self.place.operators,
            watch=self.place.namespace if self.mode == "namespaced" else "",
            SPLITTRAINING_RELEASE=RELEASE,
        )
        self.place.started.append(operator)
        return operator

    def list_calls(self) -> list[dict[str, Any]]:
        """Returns its calls, but for those in namespaces that other tests have left behind."""
        here = {None, self.place.namespace, self.place.operators}
        return [
            row
            for row in self.place.server.list_calls()
            if row["user"]["username"] == self.name and row.get("objectRef", {}).get("namespace") in here
        ]

    def may(self, right: Right, namespace: str) -> bool:
        resource, _, part = right.resource.partition("/")
        asked = {
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": part,
            "name": right.name,
        }
        body = {"spec": {"resourceAttributes": {**asked, "namespace": namespace}}}
        status, answer = self.place.server.call("POST", f"{REVIEWS}/selfsubjectaccessreviews", body, user=self.user)
        assert status == 201, answer
        return bool(answer["status"]["allowed"])

    def list_rules(self, namespace: str) -> list[dict[str, Any]]:
        """Returns what `kubectl auth can-i --list` shows of resources."""
        body = {"spec": {"namespace": namespace}}
        status, answer = self.place.server.call("POST", f"{REVIEWS}/selfsubjectrulesreviews", body, user=self.user)
        assert status == 201, answer
        return list(answer["status"]["resourceRules"])


@pytest.fixture(params=["namespaced", "cluster"])
def installed(request: pytest.FixtureRequest, place: Any, helm: Helm) -> Iterator[Installed]:
    number = next(_NUMBERS)
    installed = Installed(place, helm, request.param, f"account-{number}", f"uninvited-{number}")
    place.server.create("/api/v1/namespaces", {"metadata": {"name": installed.uninvited}})
    installed.install()
    yield installed
    installed.helm_here("uninstall", RELEASE)


def test_its_rights_suffice_for_a_trainings_life_and_hardly_one_is_idle(installed: Installed, wait: Wait) -> None:
    place = installed.place
    operator = installed.start()
    wait("a ready operator", operator.is_ready)
    place.apply_training()
    place.wait_for_children()
    wait("the state", lambda: place.get_state() == "Starting")
    wait("a question after missing pods", lambda: has_asked(installed, Right("list", "", "events")))
    path = f"{TRAININGS.format(place.namespace)}/chest-xray"
    assert place.server.call("PATCH", path, {"spec": {"suspend": True}}, content_type=MERGE)[0] == 200
    wait("no Jobs", lambda: not [kind for kind, _ in place.list_children() if kind == "Job"])
    wait("a renewal of the Lease", lambda: has_asked(installed, Right("update", "coordination.k8s.io", "leases")))
    assert operator.stop() == 0
    refused = [read_call(row) for row in installed.list_calls() if row["responseStatus"]["code"] == 403]
    assert refused == []
    used = {
        read_call(row)._replace(name="") for row in installed.list_calls() if "resource" in row.get("objectRef", {})
    }
    given = {right._replace(name="") for right in WATCHES | WORKS | list_own(RELEASE)}
    # Server-side apply that makes an object is one call, a patch, and needs the right to create as well.
    made = {right._replace(verb="create") for right in used if right.verb == "patch"}
    assert given - used - made == WITH_A_PODS_TOKEN | AT_THE_END_OF_ITS_LIFE | NEVER_BY_ITSELF


def has_asked(installed: Installed, right: Right) -> bool:
    rows = [row for row in installed.list_calls() if "resource" in row.get("objectRef", {})]
    return right in {read_call(row)._replace(name="") for row in rows}


def test_the_api_server_grants_what_the_table_says(installed: Installed) -> None:
    place = installed.place
    own = list_own(RELEASE)
    assert [right for right in WATCHES | WORKS if not installed.may(right, place.namespace)] == []
    assert [right for right in own if not installed.may(right, place.operators)] == []
    elsewhere = {right for right in WATCHES | WORKS if installed.may(right, installed.uninvited)}
    assert elsewhere == (WATCHES | (WATCHES & WORKS) if installed.mode == "cluster" else set())
    assert not [right for right in own if installed.may(right, place.namespace)]
    assert not [right for right in own if installed.may(right, installed.uninvited)]


def test_it_cannot_read_another_secret_nor_write_its_own_anew_nor_enter_a_pod(installed: Installed) -> None:
    here = installed.place.operators
    for verb in ("list", "watch", "update", "patch", "delete", "deletecollection"):
        assert not installed.may(Right(verb, "", "secrets", f"{RELEASE}-ca"), here)
    assert not installed.may(Right("get", "", "secrets", "somebody-elses"), here)
    for namespace in (here, installed.place.namespace, installed.uninvited, "kube-system"):
        for part in ("exec", "attach", "portforward", "log"):
            assert not installed.may(Right("create", "", f"pods/{part}"), namespace)
            assert not installed.may(Right("get", "", f"pods/{part}"), namespace)
        assert not installed.may(Right("create", "", "pods"), namespace)
        assert not installed.may(Right("create", "", "serviceaccounts/token"), namespace)
        assert not installed.may(Right("create", "rbac.authorization.k8s.io", "rolebindings"), namespace)


def test_the_list_of_its_rights_has_no_wildcard_no_secret_and_no_exec(installed: Installed) -> None:
    for namespace in (installed.place.namespace, installed.place.operators, installed.uninvited, "kube-system"):
        rules = installed.list_rules(namespace)
        assert any("selfsubjectrulesreviews" in rule["resources"] for rule in rules), "of every account"
        for rule in rules:
            texts = [*rule["verbs"], *rule.get("apiGroups", ()), *rule["resources"], *rule.get("resourceNames", ())]
            assert "*" not in "".join(texts)
            assert not any(text.startswith("pods/") for text in rule["resources"])
        of_secrets = [(rule["verbs"], rule.get("resourceNames")) for rule in rules if "secrets" in rule["resources"]]
        own = [(["create"], None), (["get"], [f"{RELEASE}-ca"])]
        assert sorted(of_secrets, key=str) == (sorted(own, key=str) if namespace == installed.place.operators else [])


@pytest.mark.parametrize("installed", ["cluster"], indirect=True)
def test_a_namespace_that_has_not_invited_it_gets_nothing_and_is_told_so(installed: Installed, wait: Wait) -> None:
    server, elsewhere = installed.place.server, installed.uninvited
    source = {"metadata": {"name": "xray-code"}, "data": {"model.py": "def build(): ...\n"}}
    server.create(f"/api/v1/namespaces/{elsewhere}/configmaps", source)
    operator = installed.start()
    wait("a leader", operator.is_leading)
    manifest = a_vanilla_training().named("chest-xray").with_value("metadata.namespace", elsewhere).as_manifest()
    server.create(TRAININGS.format(elsewhere), manifest)
    path = f"{TRAININGS.format(elsewhere)}/chest-xray"
    wait("the refusal", lambda: "does not let the operator in" in str(server.get(path).get("status")))
    query = "?labelSelector=" + SELECTOR.replace("/", "%2F").replace("=", "%3D")
    for kind in ("jobs", "cronjobs"):
        assert server.get(f"/apis/batch/v1/namespaces/{elsewhere}/{kind}{query}")["items"] == []
    # The invitation as the notes of the installation show it.
    binding = {
        "metadata": {"name": f"{RELEASE}-workloads"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{RELEASE}-workloads"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": installed.place.operators}],
    }
    server.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{elsewhere}/rolebindings", binding)
    wait("Jobs", lambda: len(server.get(f"/apis/batch/v1/namespaces/{elsewhere}/jobs{query}")["items"]) == 3)


def test_a_pod_of_the_deployment_is_let_into_a_restricted_namespace(installed: Installed) -> None:
    server, place = installed.place.server, installed.place
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    assert server.call("PATCH", f"/api/v1/namespaces/{place.operators}", label, content_type=MERGE)[0] == 200
    path = f"/apis/apps/v1/namespaces/{place.operators}/deployments/{RELEASE}-operator"
    template = server.get(path)["spec"]["template"]
    pod = {"metadata": {"name": "trial", "labels": template["metadata"]["labels"]}, "spec": template["spec"]}
    pods = f"/api/v1/namespaces/{place.operators}/pods?dryRun=All&fieldValidation=Strict"
    status, answer = server.call("POST", pods, pod)
    assert status == 201, answer
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    assert server.call("POST", pods, pod)[0] == 403


def test_a_release_comes_is_upgraded_rolled_back_and_goes_and_leaves_what_it_says(
    helm: Helm, tmp_path_factory: pytest.TempPathFactory
) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    with running_api_server(tmp_path_factory.mktemp("api")) as server:
        kubeconfig = ("--namespace", "ops", "--kubeconfig", str(server.write_kubeconfig(ADMIN)))
        server.create("/api/v1/namespaces", {"metadata": {"name": "trial"}})
        before = list_everything(server)
        helm.run("install", RELEASE, str(CHART), "--create-namespace", *kubeconfig)
        for name in ("splittrainings", "splitparticipations"):
            path = f"/apis/splitlearning.dev/v1alpha1/{name}"
            wait_until(f"the API of {name}", lambda path=path: server.call("GET", path)[0] == 200)
        installed = list_everything(server)
        manifest = a_vanilla_training().named("kept").with_value("metadata.namespace", "trial").as_manifest()
        uid = server.create(TRAININGS.format("trial"), manifest)["metadata"]["uid"]
        helm.run("upgrade", RELEASE, str(CHART), *kubeconfig)
        assert list_everything(server) == installed
        helm.run("upgrade", RELEASE, str(CHART), *kubeconfig, values={"watchNamespaces": ["trial"]})
        namespaced = list_everything(server)
        assert not [name for name in namespaced if name.startswith("clusterroles/clinic")]
        assert f"roles/trial/{RELEASE}-trainings" in namespaced
        helm.run("rollback", RELEASE, "1", *kubeconfig)
        assert list_everything(server) == installed
        helm.run("uninstall", RELEASE, *kubeconfig)
        assert list_everything(server) == before
        kept = {item["metadata"]["name"] for item in server.get(crds)["items"]}
        assert kept == {"splittrainings.splitlearning.dev", "splitparticipations.splitlearning.dev"}
        assert server.get(f"{TRAININGS.format('trial')}/kept")["metadata"]["uid"] == uid
        helm.run("install", RELEASE, str(CHART), *kubeconfig)  # finds the definitions that it has kept
        with pytest.raises(Refused, match="cannot be imported into the current release"):
            helm.run("install", "another", str(CHART), *kubeconfig)
        helm.run("upgrade", RELEASE, str(CHART), *kubeconfig, values={"crds": {"keep": False}})
        helm.run("uninstall", RELEASE, *kubeconfig)
        wait_until("no definition", lambda: server.get(crds)["items"] == [])


def test_an_upgrade_brings_newer_definitions_and_a_rollback_the_older_ones(
    helm: Helm, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    older = shutil.copytree(CHART, tmp_path / "older")
    crd = older / "files" / "crds" / "splitlearning.dev_splittrainings.yaml"
    crd.write_text(crd.read_text().replace("    shortNames:\n    - spt\n", ""))
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/splittrainings.splitlearning.dev"
    with running_api_server(tmp_path_factory.mktemp("api")) as server:
        kubeconfig = ("--namespace", "ops", "--kubeconfig", str(server.write_kubeconfig(ADMIN)))

        def get_short_names() -> list[str] | None:
            return server.get(path)["spec"]["names"].get("shortNames")

        helm.run("install", RELEASE, str(older), "--create-namespace", *kubeconfig)
        assert get_short_names() is None
        helm.run("upgrade", RELEASE, str(CHART), *kubeconfig)
        assert get_short_names() == ["spt"]
        helm.run("rollback", RELEASE, "1", *kubeconfig)
        assert get_short_names() is None


def list_everything(server: Any) -> list[str]:
    """Lists what a release is made of, wherever it is, but for the definitions."""
    paths = {
        "deployments": "/apis/apps/v1",
        "services": "/api/v1",
        "serviceaccounts": "/api/v1",
        "poddisruptionbudgets": "/apis/policy/v1",
        "networkpolicies": "/apis/networking.k8s.io/v1",
        **dict.fromkeys(
            ("roles", "rolebindings", "clusterroles", "clusterrolebindings"), "/apis/rbac.authorization.k8s.io/v1"
        ),
    }
    return sorted(
        "/".join([plural, *(item["metadata"].get(part) for part in ("namespace", "name") if part in item["metadata"])])
        for plural, path in paths.items()
        for item in server.get(f"{path}/{plural}")["items"]
        # The API server makes things of its own there, some of them a moment after it is ready.
        if item["metadata"].get("namespace") not in {"kube-system", "default"}
    )
