"""BatchNorm at clients that train at once: what becomes of running statistics, against references written by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from splittraining.api.plan_report import PlanReport
from support.cases import Case, a_norm_case
from support.oracle import (
    Plan,
    Rows,
    Trajectory,
    build_first_model,
    build_optimizer,
    computing_exactly,
    iterate_unions,
    train_federated,
)
from support.runs import FinishedRun, run_case
from support.together_cases import in_double, scheduled

ROUNDING = 1e-13
"""What the order of additions may change in double precision."""

MEANS = "bottom.1.running_mean"


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def read_notes(run: FinishedRun) -> tuple[str, ...]:
    return PlanReport.model_validate_json((run.folder / "server" / "plan.json").read_bytes()).notes


def train_with_own_statistics(factory: Callable[[], nn.Module], rows: Sequence[Rows], plan: Plan) -> Trajectory:
    """Trains one set of weights; every client normalizes over its own rows of a step and has its own statistics.

    The top is given all rows of a step as one batch, so that it normalizes over them together.
    """
    with computing_exactly():
        model = build_first_model(factory, plan.seed)
        bottoms = {each.client: _share_weights(model.bottom) for each in rows}
        optimizer = build_optimizer(plan.optimizer, model.parameters())
        trajectory = Trajectory()
        for epoch in range(plan.rounds):
            for step in iterate_unions(rows, plan, epoch, "Union"):
                optimizer.zero_grad()
                activations = torch.cat([bottoms[client](inputs["x"]) for client, inputs, _ in step])
                output = model.head(model.drop(model.middle(activations).flatten(1)))
                loss = functional.cross_entropy(output, torch.cat([label for _, _, label in step]))
                loss.backward()
                optimizer.step()
                trajectory.losses.append(loss.item())
        for client, bottom in bottoms.items():
            own = {f"bottom.{name}": tensor for name, tensor in bottom.state_dict().items()}
            trajectory.private_states[client] = {**model.state_dict(), **own}
        return trajectory


def _share_weights(module: nn.Module) -> nn.Module:
    """Returns a copy with the same parameters and buffers of its own."""
    copied = copy.deepcopy(module)
    for name, parameter in module.named_parameters():
        path, _, attribute = name.rpartition(".")
        setattr(copied.get_submodule(path), attribute, parameter)
    return copied


def test_in_parallel_weights_are_one_and_statistics_each_clients_own(tmp_path: Path) -> None:
    case = scheduled(in_double(a_norm_case(dropout="0"), "build_double_norm_classifier"), "Parallel", 6)
    run = succeed(case, tmp_path)
    expected = train_with_own_statistics(case.build_model, case.rows, case.plan)
    assert run.read_losses() == pytest.approx(expected.losses, rel=0, abs=ROUNDING)
    for client, state in expected.private_states.items():
        given = run.merge_segments(["server", client])
        assert given.keys() == state.keys()
        assert max(float((given[name] - state[name]).abs().max()) for name in state) <= ROUNDING
    north, south = (run.read_segments(client) for client in ("north", "south"))
    assert {name for name in north if not torch.equal(north[name], south[name])} == {
        MEANS, "bottom.1.running_var", "bottom.1.num_batches_tracked",
    }  # fmt: skip
    (note,) = read_notes(run)
    assert note.endswith("not equal to one large batch, and running statistics stay with each client")


@pytest.mark.parametrize(
    ("topology", "member", "reference"),
    [
        pytest.param("UShaped", {}, {}, id="v1 in a U-shape: first and last layers are averaged"),
        pytest.param(
            "Vanilla", {"clientPolicy": "Private"}, {"private_bottoms": True}, id="v3", marks=pytest.mark.slow
        ),
        pytest.param("Vanilla", {"serverPolicy": "Shared"}, {"shared_top": True}, id="v2", marks=pytest.mark.slow),
    ],
)
def test_in_split_fed_statistics_go_with_their_weights(
    topology: str, member: Mapping[str, object], reference: Mapping[str, bool], tmp_path: Path
) -> None:
    case = scheduled(a_norm_case(dropout="0", topology=topology), "SplitFed", 3, **member)
    top = ["middle", "drop"] + (["head"] if topology == "Vanilla" else [])
    expected = train_federated(case.build_model, case.rows, case.plan, top=top, **reference)
    run = succeed(case, tmp_path)
    assert run.read_losses() == expected.losses
    for client, state in expected.private_states.items():
        given = run.merge_segments(["server", client])
        assert given.keys() == state.keys()
        assert [name for name in state if not torch.equal(given[name], state[name])] == [], client
    north, south = (run.read_segments(client) for client in ("north", "south"))
    is_private = "private_bottoms" in reference
    assert all(torch.equal(north[name], south[name]) for name in north) != is_private
    # Of counts, which have no average, the largest: north has three batches a round, south two.
    assert south["bottom.1.num_batches_tracked"].item() == (6 if is_private else 9)
    (note,) = read_notes(run)
    assert ("averaged with the weights, by rows" in note) != is_private
