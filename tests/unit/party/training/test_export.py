"""Results of parties become one state dict only where they are whole, of one step, and together everybody's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from splittraining.api.errors import ContractMismatch, SplitTrainingError, StorageFailed
from splittraining.api.plan_report import PlanReport, SegmentReport
from splittraining.api.usage import UsageInvalid
from splittraining.api.wire_plan import Stage, WirePlan
from splittraining.party.training.export import export_state_dict
from splittraining.party.training.results import build_manifest, write_result
from splittraining.party.training.share import _compare_names

CONTRACT = "sha256:" + "1" * 64
BOTTOM = {"bottom.weight": torch.arange(6.0).reshape(2, 3)}
TOP = {"top.weight": torch.ones(3), "top.count": torch.tensor(4)}


def a_plan(*owners: str, without_tensors: str = "") -> PlanReport:
    stages = tuple(Stage(index=index, owner=owner) for index, owner in enumerate(owners))
    wire_plan = WirePlan(stages=stages, loss_stage=len(owners) - 1)
    segments = tuple(
        SegmentReport(
            stage=stage.index, owner=stage.owner, num_parameters=stage.owner != without_tensors, num_buffers=0
        )
        for stage in stages
    )
    return PlanReport(segments=segments, wire_plan=wire_plan, wire_plan_digest=wire_plan.compute_digest())


VANILLA = a_plan("client", "server")


def write_party(
    folder: Path,
    party: str,
    tensors: Mapping[str, torch.Tensor],
    *,
    plan: PlanReport = VANILLA,
    contract: str = CONTRACT,
    generation: int = 1,
    step: int = 9,
    **names: object,
) -> Path:
    manifest = build_manifest(tensors, party=party, contract_digest=contract, generation=generation, step=step, **names)
    write_result(folder / party / "result", tensors, manifest)
    (folder / party / "plan.json").write_text(plan.model_dump_json(by_alias=True))
    return folder / party


def test_one_folder_gives_its_partys_own_segments(tmp_path: Path) -> None:
    report = export_state_dict([write_party(tmp_path, "st-mary", BOTTOM)], tmp_path / "out")
    assert (report.parties, report.is_whole, report.step) == (("st-mary",), False, 9)
    read = load_file(tmp_path / "out")
    assert read.keys() == BOTTOM.keys()
    assert torch.equal(read["bottom.weight"], BOTTOM["bottom.weight"])


def test_all_owners_folders_give_the_whole_model_and_say_where_it_is_from(tmp_path: Path) -> None:
    folders = [write_party(tmp_path, "server", TOP), write_party(tmp_path, "st-mary", BOTTOM)]
    report = export_state_dict(folders, tmp_path / "out")
    assert report.is_whole
    assert load_file(tmp_path / "out").keys() == {*TOP, *BOTTOM}
    with safe_open(tmp_path / "out", "pt") as opened:
        assert opened.metadata() == {
            "format": "pt",
            "parties": "server,st-mary",
            "contractDigest": CONTRACT,
            "generation": "1",
            "step": "9",
        }


def test_clients_with_equal_weights_are_one_owner(tmp_path: Path) -> None:
    folders = [
        write_party(tmp_path, party, tensors)
        for party, tensors in (("server", TOP), ("st-mary", BOTTOM), ("st-luke", BOTTOM))
    ]
    assert export_state_dict(folders, tmp_path / "out").num_tensors == 3


def test_clients_with_weights_of_their_own_are_named_and_one_must_be_chosen(tmp_path: Path) -> None:
    other = {"bottom.weight": BOTTOM["bottom.weight"] + 1}
    folders = [
        write_party(tmp_path, party, tensors)
        for party, tensors in (("st-mary", BOTTOM), ("server", TOP), ("st-luke", other))
    ]
    expected = r"st-mary, st-luke hold different values of bottom\.weight\. .* such as --client st-mary"
    with pytest.raises(UsageInvalid, match=expected):
        export_state_dict(folders, tmp_path / "out")
    with pytest.raises(UsageInvalid, match=r"--client st-paul: .* one of st-mary, st-luke"):
        export_state_dict(folders, tmp_path / "out", client="st-paul")
    with pytest.raises(UsageInvalid, match=r"--client server: .* one of st-mary, st-luke"):
        export_state_dict(folders, tmp_path / "out", client="server")
    assert not (tmp_path / "out").exists()
    for given, chosen in ((folders, "st-luke"), (folders[1:], "")):
        report = export_state_dict(given, tmp_path / "out", client=chosen)
        assert report.parties == ("server", "st-luke")
        assert torch.equal(load_file(tmp_path / "out")["bottom.weight"], other["bottom.weight"])


def test_clients_whose_statistics_alone_differ_must_be_chosen_from_too(tmp_path: Path) -> None:
    folders = [
        write_party(tmp_path, party, tensors)
        for party, tensors in (
            ("server", TOP),
            ("st-mary", {**BOTTOM, "bottom.mean": torch.zeros(1), "bottom.var": torch.zeros(1)}),
            ("st-luke", {**BOTTOM, "bottom.mean": torch.ones(1), "bottom.var": torch.ones(1)}),
        )
    ]
    with pytest.raises(UsageInvalid, match=r"hold different values of bottom\.mean and 1 more"):
        export_state_dict(folders, tmp_path / "out")


def test_a_choice_where_there_is_none_is_refused(tmp_path: Path) -> None:
    plan = a_plan("imaging", "server")
    folders = [
        write_party(tmp_path, party, {f"{party}.w": torch.ones(1)}, plan=plan) for party in ("imaging", "server")
    ]
    with pytest.raises(UsageInvalid, match="no --client, since each of these parties owns other layers"):
        export_state_dict(folders, tmp_path / "out", client="imaging")
    with pytest.raises(UsageInvalid, match="--client imaging with the one folder of imaging"):
        export_state_dict(folders[:1], tmp_path / "out", client="imaging")


def test_every_missing_owner_is_named(tmp_path: Path) -> None:
    plan = a_plan("imaging", "genetics", "server", "registry", without_tensors="registry")
    folders = [
        write_party(tmp_path, "imaging", BOTTOM, plan=plan),
        write_party(tmp_path, "registry", {}, plan=plan),
    ]
    with pytest.raises(UsageInvalid, match="not whole without the folders of genetics, server"):
        export_state_dict(folders, tmp_path / "out")
    # Who only computes the loss owns no layer, so nobody misses its folder.
    folders = [
        write_party(tmp_path, party, {f"{party}.w": torch.ones(1)}, plan=plan) for party in ("genetics", "server")
    ]
    assert export_state_dict([tmp_path / "imaging", *folders], tmp_path / "out").num_tensors == 3


def test_clients_without_the_server_are_no_whole_model(tmp_path: Path) -> None:
    folders = [write_party(tmp_path, party, BOTTOM) for party in ("st-mary", "st-luke")]
    with pytest.raises(UsageInvalid, match="without the folders of server"):
        export_state_dict(folders, tmp_path / "out")


def test_a_party_without_tensors_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(UsageInvalid, match="registry owns no tensors"):
        export_state_dict([write_party(tmp_path, "registry", {})], tmp_path / "out")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"contract": "sha256:" + "2" * 64}, "of contract sha256:2"),
        ({"generation": 2}, "of generation 2"),
        ({"step": 10}, "of step 10"),
        ({"plan": a_plan("client", "server", "client")}, "agreed to wire plan"),
    ],
    ids=["contract", "generation", "step", "plan"],
)
def test_results_of_two_runs_are_never_merged(changed: dict[str, object], message: str, tmp_path: Path) -> None:
    folders = [write_party(tmp_path, "server", TOP), write_party(tmp_path, "st-mary", BOTTOM, **changed)]
    with pytest.raises(ContractMismatch, match=message):
        export_state_dict(folders, tmp_path / "out")


def test_two_folders_of_one_party_are_refused(tmp_path: Path) -> None:
    folders = [write_party(tmp_path / each, "server", TOP) for each in "ab"]
    with pytest.raises(UsageInvalid, match="both results of server"):
        export_state_dict(folders, tmp_path / "out")


def test_a_tensor_of_two_owners_is_refused(tmp_path: Path) -> None:
    folders = [write_party(tmp_path, "server", {**TOP, **BOTTOM}), write_party(tmp_path, "st-mary", BOTTOM)]
    with pytest.raises(ContractMismatch, match=r"server and st-mary both hold 'bottom\.weight'"):
        export_state_dict(folders, tmp_path / "out")


def change_a_weight(folder: Path) -> None:
    save_file({"bottom.weight": BOTTOM["bottom.weight"] + 1}, folder / "result" / "segments.safetensors")


def tear_the_segments(folder: Path) -> None:
    path = folder / "result" / "segments.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def tear_the_manifest(folder: Path) -> None:
    path = folder / "result" / "manifest.json"
    path.write_text(path.read_text()[:-5])


def take_the_manifest(folder: Path) -> None:
    (folder / "result" / "manifest.json").unlink()


def name_what_is_not_there(folder: Path) -> None:
    path = folder / "result" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "alsoNamed": {"head.weight": "tail.weight"}}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change_a_weight, r"segments\.safetensors: tensor bottom\.weight is not the manifest's"),
        (tear_the_segments, r"segments\.safetensors: it is torn"),
        (tear_the_manifest, r"manifest\.json: it is torn"),
        (take_the_manifest, r"manifest\.json cannot be read: No such file"),
        (name_what_is_not_there, r"tensor tail\.weight is not among its tensors"),
    ],
)
def test_what_is_torn_or_tampered_with_is_refused_by_name(spoil, message: str, tmp_path: Path) -> None:
    folder = write_party(tmp_path, "st-mary", BOTTOM)
    spoil(folder)
    with pytest.raises(StorageFailed, match=message):
        export_state_dict([folder], tmp_path / "out")


def test_a_changed_plan_is_refused(tmp_path: Path) -> None:
    folders = [write_party(tmp_path, "server", TOP), write_party(tmp_path, "st-mary", BOTTOM)]
    path = folders[1] / "plan.json"
    path.write_text(path.read_text().replace('"owner":"server"', '"owner":"client"'))
    with pytest.raises(SplitTrainingError, match=r"plan\.json was changed"):
        export_state_dict(folders, tmp_path / "out")


class Tied(nn.Module):
    """A module whose decoder is its encoder's weight, with a buffer that its state dict leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 3, bias=False)
        self.decoder = nn.Linear(3, 3, bias=False)
        self.decoder.weight = self.encoder.weight
        self.register_buffer("calls", torch.zeros(()), persistent=False)


def test_tied_weights_and_buffers_that_are_not_kept_come_out_as_the_models_state_dict_has_them(tmp_path: Path) -> None:
    model = Tied()
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    also_named, not_persistent = _compare_names(model, tensors)
    folder = write_party(tmp_path, "st-mary", tensors, also_named=also_named, not_persistent=not_persistent)
    export_state_dict([folder], tmp_path / "out")
    Tied().load_state_dict(load_file(tmp_path / "out"))
