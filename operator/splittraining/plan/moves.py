"""What moves between parties beside the wire plan's values, in bytes of tensors: client segments and their gradients.

A client segment weighs W (parameters and buffers), with the optimizer's state S, its gradients G. For K clients:

| schedule | moves |
|---|---|
| Sequential with hand-off | S from each client to the next, K a round; the very first turn of a training needs none |
| the same, one evaluation | W from the client that trained last on to the last one that has test rows, at most K - 1 |
| the same, at the end | W to whoever lacks it: all clients end with the same weights |
| Parallel, SumGradients | in each step G from each client with rows to who adds up, and the sum, G, to each client |
| SplitFed, Average | in each round W from each client to who averages, and the average, W, to each client |

Who adds up or averages is the first client, which sends itself nothing, or the server. Others move nothing.

Source: the cost table of split learning: 2·η·N per client for a hand-off or an average, and per step for a sum of
gradients, with N parameters and the clients' share η of them. Buffers, optimizer state, evaluation and the end of a
training are this project's additions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.plan_report import PlanReport
from splittraining.api.ring import list_pairs
from splittraining.api.spec.schedule import AveragingAt, HandOff, ParallelBatch, ScheduleSpec
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.spec.training import OptimizerName, OptimizerSpec
from splittraining.api.wire_plan import CLIENT_OWNER

Link = tuple[str, str]
"""Sender and receiver of what moves, whoever carries it."""

_STEP_COUNT_BYTES = 4
"""Adam counts each parameter's steps in a Float32 of its own."""


@dataclass(frozen=True, slots=True)
class SegmentBytes:
    """What a client segment weighs, in bytes of tensors.

    Attributes:
        weights: W: parameters and buffers.
        state: S: these with the optimizer's state.
        gradients: G: of the parameters that are trained.
    """

    weights: int
    state: int
    gradients: int

    @classmethod
    def of(cls, report: PlanReport, optimizer: OptimizerSpec) -> Self:
        """Adds up the clients' segment of a plan; S = W + s·G, and with Adam 4 bytes per trained parameter."""
        segments = [segment for segment in report.segments if segment.owner == CLIENT_OWNER]
        weights = sum(segment.weight_bytes for segment in segments)
        gradients = sum(segment.trained_bytes for segment in segments)
        state = weights + count_state_copies(optimizer) * gradients
        if optimizer.name is not OptimizerName.SGD:
            state += _STEP_COUNT_BYTES * sum(segment.num_trained for segment in segments)
        return cls(weights, state, gradients)


@dataclass(frozen=True, slots=True)
class RoundSteps:
    """Steps of one round in which all clients take part at once.

    Attributes:
        total: All of them.
        with_rows: By client, those to which it brings rows.
        is_bound: Whether `with_rows` says "at most": which rows meet in a step is drawn while the training runs.
    """

    total: int
    with_rows: Mapping[str, int]
    is_bound: bool = False


def count_state_copies(optimizer: OptimizerSpec) -> int:
    """Returns how many numbers an optimizer keeps for each parameter."""
    if optimizer.name is OptimizerName.SGD:
        return 0 if float(optimizer.momentum) == 0 else 1
    return 2


def hands_on(schedule: ScheduleSpec) -> bool:
    """Returns whether the client segment goes from client to client."""
    return schedule.sequential is not None and schedule.sequential.handoff is not HandOff.NONE


