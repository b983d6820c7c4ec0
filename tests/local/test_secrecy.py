"""What must stay with the clients reaches no message to the server, no file of its folder and not its memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from splittraining.local.launcher import build_environment
from splittraining.party.training.client_secret import SECRET_BYTES, ClientSecret
from support.cases import Case, a_u_shaped_case
from support.runs import FinishedRun, run_case
from support.spying import MEMORY, RECORDED, SpyLauncher, find_canaries, find_in_folder, make_known_bytes

LABEL_WIDTH = 6
"""Floats in a label: so many that their bytes cannot be in a memory by chance."""


def a_case_with_canaries() -> Case:
    """A U-shape with hand-offs whose labels are wide and whose first weights only the clients know."""
    case = a_u_shaped_case()
    generator = np.random.default_rng(77)
    for parts in case.tables.values():
        for table in parts.values():
            table["y"] = generator.uniform(size=(len(table["x"]), LABEL_WIDTH)).astype(np.float32)

    def widen(spec: dict) -> None:
        spec["model"]["arguments"] = {"num_outputs": str(LABEL_WIDTH)}
        spec["model"]["label"]["shape"] = [LABEL_WIDTH]
        spec["model"]["initialization"] = "ClientsOnly"
        spec["training"]["loss"] = {"name": "MSE"}
        spec["training"]["evaluation"]["metrics"] = []

    return case.changed(widen)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, FinishedRun, Path]:
    folder = tmp_path_factory.mktemp("observed")
    case = a_case_with_canaries()
    launcher = SpyLauncher(folder / "seen", environment=build_environment(intra_op_threads=1))
    run = run_case(case, folder, launcher=launcher)
    assert run.outcome.exit_code == 0, run.outcome
    return case, run, folder / "seen"


def list_canaries(case: Case, run: FinishedRun) -> list[tuple[str, bytes]]:
    table = case.tables["north"]["train"]
    secret = ClientSecret(make_known_bytes(SECRET_BYTES))
    weights = load_file(run.folder / "south" / "result" / "segments.safetensors")
    return [
        ("a row of features", table["x"][0].tobytes()),
        ("another client's row of features", case.tables["south"]["train"]["x"][1].tobytes()),
        ("a label", table["y"][0].tobytes()),
        ("a test label", case.tables["south"]["test"]["y"][1].tobytes()),
        ("the clients' secret", secret.secret),
        ("the seed of the clients' weights", secret.initialization_seed.to_bytes(8, "little")),
        ("the key of the row-id digests", secret.row_ids_key),
        *((f"client weight {name}", weights[name].numpy().tobytes()[:24]) for name in weights),
    ]


def test_the_server_receives_none_of_it(observed: tuple[Case, FinishedRun, Path]) -> None:
    case, run, seen = observed
    received = seen / "server" / RECORDED
    assert received.stat().st_size > 0
    assert find_canaries(received, list_canaries(case, run)) == []


def test_the_servers_folder_holds_none_of_it(observed: tuple[Case, FinishedRun, Path]) -> None:
    case, run, _ = observed
    assert find_in_folder(run.folder / "server", list_canaries(case, run)) == []


def test_the_servers_memory_holds_none_of_it_at_the_end(observed: tuple[Case, FinishedRun, Path]) -> None:
    case, run, seen = observed
    assert find_canaries(seen / "server" / MEMORY, list_canaries(case, run)) == []


def test_the_search_would_find_it_where_it_is(observed: tuple[Case, FinishedRun, Path]) -> None:
    case, run, seen = observed
    found = find_canaries(seen / "north" / MEMORY, list_canaries(case, run))
    assert {"a row of features", "a label"} <= set(found)
    own = load_file(run.folder / "server" / "result" / "segments.safetensors")
    servers = [(name, tensor.numpy().tobytes()[:24]) for name, tensor in own.items()]
    assert find_in_folder(run.folder / "server", servers)
