"""Which parameters a pattern names: for freezing, and for groups with a learning rate or decay of their own.

Patterns are held against the names of the whole, unsplit model, which every party builds. So all parties find the same
mistakes, and a pattern may name parameters of any owner.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from splittraining.api.errors import ModelInvalid
from splittraining.api.spec.training import TrainingSpec
from splittraining.api.spec.update import ParameterGroupSpec


def freeze_parameters(model: nn.Module, patterns: Sequence[str]) -> None:
    """Takes parameters out of the training, before the model is traced: no gradient flows to them, or for them.

    Raises:
        ModelInvalid: if a pattern names nothing, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        for name in _match(pattern, parameters, "training.freeze"):
            parameters[name].requires_grad = False
    if patterns and not any(parameter.requires_grad for parameter in parameters.values()):
        raise ModelInvalid(
            f"training.freeze freezes all {len(parameters)} parameters of the model",
            allowed="at least one parameter that is trained",
            remedy="take a pattern out of training.freeze",
        )


def check_parameter_groups(training: TrainingSpec, model: nn.Module) -> None:
    """Refuses groups that would do nothing, in the whole model.

    Raises:
        ModelInvalid: if a pattern names nothing, or a group has no parameter that is trained.
    """
    names = [name for name, _ in model.named_parameters()]
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = training.optimizer.parameter_groups
    for index, group in enumerate(groups):
        for pattern in group.parameters:
            _match(pattern, names, f"training.optimizer.parameterGroups[{index}]")
    members = assign_groups(groups, names)
    for index, group in enumerate(groups):
        if not trained & {name for name, number in members.items() if number == index}:
            raise ModelInvalid(
                f"training.optimizer.parameterGroups[{index}] ({', '.join(group.parameters)}) changes no parameter: all"
                " that it names are frozen or belong to an earlier group",
                allowed="groups with at least one parameter that is trained",
                remedy="remove the group, or put it before the one that takes its parameters",
            )


def assign_groups(groups: Sequence[ParameterGroupSpec], names: Iterable[str]) -> dict[str, int]:
    """Returns each parameter's group, the first that names it; -1 for those that no group names."""
    return {
        name: next(
            (
                index
                for index, group in enumerate(groups)
                if any(fnmatchcase(name, pattern) for pattern in group.parameters)
            ),
            -1,
        )
        for name in names
    }


def _match(pattern: str, names: Collection[str] | Mapping[str, object], place: str) -> list[str]:
    matched = [name for name in names if fnmatchcase(name, pattern)]
    if matched:
        return matched
    near = difflib.get_close_matches(pattern, list(names), n=3, cutoff=0.4) or sorted(names)[:3]
    raise ModelInvalid(
        f"{place}: {pattern!r} matches no parameter of the model",
        allowed="patterns over the names in named_parameters() of the whole model, such as " + ", ".join(near),
        remedy="correct the pattern; `*` stands for any characters, dots too",
    )
