"""Small trainings for end-to-end tests: a manifest, its data in memory, and the same data as the oracle's rows.

Every case starts from `training.seed` (initialization Shared), because a test that compares weights must know them.
"""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from support import small_models
from support.oracle import JOINT, Plan, Rows, Task
from support.yaml_text import dump_all

Table = dict[str, np.ndarray]

SGD = {"name": "SGD", "learningRate": "0.1"}

MOMENTUM = {"name": "SGD", "learningRate": "0.05", "momentum": "0.9", "weightDecay": "0.01"}

ADAM = {"name": "Adam", "learningRate": "0.01"}


@dataclass
class Case:
    """One training: the spec as YAML will say it, and each claim's tables by part (`train`, `test`)."""

    spec: dict[str, Any]
    tables: dict[str, dict[str, Table]]
    name: str = "case"
    source: dict[str, str] = field(default_factory=lambda: {"small_models.py": _read_models()})

    def changed(self, change: Callable[[dict[str, Any]], object]) -> Case:
        """Returns a copy whose spec was changed in place by `change`."""
        other = copy.deepcopy(self)
        change(other.spec)
        return other

    def on(self, device: str, *, parties: Collection[str] | None = None) -> Case:
        """Returns a copy in which parties (all by default) compute on a device, as a manifest names it: CPU or CUDA."""

        def change(spec: dict[str, Any]) -> None:
            for name, member in (("server", spec["server"]), *((each["name"], each) for each in spec["clients"])):
                if parties is None or name in parties:
                    member["device"] = device

        return self.changed(change)

    def without_test_rows(self, client: str) -> Case:
        """Returns a copy in which one client evaluates nothing."""

        def change(spec: dict[str, Any]) -> None:
            (data,) = (each["data"] for each in spec["clients"] if each["name"] == client)
            del data["test"]

        return self.changed(change)

    def write(self, folder: Path) -> Path:
        """Writes manifest and data into a folder and returns the manifest's path."""
        for claim, parts in self.tables.items():
            for part, table in parts.items():
                path = folder / "data" / claim
                path.mkdir(parents=True, exist_ok=True)
                if self._format_of(claim) == "CSV":
                    _write_csv(path / f"{part}.csv", table)
                else:
                    np.savez(path / f"{part}.npz", **table)
        manifest = folder / "training.yaml"
        manifest.write_text(dump_all(self.documents()), encoding="utf-8")
        return manifest

    def documents(self) -> list[dict[str, Any]]:
        """Returns the SplitTraining and the ConfigMap with its model."""
        return [
            {
                "apiVersion": "splitlearning.dev/v1alpha1",
                "kind": "SplitTraining",
                "metadata": {"name": self.name},
                "spec": self.spec,
            },
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "models"}, "data": self.source},
        ]

    @property
    def plan(self) -> Plan:
        """The numbers that the oracle needs."""
        training = self.spec["training"]
        turn = self.spec["schedule"].get("sequential", {}).get("turn", {"unit": "Epoch", "length": 1})
        return Plan(
            batch_size=training["batchSize"],
            rounds=self.spec["rounds"],
            seed=training["seed"],
            optimizer=training["optimizer"],
            loss=training["loss"]["name"] if "loss" in training else "",
            turn_unit=turn["unit"],
            turn_length=turn["length"],
            device=self.spec["server"].get("device", "CPU").lower(),
        )

    @property
    def rows(self) -> list[Rows]:
        """The training rows per client in the order of turns; for Vertical all columns together, ordered by id."""
        return self._rows_of("train")

    @property
    def test_rows(self) -> list[Rows]:
        """The test rows, in the same form."""
        return self._rows_of("test")

    @property
    def task_rows(self) -> tuple[dict[str, torch.Tensor], list[Task]]:
        """The inputs of all training rows, ordered by id, and the tasks with their labels."""
        inputs: dict[str, torch.Tensor] = {}
        columns: dict[str, np.ndarray] = {}
        for data in self._list_data():
            table = self.tables[_get_claim(data)]["train"]
            order = np.argsort(table["id"])
            columns |= {name: column[order] for name, column in table.items()}
            for given in data.get("inputs", []):
                inputs[given["name"]] = torch.from_numpy(np.stack([table[c][order] for c in given["columns"]], axis=1))
        tasks = [
            Task(
                task["name"],
                task["loss"]["name"],
                torch.from_numpy(columns[task["name"]]).reshape(-1, *task["label"]["shape"]),
            )
            for task in self.spec["tasks"]
        ]
        return inputs, tasks

    def build_model(self) -> nn.Module:
        """Builds the whole model in this process."""
        model = self.spec["model"]
        factory = getattr(small_models, model["entrypoint"].partition(":")[2])
        types = {"dropout": float}
        arguments = {name: types.get(name, int)(text) for name, text in model.get("arguments", {}).items()}
        built: nn.Module = factory(**arguments)
        return built

    def _rows_of(self, part: str) -> list[Rows]:
        if self.spec["schedule"]["mode"] == "Joint":
            return [self._join_rows(part)]
        return [
            Rows(each["name"], {"x": torch.from_numpy(table["x"])}, torch.from_numpy(table["y"]))
            for each in self.spec["clients"]
            if part in each["data"]
            for table in [self.tables[_get_claim(each["data"])][part]]
        ]

    def _join_rows(self, part: str) -> Rows:
        inputs, label = {}, torch.empty(0)
        for data in self._list_data():
            table = self.tables[_get_claim(data)][part]
            order = np.argsort(table["id"])
            for given in data.get("inputs", []):
                inputs[given["name"]] = torch.from_numpy(np.stack([table[c][order] for c in given["columns"]], axis=1))
            if "label" in data:
                label = torch.from_numpy(table[data["label"]["columns"][0]][order][:, None])
        return Rows(JOINT, inputs, label)

    def _format_of(self, claim: str) -> str:
        return str({_get_claim(data): data.get("format", "NPZ") for data in self._list_data()}[claim])

    def _list_data(self) -> list[dict[str, Any]]:
        """Returns the data of every party that has some, the server's last."""
        held = [each["data"] for each in self.spec["clients"] if "data" in each]
        return held + ([self.spec["server"]["data"]] if "data" in self.spec["server"] else [])


