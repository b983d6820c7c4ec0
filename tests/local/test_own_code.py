"""Loaders and losses of one's own do what the built-in ones do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support import own_code
from support.cases import Case, a_vanilla_case
from support.runs import run_case

OWN = Path(own_code.__file__).read_text(encoding="utf-8")


def without_metrics(spec: dict[str, Any]) -> None:
    spec["training"]["evaluation"]["metrics"] = []


def with_own_code(spec: dict[str, Any]) -> None:
    without_metrics(spec)
    spec["training"]["loss"] = {"entrypoint": "own_code:compute_loss", "arguments": {"temperature": "1.0"}}
    for client in spec["clients"]:
        data = client["data"]
        data.pop("format")
        data["loader"] = {"entrypoint": "own_code:load", "arguments": {"suffix": "_raw"}}
        data["inputs"] = [{"name": "x", "columns": ["x_raw"]}]
        data["label"] = {"columns": ["y_raw"]}


def test_an_own_loader_and_an_own_loss_train_the_same(tmp_path: Path) -> None:
    plain = a_vanilla_case({"north": 7, "south": 5}, rounds=1).changed(without_metrics)
    own: Case = plain.changed(with_own_code)
    own.source["own_code.py"] = OWN
    expected, given = run_case(plain, tmp_path / "plain"), run_case(own, tmp_path / "own")
    assert given.outcome.exit_code == 0, given.outcome
    assert given.read_losses() == expected.read_losses()
    for party in ("server", "north", "south"):
        path = Path(party) / "result" / "segments.safetensors"
        assert (given.folder / path).read_bytes() == (expected.folder / path).read_bytes()
