"""For each rule of the API: manifests that it refuses and manifests that it accepts, each named by what is special."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from support.builders import (
    TrainingBuilder,
    a_multi_hop_training,
    a_multi_task_training,
    a_training,
    a_u_shaped_training,
    a_vanilla_training,
    a_vertical_training,
    an_extended_training,
    make_data,
)

LOADER = {"entrypoint": "xray.data:load"}

CLASSES = {"dtype": "Int64", "shape": []}

TASK = {
    "name": "finding",
    "output": "finding",
    "party": "st-mary",
    "label": CLASSES,
    "loss": {"name": "CrossEntropy"},
}


@dataclass(frozen=True)
class Row:
    """One manifest, and whether one rule accepts it: the rule of this path whose message begins like this."""

    path: str
    message: str
    accepted: bool
    name: str
    training: TrainingBuilder


@dataclass(frozen=True)
class ChangeRow:
    """One change of a manifest, and whether one rule accepts it: the rule of this path and field."""

    path: str
    field: str
    accepted: bool
    name: str
    old: TrainingBuilder
    new: TrainingBuilder


def _rows(
    path: str, message: str, *, refused: Mapping[str, TrainingBuilder], accepted: Mapping[str, TrainingBuilder]
) -> Iterator[Row]:
    for is_accepted, trainings in ((False, refused), (True, accepted)):
        for name, training in trainings.items():
            yield Row(path, message, is_accepted, name, training)


make_rows = _rows

"""For the tables of other files."""


def _a_joint_training(topology: str) -> TrainingBuilder:
    training = a_vanilla_training().with_value("spec.topology", topology).with_value("spec.schedule", {"mode": "Joint"})
    return training.with_value("spec.clients.0.data.idColumn", "id").with_value("spec.clients.1.data.idColumn", "id")


def _a_labeled_server() -> TrainingBuilder:
    """Vertical with the labels at the server."""
    return a_vertical_training().without("spec.clients.2").with_server(data=make_data(label="malignant", ids="id"))


VANILLA = a_vanilla_training()

U_SHAPED = a_u_shaped_training()

VERTICAL = a_vertical_training()

MULTI_HOP = a_multi_hop_training()

EXTENDED = an_extended_training()

MULTI_TASK = a_multi_task_training()

LABELED_SERVER = _a_labeled_server()
WARM_START = {"path": "weights.safetensors", "digest": "sha256:" + "0" * 64}
VANILLA_WARM = VANILLA.with_value("spec.clients.0.warmStart", WARM_START).with_value(
    "spec.clients.1.warmStart", WARM_START
)
LABELED_SERVER_WARM = LABELED_SERVER.with_value("spec.server.warmStart", WARM_START)
PRETRAINED = {**WARM_START, "volume": {"persistentVolumeClaim": {"claimName": "pretrained"}}}
ADAM = {"name": "Adam", "learningRate": "0.01"}


def _paths(place: str, training: TrainingBuilder) -> Iterator[Row]:
    """Paths of one data file, the file being that of the rule's place."""
    file = place.replace("[]", ".0")

    def name(paths: Sequence[str]) -> dict[str, TrainingBuilder]:
        return {f"{path} as {place}": training.with_value(f"{file}.path", path) for path in paths}

    yield from _rows(
        place,
        "a path stays inside its volume",
        refused=name(["..", "../rows.npz", "a/../../rows.npz", "a/.."]),
        accepted=name(["rows.npz", "a/b/rows.npz", "..rows.npz", "rows..npz", "a../rows", "..."]),
    )


