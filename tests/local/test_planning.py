"""Cutting a model without training: `splittraining plan`."""

import itertools
import json

import pytest
import yaml

from splittraining.api.errors import ModelCodeFailed, ModelInvalid, SplitTrainingError
from splittraining.api.exit_codes import ExitCode
from splittraining.api.plan_report import PlanReport
from splittraining.cli.main import main
from splittraining.local.accepted import accept_manifest
from splittraining.local.manifest import load_manifest
from splittraining.local.planner import cut_model
from support.cases import Case, a_multi_hop_case, a_vanilla_case
from support.local_support import build_launcher

FAULTY = """\
import os
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.bottom, self.top = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.top(self.bottom(x))

def build_chatty():
    print("building")
    return Model()

def build_broken():
    raise KeyError("width")

def build_deadly():
    os.kill(os.getpid(), 9)
"""


def cut(case: Case, folder) -> PlanReport:
    return cut_model(accept_manifest(load_manifest(case.write(folder))), launcher=build_launcher())


def a_faulty_case(function: str, layer: str = "bottom") -> Case:
    case = a_vanilla_case().changed(
        lambda spec: spec["model"].update(entrypoint=f"faulty:{function}", cutPoints=[{"layer": layer}])
    )
    case.source = {"faulty.py": FAULTY}
    return case


def test_a_plan_says_who_owns_what_and_what_crosses(tmp_path):
    report = cut(a_vanilla_case(), tmp_path)
    assert [segment.owner for segment in report.segments] == ["client", "server"]
    assert [value.name for value in report.wire_plan.values] == ["bottom", "label"]
    assert report.wire_plan_digest == report.wire_plan.compute_digest()


def test_what_the_models_code_prints_does_not_disturb_the_plan(tmp_path):
    assert cut(a_faulty_case("build_chatty"), tmp_path).segments[0].num_parameters == 24


@pytest.mark.parametrize(
    ("function", "layer", "kind", "code", "message"),
    [
        ("build_chatty", "botom", ModelInvalid, ExitCode.MODEL_INVALID, "cut point 'botom' is no module"),
        ("build_broken", "bottom", ModelCodeFailed, ExitCode.MODEL_CODE, "KeyError"),
        ("build_deadly", "bottom", SplitTrainingError, ExitCode.OUT_OF_MEMORY, "was killed"),
    ],
)
def test_a_model_that_cannot_be_cut_is_refused_as_in_a_run(tmp_path, function, layer, kind, code, message):
    with pytest.raises(kind, match=message) as refused:
        cut(a_faulty_case(function, layer), tmp_path)
    assert refused.value.exit_code == code


def test_with_debug_an_error_carries_the_traceback_of_the_process(tmp_path):
    accepted = accept_manifest(load_manifest(a_faulty_case("build_broken").write(tmp_path)))
    with pytest.raises(ModelCodeFailed) as refused:
        cut_model(accepted, launcher=build_launcher(), debug=True)
    assert "faulty.py" in refused.value.__notes__[0]


def test_a_chain_has_a_segment_for_each_owner_and_the_loss_has_none_of_its_own(tmp_path):
    report = cut(a_multi_hop_case(), tmp_path)
    assert [(item.owner, item.layers) for item in report.segments] == [
        ("clinic", ("first",)), ("lab", ("second",)), ("center", ("third",)), ("server", ("last",)), ("registry", ()),
    ]  # fmt: skip
    assert sorted(report.wire_plan.compute_link_bytes(1)) == sorted(
        [
            *itertools.pairwise(("clinic", "lab", "center", "server", "registry")),
            *itertools.pairwise(("registry", "server", "center", "lab", "clinic")),
        ]
    )


def test_what_passes_an_owner_of_a_chain_without_being_named_is_refused_by_name(tmp_path):
    case = a_multi_hop_case(skip=True).changed(lambda spec: spec["model"].update(extraCrossings=[]))
    with pytest.raises(ModelInvalid, match=r"sends Activations 'first' from clinic to center.*model\.extraCrossings"):
        cut(case, tmp_path)


@pytest.mark.slow  # three processes that cut a model, one after the other
def test_a_pinned_plan_is_what_the_command_prints_and_a_manifest_that_is_still_valid(tmp_path, capsys):
    build_launcher().warm_up()  # the fork server that the command finds here: it has imported torch
    manifest = a_vanilla_case().changed(lambda spec: spec["model"].update(wirePlanDigest="sha256:" + "0" * 64))
    path = manifest.write(tmp_path)
    command = ["plan", "-f", str(path)]
    assert main(command) == ExitCode.CONTRACT_MISMATCH
    assert "plan --pin" in capsys.readouterr().err
    assert main([*command, "--pin", "--json"]) == ExitCode.OK
    model = next(yaml.safe_load_all(path.read_text()))["spec"]["model"]
    assert model["wirePlanDigest"] == json.loads(capsys.readouterr().out)["wirePlanDigest"]
    assert main(command) == ExitCode.OK
