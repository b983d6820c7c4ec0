"""Rules on the tasks of a MultiTask training: whose labels, which output, which loss."""

from __future__ import annotations

from splittraining.api.rules.rule import Rule
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology
from splittraining.api.spec.task import TaskSpec
from splittraining.api.spec.training import LossName
from splittraining.api.wire_plan import DType

_WHOLE = (DType.INT64, DType.INT32, DType.INT16, DType.INT8, DType.UINT8)


def _list_holders(spec: SplitTrainingSpec) -> list[str]:
    return [client.name for client in spec.clients if client.data is not None and client.data.label is not None]


def _parties_hold_labels(spec: SplitTrainingSpec) -> bool:
    holders = _list_holders(spec)
    return all(task.party in holders for task in spec.tasks)


def _holders_have_one_task(spec: SplitTrainingSpec) -> bool:
    parties = [task.party for task in spec.tasks]
    return spec.topology is not Topology.MULTI_TASK or all(parties.count(name) == 1 for name in _list_holders(spec))


def _differ(spec: SplitTrainingSpec, field: str) -> bool:
    given = [getattr(task, field) for task in spec.tasks]
    return len(set(given)) == len(given)


def _classes_are_whole_numbers(task: TaskSpec) -> bool:
    return task.loss.name is not LossName.CROSS_ENTROPY or bool(task.label.shape) or task.label.dtype in _WHOLE


TASK_RULES = (
    Rule(
        "spec",
        "self.topology != 'MultiTask' || size(self.model.cutPoints) > 0",
        "MultiTask needs the ends of the trunk that all tasks share; name the last layers that the server runs in"
        " model.cutPoints",
        lambda spec: spec.topology is not Topology.MULTI_TASK or bool(spec.model.cut_points),
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        "self.tasks.all(t, self.tasks.exists_one(u, u.name == t.name))",
        "each task has a name of its own; rename one of tasks",
        lambda spec: _differ(spec, "name"),
        ".tasks",
    ),
    Rule(
        "spec",
        "self.tasks.all(t, self.tasks.exists_one(u, u.output == t.output))",
        "each task has an output of its own; name another one in tasks[].output",
        lambda spec: _differ(spec, "output"),
        ".tasks",
    ),
    Rule(
        "spec",
        "self.tasks.all(t, self.clients.exists(c, c.name == t.party && has(c.data) && has(c.data.label)))",
        "each task names a client that holds its labels; mend tasks[].party, or add data.label at that client",
        _parties_hold_labels,
        ".tasks",
    ),
    Rule(
        "spec",
        "self.topology != 'MultiTask' || self.clients.all(c, !has(c.data) || !has(c.data.label)"
        " || self.tasks.exists_one(t, t.party == c.name))",
        "in MultiTask a client with data.label is the party of exactly one task; add a task for it, remove its"
        " data.label, or give each task a client of its own",
        _holders_have_one_task,
        ".tasks",
    ),
    Rule(
        "spec",
        "self.topology != 'MultiTask' || !has(self.server.data)",
        "in MultiTask every label is at a client; remove server.data, and name a client in tasks[].party",
        lambda spec: spec.topology is not Topology.MULTI_TASK or spec.server.data is None,
        ".server",
    ),
    Rule(
        "spec",
        "self.topology != 'MultiTask' || !has(self.model.label)",
        "MultiTask has a label per task; move model.label to tasks[].label",
        lambda spec: spec.topology is not Topology.MULTI_TASK or spec.model.label is None,
        ".model.label",
    ),
    Rule(
        "spec.tasks[].loss",
        "has(self.name) != has(self.entrypoint)",
        "a task's loss is given by name or by entrypoint; give exactly one of them",
        lambda loss: (loss.name is None) != (loss.entrypoint is None),
    ),
    # A label of several numbers may hold the chances of the classes, which CrossEntropy takes too.
    Rule(
        "spec.tasks[]",
        "!has(self.loss.name) || self.loss.name != 'CrossEntropy' || size(self.label.shape) > 0"
        f" || self.label.dtype in {[dtype.value for dtype in _WHOLE]}",
        "CrossEntropy takes class numbers; set the task's label.dtype to Int64, or use BCEWithLogits or MSE",
        _classes_are_whole_numbers,
        ".label.dtype",
    ),
)