TOPOLOGY_ROWS = (
    *_rows(
        "",
        "metadata.name",
        refused={
            "a name of 41 characters": VANILLA.named("x" * 41),
            "a name that starts with a digit": VANILLA.named("1st-trial"),
            "a name with a dot": VANILLA.named("chest.xray"),
            "a name that ends with a dash": VANILLA.named("chest-"),
        },
        accepted={"a name of 40 characters": VANILLA.named("x" * 40), "a name of one letter": VANILLA.named("x")},
    ),
    *_rows(
        "spec.clients[]",
        "the name server",
        refused={"a client called server": a_training().with_client("server")},
        accepted={"a client called server-room": a_training().with_client("server-room")},
    ),
    *_rows(
        "spec",
        "Vanilla and UShaped are scheduled",
        refused={
            "Vanilla and Joint": VANILLA.with_value("spec.schedule", {"mode": "Joint"}),
            "UShaped and Joint": U_SHAPED.with_value("spec.schedule", {"mode": "Joint"}),
            "Vertical and Parallel": VERTICAL.with_value("spec.schedule", {"mode": "Parallel"}),
            "MultiHop and Sequential": MULTI_HOP.with_value("spec.schedule", {"mode": "Sequential", "sequential": {}}),
        },
        accepted={
            "Vanilla and Sequential": VANILLA,
            "Vanilla and SplitFed": VANILLA.with_value("spec.schedule", {"mode": "SplitFed", "splitFed": {}}),
            "UShaped and Parallel": U_SHAPED.with_value("spec.schedule", {"mode": "Parallel", "parallel": {}}),
            "Vertical and Joint": VERTICAL,
            "MultiTask and Joint": MULTI_TASK,
        },
    ),
    *_rows(
        "spec.schedule",
        "sequential is given",
        refused={
            "Sequential without sequential": VANILLA.without("spec.schedule.sequential"),
            "Joint with sequential": VERTICAL.with_value("spec.schedule.sequential", {}),
        },
        accepted={
            "Sequential with an empty sequential": VANILLA.with_value("spec.schedule.sequential", {}),
            "Joint without sequential": VERTICAL,
        },
    ),
    *_rows(
        "spec",
        "Vanilla has exactly one cut",
        refused={
            "Vanilla without a cut": VANILLA.without("spec.model.cutPoints"),
            "Vanilla with two cuts": VANILLA.with_value("spec.model.cutPoints", [{"layer": "a"}, {"layer": "b"}]),
        },
        accepted={"Vanilla with one cut": VANILLA, "UShaped with two cuts": U_SHAPED},
    ),
    *_rows(
        "spec",
        "UShaped has exactly two cut",
        refused={
            "UShaped with one cut": U_SHAPED.without("spec.model.cutPoints.0"),
            "UShaped with three cuts": U_SHAPED.with_value("spec.model.cutPoints", [{"layer": name} for name in "abc"]),
        },
        accepted={"UShaped with two cuts": U_SHAPED},
    ),
    *_rows(
        "spec",
        "Vertical has no cut points",
        refused={"Vertical with a cut": VERTICAL.with_value("spec.model.cutPoints", [{"layer": "trunk"}])},
        accepted={
            "Vertical with an empty list of cuts": VERTICAL,
            "Vertical without a list of cuts": VERTICAL.without("spec.model.cutPoints"),
        },
    ),
    *_rows(
        "spec",
        "in Vertical, ExtendedVanilla and MultiTask every client with data.inputs",
        refused={
            "a branch without an end in MultiTask": MULTI_TASK.without("spec.clients.0.cutPoints"),
            "an end at a label party": MULTI_TASK.with_value("spec.clients.1.cutPoints", [{"layer": "head"}]),
            "a branch without an end": VERTICAL.without("spec.clients.0.cutPoints"),
            "a branch with an empty list of ends": VERTICAL.with_value("spec.clients.0.cutPoints", []),
            "a branch with two ends": VERTICAL.with_value("spec.clients.0.cutPoints", [{"layer": "a"}, {"layer": "b"}]),
            "an end at a client without inputs": VERTICAL.with_value("spec.clients.2.cutPoints", [{"layer": "head"}]),
            "a branch without an end in ExtendedVanilla": EXTENDED.without("spec.clients.0.cutPoints"),
        },
        accepted={
            "one end of each branch": VERTICAL,
            "one end of each branch in ExtendedVanilla": EXTENDED,
            "one end of the one branch in MultiTask": MULTI_TASK,
            "an empty list at a client without inputs": VERTICAL.with_value("spec.clients.2.cutPoints", []),
            "an empty list of inputs and no end": VERTICAL.with_value("spec.clients.2.data.inputs", []),
        },
    ),
    *_rows(
        "spec",
        "only Vertical, ExtendedVanilla and MultiTask have branches",
        refused={
            "a client's own cut in Vanilla": VANILLA.with_value("spec.clients.0.cutPoints", [{"layer": "layer1"}]),
            "a client's own cut in MultiHop": MULTI_HOP.with_value("spec.clients.0.cutPoints", [{"layer": "layer1"}]),
        },
        accepted={
            "an empty list in Vanilla": VANILLA.with_value("spec.clients.0.cutPoints", []),
            "a client's own cut in Vertical": VERTICAL,
        },
    ),
    *_rows(
        "spec",
        "only MultiHop and ExtendedVanilla name owners",
        refused={"an owner in Vanilla": VANILLA.with_value("spec.model.cutPoints.0.owner", "st-mary")},
        accepted={"no owner in Vanilla": VANILLA, "an owner in MultiHop": MULTI_HOP},
    ),
    *_rows(
        "spec.clients[]",
        "a client owns its branch itself",
        refused={"an owner of a branch": VERTICAL.with_value("spec.clients.0.cutPoints.0.owner", "pathology")},
        accepted={"a branch without one": VERTICAL, "no branch": VANILLA},
    ),
    *_rows(
        "spec",
        "MultiTask names its outputs",
        refused={
            "tasks in Vanilla": VANILLA.with_value("spec.tasks", [TASK]),
            "MultiTask without tasks": MULTI_TASK.without("spec.tasks"),
            "MultiTask with an empty list of tasks": MULTI_TASK.with_value("spec.tasks", []),
        },
        accepted={"MultiTask with a task": MULTI_TASK, "Vanilla without tasks": VANILLA},
    ),
)

