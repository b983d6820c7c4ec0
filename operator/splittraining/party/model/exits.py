"""What the cut points' calls return: the values that may leave an owner without being listed one by one."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from torch import fx, nn

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.containers import list_members
from splittraining.party.model.shapes import Shapes
from splittraining.party.model.trace import Call, Trace


@dataclass(frozen=True, slots=True)
class Exit:
    """The result of one cut point's call."""

    layer: str
    """The cut point, as the manifest names it."""
    nodes: frozenset[fx.Node]
    """Everything the call returned, containers and their members alike."""
    names: dict[fx.Node, str]
    """The tensors among them with their names on the wire."""


def find_exit(trace: Trace, shapes: Shapes, layer: str) -> Exit:
    """Finds what the call of a cut point returned.

    Args:
        trace: The forward in one mode.
        shapes: What its nodes yield.
        layer: A module's qualified name; ``name@2`` means its second call.

    Raises:
        ModelInvalid: if there is no such module, it is not called, or it is called several times and none is chosen.
    """
    call = _choose_call(trace, layer)
    names: dict[fx.Node, str] = {}
    position = 0
    for node in call.result:
        for offset, member in list_members(node, shapes):
            names.setdefault(member, layer if position + offset == 0 else f"{layer}#{position + offset}")
        position += shapes.count_tensors(node)
    if not names:
        raise ModelInvalid(
            f"cut point {layer!r} returns no tensor that anything after it uses",
            remedy="cut after a module whose result goes on to the next layers",
        )
    return Exit(layer, frozenset(call.result) | frozenset(names), names)


def _choose_call(trace: Trace, layer: str) -> Call:
    asked, _, number = layer.partition("@")
    path = _find_path(trace.root, asked)
    calls = trace.find_calls(path)
    if not calls:
        raise _refuse_uncalled(trace, asked, path)
    if number:
        if int(number) > len(calls):
            raise ModelInvalid(
                f"cut point {layer!r}: {asked} is called {len(calls)} times",
                allowed=", ".join(f"{asked}@{call.number}" for call in calls),
                remedy="choose one of its calls",
            )
        return calls[int(number) - 1]
    if len(calls) > 1:
        raise ModelInvalid(
            f"cut point {layer!r} is called {len(calls)} times, so it is not one place to cut",
            allowed=", ".join(f"{asked}@{call.number}" for call in calls),
            remedy="say which call, or cut after a module that is called once",
        )
    return calls[0]


def _find_path(root: nn.Module, asked: str) -> str:
    """Returns the name under which the trace knows a module; one module may have several."""
    names = {name: module for name, module in root.named_modules(remove_duplicate=False) if name}
    if asked not in names:
        near = difflib.get_close_matches(asked, names, n=3, cutoff=0.5)
        children = [name for name, _ in root.named_children()]
        raise ModelInvalid(
            f"cut point {asked!r} is no module of the model",
            allowed=f"names from named_modules(), at the top level {', '.join(children)}",
            remedy=f"did you mean {' or '.join(near)}?" if near else "correct the layer's name",
        )
    paths: list[str] = [name for name, module in root.named_modules() if module is names[asked]]
    return paths[0]


def _refuse_uncalled(trace: Trace, asked: str, path: str) -> ModelInvalid:
    mode = "training" if trace.training else "evaluation"
    parents = [path.rsplit(".", depth)[0] for depth in range(1, path.count(".") + 1)]
    for parent in parents:
        if any(call.is_leaf for call in trace.find_calls(parent)):
            kind = type(trace.root.get_submodule(parent)).__name__
            return ModelInvalid(
                f"cut point {asked!r} is hidden inside {parent!r}: a {kind} is one operation to the trace",
                allowed=f"{parent} itself, or any module before or after it",
                remedy=f"cut after {parent}, or write its layers out in the model's own forward",
            )
    module = trace.root.get_submodule(path)
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        members = ", ".join(f"{asked}.{name}" for name, _ in module.named_children())
        return ModelInvalid(
            f"cut point {asked!r} is a {type(module).__name__}, which is never called itself",
            allowed=members or "a module that forward calls",
            remedy="name one of its members",
        )
    return ModelInvalid(
        f"cut point {asked!r} is never called by the model's forward in {mode} mode",
        allowed="modules that forward calls in training and in evaluation",
        remedy="cut after one of those",
    )