def count_parallel_steps(spec: SplitTrainingSpec, train_rows: Mapping[str, int]) -> RoundSteps | None:
    """Counts the steps of one round of Parallel; None for another schedule, or where a client's rows are not known."""
    parallel, batch_size = spec.schedule.parallel, spec.training.batch_size
    if parallel is None or any(client.name not in train_rows for client in spec.clients):
        return None
    rows = {client.name: train_rows[client.name] for client in spec.clients}
    if parallel.batch is ParallelBatch.UNION:
        own = {name: -(-num_rows // batch_size) for name, num_rows in rows.items()}
        return RoundSteps(max(own.values()), own)
    total = -(-sum(rows.values()) // batch_size)
    own = {name: min(num_rows, total) for name, num_rows in rows.items()}
    return RoundSteps(total, own, is_bound=len(rows) > 1)


def compute_round_moves(
    report: PlanReport, spec: SplitTrainingSpec, steps: RoundSteps | None, *, is_first: bool = False
) -> Counter[Link] | None:
    """Computes the bytes that move in one round of training, without its evaluation.

    Args:
        report: The plan.
        spec: What was planned.
        steps: Of a round, where gradients are summed.
        is_first: Whether it is the first round of a training, whose first client has nothing to take over.

    Returns:
        Bytes per sender and receiver; None where gradients are summed and the steps are not known.
    """
    sizes, clients = SegmentBytes.of(report, spec.training.optimizer), _list_clients(spec)
    if hands_on(spec.schedule):
        pairs = list_pairs(clients)
        passes = [pair for pair in pairs if pair[1] != clients[0]] if is_first else pairs
        return Counter(dict.fromkeys(passes, sizes.state))
    averager = _find_averager(spec)
    if averager is None:
        return Counter()
    if spec.schedule.parallel is None:
        return _exchange(averager, clients, dict.fromkeys(clients, sizes.weights), sizes.weights)
    if steps is None:
        return None
    parts = {name: steps.with_rows[name] * sizes.gradients for name in clients}
    return _exchange(averager, clients, parts, steps.total * sizes.gradients)


def compute_evaluation_moves(report: PlanReport, spec: SplitTrainingSpec, evaluating: Iterable[str]) -> Counter[Link]:
    """Computes the bytes that move so that every client which evaluates has the current weights.

    Args:
        report: The plan.
        spec: What was planned.
        evaluating: The clients that have test rows.
    """
    return _pass_weights(report, spec, list_way(spec, evaluating))


def compute_finish_moves(report: PlanReport, spec: SplitTrainingSpec, evaluating: Iterable[str]) -> Counter[Link]:
    """Computes the bytes that move at the end, after the last round's evaluation, so that all have the same weights.

    Where the best round is the result and not the last one, nobody has it but who trained last, as if none evaluated.

    Args:
        report: The plan.
        spec: What was planned.
        evaluating: The clients that have test rows, and so have the weights already.
    """
    way = list_way(spec, evaluating)
    rest = [name for name in _list_ring(spec) if name not in way]
    return _pass_weights(report, spec, [*way[-1:], *rest])


def list_way(spec: SplitTrainingSpec, evaluating: Iterable[str]) -> list[str]:
    """Lists the clients that weights go through for an evaluation, beginning with the one that trained last.

    Through the server weights go straight to the next client that evaluates. From client to client they pass
    through those between.
    """
    ring, wanted = _list_ring(spec), set(evaluating)
    positions = [index for index, name in enumerate(ring) if name in wanted or not index]
    sequential = spec.schedule.sequential
    if sequential is not None and sequential.handoff is HandOff.PEER_TO_PEER:
        return ring[: positions[-1] + 1]
    return [ring[index] for index in positions]


def _pass_weights(report: PlanReport, spec: SplitTrainingSpec, way: Sequence[str]) -> Counter[Link]:
    if not hands_on(spec.schedule):
        return Counter()
    weights = SegmentBytes.of(report, spec.training.optimizer).weights
    return Counter(dict.fromkeys(pairwise(way), weights))


def _exchange(averager: str, clients: Sequence[str], parts: Mapping[str, int], result: int) -> Counter[Link]:
    """Returns every other client's part on its way to who combines them, and the result on its way back."""
    moves = Counter[Link]()
    for name in clients:
        if name != averager:
            moves[name, averager] += parts[name]
            moves[averager, name] += result
    return moves


def _find_averager(spec: SplitTrainingSpec) -> str | None:
    at = spec.schedule.averaging_at
    if at is None:
        return None
    return SERVER_PARTY if at is AveragingAt.SERVER else spec.clients[0].name


def _list_clients(spec: SplitTrainingSpec) -> list[str]:
    return [client.name for client in spec.clients]


def _list_ring(spec: SplitTrainingSpec) -> list[str]:
    """Lists the clients in the order of turns, beginning with the one that trained last in a round."""
    clients = _list_clients(spec)
    return clients[-1:] + clients[:-1]
