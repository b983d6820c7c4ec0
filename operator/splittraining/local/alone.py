"""One function of the party in a process of its own: started like a party, ended with the command, heard by its stdout.

For what a command needs to know and only the party's packages can tell: the model's cut, the tensors of a result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from splittraining.api import errors, usage
from splittraining.local.child import Order
from splittraining.local.crew import Crew
from splittraining.local.launcher import Launcher
from splittraining.local.outcome import describe_end
from splittraining.local.signals import Wakeup
from splittraining.local.workspace import STDERR_FILE

_OUTPUT_FILE = "stdout.log"


def run_alone(
    name: str, target: str, arguments: tuple[object, ...], *, folder: Path, launcher: Launcher, debug: bool
) -> str:
    """Runs one function to its end and returns the last line that it printed.

    Args:
        name: What messages call the process.
        target: The function, as the launcher names it.
        arguments: Its positional arguments.
        folder: An empty folder for what the process writes.
        launcher: Starts the process.
        debug: Whether the error carries what the process wrote, tracebacks included, as a note.

    Raises:
        SplitTrainingError: whatever the process ended with.
    """
    keywords: Mapping[str, object] = {"debug": debug}
    stderr_path, stdout_path = folder / STDERR_FILE, folder / _OUTPUT_FILE
    order = Order(target, arguments, keywords, stderr_path=str(stderr_path), stdout_path=str(stdout_path))
    code = _run(name, order, launcher)
    if code != 0:
        stderr = _read(stderr_path)
        error = _build_error(name, code, stderr)
        if debug:
            error.add_note(stderr)
        raise error
    # The model's own code may print, before or between: what was asked for is the last line.
    return (_read(stdout_path).strip().splitlines() or [""])[-1]


def _run(name: str, order: Order, launcher: Launcher) -> int:
    crew = Crew(launcher)
    with contextlib.closing(Wakeup()) as wakeup:
        try:
            crew.start(name, order)
            ended: list[tuple[str, int]] = []
            while not ended:
                crew.wait(wakeup, timeout_s=None)
                ended = crew.reap()
            return ended[0][1]
        finally:
            crew.abandon()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _build_error(name: str, process_exit_code: int, stderr: str) -> errors.SplitTrainingError:
    """Builds the error that the process ended with; what it printed last is the message, remedy included."""
    _, marker, message = stderr.rpartition("error: ")
    end = describe_end(
        name,
        process_exit_code,
        message=message.strip() if marker else "",
        stderr=(stderr.strip().splitlines() or [""])[-1],
        made_to_stop=False,
    )
    known: list[type[errors.SplitTrainingError]] = [*errors.SplitTrainingError.__subclasses__(), usage.UsageInvalid]
    kinds = {kind.exit_code: kind for kind in known}
    return next((kind for code, kind in kinds.items() if code == end.exit_code), errors.SplitTrainingError)(end.message)
