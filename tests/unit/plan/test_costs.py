"""What a round costs a client, against numbers worked out by hand from the rows of the published cost table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.wire_plan import DType, Stage, Value, ValueSource, WirePlan
from splittraining.plan.costs import (
    compute_alternatives,
    compute_break_even,
    compute_client_costs,
    list_evaluating,
)
from support.builders import TrainingBuilder, a_u_shaped_training, a_vanilla_training, a_vertical_training

Q, R = 10, 7  # numbers a row at the first and the second cut
CLIENT_PARAMETERS, SERVER_PARAMETERS, BUFFERS = 300, 700, 5
FROZEN, TENSORS = 20, 6  # parameters that are not trained, and tensors of those that are
ROWS = {"st-mary": 100, "st-luke": 50}
TEST_ROWS = {"st-mary": 20, "st-luke": 0}


def a_value(number: int, producer: int, consumer: int, size: int, source: ValueSource = ValueSource.CUT) -> Value:
    is_label = source is ValueSource.LABEL
    return Value(
        id=number,
        name=f"value-{number}",
        source=source,
        dtype=DType.INT64 if is_label else DType.FLOAT32,
        shape=(1,) if is_label else (1, size),
        differentiable=not is_label,
        producer=producer,
        consumers=(consumer,),
    )


def a_report(owners: list[str], *values: Value) -> PlanReport:
    plan = WirePlan(
        stages=tuple(Stage(index=index, owner=owner) for index, owner in enumerate(owners)),
        loss_stage=len(owners) - 1,
        values=values,
    )
    sizes = {"server": (SERVER_PARAMETERS, 0)}
    segments = []
    for index, owner in enumerate(owners):
        parameters, buffers = sizes.get(owner, (CLIENT_PARAMETERS, BUFFERS))
        first = owner not in owners[:index]
        segments.append(
            SegmentReport(
                stage=index,
                owner=owner,
                num_parameters=parameters * first,
                num_buffers=buffers * first,
                weight_bytes=4 * (parameters + buffers) * first,
                parameter_bytes=4 * parameters * first,
                trained_bytes=4 * (parameters - FROZEN) * first,
                num_trained=TENSORS * first,
            )
        )
    return PlanReport(segments=tuple(segments), wire_plan=plan, wire_plan_digest="")


VANILLA = a_report(["client", "server"], a_value(0, 0, 1, Q), a_value(1, 0, 1, 1, ValueSource.LABEL))
U_SHAPED = a_report(["client", "server", "client"], a_value(0, 0, 1, Q), a_value(1, 1, 2, R))
VERTICAL = a_report(["imaging", "pathology", "server"], a_value(0, 0, 2, Q), a_value(1, 1, 2, R))


def spec_of(training: TrainingBuilder) -> SplitTrainingSpec:
    return training.with_value("spec.training.batchSize", 8).build().spec


def own_rows(plan: WirePlan) -> Mapping[tuple[str, str], int]:
    """One epoch of every client's own rows."""
    totals: Counter[tuple[str, str]] = Counter()
    for client, rows in ROWS.items():
        for link, size in plan.compute_link_bytes(rows).items():
            totals[tuple(client if owner == "client" else owner for owner in link)] += size  # type: ignore[index]
    return totals


def costs_of(report: PlanReport, spec: SplitTrainingSpec) -> dict[str, tuple[int | None, ...]]:
    costs = compute_client_costs(report, spec, own_rows, TEST_ROWS)
    return {cost.client: (cost.training, cost.labels, cost.evaluation, cost.moved) for cost in costs}


def test_vanilla_moves_the_cut_twice_labels_once_and_the_segment_in_and_out() -> None:
    momentum = a_vanilla_training().with_value("spec.training.optimizer", {"name": "SGD", "learningRate": "0.1"})
    hand_off = 2 * 4 * (CLIENT_PARAMETERS + BUFFERS)
    assert costs_of(VANILLA, spec_of(momentum)) == {
        "st-mary": (2 * 100 * Q * 4, 100 * 8, 20 * (Q * 4 + 8), hand_off),
        "st-luke": (2 * 50 * Q * 4, 50 * 8, 0, hand_off),
    }


@pytest.mark.parametrize(
    ("optimizer", "state"),
    [
        ({"name": "SGD", "learningRate": "0.1"}, 0),
        ({"name": "SGD", "learningRate": "0.1", "momentum": "0.9"}, CLIENT_PARAMETERS - FROZEN),
        ({"name": "Adam", "learningRate": "0.1"}, 2 * (CLIENT_PARAMETERS - FROZEN) + TENSORS),
        ({"name": "AdamW", "learningRate": "0.1"}, 2 * (CLIENT_PARAMETERS - FROZEN) + TENSORS),
    ],
    ids=["SGD", "momentum", "Adam", "AdamW"],
)
def test_a_hand_off_carries_the_optimizers_state_of_what_is_trained(optimizer: dict[str, str], state: int) -> None:
    spec = spec_of(a_vanilla_training().with_value("spec.training.optimizer", optimizer))
    assert costs_of(VANILLA, spec)["st-luke"][3] == 2 * 4 * (CLIENT_PARAMETERS + BUFFERS + state)


