"""Every call that the operator makes, as rights: what the chart's rules must allow, and all that they may."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from splittraining.cluster.resources import (
    CONFIG_MAP,
    CORE_EVENT,
    ENDPOINT_SLICE,
    EVENT,
    JOB,
    LEASE,
    NETWORK_POLICY,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    SPLIT_PARTICIPATION,
    SPLIT_TRAINING,
    VOLUME_CLAIM,
    Resource,
)
from splittraining.controller.watched import WATCHED


class Right(NamedTuple):
    """One verb on one resource, or on one object of it."""

    verb: str
    group: str
    resource: str
    name: str = ""


APPLIED = (
    SPLIT_PARTICIPATION,
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    NETWORK_POLICY,
    SERVICE,
    VOLUME_CLAIM,
    JOB,
)
"""What a party is made of (plan/manifests)."""


def _of(resource: Resource, *verbs: str, part: str = "", name: str = "") -> set[Right]:
    plural = f"{resource.plural}/{part}" if part else resource.plural
    return {Right(verb, resource.group, plural, name) for verb in verbs}


WATCHES = frozenset().union(
    *(_of(resource, "list", "watch") for resource in WATCHED),  # relist, shell
    *(_of(resource, "get") for resource in (POD, JOB, SPLIT_PARTICIPATION, SPLIT_TRAINING)),  # directory
    *(_of(resource, "patch", part="status") for resource in (SPLIT_TRAINING, SPLIT_PARTICIPATION)),  # write_status
)
"""Wherever the operator sees trainings."""

WORKS = frozenset().union(
    *(_of(resource, "get", "create", "patch") for resource in APPLIED),  # find_own, apply_own; the source
    *(_of(owner, "update", part="finalizers") for owner in (SPLIT_TRAINING, SPLIT_PARTICIPATION)),  # blockOwnerDeletion
    _of(JOB, "delete"),  # suspend, retries
    _of(SPLIT_TRAINING, "delete"),  # ttlSecondsAfterFinished
    _of(EVENT, "create"),  # record
    _of(CORE_EVENT, "list"),  # list_events_of
)
"""Wherever it works."""


def list_own(release: str) -> frozenset[Right]:
    """Returns what it may do in its own namespace."""
    return frozenset().union(
        _of(LEASE, "get", "update", name=f"{release}-controller"),
        _of(LEASE, "create"),
        _of(SECRET, "get", name=f"{release}-ca"),
        _of(SECRET, "create"),
        _of(ENDPOINT_SLICE, "get", "create", "patch", name=f"{release}-reports"),
    )


def list_rights(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """Spells rules out."""
    return {
        Right(verb, group, resource, name)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
    }


def read_call(row: Mapping[str, Any]) -> Right:
    """Returns the right that a call of the audit log used."""
    about = row["objectRef"]
    part = f"/{about['subresource']}" if "subresource" in about else ""
    return Right(row["verb"], about.get("apiGroup", ""), about["resource"] + part, about.get("name", ""))