TASK_ROWS = (
    *_rows(
        "spec",
        "MultiTask needs the ends of the trunk",
        refused={
            "MultiTask without a cut": MULTI_TASK.without("spec.model.cutPoints"),
            "MultiTask with an empty list of cuts": MULTI_TASK.with_value("spec.model.cutPoints", []),
        },
        accepted={
            "MultiTask with one end": MULTI_TASK,
            "MultiTask with two ends": MULTI_TASK.with_value(
                "spec.model.cutPoints", [{"layer": name} for name in "ab"]
            ),
            "Vertical without a cut": VERTICAL,
        },
    ),
    *_rows(
        "spec",
        "each task has a name of its own",
        refused={"two tasks of one name": MULTI_TASK.with_value("spec.tasks.1.name", "finding")},
        accepted={"two tasks of two names": MULTI_TASK, "no tasks": VANILLA},
    ),
    *_rows(
        "spec",
        "each task has an output of its own",
        refused={"two tasks of one output": MULTI_TASK.with_value("spec.tasks.1.output", "finding")},
        accepted={"two tasks of two outputs": MULTI_TASK, "no tasks": VANILLA},
    ),
    *_rows(
        "spec",
        "each task names a client that holds its labels",
        refused={
            "a task of nobody": MULTI_TASK.with_value("spec.tasks.1.party", "archive"),
            "a task of the server": MULTI_TASK.with_value("spec.tasks.1.party", "server"),
            "a task of a client without labels": MULTI_TASK.without("spec.clients.1.data.label").with_value(
                "spec.clients.1.data", make_data("image", ids="id")
            ),
        },
        accepted={"a client per task": MULTI_TASK, "no tasks": VANILLA},
    ),
    *_rows(
        "spec",
        "in MultiTask a client with data.label is the party",
        refused={
            "labels without a task": MULTI_TASK.without("spec.tasks.1"),
            "two tasks of one client": MULTI_TASK.with_value("spec.tasks.1.party", "oncology"),
        },
        accepted={
            "a client per task": MULTI_TASK,
            "labels at the branch too": MULTI_TASK.with_value("spec.clients.0.data.label", {"columns": ["age"]})
            .with_value("spec.tasks.0.party", "imaging")
            .without("spec.clients.1"),
            "labels at all clients in Vanilla": VANILLA,
        },
    ),
    *_rows(
        "spec",
        "in MultiTask every label is at a client",
        refused={
            "labels at the server in MultiTask": MULTI_TASK.with_server(data=make_data(label="finding", ids="id"))
        },
        accepted={"no data at the server": MULTI_TASK, "labels at the server in Vertical": LABELED_SERVER},
    ),
    *_rows(
        "spec",
        "MultiTask has a label per task",
        refused={"MultiTask with model.label": MULTI_TASK.with_value("spec.model.label", CLASSES)},
        accepted={"MultiTask without": MULTI_TASK, "Vanilla with model.label": VANILLA},
    ),
    *_rows(
        "spec.tasks[].loss",
        "a task's loss is given by name",
        refused={
            "a task's loss by neither": MULTI_TASK.with_value("spec.tasks.0.loss", {}),
            "a task's loss by both": MULTI_TASK.with_value("spec.tasks.0.loss.entrypoint", "xray.loss:focal"),
        },
        accepted={
            "a task's loss by name": MULTI_TASK,
            "a task's loss by entrypoint": MULTI_TASK.with_value(
                "spec.tasks.0.loss", {"entrypoint": "xray.loss:focal"}
            ),
        },
    ),
    *_rows(
        "spec.tasks[]",
        "CrossEntropy takes class numbers",
        refused={
            f"a task's CrossEntropy of one {dtype} a row": MULTI_TASK.with_value("spec.tasks.0.label.dtype", dtype)
            for dtype in ("Float32", "Float64", "Bool")
        },
        accepted={
            "a task's CrossEntropy of class numbers": MULTI_TASK,
            "a task's CrossEntropy of the chances of three classes": MULTI_TASK.with_value(
                "spec.tasks.0.label", {"dtype": "Float32", "shape": [3]}
            ),
            "a task's loss of one's own": MULTI_TASK.with_value("spec.tasks.0.label.dtype", "Float32").with_value(
                "spec.tasks.0.loss", {"entrypoint": "xray.loss:focal"}
            ),
        },
    ),
)

_OTHER_OWNER = MULTI_HOP.with_value("spec.model.cutPoints.1.owner", "clinic").without("spec.clients.1")

_IN_FRONT = MULTI_HOP.with_value("spec.model.cutPoints.0.owner", "lab").with_value(
    "spec.model.cutPoints.1.owner", "clinic"
)

HOP_ROWS = (
    *_rows(
        "spec",
        "MultiHop has a cut point",
        refused={"MultiHop without a cut": MULTI_HOP.without("spec.model.cutPoints").without("spec.clients.2")},
        accepted={"MultiHop with three cuts": MULTI_HOP, "ExtendedVanilla with a cut": EXTENDED},
    ),
    *_rows(
        "spec",
        "ExtendedVanilla has exactly one cut point",
        refused={
            "ExtendedVanilla without a cut": EXTENDED.without("spec.model.cutPoints.0"),
            "ExtendedVanilla with two cuts": EXTENDED.with_value(
                "spec.model.cutPoints", [{"layer": "fusion", "owner": "center"}, {"layer": "neck", "owner": "center"}]
            ),
        },
        accepted={"ExtendedVanilla with one cut": EXTENDED},
    ),
    *_rows(
        "spec",
        "each cut point of MultiHop and ExtendedVanilla has an owner",
        refused={
            "a hop without an owner": MULTI_HOP.without("spec.model.cutPoints.1.owner").without("spec.clients.1"),
            "hops without owners": MULTI_HOP.without("spec.model.cutPoints.1.owner").without(
                "spec.model.cutPoints.2.owner"
            ),
            "a hop of nobody's": MULTI_HOP.with_value("spec.model.cutPoints.1.owner", "nobody"),
            "a hop of the server's": MULTI_HOP.with_value("spec.model.cutPoints.2.owner", "server"),
            "a merge of nobody's": EXTENDED.without("spec.model.cutPoints.0.owner"),
        },
        accepted={"an owner of each hop": MULTI_HOP, "an owner of the merge": EXTENDED},
    ),
    *_rows(
        "spec",
        "a client owns one part of a MultiHop chain",
        refused={"two hops of one client": _OTHER_OWNER},
        accepted={"a hop of each client": MULTI_HOP},
    ),
    *_rows(
        "spec",
        "in MultiHop the owner of the first cut point",
        refused={
            "inputs in the middle of the chain": _IN_FRONT,
            "inputs and no owner of the first cut": MULTI_HOP.without("spec.model.cutPoints.0.owner"),
        },
        accepted={"inputs at the first hop": MULTI_HOP},
    ),
    *_rows(
        "spec",
        "in ExtendedVanilla another client",
        refused={"a merge at a client with inputs": EXTENDED.with_value("spec.model.cutPoints.0.owner", "imaging")},
        accepted={
            "a merge at a client without data": EXTENDED,
            "a merge at the label holder": EXTENDED.with_value("spec.model.cutPoints.0.owner", "registry").without(
                "spec.clients.3"
            ),
        },
    ),
    *_rows(
        "spec",
        "every client of MultiHop and ExtendedVanilla has a part",
        refused={
            "an idle client in MultiHop": MULTI_HOP.with_client("idle", data=None),
            "an idle client in ExtendedVanilla": EXTENDED.with_client("idle", data=None),
            "data of no use at a hop": MULTI_HOP.with_value("spec.clients.1.data", make_data(ids="id")),
        },
        accepted={
            "a part for everybody": MULTI_HOP,
            "labels alone": MULTI_HOP.without("spec.clients.0.data.label").with_client(
                "registry", data=make_data(label="finding", ids="id")
            ),
            "labels at a hop": MULTI_HOP.without("spec.clients.0.data.label").with_value(
                "spec.clients.2.data", make_data(label="finding", ids="id")
            ),
        },
    ),
)

