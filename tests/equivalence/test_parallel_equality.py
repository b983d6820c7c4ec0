"""Parallel over real processes equals one large batch in plain PyTorch: up to rounding in double precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support.cases import ADAM, MOMENTUM, Case
from support.oracle import train_large_batches
from support.runs import FinishedRun, run_case
from support.together_cases import a_parallel_case, a_parallel_u_shape

ROUNDING = 1e-14
"""What the order of additions may change in double precision."""


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def measure_distance(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> float:
    assert given.keys() == expected.keys()
    return max(float((given[name] - expected[name]).abs().max()) for name in expected)


def list_clients(case: Case) -> list[str]:
    return [client["name"] for client in case.spec["clients"]]


@pytest.mark.parametrize(
    ("case", "batch"),
    [
        pytest.param(a_parallel_case(MOMENTUM, rounds=20), "Union", id="the union of the batches, momentum"),
        pytest.param(a_parallel_case(ADAM, rounds=9, batch="Global"), "Global", id="one global batch, Adam"),
        pytest.param(
            a_parallel_case(ADAM, rounds=20),
            "Union",
            id="the union of the clients' batches, Adam",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            a_parallel_case(MOMENTUM, rounds=9, batch="Global", averaging={"at": "Server"}),
            "Global",
            id="one global batch, momentum, summed at the server",
        ),
    ],
)
def test_summed_gradients_equal_one_large_batch(case: Case, batch: str, tmp_path: Path) -> None:
    run = succeed(case, tmp_path)
    expected = train_large_batches(case.build_model, case.rows, case.plan, batch=batch)
    assert len(expected.losses) >= 60
    assert run.read_losses() == pytest.approx(expected.losses, rel=0, abs=ROUNDING)
    clients = list_clients(case)
    for client in clients:
        assert measure_distance(run.merge_segments(["server", client]), expected.state) <= ROUNDING
    assert len({(run.folder / name / "result" / "segments.safetensors").read_bytes() for name in clients}) == 1


@pytest.mark.parametrize(
    ("batch", "rounds"), [("Union", 20), pytest.param("Global", 13, marks=pytest.mark.slow)], ids=["union", "global"]
)
def test_losses_at_the_clients_of_a_u_shape_add_up_to_one_large_batch(batch: str, rounds: int, tmp_path: Path) -> None:
    case = a_parallel_u_shape(MOMENTUM, rounds=rounds, batch=batch)
    run = succeed(case, tmp_path)
    expected = train_large_batches(case.build_model, case.rows, case.plan, batch=batch)
    assert len(expected.losses) >= 60
    clients = list_clients(case)
    for client in clients:
        assert measure_distance(run.merge_segments(["server", client]), expected.state) <= ROUNDING
    assert len({(run.folder / name / "result" / "segments.safetensors").read_bytes() for name in clients}) == 1
    per_round = len(expected.losses) // rounds
    rows = sum(map(len, case.rows))
    sizes = [8, 6, 3] if batch == "Union" else [4, 4, 4, 4, 1]
    for number, told in enumerate(run.read_rounds()):
        losses = expected.losses[number * per_round : (number + 1) * per_round]
        mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / rows
        assert told["metrics"]["train_loss"] == pytest.approx(mean, rel=0, abs=ROUNDING)  # type: ignore[index]


def test_a_sum_of_gradients_is_clipped_by_the_norm_that_the_large_batch_has(tmp_path: Path) -> None:
    clipping = {"gradientClipping": {"mode": "GlobalNorm", "limit": "0.2"}}
    case = a_parallel_case(MOMENTUM, rounds=20).changed(lambda spec: spec["training"].update(clipping))
    norms: list[float] = []

    def clip(parameters: list[torch.nn.Parameter]) -> None:
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, 0.2, foreach=False)))

    run = succeed(case, tmp_path)
    expected = train_large_batches(case.build_model, case.rows, replace(case.plan, clip=clip), batch="Union")
    assert sum(norm > 0.2 for norm in norms) > len(norms) // 2
    for client in list_clients(case):
        assert measure_distance(run.merge_segments(["server", client]), expected.state) <= ROUNDING


def test_private_clients_train_a_bottom_of_their_own_below_one_top(tmp_path: Path) -> None:
    case = a_parallel_case(MOMENTUM, rounds=9, batch="Global", clientPolicy="Private")
    run = succeed(case, tmp_path)
    expected = train_large_batches(case.build_model, case.rows, case.plan, batch="Global", private=["bottom"])
    assert run.read_losses() == pytest.approx(expected.losses, rel=0, abs=ROUNDING)
    for client, state in expected.private_states.items():
        assert measure_distance(run.merge_segments(["server", client]), state) <= ROUNDING
    assert len({state["bottom.0.weight"].numpy().tobytes() for state in expected.private_states.values()}) == 3


@pytest.mark.slow
def test_the_same_seed_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    case = a_parallel_case(ADAM, batch="Global")
    first, second = (succeed(case, tmp_path / name) for name in ("first", "second"))
    for party in ("server", *list_clients(case)):
        path = Path(party) / "result" / "segments.safetensors"
        assert (first.folder / path).read_bytes() == (second.folder / path).read_bytes()
