"""Which schedule a contract asks for."""

from __future__ import annotations

from collections.abc import Callable

from splittraining.api.spec.schedule import ScheduleMode
from splittraining.party.training.rounds.interface import Rounds
from splittraining.party.training.rounds.joint import JointRounds
from splittraining.party.training.rounds.parallel import ParallelRounds
from splittraining.party.training.rounds.sequential import SequentialRounds
from splittraining.party.training.rounds.server_side import ServerSide
from splittraining.party.training.rounds.split_fed import SplitFedRounds

_KINDS: dict[ScheduleMode, Callable[[ServerSide], Rounds]] = {
    ScheduleMode.SEQUENTIAL: SequentialRounds,
    ScheduleMode.PARALLEL: ParallelRounds,
    ScheduleMode.SPLIT_FED: SplitFedRounds,
    ScheduleMode.JOINT: JointRounds,
}


def build_rounds(side: ServerSide) -> Rounds:
    """Builds the schedule of the contract."""
    return _KINDS[side.assembly.contract.schedule.mode](side)