DATA_ROWS = (
    *_rows(
        "spec.model",
        "each input has a name of its own",
        refused={"two inputs of one name": VERTICAL.with_value("spec.model.inputs.1.name", "mean")},
        accepted={"two inputs of two names": VERTICAL},
    ),
    *_rows(
        "spec.clients[].data",
        "give either data.format",
        refused={
            "a client with neither format nor loader": VANILLA.without("spec.clients.1.data.format"),
            "a client with format and loader": VANILLA.with_value("spec.clients.0.data.loader", LOADER),
        },
        accepted={
            "clients with a format": VANILLA,
            "a client with a loader": VANILLA.without("spec.clients.0.data.format").with_value(
                "spec.clients.0.data.loader", LOADER
            ),
        },
    ),
    *_rows(
        "spec.server.data",
        "give either data.format",
        refused={
            "a server with neither format nor loader": LABELED_SERVER.without("spec.server.data.format"),
            "a server with format and loader": LABELED_SERVER.with_value("spec.server.data.loader", LOADER),
        },
        accepted={"a server with a format": LABELED_SERVER, "a server without data": VANILLA},
    ),
    *_rows(
        "spec.clients[].data",
        "classes name the folders",
        refused={
            "class folders of an NPZ file": VANILLA.with_value("spec.clients.0.data.classes", ["benign"]),
            "class folders of a loader": VANILLA.without("spec.clients.0.data.format")
            .with_value("spec.clients.0.data.loader", LOADER)
            .with_value("spec.clients.0.data.classes", ["benign"]),
        },
        accepted={
            "no class folders": VANILLA,
            "an empty list of class folders": VANILLA.with_value("spec.clients.0.data.classes", []),
            "class folders of an ImageFolder": VANILLA.with_value(
                "spec.clients.0.data.format", "ImageFolder"
            ).with_value("spec.clients.0.data.classes", ["benign", "malignant"]),
        },
    ),
    *_rows(
        "spec.server.data",
        "classes name the folders",
        refused={
            "class folders of a server's NPZ file": LABELED_SERVER.with_value("spec.server.data.classes", ["benign"])
        },
        accepted={"a server without class folders": LABELED_SERVER, "no server's data": VANILLA},
    ),
    *(
        row
        for place, training in (
            ("spec.clients[].data.train", VANILLA),
            ("spec.clients[].data.test", VANILLA),
            ("spec.server.data.train", LABELED_SERVER),
            ("spec.server.data.test", LABELED_SERVER),
            ("spec.clients[].warmStart", VANILLA_WARM),
            ("spec.server.warmStart", LABELED_SERVER_WARM),
        )
        for row in _paths(place, training)
    ),
    *_rows(
        "spec.clients[]",
        "a party without data has no volume",
        refused={"a hop whose weights lie nowhere": MULTI_HOP.with_value("spec.clients.1.warmStart", WARM_START)},
        accepted={
            "a hop whose weights lie on a claim": MULTI_HOP.with_value("spec.clients.1.warmStart", PRETRAINED),
            "weights beside a client's rows": VANILLA_WARM,
            "weights apart from a client's rows": MULTI_HOP.with_value("spec.clients.0.warmStart", PRETRAINED),
        },
    ),
    *_rows(
        "spec.server",
        "a party without data has no volume",
        refused={"a server whose weights lie nowhere": VANILLA.with_value("spec.server.warmStart", WARM_START)},
        accepted={
            "a server whose weights lie on a claim": VANILLA.with_value("spec.server.warmStart", PRETRAINED),
            "weights beside a server's labels": LABELED_SERVER_WARM,
            "a server that starts as it is built": VANILLA,
        },
    ),
    *_rows(
        "spec.clients[].data",
        "a client names each input once",
        refused={
            "an input twice at one client": VERTICAL.with_value(
                "spec.clients.0.data", make_data("mean", "mean", ids="id")
            )
        },
        accepted={
            "one input each": VERTICAL,
            "two inputs at one client": VERTICAL.with_value(
                "spec.clients.0.data", make_data("mean", "worst", ids="id")
            ).without("spec.clients.1"),
        },
    ),
    *_rows(
        "spec",
        "every client holds data",
        refused={
            "a client without data in Vanilla": VANILLA.without("spec.clients.1.data"),
            "a client without data in Vertical": VERTICAL.with_client("idle").without("spec.clients.3.data"),
            "a client without data in MultiTask": MULTI_TASK.with_client("idle").without("spec.clients.3.data"),
        },
        accepted={
            "data at all clients": VANILLA,
            "clients without data in MultiHop": MULTI_HOP,
        },
    ),
    *_rows(
        "spec",
        "every client holds the labels",
        refused={
            "a client without labels in Vanilla": VANILLA.without("spec.clients.1.data.label"),
            "a client without data in UShaped": U_SHAPED.without("spec.clients.0.data"),
        },
        accepted={"labels at all clients": VANILLA, "a client without labels in Vertical": VERTICAL},
    ),
    *_rows(
        "spec",
        "exactly one party holds the labels",
        refused={
            "nobody with labels": VERTICAL.without("spec.clients.2"),
            "two clients with labels": VERTICAL.with_value("spec.clients.0.data.label", {"columns": ["malignant"]}),
            "a client and the server with labels": VERTICAL.with_server(data=make_data(label="malignant", ids="id")),
            "nobody with labels in MultiHop": MULTI_HOP.without("spec.clients.0.data.label"),
            "two clients with labels in ExtendedVanilla": EXTENDED.with_value(
                "spec.clients.3.data", make_data(label="malignant", ids="id")
            ),
        },
        accepted={
            "one client with labels": VERTICAL,
            "the server with labels": LABELED_SERVER,
            "the server with labels in MultiHop": MULTI_HOP.without("spec.clients.0.data.label").with_server(
                data=make_data(label="finding", ids="id")
            ),
        },
    ),
    *_rows(
        "spec",
        "the server may hold labels",
        refused={
            "data at the server in Vanilla": VANILLA.with_server(data=make_data(label="finding")),
            "data at the server in UShaped": U_SHAPED.with_server(data=make_data(label="finding")),
            "inputs at the server": LABELED_SERVER.with_server(data=make_data("mean", label="malignant", ids="id")),
            "data without labels at the server": LABELED_SERVER.without("spec.server.data.label"),
            "data without labels at the server, nor in the model": LABELED_SERVER.without(
                "spec.server.data.label"
            ).without("spec.model.label"),
        },
        accepted={
            "labels at the server in Vertical": LABELED_SERVER,
            "an empty list of inputs at the server": LABELED_SERVER.with_value("spec.server.data.inputs", []),
            "no data at the server": VANILLA,
        },
    ),
    *_rows(
        "spec",
        "labels need a dtype",
        refused={
            "clients with labels and no model.label": VANILLA.without("spec.model.label"),
            "a server with labels and no model.label": LABELED_SERVER.without("spec.model.label"),
        },
        accepted={
            "a model.label": VANILLA,
            "labels of tasks and no model.label": MULTI_TASK,
        },
    ),
    *_rows(
        "spec",
        "every client holds every input once",
        refused={
            "a client without inputs": VANILLA.without("spec.clients.0.data.inputs"),
            "a client that lacks an input": VANILLA.with_value(
                "spec.model.inputs", [{"name": name, "dtype": "Float32", "shape": []} for name in ("image", "age")]
            ),
            "an input twice": VANILLA.with_value("spec.clients.1.data", make_data("image", "image", label="finding")),
        },
        accepted={"every input at every client": VANILLA, "other inputs in Vertical": VERTICAL},
    ),
    *_rows(
        "spec",
        "each input is held by exactly one client",
        refused={
            "an input that nobody holds": VERTICAL.without("spec.clients.1"),
            "an input that nobody holds in MultiTask": MULTI_TASK.without("spec.clients.0"),
            "an input that two clients hold": VERTICAL.with_value(
                "spec.clients.1.data.inputs",
                [{"name": "mean", "columns": ["a"]}, {"name": "worst", "columns": ["b"]}],
            ),
            "an input that nobody holds in MultiHop": MULTI_HOP.without("spec.clients.0.data.inputs"),
        },
        accepted={"one client for each input": VERTICAL, "the same input at all clients in Vanilla": VANILLA},
    ),
    *_rows(
        "spec",
        "clients[].data.inputs name inputs of the model",
        refused={
            "an input that the model lacks": VANILLA.with_value(
                "spec.clients.0.data", make_data("image", "age", label="finding")
            )
        },
        accepted={"inputs of the model": VANILLA, "a client without inputs": VERTICAL},
    ),
    *_rows(
        "spec",
        "a Joint schedule orders",
        refused={
            "a client without ids": VERTICAL.without("spec.clients.2.data.idColumn"),
            "a server without ids": LABELED_SERVER.without("spec.server.data.idColumn"),
        },
        accepted={"ids at all parties": VERTICAL, "ids at the server too": LABELED_SERVER, "Sequential": VANILLA},
    ),
    *_rows(
        "spec",
        "in a Joint schedule all parties with data evaluate",
        refused={
            "a client without test rows": VERTICAL.without("spec.clients.2.data.test"),
            "a server without test rows": LABELED_SERVER.without("spec.server.data.test"),
            "test rows at the server only": LABELED_SERVER.without("spec.clients.0.data.test").without(
                "spec.clients.1.data.test"
            ),
        },
        accepted={
            "test rows at all parties": LABELED_SERVER,
            "test rows nowhere": LABELED_SERVER.without("spec.training.evaluation")
            .without("spec.clients.0.data.test")
            .without("spec.clients.1.data.test")
            .without("spec.server.data.test"),
            "a client without test rows in Sequential": VANILLA.without("spec.clients.1.data.test"),
        },
    ),
)

