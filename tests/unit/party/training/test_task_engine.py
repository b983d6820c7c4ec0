"""One step of several tasks over loopback channels equals the step of the joint model, to the bit."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F

from splittraining.api.spec.model import InputSpec
from splittraining.api.spec.training import LossName, LossSpec
from splittraining.api.wire_plan import DType
from splittraining.party.model.cut import cut_model
from splittraining.party.model.stages import StageSpec
from splittraining.party.training.engine import StepEngine, StepInput
from splittraining.party.training.loss import build_loss
from splittraining.party.training.stage import StageRunner
from splittraining.party.wire.link import Link
from splittraining.party.wire.loopback import build_loopback_pair
from splittraining.party.wire.progress import Progress
from support.small_models import build_tasks

STAGES = (
    StageSpec("lab", cut_points=("left",), arguments=("left",)),
    StageSpec("server", cut_points=("trunk",)),
    StageSpec("surgery", holds_label=True, task="flag", output="flag"),
    StageSpec("oncology", holds_label=True, task="kind", output="kind"),
    StageSpec("registry", holds_label=True, task="size", output="size"),
)
LOSSES = {"surgery": LossName.BCE_WITH_LOGITS, "oncology": LossName.CROSS_ENTROPY, "registry": LossName.MSE}
ROWS = 32


def test_three_tasks_equal_one_model_trained_on_the_sum_of_their_losses() -> None:
    torch.manual_seed(3)
    model = build_tasks(tasks=3, width=16)
    generator = torch.Generator().manual_seed(4)
    left = torch.randn(ROWS, 3, generator=generator)
    labels = {
        "surgery": (left[:, :1] > 0).float(),
        "oncology": (left.abs().sum(dim=1)).long() % 3,
        "registry": left[:, 1:2] * left[:, 2:],
    }
    outputs = model(left)
    losses = {
        "surgery": F.binary_cross_entropy_with_logits(outputs["flag"], labels["surgery"]),
        "oncology": F.cross_entropy(outputs["kind"], labels["oncology"]),
        "registry": F.mse_loss(outputs["size"], labels["registry"]),
    }
    (losses["surgery"] + losses["oncology"] + losses["registry"]).backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    model.zero_grad()
    inputs = [InputSpec(name="left", dtype=DType.FLOAT32, shape=(3,))]
    cut = cut_model(model, stages=STAGES, inputs=inputs, label=None, seed=3)
    assert cut.report.inexact == ()
    links: dict[str, dict[str, Link]] = {stage.owner: {} for stage in STAGES}
    for client in ("lab", *LOSSES):
        at_client, at_server = build_loopback_pair(client, "server")
        links[client]["server"] = Link(at_client, generation=1, max_rows=ROWS)
        links["server"][client] = Link(at_server, generation=1, max_rows=ROWS)

    def train(owner: str) -> float | None:
        engine = StepEngine(
            owner=owner,
            wire_plan=cut.wire_plan,
            runners={s.stage: StageRunner(s, cut.wire_plan) for s in cut.segments if s.owner == owner},
            optimizer=None,
            loss=build_loss(LossSpec(name=LOSSES[owner]), pytest.fail) if owner in LOSSES else None,
            device=torch.device("cpu"),
            party=owner,
            progress=Progress(time.monotonic),
        )
        return engine.train(
            StepInput(1, ROWS, {"left": left} if owner == "lab" else {}, labels.get(owner)), links[owner]
        )

    with ThreadPoolExecutor(len(links)) as pool:
        told = dict(zip(links, pool.map(train, links), strict=True))
    assert told == {"lab": None, "server": None, **{owner: loss.item() for owner, loss in losses.items()}}
    given = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert [name for name in expected if not torch.equal(given[name], expected[name])] == []
