"""The chart's values: what is allowed, what is refused, and that the README tells of all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from splittraining.controller.settings import LOG_LEVELS
from support.helm import CHART, Helm, Refused

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
FREE = {"nodeSelector", "podAnnotations", "serviceAccount.annotations", "serviceMonitor.labels", "resources"}
FREE |= {"dns.podLabels"}
"""Mappings whose keys are the user's own; in the table they are one value."""


def iterate_values(node: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        below = f"{place}{name}"
        if isinstance(value, dict) and below not in FREE:
            yield from iterate_values(value, f"{below}.")
        else:
            yield below, value


def iterate_objects(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every schema of an object with known keys."""
    if "properties" in schema:
        yield place or "the root", schema
    for name, below in schema.get("properties", {}).items():
        yield from iterate_objects(below, f"{place}.{name}".strip("."))
    if "items" in schema:
        yield from iterate_objects(schema["items"], f"{place}[]")


def build_nested(place: str, value: Any) -> dict[str, Any]:
    for name in reversed(place.split(".")):
        value = {name: value}
    return dict(value)


def test_the_schema_knows_every_value_and_no_other() -> None:
    def names(node: Any, schema: dict[str, Any], place: str = "") -> None:
        known = set(schema.get("properties", {})) - {"global"}
        if not known or place in FREE or not isinstance(node, dict):
            return
        assert set(node) == known, place
        for name in known:
            names(node[name], schema["properties"][name], f"{place}.{name}".strip("."))

    names(VALUES, SCHEMA)


@pytest.mark.parametrize("place", [place for place, _ in iterate_objects(SCHEMA)])
def test_no_object_of_the_schema_takes_an_unknown_key(place: str) -> None:
    assert dict(iterate_objects(SCHEMA))[place]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param({"replica": 2}, "replica", id="a typo"),
        pytest.param({"image": {"tags": "1"}}, "tags", id="a typo one deep"),
        pytest.param({"networkPolicy": {"apiServer": {"port": [6443]}}}, "port", id="a typo two deep"),
        pytest.param({"tolerations": [{"keys": "x"}]}, "keys", id="a typo in a list"),
        pytest.param({"image": {"tag": "latest"}}, "/image/tag", id="latest"),
        pytest.param({"partyImage": {"tag": "latest"}}, "/partyImage/tag", id="latest of the parties"),
        pytest.param({"image": {"repository": "operator:latest"}}, "/image/repository", id="a tag in the repository"),
        pytest.param({"image": {"repository": ""}}, "/image/repository", id="no image"),
        pytest.param({"image": {"digest": "sha256:123"}}, "/image/digest", id="a short digest"),
        pytest.param({"replicas": 0}, "/replicas", id="no replica"),
        pytest.param({"replicas": "2"}, "/replicas", id="a number as text"),
        pytest.param({"watchNamespaces": "trial"}, "/watchNamespaces", id="text for a list"),
        pytest.param({"watchNamespaces": ["a,b"]}, "/watchNamespaces", id="two names in one"),
        pytest.param({"watchNamespaces": ["a", "a"]}, "/watchNamespaces", id="a name twice"),
        pytest.param({"workNamespaces": ["Trial"]}, "/workNamespaces", id="no name of a namespace"),
        pytest.param({"logLevel": "trace"}, "/logLevel", id="a level that is none"),
        pytest.param({"ports": {"intake": 70000}}, "/ports/intake", id="no port"),
        pytest.param({"isolationProbe": "10.0.0.1"}, "/isolationProbe", id="an address without a port"),
        pytest.param({"trustDomain": "Cluster_local"}, "/trustDomain", id="no trust domain"),
        pytest.param({"resources": {"limits": {"memory": "lots"}}}, "/resources", id="no quantity"),
        pytest.param({"terminationGracePeriodSeconds": 5}, "/terminationGrace", id="no time to stop"),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_name(helm: Helm, values: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused, match="values don't meet the specifications") as refused:
        helm.render(values)
    assert named in str(refused.value)


def test_the_two_modes_do_not_mix(helm: Helm) -> None:
    with pytest.raises(Refused, match="workNamespaces belongs to cluster mode"):
        helm.render({"watchNamespaces": ["a"], "workNamespaces": ["b"]})


def test_one_port_for_two_doors_is_refused(helm: Helm) -> None:
    with pytest.raises(Refused, match="ports are all different"):
        helm.render({"ports": {"metrics": 8081}})


def test_levels_are_those_of_the_operator() -> None:
    assert tuple(SCHEMA["properties"]["logLevel"]["enum"]) == LOG_LEVELS


def test_what_a_parent_chart_passes_down_is_no_typo(helm: Helm) -> None:
    assert helm.render({"global": {"anything": 1}}) == helm.render()


def test_every_value_has_a_comment_or_speaks_for_itself() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    self_evident = {
        "image",
        "ports",
        "serviceAccount",
        "rbac",
        "podDisruptionBudget",
        "crds",
        "networkPolicy",
        "serviceMonitor",
    }
    self_evident |= {"priorityClassName", "nodeSelector", "tolerations", "podAnnotations"}
    for number, line in enumerate(lines):
        key = re.match(r"([a-zA-Z]+):", line)
        if key and key[1] not in self_evident:
            assert lines[number - 1].startswith("# "), key[1]


def test_the_readme_has_a_row_for_each_value_with_its_default() -> None:
    text = (CHART / "README.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| (.+) \|$", text, re.MULTILINE)
    told = [(name, json.loads(default)) for name, default, _ in rows]
    assert told == list(iterate_values(VALUES))
    assert all(sentence for _, _, sentence in rows)


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["trial"]}, {"workNamespaces": ["trial"]}])
def test_the_notes_say_what_to_type_next(helm: Helm, values: dict[str, Any]) -> None:
    words = ("install", "splittraining", str(CHART), "--namespace", "ops", "--dry-run=client")
    notes = helm.run(*words, values=values).split("NOTES:")[1]
    assert "kubectl --namespace ops rollout status deployment/splittraining-operator" in notes
    assert ("kubectl --namespace trial apply -f training.yaml" in notes) == bool(values)
    assert ("create rolebinding splittraining-workloads" in notes) == ("watchNamespaces" not in values)
    assert "--serviceaccount=ops:splittraining-operator" in notes or "watchNamespaces" in values
    assert "delete secret/splittraining-ca lease/splittraining-controller endpointslice/splittraining-reports" in notes
