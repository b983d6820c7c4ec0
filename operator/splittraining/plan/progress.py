"""How far a training is: from the parties' newest reports, and from the status where a party has not reported yet.

Reports live in one process's memory. After it starts anew the status is all there is until the parties report again,
so what is known there stays: a field left out would be removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from splittraining.api.report import PartyState, Report
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.pod import GPU_RESOURCE
from splittraining.api.status import PartyStatus, Progress, SplitTrainingStatus
from splittraining.plan.observed import ObservedPod
from splittraining.plan.obstacles import Obstacle
from splittraining.plan.topology import get_member, get_namespace, get_role, list_parties

_READY = frozenset(PartyState) - {PartyState.STARTING, PartyState.CONNECTING, PartyState.FAILED}
_ETA_STEP_S = 10
_FEWEST_STEPS = 2
"""Before them nothing is said of the time left: the first step also warms everything up."""
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class PartiesSeen:
    """What is known of one attempt's parties."""

    pods: Mapping[str, ObservedPod]
    reports: Mapping[str, Report]
    obstacles: Mapping[str, Obstacle]


def is_ready(party: str, seen: PartiesSeen, old: PartyStatus | None) -> bool:
    """Returns whether a party is connected, or was when it was last heard of and its pod still runs."""
    report = seen.reports.get(party)
    if report is not None:
        return report.state in _READY
    pod = seen.pods.get(party)
    return old is not None and old.ready and pod is not None and pod.phase == "Running"


def build_parties(
    training: SplitTraining, seen: PartiesSeen, old: SplitTrainingStatus, restarts: Mapping[str, int]
) -> tuple[PartyStatus, ...]:
    """Builds the status of every party: the server, then the clients in the order of their turns.

    Args:
        training: The training.
        seen: What is known of its parties in the attempt under way.
        old: The status as it stands, of the same attempt.
        restarts: How often each party was the reason for a start over.
    """
    known = {party.name: party for party in old.parties}
    return tuple(
        _build_party(training, name, seen, known.get(name), restarts.get(name, 0))
        for name in list_parties(training.spec)
    )


def _build_party(
    training: SplitTraining, name: str, seen: PartiesSeen, old: PartyStatus | None, restarts: int
) -> PartyStatus:
    pod, report, obstacle = seen.pods.get(name), seen.reports.get(name), seen.obstacles.get(name)
    status = old or PartyStatus(name=name, role=get_role(name))
    gpus = get_member(training.spec, name).pod.resources.limits.get(GPU_RESOURCE, "0")
    found: dict[str, object] = {
        "namespace": get_namespace(training, name),
        "restarts": restarts,
        "pod": pod.name if pod else "",
        "node": pod.node if pod else "",
        "gpus": int(gpus) if pod is not None and pod.node and gpus.isdigit() else 0,
        "ready": is_ready(name, seen, old),
        "reason": obstacle.reason if obstacle else "",
        "message": obstacle.message[:2048] if obstacle else "",
    }
    if report is not None:
        found |= {
            "round": report.round,
            "step": report.step,
            "samples": report.samples,
            "device": report.device,
            "certificate_expiration_time": report.certificate_expiration_time,
            "bytes_sent": sum(
                link.payload_sent + link.framing_sent + link.sealed_sent + link.relayed_sent for link in report.links
            ),
            "bytes_received": sum(
                link.payload_received + link.framing_received + link.sealed_received + link.relayed_received
                for link in report.links
            ),
        }
        if report.state is PartyState.FAILED and obstacle is None:
            found |= {"reason": report.reason, "message": report.message}
    return status.model_copy(update=found)


def build_progress(
    old: Progress | None, report: Report | None, *, rounds: int, running_since: datetime | None, now: datetime
) -> Progress | None:
    """Builds how far the training is, from what the server party reports: it drives the turns.

    Args:
        old: As it was last told, of the same attempt.
        report: The server party's newest report, or None where it has not reported yet.
        rounds: Rounds to train.
        running_since: When the parties of this attempt were first all ready.
        now: The moment.
    """
    if report is None or not (report.step or report.round):
        return old
    if old is not None and (old.step, old.steps, old.round, old.rounds, old.active_party) == (
        report.step,
        report.steps,
        report.round,
        rounds,
        report.active_party,
    ):
        return old  # the same news again: neither its time nor the time left changes
    done, steps = report.step, report.steps
    return Progress(
        round=report.round,
        rounds=rounds,
        step=done,
        steps=steps,
        percent=min(100, 100 * done // steps) if steps else 0,
        eta_seconds=_estimate_eta_s(done, steps, running_since, now),
        active_party=report.active_party,
        last_update_time=now.replace(microsecond=0),
    )


def fill_progress(known: Progress | None, *, rounds: int, may_stop_early: bool) -> Progress:
    """Builds how far a training is that every party has completed: the last reports may have found no operator.

    Args:
        known: As it was last heard of.
        rounds: Rounds to train.
        may_stop_early: It may have ended before its last round; then what was heard last stands beside the 100 percent.
    """
    known = known or Progress(rounds=rounds)
    whole = {} if may_stop_early else {"round": rounds, "step": known.steps or known.step}
    return known.model_copy(update={**whole, "percent": 100, "eta_seconds": 0, "active_party": ""})


def _estimate_eta_s(done: int, steps: int, since: datetime | None, now: datetime) -> int | None:
    if done < _FEWEST_STEPS or not steps or since is None or now <= since:
        return None
    left_s = (now - since).total_seconds() * max(0, steps - done) / done
    return round(left_s / _ETA_STEP_S) * _ETA_STEP_S


def render_duration(seconds: int) -> str:
    """Renders a time left as people write it: ``2d3h``, ``1h20m``, ``5m``, ``40s``."""
    for unit, smaller, size, step in (("d", "h", _DAY_S, _HOUR_S), ("h", "m", _HOUR_S, _MINUTE_S)):
        if seconds >= size:
            rest = seconds % size // step
            return f"{seconds // size}{unit}" + (f"{rest}{smaller}" if rest else "")
    return f"{seconds // _MINUTE_S}m" if seconds >= _MINUTE_S else f"{seconds}s"


def build_summaries(parties: tuple[PartyStatus, ...], progress: Progress | None, *, rounds: int) -> dict[str, str]:
    """Builds what `kubectl get` prints in one column each."""
    ready = sum(party.ready for party in parties)
    eta_s = progress.eta_seconds if progress else None
    return {
        "parties_summary": f"{ready}/{len(parties)}",
        "rounds_summary": f"{progress.round if progress else 0}/{rounds}",
        "progress_summary": f"{progress.percent if progress else 0}%",
        "eta_summary": render_duration(eta_s) if eta_s is not None else "",
    }
