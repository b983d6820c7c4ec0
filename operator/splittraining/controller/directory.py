"""Who may have which leaf in this cluster: every link from the token's pod to the training is looked at, live.

A pod or participation that only looks like one of ours can be made by anybody with edit rights in its namespace, so
labels count for nothing here: uids do, and the training itself has the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from splittraining.api.errors import SplitTrainingError
from splittraining.api.identity import PartyIdentity
from splittraining.api.names import build_audience, build_child_name
from splittraining.api.resource import SplitTraining, parse_split_training
from splittraining.cluster.client import ApiObject
from splittraining.intake.directory import Claims, IdentityClaims, PodClaims
from splittraining.plan.topology import get_namespace, list_parties

_ENDED = ("Succeeded", "Failed")
_TERMINAL = ("Complete", "Failed")


class LiveView(Protocol):
    """Looks at single objects, past everything that is remembered."""

    async def get_pod(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a pod, or None."""
        ...

    async def get_job(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a Job, or None."""
        ...

    async def get_participation(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a SplitParticipation, or None."""
        ...

    async def get_training(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a SplitTraining, or None."""
        ...


class ClusterDirectory:
    """Answers for the parties of a cluster.

    Args:
        live: Looks at single objects.
        find_training: Returns the training with a uid as last seen: reports come too often for a live look.
        trust_domain: The trust domain of all identities here.
    """

    def __init__(self, live: LiveView, *, find_training: Callable[[str], ApiObject | None], trust_domain: str) -> None:
        self._live = live
        self._find_training = find_training
        self._trust_domain = trust_domain

    async def find_party(self, claims: Claims) -> PartyIdentity | None:
        """Returns the one party that the claims stand for, or None where they stand for nobody admitted."""
        if isinstance(claims, IdentityClaims):
            return self._find_by_identity(claims.identity)
        return await self._find_by_pod(claims)

    def _find_by_identity(self, identity: PartyIdentity) -> PartyIdentity | None:
        training = _read_admitting(self._find_training(identity.run_id), uid=identity.run_id)
        if training is None or identity.party not in list_parties(training.spec):
            return None
        return PartyIdentity(self._trust_domain, identity.run_id, identity.party)

    async def _find_by_pod(self, claims: PodClaims) -> PartyIdentity | None:
        namespace = claims.namespace
        pod = await self._live.get_pod(namespace, claims.pod_name)
        if pod is None or not _is_living(pod, uid=claims.pod_uid) or pod.get("status", {}).get("phase") in _ENDED:
            return None
        job_owner = _find_controller(pod, kind="Job")
        if job_owner is None:
            return None
        job = await self._live.get_job(namespace, job_owner["name"])
        if job is None or not _is_living(job, uid=job_owner["uid"]):
            return None
        owner = _find_controller(job, kind="SplitParticipation")
        if owner is None or claims.audience != build_audience(owner["uid"]):
            return None
        participation = await self._live.get_participation(namespace, owner["name"])
        if participation is None or not _is_living(participation, uid=owner["uid"]):
            return None
        return await self._find_by_participation(participation, pod=pod, claims=claims)

    async def _find_by_participation(
        self, participation: ApiObject, *, pod: ApiObject, claims: PodClaims
    ) -> PartyIdentity | None:
        spec = participation["spec"]
        reference, party = spec["trainingRef"], spec["party"]
        found = await self._live.get_training(reference["namespace"], reference["name"])
        training = _read_admitting(found, uid=reference["uid"])
        if training is None or not _names_party(training, party, namespace=claims.namespace):
            return None
        uid = training.metadata.uid
        owner = _find_controller(participation, kind="SplitTraining")
        planned = build_child_name(training.metadata.name, party, uid=uid)
        if owner is None or owner["uid"] != uid or participation["metadata"]["name"] != planned:
            return None
        if claims.service_account != planned or pod["spec"].get("serviceAccountName") != planned:
            return None
        return PartyIdentity(self._trust_domain, uid, party)


def _read_admitting(found: ApiObject | None, *, uid: str) -> SplitTraining | None:
    """Returns a training that still lets its parties in."""
    if found is None or not _is_living(found, uid=uid):
        return None
    try:
        training = parse_split_training(found)
    except SplitTrainingError:
        return None
    conditions = training.status.conditions if training.status else ()
    ended = any(condition.type in _TERMINAL and condition.status == "True" for condition in conditions)
    return None if ended else training


def _names_party(training: SplitTraining, party: str, *, namespace: str) -> bool:
    """Says whether a training has a party, in that namespace."""
    return party in list_parties(training.spec) and get_namespace(training, party) == namespace


def _is_living(obj: ApiObject, *, uid: str) -> bool:
    metadata = obj["metadata"]
    return bool(uid) and metadata.get("uid") == uid and not metadata.get("deletionTimestamp")


def _find_controller(obj: ApiObject, *, kind: str) -> dict[str, Any] | None:
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == kind:
            return dict(owner)
    return None
