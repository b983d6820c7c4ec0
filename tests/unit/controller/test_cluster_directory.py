"""Who may have which leaf: one broken link between a token's pod and the training, and nobody gets one."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from splittraining.api.identity import PartyIdentity
from splittraining.controller.directory import ClusterDirectory
from splittraining.intake.directory import IdentityClaims, PodClaims
from support.api_objects import (
    NAMESPACE,
    TRAINING_UID,
    audience_of,
    child_name,
    make_job,
    make_participation,
    make_pod,
    make_training,
)

PARTY = "st-mary"
IDENTITY = PartyIdentity("hospitals.example", TRAINING_UID, PARTY)
LATER = "2026-01-01T12:10:00Z"


@dataclass
class FewObjects:
    """A cluster of one training with one pod."""

    pod: dict[str, Any] = field(default_factory=lambda: make_pod(PARTY))
    job: dict[str, Any] = field(default_factory=lambda: make_job(PARTY))
    participation: dict[str, Any] = field(default_factory=lambda: make_participation(PARTY))
    training: dict[str, Any] = field(default_factory=make_training)

    async def get_pod(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self._get(self.pod, namespace, name)

    async def get_job(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self._get(self.job, namespace, name)

    async def get_participation(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self._get(self.participation, namespace, name)

    async def get_training(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self._get(self.training, namespace, name)

    def find_training(self, uid: str) -> dict[str, Any] | None:
        return self.training if self.training["metadata"]["uid"] == uid else None

    @staticmethod
    def _get(obj: dict[str, Any], namespace: str, name: str) -> dict[str, Any] | None:
        metadata = obj["metadata"]
        return copy.deepcopy(obj) if (metadata["namespace"], metadata["name"]) == (namespace, name) else None


def make_claims(**changes: str) -> PodClaims:
    claims = {
        "issuer": "https://cluster.example",
        "audience": audience_of(PARTY),
        "namespace": NAMESPACE,
        "service_account": child_name(PARTY),
        "pod_name": make_pod(PARTY)["metadata"]["name"],
        "pod_uid": f"pod-{PARTY}",
    }
    return PodClaims(**(claims | changes))


def ask(objects: FewObjects, claims: PodClaims | IdentityClaims) -> PartyIdentity | None:
    directory = ClusterDirectory(objects, find_training=objects.find_training, trust_domain="hospitals.example")
    return asyncio.run(directory.find_party(claims))


def test_a_pod_whose_owners_lead_to_its_training_is_that_party() -> None:
    assert ask(FewObjects(), make_claims()) == IDENTITY


WRONG_CLAIMS = {
    "of another pod of that name": {"pod_uid": "an earlier one"},
    "of a pod that is not there": {"pod_name": "gone"},
    "of another namespace": {"namespace": "elsewhere"},
    "for another participation": {"audience": audience_of("st-luke")},
    "of another service account": {"service_account": "default"},
}


@pytest.mark.parametrize("case", WRONG_CLAIMS)
def test_a_token_is_refused_that_is(case: str) -> None:
    assert ask(FewObjects(), make_claims(**WRONG_CLAIMS[case])) is None


def _set(place: str, *path: str | int, value: Any) -> Callable[[FewObjects], None]:
    def change(objects: FewObjects) -> None:
        target = getattr(objects, place)
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value

    return change


def _owner(place: str, **fields: Any) -> Callable[[FewObjects], None]:
    def change(objects: FewObjects) -> None:
        getattr(objects, place)["metadata"]["ownerReferences"][0].update(fields)

    return change


def _rename_participation(objects: FewObjects) -> None:
    """Makes it a second one of the same party, which only its maker knows of."""
    objects.participation["metadata"]["name"] = "another"
    _owner("job", name="another")(objects)


BROKEN_LINKS = {
    "the participation is not the one that is planned": _rename_participation,
    "the pod is going": _set("pod", "metadata", "deletionTimestamp", value=LATER),
    "the pod has ended": _set("pod", "status", "phase", value="Failed"),
    "the pod has no owner": _set("pod", "metadata", "ownerReferences", value=[]),
    "the pod is owned and not controlled": _owner("pod", controller=False),
    "the pod runs as somebody else": _set("pod", "spec", "serviceAccountName", value="default"),
    "the pod names a Job of another uid": _owner("pod", uid="job-of-before"),
    "the Job is going": _set("job", "metadata", "deletionTimestamp", value=LATER),
    "the Job names a participation of another uid": _owner("job", uid="participation-of-before"),
    "the participation is going": _set("participation", "metadata", "deletionTimestamp", value=LATER),
    "the participation belongs to another training": _owner("participation", uid="another"),
    "the participation points to a training that was made anew": _set(
        "participation", "spec", "trainingRef", "uid", value="another"
    ),
    "the participation has the name of another party": _set("participation", "spec", "party", value="st-luke"),
    "the training names no such party": lambda objects: objects.training["spec"]["clients"].pop(0),
    "the training wants that party elsewhere": _set("training", "spec", "clients", 0, "namespace", value="st-mary"),
    "the training is going": _set("training", "metadata", "deletionTimestamp", value=LATER),
    "the training was made anew": _set("training", "metadata", "uid", value="another"),
    "the training is complete": _set("training", "status", value={}),
}


def _with_condition(kind: str) -> dict[str, Any]:
    condition = {"type": kind, "status": "True", "reason": "Completed", "lastTransitionTime": LATER}
    return {"conditions": [condition]}


@pytest.mark.parametrize("case", BROKEN_LINKS)
def test_nobody_gets_a_leaf_where(case: str) -> None:
    objects = FewObjects()
    BROKEN_LINKS[case](objects)
    if case == "the training is complete":
        objects.training["status"] = _with_condition("Complete")
    assert ask(objects, make_claims()) is None


def test_a_leaf_stands_for_its_party_while_the_training_runs() -> None:
    assert ask(FewObjects(), IdentityClaims(IDENTITY)) == IDENTITY


@pytest.mark.parametrize("kind", ["Complete", "Failed"])
def test_a_leaf_ends_with_its_training(kind: str) -> None:
    assert ask(FewObjects(training=make_training(**_with_condition(kind))), IdentityClaims(IDENTITY)) is None


@pytest.mark.parametrize(
    "identity",
    [
        PartyIdentity("hospitals.example", "another-run", PARTY),
        PartyIdentity("hospitals.example", TRAINING_UID, "stranger"),
    ],
)
def test_a_leaf_of_nobody_here_stands_for_nobody(identity: PartyIdentity) -> None:
    assert ask(FewObjects(), IdentityClaims(identity)) is None
