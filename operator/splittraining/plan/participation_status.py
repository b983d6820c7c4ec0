"""What each participation's status says: the part of the training's status that is about its party.

People of a party's namespace may see nothing else. It is derived from the training's status alone, so the two cannot
tell different stories, and it leaves out what flows (rounds, steps, bytes), so that it is written on transitions only.
"""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.conditions import ConditionType
from splittraining.api.names import build_job_name
from splittraining.api.participation import ParticipationStatus
from splittraining.api.resource import SplitTraining
from splittraining.api.status import PartyStatus, SplitTrainingStatus
from splittraining.plan.conditions import find_condition
from splittraining.plan.manifests.metadata import get_child_name

READY = "Ready"

_TOLD = (ConditionType.APPROVED, ConditionType.SUSPENDED, ConditionType.COMPLETE, ConditionType.FAILED)
"""Conditions of the training that are each party's business; their messages may name other institutions."""


def build_participation_statuses(
    training: SplitTraining, status: SplitTrainingStatus
) -> Mapping[str, ParticipationStatus]:
    """Builds the status of every participation, by party.

    Args:
        training: The training.
        status: Its status as it is to be.
    """
    return {party.name: _build_status(training, status, party) for party in status.parties}


def _build_status(training: SplitTraining, status: SplitTrainingStatus, party: PartyStatus) -> ParticipationStatus:
    progressing = find_condition(status, ConditionType.PROGRESSING)
    state = progressing.reason if progressing is not None else ""
    return ParticipationStatus(
        conditions=tuple(
            condition.model_copy(update={"message": "", "observed_generation": 0})
            for condition in status.conditions
            if condition.type in _TOLD
        ),
        job=build_job_name(get_child_name(training, party.name), status.attempt) if party.pod else "",
        attempt=status.attempt,
        restarts=party.restarts,
        pod=party.pod,
        node=party.node,
        state=READY if party.ready else state,
        reason=party.reason,
        message=party.message,
    )
