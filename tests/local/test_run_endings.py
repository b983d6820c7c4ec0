"""How runs of real parties end and what they leave; test_killed_processes has the deaths."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.cli.main import main
from splittraining.local.events import PartyExited, RoundCompleted
from splittraining.local.leftovers import read_termination
from support.cases import Case, a_vanilla_case
from support.local_support import ManifestRun, find_children, wait_for_end


def without_end(case: Case) -> Case:
    return case.changed(lambda spec: spec.update(rounds=1_000_000))


def test_a_run_leaves_every_partys_results_and_a_report(tmp_path):
    run = ManifestRun(a_vanilla_case(), tmp_path)
    result = run.finish()
    assert result.outcome.exit_code == ExitCode.OK
    parties = [party.name for party in result.record.parties]
    for party in parties:
        for name in ("party.json", "log.jsonl", "metrics.jsonl", "plan.json", "result/manifest.json"):
            assert (result.folder / party / name).is_file(), f"{party}/{name}"
        assert read_termination(result.folder / party).code == 0
        assert (result.folder / party / "stderr.log").read_text() == ""
    report = (result.folder / "report.md").read_text()
    assert "**Succeeded**" in report
    rounds = [event.row.round for event in run.events if isinstance(event, RoundCompleted)]
    assert rounds == list(range(1, run.case.spec["rounds"] + 1))
    assert {report.party for report in result.record.reports} == set(parties)
    assert list(result.folder.rglob("token")) == []


def test_the_bytes_of_a_run_equal_the_formula(tmp_path):
    result = ManifestRun(a_vanilla_case(), tmp_path).finish()
    table = (result.folder / "report.md").read_text().partition("## Bytes per link\n\n")[2].partition("\n\n")[0]
    lines = table.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if " → " in line]
    assert len(rows) == 2 * (len(result.record.parties) - 1)
    for link, payload, formula, *_ in rows:
        assert payload == formula, link


def test_the_report_is_rendered_again_byte_for_byte(tmp_path, capsys):
    result = ManifestRun(a_vanilla_case(), tmp_path).finish()
    written = (result.folder / "report.md").read_text()
    assert main(["report", str(result.folder)]) == ExitCode.OK
    assert capsys.readouterr().out == written


def test_a_party_that_fails_before_it_connects_does_not_keep_the_others_waiting(tmp_path):
    def misname(spec):
        spec["clients"][0]["data"]["label"]["columns"] = ["nowhere"]

    run = ManifestRun(a_vanilla_case().changed(misname), tmp_path)
    result = run.finish()
    assert (result.outcome.exit_code, result.outcome.party) == (ExitCode.DATA_INVALID, run.clients[0])
    assert "'nowhere'" in result.outcome.message
    assert find_children() == {}


def test_an_interrupted_run_ends_at_once_and_asks_for_a_restart(tmp_path):
    run = ManifestRun(without_end(a_vanilla_case()), tmp_path)

    def interrupt(event):
        if isinstance(event, RoundCompleted) and not run.wish.count:
            run.wish.express()

    result = run.finish(on_event=interrupt)
    assert result.outcome.exit_code == ExitCode.INTERRUPTED
    assert "--restart" in result.outcome.remedy
    ends = {event.exit_code for event in run.events if isinstance(event, PartyExited)}
    assert ends <= {ExitCode.PREEMPTED, ExitCode.PEER_FAILED}
    assert main(["run", "-f", str(run.manifest), "--runs", str(run.runs)]) == ExitCode.USAGE


def start_command(case: Case, folder: Path, *, until: str) -> subprocess.Popen[str]:
    """Starts the command in a process group of its own, as a terminal does, and returns when it says a word."""
    manifest = case.write(folder)
    arguments = [sys.executable, "-m", "splittraining.cli.main", "run", "-f", str(manifest), "--runs", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = subprocess.Popen(arguments, process_group=0, **pipes)
    for line in command.stdout:
        if until in line:
            return command
    raise AssertionError(command.stderr.read())


@pytest.mark.slow  # a command of its own imports torch anew
@pytest.mark.parametrize("moment", ["Vanilla", "round 1/"], ids=["while torch is imported", "while parties train"])
def test_ctrl_c_ends_the_command_with_130_and_one_line(tmp_path, moment):
    command = start_command(without_end(a_vanilla_case()), tmp_path, until=moment)
    processes = list(find_children(command.pid))
    os.killpg(command.pid, signal.SIGINT)
    _, error = command.communicate(timeout=30)
    assert command.returncode == ExitCode.INTERRUPTED
    assert error.startswith("error: the run was interrupted")
    assert error.count("\n") == 1
    assert "--restart" in error
    assert all(wait_for_end(pid) for pid in processes)
