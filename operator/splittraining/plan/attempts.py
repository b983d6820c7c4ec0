"""Attempts: starting all parties together, releasing them together, and when to try again.

All parties or none: a party that waits for another holds a GPU for nothing. A try that does not bring all together in
time is released whole. When the next one begins is a fixed function of the training and the number of the try, so
that two trainings that each hold half of what both need do not try in step for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from splittraining.api.spec.operation import StartupSpec
from splittraining.api.status import PartyStatus
from splittraining.plan.decision import Reference
from splittraining.plan.observed import Observed, ObservedJob

_DOUBLINGS = 4
"""How often the pause between two tries doubles, at most."""


def compute_pause(base_s: int, *, uid: str, attempt: int) -> timedelta:
    """Returns how long to wait before the next try: doubling, and another moment for each training.

    Args:
        base_s: Shortest pause after the first try.
        uid: Of the training.
        attempt: Number of the try, counted from 1.
    """
    digest = hashlib.blake2b(f"{uid}/{attempt}".encode(), digest_size=4).digest()
    spread = 1 + int.from_bytes(digest, "big") / 2**32
    doubled = 2 ** min(max(attempt, 1) - 1, _DOUBLINGS)
    return timedelta(seconds=round(base_s * doubled * spread))


def compute_ready_end(jobs: Iterable[ObservedJob], startup: StartupSpec) -> datetime | None:
    """Returns until when the parties of an attempt may come; nobody has waited before the first Job exists."""
    first = min((job.created_at for job in jobs), default=None)
    return None if first is None else first + timedelta(seconds=startup.ready_timeout_seconds)


def list_releases(observed: Observed, *, keep_ended: bool = False) -> tuple[Reference, ...]:
    """Returns the Jobs to delete so that their pods end.

    Args:
        observed: What was seen.
        keep_ended: Leave Jobs that have ended, for their logs.
    """
    return tuple(
        Reference("batch/v1", "Job", observed.training.metadata.namespace, job.name, job.uid)
        for job in observed.jobs
        if not job.is_deleting and not (keep_ended and (job.has_succeeded or job.has_failed))
    )


def release_parties(parties: Iterable[PartyStatus]) -> tuple[PartyStatus, ...]:
    """Returns the parties' statuses as they are once their pods are asked to end: none is ready, none holds a GPU."""
    return tuple(party.model_copy(update={"ready": False, "gpus": 0}) for party in parties)


def renew_parties(parties: Iterable[PartyStatus]) -> tuple[PartyStatus, ...]:
    """Returns the parties' statuses as a new attempt begins: of the ones before only the restarts count."""
    return tuple(
        PartyStatus(name=party.name, role=party.role, namespace=party.namespace, restarts=party.restarts)
        for party in parties
    )


def is_released(observed: Observed) -> bool:
    """Returns whether no Job and no living pod of any attempt is left."""
    living = [pod for pod in observed.pods if pod.phase not in ("Succeeded", "Failed")]
    return not observed.jobs and not living