TRAINING_ROWS = (
    *_rows(
        "spec.training.loss",
        "a loss is given by name",
        refused={"a loss by both": VANILLA.with_value("spec.training.loss.entrypoint", "xray.loss:focal")},
        accepted={
            "a loss by name": VANILLA,
            "a loss by entrypoint": VANILLA.with_value("spec.training.loss", {"entrypoint": "xray.loss:focal"}).without(
                "spec.training.evaluation"
            ),
        },
    ),
    *_rows(
        "spec",
        "every topology but MultiTask needs training.loss",
        refused={
            "Vanilla without a loss": VANILLA.without("spec.training.loss"),
            "MultiTask with a loss": MULTI_TASK.with_value("spec.training.loss", {"name": "MSE"}),
        },
        accepted={"Vanilla with a loss": VANILLA, "MultiTask without a loss": MULTI_TASK},
    ),
    *_rows(
        "spec.training",
        "several micro-batches",
        refused={
            "micro-batches": VANILLA.with_value("spec.training.numerics.microBatches", 4),
            "micro-batches and Exact": VANILLA.with_value(
                "spec.training.numerics", {"mode": "Exact", "microBatches": 2}
            ),
        },
        accepted={
            "no numerics": VANILLA,
            "one micro-batch": VANILLA.with_value("spec.training.numerics", {"mode": "Exact", "microBatches": 1}),
            "micro-batches and Fast": VANILLA.with_value("spec.training.numerics", {"mode": "Fast", "microBatches": 4}),
        },
    ),
    *_rows(
        "spec.training.optimizer",
        "only SGD has a momentum",
        refused={
            "Adam with a momentum": VANILLA.with_value("spec.training.optimizer", {**ADAM, "momentum": "0.9"}),
        },
        accepted={
            "SGD with a momentum": VANILLA,
            "Adam without": VANILLA.with_value("spec.training.optimizer", ADAM),
            "Adam with a momentum of 0.0": VANILLA.with_value("spec.training.optimizer", {**ADAM, "momentum": "0.0"}),
        },
    ),
    *_rows(
        "spec.training.optimizer",
        "SGD has no beta1",
        refused={
            f"SGD with {field}": VANILLA.with_value(f"spec.training.optimizer.{field}", "0.5")
            for field in ("beta1", "beta2", "epsilon")
        },
        accepted={
            "SGD without betas": VANILLA,
            "Adam with a beta1": VANILLA.with_value("spec.training.optimizer", {**ADAM, "beta1": "0.5"}),
        },
    ),
    *_rows(
        "spec.training.optimizer",
        "beta1 and beta2 weigh the past",
        refused={
            f"Adam with a {field} of {value}": VANILLA.with_value("spec.training.optimizer", {**ADAM, field: value})
            for field in ("beta1", "beta2")
            for value in ("1", "1.5", "1e0")
        },
        accepted={
            "SGD": VANILLA,
            "Adam as it is": VANILLA.with_value("spec.training.optimizer", ADAM),
            "Adam with a beta1 of 0": VANILLA.with_value("spec.training.optimizer", {**ADAM, "beta1": "0"}),
            "Adam with a beta2 of 9e-1": VANILLA.with_value("spec.training.optimizer", {**ADAM, "beta2": "9e-1"}),
        },
    ),
    *_rows(
        "spec",
        "Accuracy and AUC are computed for",
        refused={
            "a metric of tasks with MSE only": MULTI_TASK.with_value("spec.tasks.0.loss.name", "MSE").with_value(
                "spec.tasks.1.loss.name", "MSE"
            ),
            "a metric of MSE": VANILLA.with_value("spec.training.loss.name", "MSE"),
            "a metric of a loss of one's own": VANILLA.with_value(
                "spec.training.loss", {"entrypoint": "xray.loss:focal"}
            ),
        },
        accepted={
            "metrics of CrossEntropy": VANILLA,
            "metrics of BCEWithLogits": VERTICAL,
            "metrics of two tasks": MULTI_TASK,
            "metrics of one of two tasks": MULTI_TASK.with_value("spec.tasks.1.loss.name", "MSE"),
            "MSE without metrics": VANILLA.with_value("spec.training.loss.name", "MSE").without(
                "spec.training.evaluation.metrics"
            ),
        },
    ),
    *_rows(
        "spec",
        "metrics are computed over test rows",
        refused={
            "metrics and no test rows": VANILLA.without("spec.clients.0.data.test").without("spec.clients.1.data.test"),
            "metrics and test rows nowhere, with labels at the server": LABELED_SERVER.without("spec.server.data.test")
            .without("spec.clients.0.data.test")
            .without("spec.clients.1.data.test"),
        },
        accepted={
            "test rows at one client": VANILLA.without("spec.clients.0.data.test"),
            "test rows at the server": LABELED_SERVER,
            "neither metrics nor test rows": VANILLA.without("spec.training.evaluation")
            .without("spec.clients.0.data.test")
            .without("spec.clients.1.data.test"),
        },
    ),
    *_rows(
        "spec",
        "CrossEntropy takes class numbers",
        refused={
            f"CrossEntropy of one {dtype} a row": VANILLA.with_value("spec.model.label.dtype", dtype)
            for dtype in ("Float32", "Float64", "Bool")
        },
        accepted={
            "CrossEntropy of class numbers": VANILLA,
            "CrossEntropy of small class numbers": VANILLA.with_value("spec.model.label.dtype", "UInt8"),
            "CrossEntropy of the chances of three classes": VANILLA.with_value(
                "spec.model.label", {"dtype": "Float32", "shape": [3]}
            ),
            "MSE of one Float32 a row": VANILLA.with_value("spec.model.label.dtype", "Float32")
            .with_value("spec.training.loss.name", "MSE")
            .without("spec.training.evaluation.metrics"),
            "a loss of one's own": VANILLA.with_value("spec.model.label.dtype", "Float32")
            .with_value("spec.training.loss", {"entrypoint": "xray.loss:focal"})
            .without("spec.training.evaluation"),
        },
    ),
)

