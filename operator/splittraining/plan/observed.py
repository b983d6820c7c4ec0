"""What was seen of one training in its cluster, cut down to what decisions read.

Whoever watches the cluster fills these in; nothing here knows how an API server words things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from splittraining.api.conditions import AcceptedReason
from splittraining.api.report import Report
from splittraining.api.resource import SplitTraining


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """One party's Job of one attempt."""

    name: str
    uid: str
    party: str
    attempt: int
    created_at: datetime
    has_succeeded: bool = False
    has_failed: bool = False
    failure_message: str = ""
    """What the Job itself says about its failure."""
    is_deleting: bool = False
    refused_pod_reason: str = ""
    """`Quota` or `PodRefused`, while its pod cannot be created."""
    refused_pod_message: str = ""
    """The API server's own words about that."""


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """One pod of a party."""

    name: str
    uid: str
    party: str
    attempt: int
    phase: str
    """Pending, Running, Succeeded, Failed or Unknown."""
    node: str = ""
    num_gpus: int = 0
    reason: str = ""
    """The pod's own, such as Evicted or NodeLost."""
    message: str = ""
    is_deleting: bool = False
    unschedulable_message: str = ""
    """The scheduler's words, while it finds no node."""
    waiting_reason: str = ""
    """The container's, such as ImagePullBackOff or CreateContainerConfigError."""
    waiting_message: str = ""
    exit_code: int | None = None
    """The container's, once it has ended."""
    ended_at: datetime | None = None
    """When the container ended."""
    end_reason: str = ""
    """The container's, such as OOMKilled."""
    last_words: str = ""
    """The party's termination message, JSON as it wrote it."""
    was_disrupted: bool = False
    """Whether something took the pod away: an eviction, a drain, a preemption by the scheduler."""


@dataclass(frozen=True, slots=True)
class Source:
    """The ConfigMap with the model's files, or why there is none."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    problem: str = ""
    reason: AcceptedReason = AcceptedReason.SOURCE_MISSING
    """What `Accepted` says where there is a problem."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object that could not be written at the last try."""

    reason: str
    """A reason of `Accepted`, such as NameTaken or NotInvited, or of `PartiesReady`, such as NamespaceTerminating."""
    message: str
    party: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is known of one training at one moment."""

    training: SplitTraining
    source: Source | None = None
    """Absent where the manifest names no source."""
    participation_uids: Mapping[str, str] = field(default_factory=dict)
    """Of the participations that exist and belong to this very training, by party."""
    participation_images: Mapping[str, str] = field(default_factory=dict)
    """What those participations run, by party: a newer operator's default image is not theirs."""
    jobs: tuple[ObservedJob, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    reports: Mapping[str, Report] = field(default_factory=dict)
    """Each party's newest, by party; of any generation."""
    refusals: tuple[Refusal, ...] = ()
    trust_bundle_pem: str = ""
    """Roots that parties are given."""

    def jobs_of(self, attempt: int) -> dict[str, ObservedJob]:
        """Returns the Jobs of one attempt, by party."""
        return {job.party: job for job in self.jobs if job.attempt == attempt}

    def pods_of(self, attempt: int) -> dict[str, ObservedPod]:
        """Returns the newest known pod of each party in one attempt."""
        return {pod.party: pod for pod in self.pods if pod.attempt == attempt}

    def reports_of(self, attempt: int) -> dict[str, Report]:
        """Returns the reports of one attempt, by party: an attempt is the run's generation."""
        return {party: report for party, report in self.reports.items() if report.generation == attempt}
