"""Each owner's optimizer, and its state by parameter name: what a Sequential hand-off carries beside the weights.

The optimizers are PyTorch's own, in their plain loop form: the fused and for-each forms that PyTorch chooses by itself
on a GPU round differently, and a step must be the same wherever the parameters happen to live.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from splittraining.api.errors import ProtocolViolation
from splittraining.api.spec.training import OptimizerName, OptimizerSpec
from splittraining.party.training.parameter_groups import assign_groups

_ADAM_STATE = frozenset({"step", "exp_avg", "exp_avg_sq"})
_STEP = "step"


def build_optimizer(spec: OptimizerSpec, named_parameters: Mapping[str, torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Builds the optimizer of one owner over its parameters, in the order given.

    An owner without parameters (a label holder, for example) gets one over none, whose steps do nothing. Groups that
    have none of this owner's parameters are left out.
    """
    learning_rate = float(spec.learning_rate)
    groups = _build_groups(spec, named_parameters)
    weight_decay = float(spec.weight_decay)
    match spec.name:
        case OptimizerName.SGD:
            momentum = float(spec.momentum)
            return torch.optim.SGD(
                groups, lr=learning_rate, momentum=momentum, weight_decay=weight_decay, foreach=False, fused=False
            )
        case OptimizerName.ADAM | OptimizerName.ADAMW:
            kind = torch.optim.Adam if spec.name is OptimizerName.ADAM else torch.optim.AdamW
            return kind(
                groups,
                lr=learning_rate,
                betas=(float(spec.beta1), float(spec.beta2)),
                eps=float(spec.epsilon),
                weight_decay=weight_decay,
                foreach=False,
                fused=False,
            )


def _build_groups(spec: OptimizerSpec, named_parameters: Mapping[str, torch.nn.Parameter]) -> list[dict[str, Any]]:
    members = assign_groups(spec.parameter_groups, named_parameters)
    # Groups are given as dicts, since PyTorch refuses a plain list without parameters.
    groups: list[dict[str, Any]] = [{"params": [named_parameters[name] for name in members if members[name] < 0]}]
    for index, group in enumerate(spec.parameter_groups):
        own = [named_parameters[name] for name in members if members[name] == index]
        options: dict[str, Any] = {"params": own}
        if group.learning_rate_factor is not None:
            options["lr"] = float(spec.learning_rate) * float(group.learning_rate_factor)
        if group.weight_decay is not None:
            options["weight_decay"] = float(group.weight_decay)
        groups += [options] if own else []
    return groups


def export_optimizer_state(
    optimizer: torch.optim.Optimizer, named_parameters: Mapping[str, torch.nn.Parameter]
) -> dict[str, torch.Tensor]:
    """Returns copies of the optimizer's state on the CPU, keyed ``<parameter name>/<state key>``.

    Adam's step count is part of it. A parameter that never got a gradient has no state and does not occur.
    """
    return {
        f"{name}/{key}": value.detach().to("cpu", copy=True)
        for name, parameter in named_parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if value is not None  # SGD without momentum keeps a momentum_buffer of None
    }


def import_optimizer_state(
    optimizer: torch.optim.Optimizer,
    named_parameters: Mapping[str, torch.nn.Parameter],
    state: Mapping[str, torch.Tensor],
) -> None:
    """Replaces the optimizer's whole state by an exported one; nothing is changed if anything in it is wrong.

    Raises:
        ProtocolViolation: if a name, state key, shape or dtype is not one that this optimizer would have exported.
    """
    allowed_keys = _list_state_keys(optimizer)
    grouped: dict[str, dict[str, torch.Tensor]] = {}
    for flat_name, tensor in state.items():
        name, _, key = flat_name.rpartition("/")
        if name not in named_parameters or key not in allowed_keys:
            raise ProtocolViolation(
                f"optimizer state {flat_name!r} belongs to no parameter and key of this segment",
                allowed=f"keys {sorted(allowed_keys)} of parameters {list(named_parameters)}",
            )
        _check_entry(flat_name, key, tensor, named_parameters[name])
        grouped.setdefault(name, {})[key] = tensor
    for name, entries in grouped.items():
        if entries.keys() != allowed_keys:
            missing = sorted(allowed_keys - entries.keys())
            raise ProtocolViolation(f"optimizer state of {name!r} lacks {missing}", allowed=f"{sorted(allowed_keys)}")
    for name, parameter in named_parameters.items():
        optimizer.state.pop(parameter, None)
        if name in grouped:
            optimizer.state[parameter] = {
                # The step count stays on the CPU, where PyTorch keeps it; a copy, so that no step writes into `state`.
                key: tensor.to("cpu" if key == _STEP else parameter.device, copy=True)
                for key, tensor in grouped[name].items()
            }


def _list_state_keys(optimizer: torch.optim.Optimizer) -> frozenset[str]:
    if isinstance(optimizer, torch.optim.SGD):
        return frozenset({"momentum_buffer"} if optimizer.defaults["momentum"] else ())
    return _ADAM_STATE


def _check_entry(flat_name: str, key: str, tensor: torch.Tensor, parameter: torch.nn.Parameter) -> None:
    shape, dtype = (torch.Size(()), torch.float32) if key == _STEP else (parameter.shape, parameter.dtype)
    if tensor.shape != shape or tensor.dtype != dtype:
        raise ProtocolViolation(
            f"optimizer state {flat_name!r} has shape {tuple(tensor.shape)} and dtype {tensor.dtype}",
            allowed=f"shape {tuple(shape)} and dtype {dtype}",
        )
