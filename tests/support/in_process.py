"""Runs all stages of a cut model in one process, one step after another, as the parties would together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.wire_plan import DType
from splittraining.party.model.cut import CutModel, cut_model
from splittraining.party.model.stages import StageSpec
from splittraining.party.training.stage import StageRunner

Optimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
# The plain loop (foreach=False): on a GPU PyTorch would choose a form of its own, which rounds differently.
MOMENTUM: Optimizer = lambda parameters: torch.optim.SGD(  # noqa: E731
    parameters, lr=0.05, momentum=0.9, weight_decay=0.01, foreach=False
)
ADAM: Optimizer = lambda parameters: torch.optim.Adam(parameters, lr=0.01, foreach=False)  # noqa: E731

CPU = torch.device("cpu")

_DTYPES = {torch.float32: DType.FLOAT32, torch.float64: DType.FLOAT64, torch.int64: DType.INT64}


@dataclass
class Outcome:
    """What a training leaves: the loss of each step, the whole state, and an evaluation's output."""

    losses: list[Tensor] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    evaluated: Tensor | None = None


Batch = tuple[Mapping[str, Tensor], Tensor]


def vanilla(cut: str) -> tuple[StageSpec, ...]:
    return (StageSpec("client", (cut,), ("x",), holds_label=True), StageSpec("server"))


def u_shaped(first: str, second: str, argument: str = "x") -> tuple[StageSpec, ...]:
    return (
        StageSpec("client", (first,), (argument,)),
        StageSpec("server", (second,)),
        StageSpec("client", (), (argument,), holds_label=True),
    )


def describe_inputs(batch: Batch) -> tuple[InputSpec, ...]:
    return tuple(
        InputSpec(name=name, dtype=_DTYPES[tensor.dtype], shape=tuple(tensor.shape[1:]))
        for name, tensor in batch[0].items()
    )


def cut(
    model: nn.Module,
    stages: Sequence[StageSpec],
    batch: Batch,
    *,
    extra: Sequence[str] = (),
    exact: bool = True,
    seed: int = 7,
) -> CutModel:
    label = LabelSpec(dtype=_DTYPES[batch[1].dtype], shape=tuple(batch[1].shape[1:]))
    inputs = describe_inputs(batch)
    return cut_model(model, stages=stages, inputs=inputs, label=label, seed=seed, extra_crossings=extra, exact=exact)


class Crew:
    """All stages with one optimizer per owner."""

    def __init__(self, cut_model: CutModel, optimizer: Optimizer) -> None:
        self.cut = cut_model
        self.plan = cut_model.wire_plan
        self.runners = [StageRunner(segment, self.plan) for segment in cut_model.segments]
        owned: dict[str, dict[str, nn.Parameter]] = {}
        for segment in cut_model.segments:
            owned.setdefault(segment.owner, {}).update(segment.parameters())
        self.optimizers = [optimizer(list(named.values())) for named in owned.values() if named]

    def forward(self, arguments: Mapping[str, Tensor], *, training: bool, step: int) -> Tensor:
        held: dict[str, Tensor] = {}
        stages = self.cut.segments
        for runner in self.runners:
            stage = runner.segment.stage
            arrived = {transfer.value.name for transfer in self.plan.iterate_forward(stage)}
            own = [s.stage for s in stages if s.owner == runner.segment.owner and s.stage < stage]
            for value in self.plan.values:
                if stage in value.consumers and value.source != "Label":
                    here = value.name in arrived or value.producer in own or set(value.consumers) & set(own)
                    assert here, f"{value.name} did not reach stage {stage}"
            names = {v.name for v in self.plan.values if stage in v.consumers and v.source != "Label"}
            mine = {name: arguments[name] for name in arguments}
            incoming = {name: held[name] for name in names}
            held.update(runner.forward(mine, incoming, training=training, step=step))
        output = self.runners[-1].output
        assert output is not None
        return output

    def step(self, batch: Batch, loss: Callable[[Tensor, Tensor], Tensor], number: int) -> Tensor:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        value = loss(self.forward(batch[0], training=True, step=number), batch[1])
        gradients: dict[str, Tensor | None] = {}
        for runner in reversed(self.runners):
            arriving = {name: gradients[name] for name in runner.gradient_names}
            is_last = runner.segment.stage == self.plan.loss_stage
            gradients.update(runner.backward(arriving, value if is_last else None))
        for optimizer in self.optimizers:
            optimizer.step()
        return value.detach()


def train_cut(
    model: nn.Module,
    stages: Sequence[StageSpec],
    batches: Sequence[Batch],
    *,
    optimizer: Optimizer = MOMENTUM,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    extra: Sequence[str] = (),
    device: torch.device = CPU,
) -> Outcome:
    model = copy.deepcopy(model)
    made = cut(model, stages, batches[0], extra=extra)
    for segment in made.segments:
        segment.to(device)
    batches = _move(batches, device)
    crew = Crew(made, optimizer)
    outcome = Outcome([crew.step(batch, loss, number) for number, batch in enumerate(batches)])
    with torch.no_grad():
        outcome.evaluated = crew.forward(batches[0][0], training=False, step=len(batches))
    for segment in crew.cut.segments:
        outcome.state |= {**segment.parameters(), **segment.buffers()}
    return outcome


def train_plain(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    optimizer: Optimizer = MOMENTUM,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    device: torch.device = CPU,
) -> Outcome:
    """The same training as anybody would write it by hand."""
    model = copy.deepcopy(model).to(device)
    batches = _move(batches, device)
    model.train()
    optimizer_ = optimizer(list(model.parameters()))
    outcome = Outcome()
    for inputs, label in batches:
        optimizer_.zero_grad(set_to_none=True)
        value = loss(model(**inputs), label)
        value.backward()
        optimizer_.step()
        outcome.losses.append(value.detach())
    model.eval()
    with torch.no_grad():
        outcome.evaluated = model(**batches[0][0])
    outcome.state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return outcome


def _move(batches: Sequence[Batch], device: torch.device) -> list[Batch]:
    return [
        ({name: tensor.to(device) for name, tensor in inputs.items()}, label.to(device)) for inputs, label in batches
    ]


def assert_same(first: Outcome, second: Outcome) -> None:
    """Asserts that two trainings are equal to the last bit."""
    for step, (one, other) in enumerate(zip(first.losses, second.losses, strict=True)):
        assert torch.equal(one, other), f"loss of step {step}: {one} and {other}"
    assert first.state.keys() == second.state.keys()
    different = [name for name, tensor in first.state.items() if not torch.equal(tensor, second.state[name])]
    assert not different, f"different after training: {different}"
    assert first.evaluated is not None
    assert second.evaluated is not None
    assert torch.equal(first.evaluated, second.evaluated), "evaluation differs"
