"""Whether a cut training equals the uncut one to the bit on a device: the same engine, both in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import bench_model
import torch
import torch.nn.functional as F
from summary import render_table
from torch import Tensor, nn

from splittraining.api.spec.model import InputSpec
from splittraining.api.wire_plan import DType
from splittraining.party.model.stages import StageSpec
from splittraining.party.model.topology import build_uncut_stages
from splittraining.party.training.fingerprint import prepare_numerics
from support.in_process import ADAM, MOMENTUM, Batch, Crew, Optimizer, cut, u_shaped, vanilla
from support.small_models import build_norm_classifier

SEED = 3
STEPS = 8


@dataclass(frozen=True)
class EqualityResult:
    """One training, cut and uncut."""

    name: str
    device: str
    steps: int
    is_equal: bool
    """Every step's loss and every parameter and buffer at the end, bit for bit."""


def measure_equality(device_name: str) -> list[EqualityResult]:
    """Trains each model cut and uncut on a device, with deterministic kernels."""
    device = torch.device(device_name)
    # As parties are started with it; nothing in this process has used cuBLAS yet, which reads it once.
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    prepare_numerics(intra_op_threads=1, device=device, exact=True)
    cnn, norm = (3, 32, 32), (1, 8, 8)

    def build_with_dropout() -> nn.Module:
        return build_norm_classifier(dropout=0.3)

    cases: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], Sequence[StageSpec], Optimizer]] = [
        *((f"CNN cut at {at}", bench_model.build, cnn, vanilla(at), MOMENTUM) for at in ("stem", "shrink", "body")),
        ("BatchNorm and dropout, Vanilla", build_with_dropout, norm, vanilla("bottom"), ADAM),
        ("BatchNorm and dropout, U-shape", build_with_dropout, norm, u_shaped("bottom", "middle"), MOMENTUM),
    ]
    return [
        EqualityResult(name, device_name, STEPS, _is_equal(build, shape, stages, optimizer, device))
        for name, build, shape, stages, optimizer in cases
    ]


def render_equality(results: Sequence[EqualityResult]) -> str:
    """Renders the table of equality."""
    rows = [(each.name, each.device, str(each.steps), "yes" if each.is_equal else "NO") for each in results]
    return render_table(("training", "device", "steps", "equal to the bit"), rows)


def _is_equal(
    build: Callable[[], nn.Module],
    shape: tuple[int, ...],
    stages: Sequence[StageSpec],
    optimizer: Optimizer,
    device: torch.device,
) -> bool:
    generator = torch.Generator().manual_seed(SEED)
    batches: list[Batch] = [
        ({"x": torch.randn(16, *shape, generator=generator)}, torch.randint(0, 3, (16,), generator=generator))
        for _ in range(STEPS)
    ]
    uncut = build_uncut_stages((InputSpec(name="x", dtype=DType.FLOAT32, shape=shape),))
    one, other = (_train(build, each, batches, optimizer, device) for each in (stages, uncut))
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def _train(
    build: Callable[[], nn.Module],
    stages: Sequence[StageSpec],
    batches: Sequence[Batch],
    optimizer: Optimizer,
    device: torch.device,
) -> dict[str, Tensor]:
    """Returns the losses and the whole state by name."""
    torch.manual_seed(SEED)
    cut_model = cut(build(), stages, batches[0], seed=SEED)
    for segment in cut_model.segments:
        segment.to(device)
    crew = Crew(cut_model, optimizer)
    results: dict[str, Tensor] = {}
    for step, (inputs, label) in enumerate(batches):
        batch = ({name: tensor.to(device) for name, tensor in inputs.items()}, label.to(device))
        results[f"loss of step {step}"] = crew.step(batch, F.cross_entropy, step)
    for segment in cut_model.segments:
        results |= {**segment.parameters(), **segment.buffers()}
    return results
