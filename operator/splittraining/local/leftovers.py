"""What parties leave behind in a run folder, read back: how each ended, its metrics, its plan, the run's record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from splittraining.api.plan_report import PlanReport
from splittraining.api.usage import UsageInvalid
from splittraining.local.workspace import METRICS_FILE, PLAN_FILE, RECORD_FILE, STDERR_FILE, TERMINATION_FILE
from splittraining.report.metrics import MetricRows, RoundRow, parse_metric_lines
from splittraining.report.record import RunRecord

_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Termination:
    """What a party wrote as its last word."""

    code: int
    reason: str
    message: str


def read_termination(folder: Path) -> Termination | None:
    """Returns a party's last word, or None where it had no time to write one."""
    try:
        content = json.loads((folder / TERMINATION_FILE).read_text(encoding="utf-8"))
        return Termination(int(content["code"]), str(content.get("reason", "")), str(content.get("message", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_stderr_tail(folder: Path) -> str:
    """Returns the last non-empty line that a party's process wrote to stderr, or an empty text."""
    try:
        with (folder / STDERR_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def read_metrics(folder: Path, parties: Iterable[str]) -> MetricRows:
    """Returns the metrics rows of every party of a run."""
    paths = [folder / party / METRICS_FILE for party in parties]
    return parse_metric_lines(path.read_text(encoding="utf-8").splitlines() for path in paths if path.is_file())


class MetricsTail:
    """What has been added to a party's metrics.jsonl since the last look, while the party writes it.

    Args:
        folder: The party's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS_FILE
        self._offset = 0

    def read_rounds(self) -> tuple[RoundRow, ...]:
        """Returns the rounds of all whole lines that are new; a line still being written waits for the next look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except OSError:  # not written yet
            return ()
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        return parse_metric_lines([whole.decode(errors="replace").splitlines()]).rounds


def read_plan(folder: Path, parties: Iterable[str]) -> PlanReport | None:
    """Returns the plan that the parties agreed on, or None where none got as far as cutting the model."""
    for party in parties:
        try:
            return PlanReport.model_validate_json((folder / party / PLAN_FILE).read_bytes())
        except (OSError, ValidationError):
            continue
    return None


def read_record(folder: Path) -> RunRecord:
    """Returns the record of a finished run.

    Raises:
        UsageInvalid: if the folder holds none.
    """
    path = folder / RECORD_FILE
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageInvalid(
            f"{path} cannot be read: {error.strerror}",
            allowed="the folder of a run that has ended",
            remedy="give the run's name, or its folder",
        ) from error
    except ValidationError as error:
        raise UsageInvalid(f"{path} is not the record of a run of this version") from error
