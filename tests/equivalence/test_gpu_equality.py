"""On a GPU too a split training in real processes over real mTLS equals the unsplit one to the bit.

What the references know of GPUs is what anybody would write: the model and each batch are moved there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from splittraining.local.manifest import load_manifest
from splittraining.local.predictor import PredictionRequest, run_prediction
from splittraining.local.signals import StopWish, Wakeup
from support.cases import (
    ADAM,
    MOMENTUM,
    Case,
    a_case_of,
    a_multi_hop_case,
    a_multi_task_case,
    a_norm_case,
    a_u_net_case,
    a_u_shaped_case,
    a_vanilla_case,
    a_vertical_case,
    an_extended_case,
)
from support.gpu import DEVICE, NEEDS_A_GPU, ON_CUDA, TORCH_DEVICE, require_fixed_workspaces
from support.local_support import build_launcher
from support.oracle import computing_exactly, train_centrally, train_federated, train_large_batches, train_tasks
from support.runs import FinishedRun, run_case
from support.together_cases import a_parallel_case, a_split_fed_case
from support.training_oracle import Means, find_best_round, train_by
from support.uncut import train_uncut

pytestmark = NEEDS_A_GPU

ROUNDING = 1e-13
"""What the order of additions may change in double precision."""

LIMIT = 0.2


@pytest.fixture(autouse=True, scope="module")
def _fixed_workspaces() -> None:
    require_fixed_workspaces()


def succeed(case: Case, folder: Path) -> FinishedRun:
    run = run_case(case, folder)
    assert run.outcome.exit_code == 0, run.outcome
    return run


def list_clients(case: Case) -> list[str]:
    return [client["name"] for client in case.spec["clients"]]


def list_different(given: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    assert given.keys() == expected.keys()
    return [name for name in expected if not torch.equal(given[name], expected[name])]


def assert_state(run: FinishedRun, case: Case, state: Mapping[str, torch.Tensor]) -> None:
    clients = list_clients(case)
    for group in [clients] if case.spec["schedule"]["mode"] == "Joint" else [[client] for client in clients]:
        assert list_different(run.merge_segments(["server", *group]), state) == []


def assert_all_on_the_device(run: FinishedRun) -> None:
    shown = f"cuda:0 {torch.cuda.get_device_name(0)}"[:63] if ON_CUDA else "cpu"
    assert {report.party: report.device for report in run.record.reports} == dict.fromkeys(
        (report.party for report in run.record.reports), shown
    )


def clip(parameters: list[nn.Parameter]) -> torch.Tensor:
    return nn.utils.clip_grad_norm_(parameters, LIMIT, foreach=False)


def clipped(case: Case) -> Case:
    clipping = {"gradientClipping": {"mode": "GlobalNorm", "limit": str(LIMIT)}}
    return case.changed(lambda spec: spec["training"].update(clipping))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_norm_case(dropout="0.0"), id="Vanilla, BatchNorm on both sides"),
        pytest.param(a_vanilla_case(optimizer=ADAM, turn=("Steps", 1)), id="Vanilla, turns of a step"),
        pytest.param(a_case_of("build_patches", "embed"), id="Vanilla, a value that lies transposed in memory"),
        pytest.param(a_case_of("build_summed", "bottom"), id="Vanilla, BatchNorm gets an expanded gradient"),
        pytest.param(a_case_of("build_summed_rows", "bottom"), id="Vanilla, Linear gets an expanded gradient"),
        pytest.param(a_case_of("build_halves", "bottom", "middle"), id="UShaped, views cross both ways"),
        pytest.param(a_u_shaped_case(), id="UShaped"),
        pytest.param(a_u_net_case(), id="UShaped, a U-Net with skips"),
        pytest.param(a_vertical_case(), id="Vertical with a label holder of its own"),
        pytest.param(a_vertical_case(label_at="server", optimizer=MOMENTUM), id="Vertical with labels at the server"),
        pytest.param(a_multi_hop_case(), id="MultiHop with four owners"),
        pytest.param(an_extended_case(), id="ExtendedVanilla"),
    ],
)
def test_equals_plain_pytorch(case: Case, tmp_path: Path) -> None:
    case = case.on(DEVICE)
    run = succeed(case, tmp_path)
    expected = train_centrally(case.build_model, case.rows, case.plan, test_rows=case.test_rows)
    assert run.read_losses() == expected.losses
    assert_state(run, case, expected.state)
    for evaluated, plain in zip(run.read_rounds(), expected.evaluations, strict=True):
        assert evaluated["metrics"] == pytest.approx({**evaluated["metrics"], **plain}, rel=1e-5)  # type: ignore[dict-item]
    assert_all_on_the_device(run)


@pytest.mark.parametrize("topology", ["Vanilla", "UShaped"])
def test_dropout_and_batch_norm_equal_the_same_engine_uncut_every_time(topology: str, tmp_path: Path) -> None:
    case = a_norm_case(dropout="0.3", topology=topology, optimizer=ADAM).on(DEVICE)
    first, second = (succeed(case, tmp_path / name) for name in ("first", "second"))
    expected = train_uncut(case)
    assert first.read_losses() == expected.losses
    assert_state(first, case, expected.state)
    for party in ("server", *list_clients(case)):
        path = Path(party) / "result" / "segments.safetensors"
        assert (first.folder / path).read_bytes() == (second.folder / path).read_bytes()
    without = train_uncut(a_norm_case(dropout="0.0", topology=topology, optimizer=ADAM).on(DEVICE))
    assert without.losses != expected.losses


def test_several_tasks_equal_one_model_with_a_sum_of_losses(tmp_path: Path) -> None:
    case = a_multi_task_case(num_branches=2, num_tasks=3, optimizer=ADAM).on(DEVICE)
    run = succeed(case, tmp_path)
    expected = train_tasks(case.build_model, *case.task_rows, case.plan)
    losses = {task: run.read_task_losses(task) for task in expected.losses}
    assert losses == expected.losses
    assert [float(sum(map(np.float32, each))) for each in zip(*losses.values(), strict=True)] == expected.sums
    assert_state(run, case, expected.state)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case(optimizer=MOMENTUM), id="Vanilla with hand-off"),
        pytest.param(a_vertical_case(optimizer=ADAM), id="Vertical"),
        pytest.param(a_multi_hop_case(), id="a chain of four owners, whose values are relayed"),
    ],
)
def test_clipping_by_global_norm_equals_the_unsplit_model(case: Case, tmp_path: Path) -> None:
    case = clipped(case).on(DEVICE)
    expected = train_by(case, Means(clip=clip))
    assert expected.num_clipped >= len(expected.losses) // 2
    run = succeed(case, tmp_path)
    assert run.read_losses() == expected.losses
    assert_state(run, case, expected.state)


def test_class_weights_and_the_best_round_equal_plain_pytorch(tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["rounds"] = 5
        spec["training"]["optimizer"]["learningRate"] = "0.5"
        spec["training"]["loss"]["arguments"] = {"label_smoothing": "0.1", "weight": "1,2.5,0.5"}
        spec["training"]["evaluation"]["keep"] = "Best"

    def loss(output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        weight = torch.tensor([1.0, 2.5, 0.5], device=output.device)
        return F.cross_entropy(output, label, weight=weight, label_smoothing=0.1)

    case = a_vanilla_case({"north": 11, "south": 6}, optimizer=MOMENTUM).changed(change).on(DEVICE)
    expected = train_by(case, Means(loss=loss))
    run = succeed(case, tmp_path)
    assert run.read_losses() == expected.losses
    told = [row["metrics"]["loss"] for row in run.read_rounds()]  # type: ignore[index]
    assert_state(run, case, expected.states[find_best_round(told) - 1])


@pytest.mark.parametrize(
    ("case", "batch"),
    [
        pytest.param(a_parallel_case(MOMENTUM, rounds=20), "Union", id="the union of the batches"),
        pytest.param(
            clipped(a_parallel_case(ADAM, rounds=9, batch="Global", averaging={"at": "Server"})),
            "Global",
            id="one global batch, summed at the server, clipped by the global norm",
        ),
    ],
)
def test_parallel_equals_one_large_batch(
    case: Case, batch: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    case = case.on(DEVICE)
    run = succeed(case, tmp_path)
    is_clipped = "gradientClipping" in case.spec["training"]
    plan = replace(case.plan, clip=clip) if is_clipped else case.plan
    expected = train_large_batches(case.build_model, case.rows, plan, batch=batch)
    clients = list_clients(case)
    assert len({(run.folder / name / "result" / "segments.safetensors").read_bytes() for name in clients}) == 1
    given = run.merge_segments(["server", clients[0]])
    distance = max(float((given[name] - tensor).abs().max()) for name, tensor in expected.state.items())
    record_property("distance", distance)
    assert distance <= ROUNDING
    assert run.read_losses() == pytest.approx(expected.losses, rel=0, abs=ROUNDING)


@pytest.mark.parametrize(
    ("member", "reference"),
    [
        pytest.param({"everyRounds": 2}, {"local_epochs": 2}, id="v1, two local epochs"),
        pytest.param({"serverPolicy": "Shared"}, {"shared_top": True}, id="v2"),
    ],
)
def test_split_fed_equals_averages_written_by_hand(
    member: Mapping[str, object], reference: Mapping[str, object], tmp_path: Path
) -> None:
    case = a_split_fed_case(MOMENTUM, **member).on(DEVICE)
    run = succeed(case, tmp_path)
    expected = train_federated(case.build_model, case.rows, case.plan, top=["top"], **reference)  # type: ignore[arg-type]
    assert run.read_losses() == expected.losses
    for client, state in expected.private_states.items():
        assert list_different(run.merge_segments(["server", client]), state) == []


def test_a_hand_off_from_client_to_client_equals_one_through_the_server(tmp_path: Path) -> None:
    case = a_vanilla_case(optimizer=ADAM).on(DEVICE)
    expected = train_centrally(case.build_model, case.rows, case.plan)
    for handoff in ("ViaServer", "PeerToPeer"):
        run = succeed(
            case.changed(lambda spec, way=handoff: spec["schedule"]["sequential"].update(handoff=way)),  # type: ignore[misc]
            tmp_path / handoff,
        )
        assert run.read_losses() == expected.losses
        assert_state(run, case, expected.state)


def test_a_prediction_is_what_the_unsplit_model_says(tmp_path: Path) -> None:
    case = a_norm_case(dropout="0.3", topology="UShaped").on(DEVICE)
    run = succeed(case, tmp_path)
    with closing(Wakeup()) as wakeup:
        result = run_prediction(
            PredictionRequest(
                load_manifest(tmp_path / "training.yaml"), run_folder=run.folder, output_folder=None, rows={}
            ),
            emit=lambda _event: None,
            wakeup=wakeup,
            wish=StopWish(wakeup),
            launcher=build_launcher(),
        )
    assert result.outcome.exit_code == 0, result.outcome
    for rows in case.test_rows:
        model = case.build_model().eval()
        model.load_state_dict(run.merge_segments(["server", rows.client]))
        with torch.no_grad(), computing_exactly(case.plan.device):
            model.to(TORCH_DEVICE)
            batches = rows.inputs["x"].to(TORCH_DEVICE).split(case.plan.batch_size)
            expected = torch.cat([model(batch) for batch in batches]).cpu()
        with np.load(result.folder / result.record.files[rows.client], allow_pickle=False) as archive:
            assert torch.equal(torch.from_numpy(archive["output"]), expected)
            assert archive["probability"] == pytest.approx(torch.softmax(expected.double(), 1).numpy())


def test_parties_on_unlike_devices_train_all_the_same_and_say_what_they_are(tmp_path: Path) -> None:
    case = a_norm_case(dropout="0.0").on(DEVICE, parties={"server", "south"}).on("CPU", parties={"north"})
    run = succeed(case, tmp_path)
    expected = train_centrally(case.build_model, case.rows, replace(case.plan, device="cpu"))
    assert run.read_losses() == pytest.approx(expected.losses, rel=1e-3)
    devices = {report.party: report.device.partition(":")[0] for report in run.record.reports}
    assert devices == {"server": DEVICE.lower(), "south": DEVICE.lower(), "north": "cpu"}
    for name, tensor in expected.state.items():  # the ring ends with the same weights at every institution
        for client in ("north", "south"):
            given = run.merge_segments(["server", client])[name]
            torch.testing.assert_close(given, tensor, rtol=0, atol=1e-4)


REFUSED = """
from torch import nn

