"""What a plan costs, as text: bytes per client and round, beside training together without splitting."""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.plan_report import PlanReport
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.schedule import AveragingAt, ScheduleMode
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.cli.plan_text import compute_round_bytes
from splittraining.plan.costs import (
    BreakEven,
    compute_alternatives,
    compute_break_even,
    compute_client_costs,
    count_parameter_bytes,
    count_parameters,
)
from splittraining.plan.moves import RoundSteps, count_parallel_steps, hands_on
from splittraining.report.markdown import render_size, render_table

_UNKNOWN = "not known"
_ALIKE = (Topology.VANILLA, Topology.U_SHAPED)
"""Topologies whose clients hold whole rows: only there could each of them train a model of its own and average it."""


def render_costs(
    report: PlanReport, training: SplitTraining, train_rows: Mapping[str, int], test_rows: Mapping[str, int]
) -> str:
    """Renders the costs of a plan for people.

    Args:
        report: The plan.
        training: What was planned.
        train_rows: Training rows by client, as far as they are known.
        test_rows: Test rows by client, as far as they are known.
    """
    spec = training.spec
    steps = count_parallel_steps(spec, train_rows)
    costs = compute_client_costs(
        report, spec, lambda plan: compute_round_bytes(plan, training, train_rows), test_rows, steps
    )
    header = ["client", "training", "labels", _name_moves(spec), "one evaluation", "weights for it"]
    rows = [
        [
            cost.client,
            *map(_render_bytes, (cost.training, cost.labels, cost.moved, cost.evaluation, cost.evaluation_moved)),
        ]
        for cost in costs
    ]
    table = render_table(header, rows)
    sections = [
        f"Costs of a round: payload that a client sends and receives\n\n{table}",
        _render_formula(spec, steps),
        _render_alternatives(report, spec, train_rows),
    ]
    return "\n\n".join(sections) + "\n"


def _name_moves(spec: SplitTrainingSpec) -> str:
    return {ScheduleMode.PARALLEL: "gradients", ScheduleMode.SPLIT_FED: "averages"}.get(spec.schedule.mode, "hand-offs")


def _render_formula(spec: SplitTrainingSpec, steps: RoundSteps | None) -> str:
    if spec.schedule.mode is ScheduleMode.JOINT:
        formula = "2·p·q: every client takes part in every row; p rows, q numbers a row that its links carry"
    else:
        formula = "2·(p/K)·q: its own rows; p rows, K clients, q numbers a row at the cuts"
    moves = _render_moves(spec, steps)
    if moves:
        moves = f". {_name_moves(spec).capitalize()} are {moves}; N parameters, η of them the client's"
    return f"Training is {formula}{moves}"


def _render_moves(spec: SplitTrainingSpec, steps: RoundSteps | None) -> str:
    """Renders the formula of what moves beside the values; empty where nothing does."""
    schedule = spec.schedule
    if hands_on(schedule):
        return (
            "2·(1 + s)·η·N with s numbers of optimizer state each, and the weights for an evaluation at most 2·η·N;"
            " buffers travel with them"
        )
    if schedule.averaging_at is None:
        return ""
    at_server = schedule.averaging_at is AveragingAt.SERVER
    return "".join(
        [
            "2·η·N",
            " a step" if schedule.parallel is not None else ", buffers with them,",
            "" if at_server else f", at {spec.clients[0].name} once for each other client",
            " at most: a client sends nothing in steps to which it brings no rows" if steps and steps.is_bound else "",
        ]
    )


def _render_alternatives(report: PlanReport, spec: SplitTrainingSpec, train_rows: Mapping[str, int]) -> str:
    if spec.topology not in _ALIKE:
        return (
            "Federated averaging and large-batch SGD are no alternatives here: they need whole rows at every client,"
            f" and {spec.topology} has them at none"
        )
    others = compute_alternatives(report, spec, train_rows)
    rows = [
        ["federated averaging", "2·N a round", _render_bytes(others.federated)],
        ["large-batch synchronous SGD", "2·N a step", _render_bytes(others.large_batch)],
    ]
    table = render_table(["instead", "formula", "a client, a round"], rows)
    whole, own = count_parameters(report), count_parameters(report, CLIENT_OWNER)
    size = render_size(count_parameter_bytes(report))
    counted = f"N = {whole} parameters ({size}), η = {own / whole if whole else 0:.4f}"
    text = f"{table}\n\n{counted}"
    if spec.schedule.sequential is None:
        return text
    return f"{text}\n{_render_break_even(compute_break_even(report, spec, train_rows))}"


def _render_break_even(both: BreakEven | None) -> str:
    law = "Splitting moves fewer bytes than federated averaging while p·q < K·N·(1 − η/2)"
    if both is None:
        return f"{law}; for the numbers name the folders with --volume."
    sides = f"p·q = {render_size(both.split)}, K·N·(1 − η/2) = {render_size(round(both.federated))}"
    verdict = "splitting moves fewer" if both.favors_splitting else "federated averaging moves fewer"
    return f"{law}: {sides}, so {verdict}. Labels, evaluation and optimizer state come on top."


def _render_bytes(size: int | None) -> str:
    return _UNKNOWN if size is None else f"{size} ({render_size(size)})"
