"""Objects as an API server returns them, cut to what the operator reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splittraining.api.names import (
    ATTEMPT_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    PARTY_LABEL,
    TRAINING_LABEL,
    TRAINING_UID_LABEL,
    build_audience,
    build_child_name,
    build_job_name,
)
from support.builders import a_vanilla_training

TRAINING_UID = "3f0d0c5e-9a8e-4f6e-8a57-0d3f9b2f6c11"
NAMESPACE = "trial"
NAME = "chest-xray"
CREATED = "2026-01-01T12:00:00Z"


def make_training(uid: str = TRAINING_UID, **status: Any) -> dict[str, Any]:
    """Makes a SplitTraining with two clients."""
    manifest = a_vanilla_training().as_manifest()
    manifest["metadata"] |= {"uid": uid, "generation": 1, "resourceVersion": "7", "creationTimestamp": CREATED}
    return {**manifest, "status": status} if status else manifest


def make_child(
    api_version: str, kind: str, party: str, *, name: str = "", owner: tuple[str, str] | None = None, **sections: Any
) -> dict[str, Any]:
    """Makes an object of a party; `owner` is kind and uid of its controller."""
    labels = {
        MANAGED_BY_LABEL: MANAGED_BY,
        TRAINING_LABEL: NAME,
        TRAINING_UID_LABEL: TRAINING_UID,
        PARTY_LABEL: party,
        ATTEMPT_LABEL: "1",
    }
    metadata: dict[str, Any] = {
        "name": name or child_name(party),
        "namespace": NAMESPACE,
        "uid": f"{kind.lower()}-{party}",
        "labels": labels,
        "creationTimestamp": CREATED,
    }
    if owner is not None:
        kind_of_owner, uid = owner
        owner_name = build_job_name(child_name(party), 1) if kind_of_owner == "Job" else child_name(party)
        metadata["ownerReferences"] = [{"kind": kind_of_owner, "uid": uid, "controller": True, "name": owner_name}]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **sections}


def child_name(party: str) -> str:
    return build_child_name(NAME, party, uid=TRAINING_UID)


def make_participation(party: str, **spec: Any) -> dict[str, Any]:
    reference = {"namespace": NAMESPACE, "name": NAME, "uid": TRAINING_UID}
    return make_child(
        "splitlearning.dev/v1alpha1",
        "SplitParticipation",
        party,
        owner=("SplitTraining", TRAINING_UID),
        spec={"trainingRef": reference, "runID": TRAINING_UID, "party": party, **spec},
    )


def make_job(party: str, **status: Any) -> dict[str, Any]:
    owner = ("SplitParticipation", f"splitparticipation-{party}")
    return make_child("batch/v1", "Job", party, name=build_job_name(child_name(party), 1), owner=owner, status=status)


def make_pod(party: str, status: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    spec.setdefault("serviceAccountName", child_name(party))
    return make_child(
        "v1",
        "Pod",
        party,
        name=f"{build_job_name(child_name(party), 1)}-abcde",
        owner=("Job", f"job-{party}"),
        spec=spec,
        status=dict({"phase": "Running"} if status is None else status),
    )


def audience_of(party: str) -> str:
    return build_audience(f"splitparticipation-{party}")
