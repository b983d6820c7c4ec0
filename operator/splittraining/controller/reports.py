"""Each party's newest report, in memory: after a change of leader the parties report again within seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from splittraining.api.identity import PartyIdentity
from splittraining.api.report import Report
from splittraining.controller.work_queue import Key

_NONE: Mapping[str, Report] = MappingProxyType({})


class Reports:
    """What parties said last, by training. For one event loop.

    Args:
        find_key: Returns the key of the training with a uid; None where it is not known (any more).
        wake: Puts a training's key on the queue.
    """

    def __init__(self, *, find_key: Callable[[str], Key | None], wake: Callable[[Key], None]) -> None:
        self._find_key = find_key
        self._wake = wake
        self._newest: dict[str, dict[str, Report]] = {}

    def take(self, identity: PartyIdentity, report: Report) -> None:
        """Keeps a report and wakes its training, unless that is gone."""
        key = self._find_key(identity.run_id)
        if key is None:
            return
        kept = self._newest.setdefault(identity.run_id, {})
        before = kept.get(identity.party)
        if before is not None and (report.generation, report.sequence) <= (before.generation, before.sequence):
            return  # two doors were open for a moment: what came through the first one may be newer
        kept[identity.party] = report
        self._wake(key)

    def get_newest(self, uid: str) -> Mapping[str, Report]:
        """Returns the newest reports of a training, by party."""
        return self._newest.get(uid, _NONE)

    def forget(self, uid: str) -> None:
        """Drops the reports of a training that is gone."""
        self._newest.pop(uid, None)

    def __len__(self) -> int:
        return sum(len(parties) for parties in self._newest.values())
