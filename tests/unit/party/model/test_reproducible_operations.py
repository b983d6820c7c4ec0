"""What cannot give the same bits every time is refused by name where numerics are Exact, forward and backward.

Legend: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splittraining.api.errors import NumericsInvalid
from splittraining.party.training.stage import StageRunner
from support.in_process import Batch, cut, vanilla
from support.models import Lambda, Mlp, Recurrent


@pytest.fixture(autouse=True)
def _switch_as_it_was() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(mode=before)


def unpool(x: Tensor) -> Tensor:
    """Uses one of the few operations that have no deterministic form on the CPU."""
    places_B111 = torch.zeros_like(x[:, :1, None, None], dtype=torch.int64)
    return F.max_unpool2d(x[:, :1, None, None], places_B111, 2)[:, 0, 0]


def make_batch(*shape: int) -> Batch:
    return {"x": torch.randn(4, *shape)}, torch.zeros(4, dtype=torch.int64)


def build_client(model: nn.Module, batch: Batch, at: str, *, exact: bool = True) -> StageRunner:
    made = cut(model, vanilla(at), batch, exact=exact)
    return StageRunner(made.segments[0], made.wire_plan)


def test_in_the_forward_pass() -> None:
    batch = make_batch(6)
    model = Lambda(lambda m, x: m.head(m.last(unpool(m.first(x)))), first=nn.Linear(6, 6), last=nn.ReLU())
    model.head = nn.Linear(2, 3)
    client = build_client(model, batch, "last")
    torch.use_deterministic_algorithms(mode=True)
    with pytest.raises(NumericsInvalid, match=r"stage 0 .* uses max_unpooling2d_forward_out.* no deterministic form"):
        client.forward(batch[0], {}, training=True, step=3)


def test_in_the_backward_pass() -> None:
    model, batch = Mlp(), make_batch(6)
    client = build_client(model, batch, "first")
    torch.use_deterministic_algorithms(mode=True)
    model.first.weight.register_hook(lambda gradient: gradient + unpool(gradient).sum())
    client.forward(batch[0], {}, training=True, step=3)
    with pytest.raises(NumericsInvalid, match=r"backward pass of stage 0 .client. uses max_unpooling2d_forward_out"):
        client.backward({"first": torch.ones(4, 8)})


def test_another_error_of_the_backward_pass_stays_what_it_is() -> None:
    batch = make_batch(6)
    client = build_client(Mlp(), batch, "first")
    client.forward(batch[0], {}, training=True, step=3)
    with pytest.raises(RuntimeError, match="shape"):
        client.backward({"first": torch.ones(4, 7)})


def test_a_recurrent_layer_that_drops_out_inside_itself_is_refused_on_a_gpu() -> None:
    model, batch = Recurrent(num_layers=2, dropout=0.2), make_batch(4, 3)
    with pytest.raises(NumericsInvalid, match=r"LSTM\(dropout=0.2\) on CUDA keeps random state of its own"):
        build_client(model, batch, "read").segment.to(torch.device("cuda", 0))
    assert all(tensor.device.type == "cpu" for tensor in model.parameters())
