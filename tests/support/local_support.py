"""Small children for the launcher's tests, builders for run records, and a command that can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splittraining.api.errors import OutOfMemory
from splittraining.local.child import Order
from splittraining.local.crew import Crew
from splittraining.local.events import Event
from splittraining.local.launcher import Launcher
from splittraining.local.manifest import load_manifest
from splittraining.local.runner import RunRequest, RunResult, run_training
from splittraining.local.signals import StopWish, Wakeup
from splittraining.plan.environment import build_environment

if TYPE_CHECKING:  # its models need torch, which the children here do not
    from support.cases import Case

TARGETS = "support.local_support"


def build_manifest_document(
    *, name: str = "xray", clients: Sequence[str] = ("st-mary",), batch_size: int = 4, turn: object = None
) -> dict[str, Any]:
    """A Vanilla manifest over NPZ files, one claim per client, source in the ConfigMap `code`."""
    return {
        "apiVersion": "splitlearning.dev/v1alpha1",
        "kind": "SplitTraining",
        "metadata": {"name": name},
        "spec": {
            "topology": "Vanilla",
            "rounds": 2,
            "model": {
                "entrypoint": "model:build",
                "source": {"configMap": {"name": "code"}},
                "inputs": [{"name": "x", "dtype": "Float32", "shape": [4]}],
                "label": {"dtype": "Int64", "shape": []},
                "cutPoints": [{"layer": "body"}],
            },
            "training": {
                "batchSize": batch_size,
                "seed": 1,
                "optimizer": {"name": "SGD", "learningRate": "0.1"},
                "loss": {"name": "CrossEntropy"},
            },
            "schedule": {"mode": "Sequential", "sequential": {"turn": turn or {}, "handoff": "ViaServer"}},
            "server": {},
            "clients": [
                {
                    "name": client,
                    "data": {
                        "format": "NPZ",
                        "volume": {"persistentVolumeClaim": {"claimName": f"claim-{client}"}},
                        "train": {"path": "train.npz"},
                        "inputs": [{"name": "x", "columns": ["x"]}],
                        "label": {"columns": ["y"]},
                    },
                }
                for client in clients
            ],
        },
    }


class ManifestRun:
    """A case as a run of real parties, in this process but for the parties themselves.

    Args:
        case: What to run.
        folder: Where manifest, data and runs are written.
    """

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.clients = [client["name"] for client in case.spec["clients"]]
        self.manifest = case.write(folder)
        self.runs = folder / "runs"
        self.events: list[Event] = []
        self._wakeup = Wakeup()
        self.wish = StopWish(self._wakeup)

    def finish(self, *, on_event: Callable[[Event], object] = lambda _event: None, restart: bool = False) -> RunResult:
        """Runs to the end and returns how it ended."""

        def emit(event: Event) -> None:
            self.events.append(event)
            on_event(event)

        request = RunRequest(load_manifest(self.manifest), self.runs, restart=restart)
        with contextlib.closing(self._wakeup):
            return run_training(request, emit=emit, wakeup=self._wakeup, wish=self.wish, launcher=build_launcher())


def build_launcher() -> Launcher:
    """A launcher of this process's one fork server, with what parties need: whole runs come from it too."""
    return Launcher(environment=build_environment(intra_op_threads=1))


def build_order(target: str, folder: Path, *arguments: object) -> Order:
    """An order for one of the children below; what it prints goes to `stderr.log`."""
    return Order(f"{TARGETS}:{target}", arguments, stderr_path=str(folder / "stderr.log"))


# --- children ---------------------------------------------------------------------------------------------------------


def end_with(code: int) -> int:
    """Ends with a code."""
    return code


def fail_with_last_word(folder: str, code: int, reason: str, message: str) -> int:
    """Ends as a party does: with its last word in a file."""
    (Path(folder) / "termination.json").write_text(json.dumps({"code": code, "reason": reason, "message": message}))
    return code


def raise_an_error() -> int:
    """Ends by an error nobody caught."""
    raise RuntimeError("the child's own words")


def print_to_both() -> int:
    """Writes to stdout and stderr, the second one as native code does: past Python."""
    sys.stdout.write("on stdout\n")
    sys.stdout.flush()
    os.write(2, b"on stderr\n")
    return 0


