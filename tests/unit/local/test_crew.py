import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from splittraining.local.crew import Crew
from splittraining.local.signals import Wakeup
from support import local_support
from support.local_support import build_launcher, build_order, get_parent, wait_for_end, wait_for_file


@pytest.fixture
def crew():
    crew = Crew(build_launcher())
    yield crew
    crew.abandon()


def wait_for_all(crew: Crew) -> dict[str, int]:
    wakeup = Wakeup()
    ended = {}
    while crew.running:
        crew.wait(wakeup, timeout_s=20)
        ended.update(crew.reap())
    wakeup.close()
    return ended


def test_a_childs_return_value_is_its_exit_code(crew, tmp_path):
    crew.start("st-mary", build_order("end_with", tmp_path, 65))
    crew.start("server", build_order("end_with", tmp_path, 0))
    assert wait_for_all(crew) == {"st-mary": 65, "server": 0}


def test_an_error_nobody_caught_is_code_1_and_stands_in_the_stderr_file(crew, tmp_path):
    crew.start("st-mary", build_order("raise_an_error", tmp_path))
    assert wait_for_all(crew) == {"st-mary": 1}
    assert "the child's own words" in (tmp_path / "stderr.log").read_text()


def test_what_a_child_prints_goes_to_its_file_and_not_to_the_terminal(crew, tmp_path, capfd):
    crew.start("st-mary", build_order("print_to_both", tmp_path))
    wait_for_all(crew)
    assert (tmp_path / "stderr.log").read_text() == "on stdout\non stderr\n"
    assert capfd.readouterr() == ("", "")


def test_a_signal_shows_as_a_negative_code(crew, tmp_path):
    crew.start("st-mary", build_order("kill_itself", tmp_path, signal.SIGKILL))
    assert wait_for_all(crew) == {"st-mary": -signal.SIGKILL}


def test_ctrl_c_of_the_terminal_does_not_reach_a_child(crew, tmp_path):
    crew.start("st-mary", build_order("stop_politely", tmp_path, str(tmp_path / "pid")))
    os.kill(int(wait_for_file(tmp_path / "pid")), signal.SIGINT)
    crew.terminate()
    assert wait_for_all(crew) == {"st-mary": 75}


def test_abandoning_kills_who_does_not_listen(crew, tmp_path):
    crew.start("st-mary", build_order("refuse_to_stop", tmp_path, str(tmp_path / "pid")))
    pid = int(wait_for_file(tmp_path / "pid"))
    crew.abandon()
    assert wait_for_end(pid, timeout_s=0)


def test_all_are_started_as_soon_as_the_first_one_could_be(crew, tmp_path):
    crew.start_all({"server": build_order("end_with", tmp_path, 0), "st-mary": build_order("end_with", tmp_path, 65)})
    assert set(crew.running) == {"server", "st-mary"}
    assert wait_for_all(crew) == {"server": 0, "st-mary": 65}


def test_abandoning_leaves_nobody_to_start(crew, tmp_path):
    crew.start_all({party: build_order("end_with", tmp_path, 0) for party in ("server", "st-mary")})
    crew.abandon()
    assert (crew.running, crew.reap()) == ((), [])


def call(function: str, folder: Path) -> list[str]:
    """A command of its own, whose main function is one of support.local_support's."""
    root = Path(local_support.__file__).parents[1]
    # Whoever runs the tests under nohup hands on that a closed terminal is to be ignored.
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    code += f"import sys; sys.path.insert(0, {str(root)!r}); from support.local_support import {function}; "
    return [sys.executable, "-c", f"{code}{function}({str(folder)!r})"]


def test_a_command_that_stops_while_its_fork_server_imports_waits_for_nothing_and_leaves_nothing(tmp_path):
    done = subprocess.run(
        call("give_up_while_importing", tmp_path), stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    assert done.stdout == "('server', 'st-mary') [('server', -15), ('st-mary', -15)] ()\n"
    assert wait_for_end(int((tmp_path / "fork-server.pid").read_text()))


def test_a_fork_server_that_is_killed_while_it_imports_is_told_of(tmp_path):
    done = subprocess.run(
        call("lose_the_fork_server", tmp_path), stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    assert "ran out of memory, or somebody killed it" in done.stdout
    assert "To do: free memory and run again" in done.stdout
    assert done.stdout.endswith(" ()\n")


@pytest.fixture
def command(tmp_path: Path):
    """A command with two parties that do not listen to SIGTERM."""
    command = subprocess.Popen(call("run_command", tmp_path))
    pids = [int(wait_for_file(tmp_path / f"{party}.pid")) for party in ("server", "st-mary")]
    yield command, pids
    command.kill()
    command.wait()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=["kill -9", "a closed terminal"])
def test_when_the_command_dies_so_does_every_party_and_the_fork_server(command, number):
    process, parties = command
    fork_server = get_parent(parties[0])
    process.send_signal(number)
    process.wait()
    assert all(wait_for_end(pid) for pid in [*parties, fork_server])