OPERATION_ROWS = tuple(
    _rows(
        "spec",
        "a certificate outlasts the wait for all parties",
        refused={
            "a short leaf and the usual wait": VANILLA.with_value("spec.tls.leafDurationSeconds", 1199),
            "a long wait and a leaf of a day": VANILLA.with_value("spec.startup.readyTimeoutSeconds", 43201),
        },
        accepted={
            "a leaf of twice the wait": VANILLA.with_value("spec.tls.leafDurationSeconds", 1200),
            "a short leaf and a short wait": VANILLA.with_value("spec.tls.leafDurationSeconds", 600).with_value(
                "spec.startup.readyTimeoutSeconds", 300
            ),
            "neither given": VANILLA,
        },
    )
)


def _scheduled(training: TrainingBuilder, mode: str, **member: object) -> TrainingBuilder:
    name = mode[0].lower() + mode[1:]
    return training.with_value("spec.schedule", {"mode": mode, name: member})


SUMMED = _scheduled(VANILLA, "Parallel")

AVERAGED = _scheduled(VANILLA, "SplitFed")

AT_SERVER = {"at": "Server"}

CLASS_WEIGHTS = {"name": "CrossEntropy", "arguments": {"weight": "1,2"}}

IGNORED_CLASS = {"name": "CrossEntropy", "arguments": {"ignore_index": "3"}}

