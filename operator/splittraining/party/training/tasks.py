"""What the conductor makes of several tasks: each one's numbers under its name, and their sum."""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.contract import Contract
from splittraining.party.training.metrics import EvaluationSums, combine_evaluations


class TaskTally:
    """Keeps the parties' sums apart by task; without tasks it keeps nothing.

    Args:
        contract: Which party holds which task.
    """

    def __init__(self, contract: Contract) -> None:
        self._names = {task.party: task.name for task in contract.tasks}
        self._loss_sums = dict.fromkeys(self._names.values(), 0.0)

    @property
    def has_tasks(self) -> bool:
        """Whether there are tasks."""
        return bool(self._names)

    def add_loss(self, party: str, loss_sum: float) -> None:
        """Adds the row-weighted sum of a party's losses to the round's."""
        if party in self._names:
            self._loss_sums[self._names[party]] += loss_sum

    def take_losses(self, rows: int) -> dict[str, float]:
        """Returns the round's mean loss of each task as ``train_loss_<task>``, and begins the next round."""
        means = {f"train_loss_{name}": loss_sum / rows for name, loss_sum in self._loss_sums.items()}
        self._loss_sums = dict.fromkeys(self._loss_sums, 0.0)
        return means

    def combine(self, sums: Mapping[str, EvaluationSums]) -> dict[str, float]:
        """Combines what the tasks' parties found.

        Args:
            sums: By party, in any order.

        Returns:
            ``loss``, the sum over the tasks in their order, then each task's metrics as ``<metric>_<task>``. Empty
            where nobody evaluated a row.
        """
        by_task = {name: combine_evaluations([sums[party]]) for party, name in self._names.items() if party in sums}
        losses = [found["loss"] for found in by_task.values() if found]
        if not losses:
            return {}
        named = {f"{metric}_{name}": value for name, found in by_task.items() for metric, value in found.items()}
        return {"loss": sum(losses), **named}
