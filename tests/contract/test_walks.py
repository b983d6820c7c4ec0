"""Both ways to walk a model without values, with meta tensors and with fake ones, see the same in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from splittraining.api.errors import ModelInvalid
from splittraining.api.spec.model import InputSpec
from splittraining.api.wire_plan import DType
from splittraining.party.model.shapes import Walk, walk_on_meta, walk_with_fakes
from splittraining.party.model.trace import Trace, trace_model
from support.models import Attention, Cnn, Mlp, NoisyNet, Patches, Recurrent, Residual, SkipNet, Tied
from support.small_models import build_halves, build_summed, build_summed_rows, build_u_net

ROWS = 6
MODELS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "layers in a row": (Mlp(), (6,)),
    "BatchNorm and writes in place": (Cnn(), (1, 8, 8)),
    "a sum with what came before": (Residual(), (1, 8, 8)),
    "skips past the middle": (SkipNet(), (1, 8, 8)),
    "a state of several tensors": (Recurrent(num_layers=2), (4, 3)),
    "random numbers": (NoisyNet(), (6,)),
    "views that lie transposed": (Patches(), (3, 8, 8)),
    "one parameter under two names": (Tied(), (16,)),
    "halves of a value": (build_halves(), (1, 8, 8)),
    "an expanded sum": (build_summed(), (1, 8, 8)),
    "a sum over rows": (build_summed_rows(), (1, 8, 8)),
    "a U-Net": (build_u_net(), (1, 8, 8)),
}


def describe(trace: Trace, walk: Walk) -> list[tuple[str, list[Any], list[int]]]:
    """Returns what a walk saw of every node: its tensors, which of them share memory, and into which it writes."""
    numbers: dict[int, int] = {}
    seen = []
    for node in trace.graph.nodes:
        leaves: list[Any] = []
        for leaf in pytree.tree_leaves(walk.env[node]):
            if isinstance(leaf, torch.Tensor):
                memory = leaf.untyped_storage()._cdata
                number = numbers.setdefault(memory, len(numbers))
                leaves.append((tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.requires_grad, number))
            else:
                leaves.append(leaf)
        seen.append((node.name, leaves, sorted(numbers[memory] for memory in walk.writes[node])))
    return seen


def walk_both_ways(model: nn.Module, inputs: Mapping[str, InputSpec], *, training: bool) -> list[Any]:
    trace = trace_model(model, inputs=list(inputs), training=training)
    return [describe(trace, walk(trace, inputs, ROWS)) for walk in (walk_on_meta, walk_with_fakes)]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("model", "shape"), MODELS.values(), ids=MODELS)
def test_both_walks_see_the_same(model: nn.Module, shape: tuple[int, ...], *, training: bool) -> None:
    inputs = {"x": InputSpec(name="x", dtype=DType.FLOAT32, shape=list(shape))}
    on_meta, with_fakes = walk_both_ways(model, inputs, training=training)
    assert on_meta == with_fakes


def test_both_walks_see_the_same_in_attention() -> None:
    inputs = {"tokens": InputSpec(name="tokens", dtype=DType.INT64, shape=[5])}
    on_meta, with_fakes = walk_both_ways(Attention(), inputs, training=True)
    assert on_meta == with_fakes


def test_a_layout_that_only_the_device_knows_how_to_hand_on_ends_the_walk_with_meta_tensors() -> None:
    inputs = {"x": InputSpec(name="x", dtype=DType.FLOAT32, shape=[1, 8, 8])}
    trace = trace_model(Cnn().to(memory_format=torch.channels_last), inputs=["x"], training=True)
    with pytest.raises(ModelInvalid, match="a layout of its own, such as channels last"):
        walk_on_meta(trace, inputs, ROWS)
