"""Which values go from one stage to another, and whether they may."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import fx

from splittraining.api.errors import ModelInvalid
from splittraining.api.wire_plan import ValueSource
from splittraining.party.model.outputs import is_mark
from splittraining.party.model.ownership import Ownership
from splittraining.party.model.raw_input import find_parameter_owners, find_verbatim, refuse_raw_input
from splittraining.party.model.shapes import Layout
from splittraining.party.model.trace import get_origin

OUTPUT = "output"
"""Name of the model's output where it crosses, and in what the last segment returns."""
LABEL = "label"
"""Name of the labels where they cross."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """One tensor that goes from one stage to later ones."""

    node: fx.Node
    name: str
    source: ValueSource
    layout: Layout
    producer: int
    consumers: tuple[int, ...]


def find_crossings(
    ownership: Ownership, *, extra_crossings: Sequence[str], name_node: Callable[[fx.Node], str]
) -> tuple[Crossing, ...]:
    """Finds the values between stages, by producer and then in forward order.

    Args:
        ownership: The stage of every node.
        extra_crossings: Names of values beside the cuts' own that may cross.
        name_node: Gives nodes that are no cut's result the name they have in the training trace.

    Raises:
        ModelInvalid: if raw input, an unlisted value, or a value that an earlier stage needs would cross.
    """
    found: list[Crossing] = []
    unlisted: list[tuple[str, str]] = []
    verbatim, parameter_owners = find_verbatim(ownership.trace), find_parameter_owners(ownership)
    for node, consumers in _find_readers(ownership).items():
        producer = ownership.stage_of[node]
        source, name = _find_source(ownership, node, consumers, extra_crossings, name_node)
        if source is not ValueSource.LOCAL:
            need = _render_need(ownership, node, consumers)
            refuse_raw_input(node, f"{name!r} ({need})", ownership, verbatim=verbatim, owners=parameter_owners)
        if min(consumers) < producer:
            raise _refuse_backward(ownership, node, name, min(consumers))
        _refuse_detour(ownership, name, producer, consumers)
        if source is None:
            unlisted.append((name, _render_need(ownership, node, consumers)))
            continue
        found.append(Crossing(node, name, source, ownership.shapes.describe(node), producer, consumers))
    if unlisted:
        raise _refuse_unlisted(unlisted)
    _refuse_same_names(found)
    return tuple(sorted(found, key=lambda crossing: crossing.producer))


def check_extra_crossings(ownership: Ownership, crossings: Sequence[Crossing], listed: Sequence[str]) -> None:
    """Refuses names in extraCrossings that name nothing that crosses.

    Raises:
        ModelInvalid: with near names.
    """
    crossing = {
        item.name for item in crossings if item.source is ValueSource.EXTRA or _passes_an_owner(ownership, item)
    }
    for name in listed:
        if name in crossing:
            continue
        nodes = [node.name for node in ownership.trace.graph.nodes]
        near = [close for close in difflib.get_close_matches(name, nodes) if close != name]
        raise ModelInvalid(
            f"model.extraCrossings lists {name!r}, "
            + ("which does not cross" if name in nodes else "which is no value of the model"),
            allowed="values that would otherwise be refused, beside what the cut points return",
            remedy="remove it" + (f", or did you mean {' or '.join(near)}?" if near and name not in nodes else ""),
        )


def _passes_an_owner(ownership: Ownership, item: Crossing) -> bool:
    """Returns whether a cut's value goes to more owners than the next one: in a chain, that too is named on purpose."""
    owners = {ownership.get_owner(stage) for stage in item.consumers} - {ownership.get_owner(item.producer)}
    return item.source is ValueSource.CUT and len(owners) > 1


def _find_readers(ownership: Ownership) -> dict[fx.Node, tuple[int, ...]]:
    """Finds the nodes that are read in other stages, with those stages; arguments only where they change owner."""
    readers: dict[fx.Node, tuple[int, ...]] = {}
    for node in ownership.trace.graph.nodes:
        if node.op == "output" or node not in ownership.stage_of:
            continue
        producer = ownership.stage_of[node]
        stages = sorted({ownership.stage_of[user] for user in ownership.list_readers(node)} - {producer})
        owner = ownership.get_owner(producer)
        if node.op == "placeholder" and all(ownership.get_owner(stage) == owner for stage in stages):
            continue  # both stages of one owner are given the argument itself
        if stages:
            readers[node] = tuple(stages)
    return readers


