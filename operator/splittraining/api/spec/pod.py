"""How a party's pod is scheduled, and nothing else: no volumes, no service account, nothing of the host."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.types import ATOMIC, Count, LabelValue, ObjectName, Quantity

GPU_RESOURCE = "nvidia.com/gpu"
"""The extended resource that asks for a CUDA device."""

ResourceName = Annotated[str, Field(max_length=253)]
ResourceList = Annotated[dict[ResourceName, Quantity], Field(max_length=16)]


class TolerationOperator(enum.StrEnum):
    """How a toleration compares."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(enum.StrEnum):
    """What a tolerated taint would do."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class ResourcesSpec(Document):
    """What the party's container may use and is promised."""

    limits: ResourceList = {}
    """Upper bounds, such as {nvidia.com/gpu: "1", memory: 8Gi}."""
    requests: ResourceList = {}
    """What the scheduler sets aside; what is absent equals the limit."""


class Toleration(Document):
    """A taint that the pod tolerates."""

    key: Annotated[str, Field(max_length=316)] | None = None
    """Key of the taint; absent with operator Exists means every taint."""
    operator: TolerationOperator | None = None
    """Exists or Equal; absent means Equal."""
    value: LabelValue | None = None
    """Value of the taint, for Equal."""
    effect: TaintEffect | None = None
    """Effect of the taint; absent means all effects."""
    toleration_seconds: Annotated[Count, Field(ge=0, le=31536000)] | None = None
    """How long a NoExecute taint is tolerated; absent means for ever."""


class PodSpec(Document):
    """Scheduling of one party's pod."""

    resources: ResourcesSpec = ResourcesSpec()
    """What the container may use and is promised."""
    node_selector: Annotated[dict[Annotated[str, Field(max_length=316)], LabelValue], Field(max_length=32)] = {}
    """Labels that the node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = ()
    """Taints that the pod tolerates."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pod, such as nvidia."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pod."""