class Refused(nn.Module):
    def __init__(self):
        super().__init__()
        self.bottom, self.layer, self.head = nn.Linear(5, 6), LAYER, nn.Linear(6, 3)

    def forward(self, x):
        h = self.layer(self.bottom(x))
        return self.head(OUTPUT)
"""


@pytest.mark.skipif(not ON_CUDA, reason="the CPU has deterministic forms of both")
@pytest.mark.parametrize(
    ("layer", "output", "told"),
    [
        pytest.param("nn.LSTM(6, 6, 2, dropout=0.5)", "h[0]", "LSTM(dropout=0.5) on CUDA", id="dropout inside an LSTM"),
        pytest.param("nn.AdaptiveAvgPool1d(6)", "h", "uses adaptive_avg_pool2d_backward", id="a backward pass"),
    ],
)
def test_what_cannot_be_exact_on_a_gpu_is_refused_by_name(layer: str, output: str, told: str, tmp_path: Path) -> None:
    case = a_vanilla_case({"north": 4}).on(DEVICE)
    case.source["refused.py"] = REFUSED.replace("LAYER", layer).replace("OUTPUT", output)
    run = run_case(case.changed(lambda spec: spec["model"].update(entrypoint="refused:Refused")), tmp_path)
    termination = json.loads((run.folder / "server" / "termination.json").read_text())
    assert termination["reason"] == "NumericsInvalid", termination
    assert told in termination["message"]