def _find_source(
    ownership: Ownership,
    node: fx.Node,
    consumers: tuple[int, ...],
    extra_crossings: Sequence[str],
    name_node: Callable[[fx.Node], str],
) -> tuple[ValueSource | None, str]:
    producer = ownership.stage_of[node]
    exit_names = {exit_node: name for found in ownership.exits[producer] for exit_node, name in found.names.items()}
    name = exit_names.get(node) or name_node(node)
    if all(ownership.get_owner(stage) == ownership.get_owner(producer) for stage in consumers):
        return ValueSource.LOCAL, name
    if node in exit_names:
        return ValueSource.CUT, name
    if node in ownership.trace.output.all_input_nodes and ownership.stages[consumers[0]].receives_output:
        return ValueSource.OUTPUT, OUTPUT
    if all(is_mark(user) for user in ownership.list_readers(node) if ownership.stage_of[user] != producer):
        return ValueSource.OUTPUT, f"{OUTPUT}.{ownership.stages[consumers[0]].task}"
    return (ValueSource.EXTRA if name in extra_crossings else None), name


def _render_need(ownership: Ownership, node: fx.Node, consumers: Sequence[int]) -> str:
    owner = ownership.get_owner(ownership.stage_of[node])
    others = [stage for stage in consumers if ownership.get_owner(stage) != owner]
    reader = next(user for user in ownership.list_readers(node) if ownership.stage_of[user] in others)
    place = get_origin(reader).place if reader.op != "output" else "the end of forward"
    return f"{owner} computes it, {ownership.get_owner(others[0])} needs it at {place}"


def _refuse_unlisted(unlisted: Sequence[tuple[str, str]]) -> ModelInvalid:
    names = ", ".join(name for name, _ in unlisted)
    return ModelInvalid(
        "values beside the cuts' own would cross: " + "; ".join(f"{name!r} ({need})" for name, need in unlisted),
        allowed="what cut points return, and what model.extraCrossings lists",
        remedy=f"if that is meant, set extraCrossings: [{names}]; if not, move the cut to where less crosses",
    )


def _refuse_backward(ownership: Ownership, node: fx.Node, name: str, consumer: int) -> ModelInvalid:
    producer = ownership.stage_of[node]
    return ModelInvalid(
        f"value {name!r} is computed in stage {producer} ({ownership.get_owner(producer)}) and needed in the earlier "
        f"stage {consumer} ({ownership.get_owner(consumer)})",
        allowed="values that go to later stages",
        remedy="move the cut points so that every branch ends before the next begins",
    )


def _refuse_detour(ownership: Ownership, name: str, producer: int, consumers: Sequence[int]) -> None:
    """Refuses a value that would go from one client to another one's head: it would be seen by neither's consent."""
    owner = ownership.get_owner(producer)
    trunk = max(index for index, stage in enumerate(ownership.stages) if not stage.task)
    for consumer in consumers:
        stage = ownership.stages[consumer]
        if stage.task and owner not in (stage.owner, ownership.get_owner(trunk)):
            raise ModelInvalid(
                f"value {name!r} of {owner} is read by the head of task {stage.task} at {stage.owner}, past the trunk",
                allowed="heads that read what the trunk returns, and values of their own party",
                remedy="let the trunk compute what that head needs, and name its end in model.cutPoints",
            )


def _refuse_same_names(found: Sequence[Crossing]) -> None:
    by_name: Mapping[str, list[Crossing]] = {item.name: [] for item in found}
    for item in found:
        by_name[item.name].append(item)
    for name, items in by_name.items():
        if len(items) > 1 or (name in (OUTPUT, LABEL) and items[0].source is not ValueSource.OUTPUT):
            raise ModelInvalid(
                f"more than one value that crosses would be called {name!r}",
                allowed="distinct names; `output` and `label` are taken",
                remedy="rename the module in the model's code",
            )
