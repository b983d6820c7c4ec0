"""The newest report of each party: stale ones are dropped here, the rest goes to whoever keeps them."""

from __future__ import annotations

from collections.abc import Callable

from splittraining.api.identity import PartyIdentity
from splittraining.api.report import Report

OnReport = Callable[[PartyIdentity, Report], None]


class NewestReports:
    """Remembers how new each party's last report was, and no more.

    Args:
        on_report: Called with each report that is newer than the one before, in the door's own thread: it must not
            block, and hands the report over to its own thread.
    """

    def __init__(self, on_report: OnReport) -> None:
        self._on_report = on_report
        self._newest: dict[PartyIdentity, tuple[int, int]] = {}

    def take(self, identity: PartyIdentity, report: Report) -> bool:
        """Hands a report on unless a newer one, or this one, was there before.

        Returns:
            Whether it was new. A stale one is no error: a party that saw no answer sends again.
        """
        order = (report.generation, report.sequence)
        if order <= self._newest.get(identity, (0, 0)):
            return False
        self._on_report(identity, report)
        self._newest[identity] = order
        return True