SCHEDULE_ROWS = (
    *_rows(
        "spec.schedule",
        "parallel is given",
        refused={
            "Parallel without parallel": SUMMED.without("spec.schedule.parallel"),
            "Sequential with parallel": VANILLA.with_value("spec.schedule.parallel", {}),
        },
        accepted={"Parallel with an empty parallel": SUMMED, "Sequential without parallel": VANILLA},
    ),
    *_rows(
        "spec.schedule",
        "splitFed is given",
        refused={
            "SplitFed without splitFed": AVERAGED.without("spec.schedule.splitFed"),
            "Joint with splitFed": VERTICAL.with_value("spec.schedule.splitFed", {}),
        },
        accepted={"SplitFed with an empty splitFed": AVERAGED, "Joint without splitFed": VERTICAL},
    ),
    *_rows(
        "spec.schedule",
        "with clientPolicy Private nothing of the clients is summed",
        refused={
            "a place to sum private gradients": _scheduled(
                VANILLA, "Parallel", clientPolicy="Private", averaging=AT_SERVER
            )
        },
        accepted={
            "private gradients": _scheduled(VANILLA, "Parallel", clientPolicy="Private"),
            "a place to sum gradients": _scheduled(VANILLA, "Parallel", averaging=AT_SERVER),
            "another schedule": VANILLA,
        },
    ),
    *_rows(
        "spec.schedule",
        "with clientPolicy Private nothing of the clients is averaged",
        refused={
            "a place to average private weights": _scheduled(VANILLA, "SplitFed", clientPolicy="Private", averaging={})
        },
        accepted={
            "private weights": _scheduled(VANILLA, "SplitFed", clientPolicy="Private"),
            "a place to average weights": _scheduled(VANILLA, "SplitFed", averaging=AT_SERVER),
            "another schedule": VANILLA,
        },
    ),
    *_rows(
        "spec.schedule",
        "with serverPolicy Shared and clientPolicy Private",
        refused={"Shared and Private": _scheduled(VANILLA, "SplitFed", serverPolicy="Shared", clientPolicy="Private")},
        accepted={
            "Shared and Average": _scheduled(VANILLA, "SplitFed", serverPolicy="Shared"),
            "PerClient and Private": _scheduled(VANILLA, "SplitFed", clientPolicy="Private"),
            "another schedule": VANILLA,
        },
    ),
    *_rows(
        "spec",
        "in a U-shape each client of a parallel step",
        refused={
            "class weights": _scheduled(U_SHAPED, "Parallel").with_value("spec.training.loss", CLASS_WEIGHTS),
            "an ignored class": _scheduled(U_SHAPED, "Parallel").with_value("spec.training.loss", IGNORED_CLASS),
        },
        accepted={
            "no class weights": _scheduled(U_SHAPED, "Parallel"),
            "class weights of a loss at the server": SUMMED.with_value("spec.training.loss", CLASS_WEIGHTS),
            "class weights in SplitFed": _scheduled(U_SHAPED, "SplitFed").with_value(
                "spec.training.loss", CLASS_WEIGHTS
            ),
        },
    ),
)

ROWS: tuple[Row, ...] = (
    *TOPOLOGY_ROWS,
    *HOP_ROWS,
    *TASK_ROWS,
    *SCHEDULE_ROWS,
    *DATA_ROWS,
    *TRAINING_ROWS,
    *OPERATION_ROWS,
)

# ------------------------------------------------------------------------------------------------------------ changes

