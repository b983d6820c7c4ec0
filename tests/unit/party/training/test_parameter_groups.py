"""Patterns over parameter names: who is frozen, who is in which group, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from splittraining.api.errors import ModelInvalid
from splittraining.api.spec.training import OptimizerName, OptimizerSpec, TrainingSpec
from splittraining.api.spec.update import ParameterGroupSpec
from splittraining.party.training.optimizer import build_optimizer, export_optimizer_state, import_optimizer_state
from splittraining.party.training.parameter_groups import assign_groups, check_parameter_groups, freeze_parameters

NO_DECAY = ParameterGroupSpec(parameters=("*.bias", "norm.*"), weight_decay="0")
SLOW = ParameterGroupSpec(parameters=("first.*",), learning_rate_factor="0.1")


def a_model() -> nn.Module:
    return nn.ModuleDict({"first": nn.Linear(3, 3), "norm": nn.BatchNorm1d(3), "last": nn.Linear(3, 2)})


def an_optimizer_spec(*groups: ParameterGroupSpec) -> OptimizerSpec:
    return OptimizerSpec(
        name=OptimizerName.SGD, learning_rate="0.5", momentum="0.9", weight_decay="0.01", parameter_groups=groups
    )


def a_training(*groups: ParameterGroupSpec) -> TrainingSpec:
    return TrainingSpec(batch_size=4, optimizer=an_optimizer_spec(*groups))


def list_frozen(model: nn.Module) -> list[str]:
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


def test_a_parameter_belongs_to_the_first_group_that_names_it() -> None:
    names = [name for name, _ in a_model().named_parameters()]
    groups = assign_groups([NO_DECAY, SLOW], names)
    assert {name for name, index in groups.items() if index == 0} == {
        "first.bias",
        "norm.weight",
        "norm.bias",
        "last.bias",
    }
    assert {name for name, index in groups.items() if index == 1} == {"first.weight"}
    assert groups["last.weight"] == -1


def test_each_group_has_its_own_rate_and_decay() -> None:
    optimizer = build_optimizer(an_optimizer_spec(NO_DECAY, SLOW), dict(a_model().named_parameters()))
    told = [(len(group["params"]), group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert told == [(1, 0.5, 0.01), (4, 0.5, 0.0), (1, 0.05, 0.01)]


def test_the_state_of_several_groups_travels_by_name() -> None:
    first, second = a_model(), a_model()
    spec = an_optimizer_spec(NO_DECAY, SLOW)
    named, others = dict(first.named_parameters()), dict(second.named_parameters())
    optimizer, other = build_optimizer(spec, named), build_optimizer(spec, others)
    for parameter in named.values():
        parameter.grad = torch.randn(parameter.shape)
    optimizer.step()
    state = export_optimizer_state(optimizer, named)
    import_optimizer_state(other, others, state)
    again = export_optimizer_state(other, others)
    assert state.keys() == again.keys()
    assert len(state) == len(named)
    assert all(torch.equal(state[key], again[key]) for key in state)


def test_freezing_takes_what_the_patterns_name() -> None:
    model = a_model()
    freeze_parameters(model, ["first.*", "*.bia[s]"])
    assert list_frozen(model) == ["first.weight", "first.bias", "norm.bias", "last.bias"]


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (["frist.*"], "'frist.*' matches no parameter"),
        (["first.weight", "First.*"], "'First.*' matches no parameter"),
        (["*"], "freezes all 6 parameters"),
    ],
)
def test_freezing_nothing_or_everything_is_refused(patterns: list[str], told: str) -> None:
    with pytest.raises(ModelInvalid) as refused:
        freeze_parameters(a_model(), patterns)
    assert told in str(refused.value)


def test_a_group_that_changes_nothing_is_refused() -> None:
    model = a_model()
    check_parameter_groups(a_training(NO_DECAY, SLOW), model)
    with pytest.raises(ModelInvalid, match=r"parameterGroups\[0\]: 'head\.\*' matches no parameter"):
        check_parameter_groups(a_training(ParameterGroupSpec(parameters=("head.*",), weight_decay="0")), model)
    shadowed = ParameterGroupSpec(parameters=("norm.*",), learning_rate_factor="2")
    with pytest.raises(ModelInvalid, match=r"parameterGroups\[1\] \(norm\.\*\) changes no parameter"):
        check_parameter_groups(a_training(NO_DECAY, shadowed), model)
    freeze_parameters(model, ["first.weight"])
    with pytest.raises(ModelInvalid, match=r"parameterGroups\[1\] \(first\.\*\) changes no parameter"):
        check_parameter_groups(a_training(NO_DECAY, SLOW), model)
