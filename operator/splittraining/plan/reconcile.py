"""The decision about one training: from everything that was seen to everything that is wanted, every time anew.

Nothing is remembered but what stands in the status and in the objects themselves, so it does not matter when the last
look was, or who looked. A later statement here never undoes an earlier one: a training is over, or not accepted, or
suspended, or under way.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from splittraining.api.conditions import AcceptedReason, ConditionStatus, ConditionType, ProgressingReason
from splittraining.api.contract import Contract, compute_source_digest
from splittraining.api.errors import NotSupported, SplitTrainingError
from splittraining.api.participation import DesiredState
from splittraining.plan.acceptance import find_cluster_problems
from splittraining.plan.conditions import Statement, find_reason, is_terminal
from splittraining.plan.contracts import build_contract
from splittraining.plan.decision import Decision
from splittraining.plan.ended import decide_after_the_end
from splittraining.plan.look import Look
from splittraining.plan.manifests.participation import build_participation
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.observed import Observed
from splittraining.plan.suspension import decide_suspended
from splittraining.plan.underway import decide_underway

SOURCE_RETRY_S = 10.0
"""Source ConfigMaps are people's own and not watched."""
_FIRST_SOURCE_RETRY_S = 1.0
"""In a file with both, the ConfigMap may come a moment after its training."""


def decide_training(observed: Observed, *, now: datetime, settings: OperatorSettings) -> Decision:
    """Decides what is to be done about a training.

    Args:
        observed: All that is known of it.
        now: The moment, with time zone.
        settings: What the operator knows of itself and of its cluster.
    """
    look = Look(observed, now, settings)
    if observed.training.metadata.deletion_timestamp is not None:
        return Decision(status=look.old)  # its objects go with it
    if is_terminal(look.old):
        return decide_after_the_end(look)
    problems = find_cluster_problems(observed.training, default_image=settings.party_image)
    if problems:
        return _refuse(look, _describe_problems(problems))
    if observed.source is not None and observed.source.problem:
        statement = Statement.no(observed.source.reason, observed.source.problem)
        return _refuse(look, statement, retry_s=_choose_source_retry(look))
    contract = _build_contract(look)
    known = look.old.contract_digest
    if known is not None and known != contract.compute_digest():
        message = (
            f"the contract was {known} when the training was accepted and would be {contract.compute_digest()} now:"
            " the source ConfigMap has changed; put it back, or create a new training"
        )
        return _refuse(look, Statement.no(AcceptedReason.SOURCE_MISSING, message), retry_s=_choose_source_retry(look))
    return _decide_accepted(look, contract)


def _decide_accepted(look: Look, contract: Contract) -> Decision:
    digest = contract.compute_digest()
    accepted = _describe_acceptance(look)
    desired = DesiredState.SUSPENDED if look.spec.suspend else DesiredState.RUNNING
    participations = tuple(
        build_participation(look.observed.training, contract, party, desired=desired) for party in look.parties
    )
    if any(party not in look.observed.participation_uids for party in look.parties):
        # Everything else of a party names its participation's uid; each that comes is an event.
        reason = "" if accepted.status is ConditionStatus.TRUE else accepted.reason
        status = look.build_status({ConditionType.ACCEPTED: accepted}, contract_digest=digest, reason=reason)
        return look.decide(status, apply=participations)
    if look.spec.suspend:
        decision = decide_suspended(look, accepted, digest)
    else:
        decision = decide_underway(look, contract, accepted)
    return replace(decision, apply=participations + decision.apply)


def _choose_source_retry(look: Look) -> float:
    """Chooses when to look again for a source: soon while the training is young, at people's pace later."""
    created = look.observed.training.metadata.creation_timestamp
    age_s = (look.now - created).total_seconds() if created is not None else SOURCE_RETRY_S
    return min(max(age_s, _FIRST_SOURCE_RETRY_S), SOURCE_RETRY_S)


def _build_contract(look: Look) -> Contract:
    source = look.observed.source
    digest = compute_source_digest(source.files) if source is not None and source.files else ""
    known = look.observed.participation_images
    images = {party: known.get(party, look.settings.party_image) for party in look.parties}
    return build_contract(look.observed.training, source_digest=digest, default_images=images)


def _describe_acceptance(look: Look) -> Statement:
    for refusal in look.observed.refusals:
        reason = find_reason(ConditionType.ACCEPTED, refusal.reason)
        if reason is not None:
            return Statement.no(reason, refusal.message)
    return Statement.yes(AcceptedReason.ACCEPTED)


def _describe_problems(problems: list[SplitTrainingError]) -> Statement:
    missing = all(isinstance(problem, NotSupported) for problem in problems)
    reason = AcceptedReason.NOT_SUPPORTED if missing else AcceptedReason.SPEC_INVALID
    return Statement.no(reason, "\n".join(map(str, problems)))


def _refuse(look: Look, accepted: Statement, *, retry_s: float | None = None) -> Decision:
    progressing = Statement.no(ProgressingReason.PENDING, f"{accepted.reason}: {accepted.message}")
    status = look.build_status(
        {ConditionType.ACCEPTED: accepted, ConditionType.PROGRESSING: progressing}, reason=accepted.reason
    )
    return look.decide(status, requeue_after_s=retry_s)
