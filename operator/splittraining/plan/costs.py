"""What splitting costs each client on the network, beside the two ways to train together without splitting.

Bytes of tensors, without framing: training (activations and their gradients), labels, evaluation, and what moves of
weights and gradients in a round and for an evaluation, each apart. Numbers come from the wire plan, the segments' sizes
and the rows; nothing here knows how a schedule visits rows: who calls gives the bytes per link of one round. What moves
beside the values is computed by `moves`.

Source: the cost table of split learning (Vepakomma et al. 2018, Singh et al. 2019), with K clients, p training rows in
all, q numbers a row at the cut, N parameters and the client's share η of them. Labels, evaluation, buffers and
optimizer state are this project's additions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from splittraining.api.plan_report import PlanReport
from splittraining.api.spec.schedule import ScheduleMode
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.wire_plan import CLIENT_OWNER, ValueSource, WirePlan
from splittraining.plan.moves import (
    Link,
    RoundSteps,
    compute_evaluation_moves,
    compute_round_moves,
    hands_on,
)

RoundBytes = Callable[[WirePlan], Mapping[Link, int] | None]
"""Payload per link of one round of training under a wire plan, or None while rows are unknown."""


@dataclass(frozen=True, slots=True)
class ClientCost:
    """Payload that one client sends and receives in one round, in bytes; None where it is not known."""

    client: str
    training: int | None
    labels: int | None
    moved: int | None
    """Hand-offs, averages or sums of gradients."""
    evaluation: int | None
    """One evaluation, with its labels."""
    evaluation_moved: int
    """Weights that one evaluation brings to those who evaluate."""


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
    report: PlanReport,
    spec: SplitTrainingSpec,
    round_bytes: RoundBytes,
    test_rows: Mapping[str, int],
    steps: RoundSteps | None = None,
) -> list[ClientCost]:
    """Computes what one round of a long training costs each client: the very first one lacks a hand-off.

    Args:
        report: The plan.
        spec: What was planned.
        round_bytes: Gives the payload per link of one round of training under the schedule.
        test_rows: Test rows by client, as far as they are known; a client without a test file has 0.
        steps: Of a parallel round; None where they are not known, or the schedule is another one.
    """
    plan = report.wire_plan
    labels = round_bytes(select_values(plan, labels=True))
    training = round_bytes(select_values(plan, labels=False))
    moves = compute_round_moves(report, spec, steps)
    evaluation_moves = compute_evaluation_moves(report, spec, list_evaluating(spec, test_rows))
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
                moved=None if moves is None else sum_bytes_of(moves, {client.name}),
                evaluation=evaluation,
                evaluation_moved=sum_bytes_of(evaluation_moves, {client.name}),
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


def list_evaluating(spec: SplitTrainingSpec, test_rows: Mapping[str, int]) -> list[str]:
    """Lists the clients that have test rows; of those whose rows are not known, the ones that name a test file."""
    names = []
    for client in spec.clients:
        has_file = client.data is not None and client.data.test is not None
        if test_rows.get(client.name, int(has_file)):
            names.append(client.name)
    return names


def compute_alternatives(report: PlanReport, spec: SplitTrainingSpec, train_rows: Mapping[str, int]) -> Alternatives:
    """Computes federated averaging (2·N a round) and large-batch synchronous SGD (2·N a step) for one client.

    A step of the large batch takes one batch at every client, so a round has as many as the client with most rows.
    """
    whole = count_parameter_bytes(report)
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
    share = count_parameter_bytes(report, CLIENT_OWNER) if hands_on(spec.schedule) else 0
    federated = len(spec.clients) * (count_parameter_bytes(report) - share / 2)
    return BreakEven(split=rows * cut_bytes // 2, federated=federated)


def count_parameters(report: PlanReport, owner: str | None = None) -> int:
    """Counts the parameters of the whole model, or of one owner."""
    return sum(segment.num_parameters for segment in report.segments if owner in {None, segment.owner})


def count_parameter_bytes(report: PlanReport, owner: str | None = None) -> int:
    """Counts the bytes of the parameters of the whole model, or of one owner."""
    return sum(segment.parameter_bytes for segment in report.segments if owner in {None, segment.owner})


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
