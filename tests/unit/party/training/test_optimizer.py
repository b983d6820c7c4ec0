"""Optimizers: PyTorch's own to the bit, and a state that another client can go on with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from splittraining.api.errors import ProtocolViolation
from splittraining.api.spec.training import OptimizerName, OptimizerSpec
from splittraining.party.training.optimizer import build_optimizer, export_optimizer_state, import_optimizer_state
from splittraining.party.training.sealed_state import copy_state_into, pack_state, unpack_state

Plain = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

MOMENTUM = OptimizerSpec(name=OptimizerName.SGD, learning_rate="0.05", momentum="0.9", weight_decay="0.01")
ADAM = OptimizerSpec(name=OptimizerName.ADAM, learning_rate="0.01")
ADAMW = OptimizerSpec(name=OptimizerName.ADAMW, learning_rate="0.01")
PLAIN: list[tuple[OptimizerSpec, Plain]] = [
    (OptimizerSpec(name=OptimizerName.SGD, learning_rate="0.1"), lambda p: torch.optim.SGD(p, lr=0.1)),
    (MOMENTUM, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01)),
    (ADAM, lambda p: torch.optim.Adam(p, lr=0.01)),
    (ADAM.model_copy(update={"weight_decay": "0.02"}), lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.02)),
    (
        ADAMW.model_copy(update={"weight_decay": "0.01", "beta1": "0.8", "beta2": "0.99", "epsilon": "1e-6"}),
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.01, betas=(0.8, 0.99), eps=1e-6),
    ),
]


def a_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: Iterable[int]) -> None:
    for step in steps:
        batch = torch.randn(6, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(batch) ** 2).mean().backward()
        optimizer.step()


def hand_over(spec: OptimizerSpec, rounds: int, *, with_state: bool) -> dict[str, Tensor]:
    """Three clients in turn, each going on with the weights of the one before."""
    models = [a_model() for _ in range(3)]
    named = [dict(model.named_parameters()) for model in models]
    optimizers = [build_optimizer(spec, parameters) for parameters in named]
    turns = [index % 3 for index in range(rounds)]
    step = 0
    for number, (turn, following) in enumerate(pairwise([*turns, 0])):
        train(models[turn], optimizers[turn], range(step, step + 1 + number % 2))
        step += 1 + number % 2
        state = export_optimizer_state(optimizers[turn], named[turn]) if with_state else {}
        packed = pack_state(named[turn], {}, state, {})
        taken = unpack_state(packed, parameters=named[following], buffers={})
        copy_state_into(taken, parameters=named[following], buffers={})
        import_optimizer_state(optimizers[following], named[following], taken.optimizer)
    return {name: parameter.detach() for name, parameter in named[0].items()}


def train_alone(spec: OptimizerSpec, rounds: int) -> dict[str, Tensor]:
    model = a_model()
    named = dict(model.named_parameters())
    train(model, build_optimizer(spec, named), range(sum(1 + number % 2 for number in range(rounds))))
    return {name: parameter.detach() for name, parameter in named.items()}


def are_equal(ones: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, others[name]) for name, tensor in ones.items())


@pytest.mark.parametrize(("spec", "build_plain"), PLAIN, ids=["SGD", "momentum", "Adam", "Adam with decay", "AdamW"])
def test_weights_are_bit_equal_to_torchs_own_optimizer(spec: OptimizerSpec, build_plain: Plain) -> None:
    ours, plain = a_model(), a_model()
    train(ours, build_optimizer(spec, dict(ours.named_parameters())), range(10))
    train(plain, build_plain(plain.parameters()), range(10))
    assert are_equal(dict(ours.named_parameters()), dict(plain.named_parameters()))


@pytest.mark.parametrize("spec", [MOMENTUM, ADAM, ADAMW], ids=["momentum", "Adam", "AdamW"])
def test_training_in_turns_is_bit_equal_to_training_alone_with_the_state_and_not_without(spec: OptimizerSpec) -> None:
    alone = train_alone(spec, 7)
    assert are_equal(alone, hand_over(spec, 7, with_state=True))
    assert not are_equal(alone, hand_over(spec, 7, with_state=False))


def test_a_parameter_that_never_got_a_gradient_has_no_state_after_the_hand_over_either() -> None:
    named = {"used": nn.Parameter(torch.ones(2)), "frozen": nn.Parameter(torch.ones(3), requires_grad=False)}
    optimizer = build_optimizer(ADAM, named)
    named["used"].sum().backward()
    optimizer.step()
    state = export_optimizer_state(optimizer, named)
    assert {name.partition("/")[0] for name in state} == {"used"}
    import_optimizer_state(optimizer, named, state)
    assert named["frozen"] not in optimizer.state


def test_a_state_taken_over_replaces_all_of_the_old_one() -> None:
    model = a_model()
    named = dict(model.named_parameters())
    optimizer = build_optimizer(ADAM, named)
    train(model, optimizer, range(2))
    import_optimizer_state(optimizer, named, {})
    assert export_optimizer_state(optimizer, named) == {}


def test_later_steps_do_not_write_into_a_state_that_was_handed_out_or_in() -> None:
    model = a_model()
    named = dict(model.named_parameters())
    optimizer = build_optimizer(ADAM, named)
    train(model, optimizer, range(1))
    state = export_optimizer_state(optimizer, named)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    train(model, optimizer, range(1, 3))
    assert are_equal(kept, state)
    import_optimizer_state(optimizer, named, state)
    train(model, optimizer, range(1, 3))
    assert are_equal(kept, state)


def test_an_owner_without_parameters_can_step() -> None:
    for spec, _ in PLAIN:
        optimizer = build_optimizer(spec, {})
        optimizer.zero_grad()
        optimizer.step()
        assert export_optimizer_state(optimizer, {}) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"9.weight/step": torch.tensor(1.0)}, "'9.weight/step' belongs to no parameter"),
        ({"0.weight/max_exp_avg_sq": torch.zeros(5, 4)}, "'0.weight/max_exp_avg_sq' belongs to no parameter"),
        ({"0.weight/exp_avg": torch.zeros(4, 5)}, r"'0.weight/exp_avg' has shape \(4, 5\)"),
        ({"0.weight/exp_avg": torch.zeros(5, 4, dtype=torch.float64)}, "dtype torch.float64"),
        ({"0.weight/step": torch.zeros(2)}, r"'0.weight/step' has shape \(2,\)"),
        ({"0.weight/step": None}, r"'0.weight' lacks \['step'\]"),
    ],
    ids=["parameter", "key", "shape", "dtype", "step", "missing"],
)
def test_a_state_of_another_segment_is_refused_and_changes_nothing(
    change: dict[str, Tensor | None], message: str
) -> None:
    model = a_model()
    named = dict(model.named_parameters())
    optimizer = build_optimizer(ADAM, named)
    train(model, optimizer, range(2))
    before = export_optimizer_state(optimizer, named)
    wrong = {name: tensor for name, tensor in (before | change).items() if tensor is not None}
    with pytest.raises(ProtocolViolation, match=message):
        import_optimizer_state(optimizer, named, wrong)
    assert are_equal(before, export_optimizer_state(optimizer, named))


def test_the_state_of_an_adam_is_refused_by_an_sgd() -> None:
    model = a_model()
    named = dict(model.named_parameters())
    optimizer = build_optimizer(ADAM, named)
    train(model, optimizer, range(1))
    with pytest.raises(ProtocolViolation, match="momentum_buffer"):
        import_optimizer_state(build_optimizer(MOMENTUM, named), named, export_optimizer_state(optimizer, named))
