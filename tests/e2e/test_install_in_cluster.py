"""The operator as an administrator has it: what it may do, upgrades and the way back, and its end."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cluster.client import wait_until
from support.house_support import ROOT
from support.installation import CHART, FOR_A_WHILE, RELEASE, SYSTEM, Installation, Room, get_state, read_hospitals

ACCOUNT = f"--as=system:serviceaccount:{SYSTEM}:{RELEASE}-operator"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{RELEASE}-operator"


def list_rights(installation: Installation, namespace: str) -> list[str]:
    """Lists what the operator's account may do in a namespace, a line for each sort of object."""
    told = installation.run("kubectl", "auth", "can-i", "--list", "-n", namespace, ACCOUNT, "--no-headers").stdout
    return [line for line in told.splitlines() if line.strip()]


def test_the_operators_account_has_no_wildcard_no_exec_and_no_secret_but_its_own(room: Room) -> None:
    installation = room.installation
    invited, own, elsewhere = (list_rights(installation, name) for name in (room.namespace, SYSTEM, "default"))
    for line in [*invited, *own, *elsewhere]:
        # What every account may ask about itself, and the addresses of versions and health, stand here too.
        assert "*" not in re.sub(r"/\*\s|\[/[^]]*\]", " ", line), line
        assert "pods/exec" not in line
    for rights in (invited, elsewhere):
        assert not [line for line in rights if line.startswith("secrets")]
    assert all("ca" in line or "[create]" in line for line in own if line.startswith("secrets"))
    assert not [
        line for line in elsewhere if re.match(r"(jobs|pods|configmaps|services)\S* .*(create|patch|delete)", line)
    ]


def test_a_namespace_that_has_not_invited_the_operator_is_told_so(installation: Installation) -> None:
    namespace = "uninvited"
    installation.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    room, hospitals = Room(installation, namespace), read_hospitals()
    try:
        hospitals.begin(room)
        training = room.wait_for(
            hospitals.name,
            "NotInvited",
            lambda seen: any(each["reason"] == "NotInvited" for each in seen.get("status", {}).get("conditions", [])),
            patience_s=30,
        )
        assert namespace in str(training["status"]["conditions"])
        assert room.list_pods() == []
    finally:
        room.remove()


def read_previous_chart(folder: Path) -> Path | None:
    """Writes the chart of the commit before into a folder; None where there was none."""
    where = CHART.relative_to(ROOT)
    archive = subprocess.run(
        ["git", "archive", "--format=tar", "HEAD~1", str(where)], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode != 0:
        return None
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder / where


@pytest.mark.alone
def test_a_training_goes_on_through_an_upgrade_from_the_previous_chart_and_back(room: Room, tmp_path: Path) -> None:
    previous = read_previous_chart(tmp_path)
    if previous is None:
        pytest.skip("the commit before has no chart, or there is no history here")
    room.installation.install(previous)
    hospitals = read_hospitals(rounds=60)
    hospitals.begin(room)
    room.wait_for_state(hospitals.name, "Running")
    # Each of these replaces the operator's pods, also where the two charts are alike.
    room.installation.install(**{"podAnnotations.chart": "this"})
    room.installation.run("helm", "rollback", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "180s")
    room.installation.install(**{"podAnnotations.chart": "this"})
    training = room.wait_for_state(hospitals.name, "Completed", "Failed", patience_s=240)
    assert get_state(training) == "Completed", training["status"]
    assert training["status"]["attempt"] == 1


@pytest.mark.alone
def test_uninstalling_leaves_trainings_as_they_are_and_nothing_stuck(room: Room) -> None:
    installation = room.installation
    hospitals = read_hospitals(rounds=FOR_A_WHILE)
    hospitals.begin(room)
    room.wait_for_state(hospitals.name, "Running")
    installation.run("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "120s")
    try:
        assert installation.client.find(DEPLOYMENT) is None
        assert room.get(hospitals.name), "the resources stay: their definitions are kept"
        room.kubectl("delete", "splittraining", hospitals.name, "--wait=true", "--timeout=60s")
        wait_until("no pod of a party", lambda: not room.list_pods())
    finally:
        installation.install()
