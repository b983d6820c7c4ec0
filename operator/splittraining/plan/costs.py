"""What splitting costs each client on the network, beside the two ways to train together without splitting.

Bytes of tensors, without framing: training (activations and their gradients), labels, evaluation and hand-offs, each
apart. Numbers come from the wire plan, the segments' sizes and the rows; nothing here knows how a schedule visits rows:
who calls gives the bytes per link of one round.

Source: the cost table of split learning (Vepakomma et al. 2018, Singh et al. 2019), with K clients, p training rows in
all, q numbers a row at the cut, N parameters and the client's share η of them. Labels, evaluation and optimizer state
are this project's additions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from splittraining.api.plan_report import PlanReport
from splittraining.api.spec.schedule import AveragingAt, HandOff, ScheduleMode
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.spec.training import OptimizerName, OptimizerSpec
from splittraining.api.wire_plan import CLIENT_OWNER, ValueSource, WirePlan

Link = tuple[str, str]
RoundBytes = Callable[[WirePlan], Mapping[Link, int] | None]
"""Payload per link of one round of training under a wire plan, or None while rows are unknown."""

PARAMETER_BYTES = 4
"""A parameter is counted as a Float32, whatever the model's code makes of it."""


@dataclass(frozen=True, slots=True)
class ClientCost:
    """Payload that one client sends and receives in one round, in bytes; None where it is not known."""

    client: str
    training: int | None
    labels: int | None
    evaluation: int | None
    hand_off: int | None


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What a client sends and receives in one round where nothing is split, in bytes."""

    federated: int
    large_batch: int | None


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Both sides of p·q < K·N·(1 − η/2), in bytes."""

    split: int
    federated: float

    @property
    def favors_splitting(self) -> bool:
        """Whether splitting moves fewer bytes."""
        return self.split < self.federated


def compute_client_costs(
    report: PlanReport, spec: SplitTrainingSpec, round_bytes: RoundBytes, test_rows: Mapping[str, int]
) -> list[ClientCost]:
    """Computes what one round costs each client.

    Args:
        report: The plan.
        spec: What was planned.
        round_bytes: Gives the payload per link of one round of training under the schedule.
        test_rows: Test rows by client, as far as they are known; a client without a test file has 0.
    """
    plan = report.wire_plan
    labels = round_bytes(select_values(plan, labels=True))
    training = round_bytes(select_values(plan, labels=False))
    costs = []
    for client in spec.clients:
        rows = _count_evaluated(spec, client.name, test_rows)
        evaluation = None
        if rows is not None:
            evaluation = sum_bytes_of(_evaluate(plan, spec, rows), {_find_owner(spec, client.name)})
        costs.append(
            ClientCost(
                client=client.name,
                training=None if training is None else sum_bytes_of(training, {client.name}),
                labels=None if labels is None else sum_bytes_of(labels, {client.name}),
                evaluation=evaluation,
                hand_off=compute_hand_off_bytes(report, spec, client.name),
            )
        )
    return costs


def select_values(plan: WirePlan, *, labels: bool) -> WirePlan:
    """Returns the plan with the labels alone, or without them."""
    values = tuple(value for value in plan.values if (value.source is ValueSource.LABEL) == labels)
    return plan.model_copy(update={"values": values})


def sum_bytes_of(links: Mapping[Link, int], parties: Iterable[str]) -> int:
    """Sums the bytes that some parties send to others or receive from them."""
    inside = set(parties)
    return sum(size for link, size in links.items() if len(inside & set(link)) == 1)


def compute_hand_off_bytes(report: PlanReport, spec: SplitTrainingSpec, client: str) -> int | None:
    """Returns what one client's segment weighs in a round's moves between clients, in bytes, sent and received.

    The round of a long training is meant: in the very first one nobody hands anything to the first client. None for a
    schedule whose moves are not written down here.
    """
    moves = _WEIGHT_MOVES.get(spec.schedule.mode)
    return None if moves is None else moves(report, spec, client)


