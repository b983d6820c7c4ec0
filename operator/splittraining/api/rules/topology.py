"""Rules on topology, schedule and cut points."""

from __future__ import annotations

import re

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.rules.rule import Rule
from splittraining.api.spec.schedule import ScheduleMode
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology
from splittraining.api.spec.types import NAME_LENGTH, NAME_PATTERN

_CHAINED = (Topology.VANILLA, Topology.U_SHAPED)

_BRANCHED = (Topology.VERTICAL, Topology.EXTENDED_VANILLA, Topology.MULTI_TASK)

_OWNED = (Topology.MULTI_HOP, Topology.EXTENDED_VANILLA)


def _branches_are_cut_once(spec: SplitTrainingSpec) -> bool:
    return spec.topology not in _BRANCHED or all(
        len(client.cut_points) == (1 if client.data is not None and client.data.inputs else 0)
        for client in spec.clients
    )


TOPOLOGY_RULES = (
    Rule(
        "",
        f"size(self.metadata.name) <= {NAME_LENGTH} && self.metadata.name.matches('{NAME_PATTERN}')",
        f"metadata.name is part of host names: a DNS label of at most {NAME_LENGTH} characters that starts with a"
        " letter; choose another name",
        lambda training: (
            len(training.metadata.name) <= NAME_LENGTH
            and re.fullmatch(NAME_PATTERN, training.metadata.name, re.ASCII) is not None
        ),
    ),
    Rule(
        "spec.clients[]",
        f"self.name != '{SERVER_PARTY}'",
        "the name server is reserved for the server party; give the client another name",
        lambda client: client.name != SERVER_PARTY,
        ".name",
    ),
    Rule(
        "spec",
        "self.topology in ['Vanilla', 'UShaped'] ? self.schedule.mode in ['Sequential', 'Parallel', 'SplitFed']"
        " : self.schedule.mode == 'Joint'",
        "Vanilla and UShaped are scheduled Sequential, Parallel or SplitFed, all other topologies Joint;"
        " change schedule.mode or topology",
        lambda spec: (spec.topology in _CHAINED) == (spec.schedule.mode is not ScheduleMode.JOINT),
        ".schedule.mode",
    ),
    Rule(
        "spec.schedule",
        "(self.mode == 'Sequential') == has(self.sequential)",
        "sequential is given with mode Sequential, and only then; add schedule.sequential or remove it",
        lambda schedule: (schedule.mode is ScheduleMode.SEQUENTIAL) == (schedule.sequential is not None),
        ".sequential",
    ),
    Rule(
        "spec",
        "self.topology != 'Vanilla' || size(self.model.cutPoints) == 1",
        "Vanilla has exactly one cut point: the last layer that the clients run; give one in model.cutPoints",
        lambda spec: spec.topology is not Topology.VANILLA or len(spec.model.cut_points) == 1,
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        "self.topology != 'UShaped' || size(self.model.cutPoints) == 2",
        "UShaped has exactly two cut points: where the server begins and where it ends; give two in model.cutPoints",
        lambda spec: spec.topology is not Topology.U_SHAPED or len(spec.model.cut_points) == 2,  # noqa: PLR2004
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        "self.topology != 'Vertical' || size(self.model.cutPoints) == 0",
        "Vertical has no cut points in the model: each client names the end of its own branch;"
        " move them to clients[].cutPoints",
        lambda spec: spec.topology is not Topology.VERTICAL or not spec.model.cut_points,
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        "!(self.topology in ['Vertical', 'ExtendedVanilla', 'MultiTask'])"
        " || self.clients.all(c, (has(c.cutPoints) ? size(c.cutPoints) : 0)"
        " == (has(c.data) && has(c.data.inputs) && size(c.data.inputs) > 0 ? 1 : 0))",
        "in Vertical, ExtendedVanilla and MultiTask every client with data.inputs names exactly one cut point, the end"
        " of its branch, and a client without inputs none; set clients[].cutPoints",
        _branches_are_cut_once,
        ".clients",
    ),
    Rule(
        "spec",
        "self.topology in ['Vertical', 'ExtendedVanilla', 'MultiTask']"
        " || self.clients.all(c, !has(c.cutPoints) || size(c.cutPoints) == 0)",
        "only Vertical, ExtendedVanilla and MultiTask have branches of their own; move clients[].cutPoints to"
        " model.cutPoints",
        lambda spec: spec.topology in _BRANCHED or not any(client.cut_points for client in spec.clients),
        ".clients",
    ),
    Rule(
        "spec",
        "self.topology in ['MultiHop', 'ExtendedVanilla'] || self.model.cutPoints.all(p, !has(p.owner))",
        "only MultiHop and ExtendedVanilla name owners of cut points; remove model.cutPoints[].owner",
        lambda spec: spec.topology in _OWNED or all(point.owner is None for point in spec.model.cut_points),
        ".model.cutPoints",
    ),
    Rule(
        "spec.clients[]",
        "!has(self.cutPoints) || self.cutPoints.all(p, !has(p.owner))",
        "a client owns its branch itself; remove the owner of clients[].cutPoints",
        lambda client: all(point.owner is None for point in client.cut_points),
        ".cutPoints",
    ),
    Rule(
        "spec",
        "self.topology == 'MultiTask' ? size(self.tasks) > 0 : size(self.tasks) == 0",
        "MultiTask names its outputs in tasks, and no other topology has any; add tasks or remove them",
        lambda spec: (spec.topology is Topology.MULTI_TASK) == bool(spec.tasks),
        ".tasks",
    ),
)
