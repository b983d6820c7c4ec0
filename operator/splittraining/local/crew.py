"""The parties' processes as one crew: waiting for whichever ends, and ending those that must."""

from __future__ import annotations

import multiprocessing.connection
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess

from splittraining.local.child import Order
from splittraining.local.launcher import Launcher
from splittraining.local.signals import Wakeup


class Crew:
    """Every party's process, from its start to its end.

    Args:
        launcher: Starts them.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        # Kept for the whole run: a process object that is dropped closes its lifeline, which ends the process.
        self._running: dict[str, ForkServerProcess] = {}

    @property
    def running(self) -> Sequence[str]:
        """Names of the parties whose process has not ended."""
        return tuple(self._running)

    def start(self, party: str, order: Order) -> None:
        """Starts one party."""
        self._running[party] = self._launcher.start(party, order)

    def wait(self, wakeup: Wakeup, *, timeout_s: float | None) -> None:
        """Waits until a process ends, somebody rings, or the time is up."""
        sentinels = [process.sentinel for process in self._running.values()]
        multiprocessing.connection.wait([wakeup.fileno(), *sentinels], timeout_s)

    def reap(self) -> list[tuple[str, int]]:
        """Returns the parties that have ended since the last call, with the process's exit code."""
        ended = []
        for party, process in list(self._running.items()):
            code = process.exitcode
            if code is not None:
                process.join()
                del self._running[party]
                ended.append((party, code))
        return ended

    def terminate(self) -> None:
        """Asks every running party to stop (SIGTERM)."""
        for process in self._running.values():
            process.terminate()

    def kill(self) -> None:
        """Ends every running party now (SIGKILL)."""
        for process in self._running.values():
            process.kill()

    def abandon(self) -> None:
        """Kills whoever still runs and waits for their ends: nothing is left behind, whatever went wrong here."""
        self.kill()
        for process in self._running.values():
            process.join()
        self._running.clear()
