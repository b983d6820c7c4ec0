"""Sequential: one client after the other trains with the one server segment; what it trained is handed on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.training.rounds.interface import RoundSums
from splittraining.party.training.rounds.server_side import ServerSide
from splittraining.party.training.rounds.turns import run_turn


class SequentialRounds:
    """Rounds of one turn of every client.

    Args:
        side: The server.
    """

    def __init__(self, side: ServerSide) -> None:
        self._side = side
        self._rounds = groupby(side.plan_turns(), key=attrgetter("round"))

    def count_steps(self) -> int:
        """Returns the global steps of the whole training."""
        return self._side.count_planned_steps()

    def run(self, round_number: int) -> RoundSums:
        """Runs every client's turn, each after it has what was trained last."""
        planned, turns = next(self._rounds)
        assert planned == round_number  # the conductor counts as the plan does
        sums = RoundSums()
        for turn in turns:
            (client,) = turn.clients
            self._side.line.pass_state_to(client, step=self._side.step)
            sums += run_turn(self._side, turn, {CLIENT_OWNER: self._side.links[client]})
        return sums

    def list_evaluations(self) -> Sequence[Sequence[str]]:
        """Returns the ring, beginning with the client that has the current weights."""
        return [[name] for name in self._side.line.ring]

    def prepare_evaluation(self, client: str) -> None:
        """Passes the current weights on."""
        self._side.line.pass_weights_to(client, step=self._side.step)

    def prepare_finish(self) -> None:
        """Gives every institution the same final weights."""
        for name in self._side.line.ring:
            self._side.line.pass_weights_to(name, step=self._side.step)
