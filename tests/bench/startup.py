"""Seconds from the command `splittraining run` to the first trained step and to the end, with nothing warmed up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from summary import Spread, summarize

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-vanilla-two-hospitals"
_LOOK_EVERY_S = 0.01


@dataclass(frozen=True)
class StartupResult:
    """How long a person waits."""

    first_step_s: Spread
    end_s: Spread


def measure_startup(*, repeats: int) -> StartupResult:
    """Runs example 01 from the command line, each time in processes of its own."""
    subprocess.run([sys.executable, str(EXAMPLE / "make_data.py")], check=True, capture_output=True)
    first_s, end_s = zip(*(_run_once() for _ in range(repeats)), strict=True)
    return StartupResult(summarize(first_s), summarize(end_s))


def render_startup(result: StartupResult) -> str:
    """Renders both times as a line."""
    first, end = result.first_step_s, result.end_s
    return (
        f"{first.render(1)} s to the first trained step, {end.render(1)} s to the end of the command"
        f" ({end.num} run{'s' if end.num > 1 else ''})"
    )


def _run_once() -> tuple[float, float]:
    with TemporaryDirectory() as runs:
        metrics = Path(runs) / "two-hospitals" / "server" / "metrics.jsonl"
        command = [sys.executable, "-m", "splittraining.cli.main", "run"]
        command += ["-f", str(EXAMPLE / "training.yaml"), "--runs", runs]
        started_s = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            first_s = _wait_for_step(process, metrics) - started_s
            code = process.wait()
            end_s = time.monotonic() - started_s
        _require_success(code, command)
        return first_s, end_s


def _wait_for_step(process: subprocess.Popen[bytes], metrics: Path) -> float:
    """Returns when the server had written its first step, or when the command ended without one."""
    while not (metrics.exists() and metrics.stat().st_size):
        try:
            process.wait(_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            continue
        break
    return time.monotonic()


def _require_success(code: int, command: Sequence[str]) -> None:
    if code != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
