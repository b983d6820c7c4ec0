"""The kubectl plugin as it is installed, before a real API server. There is no kubelet: no pod ever runs by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.light import ADMIN, ApiServer
from splittraining.api.exit_codes import ExitCode

Wait = Callable[..., Any]
PODS = "/api/v1/namespaces/{}/pods"
PROGRAM = Path(sys.executable).with_name("kubectl-splittraining")


def build_call(server: ApiServer, *words: str) -> tuple[list[str], dict[str, str]]:
    return [str(PROGRAM), *words], {**os.environ, "KUBECONFIG": str(server.write_kubeconfig(ADMIN))}


def call(server: ApiServer, *words: str) -> subprocess.CompletedProcess[str]:
    command, environment = build_call(server, *words)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def started(place: Any, wait: Wait) -> Any:
    """A training that an operator has started, in a namespace that takes restricted pods only."""
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    path = f"/api/v1/namespaces/{place.namespace}"
    assert place.server.call("PATCH", path, enforced, content_type="application/merge-patch+json")[0] == 200
    place.start()
    place.apply_training()
    place.wait_for_children()
    wait("the state", lambda: place.get_state() == "Starting")
    return place


def list_pods(place: Any) -> list[dict[str, Any]]:
    return list(place.server.get(PODS.format(place.namespace))["items"])


def test_status_tells_what_the_operator_wrote(started: Any) -> None:
    done = call(started.server, "status", "chest-xray", "-n", started.namespace)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{started.namespace}/chest-xray (Vanilla): Starting"
    assert any(line.startswith("st-mary: client, not ready") for line in lines)
    printed = call(started.server, "status", "chest-xray", "-n", started.namespace, "-o", "json")
    assert json.loads(printed.stdout)["status"]["attempt"] == 1


def test_a_misspelled_name_is_told_with_what_is_there(started: Any) -> None:
    done = call(started.server, "logs", "chest-xay", "-n", started.namespace)
    assert done.returncode == ExitCode.USAGE
    assert "did you mean chest-xray? Allowed: chest-xray." in done.stderr


def test_logs_without_pods_point_to_the_volume(started: Any) -> None:
    done = call(started.server, "logs", "chest-xray", "st-mary", "-n", started.namespace)
    assert done.returncode == ExitCode.USAGE
    assert "kubectl splittraining fetch chest-xray st-mary" in done.stderr


def test_a_user_without_rights_is_told_which(server: ApiServer, tmp_path: Path) -> None:
    configuration = json.loads(server.write_kubeconfig(ADMIN).read_text())
    configuration["users"][0]["user"] = {}
    (tmp_path / "anonymous").write_text(json.dumps(configuration))
    done = call(server, "status", "x", "-n", "trial", "--kubeconfig", str(tmp_path / "anonymous"))
    assert done.returncode == ExitCode.CLUSTER_FAILED
    assert "the right to get splittrainings.splitlearning.dev in namespace trial" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_fetch_leaves_no_pod(started: Any, tmp_path: Path, wait: Wait, number: signal.Signals) -> None:
    command, environment = build_call(
        started.server, "fetch", "chest-xray", "st-mary", "-n", started.namespace, "-o", str(tmp_path / "to")
    )
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        (pod,) = wait("the pod that reads", lambda: list_pods(started))
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (ExitCode.INTERRUPTED, "error: interrupted\n")
    assert "-fetch-" in pod["metadata"]["name"]
    assert list_pods(started) == []
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_cannot_run_its_command_says_so_and_leaves_no_pod(
    started: Any, tmp_path: Path, wait: Wait
) -> None:
    command, environment = build_call(
        started.server, "fetch", "chest-xray", "st-mary", "-n", started.namespace, "-o", str(tmp_path / "to")
    )
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        (pod,) = wait("the pod that reads", lambda: list_pods(started))
        name = pod["metadata"]["name"]
        running = {
            "name": "reader",
            "state": {"running": {}},
            "ready": True,
            "restartCount": 0,
            "image": "",
            "imageID": "",
        }
        status = {"status": {"phase": "Running", "containerStatuses": [running]}}
        path = f"{PODS.format(started.namespace)}/{name}/status"
        assert started.server.call("PATCH", path, status, content_type="application/merge-patch+json")[0] == 200
        _, error = process.communicate(timeout=60)
    assert process.returncode == ExitCode.CLUSTER_FAILED
    assert f"the cluster failed: GET /api/v1/namespaces/{started.namespace}/pods/{name}/exec" in error
    assert list_pods(started) == []


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [("Complete", "Completed", ExitCode.OK), ("Failed", "DataInvalid", ExitCode.DATA_INVALID)],
)
def test_watching_ends_with_the_code_of_the_end(place: Any, kind: str, reason: str, code: ExitCode) -> None:
    place.apply_training()
    moment = "2026-01-01T12:00:00Z"
    end = {"type": kind, "status": "True", "reason": reason, "message": "so it is", "lastTransitionTime": moment}
    path = f"/apis/splitlearning.dev/v1alpha1/namespaces/{place.namespace}/splittrainings/chest-xray/status"
    status = {"status": {"conditions": [end]}}
    assert place.server.call("PATCH", path, status, content_type="application/merge-patch+json")[0] == 200
    done = call(place.server, "status", "chest-xray", "-n", place.namespace, "--watch")
    assert done.returncode == code
    told = "error: chest-xray failed: DataInvalid: so it is. To do: Change the data" if code else ""
    assert done.stderr[: len(told) or None] == told
