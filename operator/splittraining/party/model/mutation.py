"""In-place operations on values that cross: made harmless where that changes nothing, refused elsewhere.

A crossing value is a leaf of its consumer's graph, which torch does not let anybody overwrite; and a party that
overwrites its own copy would not overwrite the others'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import fx, nn

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.crossings import Crossing
from splittraining.party.model.ownership import Ownership
from splittraining.party.model.trace import get_origin


def defuse_writes(ownership: Ownership, crossings: Sequence[Crossing]) -> bool:
    """Sets `inplace=False` on modules that would overwrite a crossing value.

    Returns:
        Whether anything was set, so that shapes and ownership must be found anew.

    Raises:
        ModelInvalid: if another operation overwrites one, or if somebody reads what a module has overwritten.
    """
    defused = False
    for crossing in crossings:
        for writer in list(_iterate_writers(ownership, crossing.node, after=crossing.node)):
            module = _get_module(ownership, writer)
            if module is None or not _can_be_defused(ownership, module):
                raise _refuse(crossing.name, writer, is_module=module is not None)
            module.inplace = False  # type: ignore[assignment]
            defused = True
    _refuse_overwritten_arguments(ownership)
    return defused


def _iterate_writers(ownership: Ownership, node: fx.Node, *, after: fx.Node) -> Iterator[fx.Node]:
    storages = ownership.shapes.storages[node]
    is_later = False
    for other in ownership.trace.graph.nodes:
        if is_later and ownership.shapes.writes[other] & storages:
            yield other
        is_later = is_later or other is after


def _get_module(ownership: Ownership, writer: fx.Node) -> nn.Module | None:
    if writer.op != "call_module":
        return None
    module = ownership.trace.root.get_submodule(str(writer.target))
    return module if getattr(module, "inplace", False) is True else None


def _can_be_defused(ownership: Ownership, module: nn.Module) -> bool:
    """Returns whether no call of the module overwrites a value that is read again under its earlier name."""
    for call in ownership.trace.graph.nodes:
        if _get_module(ownership, call) is module:
            written = ownership.shapes.writes[call]
            before = _list_until(ownership, call)
            for reader in ownership.trace.graph.nodes:
                if reader in before or reader is call:
                    continue
                if any(s in before and ownership.shapes.storages[s] & written for s in reader.all_input_nodes):
                    return False
    return True


def _list_until(ownership: Ownership, end: fx.Node) -> frozenset[fx.Node]:
    before: list[fx.Node] = []
    for node in ownership.trace.graph.nodes:
        if node is end:
            break
        before.append(node)
    return frozenset(before)


def _refuse_overwritten_arguments(ownership: Ownership) -> None:
    """Refuses to overwrite an argument that two stages of its owner are given."""
    for node in ownership.trace.graph.find_nodes(op="placeholder"):
        stages = {ownership.stage_of[user] for user in ownership.list_readers(node)}
        writer = next(_iterate_writers(ownership, node, after=node), None)
        if writer is not None and len(stages) > 1:
            raise _refuse(str(node.target), writer, is_module=False)


def _refuse(name: str, writer: fx.Node, *, is_module: bool) -> ModelInvalid:
    why = ", and what it overwrites is read again" if is_module else ""
    return ModelInvalid(
        f"`{writer.name}` at {get_origin(writer).place} overwrites {name!r}, which another stage has as well{why}",
        allowed="operations that make a new tensor",
        remedy="use the operation without inplace=True or the trailing underscore: `x = x + y` for `x += y`",
    )
