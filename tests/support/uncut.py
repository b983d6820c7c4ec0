"""The same engine without a cut: what a split training with randomness in its model must equal."""

from __future__ import annotations

import torch

from splittraining.api.resource import parse_split_training
from splittraining.party.model.cut import cut_model
from splittraining.party.model.topology import build_uncut_stages
from splittraining.party.training.optimizer import build_optimizer
from splittraining.party.training.stage import StageRunner
from support.cases import Case
from support.oracle import LOSSES, Trajectory, computing_exactly, copy_to_cpu, iterate_visits


def train_uncut(case: Case) -> Trajectory:
    """Trains the whole model as one stage on the same batches, in this process."""
    with computing_exactly(case.plan.device):
        return _train(case)


def _train(case: Case) -> Trajectory:
    spec = parse_split_training(case.documents()[0]).spec
    torch.manual_seed(spec.training.seed)
    cut = cut_model(
        case.build_model(),
        stages=build_uncut_stages(spec.model.inputs),
        inputs=spec.model.inputs,
        label=spec.model.label,
        seed=spec.training.seed,
    )
    (segment,) = cut.segments
    segment.to(torch.device(case.plan.device))
    runner = StageRunner(segment, cut.wire_plan)
    optimizer = build_optimizer(spec.training.optimizer, segment.parameters())
    trajectory = Trajectory()
    for step, (_, inputs, label) in enumerate(iterate_visits(case.rows, case.plan), start=1):
        optimizer.zero_grad(set_to_none=True)
        runner.forward(inputs, {}, training=True, step=step)
        assert runner.output is not None
        loss = LOSSES[case.plan.loss](runner.output, label)
        runner.backward({}, loss)
        optimizer.step()
        trajectory.losses.append(loss.item())
    trajectory.state = copy_to_cpu(segment.parameters() | segment.buffers())
    return trajectory
