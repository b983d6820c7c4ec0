"""Runs a small training through `splittraining.local`: real processes, real mTLS, one fork server per test process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from splittraining.local.events import Event
from splittraining.local.launcher import Launcher
from splittraining.local.manifest import load_manifest
from splittraining.local.outcome import Outcome
from splittraining.local.runner import RunRequest, Surroundings, run_training
from splittraining.local.signals import StopWish, Wakeup
from splittraining.plan.environment import build_environment
from splittraining.report.record import RunRecord
from support.cases import Case

LAUNCHER = Launcher(environment=build_environment(intra_op_threads=1))
"""One for all tests of a process: importing torch once is most of a run's time."""


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, and what it left behind."""

    outcome: Outcome
    folder: Path
    record: RunRecord
    events: Sequence[Event]

    def read_losses(self) -> list[float]:
        """Returns every step's loss in the order of steps, from whoever computed it."""
        rows = [row for party in self._list_parties() for row in self._read_metrics(party) if row["kind"] == "step"]
        rows.sort(key=lambda row: row["step"])
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        return [row["loss"] for row in rows]

    def read_task_losses(self, task: str) -> list[float]:
        """Returns every step's loss of one task in the order of steps."""
        rows = [row for party in self._list_parties() for row in self._read_metrics(party) if row.get("task") == task]
        rows.sort(key=lambda row: row["step"])
        assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        return [row["loss"] for row in rows]

    def read_rounds(self) -> list[dict[str, object]]:
        """Returns the conductor's line of every round."""
        return [row for row in self._read_metrics("server") if row["kind"] == "round"]

    def read_segments(self, party: str) -> dict[str, Tensor]:
        """Returns what one party wrote as its result."""
        return load_file(self.folder / party / "result" / "segments.safetensors")

    def merge_segments(self, parties: Sequence[str]) -> dict[str, Tensor]:
        """Returns the segments of several parties as one state, which no two of them may share a part of."""
        merged: dict[str, Tensor] = {}
        for party in parties:
            segments = self.read_segments(party)
            assert not merged.keys() & segments.keys(), f"{party} holds what another party owns"
            merged |= segments
        return merged

    def _list_parties(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("*/party.json"))

    def _read_metrics(self, party: str) -> list[dict[str, object]]:
        path = self.folder / party / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def run_case(
    case: Case,
    folder: Path,
    *,
    launcher: Launcher = LAUNCHER,
    watch: Callable[[Event], None] = lambda _: None,
    surroundings: Surroundings | None = None,
) -> FinishedRun:
    """Runs a case to its end, whatever that is; `watch` sees every event as it happens."""
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        watch(event)

    wakeup = Wakeup()
    result = run_training(
        RunRequest(load_manifest(case.write(folder)), folder / "runs", restart=True),
        emit=emit,
        wakeup=wakeup,
        wish=StopWish(wakeup),
        launcher=launcher,
        surroundings=surroundings,
    )
    return FinishedRun(result.outcome, result.folder, result.record, events)
