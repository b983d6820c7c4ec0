"""Puts together all that is known of one training: from the store, from reports, and by a few live looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from splittraining.api.conditions import AcceptedReason
from splittraining.api.report import Report
from splittraining.api.resource import SplitTraining
from splittraining.cluster.client import ApiObject
from splittraining.controller.execute import Scene, WriteRefused
from splittraining.controller.observe import (
    find_participation_images,
    find_participation_uids,
    find_pod_refusal,
    is_controlled_by,
    observe_jobs,
    observe_pods,
    observe_source,
)
from splittraining.plan.conditions import is_terminal
from splittraining.plan.manifests.config_maps import get_source_name
from splittraining.plan.observed import Observed, Refusal, Source
from splittraining.plan.topology import get_namespace, list_parties

PODLESS_S = 3.0
"""A Job without a pod for so long may have been refused one."""
ASK_PERIOD_S = 15.0
"""How often it is asked after."""


class Known(Protocol):
    """What the store knows."""

    def find(self, kind: str, namespace: str, name: str) -> ApiObject | None:
        """Returns an object."""
        ...

    def list_children(self, kind: str, training_uid: str) -> Sequence[ApiObject]:
        """Returns the objects of a kind that carry a training's label."""
        ...


class Live(Protocol):
    """Single looks at what is not watched."""

    async def get_config_map(self, namespace: str, name: str) -> ApiObject | None:
        """Returns a ConfigMap, or None.

        Raises:
            WriteRefused: if it may not be read.
        """
        ...

    async def list_events_of(self, obj: ApiObject) -> Sequence[ApiObject]:
        """Returns the events about an object; none where they may not be read."""
        ...


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that is known of one training."""

    observed: Observed
    scene: Scene
    look_again_s: float | None
    """When a live look is due that was too early now, or is due again."""


class Gatherer:
    """Gathers.

    Args:
        known: The store.
        live: Single looks.
        get_reports: Returns the newest reports of a training, by party.
        get_bundle_pem: Returns the roots that parties are given.
        clock: Returns the moment, with time zone.
    """

    def __init__(
        self,
        known: Known,
        live: Live,
        *,
        get_reports: Callable[[str], Mapping[str, Report]],
        get_bundle_pem: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._known = known
        self._live = live
        self._get_reports = get_reports
        self._get_bundle_pem = get_bundle_pem
        self._clock = clock
        self._sources: dict[str, Source] = {}
        self._asked: dict[str, tuple[datetime, tuple[str, str]]] = {}
        """When a Job was last asked after, and what came of it, by its uid."""

    async def gather(self, resource: ApiObject, training: SplitTraining, refusals: tuple[Refusal, ...]) -> Gathered:
        """Returns all that is known of a training.

        Args:
            resource: The training as the API server gave it.
            training: The same, parsed.
            refusals: What was refused at the last try.
        """
        uid = training.metadata.uid
        known = self._known.list_children("SplitParticipation", uid)
        participations = find_participation_uids(known, training_uid=uid)
        owners = frozenset(participations.values())
        jobs = [job for job in self._known.list_children("Job", uid) if is_controlled_by(job, owners)]
        pods = observe_pods(self._known.list_children("Pod", uid), job_uids=[job["metadata"]["uid"] for job in jobs])
        with_pods = {(pod.party, pod.attempt) for pod in pods}
        seen_jobs = observe_jobs(jobs, owner_uids=owners, refused={})
        podless = {
            job.uid: job.created_at
            for job in seen_jobs
            if (job.party, job.attempt) not in with_pods and not (job.has_failed or job.has_succeeded)
        }
        refused, look_again_s = await self._find_refused(jobs, podless)
        observed = Observed(
            training=training,
            source=await self._find_source(training),
            participation_uids=participations,
            participation_images=find_participation_images(known, training_uid=uid),
            jobs=observe_jobs(jobs, owner_uids=owners, refused=refused) if refused else seen_jobs,
            pods=pods,
            reports=self._get_reports(uid),
            refusals=refusals,
            trust_bundle_pem=self._get_bundle_pem(),
        )
        scene = Scene(resource, training, owners | {uid}, self._known.find)
        return Gathered(observed, scene, look_again_s)

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a training that is gone."""
        self._sources.pop(uid, None)

    async def _find_refused(
        self, jobs: Sequence[ApiObject], podless: Mapping[str, datetime]
    ) -> tuple[dict[str, tuple[str, str]], float | None]:
        """Looks why pods are missing, and says when to look again: that a pod is refused is no event of a Job."""
        now = self._clock()
        refused: dict[str, tuple[str, str]] = {}
        waits = []
        for job in jobs:
            if job["metadata"]["uid"] not in podless:
                self._asked.pop(job["metadata"]["uid"], None)
        for job in jobs:
            created_at = podless.get(job["metadata"]["uid"])
            if created_at is None:
                continue
            age_s = (now - created_at).total_seconds()
            if age_s < PODLESS_S:
                waits.append(PODLESS_S - age_s)
                continue
            found = await self._ask_why(job, now)
            waits.append(ASK_PERIOD_S - (now - self._asked[job["metadata"]["uid"]][0]).total_seconds())
            if found[0]:
                refused[job["metadata"]["uid"]] = found
        return refused, min(waits, default=None)

    async def _ask_why(self, job: ApiObject, now: datetime) -> tuple[str, str]:
        """Returns why a Job has no pod: at most once in some seconds, since the answer changes at people's pace."""
        uid = job["metadata"]["uid"]
        asked = self._asked.get(uid)
        if asked is None or (now - asked[0]).total_seconds() >= ASK_PERIOD_S:
            asked = now, find_pod_refusal(await self._live.list_events_of(job))
            self._asked[uid] = asked
        return asked[1]

    async def _find_source(self, training: SplitTraining) -> Source | None:
        """Returns the model's files.

        Once the contract stands, the parties' own copies count, which nobody can change: what becomes of the original
        is then of no concern to a training under way.
        """
        source = training.spec.model.source
        status = training.status
        if source is None or (status is not None and is_terminal(status)):
            return None
        uid, namespace = training.metadata.uid, training.metadata.namespace
        is_settled = status is not None and status.contract_digest is not None
        if is_settled and uid in self._sources:
            return self._sources[uid]
        try:
            if is_settled:
                party = list_parties(training.spec)[0]
                copy = get_source_name(training, party)
                found = await self._live.get_config_map(get_namespace(training, party), copy)
                if found is not None:
                    self._sources[uid] = observe_source(found, name=copy, namespace=namespace)
                    return self._sources[uid]
            original = await self._live.get_config_map(namespace, source.config_map.name)
        except WriteRefused as refused:
            return Source(problem=refused.message, reason=AcceptedReason.NOT_INVITED)
        return observe_source(original, name=source.config_map.name, namespace=namespace)
