"""Follows the model's forward once with symbolic tensors, and remembers what every module's call returned.

`torch.fx` bakes in what Python decides while tracing: `self.training`, random numbers that depend on no input, the
gradient mode. So the forward is traced twice, in training and in evaluation mode, and what would be baked in silently
is refused here.
"""

# ruff: noqa: ANN401 - the signatures are fx.Tracer's

from __future__ import annotations

import inspect
import operator
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from splittraining.api.errors import ModelInvalid
from splittraining.party.model.failures import render_current_place, render_error, render_place

OPERATIONS = ("call_module", "call_function", "call_method")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an operation stands in the model's own code: the same at every party, wherever the model is cut."""

    path: str
    """Qualified name of the module whose forward the operation belongs to; a leaf module is its own."""
    call: int
    """Which call of that module, counted from one."""
    ordinal: int
    """Which operation of that call, counted from zero."""
    repeat: int
    """How many operations of the same target came before it in that call."""
    place: str
    """File, line and source text."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one module."""

    path: str
    number: int
    is_leaf: bool
    result: tuple[fx.Node, ...]
    """Nodes that the call returned, in order, out of whatever structure it returned them in."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The forward in one mode."""

    root: nn.Module
    training: bool
    graph: fx.Graph
    calls: dict[tuple[str, int], Call]

    @property
    def output(self) -> fx.Node:
        """The graph's output node."""
        return self.graph.output_node()

    def find_calls(self, path: str) -> list[Call]:
        """Returns the calls of one module, first call first."""
        return [call for call in self.calls.values() if call.path == path]


def get_origin(node: fx.Node) -> Origin:
    """Returns where a traced node stands in the model's code."""
    origin = node.meta["origin"]
    assert isinstance(origin, Origin)
    return origin


def get_stable_key(node: fx.Node) -> tuple[object, ...]:
    """Returns what identifies a node in both traces; a name does not, since `if self.training:` shifts its number."""
    origin = get_origin(node)
    member = node.args[1] if node.target is operator.getitem else None
    return (node.op, origin.path, origin.call, str(node.target), origin.repeat, str(member))


def trace_model(root: nn.Module, *, inputs: Sequence[str], training: bool) -> Trace:
    """Traces the forward in one mode.

    Args:
        root: The whole model; left in the traced mode.
        inputs: Names of the forward's arguments that data is given for. Others keep their defaults.
        training: Which mode.

    Raises:
        ModelInvalid: if the forward cannot be followed, with file, line and source text.
    """
    root.train(training)
    tracer = _Tracer(inputs)
    python_random, numpy_random = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002
    mode = _BakedRandomnessRefused()  # type: ignore[no-untyped-call]
    with torch.enable_grad(), mode, _explain_untraceable():
        graph = tracer.trace(root)
    moved = "random" if random.getstate() != python_random else ""
    moved = "numpy.random" if str(np.random.get_state(legacy=False)) != str(numpy_random) else moved  # noqa: NPY002
    if moved:
        raise ModelInvalid(
            f"the model's forward draws from Python's {moved}, once for all steps as far as a trace can see",
            allowed="random numbers drawn by torch operations on tensors",
            remedy="use nn.Dropout, torchvision.ops.stochastic_depth, or x.new_empty(...).bernoulli_(p)",
        )
    return Trace(root, training, graph, tracer.calls)


def check_signature(root: nn.Module, inputs: Sequence[str]) -> None:
    """Refuses inputs that forward does not take, and required arguments that no input gives.

    Raises:
        ModelInvalid: naming the argument.
    """
    parameters = dict(list(inspect.signature(type(root).forward).parameters.items())[1:])
    named = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    unknown = [name for name in inputs if name not in named]
    if unknown:
        raise ModelInvalid(
            f"model.inputs names {', '.join(unknown)}, which {type(root).__name__}.forward does not take",
            allowed=f"its arguments: {', '.join(named) or 'none'}",
            remedy="give the inputs the names of forward's arguments",
        )
    missing = [n for n, p in named.items() if p.default is p.empty and n not in inputs]
    if missing:
        raise ModelInvalid(
            f"{type(root).__name__}.forward needs {', '.join(missing)}, which nobody holds",
            allowed=f"arguments listed in model.inputs: {', '.join(inputs)}",
            remedy="add the argument to model.inputs and name its columns at a client, or give it a default",
        )


