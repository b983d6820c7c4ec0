"""What was trained goes back into the author's own model: `splittraining export` over the folders of whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splittraining.api.errors import StorageFailed
from splittraining.api.usage import UsageInvalid
from splittraining.cli.main import main
from splittraining.local.exporter import export_results, find_party_folders
from support.cases import Case, a_u_shaped_case, a_vanilla_case, a_vertical_case
from support.local_support import build_launcher
from support.oracle import LOSSES
from support.runs import FinishedRun, run_case


def load_whole(case: Case, run: FinishedRun, path: Path) -> torch.nn.Module:
    report = export_results(find_party_folders(run.folder), path, launcher=build_launcher())
    assert report.is_whole
    model = case.build_model()
    model.load_state_dict(load_file(path))
    return model.eval()


@torch.no_grad()
def evaluate_batch_by_batch(case: Case, model: torch.nn.Module) -> float:
    """Computes the loss over everybody's test rows as an evaluation does: a mean of batches, weighted by rows."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    loss_sum, rows = 0.0, 0
    for each in case.test_rows:
        for batch in torch.arange(len(each)).split(case.plan.batch_size):
            output = model(**{name: tensor[batch] for name, tensor in each.inputs.items()})
            loss_sum += float(LOSSES[case.plan.loss](output, each.label[batch])) * len(batch)
            rows += len(batch)
    torch.set_num_threads(threads)
    return loss_sum / rows


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(a_vanilla_case({"north": 6}), id="Vanilla"),
        pytest.param(a_u_shaped_case(num_clients=1), id="UShaped"),
        pytest.param(a_vertical_case(), id="Vertical"),
    ],
)
def test_the_exported_model_evaluates_as_the_split_one_did_to_the_last_bit(case: Case, tmp_path: Path) -> None:
    run = run_case(case, tmp_path)
    assert run.outcome.exit_code == 0, run.outcome
    model = load_whole(case, run, tmp_path / "model.safetensors")
    last = run.read_rounds()[-1]["metrics"]
    assert evaluate_batch_by_batch(case, model) == last["loss"]  # type: ignore[index]


def test_without_hand_off_one_client_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = a_vanilla_case({"north": 5, "south": 6}, handoff="None", rounds=1)
    run = run_case(case, tmp_path)
    with pytest.raises(UsageInvalid, match="north, south hold different values"):
        export_results(find_party_folders(run.folder), tmp_path / "model", launcher=build_launcher())
    whole, own = tmp_path / "whole.safetensors", tmp_path / "own.safetensors"
    assert main(["export", str(run.folder), "--client", "south", "-o", str(whole)]) == 0
    assert "The whole model, of server, south: " in capsys.readouterr().out
    case.build_model().load_state_dict(load_file(whole))
    assert torch.equal(load_file(whole)["bottom.0.weight"], run.read_segments("south")["bottom.0.weight"])
    assert main(["export", str(run.folder / "south"), "-o", str(own)]) == 0
    assert "The segments of south alone: " in capsys.readouterr().out
    assert load_file(own).keys() == run.read_segments("south").keys()
    assert main(["export", str(run.folder / "south"), "-o", str(own)]) == 2
    assert "own.safetensors is there already" in capsys.readouterr().err


def test_a_folder_without_a_result_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"result/manifest\.json cannot be read: No such file"):
        export_results([tmp_path], tmp_path / "model", launcher=build_launcher())
    with pytest.raises(UsageInvalid, match="is not a folder"):
        find_party_folders(tmp_path / "nothing")