def a_vanilla_case(
    num_rows: Mapping[str, int] | None = None,
    *,
    optimizer: Mapping[str, str] = SGD,
    turn: tuple[str, int] = ("Epoch", 1),
    handoff: str = "ViaServer",
    rounds: int = 2,
) -> Case:
    """Returns a classifier of five features over clients of unequal size, with last short batches."""
    num_rows = num_rows or {"north": 11, "south": 6, "west": 9}
    generator = np.random.default_rng(11)

    def make_table(rows: int) -> Table:
        x = generator.normal(size=(rows, 5)).astype(np.float32)
        return {"x": x, "y": (np.abs(x).sum(axis=1) * 2).astype(np.int64) % 3}

    spec = _spec(
        "Vanilla",
        rounds=rounds,
        model={
            "entrypoint": "small_models:build_classifier",
            "inputs": [{"name": "x", "dtype": "Float32", "shape": [5]}],
            "label": {"dtype": "Int64", "shape": []},
            "cutPoints": [{"layer": "bottom"}],
        },
        loss="CrossEntropy",
        optimizer=optimizer,
        schedule=_sequential(turn, handoff),
        clients=[_client(name) for name in num_rows],
    )
    return Case(spec, {name: {"train": make_table(rows), "test": make_table(5)} for name, rows in num_rows.items()})


def a_norm_case(
    *, dropout: str, topology: str = "Vanilla", optimizer: Mapping[str, str] = MOMENTUM, num_clients: int = 2
) -> Case:
    """Returns an image classifier with BatchNorm, and dropout where asked, on both sides of the cut."""
    generator = np.random.default_rng(12)

    def make_table(rows: int) -> Table:
        x = generator.normal(size=(rows, 1, 8, 8)).astype(np.float32)
        return {"x": x, "y": generator.integers(0, 3, size=rows)}

    cuts = ["bottom"] if topology == "Vanilla" else ["bottom", "middle"]
    spec = _spec(
        topology,
        rounds=2,
        model={
            "entrypoint": "small_models:build_norm_classifier",
            "arguments": {"dropout": dropout},
            "inputs": [{"name": "x", "dtype": "Float32", "shape": [1, 8, 8]}],
            "label": {"dtype": "Int64", "shape": []},
            "cutPoints": [{"layer": cut} for cut in cuts],
        },
        loss="CrossEntropy",
        optimizer=optimizer,
        schedule=_sequential(("Epoch", 1), "ViaServer"),
        clients=[_client(name) for name in ("north", "south")[:num_clients]],
    )
    sizes = {"north": 10, "south": 7}
    return Case(
        spec,
        {each["name"]: {"train": make_table(sizes[each["name"]]), "test": make_table(4)} for each in spec["clients"]},
    )


