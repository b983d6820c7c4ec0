"""The pods of a training: which belong to whom and to which attempt, and whether they have something to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splittraining.api.names import ATTEMPT_LABEL, PARTY_LABEL, SELECTOR, TRAINING_UID_LABEL
from splittraining.cli.reach import Api
from splittraining.cli.trainings import Training
from splittraining.cluster.client import ApiObject
from splittraining.cluster.resources import POD
from splittraining.plan.manifests.job import CONTAINER


@dataclass(frozen=True, slots=True)
class PartyPod:
    """A pod of a party."""

    name: str
    party: str
    attempt: int
    has_started: bool
    """Whether its container ever ran: only then there is a log."""
    waits_for: str
    """What keeps its container from running, in the kubelet's or the scheduler's words."""


async def list_pods(api: Api, training: Training) -> list[PartyPod]:
    """Lists the pods of all parties and attempts that are left."""
    found, _ = await api.list_all(
        POD, namespace=training.namespace, labels=f"{SELECTOR},{TRAINING_UID_LABEL}={training.uid}"
    )
    pods = [pod for item in found if (pod := parse_pod(item)) is not None]
    return sorted(pods, key=lambda pod: (pod.attempt, training.parties.index(pod.party), pod.name))


def parse_pod(item: ApiObject) -> PartyPod | None:
    """Reads a pod, or returns None where it is none of a party."""
    labels = item["metadata"].get("labels") or {}
    party, attempt = labels.get(PARTY_LABEL), str(labels.get(ATTEMPT_LABEL, ""))
    if not party or not attempt.isdigit():
        return None
    status: dict[str, Any] = item.get("status") or {}
    containers = status.get("containerStatuses") or ()
    state = next((entry.get("state") or {} for entry in containers if entry.get("name") == CONTAINER), {})
    return PartyPod(
        name=str(item["metadata"]["name"]),
        party=str(party),
        attempt=int(attempt),
        has_started="running" in state or "terminated" in state,
        waits_for=_describe_waiting(status, state),
    )


def _describe_waiting(status: dict[str, Any], state: dict[str, Any]) -> str:
    waiting = state.get("waiting") or {}
    if waiting.get("reason"):
        return f"{waiting['reason']}: {waiting['message']}" if waiting.get("message") else str(waiting["reason"])
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    return str(status.get("phase", "Pending"))
