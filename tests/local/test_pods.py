"""A party in a pod: the same training from a root file system that nobody can write, and ends that a cluster reads."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import torch

from splittraining.api.exit_codes import ExitCode
from splittraining.api.party_document import Endpoint, IntakeAccess, Reporting
from splittraining.local.accepted import accept_manifest
from splittraining.local.manifest import load_manifest
from splittraining.plan.party_documents import PartyPlace, RunPlace, build_party_documents
from splittraining.plan.topology import list_parties
from support.cases import a_vanilla_case
from support.pki_support import a_site
from support.pods import PodLauncher, can_run_pods, start_pod
from support.runs import run_case

pytestmark = pytest.mark.skipif(not can_run_pods(), reason="needs root, to make namespaces")


def read_end(folder: Path) -> dict[str, object]:
    return json.loads((folder / "termination-log").read_text())


@pytest.mark.slow
def test_parties_in_pods_train_to_the_same_bits_and_write_nothing_but_their_output(tmp_path: Path) -> None:
    case = a_vanilla_case({"north": 6})
    run = run_case(case, tmp_path / "pods", launcher=PodLauncher(tmp_path))
    assert run.outcome.exit_code == ExitCode.OK, run.outcome.message
    here = run_case(case, tmp_path / "here")
    for party in ("north", "server"):
        ours, theirs = here.read_segments(party), run.read_segments(party)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert read_end(tmp_path / party) == {"code": 0, "reason": "Finished", "message": ""}
        assert [path for path in (tmp_path / party / "tmp").rglob("*") if not path.is_dir()] == []


def build_document(folder: Path, port: int) -> dict[str, object]:
    """Returns the document of a client whose intake lets it wait."""
    site = a_site()
    (folder / "bundle").write_bytes(site.ca.certificate_pem)
    accepted = accept_manifest(load_manifest(a_vanilla_case({"north": 6}).write(folder)))
    place = PartyPlace(
        intake=IntakeAccess(
            url=f"https://127.0.0.1:{port}", bundle_path=str(folder / "bundle"), token_path=str(folder / "bundle")
        ),
        output_path=str(folder),
    )
    documents = build_party_documents(
        accepted.training,
        accepted.contract,
        run=RunPlace("run-1", site.ca.trust_domain, Endpoint(host="127.0.0.1", port=port), Reporting()),
        places=dict.fromkeys(list_parties(accepted.training.spec), place),
    )
    return documents["north"].as_json_object()


def test_a_party_that_is_asked_to_stop_before_it_has_begun_hears_it_as_process_1(tmp_path: Path) -> None:
    with start_pod(tmp_path / "pod", build_document(tmp_path, 1)) as pod:
        os.kill(wait_for_listening_party(pod), signal.SIGTERM)
        _, errors = pod.communicate(timeout=20)
    assert pod.returncode == ExitCode.PREEMPTED
    assert "before it had begun" in errors


@pytest.mark.slow
def test_a_party_that_waits_for_its_intake_stops_at_once_when_asked(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        start_pod(tmp_path / "pod", build_document(tmp_path, silent.getsockname()[1])) as pod,
    ):
        party = wait_for_listening_party(pod)
        silent.settimeout(60)
        connection, _ = silent.accept()  # the party has come for its certificate, and nobody will answer
        with connection:
            os.kill(party, signal.SIGTERM)
            started_s = time.monotonic()
            pod.communicate(timeout=20)
    assert time.monotonic() - started_s < 10
    assert pod.returncode == ExitCode.PREEMPTED
    end = json.loads((tmp_path / "pod" / "termination-log").read_text())
    assert (end["code"], end["reason"]) == (ExitCode.PREEMPTED, "Preempted")


def wait_for_listening_party(pod: subprocess.Popen[str]) -> int:
    """Returns the party's process id once it has a handler for SIGTERM."""
    deadline_s = time.monotonic() + 20
    bit = 1 << (signal.SIGTERM - 1)
    while time.monotonic() < deadline_s:
        for child in psutil.Process(pod.pid).children():
            caught = re.search(r"^SigCgt:\t([0-9a-f]+)$", Path(f"/proc/{child.pid}/status").read_text(), re.MULTILINE)
            if "splittraining.party.entry" in child.cmdline() and caught and int(caught[1], 16) & bit:
                return child.pid
    raise AssertionError("the party never listened to SIGTERM")
