"""The rules of the chart are the calls of the operator, spelled out: all of them, nothing more, nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from splittraining.cluster.resources import BY_KIND, CONFIG_MAP
from support.helm import NAMESPACE, RELEASE, Helm, Rendered
from support.house_support import ROOT
from support.rights import APPLIED, WATCHES, WORKS, Right, list_own, list_rights
from support.yaml_text import load_all

ACCOUNT = {"kind": "ServiceAccount", "name": f"{RELEASE}-operator", "namespace": NAMESPACE}
INVITED = ["st-mary", "st-luke"]
NAMESPACED, CLUSTER = {"watchNamespaces": INVITED}, {"workNamespaces": INVITED}
MODES = pytest.mark.parametrize("values", [{}, NAMESPACED, CLUSTER], ids=["as it comes", "namespaced", "cluster"])


def find_grants(rendered: Rendered) -> dict[str, set[Right]]:
    """Returns what the operator's account may do, by namespace; "" is everywhere."""
    roles = {
        (role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]): role["rules"]
        for role in [*rendered.of("Role"), *rendered.of("ClusterRole")]
    }
    grants: dict[str, set[Right]] = {}
    for binding in [*rendered.of("RoleBinding"), *rendered.of("ClusterRoleBinding")]:
        assert binding["subjects"] == [ACCOUNT]
        namespace, reference = binding["metadata"].get("namespace", ""), binding["roleRef"]
        of = namespace if reference["kind"] == "Role" else ""
        grants.setdefault(namespace, set()).update(list_rights(roles[reference["kind"], of, reference["name"]]))
    return grants


def list_objects_of_trainings() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in (ROOT / "tests" / "golden").glob("objects-of-*/output.yaml"):
        found += load_all(path.read_text())
    return found


def test_the_table_names_every_kind_that_a_party_is_made_of() -> None:
    objects = list_objects_of_trainings()
    assert {BY_KIND[item["kind"]] for item in objects} == set(APPLIED)
    assert CONFIG_MAP in APPLIED
    owners = {owner["kind"] for item in objects for owner in item["metadata"].get("ownerReferences", ())}
    finalizers = {right.resource.removesuffix("/finalizers") for right in WORKS if "/finalizers" in right.resource}
    assert {BY_KIND[kind].plural for kind in owners} == finalizers


def test_as_it_comes_the_operator_sees_everything_and_works_nowhere(helm: Helm) -> None:
    assert find_grants(helm.render()) == {"": WATCHES, NAMESPACE: list_own(RELEASE)}


def test_in_cluster_mode_it_works_where_it_was_invited(helm: Helm) -> None:
    grants = find_grants(helm.render(CLUSTER))
    assert grants == {"": WATCHES, NAMESPACE: list_own(RELEASE), **dict.fromkeys(INVITED, WORKS)}


def test_in_namespaced_mode_it_sees_no_other_namespace(helm: Helm) -> None:
    rendered = helm.render(NAMESPACED)
    assert find_grants(rendered) == {NAMESPACE: list_own(RELEASE), **dict.fromkeys(INVITED, WATCHES | WORKS)}
    assert not [*rendered.of("ClusterRole"), *rendered.of("ClusterRoleBinding")]


def test_its_own_namespace_may_hold_trainings_too(helm: Helm) -> None:
    grants = find_grants(helm.render({"watchNamespaces": [NAMESPACE]}))
    assert grants == {NAMESPACE: list_own(RELEASE) | WATCHES | WORKS}


@MODES
def test_no_rule_has_a_wildcard_a_foreign_secret_or_a_way_into_a_pod(helm: Helm, values: dict[str, Any]) -> None:
    for role, rule in helm.render(values).iterate_rules():
        assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
        assert "*" not in "".join(text for texts in rule.values() for text in texts)
        assert not {"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"} & set(rule["resources"])
        assert not {"bind", "escalate", "impersonate", "deletecollection"} & set(rule["verbs"])
        assert rule["apiGroups"] != ["rbac.authorization.k8s.io"]
        if "secrets" in rule["resources"]:
            assert (role["kind"], role["metadata"]["namespace"]) == ("Role", NAMESPACE)
            assert rule["verbs"] == ["create"] or rule["resourceNames"] == [f"{RELEASE}-ca"]


@MODES
def test_nothing_is_bound_that_the_chart_did_not_make(helm: Helm, values: dict[str, Any]) -> None:
    rendered = helm.render(values)
    made = {(role["kind"], role["metadata"]["name"]) for role in [*rendered.of("Role"), *rendered.of("ClusterRole")]}
    bound = {
        (binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for binding in [*rendered.of("RoleBinding"), *rendered.of("ClusterRoleBinding")]
    }
    assert bound <= made
    unbound = {("ClusterRole", f"{RELEASE}-workloads")}
    assert made - bound == (unbound if values == {} else set())


def test_another_account_is_bound_where_values_name_one(helm: Helm) -> None:
    rendered = helm.render({"serviceAccount": {"create": False, "name": "somebody"}, **CLUSTER})
    bindings = [*rendered.of("RoleBinding"), *rendered.of("ClusterRoleBinding")]
    assert {binding["subjects"][0]["name"] for binding in bindings} == {"somebody"}
    assert rendered.pod["serviceAccountName"] == "somebody"


def test_the_account_gives_no_token_to_whoever_does_not_ask(helm: Helm) -> None:
    rendered = helm.render()
    assert rendered.the("ServiceAccount")["automountServiceAccountToken"] is False
    assert rendered.pod["automountServiceAccountToken"] is True
