"""The plan as text: segments with owners, the values that cross, bytes per step and per round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.plan_report import PlanReport
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.schedule import GradientPolicy, ScheduleSpec, TurnUnit
from splittraining.api.wire_plan import CLIENT_OWNER, WirePlan
from splittraining.report.markdown import render_size, render_table

Link = tuple[str, str]

_MAX_LAYERS = 6

_ONE_MODEL = "exact: equal to the unsplit model, bit for bit"
_SUMMED = "exact: the same bytes every time; equal to one large batch up to the rounding of sums"
_APART = (
    "exact: the same bytes every time; equal, up to the rounding of sums, to one top over a bottom of each client's own"
)
_AVERAGED = "exact: the same bytes every time; a client's steps equal the unsplit model, bit for bit"


def render_plan(
    report: PlanReport, training: SplitTraining, train_rows: Mapping[str, int], digests: Mapping[str, str]
) -> str:
    """Renders a plan for people.

    Args:
        report: The plan.
        training: What was planned.
        train_rows: Training rows by client, as far as they are known.
        digests: What institutions consent to, by its name: the contract and each party's own plan.
    """
    sections = [_render_segments(report), _render_values(report, training.spec.training.batch_size)]
    sections.append(_render_bytes(report.wire_plan, training, train_rows))
    sections.append(_render_notes(report, training.spec.schedule))
    sections.append(_render_digests({"wire plan": report.wire_plan_digest, **digests}))
    return "\n\n".join(sections) + "\n"


def compute_round_bytes(
    plan: WirePlan, training: SplitTraining, train_rows: Mapping[str, int], round_number: int | None = None
) -> dict[Link, int] | None:
    """Returns the payload per link of one round of training, or None where rows are missing that it depends on.

    Evaluation, hand-offs, and what is summed or averaged over clients are not in it.

    Args:
        plan: The wire plan, or some of its values.
        training: The training.
        train_rows: Training rows by client, as far as they are known.
        round_number: The round, counted from 1, where turns are of steps: one that ends an epoch has its short batch.
            None counts full batches, which is the most that a round can have.
    """
    spec = training.spec
    batch_size = spec.training.batch_size
    totals: Counter[Link] = Counter()
    if spec.schedule.parallel is not None or spec.schedule.split_fed is not None:
        return _sum_all_clients(plan, training, train_rows)
    if spec.schedule.sequential is None:
        known = list(train_rows.values())
        return _sum_batches(plan, known[0], batch_size) if known else None
    turn = spec.schedule.sequential.turn
    for client in spec.clients:
        link_bytes: Mapping[Link, int]
        if turn.unit is TurnUnit.STEPS and round_number is not None and client.name in train_rows:
            link_bytes, times = _sum_turn(plan, train_rows[client.name], batch_size, turn.length, round_number), 1
        elif turn.unit is TurnUnit.STEPS:
            link_bytes, times = plan.compute_link_bytes(batch_size), turn.length
        elif client.name in train_rows:
            link_bytes, times = _sum_batches(plan, train_rows[client.name], batch_size), turn.length
        else:
            return None
        for (sender, receiver), size in link_bytes.items():
            totals[_name(sender, client.name), _name(receiver, client.name)] += times * size
    return dict(totals)


def _sum_turn(plan: WirePlan, num_rows: int, batch_size: int, length: int, round_number: int) -> Counter[Link]:
    """Sums one turn of steps, which goes on where the client's last one ended, from epoch to epoch."""
    num_batches, first = -(-num_rows // batch_size), (round_number - 1) * length
    totals: Counter[Link] = Counter()
    for index in range(first, first + length):
        totals.update(plan.compute_link_bytes(min(batch_size, num_rows - index % num_batches * batch_size)))
    return totals


def _sum_all_clients(plan: WirePlan, training: SplitTraining, train_rows: Mapping[str, int]) -> dict[Link, int] | None:
    """Sums a round in which every client passes over its own rows, in whatever steps."""
    spec = training.spec
    epochs = spec.schedule.split_fed.every_rounds if spec.schedule.split_fed is not None else 1
    totals: Counter[Link] = Counter()
    for client in spec.clients:
        if client.name not in train_rows:
            return None
        for (sender, receiver), size in _sum_batches(plan, train_rows[client.name], spec.training.batch_size).items():
            totals[_name(sender, client.name), _name(receiver, client.name)] += epochs * size
    return dict(totals)


def _render_segments(report: PlanReport) -> str:
    rows = [
        [str(item.stage), item.owner, str(item.num_parameters), str(item.num_buffers), _join(item.layers)]
        for item in report.segments
    ]
    table = render_table(["stage", "owner", "parameters", "buffers", "layers"], rows)
    return f"Segments\n\n{table}"


def _render_values(report: PlanReport, batch_size: int) -> str:
    plan = report.wire_plan
    if not plan.values:
        return "Nothing crosses."
    rows = [[*cells] for cells in _list_values(plan, batch_size)]
    header = ["value", "why", "type", "shape of a batch", "from", "to", "bytes", "gradient"]
    return f"Values that cross, in a batch of {batch_size} rows\n\n{render_table(header, rows)}"


def _list_values(plan: WirePlan, batch_size: int) -> Iterator[list[str]]:
    for value in plan.values:
        consumers = dict.fromkeys(plan.stages[stage].owner for stage in value.consumers)
        yield [
            value.name,
            value.source.value,
            value.dtype.value,
            " x ".join(str(size) for size in value.compute_shape(batch_size)),
            plan.stages[value.producer].owner,
            ", ".join(consumers),
            str(value.compute_size_bytes(batch_size)),
            "comes back" if value.differentiable else "none",
        ]


def _render_bytes(plan: WirePlan, training: SplitTraining, train_rows: Mapping[str, int]) -> str:
    batch_size = training.spec.training.batch_size
    per_step = plan.compute_link_bytes(batch_size)
    evaluation = plan.compute_link_bytes(1, training=False)
    rows = [
        [f"{sender} → {receiver}", str(size), str(evaluation.get((sender, receiver), 0))]
        for (sender, receiver), size in per_step.items()
    ]
    table = render_table(["link", f"step of {batch_size} rows", "evaluation, a row"], rows)
    text = f"Payload bytes\n\n{table}"
    if any(SERVER_PARTY not in link for link in per_step):
        text += "\n\nWhat goes from client to client passes through the server, sealed end to end: it cannot read it."
    per_round = compute_round_bytes(plan, training, train_rows)
    if per_round is None:
        holders = [client.name for client in training.spec.clients if client.data is not None]
        missing = ", ".join(name for name in holders if name not in train_rows)
        return f"{text}\n\nBytes per round: the rows of {missing} are not known here; name their folders with --volume."
    rows = [[f"{sender} → {receiver}", str(size), render_size(size)] for (sender, receiver), size in per_round.items()]
    sequential = training.spec.schedule.sequential
    in_steps = sequential is not None and sequential.turn.unit is TurnUnit.STEPS
    header = "round of training, at most" if in_steps else "round of training"  # an epoch may end with a short batch
    return f"{text}\n\n{render_table(['link', header, ''], rows)}"


def _render_notes(report: PlanReport, schedule: ScheduleSpec) -> str:
    exactness = [f"inexact: {sentence}" for sentence in report.inexact]
    exactness = exactness or [_describe_exactness(schedule)]
    return "\n".join([*exactness, *(f"note: {sentence}" for sentence in report.notes)])


def _describe_exactness(schedule: ScheduleSpec) -> str:
    """Says what exactness means in a schedule; docs/backward.md has the whole of it."""
    if schedule.parallel is not None:
        return _APART if schedule.parallel.client_policy is GradientPolicy.PRIVATE else _SUMMED
    return _AVERAGED if schedule.split_fed is not None else _ONE_MODEL


def _render_digests(digests: Mapping[str, str]) -> str:
    return f"Digests\n\n{render_table(['of', 'digest'], [[*row] for row in digests.items()])}"


def _sum_batches(plan: WirePlan, num_rows: int, batch_size: int) -> dict[Link, int]:
    totals: Counter[Link] = Counter()
    full, rest = divmod(num_rows, batch_size)
    for rows, times in ((batch_size, full), (rest, 1)):
        if rows and times:
            totals.update({link: size * times for link, size in plan.compute_link_bytes(rows).items()})
    return dict(totals)


def _name(owner: str, client: str) -> str:
    return client if owner == CLIENT_OWNER else owner


def _join(layers: tuple[str, ...]) -> str:
    text = ", ".join(layers[:_MAX_LAYERS])
    return text if len(layers) <= _MAX_LAYERS else f"{text} and {len(layers) - _MAX_LAYERS} more"
