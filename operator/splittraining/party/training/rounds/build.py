"""Which schedule a contract asks for."""

from __future__ import annotations

from splittraining.party.training.rounds.interface import Rounds
from splittraining.party.training.rounds.joint import JointRounds
from splittraining.party.training.rounds.sequential import SequentialRounds
from splittraining.party.training.rounds.server_side import ServerSide


def build_rounds(side: ServerSide) -> Rounds:
    """Builds the schedule of the contract."""
    if side.assembly.is_joint:
        return JointRounds(side)
    return SequentialRounds(side)
