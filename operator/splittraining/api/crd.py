"""The CustomResourceDefinition of SplitTraining, rendered from the models and the rules: they are the only source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from splittraining.api.resource import GROUP, KIND, VERSION
from splittraining.api.rules.change import CHANGE_RULES
from splittraining.api.rules.registry import RULES
from splittraining.api.rules.rule import ChangeRule, Rule
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.status import SplitTrainingStatus
from splittraining.api.structural_schema import Schema, build_structural_schema

SINGULAR = KIND.lower()
PLURAL = f"{SINGULAR}s"

_WIDE_ONLY = 1
"""Printed with `kubectl get -o wide` only."""


def render_crd() -> dict[str, Any]:
    """Renders the CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": ["spt"],
                "categories": ["splitlearning"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": _build_columns(),
                    "schema": {"openAPIV3Schema": build_schema()},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def build_schema() -> Schema:
    """Builds the schema of the whole object, rules included."""
    schema: Schema = {
        "description": "One split training: who takes part, what is trained, where the model is cut.",
        "type": "object",
        "properties": {
            "apiVersion": {"description": f"Group and version: {GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"Kind of the object: {KIND}.", "type": "string"},
            # The bound is Kubernetes' own; stated here, rules on the name have a bounded cost.
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": build_structural_schema(SplitTrainingSpec, defaults=True),
            "status": build_structural_schema(SplitTrainingStatus, defaults=False),
        },
        "required": ["spec"],
    }
    _add_rules(schema, [*RULES, *CHANGE_RULES])
    return schema


def find_place(schema: Schema, path: str) -> Schema:
    """Returns the part of a schema that a rule's path names.

    Raises:
        KeyError: if the schema has no such place.
    """
    for part in path.split(".") if path else ():
        schema = schema["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            schema = schema["items"]
    return schema


def _add_rules(schema: Schema, rules: Iterable[Rule | ChangeRule]) -> None:
    for rule in rules:
        validation = {"rule": rule.cel, "message": rule.message}
        if rule.field:
            validation["fieldPath"] = rule.field
        find_place(schema, rule.path).setdefault("x-kubernetes-validations", []).append(validation)


def _build_columns() -> list[dict[str, Any]]:
    return [
        _build_column("State", '.status.conditions[?(@.type=="Progressing")].reason'),
        _build_column("Topology", ".spec.topology"),
        _build_column("Parties", ".status.partiesSummary", description="Parties ready and needed"),
        _build_column("Round", ".status.roundsSummary", description="Round and rounds"),
        _build_column("Progress", ".status.progressSummary"),
        _build_column("Active", ".status.progress.activeParty", description="The client that has the turn"),
        _build_column("Age", ".metadata.creationTimestamp", kind="date"),
        _build_column("Step", ".status.progress.step", kind="integer", priority=_WIDE_ONLY),
        _build_column("Loss", '.status.metrics[?(@.name=="loss")].value', priority=_WIDE_ONLY),
        _build_column("ETA", ".status.etaSummary", priority=_WIDE_ONLY),
        _build_column("Reason", ".status.reason", description="Why it waits or failed", priority=_WIDE_ONLY),
    ]


def _build_column(
    name: str, path: str, *, kind: str = "string", description: str = "", priority: int = 0
) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if description:
        column["description"] = description
    if priority:
        column["priority"] = priority
    return column
