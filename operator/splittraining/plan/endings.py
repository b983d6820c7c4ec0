"""How an attempt ends: complete, failed for good, or to be started over, and because of which party.

When one party ends, the others lose it and end too. What they say then names the loss, not the cause, so whoever ended
for a reason of its own is looked for first, and given a moment to be seen.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from splittraining.api.conditions import FailedReason, PartiesReadyReason
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.plan.observed import Observed, ObservedJob, ObservedPod

PATIENCE = timedelta(seconds=20)
"""How long to wait for the cause after the first party that only lost another: parties notice a loss within 15 s."""

_FOR_GOOD = {
    ExitCode.INTERNAL: FailedReason.INTERNAL_ERROR,
    ExitCode.SPEC_INVALID: FailedReason.SPEC_INVALID,
    ExitCode.DATA_INVALID: FailedReason.DATA_INVALID,
    ExitCode.MODEL_INVALID: FailedReason.MODEL_INVALID,
    ExitCode.CONTRACT_MISMATCH: FailedReason.CONTRACT_MISMATCH,
    ExitCode.IDENTITY_REFUSED: FailedReason.IDENTITY_REFUSED,
    ExitCode.NUMERICS: FailedReason.NUMERICS_INVALID,
    ExitCode.PROTOCOL: FailedReason.PROTOCOL_VIOLATION,
    ExitCode.STORAGE: FailedReason.STORAGE_FAILED,
    ExitCode.DEVICE_UNAVAILABLE: FailedReason.DEVICE_UNAVAILABLE,
    ExitCode.MODEL_CODE: FailedReason.MODEL_CODE_FAILED,
    ExitCode.NOT_SUPPORTED: FailedReason.NOT_SUPPORTED,
    ExitCode.NETWORK_OPEN: FailedReason.NETWORK_OPEN,
}
"""Codes of what trying again cannot mend."""

_LOST_OTHERS = frozenset({ExitCode.PEER_LOST, ExitCode.PEER_FAILED, ExitCode.START_TIMEOUT})
"""Codes that tell of another party."""

_OOM_KILLED = "OOMKilled"  # the kubelet's word


class EndingKind(enum.Enum):
    """What to do about an end."""

    COMPLETE = "complete"
    FAIL = "fail"
    START_OVER = "start over"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended."""

    kind: EndingKind
    reason: enum.StrEnum = FailedReason.NOT_FAILED
    """Why, where it did not complete: of `Failed`, or, to start over, of `PartiesReady`."""
    party: str = ""
    """Whose end was the cause."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class LastWords:
    """What a party wrote before it ended."""

    code: int
    reason: str
    message: str


def parse_last_words(text: str) -> LastWords | None:
    """Reads a termination message, or returns None where it is not one: the pod may have run anything."""
    try:
        document = json.loads(text)
        return LastWords(int(document["code"]), str(document["reason"]), str(document["message"]))
    except (ValueError, KeyError, TypeError):
        return None


def decide_ending(observed: Observed, attempt: int, parties: Iterable[str], *, now: datetime) -> Ending | None:
    """Decides how an attempt ended, or returns None while it goes on or the cause may still show.

    `compute_patience_end` says until when the cause may.

    Args:
        observed: What was seen.
        attempt: The attempt under way.
        parties: All party names, the server first.
        now: The moment.
    """
    jobs, pods = observed.jobs_of(attempt), observed.pods_of(attempt)
    names = tuple(parties)
    if names and all(name in jobs and jobs[name].has_succeeded for name in names):
        return Ending(EndingKind.COMPLETE)
    ends = _list_ends(jobs, pods, names)
    for end in ends:
        if end.kind is EndingKind.FAIL:
            return end
    causes = [end for end in ends if not _only_lost_others(pods.get(end.party))]
    if causes:
        return causes[0]
    if not ends:
        return None
    if all(name in pods and _has_ended(pods[name]) for name in names):
        return ends[0]  # nobody else can still show the cause
    patience_end = _compute_patience_end(ends, pods)
    return ends[0] if patience_end is None or now >= patience_end else None


def compute_patience_end(observed: Observed, attempt: int, parties: Iterable[str]) -> datetime | None:
    """Returns until when the cause of a loss may still show; None where no party has ended.

    Args:
        observed: What was seen.
        attempt: The attempt under way.
        parties: All party names, the server first.
    """
    jobs, pods = observed.jobs_of(attempt), observed.pods_of(attempt)
    return _compute_patience_end(_list_ends(jobs, pods, parties), pods)


def _list_ends(
    jobs: Mapping[str, ObservedJob], pods: Mapping[str, ObservedPod], parties: Iterable[str]
) -> list[Ending]:
    return [end for name in parties if (end := _describe_end(name, jobs.get(name), pods.get(name))) is not None]


def _compute_patience_end(ends: Iterable[Ending], pods: Mapping[str, ObservedPod]) -> datetime | None:
    seen = [pods[end.party].ended_at for end in ends if end.party in pods]
    first = min((moment for moment in seen if moment is not None), default=None)
    return None if first is None else first + PATIENCE


def _describe_end(party: str, job: ObservedJob | None, pod: ObservedPod | None) -> Ending | None:
    """Returns what a party's end means by itself, or None where it has not ended or ended well."""
    if pod is None:
        if job is None or not job.has_failed:
            return None
        message = f"its pod is gone: {job.failure_message or 'the Job says no more'}"
        return Ending(EndingKind.START_OVER, PartiesReadyReason.CRASHED, party, message)
    if pod.was_disrupted or pod.reason in ("Evicted", "NodeLost", "NodeShutdown", "Preempting"):
        lost = pod.reason in ("NodeLost", "NodeShutdown")
        reason = PartiesReadyReason.NODE_LOST if lost else PartiesReadyReason.EVICTED
        message = f"its pod was taken away ({pod.reason or 'disrupted'}): {pod.message or 'no details'}"
        return Ending(EndingKind.START_OVER, reason, party, message) if _has_ended(pod) else None
    if pod.exit_code == ExitCode.OK or not _has_ended(pod):
        return None
    if pod.end_reason == _OOM_KILLED:
        message = f"it used more memory than its container may. {REMEDIES[ExitCode.OUT_OF_MEMORY]}"
        return Ending(EndingKind.FAIL, FailedReason.OUT_OF_MEMORY, party, message)
    return _describe_exit(party, pod)


def _describe_exit(party: str, pod: ObservedPod) -> Ending:
    words = parse_last_words(pod.last_words)
    said = words.message if words is not None else ""
    code = _parse_code(pod.exit_code)
    if code in _FOR_GOOD:
        return Ending(EndingKind.FAIL, _FOR_GOOD[code], party, said or REMEDIES[code])
    known = said or (REMEDIES[code] if code is not None else "")
    message = f"it ended with exit code {pod.exit_code}" + (
        f": {known}" if known else f" ({pod.end_reason or 'Error'})"
    )
    reason = PartiesReadyReason.OUT_OF_MEMORY if code is ExitCode.OUT_OF_MEMORY else PartiesReadyReason.CRASHED
    return Ending(EndingKind.START_OVER, reason, party, message)


def _parse_code(number: int | None) -> ExitCode | None:
    try:
        return ExitCode(number) if number is not None else None
    except ValueError:
        return None


def _has_ended(pod: ObservedPod) -> bool:
    return pod.exit_code is not None or pod.phase in ("Succeeded", "Failed")


def _only_lost_others(pod: ObservedPod | None) -> bool:
    return pod is not None and not pod.was_disrupted and _parse_code(pod.exit_code) in _LOST_OTHERS
