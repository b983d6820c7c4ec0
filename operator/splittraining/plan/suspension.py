"""A training that is stopped on purpose: its Jobs go, its volumes stay."""

from __future__ import annotations

from splittraining.api.conditions import (
    CertificatesReadyReason,
    ConditionType,
    PartiesReadyReason,
    ProgressingReason,
    SuspendedReason,
)
from splittraining.plan.attempts import is_released, list_releases, release_parties
from splittraining.plan.conditions import Statement
from splittraining.plan.decision import Decision
from splittraining.plan.look import Look


def decide_suspended(look: Look, accepted: Statement, contract_digest: str) -> Decision:
    """Decides about a training whose spec says `suspend`.

    Args:
        look: What was seen.
        accepted: What to say about its acceptance.
        contract_digest: Of its contract.
    """
    released = is_released(look.observed)
    message = (
        "no pod is left; set suspend to false to go on, which in this version means from round 1"
        if released
        else "its pods are ending"
    )
    suspended = (
        Statement.yes(SuspendedReason.SUSPENDED, message)
        if released
        else Statement.no(SuspendedReason.SUSPENDING, message)
    )
    status = look.build_status(
        {
            ConditionType.ACCEPTED: accepted,
            ConditionType.CERTIFICATES_READY: Statement.no(CertificatesReadyReason.AWAITING_CERTIFICATES),
            ConditionType.PARTIES_READY: Statement.no(PartiesReadyReason.NOT_STARTED),
            ConditionType.PROGRESSING: Statement.no(ProgressingReason.SUSPENDED),
            ConditionType.SUSPENDED: suspended,
        },
        contract_digest=contract_digest,
        next_attempt_time=None,
        reason="",
        parties=release_parties(look.old.parties),
        parties_summary=f"0/{len(look.parties)}",
        eta_summary="",
    )
    return look.decide(status, delete=list_releases(look.observed))  # the end of each Job and pod is an event


def was_suspended(look: Look) -> bool:
    """Returns whether the status still says that the training is, or is being, suspended."""
    return look.get_statement(ConditionType.SUSPENDED).reason is not SuspendedReason.NOT_SUSPENDED
