"""A cut model trains to the same bits as the same model uncut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from splittraining.party.model.stages import StageSpec
from splittraining.party.model.topology import build_uncut_stages
from support.in_process import (
    ADAM,
    MOMENTUM,
    Batch,
    Optimizer,
    assert_same,
    describe_inputs,
    train_cut,
    train_plain,
    u_shaped,
    vanilla,
)
from support.models import Attention, Cnn, Mlp, NoisyNet, Patches, Recurrent, Residual, SkipNet, Tied, TwoTowers


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    yield
    torch.set_num_threads(before)


def make_batches(*shape: int, rows: tuple[int, ...] = (6, 6, 6, 3), classes: int = 3) -> list[Batch]:
    return [({"x": torch.randn(n, *shape)}, torch.randint(classes, (n,))) for n in rows]


OPTIMIZERS = pytest.mark.parametrize("optimizer", [MOMENTUM, ADAM], ids=["momentum", "adam"])


@OPTIMIZERS
@pytest.mark.parametrize("cut", ["first", "second"])
def test_an_mlp_equals_plain_torch_wherever_it_is_cut(cut: str, optimizer: Optimizer) -> None:
    model, batches = Mlp(), make_batches(6)

    split = train_cut(model, vanilla(cut), batches, optimizer=optimizer)

    assert_same(split, train_plain(model, batches, optimizer=optimizer))


@OPTIMIZERS
@pytest.mark.parametrize("cut", ["stem", "norm", "relu", "body.0", "body.1", "body"])
def test_a_convolutional_net_equals_plain_torch_wherever_it_is_cut(cut: str, optimizer: Optimizer) -> None:
    model, batches = Cnn(), make_batches(1, 8, 8)

    split = train_cut(model, vanilla(cut), batches, optimizer=optimizer)

    assert_same(split, train_plain(model, batches, optimizer=optimizer))


def test_a_channels_last_net_equals_plain_torch() -> None:
    model = Cnn().to(memory_format=torch.channels_last)
    model.body.add_module("mix", nn.Conv2d(6, 6, 1).to(memory_format=torch.channels_last))
    batches = [
        ({"x": inputs["x"].to(memory_format=torch.channels_last)}, label) for inputs, label in make_batches(1, 8, 8)
    ]
    model.head = nn.Linear(6, 3)
    model.body.add_module("pool", nn.AdaptiveAvgPool2d(1))

    assert_same(train_cut(model, vanilla("norm"), batches), train_plain(model, batches))


def test_a_value_that_lies_transposed_in_memory_equals_plain_torch() -> None:
    model, batches = Patches(), make_batches(3, 16, 16)

    assert_same(train_cut(model, vanilla("embed"), batches), train_plain(model, batches))


@pytest.mark.parametrize(("cut", "extra"), [("stem", ()), ("conv", ("stem_1",))], ids=["two readers", "listed skip"])
def test_a_residual_block_equals_plain_torch(cut: str, extra: tuple[str, ...]) -> None:
    model, batches = Residual(), make_batches(1, 8, 8)

    split = train_cut(model, vanilla(cut), batches, optimizer=ADAM, extra=extra)

    assert_same(split, train_plain(model, batches, optimizer=ADAM))


@OPTIMIZERS
def test_a_u_shape_equals_plain_torch_with_skips_of_which_one_is_the_cut_value(optimizer: Optimizer) -> None:
    model, batches = SkipNet(), make_batches(1, 8, 8)

    split = train_cut(model, u_shaped("down2", "middle"), batches, optimizer=optimizer)

    assert_same(split, train_plain(model, batches, optimizer=optimizer))


def test_a_weight_that_one_owner_uses_at_both_ends_equals_plain_torch() -> None:
    model = Tied()
    batches = [({"x": torch.randn(5, 16)}, torch.randn(5, 16)) for _ in range(8)]

    split = train_cut(model, u_shaped("first@2", "middle"), batches, loss=nn.functional.mse_loss)

    assert_same(split, train_plain(model, batches, loss=nn.functional.mse_loss))


def _make_tower_batches() -> list[Batch]:
    return [({"left": torch.randn(n, 3), "right": torch.randn(n, 2)}, torch.randint(3, (n,))) for n in (6, 6, 6, 3)]


TOWERS = (StageSpec("imaging", ("left",), ("left",)), StageSpec("pathology", ("right",), ("right",)))
HOLDERS = {
    "server": (*TOWERS, StageSpec("server", holds_label=True)),
    "registry": (*TOWERS, StageSpec("server"), StageSpec("registry", receives_output=True, holds_label=True)),
    "imaging": (*TOWERS, StageSpec("server"), StageSpec("imaging", receives_output=True, holds_label=True)),
}


@OPTIMIZERS
@pytest.mark.parametrize("holder", HOLDERS)
def test_vertical_towers_equal_the_joint_model_whoever_holds_the_labels(holder: str, optimizer: Optimizer) -> None:
    model, batches = TwoTowers(), _make_tower_batches()

    split = train_cut(model, HOLDERS[holder], batches, optimizer=optimizer)

    assert_same(split, train_plain(model, batches, optimizer=optimizer))


@pytest.mark.parametrize("cut", ["read", "write"])
def test_an_lstm_whose_whole_state_crosses_equals_plain_torch(cut: str) -> None:
    model, batches = Recurrent(), make_batches(4, 3)

    assert_same(train_cut(model, vanilla(cut), batches), train_plain(model, batches))


def _train_uncut(model: nn.Module, batches: list[Batch]) -> object:
    return train_cut(model, build_uncut_stages(describe_inputs(batches[0])), batches, optimizer=ADAM)


@pytest.mark.parametrize("stages", [vanilla("first"), vanilla("second.1"), u_shaped("first.1", "second.0")])
def test_dropout_and_batch_norm_on_both_sides_equal_the_same_engine_uncut(stages: tuple[StageSpec, ...]) -> None:
    model, batches = NoisyNet(), make_batches(6)

    split = train_cut(model, stages, batches, optimizer=ADAM)

    assert_same(split, _train_uncut(model, batches))


def test_attention_with_dropout_equals_the_same_engine_uncut() -> None:
    model = Attention()
    batches: list[Batch] = [({"tokens": torch.randint(11, (n, 5))}, torch.randint(3, (n,))) for n in (6, 6, 3)]
    stages = (StageSpec("client", ("embed",), ("tokens",), holds_label=True), StageSpec("server"))

    split = train_cut(model, stages, batches, optimizer=ADAM)

    assert_same(split, _train_uncut(model, batches))


def test_random_operations_do_not_depend_on_who_else_uses_the_generator() -> None:
    model, batches = NoisyNet(), make_batches(6)
    quiet = train_cut(model, vanilla("first"), batches)

    class Busy(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            super().step(closure)  # type: ignore[arg-type]
            torch.rand(17)

    def build_busy(parameters: list[nn.Parameter]) -> Busy:
        return Busy(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)

    busy = train_cut(model, vanilla("first"), batches, optimizer=build_busy)

    assert_same(quiet, busy)


def test_evaluation_reaches_functional_dropout() -> None:
    batches = make_batches(6)

    class Quiet(NoisyNet):
        def forward(self, x: Tensor) -> Tensor:
            h_BF = nn.functional.dropout(self.first(x), 0.9, self.training)
            return self.head(self.second(h_BF))

    split = train_cut(Quiet(), vanilla("first"), batches)

    whole = Quiet()
    whole.load_state_dict(split.state)
    whole.eval()
    with torch.no_grad():
        assert torch.equal(whole(batches[0][0]["x"]), split.evaluated)
