"""What all objects of a party share: names, labels, owners."""

from __future__ import annotations

from typing import Any

from splittraining.api.names import (
    APP_LABEL,
    ATTEMPT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PARTY_APP,
    PARTY_LABEL,
    ROLE_LABEL,
    TRAINING_LABEL,
    TRAINING_UID_LABEL,
    build_child_name,
)
from splittraining.api.participation import PARTICIPATION_KIND
from splittraining.api.resource import API_VERSION, KIND, SplitTraining
from splittraining.plan.topology import get_namespace, get_role

Manifest = dict[str, Any]


def get_child_name(training: SplitTraining, party: str) -> str:
    """Returns the name of a party's objects."""
    return build_child_name(training.metadata.name, party, uid=training.metadata.uid)


def build_labels(training: SplitTraining, party: str, *, attempt: int | None = None) -> dict[str, str]:
    """Builds the labels of a party's objects; those of one attempt name it."""
    labels = {
        APP_LABEL: PARTY_APP,
        MANAGED_BY_LABEL: MANAGED_BY,
        TRAINING_LABEL: training.metadata.name,
        TRAINING_UID_LABEL: training.metadata.uid,
        PARTY_LABEL: party,
        ROLE_LABEL: get_role(party).value,
    }
    return labels if attempt is None else {**labels, ATTEMPT_LABEL: str(attempt)}


def build_selector(training: SplitTraining, party: str) -> dict[str, str]:
    """Builds the labels that select the pods of one party of one training, whatever the attempt."""
    return {TRAINING_UID_LABEL: training.metadata.uid, PARTY_LABEL: party}


def own_by_training(training: SplitTraining) -> list[Manifest]:
    """Builds the owner references of an object that goes with the training."""
    return [_build_owner(KIND, training.metadata.name, training.metadata.uid)]


def own_by_participation(training: SplitTraining, party: str, uid: str) -> list[Manifest]:
    """Builds the owner references of an object that goes with the participation of this uid."""
    return [_build_owner(PARTICIPATION_KIND, get_child_name(training, party), uid)]


def build_object(
    api_version: str,
    kind: str,
    training: SplitTraining,
    party: str,
    *,
    owners: list[Manifest],
    name: str = "",
    **sections: object,
) -> Manifest:
    """Builds one object of a party.

    Args:
        api_version: Group and version.
        kind: Kind.
        training: The training.
        party: The party.
        owners: Owner references; empty for what outlives the training.
        name: Name, where it is not the party's own.
        sections: What the object holds beside its metadata.
    """
    metadata: Manifest = {
        "name": name or get_child_name(training, party),
        "namespace": get_namespace(training, party),
        "labels": build_labels(training, party),
    }
    if owners:
        metadata["ownerReferences"] = owners
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **sections}


def _build_owner(kind: str, name: str, uid: str) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