class _Tracer(fx.Tracer):
    """A tracer that records calls, origins and buffer accesses."""

    # A buffer read as a plain tensor would be computed with once, while tracing, and never updated again.
    proxy_buffer_attributes = True

    def __init__(self, inputs: Sequence[str]) -> None:
        super().__init__()
        self.calls: dict[tuple[str, int], Call] = {}
        self._inputs = frozenset(inputs)
        self._stack: list[tuple[str, int]] = [("", 1)]
        self._num_calls: Counter[str] = Counter()
        self._num_operations: Counter[tuple[str, int]] = Counter()
        self._num_repeats: Counter[tuple[str, int, str, str]] = Counter()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        path = self.path_of_module(m)
        self._num_calls[path] += 1
        number = self._num_calls[path]
        self._stack.append((path, number))
        try:
            result = super().call_module(m, forward, args, kwargs)
        finally:
            self._stack.pop()
        proxies = [leaf.node for leaf in pytree.tree_leaves(result) if isinstance(leaf, fx.Proxy)]
        self.calls[path, number] = Call(path, number, self.is_leaf_module(m, path), tuple(dict.fromkeys(proxies)))
        return result

    def create_node(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(kind, target, *args, **kwargs)
        path, call = self._stack[-1]
        place = render_current_place() if kind in OPERATIONS else ""
        if kind in OPERATIONS:
            _refuse_modes_that_fx_forgets(place)
        repeat_key = (path, call, kind, str(target))
        ordinal = self._num_operations[path, call]
        node.meta["origin"] = Origin(path, call, ordinal, self._num_repeats[repeat_key], place)
        self._num_repeats[repeat_key] += 1
        self._num_operations[path, call] += kind in OPERATIONS
        return node

    def _proxy_placeholder(self, name: str, concrete_args: Any, sig: inspect.Signature, fn_for_analysis: Any) -> Any:
        # An argument that nobody gives keeps its default, so that `if mask is None` goes the way it will go.
        if name.startswith("*"):
            return _KeptDict() if name.startswith("**") else _KeptTuple()
        if name not in self._inputs:
            default = sig.parameters[name].default
            kept: dict[type, Any] = {tuple: _KeptTuple, list: _KeptList, dict: _KeptDict}
            return kept[type(default)](default) if type(default) in kept else default
        return super()._proxy_placeholder(name, concrete_args, sig, fn_for_analysis)


class _KeptTuple(tuple[Any, ...]):
    """A default that fx leaves whole: it would take a plain tuple apart into arguments."""

    __slots__ = ()


class _KeptList(list[Any]):
    """As _KeptTuple."""


class _KeptDict(dict[Any, Any]):
    """As _KeptTuple."""


def _refuse_modes_that_fx_forgets(place: str) -> None:
    if not torch.is_grad_enabled():
        raise ModelInvalid(
            f"the model switches gradients off at {place}; a trace forgets that",
            remedy="use x.detach() on the values instead of torch.no_grad()",
        )
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise ModelInvalid(
            f"the model switches autocast on at {place}; a trace forgets that",
            remedy="convert explicitly with x.to(dtype)",
        )


class _BakedRandomnessRefused(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses random numbers drawn while tracing: they would be the same in every step."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise ModelInvalid(
                f"the model draws random numbers that depend on no input at {render_current_place()}; a trace would "
                "keep one draw for all steps",
                remedy="draw them from a tensor: torch.rand_like(x), or x.new_empty(shape).bernoulli_(p)",
            )
        return func(*args, **(kwargs or {}))


@contextmanager
def _explain_untraceable() -> Iterator[None]:
    try:
        yield
    except ModelInvalid:
        raise
    except Exception as error:
        place = render_place(error)
        raise ModelInvalid(
            f"the model's forward cannot be traced{f' at {place}' if place else ''}: {render_error(error)}",
            allowed="what torch.fx follows: no `if`, `for`, `len()`, `int()` or `assert` on a tensor's values or on "
            "sizes that depend on the batch",
            remedy="write that line with tensor operations: torch.where for `if`; x.new_zeros(x.size(0), 8) for "
            "torch.zeros(x.size(0), 8); a fixed number for a loop over x.shape",
        ) from error
