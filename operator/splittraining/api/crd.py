"""CustomResourceDefinitions, rendered from the models and the rules: they are the only source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from splittraining.api.resource import GROUP, KIND, VERSION
from splittraining.api.rules.change import CHANGE_RULES
from splittraining.api.rules.registry import RULES
from splittraining.api.rules.rule import ChangeRule, Rule
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.status import SplitTrainingStatus
from splittraining.api.structural_schema import Schema, build_structural_schema

_WIDE_ONLY = 1
"""Printed with `kubectl get -o wide` only."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a CustomResourceDefinition says beside its schema."""

    kind: str
    short_name: str
    columns: tuple[dict[str, Any], ...]

    def render(self, schema: Schema) -> dict[str, Any]:
        """Renders the whole definition."""
        singular = self.kind.lower()
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{singular}s.{GROUP}"},
            "spec": {
                "group": GROUP,
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": f"{singular}s",
                    "singular": singular,
                    "shortNames": [self.short_name],
                    "categories": ["splitlearning"],
                },
                "scope": "Namespaced",
                "versions": [
                    {
                        "name": VERSION,
                        "served": True,
                        "storage": True,
                        "additionalPrinterColumns": list(self.columns),
                        "schema": {"openAPIV3Schema": schema},
                        "subresources": {"status": {}},
                    }
                ],
            },
        }


def render_crd() -> dict[str, Any]:
    """Renders the CustomResourceDefinition of SplitTraining."""
    return Definition(KIND, "spt", tuple(_build_columns())).render(build_schema())


def build_object_schema(kind: str, description: str, spec: type[BaseModel], status: type[BaseModel]) -> Schema:
    """Builds the schema of a whole object without its rules."""
    return {
        "description": description,
        "type": "object",
        "properties": {
            "apiVersion": {"description": f"Group and version: {GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"Kind of the object: {kind}.", "type": "string"},
            # The bound is Kubernetes' own; stated here, rules on the name have a bounded cost.
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": build_structural_schema(spec, defaults=True),
            "status": build_structural_schema(status, defaults=False),
        },
        "required": ["spec"],
    }


def build_schema() -> Schema:
    """Builds the schema of a whole SplitTraining, rules included."""
    description = "One split training: who takes part, what is trained, where the model is cut."
    schema = build_object_schema(KIND, description, SplitTrainingSpec, SplitTrainingStatus)
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
        build_column("State", '.status.conditions[?(@.type=="Progressing")].reason'),
        build_column("Topology", ".spec.topology"),
        build_column("Parties", ".status.partiesSummary", description="Parties ready and needed"),
        build_column("Round", ".status.roundsSummary", description="Round and rounds"),
        build_column("Progress", ".status.progressSummary"),
        build_column("Active", ".status.progress.activeParty", description="The client that has the turn"),
        build_column("Age", ".metadata.creationTimestamp", kind="date"),
        build_column("Step", ".status.progress.step", kind="integer", priority=_WIDE_ONLY),
        build_column("Loss", '.status.metrics[?(@.name=="loss")].value', priority=_WIDE_ONLY),
        build_column("ETA", ".status.etaSummary", priority=_WIDE_ONLY),
        build_column("Reason", ".status.reason", description="Why it waits or failed", priority=_WIDE_ONLY),
    ]


def build_column(
    name: str, path: str, *, kind: str = "string", description: str = "", priority: int = 0
) -> dict[str, Any]:
    """Builds one column of `kubectl get`; one with a priority is printed with `-o wide` only."""
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if description:
        column["description"] = description
    if priority:
        column["priority"] = priority
    return column
