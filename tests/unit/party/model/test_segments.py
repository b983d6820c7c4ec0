"""Segments keep the model's names, hold nothing of anybody else's, and agree on the wire plan."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from splittraining.api.errors import ModelCodeFailed, OutOfMemory
from splittraining.api.wire_plan import DType, ValueSource
from splittraining.party.model.cut import CutModel
from splittraining.party.model.stages import StageSpec
from support.in_process import MOMENTUM, Batch, Crew, cut, u_shaped, vanilla
from support.models import Attention, Cnn, Lambda, Mlp, NoisyNet, Recurrent, SkipNet, Tied, TwoTowers

LABEL = torch.zeros(4, dtype=torch.int64)


def batch(*shape: int) -> Batch:
    return {"x": torch.randn(4, *shape)}, LABEL


def test_segments_together_have_the_models_names_and_objects_and_no_name_twice() -> None:
    model = Cnn()

    segments = cut(model, vanilla("norm"), batch(1, 8, 8)).segments

    names = [name for segment in segments for name in (*segment.parameters(), *segment.buffers())]
    assert sorted(names) == sorted(model.state_dict())
    assert all(p is model.get_parameter(n) for segment in segments for n, p in segment.parameters().items())
    assert list(segments[0].parameters()) == ["stem.weight", "stem.bias", "norm.weight", "norm.bias"]


def test_every_party_derives_the_same_plan_and_another_cut_gives_another() -> None:
    digests = [
        cut(Cnn(), vanilla(layer), batch(1, 8, 8)).wire_plan.compute_digest() for layer in ("norm", "norm", "body.0")
    ]

    assert digests[0] == digests[1] != digests[2]


def test_a_value_of_the_plan_says_its_shape_per_row() -> None:
    plan = cut(Cnn(), vanilla("norm"), batch(1, 8, 8)).wire_plan

    value, label = plan.values
    assert (value.name, value.source, value.dtype) == ("norm", ValueSource.CUT, DType.FLOAT32)
    assert (value.shape, value.batch_dimension, value.differentiable) == ((1, 4, 8, 8), 0, True)
    assert (value.producer, value.consumers) == (0, (1,))
    assert (label.name, label.source, label.dtype, label.shape) == ("label", ValueSource.LABEL, DType.INT64, (1,))
    assert not label.differentiable


def test_rows_that_do_not_come_first_are_told_apart() -> None:
    model = Lambda(lambda m, x: m.b(m.turn(x)).transpose(0, 1), turn=Turn(), b=nn.Linear(3, 3))

    value = cut(model, vanilla("turn"), batch(5, 3)).wire_plan.values[0]

    assert (value.shape, value.batch_dimension, value.compute_shape(4)) == ((5, 1, 3), 1, (5, 4, 3))


class Turn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).transpose(0, 1)


def test_members_of_a_cuts_result_are_numbered_by_their_place_in_it() -> None:
    plan = cut(Recurrent(), vanilla("read"), batch(5, 3)).wire_plan

    assert [value.name for value in plan.values] == ["read", "read#1", "read#2", "label"]
    assert [value.shape for value in plan.values[:3]] == [(1, 5, 5), (1, 1, 5), (1, 1, 5)]
    assert [value.batch_dimension for value in plan.values[:3]] == [0, 1, 1]


def test_skips_of_a_u_shape_stay_with_their_owner_and_labels_with_theirs() -> None:
    plan = cut(SkipNet(), u_shaped("down2", "middle"), batch(1, 8, 8)).wire_plan

    assert {value.name: (value.source, value.producer, value.consumers) for value in plan.values} == {
        "down1_1": (ValueSource.LOCAL, 0, (2,)),
        "down2": (ValueSource.CUT, 0, (1, 2)),
        "middle": (ValueSource.CUT, 1, (2,)),
    }
    sent = [(t.value.name, t.direction, t.sender) for t in plan.iterate_transfers(training=True)]
    assert sent == [
        ("down2", "Forward", "client"), ("middle", "Forward", "server"),
        ("down2", "Backward", "client"), ("middle", "Backward", "client"), ("down2", "Backward", "server"),
    ]  # fmt: skip


def test_the_output_crosses_where_the_label_holder_is_not_the_trunks_owner() -> None:
    stages = (
        StageSpec("one", ("left",), ("left",)),
        StageSpec("two", ("right",), ("right",)),
        StageSpec("server"),
        StageSpec("two", receives_output=True, holds_label=True),
    )

    made = cut(TwoTowers(), stages, ({"left": torch.randn(4, 3), "right": torch.randn(4, 2)}, LABEL))

    assert [(v.name, v.source) for v in made.wire_plan.values] == [
        ("left", ValueSource.CUT), ("right", ValueSource.CUT), ("output", ValueSource.OUTPUT),
    ]  # fmt: skip
    assert made.segments[3].parameters() == {}


def test_values_without_gradient_cross_and_expect_none() -> None:
    model = Lambda(lambda m, x: m.b(m.pick(x)), pick=Pick(), b=nn.Embedding(6, 3))

    made = cut(model, vanilla("pick"), batch(6))

    value = made.wire_plan.values[0]
    assert (value.dtype, value.differentiable) == (DType.INT64, False)
    Crew(made, MOMENTUM).step(batch(6), nn.functional.cross_entropy, 0)
    assert model.pick.linear.weight.grad is None
    assert model.b.weight.grad is not None


class Pick(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).argmax(1)


def test_a_frozen_client_expects_no_gradient() -> None:
    model = Mlp()
    model.first.requires_grad_(requires_grad=False)

    plan = cut(model, vanilla("first"), batch(6)).wire_plan

    assert not plan.values[0].differentiable
    assert [t.direction for t in plan.iterate_transfers(training=True)] == ["Forward", "Forward"]


def test_arguments_with_defaults_that_nobody_gives_keep_them() -> None:
    class Optional(Mlp):
        def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, *rest: Any, scale: float = 2.0) -> Any:
            hidden = super().forward(x, *rest) * scale
            return hidden if mask is None else hidden * mask

    crew = Crew(cut(Optional(), vanilla("first"), batch(6)), MOMENTUM)

    assert crew.forward(batch(6)[0], training=False, step=0).shape == (4, 3)


def test_a_node_that_depends_on_no_data_is_computed_by_everybody_who_needs_it() -> None:
    model = Lambda(
        lambda m, x: m.b(m.a(x + m.scale) * m.scale) + x.new_ones(x.size(0), 6).cumsum(0),
        a=nn.Linear(6, 6), b=nn.Linear(6, 6), scale=torch.full((6,), 3.0),
    )  # fmt: skip
    given = batch(6)

    made = cut(model, vanilla("a"), given)

    assert [value.name for value in made.wire_plan.values] == ["a", "label"]
    with torch.no_grad():
        expected = model.eval()(given[0]["x"])
    assert torch.equal(Crew(made, MOMENTUM).forward(given[0], training=False, step=0), expected)
    assert [sorted(segment.buffers()) for segment in made.segments] == [["scale"], []]


def test_an_updated_buffer_is_updated_once_per_step_and_not_by_cutting() -> None:
    model = Lambda(
        lambda m, x: (m.steps.add_(1), m.b(m.a(x)) * m.steps)[1],
        a=nn.Linear(6, 6), b=nn.Linear(6, 3), steps=torch.zeros(()),
    )  # fmt: skip
    crew = Crew(cut(model, vanilla("a"), batch(6)), MOMENTUM)
    assert float(model.steps) == 0

    for step in range(3):
        crew.step(batch(6), nn.functional.cross_entropy, step)

    assert float(model.steps) == 3
    assert list(crew.cut.segments[1].buffers()) == ["steps"]


def test_cutting_leaves_batch_statistics_alone() -> None:
    model = NoisyNet()

    cut(model, vanilla("first"), batch(6))

    assert int(model.first[1].num_batches_tracked) == 0
    assert torch.equal(model.first[1].running_mean, torch.zeros(16))


def test_parameters_that_nobody_uses_go_to_the_last_owner_and_are_noted() -> None:
    model = Mlp()
    model.spare = nn.Linear(2, 2)

    made = cut(model, vanilla("first"), batch(6))

    assert "spare.weight" in made.segments[1].parameters()
    assert made.report.notes == ("no operation uses spare.weight, spare.bias; server keeps them as they are",)


def test_a_layer_of_one_mode_only_belongs_to_the_segment_all_the_same() -> None:
    model = Lambda(_extra_head_in_training, a=nn.Linear(6, 6), b=nn.Linear(6, 3), extra=nn.Linear(6, 3))

    made = cut(model, vanilla("a"), batch(6))

    assert "extra.weight" in made.segments[1].parameters()
    assert made.report.notes == ()


def _extra_head_in_training(model: Any, x: torch.Tensor) -> torch.Tensor:
    hidden = model.a(x)
    return model.b(hidden) + model.extra(hidden) if model.training else model.b(hidden)


def test_a_class_token_made_from_a_parameter_alone_belongs_to_who_uses_it() -> None:
    stages = (StageSpec("client", ("embed",), ("tokens",), holds_label=True), StageSpec("server"))

    made = cut(Attention(), stages, ({"tokens": torch.zeros(4, 5, dtype=torch.int64)}, LABEL))

    assert list(made.segments[0].parameters()) == ["embed.weight"]
    assert "token" in made.segments[1].parameters()


def test_a_party_keeps_only_its_own_weights_in_memory() -> None:
    model = Cnn()
    made = cut(model, vanilla("norm"), batch(1, 8, 8))
    storages = {name: weakref.ref(p.untyped_storage()) for name, p in model.named_parameters()}
    kept = set(made.segments[0].parameters())
    values = {name: p.detach().clone() for name, p in made.segments[0].parameters().items()}

    made.keep_only("client")
    gc.collect()

    sizes = {name: p.untyped_storage().nbytes() for name, p in model.named_parameters()}
    assert {name for name, size in sizes.items() if size} == kept
    assert all(torch.equal(p, values[name]) for name, p in made.segments[0].parameters().items())
    assert storages.keys() > kept
    sent = made.segments[0].forward({"x": torch.randn(4, 1, 8, 8)}, {}, training=True, step=0)
    assert list(sent) == ["norm"]


def test_an_owner_of_two_stages_keeps_both() -> None:
    model = Tied()
    made = cut(model, u_shaped("first@2", "middle"), ({"x": torch.randn(4, 16)}, torch.zeros(4, 16)))

    made.keep_only("client")

    assert {n for n, p in model.named_parameters() if p.numel()} == {"first.weight", "first.bias", "last.bias"}


def test_a_cut_model_is_let_go_with_its_parameters() -> None:
    def use() -> list[weakref.ref[Any]]:
        model = Mlp()
        crew = Crew(cut(model, vanilla("first"), batch(6)), MOMENTUM)
        crew.step(batch(6), nn.functional.cross_entropy, 0)
        return [weakref.ref(parameter) for parameter in model.parameters()]

    references = use()
    gc.collect()

    assert [reference() for reference in references] == [None] * 6


def test_the_report_says_who_runs_what() -> None:
    report = cut(Cnn(), vanilla("body.0"), batch(1, 8, 8)).report

    assert [(s.owner, s.layers) for s in report.segments] == [
        ("client", ("stem", "norm", "relu", "body.0")), ("server", ("body.1", "body.2", "head")),
    ]  # fmt: skip
    assert sum(segment.num_parameters for segment in report.segments) == sum(p.numel() for p in Cnn().parameters())
    assert report.wire_plan_digest == report.wire_plan.compute_digest()


def test_evaluation_follows_a_models_own_idea_of_training_mode() -> None:
    class FrozenNorm(Cnn):
        def train(self, mode: bool = True) -> FrozenNorm:  # noqa: FBT001, FBT002
            super().train(mode)
            self.norm.eval()
            return self

    model = FrozenNorm()
    Crew(cut(model, vanilla("norm"), batch(1, 8, 8)), MOMENTUM).step(batch(1, 8, 8), nn.functional.cross_entropy, 0)

    assert int(model.norm.num_batches_tracked) == 0
    assert int(model.body[1].num_batches_tracked) == 1


def _run(made: CutModel, arguments: Any) -> None:
    made.segments[0].forward(arguments, {}, training=True, step=5)


def test_an_operation_that_raises_is_told_with_stage_and_step() -> None:
    made = cut(Lambda(lambda m, x: m.b(m.a(x)), a=nn.Embedding(5, 6), b=nn.Linear(6, 3)), vanilla("a"), (
        {"x": torch.zeros(4, dtype=torch.int64)}, LABEL,
    ))  # fmt: skip

    for _ in range(2):  # the first run and the later ones take different ways
        with pytest.raises(ModelCodeFailed, match=r"stage 0 \(client\) at step 5 raised IndexError"):
            _run(made, {"x": torch.full((4,), 9)})


def test_memory_that_runs_out_is_told_as_such() -> None:
    class Hungry(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.empty(2**60 // max(1, x.shape[0]) if type(x) is torch.Tensor else 1)
            return super().forward(x)

    Hungry.__module__ = "torch.nn"  # a leaf, so that it runs in every step

    made = cut(Lambda(lambda m, x: m.b(m.a(x)), a=Hungry(6, 6), b=nn.Linear(6, 3)), vanilla("a"), batch(6))

    with pytest.raises(OutOfMemory, match="ran out of memory"):
        _run(made, batch(6)[0])
