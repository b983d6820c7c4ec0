"""Early stopping ends where plain PyTorch would end, and the best round's weights are those it had after that round."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from support.cases import MOMENTUM, Case, a_vanilla_case, a_vertical_case
from support.runs import FinishedRun, run_case
from support.training_oracle import Means, Trained, find_best_round, train_by

FAST = {**MOMENTUM, "learningRate": "0.5"}
"""A rate at which the test loss rises again soon."""


def a_long_case(case: Case, *, rounds: int, evaluation: dict[str, Any]) -> Case:
    def change(spec: dict[str, Any]) -> None:
        spec["rounds"] = rounds
        spec["training"]["evaluation"] |= evaluation

    return case.changed(change)


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def assert_result_is_of(run: FinishedRun, case: Case, expected: Trained, round_number: int) -> None:
    state = expected.states[round_number - 1]
    clients = [client["name"] for client in case.spec["clients"]]
    groups = [clients] if case.spec["topology"] == "Vertical" else [[client] for client in clients]
    for group in groups:
        merged = run.merge_segments(["server", *group])
        assert not [name for name, tensor in state.items() if not torch.equal(merged[name], tensor)]
    for party in ("server", *clients):
        manifest = json.loads((run.folder / party / "result" / "manifest.json").read_text())
        assert manifest["round"] == round_number
        assert manifest["step"] == len(expected.losses) // len(expected.states) * round_number


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case(optimizer=FAST).without_test_rows("south"), id="Vanilla with hand-off"),
        pytest.param(a_vertical_case(optimizer=FAST), id="Vertical", marks=pytest.mark.slow),
    ],
)
def test_the_training_stops_early_and_every_party_has_the_best_rounds_weights(case: Case, tmp_path: Path) -> None:
    rounds, patience = 12, 2
    case = a_long_case(case, rounds=rounds, evaluation={"keep": "Best", "earlyStopping": {"patienceRounds": patience}})
    expected = train_by(case)
    losses = [evaluation["loss"] for evaluation in expected.evaluations]
    stop = next(n for n in range(1, rounds + 1) if n - find_best_round(losses[:n]) >= patience)
    best = find_best_round(losses[:stop])
    assert 1 < best < stop < rounds, losses
    run = succeed(case, tmp_path)
    assert [row["round"] for row in run.read_rounds()] == list(range(1, stop + 1))
    assert_result_is_of(run, case, expected, best)
    (server,) = (report for report in run.record.reports if report.party == "server")
    assert (server.stopped_early, server.kept_round, server.round, server.rounds) == (True, best, stop, rounds)
    assert server.step == server.steps
    text = (run.folder / "report.md").read_text()
    assert f"Early stopping ended it after round {stop} of {rounds}." in text
    assert f"The result is the weights of round {best}, the best one." in text


@pytest.mark.slow
def test_without_early_stopping_all_rounds_are_trained_and_the_best_is_kept(tmp_path: Path) -> None:
    case = a_long_case(a_vanilla_case({"north": 11, "south": 6}, optimizer=FAST), rounds=5, evaluation={"keep": "Best"})
    expected = train_by(case)
    best = find_best_round(evaluation["loss"] for evaluation in expected.evaluations)
    assert best < 5
    run = succeed(case, tmp_path)
    assert len(run.read_rounds()) == 5
    assert_result_is_of(run, case, expected, best)


def test_private_clients_start_each_from_weights_of_their_own(tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["model"]["initialization"] = "Private"
        spec["training"]["optimizer"] = {"name": "SGD", "learningRate": "0"}
        spec["rounds"] = 1

    case = a_vanilla_case({"north": 5, "south": 4}, handoff="None").changed(change)
    seeded = train_by(case).state
    run = succeed(case, tmp_path)
    north, south, server = (
        run.read_segments(party)["bottom.0.weight" if party != "server" else "top.0.weight"]
        for party in ("north", "south", "server")
    )
    assert not torch.equal(north, south)
    assert not torch.equal(north, seeded["bottom.0.weight"])
    assert not torch.equal(south, seeded["bottom.0.weight"])
    assert torch.equal(server, seeded["top.0.weight"])


def test_a_warm_start_goes_before_what_the_clients_would_draw(tmp_path: Path) -> None:
    first = {name: tensor.clone() for name, tensor in a_vanilla_case().build_model().state_dict().items()}
    clients = {"north": 11, "south": 6}
    for client in clients:
        (tmp_path / "data" / client).mkdir(parents=True)
        save_file(first, tmp_path / "data" / client / "first.safetensors")
    digest = "sha256:" + hashlib.sha256((tmp_path / "data" / "north" / "first.safetensors").read_bytes()).hexdigest()

    def change(spec: dict[str, Any]) -> None:
        spec["model"]["initialization"] = "ClientsOnly"
        for client in spec["clients"]:
            client["warmStart"] = {"path": "first.safetensors", "digest": digest}

    case = a_vanilla_case(clients, optimizer=MOMENTUM).changed(change)
    start = {name: first[name] for name in ("bottom.0.weight", "bottom.0.bias")}
    expected = train_by(case, Means(start=start))
    assert expected.losses != train_by(case).losses
    run = succeed(case, tmp_path)
    assert run.read_losses() == expected.losses
    assert_result_is_of(run, case, expected, case.spec["rounds"])