TIME = "2030-01-01T00:00:00Z"

CHECKPOINT = {"everyRounds": 2}

CHANGED: dict[str, TrainingBuilder] = {
    "topology": VANILLA.with_value("spec.topology", "UShaped"),
    "model": VANILLA.with_value("spec.model.wirePlanDigest", "sha256:" + "0" * 64),
    "training": VANILLA.with_value("spec.training.optimizer.learningRate", "0.1"),
    "schedule": VANILLA.with_value("spec.schedule.sequential.handoff", "None"),
    "server": VANILLA.with_value("spec.server.device", "CPU"),
    "clients": VANILLA.with_client("st-john"),
    "tasks": VANILLA.with_value("spec.tasks", [TASK]),
    "startup": VANILLA.with_value("spec.startup.readyTimeoutSeconds", 1),
    "faultTolerance": VANILLA.with_value("spec.faultTolerance.onClientLoss", "Fail"),
    "network": VANILLA.with_value("spec.network.isolation", "None"),
    "tls": VANILLA.with_value("spec.tls.leafDurationSeconds", 3600),
    "mode": VANILLA.with_value("spec.mode", "Predict"),
    "imagePullSecrets": VANILLA.with_value("spec.imagePullSecrets", [{"name": "registry"}]),
}

"""Each field that cannot be changed, changed."""


def _finished(condition: str, status: str = "True") -> TrainingBuilder:
    return VANILLA.with_value(
        "status.conditions",
        [{"type": condition, "status": status, "lastTransitionTime": TIME, "reason": "Because", "message": ""}],
    )


def _changes(
    path: str,
    field: str,
    *,
    refused: Mapping[str, tuple[TrainingBuilder, TrainingBuilder]],
    accepted: Mapping[str, tuple[TrainingBuilder, TrainingBuilder]],
) -> Iterator[ChangeRow]:
    for is_accepted, changes in ((False, refused), (True, accepted)):
        for name, (old, new) in changes.items():
            yield ChangeRow(path, field, is_accepted, name, old, new)


MORE_ROUNDS = VANILLA.with_value("spec.rounds", 21)

FREELY_CHANGED = (
    VANILLA.with_value("spec.suspend", value=True)
    .with_value("spec.activeDeadlineSeconds", 60)
    .with_value("spec.ttlSecondsAfterFinished", 60)
)

WITH_CHECKPOINT = VANILLA.with_value("spec.checkpoint", CHECKPOINT)

CHANGE_ROWS: tuple[ChangeRow, ...] = (
    *(
        row
        for field, changed in CHANGED.items()
        for row in _changes(
            "spec",
            f".{field}",
            refused={f"another {field}": (VANILLA, changed)},
            accepted={
                f"the same {field}": (changed, changed),
                f"the same {field}, and what may change": (VANILLA, FREELY_CHANGED),
            },
        )
    ),
    *_changes(
        "spec",
        ".clients",
        refused={
            "clients in another order": (
                VANILLA,
                a_training().with_client("st-luke").with_client("st-mary"),
            ),
            "a client less": (VANILLA, VANILLA.without("spec.clients.1")),
        },
        accepted={},
    ),
    *_changes(
        "spec",
        ".startup",
        refused={},
        accepted={"a default written out": (VANILLA, VANILLA.with_value("spec.startup.readyTimeoutSeconds", 600))},
    ),
    *_changes(
        "spec",
        ".image",
        refused={
            "an image removed": (VANILLA, VANILLA.without("spec.image")),
            "an image added": (VANILLA.without("spec.image"), VANILLA),
            "another image": (VANILLA, VANILLA.with_value("spec.image", "registry.example/party:0.2.0")),
        },
        accepted={
            "the same image": (VANILLA, VANILLA),
            "no image": (VANILLA.without("spec.image"), VANILLA.without("spec.image")),
        },
    ),
    *_changes(
        "spec",
        ".checkpoint",
        refused={
            "checkpoints removed": (WITH_CHECKPOINT, VANILLA),
            "checkpoints added": (VANILLA, WITH_CHECKPOINT),
            "other checkpoints": (WITH_CHECKPOINT, WITH_CHECKPOINT.with_value("spec.checkpoint.keepSets", 2)),
        },
        accepted={"the same checkpoints": (WITH_CHECKPOINT, WITH_CHECKPOINT), "no checkpoints": (VANILLA, VANILLA)},
    ),
    *_changes(
        "spec",
        ".rounds",
        refused={"fewer rounds": (MORE_ROUNDS, VANILLA)},
        accepted={"more rounds": (VANILLA, MORE_ROUNDS), "as many rounds": (VANILLA, VANILLA)},
    ),
    *_changes(
        "",
        ".spec.rounds",
        refused={
            f"more rounds once {condition}": (
                _finished(condition),
                _finished(condition).with_value("spec.rounds", 21),
            )
            for condition in ("Complete", "Failed")
        },
        accepted={
            "more rounds before the first status": (VANILLA, MORE_ROUNDS),
            "more rounds with a status without conditions": (
                VANILLA.with_value("status", {"attempt": 1}),
                MORE_ROUNDS.with_value("status", {"attempt": 1}),
            ),
            "more rounds before it is Complete": (
                _finished("Complete", "False"),
                _finished("Complete", "False").with_value("spec.rounds", 21),
            ),
            "more rounds while Progressing": (
                _finished("Progressing"),
                _finished("Progressing").with_value("spec.rounds", 21),
            ),
            "as many rounds once Complete": (_finished("Complete"), _finished("Complete")),
        },
    ),
)
