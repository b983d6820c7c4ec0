"""A round of each schedule and relayed topology against a round of Sequential with the same rows.

All train the benchmark's CNN, numerics Exact, one thread per process, and all work on every row once a round. What a
round takes is what the conductor says of it, without evaluation; the first round of each training is not counted.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bench_model
import numpy as np
from split_step import build_client
from summary import Spread, render_table, summarize

from splittraining.local.launcher import Launcher
from splittraining.plan.environment import build_environment
from support.cases import Case
from support.runs import run_case

SEED = 3
NUM_CLIENTS = 3
BATCH_ROWS = 64
BATCHES = 4
"""Of each client in a round; of all rows in a joint schedule, as many batches of this size as they make."""
BASE = "Sequential, hand-off through the server"
_NAMES = [f"site-{number}" for number in range(1, NUM_CLIENTS + 1)]


@dataclass(frozen=True)
class ScheduleResult:
    """One schedule, measured."""

    name: str
    steps: int
    """Of a round."""
    round_ms: Spread
    ratio: Spread
    """To the base of the same repeat."""


def measure_schedules(*, repeats: int, rounds: int, device: str) -> list[ScheduleResult]:
    """Runs every schedule, one after the other, and all of it again as often as it is to be repeated."""
    launcher = Launcher(environment=build_environment(intra_op_threads=1))
    cases = _build_cases(rounds + 1, device)
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    steps: dict[str, int] = {}
    for _ in range(repeats):
        for name, case in cases.items():
            with TemporaryDirectory() as folder:
                run = run_case(case, Path(folder), launcher=launcher)
                if run.outcome.exit_code != 0:
                    raise RuntimeError(f"{name} failed: {run.outcome}")
                told = run.read_rounds()
            counted = [float(str(row["seconds"])) for row in told[1:]]
            seconds[name].append(statistics.median(counted))
            steps[name] = int(str(told[0]["step"]))
    return [
        ScheduleResult(
            name,
            steps[name],
            summarize([1000 * value for value in values]),
            summarize([value / base for value, base in zip(values, seconds[BASE], strict=True)]),
        )
        for name, values in seconds.items()
    ]


def render_schedules(results: Sequence[ScheduleResult]) -> str:
    """Renders the table of schedules."""
    rows = [(each.name, str(each.steps), each.round_ms.render(0), each.ratio.render()) for each in results]
    return render_table(("schedule", "steps a round", "round ms", "ratio to the first"), rows)


def _build_cases(rounds: int, device: str) -> dict[str, Case]:
    base = _build_base(rounds, device)

    def scheduled(mode: str, member: str, **fields: object) -> Case:
        return base.changed(lambda spec: spec.update(schedule={"mode": mode, member: fields}))

    turn = {"unit": "Epoch", "length": 1}
    return {
        BASE: scheduled("Sequential", "sequential", turn=turn, handoff="ViaServer"),
        "Sequential, hand-off from client to client": scheduled(
            "Sequential", "sequential", turn=turn, handoff="PeerToPeer"
        ),
        "Parallel, union of batches, gradients summed": scheduled("Parallel", "parallel"),
        "Parallel, union of batches, private clients": scheduled("Parallel", "parallel", clientPolicy="Private"),
        "SplitFed v1": scheduled("SplitFed", "splitFed"),
        "SplitFed v2": scheduled("SplitFed", "splitFed", serverPolicy="Shared"),
        "MultiHop, three clients, relayed": _build_chain(base),
    }


def _build_base(rounds: int, device: str) -> Case:
    generator = np.random.default_rng(SEED)

    def make_table() -> dict[str, np.ndarray]:
        rows = BATCH_ROWS * BATCHES
        x = generator.normal(size=(rows, 3, 32, 32)).astype(np.float32)
        return {"x": x, "y": generator.integers(0, 10, size=rows)}

    spec: dict[str, Any] = {
        "topology": "Vanilla",
        "rounds": rounds,
        "model": {
            "entrypoint": "bench_model:build",
            "source": {"configMap": {"name": "models"}},
            "inputs": [{"name": "x", "dtype": "Float32", "shape": [3, 32, 32]}],
            "label": {"dtype": "Int64", "shape": []},
            "cutPoints": [{"layer": "shrink"}],
            "initialization": "Shared",
        },
        "training": {
            "batchSize": BATCH_ROWS,
            "seed": SEED,
            "optimizer": {"name": "SGD", "learningRate": "0.01", "momentum": "0.9"},
            "loss": {"name": "CrossEntropy"},
            "evaluation": {"everyRounds": rounds, "metrics": []},
        },
        "schedule": {},
        "server": {"device": device.upper()},
        "clients": [build_client(name, device) for name in _NAMES],
    }
    source = {"bench_model.py": Path(bench_model.__file__).read_text(encoding="utf-8")}
    return Case(spec, {name: {"train": make_table()} for name in _NAMES}, name="bench", source=source)


def _build_chain(base: Case) -> Case:
    """Returns the same rows at one client, whose values pass two others on their way to the server."""

    def change(spec: dict[str, Any]) -> None:
        first, *others = spec["clients"]
        first["data"]["idColumn"] = "id"
        for client in others:
            del client["data"]
        spec["topology"], spec["schedule"] = "MultiHop", {"mode": "Joint"}
        spec["model"]["cutPoints"] = [
            {"layer": layer, "owner": owner} for layer, owner in zip(("stem.1", "shrink", "body"), _NAMES, strict=True)
        ]

    chain = base.changed(change)
    tables = [chain.tables.pop(name)["train"] for name in _NAMES]
    rows = {column: np.concatenate([table[column] for table in tables]) for column in ("x", "y")}
    chain.tables[_NAMES[0]] = {"train": {"id": np.arange(len(rows["y"])), **rows}}
    return chain
