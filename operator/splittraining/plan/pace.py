"""Which changes of a status are told at once, and which may wait: a status is written for people, not for plotting."""

from __future__ import annotations

from splittraining.api.status import PartyStatus, SplitTrainingStatus

QUIET_PERIOD_S = 10.0
"""Shortest time between two writes that tell nothing but progress."""

_FLOWING = ("progress", "metrics", "rounds_summary", "progress_summary", "eta_summary")
_FLOWING_OF_A_PARTY = ("round", "step", "samples", "bytes_sent", "bytes_received", "certificate_expiration_time")


def is_transition(old: SplitTrainingStatus | None, new: SplitTrainingStatus) -> bool:
    """Returns whether two statuses differ in more than how far a training is that has done its first step."""
    if old is None or _has_trained(old) != _has_trained(new):
        return True
    return _take_what_stands(old) != _take_what_stands(new)


def _has_trained(status: SplitTrainingStatus) -> bool:
    return status.progress is not None and status.progress.step > 0


def _take_what_stands(status: SplitTrainingStatus) -> SplitTrainingStatus:
    still = {name: SplitTrainingStatus.model_fields[name].get_default() for name in _FLOWING}
    return status.model_copy(update={**still, "parties": tuple(_still(party) for party in status.parties)})


def _still(party: PartyStatus) -> PartyStatus:
    return party.model_copy(update={name: PartyStatus.model_fields[name].get_default() for name in _FLOWING_OF_A_PARTY})
