"""Published networks, cut at several places, train to the same bits as uncut."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer, densenet121, resnet18

from splittraining.party.model.stages import StageSpec
from splittraining.party.model.topology import build_uncut_stages
from support.in_process import (
    ADAM,
    Batch,
    assert_same,
    describe_inputs,
    train_cut,
    train_plain,
    u_shaped,
    vanilla,
)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    yield
    torch.set_num_threads(before)


def make_batches(size: int) -> list[Batch]:
    return [({"x": torch.randn(n, 3, size, size)}, torch.randint(5, (n,))) for n in (4, 2)]


def build_transformer(dropout: float = 0.0) -> nn.Module:
    return VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=3,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        dropout=dropout,
        attention_dropout=dropout,
        num_classes=5,
    )


ENCODER = "encoder.layers.encoder_layer_"
CASES = {
    "resnet18 after maxpool": (lambda: resnet18(num_classes=5), 32, vanilla("maxpool"), ()),
    "resnet18 inside layer2": (lambda: resnet18(num_classes=5), 32, vanilla("layer2.0"), ()),
    "resnet18 after layer3": (lambda: resnet18(num_classes=5), 32, vanilla("layer3"), ()),
    "resnet18 in a U-shape": (lambda: resnet18(num_classes=5), 32, u_shaped("layer1.0", "layer4"), ()),
    "densenet121 after pool0": (lambda: densenet121(num_classes=5), 32, vanilla("features.pool0"), ()),
    "densenet121 inside a dense block": (
        lambda: densenet121(num_classes=5),
        32,
        vanilla("features.denseblock2.denselayer3"),
        (
            "network_features_transition1_pool",
            "network_features_denseblock2_denselayer1_conv2",
            "network_features_denseblock2_denselayer2_conv2",
        ),
    ),
    "densenet121 after transition2": (lambda: densenet121(num_classes=5), 32, vanilla("features.transition2"), ()),
    "densenet121 in a U-shape": (
        lambda: densenet121(num_classes=5),
        32,
        u_shaped("features.denseblock1", "features.denseblock4"),
        (),
    ),
    "transformer after its first layer": (build_transformer, 32, vanilla(ENCODER + "0"), ()),
    "transformer inside its second layer": (build_transformer, 32, vanilla(ENCODER + "1.dropout"), ("add_2",)),
    "transformer after its encoder": (build_transformer, 32, vanilla("encoder"), ()),
    "transformer in a U-shape": (build_transformer, 32, u_shaped("conv_proj", ENCODER + "2"), ()),
}


class OneArgument(nn.Module):
    """Calls the network's argument `x`, whatever its author calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def inside(stages: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
    return tuple(
        StageSpec(s.owner, tuple("network." + c for c in s.cut_points), s.arguments, holds_label=s.holds_label)
        for s in stages
    )


@pytest.mark.parametrize("case", CASES)
def test_a_published_network_equals_plain_torch(case: str) -> None:
    build, size, stages, extra = CASES[case]
    model, batches = OneArgument(build()), make_batches(size)

    split = train_cut(model, inside(stages), batches, optimizer=ADAM, extra=extra)

    assert_same(split, train_plain(model, batches, optimizer=ADAM))


@pytest.mark.parametrize(
    "stages", [vanilla(ENCODER + "0"), vanilla(ENCODER + "1"), u_shaped(ENCODER + "0", ENCODER + "1")]
)
def test_a_transformer_with_dropout_everywhere_equals_the_same_engine_uncut(stages: tuple[StageSpec, ...]) -> None:
    model, batches = OneArgument(build_transformer(dropout=0.1)), make_batches(32)

    split = train_cut(model, inside(stages), batches, optimizer=ADAM)

    uncut = train_cut(model, build_uncut_stages(describe_inputs(batches[0])), batches, optimizer=ADAM)
    assert_same(split, uncut)
