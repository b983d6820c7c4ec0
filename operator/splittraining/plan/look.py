"""One look at one training: everything its decision reads, and the status that the decision begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from splittraining.api.conditions import (
    AcceptedReason,
    ApprovedReason,
    CertificatesReadyReason,
    CheckpointAvailableReason,
    CompleteReason,
    ConditionType,
    FailedReason,
    NetworkIsolatedReason,
    PartiesReadyReason,
    ProgressingReason,
    SuspendedReason,
)
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.status import Condition, SplitTrainingStatus
from splittraining.plan.conditions import Statement, build_conditions, find_reason
from splittraining.plan.decision import Decision, Manifest, Reference
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.observed import Observed
from splittraining.plan.participation_status import build_participation_statuses
from splittraining.plan.topology import list_parties
from splittraining.plan.transitions import list_events

Statements = Mapping[ConditionType, Statement]

_FIRST: Statements = {
    ConditionType.ACCEPTED: Statement.unknown(AcceptedReason.ACCEPTED),
    ConditionType.APPROVED: Statement.yes(
        ApprovedReason.NOT_REQUIRED, "all parties run in the training's own namespace: whoever wrote it may run them"
    ),
    ConditionType.CERTIFICATES_READY: Statement.no(CertificatesReadyReason.AWAITING_CERTIFICATES),
    ConditionType.NETWORK_ISOLATED: Statement.unknown(NetworkIsolatedReason.PENDING),
    ConditionType.PARTIES_READY: Statement.no(PartiesReadyReason.NOT_STARTED),
    ConditionType.PROGRESSING: Statement.yes(ProgressingReason.PENDING),
    ConditionType.CHECKPOINT_AVAILABLE: Statement.no(
        CheckpointAvailableReason.NOT_CONFIGURED, "this version takes no checkpoints: a start over begins at round 1"
    ),
    ConditionType.SUSPENDED: Statement.no(SuspendedReason.NOT_SUSPENDED),
    ConditionType.COMPLETE: Statement.no(CompleteReason.NOT_COMPLETED),
    ConditionType.FAILED: Statement.no(FailedReason.NOT_FAILED),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a training, when, and by an operator with which settings."""

    observed: Observed
    now: datetime
    settings: OperatorSettings

    @property
    def spec(self) -> SplitTrainingSpec:
        """What is wanted."""
        return self.observed.training.spec

    @property
    def parties(self) -> tuple[str, ...]:
        """All party names, the server first."""
        return list_parties(self.spec)

    @property
    def old(self) -> SplitTrainingStatus:
        """The status as it stands."""
        return self.observed.training.status or SplitTrainingStatus()

    def get_statement(self, kind: ConditionType) -> Statement:
        """Returns what a condition says now, or what it says of a training that was never looked at."""
        known: Condition | None = next((each for each in self.old.conditions if each.type == kind), None)
        first = _FIRST[kind]
        reason = find_reason(kind, known.reason) if known is not None else None
        if known is None or reason is None:  # another version may have had words of its own
            return first
        return Statement(known.status, reason, known.message)

    def build_status(self, statements: Statements, **fields: object) -> SplitTrainingStatus:
        """Builds the status: the old one with some conditions saying something new, and some fields replaced."""
        said = {kind: statements.get(kind) or self.get_statement(kind) for kind in _FIRST}
        generation = self.observed.training.metadata.generation
        conditions = build_conditions(said, self.old.conditions, generation=generation, now=self.now)
        return self.old.model_copy(update={"conditions": conditions, "observed_generation": generation, **fields})

    def decide(
        self,
        status: SplitTrainingStatus,
        *,
        apply: tuple[Manifest, ...] = (),
        delete: tuple[Reference, ...] = (),
        requeue_after_s: float | None = None,
    ) -> Decision:
        """Builds the decision, with the events that the change of the status is worth."""
        return Decision(
            status=status,
            apply=apply,
            delete=delete,
            events=list_events(self.observed.training.status, status),
            participations=build_participation_statuses(self.observed.training, status),
            requeue_after_s=requeue_after_s,
        )
