"""Nothing hangs, nothing is left behind: a killed party ends the run for everyone, a killed command ends them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.local.events import Event, PartyExited, RoundCompleted
from splittraining.local.leftovers import read_termination
from support.cases import Case, a_vanilla_case, a_vertical_case
from support.local_support import find_parties
from support.runs import run_case

BOUND_S = 15.0
"""Within this time after a party's death the run must be over for everyone."""
ENDLESS = 1_000_000


def endless(case: Case) -> Case:
    return case.changed(lambda spec: spec.update(rounds=ENDLESS))


def kill_in_the_middle(case: Case, victim: str, folder: Path) -> tuple[dict[str, PartyExited], float, Path]:
    """Kills a party once a round is done; returns how each party ended and how long the rest took."""
    killed_at_s: list[float] = []

    def watch(event: Event) -> None:
        if isinstance(event, RoundCompleted) and not killed_at_s:
            killed_at_s.append(time.monotonic())
            os.kill(find_parties()[victim], signal.SIGKILL)

    run = run_case(endless(case), folder, watch=watch)
    took_s = time.monotonic() - killed_at_s[0]
    assert run.outcome.party == victim
    assert run.outcome.exit_code == ExitCode.OUT_OF_MEMORY  # what a SIGKILL out of nowhere most often means
    assert "killed (signal 9, SIGKILL)" in run.outcome.message
    return {event.party: event for event in run.events if isinstance(event, PartyExited)}, took_s, run.folder


@pytest.mark.parametrize(
    ("case", "victim", "others"),
    [
        pytest.param(a_vanilla_case(), "south", ["server", "north", "west"], id="a client of several"),
        pytest.param(
            a_vanilla_case(handoff="PeerToPeer"), "south", ["server", "north", "west"], id="a client that others dial"
        ),
        pytest.param(a_vanilla_case(), "server", ["north", "south", "west"], id="the server"),
        pytest.param(a_vertical_case(), "registry", ["server", "lab", "ward"], id="the label holder of a joint step"),
    ],
)
def test_a_killed_party_ends_the_run_for_everyone_by_name(
    case: Case, victim: str, others: Sequence[str], tmp_path: Path
) -> None:
    ends, took_s, folder = kill_in_the_middle(case, victim, tmp_path)
    assert took_s < BOUND_S
    for party in others:
        assert ends[party].exit_code in {ExitCode.PEER_LOST, ExitCode.PEER_FAILED}
        assert victim in ends[party].message
        last_word = read_termination(folder / party)
        assert last_word is not None
        assert last_word.reason in {"PeerLost", "PeerFailed"}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGKILL, -signal.SIGKILL, id="kill -9"),
        pytest.param(signal.SIGTERM, ExitCode.INTERRUPTED, id="SIGTERM"),
    ],
)
def test_a_command_that_is_ended_leaves_no_process_behind(number: int, code: int, tmp_path: Path) -> None:
    manifest = endless(a_vanilla_case()).write(tmp_path)
    command = [sys.executable, "-m", "splittraining.cli.main", "run", "-f", str(manifest), "--runs", tmp_path / "runs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("round 1/" in line for line in process.stdout)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 4  # server and three clients
        os.kill(process.pid, number)
        _, errors = process.communicate()
    _, alive = psutil.wait_procs(children, timeout=BOUND_S)
    assert not alive
    assert list(tmp_path.rglob("token")) == []
    assert process.returncode == code
    assert "Traceback" not in errors
    if code == ExitCode.INTERRUPTED:
        assert "--restart" in errors
