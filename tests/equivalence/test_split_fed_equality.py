"""SplitFed over real processes equals averages written by hand to the bit, and large-batch SGD up to rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.cases import ADAM, MOMENTUM, SGD, Case
from support.oracle import Trajectory, train_federated, train_large_batches
from support.runs import FinishedRun, run_case
from support.together_cases import UNEQUAL, a_split_fed_case

ROUNDING = 1e-14
"""What the order of additions may change in double precision."""


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def assert_same_bits(run: FinishedRun, expected: Trajectory) -> None:
    assert run.read_losses() == expected.losses
    for client, state in expected.private_states.items():
        given = run.merge_segments(["server", client])
        assert given.keys() == state.keys()
        assert not [name for name in state if not torch.equal(given[name], state[name])], client


@pytest.mark.parametrize(
    ("member", "reference"),
    [
        pytest.param({"everyRounds": 2}, {"local_epochs": 2}, id="v1, two local epochs"),
        pytest.param({"averaging": {"at": "Server"}}, {}, id="v1, averaged at the server", marks=pytest.mark.slow),
        pytest.param({"serverPolicy": "Shared"}, {"shared_top": True}, id="v2"),
        pytest.param({"clientPolicy": "Private"}, {"private_bottoms": True}, id="v3"),
    ],
)
@pytest.mark.parametrize("optimizer", [MOMENTUM, pytest.param(ADAM, marks=pytest.mark.slow)], ids=["momentum", "Adam"])
def test_equals_averages_written_by_hand(
    member: Mapping[str, object], reference: Mapping[str, object], optimizer: Mapping[str, str], tmp_path: Path
) -> None:
    case = a_split_fed_case(optimizer, **member)
    expected = train_federated(case.build_model, case.rows, case.plan, top=["top"], **reference)  # type: ignore[arg-type]
    assert_same_bits(succeed(case, tmp_path), expected)


def test_rates_fall_by_rounds_and_each_client_is_clipped_with_its_own_top(tmp_path: Path) -> None:
    training = {
        "gradientClipping": {"mode": "GlobalNorm", "limit": "0.2"},
        "learningRateSchedule": {"name": "Step", "every": 1, "gamma": "0.5"},
    }
    case = a_split_fed_case(MOMENTUM).changed(lambda spec: spec["training"].update(training))
    plan = replace(
        case.plan,
        rate=lambda round_number: 0.5 ** (round_number - 1),
        clip=lambda parameters: torch.nn.utils.clip_grad_norm_(parameters, 0.2, foreach=False),
    )
    expected = train_federated(case.build_model, case.rows, plan, top=["top"])
    assert_same_bits(succeed(case, tmp_path), expected)


def test_one_local_step_of_v1_equals_a_step_of_sgd_over_everybodys_rows(tmp_path: Path) -> None:
    case = a_split_fed_case(SGD, rounds=60, double=True).changed(
        lambda spec: spec["training"].update(batchSize=max(UNEQUAL.values()))
    )
    run = succeed(case, tmp_path)
    expected = train_large_batches(case.build_model, case.rows, case.plan, batch="Union")
    assert len(expected.losses) == 60
    for client in UNEQUAL:
        given = run.merge_segments(["server", client])
        assert given.keys() == expected.state.keys()
        distance = max(float((given[name] - tensor).abs().max()) for name, tensor in expected.state.items())
        assert distance <= ROUNDING


@pytest.mark.slow
def test_the_same_seed_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    case = a_split_fed_case(ADAM)
    first, second = (succeed(case, tmp_path / name) for name in ("first", "second"))
    for party in ("server", *UNEQUAL):
        path = Path(party) / "result" / "segments.safetensors"
        assert (first.folder / path).read_bytes() == (second.folder / path).read_bytes()
