"""All stages of models that are hard to cut, on a GPU in one process: the bits of the same model uncut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from splittraining.party.model.stages import StageSpec
from splittraining.party.model.topology import build_uncut_stages
from support.gpu import NEEDS_A_GPU, TORCH_DEVICE, require_fixed_workspaces
from support.in_process import ADAM, Batch, assert_same, describe_inputs, train_cut, train_plain, u_shaped, vanilla
from support.models import Cnn, Mlp, NoisyNet, Patches, Recurrent, Residual, SkipNet
from support.oracle import computing_exactly

pytestmark = NEEDS_A_GPU


@pytest.fixture(autouse=True)
def _exactly() -> Iterator[None]:
    require_fixed_workspaces()
    torch.manual_seed(3)
    with computing_exactly(TORCH_DEVICE.type):
        yield


def make_batches(*shape: int) -> list[Batch]:
    return [({"x": torch.randn(rows, *shape)}, torch.randint(3, (rows,))) for rows in (6, 6, 6, 3)]


def build_channels_last() -> nn.Module:
    model = Cnn()
    model.body.add_module("mix", nn.Conv2d(6, 6, 1))
    model.body.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.head = nn.Linear(6, 3)
    return model.to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("build", "shape", "stages", "more"),
    [
        pytest.param(Mlp, (6,), vanilla("second"), {}, id="linear layers"),
        *(
            pytest.param(Cnn, (1, 8, 8), vanilla(cut), {}, id=f"convolutions and BatchNorm, cut at {cut}")
            for cut in ("stem", "norm", "relu", "body")
        ),
        pytest.param(build_channels_last, (1, 8, 8), vanilla("norm"), {}, id="channels last"),
        pytest.param(Patches, (3, 16, 16), vanilla("embed"), {}, id="a value that lies transposed in memory"),
        pytest.param(Residual, (1, 8, 8), vanilla("stem"), {}, id="a value with two readers"),
        pytest.param(Residual, (1, 8, 8), vanilla("conv"), {"extra": ("stem_1",)}, id="a skip past the cut"),
        pytest.param(SkipNet, (1, 8, 8), u_shaped("down2", "middle"), {}, id="a U-shape with skips"),
        pytest.param(Recurrent, (4, 3), vanilla("read"), {}, id="an LSTM whose whole state crosses"),
    ],
)
def test_equals_plain_pytorch(
    build: type[nn.Module], shape: Sequence[int], stages: Sequence[StageSpec], more: dict[str, Any]
) -> None:
    model, batches = build(), make_batches(*shape)
    split = train_cut(model, stages, batches, optimizer=ADAM, device=TORCH_DEVICE, **more)
    assert_same(split, train_plain(model, batches, optimizer=ADAM, device=TORCH_DEVICE))


@pytest.mark.parametrize(
    "stages", [vanilla("first"), vanilla("second.1"), u_shaped("first.1", "second.0")], ids=["early", "late", "U-shape"]
)
def test_random_operations_equal_the_same_engine_uncut(stages: Sequence[StageSpec]) -> None:
    model, batches = NoisyNet(), make_batches(6)
    split = train_cut(model, stages, batches, optimizer=ADAM, device=TORCH_DEVICE)
    uncut = build_uncut_stages(describe_inputs(batches[0]))
    assert_same(split, train_cut(model, uncut, batches, optimizer=ADAM, device=TORCH_DEVICE))