def kill_itself(number: int) -> int:
    """Ends by a signal."""
    os.kill(os.getpid(), number)
    return wait_for_ever("")


def wait_for_ever(path: str) -> int:
    """Says that it is there, then waits."""
    if path:
        Path(path).write_text(str(os.getpid()))
    threading.Event().wait()
    return 0


def stop_politely(path: str) -> int:
    """Ends with code 75 when it is told to stop."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    Path(path).write_text(str(os.getpid()))
    told.wait()
    return 75


def refuse_to_stop(path: str) -> int:
    """Ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return wait_for_ever(path)


# --- waiting for another process --------------------------------------------------------------------------------------


def wait_for_file(path: Path, *, timeout_s: float = 20.0) -> str:
    """Returns a file's text as soon as it has one."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if path.is_file() and (text := path.read_text()):
            return text
        threading.Event().wait(0.01)
    raise AssertionError(f"{path} was not written within {timeout_s} s")


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that waits to be reaped does not."""
    try:
        return _read_stat(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def get_parent(pid: int) -> int:
    """The process that a process's end is told to."""
    return int(_read_stat(pid)[1])


def find_children(ancestor: int | None = None) -> dict[int, str]:
    """Processes that descend from a process (this one by default), with their stderr.

    The helpers of multiprocessing, which stay as long as this process does, are left out for this one.
    """
    root = ancestor or os.getpid()
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                parents[int(entry.name)] = get_parent(int(entry.name))
    found = [pid for pid in parents if pid != root and root in _iterate_ancestors(pid, parents)]
    if ancestor is None:
        found = [pid for pid in found if parents[pid] != root]
    return {pid: str(Path(f"/proc/{pid}/fd/2").readlink()) for pid in found if is_alive(pid)}


def find_parties() -> dict[str, int]:
    """The parties that descend from this process, by name: each writes its stderr into its own folder."""
    return {Path(stderr).parent.name: pid for pid, stderr in find_children().items() if stderr.endswith("stderr.log")}


def _iterate_ancestors(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def _read_stat(pid: int) -> list[str]:
    # proc_pid_stat(5): pid, (name), state, parent, ...; the name may hold anything.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def wait_for_end(pid: int, *, timeout_s: float = 10.0) -> bool:
    """Whether a process ends within the time."""
    deadline_s = time.monotonic() + timeout_s
    while is_alive(pid):
        if time.monotonic() > deadline_s:
            return False
        threading.Event().wait(0.01)
    return True


def run_command(folder: str) -> None:
    """A command with two parties, to be killed: the main function of `python -c`."""
    crew = Crew(Launcher(preload=()))  # this process's own fork server, which needs to be there at once
    for party in ("server", "st-mary"):
        crew.start(party, build_order("refuse_to_stop", Path(folder), f"{folder}/{party}.pid"))
    crew.wait(Wakeup(), timeout_s=None)


def give_up_while_importing(folder: str) -> None:
    """A command that wants no parties any more before its fork server can start one: another such main function."""
    crew, _ = start_while_importing(Path(folder))
    waiting = crew.running
    crew.terminate()
    with contextlib.closing(Wakeup()) as wakeup:
        crew.wait(wakeup, timeout_s=None)
    sys.stdout.write(f"{waiting} {crew.reap()} {crew.running}\n")


def lose_the_fork_server(folder: str) -> None:
    """A command whose fork server is killed before it can start a party: another such main function."""
    crew, pid = start_while_importing(Path(folder))
    os.kill(pid, signal.SIGKILL)
    with contextlib.closing(Wakeup()) as wakeup:
        try:
            crew.wait(wakeup, timeout_s=None)
        except OutOfMemory as error:
            crew.abandon()
            sys.stdout.write(f"{error} {crew.running}\n")


def start_while_importing(folder: Path) -> tuple[Crew, int]:
    """Starts two parties from a fork server whose imports have no end; returns its process id too."""
    pid_file = folder / "fork-server.pid"
    here = str(Path(__file__).parents[1])
    environment = {"PYTHONPATH": here, "IMPORTER_PID_FILE": str(pid_file)}
    crew = Crew(Launcher(preload=("support.endless_import",), environment=environment))
    crew.start_all({party: build_order("end_with", folder, 0) for party in ("server", "st-mary")})
    return crew, int(wait_for_file(pid_file))
