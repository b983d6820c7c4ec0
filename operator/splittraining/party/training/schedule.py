"""Who trains on which batches, when: pure functions of the contract and the parties' row counts.

A *turn* is consecutive steps with one client, a *round* is one turn of every client (Sequential) or one pass over the
aligned rows (Joint). A client's batches form one endless stream: its epochs, each in an order of its own, the last
short batch kept. A turn of unit Epoch takes whole epochs from that stream, a turn of unit Steps the next batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from splittraining.api.spec.schedule import ScheduleMode, ScheduleSpec, TurnUnit


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive batches of one epoch of one client."""

    epoch: int
    first_batch: int
    num_batches: int


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """One turn: of one client in Sequential, of all in Joint. `first_step` is global and counts from 1."""

    round: int
    clients: tuple[str, ...]
    first_step: int
    spans: tuple[Span, ...]

    @property
    def num_steps(self) -> int:
        """Steps in the turn."""
        return sum(span.num_batches for span in self.spans)


def count_batches(num_rows: int, batch_size: int) -> int:
    """Returns the batches of one epoch, the last short one included."""
    return -(-num_rows // batch_size)


def count_batch_rows(num_rows: int, batch_size: int, batch: int) -> int:
    """Returns the rows of one batch of an epoch."""
    return min(batch_size, num_rows - batch * batch_size)


def plan_turns(
    schedule: ScheduleSpec, *, rounds: int, batch_size: int, train_rows: Mapping[str, int], clients: Sequence[str]
) -> Iterator[PlannedTurn]:
    """Yields every turn of the training in order.

    Args:
        schedule: The contract's schedule.
        rounds: Rounds to train.
        batch_size: Rows of a full batch.
        train_rows: Rows of each client's training set; in Joint all equal.
        clients: Client names in the order of turns.
    """
    if schedule.mode is ScheduleMode.JOINT:
        yield from _plan_joint(rounds, count_batches(train_rows[clients[0]], batch_size), tuple(clients))
        return
    assert schedule.sequential is not None  # the manifest's rules demand it
    turn = schedule.sequential.turn
    step = 1
    streams = {name: _Stream(count_batches(train_rows[name], batch_size)) for name in clients}
    for round_number in range(1, rounds + 1):
        for name in clients:
            spans = streams[name].take(turn.unit, turn.length)
            planned = PlannedTurn(round_number, (name,), step, spans)
            yield planned
            step += planned.num_steps


def count_steps(
    schedule: ScheduleSpec, *, rounds: int, batch_size: int, train_rows: Mapping[str, int], clients: Sequence[str]
) -> int:
    """Returns the global steps of the whole training."""
    one_round = plan_turns(schedule, rounds=1, batch_size=batch_size, train_rows=train_rows, clients=clients)
    return rounds * sum(turn.num_steps for turn in one_round)


def _plan_joint(rounds: int, num_batches: int, clients: tuple[str, ...]) -> Iterator[PlannedTurn]:
    for round_number in range(1, rounds + 1):
        first_step = 1 + (round_number - 1) * num_batches
        yield PlannedTurn(round_number, clients, first_step, (Span(round_number - 1, 0, num_batches),))


class _Stream:
    """A client's endless stream of batches, and how far it has been read."""

    def __init__(self, batches_per_epoch: int) -> None:
        self._batches_per_epoch = batches_per_epoch
        self._epoch = 0
        self._batch = 0

    def take(self, unit: TurnUnit, length: int) -> tuple[Span, ...]:
        remaining = length * self._batches_per_epoch if unit is TurnUnit.EPOCH else length
        spans = []
        while remaining:
            num_batches = min(remaining, self._batches_per_epoch - self._batch)
            spans.append(Span(self._epoch, self._batch, num_batches))
            remaining -= num_batches
            self._batch += num_batches
            if self._batch == self._batches_per_epoch:
                self._epoch, self._batch = self._epoch + 1, 0
        return tuple(spans)
