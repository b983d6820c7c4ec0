"""What a training in a cluster looks like right now, built from its status and its events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from splittraining.api.conditions import (
    REASONS,
    CheckpointAvailableReason,
    ConditionStatus,
    ConditionType,
    FailedReason,
    NetworkIsolatedReason,
    PartiesReadyReason,
    ProgressingReason,
)
from splittraining.api.exit_codes import REMEDIES, ExitCode
from splittraining.api.failures import get_exit_code
from splittraining.api.reasons import ADVICE, NOTHING
from splittraining.api.status import Condition, PartyStatus, Progress
from splittraining.cli.tame import tame_line
from splittraining.cli.trainings import Training
from splittraining.report.markdown import render_count, render_duration

MOST_EVENTS = 5

_GOOD_WHEN_FALSE = frozenset(
    {ConditionType.SUSPENDED, ConditionType.FAILED, ConditionType.DEGRADED, ConditionType.STALLED}
)
_NOT_WORTH_A_LINE = frozenset(
    {
        NetworkIsolatedReason.NOT_REQUESTED,
        NetworkIsolatedReason.PENDING,
        PartiesReadyReason.NOT_STARTED,
        CheckpointAvailableReason.NONE_YET,
        CheckpointAvailableReason.NOT_CONFIGURED,
    }
)
"""Reasons of a training with which nothing is wrong."""
_TOLD_ELSEWHERE = frozenset({ConditionType.PROGRESSING, ConditionType.COMPLETE})
_OF_RUNNING_PARTIES = frozenset({ConditionType.CERTIFICATES_READY, ConditionType.PARTIES_READY})


@dataclass(frozen=True, slots=True)
class Notice:
    """A condition that is not as it should be."""

    condition: str
    reason: str
    message: str
    remedy: str

    @property
    def text(self) -> str:
        """The notice as one line."""
        said = f"{self.condition}: {self.reason}" + (f": {self.message}" if self.message else "")
        remedy = f"{'' if said.endswith('.') else '.'} To do: {self.remedy}" if self.remedy else ""
        return said + remedy


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event about the training."""

    time: datetime
    kind: str
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class StatusBoard:
    """The whole training."""

    title: str
    state: str
    attempt: int
    rounds: int
    progress: Progress | None
    parties: tuple[PartyStatus, ...]
    metrics: tuple[tuple[str, str], ...]
    notices: tuple[Notice, ...]
    events: tuple[EventLine, ...]
    is_over: bool

    @property
    def headline(self) -> str:
        """Which training, and what it is doing."""
        attempt = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{self.title}: {self.state}{attempt}"

    @property
    def progress_words(self) -> tuple[str, ...]:
        """How far it is, piece by piece."""
        progress = self.progress
        if progress is None:
            return (f"no step yet, {render_count(self.rounds, 'round')} to train",)
        steps = f"step {progress.step}" + (f"/{progress.steps}" if progress.steps else "")
        words = [f"round {progress.round}/{progress.rounds or self.rounds}", steps, f"{progress.percent}%"]
        if not self.is_over:
            if progress.eta_seconds is not None:
                words.append(f"{render_duration(float(progress.eta_seconds))} left")
            if progress.active_party:
                words.append(f"turn {progress.turn}: {progress.active_party}")
        return tuple(words)


def build_board(training: Training, events: Iterable[Mapping[str, Any]] = ()) -> StatusBoard:
    """Builds the board.

    Args:
        training: The training with its status.
        events: Events about it, as the API server lists them, in any order.
    """
    status = training.status
    progressing = training.find_condition(ConditionType.PROGRESSING)
    return StatusBoard(
        title=f"{training.namespace}/{training.name} ({training.spec.get('topology', '')})",
        state=progressing.reason if progressing else "not seen by the operator yet",
        attempt=status.attempt,
        rounds=int(training.spec.get("rounds") or 0),
        progress=status.progress,
        parties=status.parties,
        metrics=tuple((metric.name, metric.value) for metric in status.metrics),
        notices=tuple(_build_notice(condition) for condition in _list_worrying(training)),
        events=_list_events(events),
        is_over=training.is_over,
    )


def explain_failure(training: Training) -> tuple[ExitCode, str]:
    """Returns the exit code of a training that failed, and why as one line with what to do."""
    failed = training.find_condition(ConditionType.FAILED)
    if failed is None:
        return ExitCode.INTERNAL, ""
    code = get_exit_code(failed.reason)
    message = tame_line(failed.message)
    remedy = "" if "To do:" in message else f"{'' if message.endswith('.') else '.'} To do: {REMEDIES[code]}"
    return code, f"{training.name} failed: {failed.reason}: {message}{remedy}"


def _list_worrying(training: Training) -> list[Condition]:
    return [condition for condition in training.status.conditions if _is_worrying(condition, is_over=training.is_over)]


def _is_worrying(condition: Condition, *, is_over: bool) -> bool:
    if condition.type in _TOLD_ELSEWHERE or condition.reason in _NOT_WORTH_A_LINE:
        return False
    if is_over and condition.type in _OF_RUNNING_PARTIES:
        return False
    wanted = ConditionStatus.FALSE if condition.type in _GOOD_WHEN_FALSE else ConditionStatus.TRUE
    return condition.status is not wanted


def _build_notice(condition: Condition) -> Notice:
    message = tame_line(condition.message)
    remedy = "" if "To do:" in message else _find_remedy(condition)
    return Notice(condition.type, condition.reason, message, remedy)


def _find_remedy(condition: Condition) -> str:
    try:
        kind = ConditionType(condition.type)
        reason = REASONS[kind](condition.reason)
    except ValueError:
        return ""  # a newer operator's
    if isinstance(reason, FailedReason):
        return REMEDIES[get_exit_code(reason)]
    remedy = ADVICE[kind, reason][1] if not isinstance(reason, ProgressingReason) else ""
    return "" if remedy == NOTHING else remedy


def _list_events(events: Iterable[Mapping[str, Any]]) -> tuple[EventLine, ...]:
    lines = [line for event in events if (line := _parse_event(event)) is not None]
    return tuple(sorted(lines, key=lambda line: line.time)[-MOST_EVENTS:])


def _parse_event(event: Mapping[str, Any]) -> EventLine | None:
    series = event.get("series") or {}
    moments = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    text = next((str(moment) for moment in moments if moment), "")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    note = tame_line(str(event.get("message") or event.get("note") or ""))
    return EventLine(
        time if time.tzinfo else time.replace(tzinfo=UTC),
        tame_line(str(event.get("type", ""))),
        tame_line(str(event.get("reason", ""))),
        note,
    )
