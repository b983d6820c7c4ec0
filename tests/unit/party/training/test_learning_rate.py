"""Learning-rate schedules: the closed forms of PyTorch's own schedulers, of round and step alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, MultiStepLR, StepLR

from splittraining.api.spec.update import LearningRateScheduleName, LearningRateScheduleSpec, LearningRateUnit
from splittraining.party.training.learning_rate import LearningRates, compute_factor

Spec = LearningRateScheduleSpec
Name = LearningRateScheduleName


def an_optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))]}], lr=0.4)


@pytest.mark.parametrize(
    ("spec", "build"),
    [
        (Spec(name=Name.STEP, every=3, gamma="0.5"), lambda optimizer: StepLR(optimizer, 3, gamma=0.5)),
        (
            Spec(name=Name.MULTI_STEP, milestones=(2, 5, 5), gamma="0.5"),
            lambda optimizer: MultiStepLR(optimizer, [2, 5, 5], gamma=0.5),
        ),
        (
            Spec(name=Name.COSINE, horizon=9, minimum_factor="0.25"),
            lambda optimizer: CosineAnnealingLR(optimizer, 9, eta_min=0.1),
        ),
        (Spec(name=Name.LINEAR, horizon=10), lambda optimizer: LambdaLR(optimizer, lambda done: 1 - done / 10)),
    ],
    ids=["Step", "MultiStep", "Cosine", "Linear"],
)
def test_a_schedule_follows_pytorchs_scheduler_of_that_kind(spec: Spec, build: object) -> None:
    optimizer = an_optimizer()
    scheduler: LRScheduler = build(optimizer)  # type: ignore[operator]
    for round_number in range(1, 10):
        factor = compute_factor(spec, round_number=round_number, step=10_000)
        assert 0.4 * factor == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_the_warm_up_rises_from_its_first_share_to_the_whole_rate() -> None:
    spec = Spec(name=Name.CONSTANT, unit=LearningRateUnit.STEP, warmup=4)
    assert [compute_factor(spec, round_number=1, step=step) for step in range(1, 7)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_unit_of_rounds_looks_at_rounds_and_a_unit_of_steps_at_steps() -> None:
    by_round, by_step = (Spec(name=Name.STEP, every=1, gamma="0.5", unit=unit) for unit in LearningRateUnit)
    assert compute_factor(by_round, round_number=2, step=4) == 0.5
    assert compute_factor(by_step, round_number=2, step=4) == 0.125


@given(
    name=st.sampled_from([Name.LINEAR, Name.COSINE]),
    warmup=st.integers(0, 30),
    length=st.integers(1, 300),
    step=st.integers(1, 400),
    least=st.sampled_from(["0", "0.1", "1"]),
)
def test_a_falling_rate_never_rises_after_the_warm_up_and_stays_at_its_least(
    name: Name, warmup: int, length: int, step: int, least: str
) -> None:
    spec = Spec(name=name, unit="Step", warmup=warmup, horizon=warmup + length, minimum_factor=least)
    now, later = (compute_factor(spec, round_number=1, step=number) for number in (step, step + 1))
    assert 0 <= now <= 1
    assert later <= now + 1e-15 or step < warmup + 1
    if step > warmup + length:
        assert now == float(least)


def test_every_group_keeps_its_own_proportion() -> None:
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in (0.4, 0.1)], lr=1.0)
    rates = LearningRates(Spec(name=Name.STEP, every=2, gamma="0.5"), optimizer, base=0.4)
    for round_number in (5, 1, 5):  # whatever came before
        rates.apply(round_number=round_number, step=1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.025]
    assert rates.current == 0.1
