"""Every schedule moves the bytes that the formulas say: per client and pair, each kind apart, difference 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.byte_cases import AT_SERVER, BYTE_CASES
from support.byte_counts import Formula, find_disagreements, measure, measure_moves
from support.bytes_page import PAGE, measure_rows, parse_page, read_plan, render_page
from support.cases import ADAM, Case, a_norm_case, a_vanilla_case
from support.runs import FinishedRun, run_case
from support.together_cases import scheduled

ALWAYS = ("Sequential, PeerToPeer, Adam", "Parallel, Global, SumGradients", "SplitFed v1, 2 local epochs")
"""One of each way to move weights and gradients; all schedules wait for `make test-slow`."""


def count(case: Case, folder: Path) -> tuple[FinishedRun, Formula]:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run, Formula(case, read_plan(run))


def assert_no_difference(run: FinishedRun, formula: Formula) -> None:
    rounds = formula.case.spec["rounds"]
    assert not find_disagreements(run)
    assert measure_moves(run) == formula.compute_run_moves(rounds)
    measured = {name: measure(run, name) for name in formula.clients}
    assert measured == {name: formula.compute_run(name, rounds) for name in formula.clients}
    assert all(each.total for each in measured.values())


@pytest.mark.parametrize("name", ALWAYS)
def test_every_client_and_pair_carries_the_formulas_bytes(name: str, tmp_path: Path) -> None:
    assert_no_difference(*count(BYTE_CASES[name], tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", BYTE_CASES)
def test_the_page_shows_what_each_schedule_counts_today(name: str, tmp_path: Path) -> None:
    rows = measure_rows(name, BYTE_CASES[name], tmp_path)
    assert [row.round for row in rows] == [row.round_formula for row in rows]
    assert [row.run for row in rows] == [row.run_formula for row in rows]
    for shown, measured in zip(parse_page(PAGE.read_text("utf-8")), parse_page(render_page(rows)), strict=True):
        assert {key: numbers for key, numbers in shown.items() if key[0] == name} == measured


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_norm_case(dropout="0.1", optimizer=ADAM), id="buffers, one of integers, are handed on"),
        pytest.param(
            scheduled(a_norm_case(dropout="0"), "SplitFed", 2, **AT_SERVER), id="buffers are averaged at the server"
        ),
        pytest.param(
            a_vanilla_case(optimizer=ADAM).changed(lambda spec: spec["training"].update(freeze=["bottom.0.bias"])),
            id="a frozen parameter is handed on without optimizer state",
        ),
        pytest.param(
            BYTE_CASES["Parallel, Union, SumGradients"].changed(
                lambda spec: spec["training"].update(freeze=["bottom.0.bias"])
            ),
            id="a frozen parameter has no gradient",
        ),
        pytest.param(
            scheduled(a_vanilla_case({"north": 6}, optimizer=ADAM), "SplitFed", 2, **AT_SERVER),
            id="a lone client averages with the server",
        ),
        pytest.param(a_vanilla_case({"north": 6}, optimizer=ADAM), id="a lone client hands on to nobody"),
        pytest.param(
            a_vanilla_case(optimizer=ADAM, turn=("Steps", 2), rounds=3)
            .without_test_rows("south")
            .changed(lambda spec: spec["training"]["evaluation"].update(everyRounds=2)),
            id="turns of steps, an evaluation every other round, one client evaluates nothing",
        ),
        pytest.param(
            a_vanilla_case(optimizer=ADAM).without_test_rows("north").without_test_rows("south"),
            id="who trained last alone evaluates: the others get its weights at the end",
        ),
    ],
)
def test_what_is_special_about_a_segment_is_in_the_formula(case: Case, tmp_path: Path) -> None:
    assert_no_difference(*count(case, tmp_path))
