"""Parties that do not hold the same contract, wire plan or source never train a step together."""

from __future__ import annotations

import json
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from splittraining.api.exit_codes import ExitCode
from splittraining.api.party_document import PartyDocument
from splittraining.local.child import Order
from splittraining.local.launcher import Launcher
from splittraining.plan.environment import build_environment
from support.cases import a_u_shaped_case
from support.runs import FinishedRun, run_case

Document = dict[str, Any]


class TamperingLauncher(Launcher):
    """Changes one party's document before that party starts."""

    def __init__(self, party: str, change: Callable[[Document], object]) -> None:
        super().__init__(environment=build_environment(intra_op_threads=1))
        self._party = party
        self._change = change

    def start(self, name: str, order: Order) -> ForkServerProcess:
        if name == self._party:
            path = Path(str(order.arguments[0]))
            document = json.loads(path.read_text("utf-8"))
            self._change(document)
            path.write_text(json.dumps(document), "utf-8")
        return super().start(name, order)


def run_tampered(change: Callable[[Document], object], folder: Path) -> FinishedRun:
    run = run_case(a_u_shaped_case(), folder, launcher=TamperingLauncher("south", change))
    assert run.read_losses() == []
    return run


def agree_with_itself(document: Document) -> None:
    """Names the digest of whatever contract the document holds now."""
    document["contractDigest"] = PartyDocument.model_validate(document).contract.compute_digest()


def train_faster(document: Document) -> None:
    document["contract"]["training"]["optimizer"]["learningRate"] = "0.5"
    agree_with_itself(document)


def forget_the_digest(document: Document) -> None:
    document["contract"]["training"]["seed"] = 6


def read_other_rows(document: Document) -> None:
    document["data"]["train"]["path"] = "test.npz"


def replace_source(document: Document) -> None:
    path = Path(document["sourcePath"])
    other = path.with_name("other-source")
    other.mkdir()
    for file in path.iterdir():
        (other / file.name).write_text(file.read_text("utf-8") + "\n# one more line\n", "utf-8")
    document["sourcePath"] = str(other)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        pytest.param(train_faster, ["holds contract sha256:", "Allowed: contract sha256:"], id="another contract"),
        pytest.param(
            forget_the_digest,
            ["the party document's contract has digest"],
            id="a document that lies",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            read_other_rows,
            ["the party document's own plan (claims, paths and columns of its data) has digest"],
            id="other files than its own plan names",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            replace_source,
            ["source files", "small_models.py", "have digest"],
            id="another model source",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_party_with_another_contract_is_refused(
    change: Callable[[Document], object], parts: list[str], tmp_path: Path
) -> None:
    run = run_tampered(change, tmp_path)
    assert run.outcome.exit_code == ExitCode.CONTRACT_MISMATCH
    assert run.outcome.reason == "ContractMismatch"
    assert not [part for part in parts if part not in run.outcome.message], run.outcome.message


def test_a_pinned_wire_plan_that_the_code_does_not_give_is_refused(tmp_path: Path) -> None:
    pinned = "sha256:" + "0" * 64
    case = a_u_shaped_case().changed(lambda spec: spec["model"].update(wirePlanDigest=pinned))
    run = run_case(case, tmp_path)
    assert run.outcome.exit_code == ExitCode.CONTRACT_MISMATCH
    assert f"the manifest pins {pinned}" in run.outcome.message
    assert "splittraining plan --pin" in run.outcome.message