def compute_alternatives(report: PlanReport, spec: SplitTrainingSpec, train_rows: Mapping[str, int]) -> Alternatives:
    """Computes federated averaging (2·N a round) and large-batch synchronous SGD (2·N a step) for one client.

    A step of the large batch takes one batch at every client, so a round has as many as the client with most rows.
    """
    whole = count_parameters(report) * PARAMETER_BYTES
    known = [train_rows.get(client.name) for client in spec.clients]
    steps = None if None in known else max(-(-rows // spec.training.batch_size) for rows in known if rows is not None)
    return Alternatives(federated=2 * whole, large_batch=None if steps is None else 2 * whole * steps)


def compute_break_even(report: PlanReport, spec: SplitTrainingSpec, train_rows: Mapping[str, int]) -> BreakEven | None:
    """Computes both sides of the break-even with federated averaging of one local epoch a round.

    Returns:
        None for another schedule than Sequential, and while the rows of a client are not known.
    """
    if spec.schedule.sequential is None or any(client.name not in train_rows for client in spec.clients):
        return None
    rows = sum(train_rows[client.name] for client in spec.clients)
    links = select_values(report.wire_plan, labels=False).compute_link_bytes(1)
    # Both directions of every value, hence half of it is the table's q; the same for all numbers of a row together.
    cut_bytes = sum_bytes_of(links, {CLIENT_OWNER})
    share = count_parameters(report, CLIENT_OWNER) if _hands_on(spec) else 0
    federated = len(spec.clients) * (count_parameters(report) - share / 2) * PARAMETER_BYTES
    return BreakEven(split=rows * cut_bytes // 2, federated=federated)


def count_parameters(report: PlanReport, owner: str | None = None) -> int:
    """Counts the parameters of the whole model, or of one owner."""
    return sum(segment.num_parameters for segment in report.segments if owner in {None, segment.owner})


def _move_nothing(_report: PlanReport, _spec: SplitTrainingSpec, _client: str) -> int:
    return 0


def _move_in_turns(report: PlanReport, spec: SplitTrainingSpec, _client: str) -> int:
    """A client gets the segment and its optimizer state before its turn and hands both on: twice (1 + s)·η·N."""
    if not _hands_on(spec) or len(spec.clients) == 1:
        return 0
    numbers = count_parameters(report, CLIENT_OWNER) * (1 + count_state_copies(spec.training.optimizer))
    return 2 * PARAMETER_BYTES * (numbers + _count_buffers(report))


def _move_weights(report: PlanReport, spec: SplitTrainingSpec, client: str) -> int:
    """A client sends its weights and gets the average, 2·η·N; the one that averages does so with every other client."""
    numbers = count_parameters(report, CLIENT_OWNER) + _count_buffers(report)
    return 2 * PARAMETER_BYTES * numbers * _count_partners(spec, client)


def _count_partners(spec: SplitTrainingSpec, client: str) -> int:
    """Returns with how many parties a client exchanges what is averaged."""
    at, is_first = spec.schedule.averaging_at, client == spec.clients[0].name
    if at is None or len(spec.clients) == 1:
        return 0
    return len(spec.clients) - 1 if at is AveragingAt.CLIENT and is_first else 1


def _count_buffers(report: PlanReport) -> int:
    return sum(segment.num_buffers for segment in report.segments if segment.owner == CLIENT_OWNER)


_WEIGHT_MOVES: Mapping[ScheduleMode, Callable[[PlanReport, SplitTrainingSpec, str], int]] = {
    ScheduleMode.SEQUENTIAL: _move_in_turns,
    ScheduleMode.JOINT: _move_nothing,
    ScheduleMode.SPLIT_FED: _move_weights,
}


def count_state_copies(optimizer: OptimizerSpec) -> int:
    """Returns how many numbers an optimizer keeps for each parameter."""
    if optimizer.name is OptimizerName.SGD:
        return 0 if float(optimizer.momentum) == 0 else 1
    return 2


def _hands_on(spec: SplitTrainingSpec) -> bool:
    return spec.schedule.sequential is not None and spec.schedule.sequential.handoff is not HandOff.NONE


def _find_owner(spec: SplitTrainingSpec, client: str) -> str:
    return client if spec.schedule.mode is ScheduleMode.JOINT else CLIENT_OWNER


def _count_evaluated(spec: SplitTrainingSpec, client: str, test_rows: Mapping[str, int]) -> int | None:
    """Returns how many rows a client takes part in evaluating: in Joint, those that all parties hold."""
    if spec.schedule.mode is ScheduleMode.JOINT:
        return next(iter(test_rows.values()), None)
    return test_rows.get(client)


def _evaluate(plan: WirePlan, spec: SplitTrainingSpec, num_rows: int) -> Mapping[Link, int]:
    batch_size = spec.training.batch_size
    full, rest = divmod(num_rows, batch_size)
    totals: Counter[Link] = Counter()
    for rows, times in ((batch_size, full), (rest, 1)):
        if rows and times:
            links = plan.compute_link_bytes(rows, training=False)
            totals.update({link: times * size for link, size in links.items()})
    return totals
