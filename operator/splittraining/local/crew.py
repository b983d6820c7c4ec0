"""The parties' processes as one crew: waiting for whichever ends, and ending those that must."""

from __future__ import annotations

import multiprocessing.connection
import signal
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess

from splittraining.local.child import Order
from splittraining.local.launcher import Launcher, Starting
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
        self._orders: dict[str, Order] = {}
        """Of the parties that are to start; the first of them is being started."""
        self._starting: Starting | None = None
        self._given_up: list[tuple[str, int]] = []

    @property
    def running(self) -> Sequence[str]:
        """Names of the parties whose process has not ended, or is still to start."""
        return (*self._running, *self._orders, *(party for party, _ in self._given_up))

    def start(self, party: str, order: Order) -> None:
        """Starts one party."""
        self._launcher.warm_up()
        self._running[party] = self._launcher.start(party, order)

    def start_all(self, orders: Mapping[str, Order]) -> None:
        """Starts all parties, and returns before they run: the first start takes as long as importing PyTorch.

        That is seconds, from a cold disk a minute, in which the user may want to stop. The others start with it.
        """
        self._orders = dict(orders)
        party, order = next(iter(orders.items()))
        self._launcher.warm_up()  # here, since it touches the environment, which threads share
        self._starting = Starting(lambda: self._launcher.start(party, order))

    def wait(self, wakeup: Wakeup, *, timeout_s: float | None) -> None:
        """Waits until the parties have started, one ends, somebody rings, or the time is up.

        Raises:
            OutOfMemory: if the fork server was ended before it could start them.
        """
        waited = [wakeup.fileno(), *(process.sentinel for process in self._running.values())]
        if self._starting is not None:
            waited.append(self._starting.fileno())
        ready = multiprocessing.connection.wait(waited, 0 if self._given_up else timeout_s)
        if self._starting is not None and self._starting.fileno() in ready:
            self._start_those_that_waited(self._starting)

    def reap(self) -> list[tuple[str, int]]:
        """Returns the parties that have ended since the last call, with the process's exit code."""
        ended, self._given_up = self._given_up, []
        for party, process in list(self._running.items()):
            code = process.exitcode
            if code is not None:
                process.join()
                del self._running[party]
                ended.append((party, code))
        return ended

    def terminate(self) -> None:
        """Asks every running party to stop (SIGTERM); who has not started does not start."""
        self._give_up(signal.SIGTERM)
        for process in self._running.values():
            process.terminate()

    def kill(self) -> None:
        """Ends every running party now (SIGKILL); who has not started does not start."""
        self._give_up(signal.SIGKILL)
        for process in self._running.values():
            process.kill()

    def abandon(self) -> None:
        """Kills whoever still runs and waits for their ends: nothing is left behind, whatever went wrong here."""
        self.kill()
        for process in self._running.values():
            process.join()
        self._running.clear()
        self._given_up.clear()

    def _start_those_that_waited(self, starting: Starting) -> None:
        self._starting = None
        party, *others = self._orders
        del self._orders[party]
        self._running[party] = starting.take()
        for other in others:
            self.start(other, self._orders.pop(other))

    def _give_up(self, number: signal.Signals) -> None:
        """Ends whoever has not started, as if the signal had reached its process."""
        if self._starting is not None and (process := self._starting.give_up()):
            party = next(iter(self._orders))
            del self._orders[party]
            self._running[party] = process
        self._starting = None
        self._given_up += [(party, -number) for party in self._orders]
        self._orders.clear()
