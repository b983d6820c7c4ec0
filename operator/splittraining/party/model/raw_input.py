"""The law that raw input never crosses."""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.ownership import Ownership
from splittraining.party.model.trace import Trace

_MOVES = frozenset(
    {
        "alphadropout", "cat", "chunk", "clone", "concat", "concatenate", "constantpad1d", "constantpad2d",
        "contiguous", "detach", "double", "dropout", "dropout1d", "dropout2d", "dropout3d", "expand",
        "featurealphadropout", "flatten", "flip", "float", "getitem", "half", "hstack", "identity",
        "index_select", "movedim", "narrow", "pad", "permute", "pixel_shuffle", "pixelshuffle", "ravel",
        "repeat", "reshape", "roll", "select", "split", "squeeze", "stack", "t", "tile", "to", "transpose",
        "type", "unbind", "unflatten", "unsqueeze", "view", "vstack", "zeropad2d",
    }
)  # fmt: skip
"""Operations that put elements elsewhere and leave them what they are."""


def find_verbatim(trace: Trace) -> frozenset[fx.Node]:
    """Finds nodes whose result holds elements of an argument of forward unchanged."""
    modules = dict(trace.root.named_modules(remove_duplicate=False))
    verbatim: set[fx.Node] = set()
    for node in trace.graph.nodes:
        if node.op == "placeholder":
            verbatim.add(node)
            continue
        if node.op == "call_module":
            name = type(modules[str(node.target)]).__name__
        else:
            name = getattr(node.target, "__name__", str(node.target))
        if name.lower() in _MOVES and any(source in verbatim for source in node.all_input_nodes):
            verbatim.add(node)
    return frozenset(verbatim)


def find_parameter_owners(ownership: Ownership) -> dict[fx.Node, frozenset[str]]:
    """Finds, for each node, the owners of parameters that its result depends on."""
    owners: dict[fx.Node, frozenset[str]] = {}
    parameters = {id(parameter) for parameter in ownership.trace.root.parameters()}
    for node in ownership.trace.graph.nodes:
        before = frozenset().union(*(owners[source] for source in ownership.dependence.inputs[node]))
        uses = any(
            ownership.dependence.state[source] & parameters
            for source in (node, *node.all_input_nodes)
            if source is node or source.op == "get_attr"
        )
        here = {ownership.get_owner(ownership.stage_of[node])} if uses and node in ownership.stage_of else set()
        owners[node] = before | here
    return owners


def refuse_raw_input(
    node: fx.Node,
    name: str,
    ownership: Ownership,
    *,
    verbatim: frozenset[fx.Node],
    owners: Mapping[fx.Node, frozenset[str]],
) -> None:
    """Refuses to let a value cross that holds a data owner's input, or that none of its parameters has touched.

    Args:
        node: The value.
        name: How to call it in the message, with who needs it.
        ownership: The stage of every node.
        verbatim: Nodes that hold elements of an argument unchanged.
        owners: For each node, the owners of parameters that its result depends on.

    Raises:
        ModelInvalid: naming the arguments and the value.
    """
    holders = {
        argument: stage.owner
        for stage in reversed(ownership.stages)
        for argument in stage.arguments
        if argument in ownership.dependence.arguments[node]
    }
    untouched = sorted(argument for argument, owner in holders.items() if owner not in owners[node])
    if node not in verbatim and not untouched:
        return
    held = ", ".join(untouched or sorted(holders))
    why = "holds its numbers unchanged" if node in verbatim else "depends on no parameter of its owner"
    raise ModelInvalid(
        f"value {name} would carry raw input ({held}) to another party: it {why}",
        allowed="values that have passed through a layer with parameters of the data's owner",
        remedy="cut after a later layer that has parameters; nothing listed in extraCrossings lifts this",
    )
