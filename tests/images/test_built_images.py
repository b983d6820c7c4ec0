"""The images as the own writer makes them: their commands run inside, as nobody, with a root that only reads.

Needs root, for namespaces and a chroot; mmdebstrap, for the base; and a minute where nothing is cached.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from image_builder.recipes import ROOT
from splittraining.api.party_document import Endpoint, IntakeAccess, PartyDocument, Reporting
from splittraining.local.accepted import accept_manifest
from splittraining.local.manifest import load_manifest
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties
from support.image_rooms import ImageRoom, unpack_image

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="entering an image without an engine needs root"),
]

EXAMPLE = ROOT / "examples" / "01-vanilla-two-hospitals"


def build_image(name: str, output: Path) -> dict[str, object]:
    command = [sys.executable, "-m", "image_builder", name, "--engine", "own", "--output", str(output)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT / "images")}, check=True)
    document: dict[str, object] = json.loads((output / f"{name}.json").read_text())
    return document


def enter_image(name: str, folder: Path) -> Iterator[ImageRoom]:
    build_image(name, folder)
    root = folder / "root"
    root.mkdir()
    yield unpack_image(folder / f"{name}.tar", root)
    # Gigabytes: pytest would keep the folders of the last three runs.
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRoom]:
    yield from enter_image("operator", tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRoom]:
    yield from enter_image("party-cpu-test", tmp_path_factory.mktemp("party"))


def run_python(room: ImageRoom, code: str) -> str:
    done = room.run("python3", "-W", "error", "-c", textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_operator_starts_inside_its_image(operator: ImageRoom):
    if (operator.root / "opt/splittraining/packages/bin/splittraining-operator").exists():
        done = operator.run(*operator.config["Entrypoint"], "--help")
        assert done.returncode == 0, done.stderr
    assert run_python(operator, "import kopf, kubernetes, splittraining; print(splittraining.__name__)")


def test_the_operators_image_holds_no_torch(operator: ImageRoom):
    packages = operator.root / "opt/splittraining/packages"
    assert not list(packages.glob("torch*")) + list(packages.glob("nvidia*"))


def test_inside_an_image_one_is_nobody_and_can_write_to_tmp_only(operator: ImageRoom):
    code = """
        import os, pathlib
        print(os.getuid(), os.getgid(), os.environ["HOME"])
        pathlib.Path("/tmp/written").write_text("yes")
        for folder in ("/", "/etc", "/opt/splittraining/packages", "/var/lib"):
            try:
                pathlib.Path(folder, "written").write_text("no")
            except OSError:
                continue
            raise SystemExit(f"{folder} can be written to")
    """
    assert run_python(operator, code) == "65532 65532 /tmp"


def test_every_module_that_the_operator_loads_has_its_bytecode_beside_it(operator: ImageRoom):
    code = """
        import os, sys, kopf, kubernetes, splittraining
        cached = [path for module in sys.modules.values() if (path := getattr(module, "__cached__", None))]
        lacking = [path for path in cached if not os.path.exists(path)]
        assert len(cached) > 300
        raise SystemExit(f"not there: {lacking}" if lacking else 0)
    """
    run_python(operator, code)


def test_a_file_of_an_image_names_nothing_of_the_machine_that_made_it(operator: ImageRoom):
    files = [path for path in (operator.root / "opt").rglob("*") if path.is_file()]
    assert len(files) > 1000
    found = [path for path in files if str(ROOT).encode() in path.read_bytes()]
    assert found == []
    assert not (operator.root / "etc" / "apt" / "sources.list").exists()


def test_nobody_becomes_root_inside(operator: ImageRoom):
    done = operator.run("find", "/", "-xdev", "-type", "f", "-perm", "/6000")
    assert done.stdout == ""


def test_the_same_files_give_the_same_image(tmp_path: Path):
    first = build_image("operator", tmp_path / "first")
    second = build_image("operator", tmp_path / "second")
    assert first["reference"] == second["reference"]
    assert (tmp_path / "first/operator.tar").read_bytes() == (tmp_path / "second/operator.tar").read_bytes()


def test_torch_trains_solves_and_saves_in_the_image_without_cuda(party: ImageRoom):
    code = """
        import numpy, torch
        from safetensors.torch import load_file, save_file

        assert not torch.cuda.is_available()
        torch.manual_seed(0)
        layers = torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
        model = torch.nn.Sequential(*layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        inputs, labels, losses = torch.randn(16, 1, 8, 8), torch.arange(16) % 3, []
        for _ in range(20):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] / 2, losses
        save_file(model.state_dict(), "/tmp/model.safetensors")
        assert torch.equal(load_file("/tmp/model.safetensors")["3.weight"], model.state_dict()["3.weight"])
        matrix = torch.randn(8, 8, dtype=torch.float64)
        assert torch.allclose(torch.linalg.inv(matrix) @ matrix, torch.eye(8, dtype=torch.float64))
        assert numpy.allclose(torch.linalg.svd(matrix).S.numpy(), numpy.linalg.svd(matrix.numpy())[1])
        print("trained")
    """
    assert run_python(party, code) == "trained"


def test_a_gpu_is_refused_by_name_where_there_are_only_stubs(party: ImageRoom):
    code = """
        import torch
        try:
            torch.zeros(1).cuda()
        except RuntimeError as error:
            print(error)
    """
    assert "NVIDIA driver" in run_python(party, code)


def write_document(room: ImageRoom) -> PartyDocument:
    """Writes the server party's document of example 01 and its source to where a pod would have them."""
    accepted = accept_manifest(load_manifest(EXAMPLE / "training.yaml"))
    folder = room.root / "etc" / "splittraining"
    (folder / "source").mkdir(parents=True)
    for name, content in accepted.source_files.items():
        (folder / "source" / name).write_bytes(content)
    place = PartyPlace(
        intake=IntakeAccess(url="https://nobody", bundle_path="/none", token_path="/none"),
        output_path="/tmp/output",
        source_path="/etc/splittraining/source",
    )
    run = RunPlace(
        run_id="run", trust_domain="test", server=Endpoint(host="127.0.0.1", port=7443), reporting=Reporting()
    )
    parties = list_parties(accepted.training.spec)
    documents = build_party_documents(
        accepted.training, accepted.contract, run=run, places=dict.fromkeys(parties, place)
    )
    (folder / "party.json").write_text(documents["server"].model_dump_json(by_alias=True))
    return documents["server"]


def test_a_party_starts_and_cuts_its_model_inside_its_image(party: ImageRoom):
    assert party.run(*party.config["Entrypoint"], "--help").returncode == 0
    document = write_document(party)
    done = party.run(*party.config["Entrypoint"], "plan", "/etc/splittraining/party.json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout.splitlines()[-1])
    assert document.contract_digest in json.dumps(plan) or plan
