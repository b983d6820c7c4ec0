"""The one place that starts parties. It knows the party by name only: nothing here imports it, or torch.

All processes come from one fork server that has imported torch once (four parties are ready in 7 s instead of 45 s,
with 30 MiB of their own instead of 385). The fork server must never have started gRPC, touched CUDA or run a parallel
operation before a fork, so its preload list is exactly this.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from multiprocessing.context import ForkServerProcess

from splittraining.api import errors
from splittraining.local.child import Order, follow_order

PARTY_TARGET = "splittraining.party.main:run_party"
"""`run_party(document_path, *, debug) -> exit code`."""

PLAN_TARGET = "splittraining.party.main:plan_party"
"""`plan_party(document_path, *, debug) -> exit code`; the plan report is the last line on stdout."""

EXPORT_TARGET = "splittraining.party.main:export_results"
"""`export_results(folders, output, client, *, debug) -> exit code`; the export report is the last line on stdout."""

PRELOAD = ("splittraining.party.preload",)
"""PyTorch, and a party's own code but for what must not be there before a fork."""


class Launcher:
    """Starts processes from the fork server of this interpreter, which lives as long as the interpreter does.

    Args:
        preload: Modules that the fork server imports before its first fork.
        environment: Variables that must be set before those modules are imported. The fork server takes them; this
            process keeps its own.
    """

    def __init__(self, *, preload: Sequence[str] = PRELOAD, environment: Mapping[str, str] | None = None) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._environment = dict(environment or {})

    def warm_up(self) -> None:
        """Starts the fork server without waiting for it, so that it imports while the caller does something else."""
        # First, since it would unblock what is blocked below.
        multiprocessing.resource_tracker.ensure_running()
        with _with_environment(self._environment), _without_ctrl_c():
            multiprocessing.forkserver.ensure_running()

    def start(self, name: str, order: Order) -> ForkServerProcess:
        """Starts one process from the fork server that was warmed up; waits until that has imported what it shall.

        Args:
            name: Name of the process.
            order: What it is to do.

        Raises:
            OutOfMemory: if the fork server was ended before it could start a process.
        """
        process = self._context.Process(target=follow_order, args=(order,), name=name)
        try:
            process.start()
        except (EOFError, ConnectionError):
            raise errors.OutOfMemory(
                "the process that imports PyTorch for all parties ended before it could start one: the machine ran out "
                "of memory, or somebody killed it",
                remedy='free memory and run again; `python -c "import torch"` tells whether PyTorch can be imported',
            ) from None
        return process


class Starting:
    """A process that is being started, in a thread of its own. It is taken or given up, once.

    Args:
        start: Starts it, and blocks until it has.
    """

    def __init__(self, start: Callable[[], ForkServerProcess]) -> None:
        # The thread closes its end and the reader the other: neither can hit a descriptor that is another's by now.
        self._reader, self._writer = os.pipe()
        self._process: Future[ForkServerProcess] = Future()
        # As a daemon: the end of the command does not wait for it.
        threading.Thread(target=self._run, args=(start,), name="start", daemon=True).start()

    def fileno(self) -> int:
        """The descriptor to wait for: ready when the process runs, or could not be started."""
        return self._reader

    def take(self) -> ForkServerProcess:
        """Returns the process, once it runs.

        Raises:
            OutOfMemory: if the fork server was ended before.
        """
        try:
            return self._process.result()
        finally:
            os.close(self._reader)

    def give_up(self) -> ForkServerProcess | None:
        """Has the process killed as soon as it runs. Returns it if it runs already."""
        is_in_time = self._process.cancel()
        os.close(self._reader)
        return None if is_in_time or self._process.exception() else self._process.result()

    def _run(self, start: Callable[[], ForkServerProcess]) -> None:
        try:
            process = start()
        except BaseException as error:  # noqa: BLE001 - handed to whoever takes it
            with contextlib.suppress(InvalidStateError):
                self._process.set_exception(error)
        else:
            try:
                self._process.set_result(process)
            except InvalidStateError:
                process.kill()
        finally:
            os.close(self._writer)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Makes new processes deaf to the terminal's Ctrl-C from their first instruction on, by the mask they inherit.

    The fork server ignores it too, but only after its imports, which is when an impatient person presses it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _with_environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
