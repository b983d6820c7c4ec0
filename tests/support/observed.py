"""What an operator saw of a training, made by small readable steps: ``a_look().with_pod("st-mary", exit_code=64)``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from splittraining.api.report import PartyState, Report
from splittraining.api.status import SplitTrainingStatus
from splittraining.plan.observed import Observed, ObservedJob, ObservedPod, Refusal, Source
from support.builders import TrainingBuilder, a_vanilla_training

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "3f0d0c5e-9a8e-4f6e-8a57-0d3f9b2f6c11"
PARTIES = ("server", "st-mary", "st-luke")
SOURCE = {"model.py": b"def build(): ...\n"}


@dataclass(frozen=True)
class LookBuilder:
    """What was seen, under construction. A builder never changes: each step returns another one."""

    training: TrainingBuilder = field(default_factory=a_vanilla_training)
    status: SplitTrainingStatus | None = None
    source: Source | None = field(default_factory=lambda: Source(SOURCE))
    participations: tuple[str, ...] = PARTIES
    images: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[ObservedJob, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    reports: tuple[Report, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    def build(self) -> Observed:
        training = self.training.with_value("metadata.uid", UID).build()
        return Observed(
            training=training.model_copy(update={"status": self.status}),
            source=self.source,
            participation_uids={party: f"uid-of-{party}" for party in self.participations},
            participation_images=self.images,
            jobs=self.jobs,
            pods=self.pods,
            reports={report.party: report for report in self.reports},
            refusals=self.refusals,
            trust_bundle_pem="-----BEGIN CERTIFICATE-----\n",
        )

    def with_spec(self, path: str, value: object) -> LookBuilder:
        return replace(self, training=self.training.with_value(f"spec.{path}", value))

    def with_job(self, party: str, *, attempt: int = 1, **facts: Any) -> LookBuilder:
        facts.setdefault("created_at", NOW - timedelta(seconds=30))
        name = f"{party}-{attempt}"
        kept = tuple(job for job in self.jobs if job.name != name)
        return replace(self, jobs=(*kept, ObservedJob(name, f"uid-{name}", party, attempt, **facts)))

    def with_pod(
        self, party: str, *, attempt: int = 1, phase: str = "", words: object = None, **facts: Any
    ) -> LookBuilder:
        """Adds a pod, and its Job where there is none; one with an exit code has ended."""
        exit_code = facts.get("exit_code")
        phase = phase or ("Running" if exit_code is None else "Succeeded" if exit_code == 0 else "Failed")
        if exit_code is not None:
            facts.setdefault("ended_at", NOW)
        if words is not None:
            facts["last_words"] = json.dumps(words)
        name = f"{party}-{attempt}-abcde"
        kept = tuple(pod for pod in self.pods if pod.name != name)
        look = replace(self, pods=(*kept, ObservedPod(name, f"uid-{name}", party, attempt, phase, **facts)))
        if party in {job.party for job in self.jobs if job.attempt == attempt}:
            return look
        return look.with_job(party, attempt=attempt)

    def with_all_pods(self, *, attempt: int = 1, **facts: Any) -> LookBuilder:
        look = self
        for party in PARTIES:
            look = look.with_pod(party, attempt=attempt, **facts)
        return look

    def with_report(self, party: str, state: PartyState, *, generation: int = 1, **facts: Any) -> LookBuilder:
        report = Report(party=party, generation=generation, sequence=1, state=state, **facts)
        return replace(self, reports=(*(each for each in self.reports if each.party != party), report))

    def with_all_reports(self, state: PartyState, *, generation: int = 1, **facts: Any) -> LookBuilder:
        look = self
        for party in PARTIES:
            look = look.with_report(party, state, generation=generation, **facts)
        return look

    def with_status(self, status: SplitTrainingStatus | None) -> LookBuilder:
        return replace(self, status=status)

    def without_workloads(self) -> LookBuilder:
        return replace(self, jobs=(), pods=())


def a_look() -> LookBuilder:
    """A Vanilla training of two clients whose participations exist, and nothing else."""
    return LookBuilder()
