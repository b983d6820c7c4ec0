"""A training that is over: nothing runs any more, and in time it goes itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from splittraining.api.conditions import (
    CompleteReason,
    ConditionType,
    FailedReason,
    PartiesReadyReason,
    ProgressingReason,
)
from splittraining.api.report import Report
from splittraining.api.resource import API_VERSION, KIND
from splittraining.plan.attempts import list_releases
from splittraining.plan.conditions import Statement
from splittraining.plan.decision import Decision, Reference
from splittraining.plan.endings import Ending, EndingKind
from splittraining.plan.look import Look, Statements


def decide_after_the_end(look: Look) -> Decision:
    """Decides about a training that has completed or failed: releases what still runs, and deletes it in time."""
    metadata = look.observed.training.metadata
    releases = list_releases(look.observed, keep_ended=True)
    ends_at = _compute_end_of_life(look)
    if ends_at is None:
        return look.decide(look.old, delete=releases)
    if look.now < ends_at:
        return look.decide(look.old, delete=releases, requeue_after_s=(ends_at - look.now).total_seconds())
    itself = Reference(API_VERSION, KIND, metadata.namespace, metadata.name, metadata.uid)
    return look.decide(look.old, delete=(itself,))


def build_last_statements(ending: Ending, report: Report | None = None) -> Statements:
    """Builds what the conditions of a training say once it is over.

    Args:
        ending: How it ended.
        report: The server party's last report, or None where it is not known any more.
    """
    if ending.kind is EndingKind.COMPLETE:
        return {
            ConditionType.COMPLETE: Statement.yes(CompleteReason.COMPLETED, _describe_completion(report)),
            ConditionType.PROGRESSING: Statement.no(ProgressingReason.COMPLETED),
            ConditionType.PARTIES_READY: Statement.no(PartiesReadyReason.NOT_STARTED, "the training is over"),
        }
    message = f"{ending.party}: {ending.message}" if ending.party else ending.message
    return {
        ConditionType.FAILED: Statement.yes(FailedReason(ending.reason), message),
        ConditionType.PROGRESSING: Statement.no(ProgressingReason.FAILED, message),
        ConditionType.PARTIES_READY: Statement.no(PartiesReadyReason.NOT_STARTED, "the training is over"),
    }


def _describe_completion(report: Report | None) -> str:
    message = "every party has written its result"
    if report is None:
        return message
    if report.kept_round:
        message += f", the weights of round {report.kept_round}, the best one"
    if report.stopped_early:
        message += f"; early stopping ended the training after round {report.round} of {report.rounds}"
    return message


def _compute_end_of_life(look: Look) -> datetime | None:
    ttl_s, ended_at = look.spec.ttl_seconds_after_finished, look.old.completion_time
    return None if ttl_s is None or ended_at is None else ended_at + timedelta(seconds=ttl_s)
