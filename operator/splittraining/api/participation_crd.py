"""The CustomResourceDefinition of SplitParticipation, rendered from its models."""

from __future__ import annotations

from typing import Any

from splittraining.api.crd import Definition, build_column, build_object_schema
from splittraining.api.participation import PARTICIPATION_KIND, ParticipationSpec, ParticipationStatus
from splittraining.api.structural_schema import Schema

FIXED_FIELDS = ("trainingRef", "runID", "party", "role", "contractDigest", "planDigest", "image", "device")
"""What a participation is about. Only what it is to do, and what people think of it, may change."""

_WIDE_ONLY = 1


def render_participation_crd() -> dict[str, Any]:
    """Renders the CustomResourceDefinition of SplitParticipation."""
    return Definition(PARTICIPATION_KIND, "spp", tuple(_build_columns())).render(build_participation_schema())


def build_participation_schema() -> Schema:
    """Builds the schema of a whole SplitParticipation, rules included."""
    description = "One party's part in a split training. Written by the operator, but for spec.approval."
    schema = build_object_schema(PARTICIPATION_KIND, description, ParticipationSpec, ParticipationStatus)
    schema["properties"]["spec"]["x-kubernetes-validations"] = [
        {
            "rule": f"self.{field} == oldSelf.{field}",
            "message": f"{field} cannot be changed: it says what the participation is; the operator makes a new one",
            "fieldPath": f".{field}",
        }
        for field in FIXED_FIELDS
    ]
    return schema


def _build_columns() -> list[dict[str, Any]]:
    return [
        build_column("Training", ".spec.trainingRef.name"),
        build_column("Party", ".spec.party"),
        build_column("Role", ".spec.role"),
        build_column("State", ".status.state"),
        build_column("Approved", ".spec.approval.decision", description="What the institution's people decided"),
        build_column("Node", ".status.node"),
        build_column("Age", ".metadata.creationTimestamp", kind="date"),
        build_column("Reason", ".status.reason", description="Why it is not ready, or failed", priority=_WIDE_ONLY),
    ]
