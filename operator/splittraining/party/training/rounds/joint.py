"""Joint: every step uses all parties over the same, aligned rows."""

from __future__ import annotations

from collections.abc import Sequence

from splittraining.party.training.rounds.interface import RoundSums
from splittraining.party.training.rounds.server_side import ServerSide
from splittraining.party.training.rounds.turns import run_turn


class JointRounds:
    """Rounds of one pass over the aligned rows.

    Args:
        side: The server.
    """

    def __init__(self, side: ServerSide) -> None:
        self._side = side
        self._turns = side.plan_turns()

    def count_steps(self) -> int:
        """Returns the global steps of the whole training."""
        return self._side.count_planned_steps()

    def run(self, round_number: int) -> RoundSums:
        """Runs one epoch with everybody."""
        turn = next(self._turns)
        assert turn.round == round_number  # the conductor counts as the plan does
        return run_turn(self._side, turn, self._side.links)

    def list_evaluations(self) -> Sequence[Sequence[str]]:
        """Returns all clients, who evaluate together."""
        return [self._side.clients]

    def prepare_evaluation(self, client: str) -> None:
        """Does nothing: every party has its own segment."""

    def prepare_finish(self) -> None:
        """Does nothing, likewise."""
