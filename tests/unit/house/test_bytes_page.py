"""The page of bytes shows what the formulas say of today's code, and no difference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from splittraining.api.plan_report import PlanReport
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.local.accepted import accept_manifest
from splittraining.local.manifest import load_manifest
from splittraining.party.training.share import ModelShare
from support.byte_cases import BYTE_CASES
from support.byte_counts import Formula
from support.bytes_page import PAGE, parse_page
from support.cases import Case


def cut(case: Case, folder: Path) -> PlanReport:
    """Cuts a case's model in this process: no training is needed to know the formulas."""
    folder.mkdir()
    accepted = accept_manifest(load_manifest(case.write(folder)))
    for name, text in case.source.items():
        (folder / name).write_text(text, encoding="utf-8")
    return ModelShare(accepted.contract, owner=CLIENT_OWNER, source_path=str(folder), device=torch.device("cpu")).report


def describe_cut(case: Case) -> str:
    """Returns what a plan depends on: most cases differ by their schedule alone."""
    clients = case.spec["clients"] if case.spec["schedule"]["mode"] == "Joint" else []
    return json.dumps([case.spec["topology"], case.spec["model"], clients, case.spec.get("tasks")])


@pytest.fixture(scope="module")
def formulas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Formula]:
    folder = tmp_path_factory.mktemp("cases")
    plans: dict[str, PlanReport] = {}
    for index, case in enumerate(BYTE_CASES.values()):
        key = describe_cut(case)
        plans[key] = plans.get(key) or cut(case, folder / str(index))
    return {name: Formula(case, plans[describe_cut(case)]) for name, case in BYTE_CASES.items()}


def test_every_round_is_the_formulas_kind_by_kind(formulas: dict[str, Formula]) -> None:
    expected = {}
    for schedule, formula in formulas.items():
        for client in formula.clients:
            each = formula.compute_round(client, 2)
            kinds = [each.training, each.labels, each.moved, each.evaluation]
            expected[schedule, client] = [*kinds, each.total, each.total, 0]
    assert parse_page(PAGE.read_text("utf-8"))[0] == expected


def test_every_training_of_two_rounds_is_the_formulas(formulas: dict[str, Formula]) -> None:
    expected = {}
    for schedule, formula in formulas.items():
        for client in formula.clients:
            total = formula.compute_run(client, 2).total
            expected[schedule, client] = [total, total, 0]
    _, runs = parse_page(PAGE.read_text("utf-8"))
    assert {key: numbers[:3] for key, numbers in runs.items()} == expected


def test_every_schedule_and_hand_off_that_there_is_has_its_rows() -> None:
    page = PAGE.read_text("utf-8")
    for word in ("ViaServer", "PeerToPeer", "None", "Vertical", "ExtendedVanilla", "MultiHop", "MultiTask", "UShaped"):
        assert re.search(rf"^\| (Sequential|Joint), {word}\b", page, re.MULTILINE), word
