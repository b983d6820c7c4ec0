"""The plan says what a segment's tensors weigh, each once, and which of them get gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splittraining.api.plan_report import SegmentReport
from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.wire_plan import CLIENT_OWNER, DType
from splittraining.party.model.cut import cut_model
from splittraining.party.model.stages import StageSpec


class Tied(nn.Module):
    """A U-shape whose head uses the encoder's weight once more; one parameter is used by nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.trunk, self.head = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head.weight = self.encoder.weight
        self.unused = nn.Parameter(torch.zeros(9))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(self.norm(self.encoder(x))))


def measure(model: nn.Module) -> list[SegmentReport]:
    stages = [
        StageSpec(CLIENT_OWNER, cut_points=("norm",), arguments=("x",)),
        StageSpec("server", cut_points=("trunk",)),
        StageSpec(CLIENT_OWNER, arguments=("x",), holds_label=True),
    ]
    inputs = [InputSpec(name="x", dtype=DType.FLOAT32, shape=(4,))]
    label = LabelSpec(dtype=DType.INT64, shape=())
    return list(cut_model(model, stages=stages, inputs=inputs, label=label, seed=1).report.segments)


def test_what_two_stages_of_one_owner_share_weighs_once_and_integers_have_their_own_size() -> None:
    first, _, last = measure(Tied())
    encoder, norm, buffers = (16 + 4) * 4, (4 + 4) * 4, (4 + 4) * 4 + 8  # BatchNorm counts its batches in an Int64
    assert (first.parameter_bytes, first.weight_bytes) == (encoder + norm, encoder + norm + buffers)
    assert (last.parameter_bytes, last.weight_bytes) == ((4 + 9) * 4, (4 + 9) * 4)


def test_only_what_is_used_and_not_frozen_gets_gradients() -> None:
    model = Tied()
    model.encoder.bias.requires_grad_(requires_grad=False)
    first, server, last = measure(model)
    assert (first.trained_bytes, first.num_trained) == ((16 + 4 + 4) * 4, 3)
    assert (server.trained_bytes, server.num_trained) == ((16 + 4) * 4, 2)
    assert (last.trained_bytes, last.num_trained) == (4 * 4, 1)
