"""What training by all the means that people use must equal: the same, written by hand over the unsplit model.

Like `oracle`, this shares no code with the parties but the order of rows. Schedules, clipping, groups and the choice
of the best round are written here once more, in the words of plain PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from support.cases import Case
from support.oracle import LOSSES, build_first_model, computing_exactly, copy_to_cpu, evaluate_model, iterate_visits

Rate = Callable[[int, int], float]
"""(round, step) -> the factor on the learning rate, both counted from 1."""


@dataclass
class Trained:
    """What plain PyTorch arrives at."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """The learning rate of each round's last step."""
    evaluations: list[dict[str, float]] = field(default_factory=list)
    states: list[dict[str, Tensor]] = field(default_factory=list)
    """The whole model after each round."""
    num_clipped: int = 0
    """Steps in which a gradient was made smaller."""

    @property
    def state(self) -> dict[str, Tensor]:
        return self.states[-1]


@dataclass(frozen=True)
class Means:
    """What is done beside the plain loop."""

    rate: Rate = lambda _round, _step: 1.0
    clip: Callable[[list[nn.Parameter]], object] = lambda _parameters: None
    group: Callable[[str], dict[str, float]] = lambda _name: {}
    """By parameter name: options that differ from the optimizer's own, `lr` as a factor."""
    frozen: Sequence[str] = ()
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    start: Mapping[str, Tensor] = field(default_factory=dict)
    """Weights to begin with, by name."""


PLAIN = Means()


def train_by(case: Case, means: Means = PLAIN) -> Trained:
    """Trains the whole model of a case on its clients' batches in visiting order."""
    plan = case.plan
    with computing_exactly(plan.device):
        model = build_first_model(case.build_model, plan.seed, plan.device)
        parameters = dict(model.named_parameters())
        for name in means.frozen:
            parameters[name].requires_grad = False
        with torch.no_grad():
            for name, tensor in means.start.items():
                parameters[name].copy_(tensor)
        optimizer = _build_optimizer(plan.optimizer, parameters, means.group)
        first_rates = [group["lr"] for group in optimizer.param_groups]
        loss = means.loss or LOSSES[plan.loss]
        trained = Trained()
        visits = list(iterate_visits(case.rows, plan))
        steps_per_round = len(visits) // plan.rounds
        for step, (_, inputs, label) in enumerate(visits, start=1):
            factor = means.rate((step - 1) // steps_per_round + 1, step)
            for group, first in zip(optimizer.param_groups, first_rates, strict=True):
                group["lr"] = first * factor
            optimizer.zero_grad()
            value = loss(model(**inputs), label)
            value.backward()
            trained.num_clipped += _clip(model, means.clip)
            optimizer.step()
            trained.losses.append(value.item())
            if step % steps_per_round == 0:
                trained.rates.append(float(plan.optimizer["learningRate"]) * factor)
                trained.evaluations.append(evaluate_model(model, case.test_rows, plan.loss, loss))
                trained.states.append(copy_to_cpu({name: each.clone() for name, each in model.state_dict().items()}))
        return trained


def find_best_round(values: Iterable[float], *, min_delta: float = 0.0) -> int:
    """Returns the round, from 1, whose value (lower is better) was last found better than the best before it."""
    best, found = float("inf"), 0
    for number, value in enumerate(values, start=1):
        if value < best - min_delta:
            best, found = value, number
    return found


def _clip(model: nn.Module, clip: Callable[[list[nn.Parameter]], object]) -> int:
    before = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    clip(list(model.parameters()))
    after = [p.grad for p in model.parameters() if p.grad is not None]
    return int(any(not torch.equal(one, other) for one, other in zip(before, after, strict=True)))


def _build_optimizer(
    spec: Mapping[str, Any], parameters: Mapping[str, nn.Parameter], group: Callable[[str], dict[str, float]]
) -> torch.optim.Optimizer:
    groups = []
    for name, parameter in parameters.items():  # one group each: nobody can mix them up
        options = dict(group(name))
        factor = options.pop("lr", 1.0)
        groups.append({"params": [parameter], "lr": float(spec["learningRate"]) * factor, **options})
    decay = float(spec.get("weightDecay", "0"))
    if spec["name"] == "SGD":
        momentum = float(spec.get("momentum", "0"))
        return torch.optim.SGD(groups, lr=1.0, momentum=momentum, weight_decay=decay, foreach=False)
    return torch.optim.Adam(groups, lr=1.0, weight_decay=decay, foreach=False)
