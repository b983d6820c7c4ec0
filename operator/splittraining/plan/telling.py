"""What a status tells of an attempt under way: its conditions, its parties, how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from splittraining.api.conditions import (
    CertificatesReadyReason,
    ConditionStatus,
    ConditionType,
    NetworkIsolatedReason,
    PartiesReadyReason,
    ProgressingReason,
)
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.report import Isolation as SeenIsolation
from splittraining.api.spec.operation import Isolation
from splittraining.plan.conditions import Statement, find_condition, find_reason
from splittraining.plan.look import Look, Statements
from splittraining.plan.obstacles import Obstacle, find_obstacle
from splittraining.plan.progress import (
    PartiesSeen,
    build_parties,
    build_progress,
    build_summaries,
    fill_progress,
    is_ready,
)


def look_at_parties(look: Look) -> PartiesSeen:
    """Gathers what is known of the parties of the attempt under way."""
    attempt = look.old.attempt
    jobs, pods, reports = (
        look.observed.jobs_of(attempt),
        look.observed.pods_of(attempt),
        look.observed.reports_of(attempt),
    )
    obstacles: dict[str, Obstacle] = {}
    for party in look.parties:
        obstacle = find_obstacle(party, jobs.get(party), pods.get(party))
        if obstacle is not None:
            obstacles[party] = obstacle
    for refusal in look.observed.refusals:
        reason = find_reason(ConditionType.PARTIES_READY, refusal.reason)
        if refusal.party and reason is not None:
            obstacles.setdefault(refusal.party, Obstacle(refusal.party, reason, refusal.message))
    return PartiesSeen(pods=pods, reports=reports, obstacles=obstacles)


def list_missing(look: Look, seen: PartiesSeen) -> list[str]:
    """Returns the parties that are not ready, the server first."""
    known = {party.name: party for party in look.old.parties}
    return [party for party in look.parties if not is_ready(party, seen, known.get(party))]


def count_restarts(look: Look, culprit: str = "") -> dict[str, int]:
    """Returns how often each party was the reason for a start over, one more for the culprit of this one."""
    counts = {party.name: party.restarts for party in look.old.parties}
    if culprit:
        counts[culprit] = counts.get(culprit, 0) + 1
    return counts


def build_fields(
    look: Look, seen: PartiesSeen, restarts: Mapping[str, int], *, is_complete: bool = False
) -> dict[str, object]:
    """Builds the fields of the status that say who is where and how far it all is."""
    rounds = look.spec.rounds
    parties = build_parties(look.observed.training, seen, look.old, restarts)
    report = seen.reports.get(SERVER_PARTY)
    progress = build_progress(
        look.old.progress, report, rounds=rounds, running_since=_find_running_since(look), now=look.now
    )
    if is_complete:
        may_stop_early = look.spec.training.evaluation.early_stopping is not None
        progress = fill_progress(progress, rounds=rounds, may_stop_early=may_stop_early)
    first = next((seen.obstacles[party] for party in look.parties if party in seen.obstacles), None)
    return {
        "parties": parties,
        "progress": progress,
        "metrics": report.metrics if report is not None and report.metrics else look.old.metrics,
        "reason": first.reason if first is not None else "",
        **build_summaries(parties, progress, rounds=rounds),
    }


def describe_certificates(look: Look, seen: PartiesSeen) -> Statement:
    """Says whether every party has a certificate: it reports with it, so one that has reported has one."""
    known = look.get_statement(ConditionType.CERTIFICATES_READY)
    without = [party for party in look.parties if party not in seen.reports]
    if not without or known.status is ConditionStatus.TRUE:
        return Statement.yes(CertificatesReadyReason.ISSUED)
    return Statement.no(
        CertificatesReadyReason.AWAITING_CERTIFICATES, f"not yet heard of with a certificate: {', '.join(without)}"
    )


def describe_isolation(look: Look, seen: PartiesSeen) -> Statement:
    """Says whether policies hold, as the parties found out by dialing what they must not reach."""
    if look.spec.network.isolation is Isolation.NONE:
        return Statement.no(NetworkIsolatedReason.NOT_REQUESTED, "spec.network.isolation is None")
    known = look.get_statement(ConditionType.NETWORK_ISOLATED)
    found = {party: report.isolation for party, report in seen.reports.items()}
    if known.reason is NetworkIsolatedReason.NOT_ENFORCED and len(found) < len(look.parties):
        return known  # after a restart the first reports are not all that was found out before
    open_ones = [party for party, isolation in found.items() if isolation is SeenIsolation.OPEN]
    if open_ones:
        return Statement.no(
            NetworkIsolatedReason.NOT_ENFORCED,
            f"{', '.join(open_ones)} could reach an address that the network policies forbid: the cluster's network"
            " does not enforce them",
        )
    if len(found) == len(look.parties) and all(each is SeenIsolation.ISOLATED for each in found.values()):
        return Statement.yes(
            NetworkIsolatedReason.POLICIES_APPLIED, "every party found the address closed that policies forbid"
        )
    if known.status is ConditionStatus.TRUE or known.reason is NetworkIsolatedReason.NOT_ENFORCED:
        return known
    return Statement.unknown(NetworkIsolatedReason.PENDING, "policies are written; not all parties have tried them yet")


def describe_readiness(look: Look, seen: PartiesSeen) -> Statement:
    """Says whether all parties are there, or what keeps the first missing one away."""
    missing = list_missing(look, seen)
    if not missing:
        return Statement.yes(PartiesReadyReason.ALL_READY)
    for party in look.parties:
        if party in seen.obstacles:
            obstacle = seen.obstacles[party]
            return Statement.no(obstacle.reason, str(obstacle))
    return Statement.no(PartiesReadyReason.AWAITING_PARTIES, f"waiting for {', '.join(missing)}")


def is_running(look: Look, seen: PartiesSeen) -> bool:
    """Returns whether the parties of this attempt are, or were, all there: from then on only they end it."""
    was = look.get_statement(ConditionType.PROGRESSING).reason is ProgressingReason.RUNNING
    return was or not list_missing(look, seen)


def build_statements(look: Look, seen: PartiesSeen) -> Statements:
    """Builds what the conditions say of an attempt under way."""
    state = ProgressingReason.RUNNING if is_running(look, seen) else ProgressingReason.STARTING
    return {
        ConditionType.CERTIFICATES_READY: describe_certificates(look, seen),
        ConditionType.NETWORK_ISOLATED: describe_isolation(look, seen),
        ConditionType.PARTIES_READY: describe_readiness(look, seen),
        ConditionType.PROGRESSING: Statement.yes(state),
    }


def _find_running_since(look: Look) -> datetime | None:
    ready = find_condition(look.old, ConditionType.PARTIES_READY)
    return ready.last_transition_time if ready is not None and ready.status is ConditionStatus.TRUE else None
