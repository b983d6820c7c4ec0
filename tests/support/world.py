"""A cluster in a few lines: carries out decisions about one training, and lets pods start, report and end.

It keeps to what the decisions may rely on: an applied manifest is there, a deleted Job takes its pod with it, a Job
makes one pod. Whoever tests a crash stops carrying out in the middle.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from splittraining.api.names import PARTY_LABEL
from splittraining.api.participation import ParticipationStatus
from splittraining.api.report import Isolation, PartyState
from splittraining.api.status import Condition, SplitTrainingStatus
from splittraining.plan.decision import Decision, TrainingEvent
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.observed import ObservedJob
from splittraining.plan.reconcile import decide_training
from support.manifests import A_SETTINGS
from support.observed import NOW, PARTIES, LookBuilder, a_look

Objects = dict[tuple[str, str], dict[str, Any]]


class Crashed(Exception):
    """The controller died between two writes."""


@dataclass
class World:
    """One training and what became of it."""

    look: LookBuilder = field(default_factory=lambda: replace(a_look(), participations=()))
    now: datetime = NOW
    objects: Objects = field(default_factory=dict)
    """What was applied and not deleted, by kind and name."""
    told: dict[str, ParticipationStatus] = field(default_factory=dict)
    """What the participations' statuses say, by party."""
    events: list[TrainingEvent] = field(default_factory=list)
    num_writes: int = 0
    crash_after_writes: int | None = None
    is_deleted: bool = False
    looked_at: LookBuilder | None = None
    """What the last look saw: whatever is otherwise since then was told by an event."""
    next_look_at: datetime | None = None
    """When the last decision asked for another look."""
    num_looks: int = 0
    settings: OperatorSettings = A_SETTINGS

    @property
    def status(self) -> SplitTrainingStatus:
        assert self.look.status is not None
        return self.look.status

    def condition(self, kind: str) -> Condition:
        return next(each for each in self.status.conditions if each.type == kind)

    def decide(self) -> Decision:
        return decide_training(self.look.build(), now=self.now, settings=self.settings)

    def step(self) -> Decision:
        """Decides once and carries it out."""
        self.num_looks += 1
        self.looked_at = self.look
        decision = self.decide()
        seconds = decision.requeue_after_s
        self.next_look_at = None if seconds is None else self.now + timedelta(seconds=seconds)
        if decision.status != self.look.status:
            self._write(lambda: self._set_status(decision.status))
        for reference in decision.delete:
            self._write(lambda reference=reference: self._delete(reference.kind, reference.name, reference.uid))
        for manifest in decision.apply:
            key = (manifest["kind"], manifest["metadata"]["name"])
            if self.objects.get(key) != manifest:
                self._write(lambda manifest=manifest: self._apply(manifest))
        self.events += decision.events
        for party, status in decision.participations.items():
            if party in self.look.participations and self.told.get(party) != status:
                self._write(lambda party=party, status=status: self.told.update({party: status}))
        return decision

    def settle(self, *, most: int = 30) -> Decision:
        """Decides until nothing is written any more."""
        for _ in range(most):
            before = self.num_writes
            decision = self.step()
            if self.num_writes == before:
                return decision
        raise AssertionError(f"still writing after {most} looks")

    def live(self, seconds: float = 0, *, most_looks: int = 50) -> World:
        """Lets time pass. A look follows each event, and the moments that decisions asked for: none else."""
        until = self.now + timedelta(seconds=seconds)
        for _ in range(most_looks):
            if self.look is not self.looked_at or (self.next_look_at is not None and self.next_look_at <= self.now):
                self.step()
            elif self.next_look_at is not None and self.next_look_at <= until:
                self.now = self.next_look_at
            else:
                self.now = until
                return self
            if self.is_deleted:
                return self
        raise AssertionError(f"looks without end: {most_looks} until {self.now}")

    def change_unseen(self, **fields: Any) -> World:
        """Changes what no event tells of."""
        is_seen = self.look is self.looked_at
        self.look = replace(self.look, **fields)
        if is_seen:
            self.looked_at = self.look
        return self

    def settle_whatever_crashes(self, *, after_writes: int) -> Decision:
        """As `settle`, but the controller dies once, after so many writes, and another one goes on."""
        self.crash_after_writes = self.num_writes + after_writes
        with contextlib.suppress(Crashed):
            self.settle()
        self.crash_after_writes = None
        return self.settle()

    def wait(self, seconds: float) -> World:
        self.now += timedelta(seconds=seconds)
        return self

    def start_pods(self, *, reports: PartyState | None = PartyState.TRAINING) -> World:
        """Lets the pods of the attempt run, and their parties say how they are."""
        for party in PARTIES:
            self.look = self.look.with_pod(party, attempt=self.status.attempt, node="node-1")
            if reports is not None:
                self.report(party, reports)
        return self

    def report(self, party: str, state: PartyState, **facts: Any) -> World:
        facts.setdefault("isolation", Isolation.ISOLATED)
        self.look = self.look.with_report(party, state, generation=self.status.attempt, **facts)
        return self

    def end_pod(self, party: str, exit_code: int, **facts: Any) -> World:
        attempt = self.status.attempt
        self.look = self.look.with_pod(party, attempt=attempt, exit_code=exit_code, ended_at=self.now, **facts)
        ended = {"has_succeeded": exit_code == 0, "has_failed": exit_code != 0}
        jobs = tuple(
            replace(job, **ended) if (job.party, job.attempt) == (party, attempt) else job for job in self.look.jobs
        )
        self.look = replace(self.look, jobs=jobs)
        return self

    def end_all_pods(self, exit_code: int = 0) -> World:
        for party in PARTIES:
            self.end_pod(party, exit_code)
        return self

    def _write(self, action: Callable[[], None]) -> None:
        if self.crash_after_writes is not None and self.num_writes >= self.crash_after_writes:
            raise Crashed
        self.num_writes += 1
        action()

    def _set_status(self, status: SplitTrainingStatus) -> None:
        self.look = self.look.with_status(status)

    def _apply(self, manifest: dict[str, Any]) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        party = manifest["metadata"]["labels"][PARTY_LABEL]
        is_new = (kind, name) not in self.objects
        self.objects[kind, name] = manifest
        if kind == "SplitParticipation" and is_new:
            images = {**self.look.images, party: manifest["spec"]["image"]}
            self.look = replace(self.look, participations=(*self.look.participations, party), images=images)
        if kind == "Job" and is_new:
            attempt = int(name.rpartition("-")[2])
            job = ObservedJob(name, f"uid-{name}-{next(_NUMBERS)}", party, attempt, self.now)
            self.look = replace(self.look, jobs=(*self.look.jobs, job))

    def _delete(self, kind: str, name: str, uid: str) -> None:
        if kind == "SplitTraining":
            self.is_deleted = True
            return
        (job,) = (job for job in self.look.jobs if job.name == name)
        assert (kind, job.uid) == ("Job", uid)
        del self.objects[kind, name]
        kept = tuple(each for each in self.look.jobs if each.name != name)
        pods = tuple(pod for pod in self.look.pods if (pod.party, pod.attempt) != (job.party, job.attempt))
        self.look = replace(self.look, jobs=kept, pods=pods)


_NUMBERS = itertools.count(1)