def test_without_a_hand_off_no_weights_move() -> None:
    spec = spec_of(a_vanilla_training().with_value("spec.schedule.sequential.handoff", "None"))
    assert costs_of(VANILLA, spec)["st-mary"][3] == 0


def test_a_u_shape_moves_both_cuts_and_no_labels() -> None:
    spec = spec_of(a_u_shaped_training().with_value("spec.clients.0.name", "st-mary"))
    assert costs_of(U_SHAPED, spec)["st-mary"][:3] == (2 * 100 * (Q + R) * 4, 0, 20 * (Q + R) * 4)


def test_a_party_of_a_vertical_training_moves_its_own_cut_for_every_row() -> None:
    def all_rows(plan: WirePlan) -> Mapping[tuple[str, str], int]:
        return plan.compute_link_bytes(150)

    spec = spec_of(a_vertical_training())
    costs = {cost.client: cost for cost in compute_client_costs(VERTICAL, spec, all_rows, {"imaging": 20})}
    assert (costs["imaging"].training, costs["imaging"].evaluation) == (2 * 150 * Q * 4, 20 * Q * 4)
    assert (costs["pathology"].training, costs["pathology"].evaluation) == (2 * 150 * R * 4, 20 * R * 4)
    assert {(cost.moved, cost.evaluation_moved) for cost in costs.values()} == {(0, 0)}


def test_what_depends_on_rows_is_not_guessed() -> None:
    (cost, *_) = compute_client_costs(VANILLA, spec_of(a_vanilla_training()), lambda _: None, {})
    assert (cost.training, cost.labels, cost.evaluation) == (None, None, None)


def test_only_those_with_test_rows_get_weights_for_an_evaluation() -> None:
    spec = spec_of(a_vanilla_training())
    weights = 4 * (CLIENT_PARAMETERS + BUFFERS)
    mary_alone, nobody = {"st-mary": 20, "st-luke": 0}, {"st-mary": 0, "st-luke": 0}
    # st-luke trains last, and st-mary comes next in the ring.
    for test_rows, moved in ((mary_alone, weights), (nobody, 0)):
        costs = compute_client_costs(VANILLA, spec, own_rows, test_rows)
        assert [cost.evaluation_moved for cost in costs] == [moved, moved]


def test_who_evaluates_is_told_by_the_manifest_while_rows_are_not_known() -> None:
    spec = spec_of(a_vanilla_training())
    with_file = [each.name for each in spec.clients if each.data is not None and each.data.test is not None]
    assert list_evaluating(spec, {}) == with_file
    assert list_evaluating(spec, {"st-mary": 0, "st-luke": 1}) == ["st-luke"]


def test_federated_averaging_moves_the_model_twice_a_round_and_a_large_batch_twice_a_step() -> None:
    others = compute_alternatives(VANILLA, spec_of(a_vanilla_training()), ROWS)
    whole = 4 * (CLIENT_PARAMETERS + SERVER_PARAMETERS)
    steps = 13  # 100 rows in batches of 8
    assert (others.federated, others.large_batch) == (2 * whole, 2 * whole * steps)
    assert compute_alternatives(VANILLA, spec_of(a_vanilla_training()), {"st-mary": 1}).large_batch is None


def test_the_break_even_is_that_of_the_table() -> None:
    spec = spec_of(a_vanilla_training())
    both = compute_break_even(VANILLA, spec, ROWS)
    assert both is not None
    # p·q = 150 x 10 and K·N·(1 - η/2) = 2 x 1000 x 0.85, in numbers of 4 bytes.
    assert (both.split, both.federated, both.favors_splitting) == (150 * 10 * 4, 1700 * 4, True)
    more = compute_break_even(VANILLA, spec, {"st-mary": 100, "st-luke": 71})
    assert more is not None
    assert not more.favors_splitting
    assert compute_break_even(VANILLA, spec, {"st-mary": 100}) is None


def test_the_break_even_of_a_u_shape_counts_both_cuts_and_none_without_hand_off_a_half_segment() -> None:
    spec = spec_of(a_u_shaped_training().with_value("spec.schedule.sequential.handoff", "None"))
    both = compute_break_even(U_SHAPED, spec, {client.name: 10 for client in spec.clients})
    assert both is not None
    assert (both.split, both.federated) == (10 * len(spec.clients) * 17 * 4, len(spec.clients) * 1000 * 4)