def a_case_of(entrypoint: str, *cuts: str) -> Case:
    """Returns the case of images with another model, in a U-shape where it is cut twice."""

    def change(spec: dict[str, Any]) -> None:
        cut_points = [{"layer": cut} for cut in cuts]
        spec["model"].update(entrypoint=f"small_models:{entrypoint}", cutPoints=cut_points)

    return a_norm_case(dropout="0.0", topology="Vanilla" if len(cuts) == 1 else "UShaped").changed(change)


def a_u_shaped_case(*, optimizer: Mapping[str, str] = ADAM, num_clients: int = 2) -> Case:
    """Returns a binary classifier in a U-shape: labels, head and loss at the clients."""
    generator = np.random.default_rng(13)

    def make_table(rows: int) -> Table:
        x = generator.normal(size=(rows, 5)).astype(np.float32)
        return {"x": x, "y": (x[:, :1] * x[:, 1:2] > 0).astype(np.float32)}

    spec = _spec(
        "UShaped",
        rounds=2,
        model={
            "entrypoint": "small_models:build_binary",
            "inputs": [{"name": "x", "dtype": "Float32", "shape": [5]}],
            "label": {"dtype": "Float32", "shape": [1]},
            "cutPoints": [{"layer": "encoder"}, {"layer": "trunk"}],
        },
        loss="BCEWithLogits",
        optimizer=optimizer,
        schedule=_sequential(("Epoch", 1), "ViaServer"),
        clients=[_client(name) for name in ("north", "south")[:num_clients]],
    )
    sizes = {"north": 11, "south": 6}
    return Case(
        spec,
        {each["name"]: {"train": make_table(sizes[each["name"]]), "test": make_table(6)} for each in spec["clients"]},
    )


def a_u_net_case() -> Case:
    """Returns a U-Net in a U-shape: its skips and its head stay at the client, its bottleneck is the server's."""
    generator = np.random.default_rng(14)

    def make_table(rows: int) -> Table:
        x = generator.normal(size=(rows, 1, 8, 8)).astype(np.float32)
        return {"x": x, "y": (x > 0.5).astype(np.float32)}

    spec = _spec(
        "UShaped",
        rounds=2,
        model={
            "entrypoint": "small_models:build_u_net",
            "inputs": [{"name": "x", "dtype": "Float32", "shape": [1, 8, 8]}],
            "label": {"dtype": "Float32", "shape": [1, 8, 8]},
            "cutPoints": [{"layer": "down2"}, {"layer": "bottleneck"}],
        },
        loss="BCEWithLogits",
        optimizer=MOMENTUM,
        schedule=_sequential(("Epoch", 1), "ViaServer"),
        clients=[_client("north"), _client("south")],
    )
    return Case(
        spec,
        {
            "north": {"train": make_table(6), "test": make_table(3)},
            "south": {"train": make_table(5), "test": make_table(3)},
        },
    )


def a_vertical_case(*, optimizer: Mapping[str, str] = ADAM, label_at: str = "registry") -> Case:
    """Returns two towers with a concatenation; `label_at` is a party of its own, a data holder, or the server."""
    generator = np.random.default_rng(15)

    def make_tables(rows: int) -> dict[str, Table]:
        ids = np.array([f"p{number:03d}" for number in generator.permutation(rows)])
        numbers = generator.normal(size=(rows, 5)).astype(np.float32)
        label = (numbers[:, 0] * numbers[:, 3] > 0).astype(np.float32)
        tables: dict[str, Table] = {}
        for party, columns in (("lab", (0, 1, 2)), ("ward", (3, 4)), ("registry", ()), ("server", ())):
            order = generator.permutation(rows)
            tables[party] = {"id": ids[order]}
            tables[party].update({f"f{column}": numbers[order, column] for column in columns})
            if party == label_at:
                tables[party]["outcome"] = label[order]
        return tables

    clients = [
        _tower_client("lab", "left_tower", "left", ("f0", "f1", "f2")),
        _tower_client("ward", "right_tower", "right", ("f3", "f4")),
        _tower_client("registry", "", "", ()),
    ]
    server = _tower_client("server", "", "", ())
    if label_at != "registry":
        clients.pop()
    for each in (*clients, server):
        if each["name"] == label_at:
            each["data"]["label"] = {"columns": ["outcome"]}
    spec = _spec(
        "Vertical",
        rounds=2,
        model={
            "entrypoint": "small_models:build_towers",
            "inputs": [
                {"name": "left", "dtype": "Float32", "shape": [3]},
                {"name": "right", "dtype": "Float32", "shape": [2]},
            ],
            "label": {"dtype": "Float32", "shape": [1]},
        },
        loss="BCEWithLogits",
        optimizer=optimizer,
        schedule={"mode": "Joint"},
        clients=clients,
    )
    names = [each["name"] for each in clients]
    if label_at == "server":
        spec["server"] = {"data": server["data"]}
        names.append("server")
    train, test = make_tables(11), make_tables(6)
    return Case(spec, {name: {"train": train[name], "test": test[name]} for name in names})


