"""Rules on who holds which inputs, labels and rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from splittraining.api.rules.rule import Rule, list_data
from splittraining.api.spec.client import ClientSpec
from splittraining.api.spec.data import DataFormat, DataSpec
from splittraining.api.spec.schedule import ScheduleMode
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology

_ALIKE = (Topology.VANILLA, Topology.U_SHAPED)

"""Topologies whose clients all hold the same columns of different rows."""

_ALIGNED = (Topology.VERTICAL, Topology.EXTENDED_VANILLA, Topology.MULTI_HOP)

"""Topologies whose parties hold different columns of the same rows, and one of them the labels."""

_FULL = (*_ALIKE, Topology.VERTICAL, Topology.MULTI_TASK)
"""Topologies in which every client has rows."""
_IS_ALIGNED = "self.topology in ['Vertical', 'ExtendedVanilla', 'MultiHop']"

T = TypeVar("T")


def _are_unique(items: Sequence[T]) -> bool:
    return len(set(items)) == len(items)


def _names_inputs(data: DataSpec | None) -> tuple[str, ...]:
    return () if data is None else tuple(item.name for item in data.inputs)


def _holds_label(client: ClientSpec) -> bool:
    return client.data is not None and client.data.label is not None


def _server_holds_only_labels(spec: SplitTrainingSpec) -> bool:
    data = spec.server.data
    return data is None or (spec.topology not in _ALIKE and data.label is not None and not data.inputs)


def _every_client_holds_all_inputs(spec: SplitTrainingSpec) -> bool:
    return spec.topology not in _ALIKE or all(
        _names_inputs(client.data).count(item.name) == 1 for client in spec.clients for item in spec.model.inputs
    )


def _each_input_is_held_once(spec: SplitTrainingSpec) -> bool:
    return spec.topology not in (*_ALIGNED, Topology.MULTI_TASK) or all(
        sum(item.name in _names_inputs(client.data) for client in spec.clients) == 1 for item in spec.model.inputs
    )


def _known_inputs_only(spec: SplitTrainingSpec) -> bool:
    known = {item.name for item in spec.model.inputs}
    return all(name in known for client in spec.clients for name in _names_inputs(client.data))


def _one_label_holder(spec: SplitTrainingSpec) -> bool:
    holders = sum(_holds_label(client) for client in spec.clients) + (spec.server.data is not None)
    return spec.topology not in _ALIGNED or holders == 1


def _all_or_nobody_tests(spec: SplitTrainingSpec) -> bool:
    with_test = {data.test is not None for data in list_data(spec)}
    return spec.schedule.mode is not ScheduleMode.JOINT or len(with_test) <= 1


_FORMAT_OR_LOADER = (
    "has(self.format) != has(self.loader)",
    "give either data.format or data.loader, and not both",
    lambda data: data is None or (data.format is None) != (data.loader is None),
)

_CLASSES_OF_FOLDERS = (
    "!has(self.classes) || size(self.classes) == 0 || (has(self.format) && self.format == 'ImageFolder')",
    "classes name the folders of an ImageFolder; remove data.classes, or set format: ImageFolder",
    lambda data: data is None or not data.classes or data.format is DataFormat.IMAGE_FOLDER,
    ".classes",
)

_STAYS_BELOW = (
    "!self.path.matches('(^|/)[.][.](/|$)')",
    "a path stays inside its volume; remove the .. from it, or name another claim",
    lambda file: ".." not in file.path.split("/"),
    ".path",
)

_WARM_START_LIES_SOMEWHERE = (
    "!has(self.warmStart) || has(self.warmStart.volume) || has(self.data)",
    "a party without data has no volume that a warm start could lie on; name one in warmStart.volume",
    lambda party: party.warm_start is None or party.warm_start.volume is not None or party.data is not None,
    ".warmStart",
)

DATA_RULES = (
    Rule(
        "spec.model",
        "self.inputs.all(i, self.inputs.exists_one(j, j.name == i.name))",
        "each input has a name of its own; rename one of model.inputs",
        lambda model: _are_unique([item.name for item in model.inputs]),
        ".inputs",
    ),
    Rule("spec.clients[].data", *_FORMAT_OR_LOADER),
    Rule("spec.server.data", *_FORMAT_OR_LOADER),
    Rule("spec.clients[].data", *_CLASSES_OF_FOLDERS),
    Rule("spec.server.data", *_CLASSES_OF_FOLDERS),
    Rule("spec.clients[].data.train", *_STAYS_BELOW),
    Rule("spec.clients[].data.test", *_STAYS_BELOW),
    Rule("spec.server.data.train", *_STAYS_BELOW),
    Rule("spec.server.data.test", *_STAYS_BELOW),
    Rule("spec.clients[].warmStart", *_STAYS_BELOW),
    Rule("spec.server.warmStart", *_STAYS_BELOW),
    Rule("spec.clients[]", *_WARM_START_LIES_SOMEWHERE),
    Rule("spec.server", *_WARM_START_LIES_SOMEWHERE),
    Rule(
        "spec.clients[].data",
        "!has(self.inputs) || self.inputs.all(i, self.inputs.exists_one(j, j.name == i.name))",
        "a client names each input once; join the columns of one input into one entry",
        lambda data: _are_unique(_names_inputs(data)),
        ".inputs",
    ),
    Rule(
        "spec",
        "!(self.topology in ['Vanilla', 'UShaped', 'Vertical', 'MultiTask']) || self.clients.all(c, has(c.data))",
        "every client holds data in Vanilla, UShaped, Vertical and MultiTask; add clients[].data",
        lambda spec: spec.topology not in _FULL or all(client.data is not None for client in spec.clients),
        ".clients",
    ),
    Rule(
        "spec",
        "!(self.topology in ['Vanilla', 'UShaped']) || self.clients.all(c, has(c.data) && has(c.data.label))",
        "every client holds the labels of its rows in Vanilla and UShaped; add clients[].data.label",
        lambda spec: spec.topology not in _ALIKE or all(_holds_label(client) for client in spec.clients),
        ".clients",
    ),
    Rule(
        "spec",
        f"!({_IS_ALIGNED}) || self.clients.filter(c, has(c.data) && has(c.data.label)).size()"
        " + (has(self.server.data) ? 1 : 0) == 1",
        "exactly one party holds the labels in Vertical, ExtendedVanilla and MultiHop;"
        " leave one clients[].data.label or server.data",
        _one_label_holder,
        ".clients",
    ),
    Rule(
        "spec",
        "!has(self.server.data) || (!(self.topology in ['Vanilla', 'UShaped']) && has(self.server.data.label)"
        " && (!has(self.server.data.inputs) || size(self.server.data.inputs) == 0))",
        "the server may hold labels of aligned rows and nothing else, never in Vanilla or UShaped;"
        " remove server.data or its inputs",
        _server_holds_only_labels,
        ".server",
    ),
    Rule(
        "spec",
        "has(self.model.label) || self.topology == 'MultiTask'"
        " || (self.clients.all(c, !has(c.data) || !has(c.data.label))"
        " && (!has(self.server.data) || !has(self.server.data.label)))",
        "labels need a dtype and a shape; add model.label",
        lambda spec: (
            spec.model.label is not None
            or spec.topology is Topology.MULTI_TASK
            or all(data.label is None for data in list_data(spec))
        ),
        ".model",
    ),
    Rule(
        "spec",
        "!(self.topology in ['Vanilla', 'UShaped']) || self.clients.all(c, has(c.data) && has(c.data.inputs)"
        " && self.model.inputs.all(i, c.data.inputs.exists_one(d, d.name == i.name)))",
        "every client holds every input once in Vanilla and UShaped; complete clients[].data.inputs",
        _every_client_holds_all_inputs,
        ".clients",
    ),
    Rule(
        "spec",
        f"!({_IS_ALIGNED} || self.topology == 'MultiTask') || self.model.inputs.all(i, self.clients.filter(c,"
        " has(c.data) && has(c.data.inputs) && c.data.inputs.exists(d, d.name == i.name)).size() == 1)",
        "each input is held by exactly one client in Vertical, ExtendedVanilla, MultiHop and MultiTask;"
        " mend clients[].data.inputs",
        _each_input_is_held_once,
        ".clients",
    ),
    Rule(
        "spec",
        "self.clients.all(c, !has(c.data) || !has(c.data.inputs)"
        " || c.data.inputs.all(d, self.model.inputs.exists(i, i.name == d.name)))",
        "clients[].data.inputs name inputs of the model; use names of model.inputs",
        _known_inputs_only,
        ".clients",
    ),
    Rule(
        "spec",
        "self.schedule.mode != 'Joint' || (self.clients.all(c, !has(c.data) || has(c.data.idColumn))"
        " && (!has(self.server.data) || has(self.server.data.idColumn)))",
        "a Joint schedule orders and checks rows by id; add data.idColumn at every party with data",
        lambda spec: (
            spec.schedule.mode is not ScheduleMode.JOINT or all(data.id_column is not None for data in list_data(spec))
        ),
        ".clients",
    ),
    Rule(
        "spec",
        "self.schedule.mode != 'Joint' || ((!has(self.server.data) || has(self.server.data.test))"
        " && self.clients.all(c, !has(c.data) || has(c.data.test)))"
        " || ((!has(self.server.data) || !has(self.server.data.test))"
        " && self.clients.all(c, !has(c.data) || !has(c.data.test)))",
        "in a Joint schedule all parties with data evaluate together or none; give data.test at all of them or nowhere",
        _all_or_nobody_tests,
        ".clients",
    ),
)
