"""What the conductor knows of a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RoundSums:
    """What a round trained on: rows, and the row-weighted sum of its steps' losses."""

    rows: int = 0
    loss_sum: float = 0.0

    def __add__(self, other: RoundSums) -> RoundSums:
        return RoundSums(self.rows + other.rows, self.loss_sum + other.loss_sum)


class Rounds(Protocol):
    """One schedule at the server."""

    def count_steps(self) -> int:
        """Returns the global steps of the whole training."""

    def run(self, round_number: int) -> RoundSums:
        """Runs one round; rounds come in order, from 1."""

    def list_evaluations(self) -> Sequence[Sequence[str]]:
        """Returns the clients in the order in which they evaluate; those of one group do it together."""

    def prepare_evaluation(self, client: str) -> None:
        """Sees to it that a client has the weights to evaluate."""

    def prepare_finish(self) -> None:
        """Sees to it that every client has the weights that it shall keep."""
