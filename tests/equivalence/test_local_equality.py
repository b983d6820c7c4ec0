"""A split training in real processes over real mTLS equals plain PyTorch to the bit: every step's loss, all weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from support.cases import (
    ADAM,
    MOMENTUM,
    SGD,
    Case,
    a_case_of,
    a_multi_hop_case,
    a_norm_case,
    a_u_net_case,
    a_u_shaped_case,
    a_vanilla_case,
    a_vertical_case,
    an_extended_case,
)
from support.oracle import train_centrally, train_with_private_bottoms
from support.runs import FinishedRun, run_case
from support.uncut import train_uncut

ONE_CLIENT = {"north": 11}


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def assert_same_bits(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert given.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(given[name], expected[name])]
    assert not different


def assert_equals_plain_pytorch(case: Case, folder: Path) -> None:
    run = succeed(case, folder)
    expected = train_centrally(case.build_model, case.rows, case.plan, test_rows=case.test_rows)
    assert run.read_losses() == expected.losses
    for evaluated, plain in zip(run.read_rounds(), expected.evaluations, strict=True):
        # Only sums over batches differ from one sum over all rows, in their last bits.
        assert evaluated["metrics"] == pytest.approx({**evaluated["metrics"], **plain}, rel=1e-5)
    clients = [client["name"] for client in case.spec["clients"]]
    if case.spec["schedule"]["mode"] == "Joint":
        assert_same_bits(run.merge_segments(["server", *clients]), expected.state)
        return
    for client in clients:  # the ring ends with the same weights at every institution
        assert_same_bits(run.merge_segments(["server", client]), expected.state)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case(optimizer=MOMENTUM), id="three clients take turns of an epoch"),
        pytest.param(
            a_vanilla_case(optimizer=ADAM, turn=("Steps", 1)).without_test_rows("north"),
            id="three clients take turns of a step, one of them evaluates nothing",
        ),
        pytest.param(a_u_shaped_case(), id="U-shape with two clients"),
        pytest.param(a_vertical_case(), id="Vertical with a label holder of its own"),
        pytest.param(a_vertical_case(label_at="ward"), id="Vertical with labels at a data holder"),
        pytest.param(a_vertical_case(label_at="server"), id="Vertical with labels at the server"),
        pytest.param(a_multi_hop_case(), id="four owners in a chain with a label holder of its own"),
        pytest.param(a_multi_hop_case(optimizer=ADAM, label_at="clinic"), id="four owners, labels at the first"),
        pytest.param(
            a_multi_hop_case(label_at="center", skip=True), id="four owners, one value past a hop, labels at a hop"
        ),
        pytest.param(an_extended_case(), id="ExtendedVanilla with a label holder of its own"),
        pytest.param(a_u_net_case(), id="U-Net with skips in a U-shape"),
        pytest.param(a_norm_case(dropout="0.0"), id="BatchNorm on both sides of the cut", marks=pytest.mark.slow),
        pytest.param(a_case_of("build_patches", "embed"), id="a cut value that lies transposed in memory"),
        pytest.param(a_case_of("build_summed", "bottom"), id="BatchNorm gets an expanded gradient"),
        pytest.param(a_case_of("build_summed_rows", "bottom"), id="Linear gets an expanded gradient"),
        pytest.param(a_case_of("build_halves", "bottom", "middle"), id="views cross both ways in a U-shape"),
    ],
)
def test_equals_plain_pytorch(case: Case, tmp_path: Path) -> None:
    assert_equals_plain_pytorch(case, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("turn", [("Epoch", 1), ("Steps", 1), ("Epoch", 2), ("Steps", 5)], ids=str)
@pytest.mark.parametrize("optimizer", [SGD, MOMENTUM, ADAM], ids=["SGD", "momentum and weight decay", "Adam"])
@pytest.mark.parametrize("clients", [ONE_CLIENT, None], ids=["one client", "three clients"])
def test_vanilla_equals_plain_pytorch(
    clients: dict[str, int] | None, optimizer: Mapping[str, str], turn: tuple[str, int], tmp_path: Path
) -> None:
    assert_equals_plain_pytorch(a_vanilla_case(clients, optimizer=optimizer, turn=turn), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [SGD, MOMENTUM, ADAM], ids=["SGD", "momentum and weight decay", "Adam"])
@pytest.mark.parametrize(
    "build",
    [a_u_shaped_case, a_vertical_case, a_multi_hop_case, an_extended_case],
    ids=["U-shape", "Vertical", "MultiHop", "ExtendedVanilla"],
)
def test_other_topologies_equal_plain_pytorch(build: object, optimizer: Mapping[str, str], tmp_path: Path) -> None:
    assert_equals_plain_pytorch(build(optimizer=optimizer), tmp_path)  # type: ignore[operator]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_norm_case(dropout="0.3"), id="Vanilla"),
        pytest.param(
            a_norm_case(dropout="0.3", topology="UShaped", optimizer=ADAM), id="UShaped", marks=pytest.mark.slow
        ),
    ],
)
def test_dropout_and_batch_norm_equal_the_same_engine_uncut(case: Case, tmp_path: Path) -> None:
    run = succeed(case, tmp_path)
    expected = train_uncut(case)
    assert run.read_losses() == expected.losses
    for client in case.spec["clients"]:
        assert_same_bits(run.merge_segments(["server", client["name"]]), expected.state)


def test_without_hand_off_every_client_trains_a_bottom_of_its_own(tmp_path: Path) -> None:
    case = a_vanilla_case(optimizer=MOMENTUM, handoff="None")
    run = succeed(case, tmp_path)
    expected = train_with_private_bottoms(case.build_model, case.rows, case.plan, top=["top"])
    assert run.read_losses() == expected.losses
    for client, state in expected.private_states.items():
        assert_same_bits(run.merge_segments(["server", client]), state)
    with_hand_off = train_centrally(case.build_model, case.rows, case.plan)
    assert run.read_losses() != with_hand_off.losses


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_norm_case(dropout="0.3"), id="Vanilla with dropout"),
        pytest.param(a_multi_hop_case(label_at="server"), id="four owners in a chain", marks=pytest.mark.slow),
    ],
)
def test_the_same_seed_twice_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    first, second = (succeed(case, tmp_path / name) for name in ("first", "second"))
    for party in ("server", *(client["name"] for client in case.spec["clients"])):
        path = Path(party) / "result" / "segments.safetensors"
        assert (first.folder / path).read_bytes() == (second.folder / path).read_bytes()