TASKS = {
    "flag": ({"dtype": "Float32", "shape": [1]}, "BCEWithLogits", "surgery"),
    "kind": ({"dtype": "Int64", "shape": []}, "CrossEntropy", "oncology"),
    "size": ({"dtype": "Float32", "shape": [1]}, "MSE", "registry"),
}

"""Label, loss and party of each task, in the order in which the model's forward computes the heads."""


def a_multi_task_case(
    *,
    num_branches: int = 1,
    num_tasks: int = 2,
    bare: bool = False,
    optimizer: Mapping[str, str] = MOMENTUM,
    at_a_branch: bool = False,
) -> Case:
    """Returns one branch or two, a trunk and two or three label parties; the rows end with a short batch.

    Args:
        num_branches: Institutions with inputs.
        num_tasks: The first so many of TASKS.
        bare: Whether `flag` has no head of its own.
        optimizer: Every owner's.
        at_a_branch: Whether the institution of the first branch is the party of `kind`.
    """
    generator = np.random.default_rng(16)
    tasks = {name: TASKS[name] for name in list(TASKS)[:num_tasks]}
    parties = {"kind": "lab"} if at_a_branch else {}
    columns = {"lab": ("f0", "f1", "f2"), "ward": ("f3", "f4")}

    def make_tables(rows: int) -> dict[str, Table]:
        ids = np.array([f"p{number:03d}" for number in generator.permutation(rows)])
        numbers = generator.normal(size=(rows, 5)).astype(np.float32)
        labels = {
            "kind": (np.abs(numbers[:, 0]) * 2).astype(np.int64) % 3,
            "flag": (numbers[:, 1] > 0).astype(np.float32),
            "size": numbers[:, 2] * numbers[:, 0],
        }
        tables: dict[str, Table] = {}
        for party in ("lab", "ward", *(party for _, _, party in TASKS.values())):
            order = generator.permutation(rows)
            tables[party] = {"id": ids[order]}
            tables[party].update({name: numbers[order, int(name[1])] for name in columns.get(party, ())})
            held = [name for name, (_, _, usual) in tasks.items() if parties.get(name, usual) == party]
            tables[party].update({name: labels[name][order] for name in held})
        return tables

    clients = [_tower_client("lab", "left", "left", columns["lab"])]
    if num_branches > 1:
        clients.append(_tower_client("ward", "right", "right", columns["ward"]))
    for name, (_, _, party) in tasks.items():
        if name not in parties:
            clients.append(_tower_client(party, "", "", ()))
        next(each for each in clients if each["name"] == parties.get(name, party))["data"]["label"] = {
            "columns": [name]
        }
    spec = _spec(
        "MultiTask",
        rounds=2,
        model={
            "entrypoint": "small_models:build_tasks",
            "arguments": {"branches": str(num_branches), "tasks": str(num_tasks), "bare": str(int(bare))},
            "inputs": [
                {"name": name, "dtype": "Float32", "shape": [size]}
                for name, size in (("left", 3), ("right", 2))[:num_branches]
            ],
            "cutPoints": [{"layer": "trunk"}, *([{"layer": "logit"}] if bare else [])],
        },
        loss="",
        optimizer=optimizer,
        schedule={"mode": "Joint"},
        clients=clients,
    )
    del spec["training"]["loss"]
    spec["tasks"] = [
        {"name": name, "output": name, "party": parties.get(name, party), "label": label, "loss": {"name": loss}}
        for name, (label, loss, party) in tasks.items()
    ]
    train, test = make_tables(11), make_tables(6)
    return Case(spec, {each["name"]: {"train": train[each["name"]], "test": test[each["name"]]} for each in clients})


