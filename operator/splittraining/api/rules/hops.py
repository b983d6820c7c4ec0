"""Rules on topologies in which clients work on what other clients computed: MultiHop and ExtendedVanilla."""

from __future__ import annotations

from collections.abc import Callable

from splittraining.api.rules.rule import Rule
from splittraining.api.spec.client import ClientSpec
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology

HOPPED = (Topology.MULTI_HOP, Topology.EXTENDED_VANILLA)
"""Topologies whose model.cutPoints have owners."""


def _holds_inputs(client: ClientSpec) -> bool:
    return client.data is not None and bool(client.data.inputs)


def _list_owners(spec: SplitTrainingSpec) -> list[str | None]:
    return [point.owner for point in spec.model.cut_points]


def _owners_are_clients(spec: SplitTrainingSpec) -> bool:
    names = {client.name for client in spec.clients}
    return all(owner in names for owner in _list_owners(spec))


def _owners_are_distinct(spec: SplitTrainingSpec) -> bool:
    owners = [owner for owner in _list_owners(spec) if owner is not None]
    return len(set(owners)) == len(owners)


def _first_hop_holds_inputs(spec: SplitTrainingSpec) -> bool:
    first = _list_owners(spec)[:1]
    return all(client.name in first for client in spec.clients if _holds_inputs(client))


def _hop_holds_no_inputs(spec: SplitTrainingSpec) -> bool:
    return not any(client.name in _list_owners(spec) for client in spec.clients if _holds_inputs(client))


def _everybody_takes_part(spec: SplitTrainingSpec) -> bool:
    owners = _list_owners(spec)
    return all(
        _holds_inputs(client) or client.data.label is not None if client.data is not None else client.name in owners
        for client in spec.clients
    )


def _only_in(*topologies: Topology, check: Callable[[SplitTrainingSpec], bool]) -> Callable[[SplitTrainingSpec], bool]:
    return lambda spec: spec.topology not in topologies or check(spec)


_HAS_INPUTS = "(has(c.data) && has(c.data.inputs) && size(c.data.inputs) > 0)"
_OWNS_A_CUT = "self.model.cutPoints.exists(p, has(p.owner) && p.owner == c.name)"
_NOT_HOPPED = "!(self.topology in ['MultiHop', 'ExtendedVanilla'])"

HOP_RULES = (
    Rule(
        "spec",
        "self.topology != 'MultiHop' || size(self.model.cutPoints) > 0",
        "MultiHop has a cut point for every client of the chain; list them with their owners in model.cutPoints",
        _only_in(Topology.MULTI_HOP, check=lambda spec: bool(spec.model.cut_points)),
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        "self.topology != 'ExtendedVanilla' || size(self.model.cutPoints) == 1",
        "ExtendedVanilla has exactly one cut point after the merge, where the server begins;"
        " give one with its owner in model.cutPoints",
        _only_in(Topology.EXTENDED_VANILLA, check=lambda spec: len(spec.model.cut_points) == 1),
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        f"{_NOT_HOPPED} || self.model.cutPoints.all(p, has(p.owner) && self.clients.exists(c, c.name == p.owner))",
        "each cut point of MultiHop and ExtendedVanilla has an owner, which is one of the clients;"
        " set model.cutPoints[].owner",
        _only_in(*HOPPED, check=_owners_are_clients),
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        "self.topology != 'MultiHop' || self.model.cutPoints.all(p,"
        " self.model.cutPoints.filter(q, has(p.owner) && has(q.owner) && q.owner == p.owner).size() <= 1)",
        "a client owns one part of a MultiHop chain; remove a cut point between two parts of one owner,"
        " or give one of them to another client",
        _only_in(Topology.MULTI_HOP, check=_owners_are_distinct),
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        "self.topology != 'MultiHop' || size(self.model.cutPoints) == 0 || self.clients.all(c,"
        f" !{_HAS_INPUTS} || (has(self.model.cutPoints[0].owner) && c.name == self.model.cutPoints[0].owner))",
        "in MultiHop the owner of the first cut point holds the inputs, and nobody else;"
        " set the owner of the first of model.cutPoints, or move clients[].data.inputs",
        _only_in(Topology.MULTI_HOP, check=lambda spec: not spec.model.cut_points or _first_hop_holds_inputs(spec)),
        ".clients",
    ),
    Rule(
        "spec",
        f"self.topology != 'ExtendedVanilla' || self.clients.all(c, !{_HAS_INPUTS} || !{_OWNS_A_CUT})",
        "in ExtendedVanilla another client than those with inputs works on the merged activations;"
        " set the owner of model.cutPoints to a client without data.inputs",
        _only_in(Topology.EXTENDED_VANILLA, check=_hop_holds_no_inputs),
        ".model.cutPoints",
    ),
    Rule(
        "spec",
        f"{_NOT_HOPPED} || self.clients.all(c, has(c.data) ? ({_HAS_INPUTS} || has(c.data.label)) : {_OWNS_A_CUT})",
        "every client of MultiHop and ExtendedVanilla has a part: inputs, the labels, or a cut point;"
        " add data.inputs or data.label, remove data of no use, name the client in model.cutPoints[].owner,"
        " or remove it",
        _only_in(*HOPPED, check=_everybody_takes_part),
        ".clients",
    ),
)
