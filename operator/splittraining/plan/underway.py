"""A training under way: its parties are started together, watched, and started over or ended together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from splittraining.api.conditions import (
    CertificatesReadyReason,
    ConditionType,
    FailedReason,
    PartiesReadyReason,
    ProgressingReason,
    SuspendedReason,
)
from splittraining.api.contract import Contract
from splittraining.api.identity import SERVER_PARTY
from splittraining.plan.attempts import (
    compute_pause,
    compute_ready_end,
    is_released,
    list_releases,
    release_parties,
    renew_parties,
)
from splittraining.plan.conditions import Statement
from splittraining.plan.decision import Decision, Manifest
from splittraining.plan.ended import build_last_statements
from splittraining.plan.endings import Ending, EndingKind, compute_patience_end, decide_ending
from splittraining.plan.look import Look, Statements
from splittraining.plan.manifests.job import build_job
from splittraining.plan.manifests.party_set import build_party_objects
from splittraining.plan.progress import PartiesSeen
from splittraining.plan.suspension import was_suspended
from splittraining.plan.telling import build_fields, build_statements, count_restarts, is_running, look_at_parties

CRASH_PAUSE_S = 10
"""Pause before the first start over after a party was lost, or `startup.retryPeriodSeconds` where that is less."""

_NEXT_ATTEMPT = {"progress": None, "progress_summary": "0%", "eta_summary": ""}
"""Without checkpoints every attempt begins at the beginning, and the status says so."""


def decide_underway(look: Look, contract: Contract, accepted: Statement) -> Decision:
    """Decides about an accepted training that is neither suspended nor over."""
    base = {ConditionType.ACCEPTED: accepted, ConditionType.SUSPENDED: Statement.no(SuspendedReason.NOT_SUSPENDED)}
    attempt = look.old.attempt
    if attempt and was_suspended(look):
        said = Statement.yes(ProgressingReason.PENDING, "resumed: it starts over from round 1, without checkpoints")
        status = look.build_status(
            {**base, ConditionType.PROGRESSING: said}, next_attempt_time=_round(look.now), **_NEXT_ATTEMPT
        )
        return look.decide(status, requeue_after_s=0)
    if look.old.next_attempt_time is not None:
        if _is_deadline_over(look):
            return _end(look, base, look_at_parties(look), _build_deadline_ending(look))
        return _decide_pause(look, base, look.old.next_attempt_time)
    if not attempt:
        starting = {**base, ConditionType.PROGRESSING: Statement.yes(ProgressingReason.STARTING)}
        status = look.build_status(starting, contract_digest=contract.compute_digest(), attempt=1)
        return look.decide(status, apply=_build_objects(look, contract), requeue_after_s=0)
    return _watch(look, base, contract)


def _watch(look: Look, base: Statements, contract: Contract) -> Decision:
    """Looks how the parties of the attempt are."""
    seen = look_at_parties(look)
    ending = _decide_ending(look)
    if ending is not None and ending.kind is EndingKind.START_OVER:
        return _start_over(look, base, seen, ending)
    if ending is not None:
        return _end(look, base, seen, ending)
    ready_end = None if is_running(look, seen) else _compute_ready_end(look)
    if ready_end is not None and look.now >= ready_end:
        return _give_up_start(look, base, seen)
    return _go_on(look, base, seen, contract)


# --- while it goes on -------------------------------------------------------------------------------------------------


def _go_on(look: Look, base: Statements, seen: PartiesSeen, contract: Contract) -> Decision:
    fields = build_fields(look, seen, count_restarts(look))
    if look.old.start_time is None and is_running(look, seen):
        fields["start_time"] = _round(look.now)
    status = look.build_status({**base, **build_statements(look, seen)}, **fields)
    wanted = _build_objects(look, contract) + _build_jobs(look, contract)
    deadlines = [
        None if is_running(look, seen) else _compute_ready_end(look),
        compute_patience_end(look.observed, look.old.attempt, look.parties),
        _compute_deadline(look, status.start_time),
    ]
    return look.decide(status, apply=wanted, requeue_after_s=_count_seconds_to(deadlines, look.now))


def _compute_ready_end(look: Look) -> datetime | None:
    return compute_ready_end(look.observed.jobs_of(look.old.attempt).values(), look.spec.startup)


def _compute_deadline(look: Look, started_at: datetime | None) -> datetime | None:
    deadline_s = look.spec.active_deadline_seconds
    return None if deadline_s is None or started_at is None else started_at + timedelta(seconds=deadline_s)


def _count_seconds_to(moments: Iterable[datetime | None], now: datetime) -> float | None:
    """Returns how long it is until the first moment; None where there is none: all else comes as an event."""
    known = [moment for moment in moments if moment is not None]
    return max(0.0, (min(known) - now).total_seconds()) if known else None


def _build_objects(look: Look, contract: Contract) -> tuple[Manifest, ...]:
    observed = look.observed
    return tuple(
        manifest
        for party in look.parties
        for manifest in build_party_objects(
            observed.training,
            contract,
            party,
            uid=observed.participation_uids[party],
            attempt=max(1, look.old.attempt),
            settings=look.settings,
            source_files=observed.source.files if observed.source is not None else {},
            trust_bundle_pem=observed.trust_bundle_pem,
        )
    )


def _build_jobs(look: Look, contract: Contract) -> tuple[Manifest, ...]:
    return tuple(
        build_job(
            look.observed.training,
            contract,
            party,
            uid=look.observed.participation_uids[party],
            attempt=look.old.attempt,
            settings=look.settings,
        )
        for party in look.parties
    )


# --- how an attempt ends ----------------------------------------------------------------------------------------------


def _decide_ending(look: Look) -> Ending | None:
    ending = decide_ending(look.observed, look.old.attempt, look.parties, now=look.now)
    if ending is not None and ending.kind is not EndingKind.START_OVER:
        return ending
    if _is_deadline_over(look):
        return _build_deadline_ending(look)
    most = look.spec.fault_tolerance.max_restarts_per_party
    if ending is not None and count_restarts(look, ending.party)[ending.party] > most:
        message = f"{ending.message}; it was started over {most} times, which is what maxRestartsPerParty allows"
        return Ending(EndingKind.FAIL, FailedReason.TOO_MANY_RESTARTS, ending.party, message)
    return ending


def _is_deadline_over(look: Look) -> bool:
    deadline = _compute_deadline(look, look.old.start_time)
    return deadline is not None and look.now >= deadline


def _build_deadline_ending(look: Look) -> Ending:
    message = f"it ran longer than activeDeadlineSeconds allows: {look.spec.active_deadline_seconds} s"
    return Ending(EndingKind.FAIL, FailedReason.DEADLINE_EXCEEDED, message=message)


def _end(look: Look, base: Statements, seen: PartiesSeen, ending: Ending) -> Decision:
    is_complete = ending.kind is EndingKind.COMPLETE
    fields = build_fields(look, seen, count_restarts(look), is_complete=is_complete) | {
        "completion_time": _round(look.now),
        "next_attempt_time": None,
        "reason": ending.reason if ending.kind is EndingKind.FAIL else "",
        "eta_summary": "",
    }
    status = look.build_status({**base, **build_last_statements(ending, seen.reports.get(SERVER_PARTY))}, **fields)
    parties = tuple(
        party.model_copy(update={"ready": False} | _name_cause(ending, party.name)) for party in status.parties
    )
    status = status.model_copy(update={"parties": parties})
    return look.decide(status, delete=list_releases(look.observed, keep_ended=True), requeue_after_s=0)


def _start_over(look: Look, base: Statements, seen: PartiesSeen, ending: Ending) -> Decision:
    restarts = count_restarts(look, ending.party)
    pause_s = min(CRASH_PAUSE_S, look.spec.startup.retry_period_seconds)
    pause = compute_pause(pause_s, uid=look.observed.training.metadata.uid, attempt=restarts[ending.party])
    fields = build_fields(look, seen, restarts)
    why = Statement.no(PartiesReadyReason(ending.reason), f"{ending.party}: {ending.message}")
    return _release(look, base, why, pause, fields)


def _give_up_start(look: Look, base: Statements, seen: PartiesSeen) -> Decision:
    startup = look.spec.startup
    pause = compute_pause(
        startup.retry_period_seconds, uid=look.observed.training.metadata.uid, attempt=look.old.attempt
    )
    why = build_statements(look, seen)[ConditionType.PARTIES_READY]
    message = f"not all parties came within {startup.ready_timeout_seconds} s; {why.message}"
    fields = build_fields(look, seen, count_restarts(look))
    return _release(look, base, Statement.no(why.reason, message), pause, fields)


def _release(look: Look, base: Statements, why: Statement, pause: timedelta, fields: dict[str, object]) -> Decision:
    """Ends all pods of the attempt and says when the next one begins."""
    at = _round(look.now + pause)
    pending = Statement.yes(
        ProgressingReason.PENDING,
        f"{why.message}; all parties are released and started over from round 1 at {at:%Y-%m-%dT%H:%M:%SZ}",
    )
    status = look.build_status(
        {
            **base,
            ConditionType.PARTIES_READY: why,
            ConditionType.PROGRESSING: pending,
            ConditionType.CERTIFICATES_READY: Statement.no(CertificatesReadyReason.AWAITING_CERTIFICATES),
        },
        **{**fields, **_NEXT_ATTEMPT, "next_attempt_time": at},
    )
    parties = release_parties(status.parties)
    status = status.model_copy(
        update={"parties": parties, "parties_summary": f"0/{len(parties)}", "reason": why.reason.value}
    )
    return look.decide(status, delete=list_releases(look.observed), requeue_after_s=0)


def _decide_pause(look: Look, base: Statements, next_at: datetime) -> Decision:
    """Waits until nothing of the last attempt is left and the time of the next one has come."""
    if look.now < next_at or not is_released(look.observed):
        status = look.build_status(base)
        deadlines = [next_at if look.now < next_at else None, _compute_deadline(look, look.old.start_time)]
        seconds = _count_seconds_to(deadlines, look.now)  # the end of each Job and pod is an event
        return look.decide(status, delete=list_releases(look.observed), requeue_after_s=seconds)
    starting = {**base, ConditionType.PROGRESSING: Statement.yes(ProgressingReason.STARTING)}
    status = look.build_status(
        starting,
        attempt=look.old.attempt + 1,
        next_attempt_time=None,
        reason="",
        metrics=(),
        parties=renew_parties(look.old.parties),
        **_NEXT_ATTEMPT,
    )
    return look.decide(status, requeue_after_s=0)


def _name_cause(ending: Ending, party: str) -> dict[str, str]:
    if party != ending.party:
        return {}
    return {"reason": ending.reason.value, "message": ending.message[:2048]}


def _round(moment: datetime) -> datetime:
    """Returns a moment as the API server stores it: whole seconds."""
    return moment.replace(microsecond=0)
