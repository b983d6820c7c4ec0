"""One step of all parties over loopback channels: the order of work, and rows that do not belong together."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch

from splittraining.api.errors import DataInvalid, NumericsInvalid, SplitTrainingError
from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.spec.training import LossName, LossSpec, MetricName
from splittraining.api.wire_plan import DType
from splittraining.party.model.cut import CutModel, cut_model
from splittraining.party.model.stages import StageSpec
from splittraining.party.training.engine import StepEngine, StepInput
from splittraining.party.training.loss import build_loss
from splittraining.party.training.metrics import MetricSet
from splittraining.party.training.stage import StageRunner
from splittraining.party.wire.link import Link
from splittraining.party.wire.loopback import build_loopback_pair
from splittraining.party.wire.progress import Progress
from support.small_models import build_towers

INPUTS = (
    InputSpec(name="left", dtype=DType.FLOAT32, shape=(3,)),
    InputSpec(name="right", dtype=DType.FLOAT32, shape=(2,)),
)
LABEL = LabelSpec(dtype=DType.FLOAT32, shape=(1,))
STAGES = (
    StageSpec("lab", cut_points=("left_tower",), arguments=("left",)),
    StageSpec("ward", cut_points=("right_tower",), arguments=("right",)),
    StageSpec("server"),
    StageSpec("registry", receives_output=True, holds_label=True),
)
ROWS = 4
RATE = 0.1


def cut_towers() -> CutModel:
    torch.manual_seed(3)
    return cut_model(build_towers(), stages=STAGES, inputs=INPUTS, label=LABEL, seed=3)


@dataclass
class Party:
    """One owner's engine and its links."""

    engine: StepEngine
    links: dict[str, Link]


def build_parties(cut: CutModel) -> dict[str, Party]:
    """Connects every client to the server by a loopback channel."""
    links: dict[str, dict[str, Link]] = {stage.owner: {} for stage in STAGES}
    for client in ("lab", "ward", "registry"):
        at_client, at_server = build_loopback_pair(client, "server")
        links[client]["server"] = Link(at_client, generation=1, max_rows=ROWS)
        links["server"][client] = Link(at_server, generation=1, max_rows=ROWS)
    return {stage.owner: Party(build_engine(cut, stage.owner), links[stage.owner]) for stage in STAGES}


def build_engine(cut: CutModel, owner: str) -> StepEngine:
    segments = [segment for segment in cut.segments if segment.owner == owner]
    parameters = [parameter for segment in segments for parameter in segment.parameters().values()]
    return StepEngine(
        owner=owner,
        wire_plan=cut.wire_plan,
        runners={segment.stage: StageRunner(segment, cut.wire_plan) for segment in segments},
        optimizer=torch.optim.SGD([{"params": parameters}], lr=RATE),
        loss=build_loss(LossSpec(name=LossName.BCE_WITH_LOGITS), lambda _: pytest.fail("no entry point is named")),
        device=torch.device("cpu"),
        party=owner,
        progress=Progress(time.monotonic),
    )


def make_inputs(digests: Mapping[str, bytes] | None = None, *, label: float = 1.0) -> dict[str, StepInput]:
    generator = torch.Generator().manual_seed(4)
    tensors = {"left": torch.randn(ROWS, 3, generator=generator), "right": torch.randn(ROWS, 2, generator=generator)}
    of = dict(digests or {})
    return {
        "lab": StepInput(1, ROWS, {"left": tensors["left"]}, None, of.get("lab")),
        "ward": StepInput(1, ROWS, {"right": tensors["right"]}, None, of.get("ward")),
        "server": StepInput(1, ROWS),
        "registry": StepInput(1, ROWS, {}, torch.full((ROWS, 1), label), of.get("registry")),
    }


def train_one_step(
    parties: Mapping[str, Party], inputs: Mapping[str, StepInput]
) -> dict[str, float | SplitTrainingError | None]:
    """Runs one step of all parties at once; returns each one's loss, or the error that ended it."""

    def train(owner: str) -> float | SplitTrainingError | None:
        party = parties[owner]
        try:
            return party.engine.train(inputs[owner], party.links)
        except SplitTrainingError as error:
            for link in party.links.values():
                link.channel.abort()
            return error

    with ThreadPoolExecutor(len(parties)) as pool:
        return dict(zip(parties, pool.map(train, parties), strict=True))


def test_a_joint_step_equals_the_unsplit_one() -> None:
    cut = cut_towers()
    torch.manual_seed(3)
    model = build_towers()
    inputs = make_inputs()
    losses = train_one_step(build_parties(cut), inputs)

    output = model(inputs["lab"].arguments["left"], inputs["ward"].arguments["right"])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(output, torch.ones(ROWS, 1))
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=RATE).step()
    assert losses == {"lab": None, "ward": None, "server": None, "registry": loss.item()}
    trained = {name: tensor for segment in cut.segments for name, tensor in segment.parameters().items()}
    assert all(torch.equal(trained[name], tensor) for name, tensor in model.named_parameters())


def test_evaluation_counts_where_the_labels_are_and_trains_nothing() -> None:
    cut = cut_towers()
    parties = build_parties(cut)
    before = {name: p.clone() for segment in cut.segments for name, p in segment.parameters().items()}
    metrics = {owner: MetricSet([MetricName.ACCURACY], LossName.BCE_WITH_LOGITS) for owner in parties}

    def evaluate(owner: str) -> None:
        parties[owner].engine.evaluate(make_inputs()[owner], parties[owner].links, metrics[owner])

    with ThreadPoolExecutor(len(parties)) as pool:
        list(pool.map(evaluate, parties))
    assert {owner: each.summary().rows for owner, each in metrics.items()} == {
        "lab": 0,
        "ward": 0,
        "server": 0,
        "registry": ROWS,
    }
    after = {name: p for segment in cut.segments for name, p in segment.parameters().items()}
    assert all(torch.equal(before[name], after[name]) for name in before)


SAME, OTHER = b"a" * 16, b"b" * 16


@pytest.mark.parametrize(
    ("digests", "refuser", "odd"),
    [
        pytest.param({"lab": SAME, "ward": OTHER, "registry": SAME}, "server", "ward", id="a data holder"),
        pytest.param({"lab": SAME, "ward": SAME, "registry": OTHER}, "registry", "registry", id="the label holder"),
    ],
)
def test_rows_in_another_order_are_refused_before_they_are_trained_on(
    digests: Mapping[str, bytes], refuser: str, odd: str
) -> None:
    cut = cut_towers()
    before = {name: p.clone() for segment in cut.segments for name, p in segment.parameters().items()}
    ends = train_one_step(build_parties(cut), make_inputs(digests))
    refused = ends[refuser]
    assert isinstance(refused, DataInvalid)
    assert odd in str(refused)
    assert "other rows, or in another order" in str(refused)
    after = {name: p for segment in cut.segments for name, p in segment.parameters().items()}
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_loss_that_is_no_number_ends_the_step_by_name() -> None:
    ends = train_one_step(build_parties(cut_towers()), make_inputs(label=float("nan")))
    assert isinstance(ends["registry"], NumericsInvalid)
    assert "step 1" in str(ends["registry"])
