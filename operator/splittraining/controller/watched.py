"""Which kinds are watched, and what of their objects is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from splittraining.api.names import SELECTOR
from splittraining.cluster.client import ApiObject
from splittraining.cluster.resources import (
    JOB,
    NETWORK_POLICY,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    SPLIT_PARTICIPATION,
    SPLIT_TRAINING,
    VOLUME_CLAIM,
    Resource,
)

WATCHED = (
    SPLIT_TRAINING,
    SPLIT_PARTICIPATION,
    JOB,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    VOLUME_CLAIM,
    NETWORK_POLICY,
)
"""Owners come first. ConfigMaps are not among them: they may be read only where a namespace has let the operator in."""

WATCHED_KINDS = frozenset(resource.kind for resource in WATCHED)


def get_selector(resource: Resource) -> str:
    """Returns the labels that the API server selects by; without them every pod of a cluster would be in memory."""
    return "" if resource is SPLIT_TRAINING else SELECTOR


def _cut_to(*sections: str) -> Callable[[ApiObject], ApiObject]:
    kept = {"apiVersion", "kind", "metadata", *sections}
    return lambda obj: {name: value for name, value in obj.items() if name in kept}


def _cut_pod(pod: ApiObject) -> ApiObject:
    spec = pod.get("spec") or {}
    containers = [{"resources": container.get("resources") or {}} for container in spec.get("containers") or ()]
    return {
        **_cut_to("status")(pod),
        "spec": {"nodeName": spec.get("nodeName", ""), "containers": containers},
    }


CUTS: Mapping[str, Callable[[ApiObject], ApiObject]] = MappingProxyType(
    {
        SPLIT_PARTICIPATION.kind: _cut_to("spec", "status"),
        JOB.kind: _cut_to("status"),
        POD.kind: _cut_pod,
        SERVICE.kind: _cut_to(),
        SERVICE_ACCOUNT.kind: _cut_to(),
        VOLUME_CLAIM.kind: _cut_to(),
        NETWORK_POLICY.kind: _cut_to(),
    }
)
"""What is read of an object: most of its size is what was asked for, and that is known."""