def a_multi_hop_case(
    *, optimizer: Mapping[str, str] = MOMENTUM, label_at: str = "registry", skip: bool = False
) -> Case:
    """Returns a chain of three clients and the server over one clinic's rows; `label_at` is who has their labels.

    Only `clinic` has columns; `lab` and `center` compute on what comes to them. With `skip`, the last hop reads what
    the first one made, past the one between them.
    """
    generator = np.random.default_rng(16)

    def make_tables(rows: int) -> dict[str, Table]:
        ids = np.array([f"p{number:03d}" for number in generator.permutation(rows)])
        numbers = generator.normal(size=(rows, 5)).astype(np.float32)
        label = (numbers[:, 0] * numbers[:, 3] > 0).astype(np.float32)
        tables: dict[str, Table] = {}
        for party in ("clinic", label_at):
            order = generator.permutation(rows)
            tables[party] = {"id": ids[order]}
            if party == "clinic":
                tables[party].update({f"f{column}": numbers[order, column] for column in range(5)})
            if party == label_at:
                tables[party]["outcome"] = label[order]
        return tables

    clients = [_tower_client("clinic", "", "", ()), {"name": "lab"}, {"name": "center"}]
    clients[0]["data"]["inputs"] = [{"name": "x", "columns": [f"f{column}" for column in range(5)]}]
    server = _tower_client("server", "", "", ())
    if label_at == "registry":
        clients.append(_tower_client("registry", "", "", ()))
    for each in (*clients, server):
        if each["name"] == label_at:
            each.setdefault("data", _tower_client(label_at, "", "", ())["data"])
            each["data"]["label"] = {"columns": ["outcome"]}
    spec = _spec(
        "MultiHop",
        rounds=2,
        model={
            "entrypoint": "small_models:build_chain",
            "arguments": {"skips": str(int(skip))},
            "inputs": [{"name": "x", "dtype": "Float32", "shape": [5]}],
            "label": {"dtype": "Float32", "shape": [1]},
            "cutPoints": [
                {"layer": layer, "owner": owner}
                for layer, owner in (("first", "clinic"), ("second", "lab"), ("third", "center"))
            ],
            "extraCrossings": ["first"] if skip else [],
        },
        loss="BCEWithLogits",
        optimizer=optimizer,
        schedule={"mode": "Joint"},
        clients=clients,
    )
    if label_at == "server":
        spec["server"] = {"data": server["data"]}
    train, test = make_tables(11), make_tables(6)
    return Case(spec, {name: {"train": train[name], "test": test[name]} for name in train})


def an_extended_case(*, optimizer: Mapping[str, str] = ADAM, label_at: str = "registry") -> Case:
    """Returns the Vertical case with the trunk's first layers at `center`, a client that has no rows."""

    def change(spec: dict[str, Any]) -> None:
        spec["topology"] = "ExtendedVanilla"
        spec["model"].update(
            entrypoint="small_models:build_fused_towers", cutPoints=[{"layer": "fusion", "owner": "center"}]
        )
        spec["clients"].append({"name": "center"})

    return a_vertical_case(optimizer=optimizer, label_at=label_at).changed(change)


def _spec(
    topology: str,
    *,
    rounds: int,
    model: dict[str, Any],
    loss: str,
    optimizer: Mapping[str, str],
    schedule: dict[str, Any],
    clients: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "topology": topology,
        "rounds": rounds,
        "model": {**model, "source": {"configMap": {"name": "models"}}, "initialization": "Shared"},
        "training": {
            "batchSize": 4,
            "seed": 5,
            "optimizer": dict(optimizer),
            "loss": {"name": loss},
            "evaluation": {"everyRounds": 1, "metrics": ["Accuracy"]},
        },
        "schedule": schedule,
        "server": {},
        "clients": clients,
    }


def _sequential(turn: tuple[str, int], handoff: str) -> dict[str, Any]:
    return {"mode": "Sequential", "sequential": {"turn": {"unit": turn[0], "length": turn[1]}, "handoff": handoff}}


def _client(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "data": {
            "format": "NPZ",
            "volume": {"persistentVolumeClaim": {"claimName": name}},
            "train": {"path": "train.npz"},
            "test": {"path": "test.npz"},
            "inputs": [{"name": "x", "columns": ["x"]}],
            "label": {"columns": ["y"]},
        },
    }


def _tower_client(name: str, layer: str, argument: str, columns: tuple[str, ...]) -> dict[str, Any]:
    client = _client(name)
    data = client["data"]
    data.update({"format": "CSV", "train": {"path": "train.csv"}, "test": {"path": "test.csv"}, "idColumn": "id"})
    del data["inputs"], data["label"]
    if layer:
        client["cutPoints"] = [{"layer": layer}]
        data["inputs"] = [{"name": argument, "columns": list(columns)}]
    return client


def _get_claim(data: Mapping[str, Any]) -> str:
    return str(data["volume"]["persistentVolumeClaim"]["claimName"])


def _write_csv(path: Path, table: Table) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            # A float32 written with a double's digits comes back as the same float32.
            writer.writerow([repr(float(cell)) if isinstance(cell, np.floating) else str(cell) for cell in row])


def _read_models() -> str:
    return Path(small_models.__file__).read_text(encoding="utf-8")
