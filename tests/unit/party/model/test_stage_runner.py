"""One stage forward and backward: what leaves, what comes back, and what is none."""

from __future__ import annotations

import torch
from torch import nn

from splittraining.party.training.stage import StageRunner
from support.in_process import Batch, cut, u_shaped, vanilla
from support.models import Lambda, Mlp, SkipNet


def make_batch(*shape: int) -> Batch:
    torch.manual_seed(1)
    return {"x": torch.randn(4, *shape)}, torch.zeros(4, dtype=torch.int64)


def build_runners(model: nn.Module, stages: object, batch: Batch) -> list[StageRunner]:
    made = cut(model, stages, batch)  # type: ignore[arg-type]
    return [StageRunner(segment, made.wire_plan) for segment in made.segments]


def test_what_leaves_a_stage_is_cut_off_from_its_graph() -> None:
    batch = make_batch(6)
    client, server = build_runners(Mlp(), vanilla("first"), batch)

    sent = client.forward(batch[0], {}, training=True, step=0)
    server.forward({}, sent, training=True, step=0)

    assert client.output is None
    assert sent["first"].grad_fn is None
    assert not sent["first"].requires_grad
    assert server.output is not None
    assert server.output.grad_fn is not None


def test_a_gradient_that_is_none_leaves_the_parameters_without_one() -> None:
    model, batch = Mlp(), make_batch(6)
    client, _ = build_runners(model, vanilla("first"), batch)
    client.forward(batch[0], {}, training=True, step=0)

    assert client.gradient_names == ("first",)
    assert client.backward({"first": None}) == {}

    assert model.first.weight.grad is None


def test_zeros_are_a_gradient() -> None:
    model, batch = Mlp(), make_batch(6)
    client, _ = build_runners(model, vanilla("first"), batch)
    client.forward(batch[0], {}, training=True, step=0)

    client.backward({"first": torch.zeros(4, 8)})

    assert model.first.weight.grad is not None
    client.zero_grad()
    assert model.first.weight.grad is None


def test_a_value_that_does_not_reach_the_loss_gets_none_back() -> None:
    model = Lambda(lambda m, x: m.b(m.a(x).detach()), a=nn.Linear(6, 6), b=nn.Linear(6, 3))
    batch = make_batch(6)
    client, server = build_runners(model, vanilla("a"), batch)
    server.forward({}, client.forward(batch[0], {}, training=True, step=0), training=True, step=0)
    assert server.output is not None

    assert server.backward({}, server.output.sum()) == {"a": None}


def test_a_relayed_gradient_comes_first_in_the_sum() -> None:
    """The last reader's gradient is added first, as autograd does uncut; 1e8 - 1e8 + 1 is not 1 + 1e8 - 1e8."""

    class Thrice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.middle, self.end = nn.Linear(1, 1), Scale(1.0, -1e8), Scale(1e8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.start(x)
            return self.middle(h) + self.end(h)

    class Scale(nn.Module):
        def __init__(self, *factors: float) -> None:
            super().__init__()
            self.factors = factors
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, h: torch.Tensor) -> torch.Tensor:
            parts = [h * factor for factor in self.factors]
            return sum(parts[1:], parts[0]) * self.weight

    batch = make_batch(1)
    first, second, third = build_runners(Thrice(), u_shaped("start", "middle"), batch)
    assert second.gradient_names == ("start", "middle")
    held = first.forward(batch[0], {}, training=True, step=0)
    held |= second.forward({}, held, training=True, step=0)
    third.forward(batch[0], held, training=True, step=0)
    assert third.output is not None

    back = third.backward({}, third.output.sum())
    back |= second.backward(back)

    assert back["start"] is not None
    assert back["start"].flatten().tolist() == [1.0] * 4


def test_a_gradient_keeps_the_memory_layout_that_autograd_gave_it() -> None:
    model = Lambda(lambda m, x: m.head(m.turn(x).flatten(1)), turn=Turned(), head=nn.Linear(2 * 4 * 4, 3))
    batch = make_batch(2, 4, 4)
    client, server = build_runners(model, vanilla("turn"), batch)
    sent = client.forward(batch[0], {}, training=True, step=0)
    assert not sent["turn"].is_contiguous()
    server.forward({}, sent, training=True, step=0)
    assert server.output is not None

    gradient = server.backward({}, server.output.sum())["turn"]

    assert gradient is not None
    assert gradient.is_contiguous()


class Turned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).to(memory_format=torch.channels_last)


def test_evaluation_builds_no_graph() -> None:
    batch = make_batch(1, 8, 8)
    first, second, third = build_runners(SkipNet(), u_shaped("down2", "middle"), batch)

    held = first.forward(batch[0], {}, training=False, step=0)
    held |= second.forward({}, held, training=False, step=0)
    third.forward(batch[0], held, training=False, step=0)

    assert third.output is not None
    assert not third.output.requires_grad
