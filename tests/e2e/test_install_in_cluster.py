"""The operator as an administrator has it: what it may do, upgrades and the way back, and its end."""

from __future__ import annotations

import re
import secrets
import subprocess
from pathlib import Path

import pytest

from cluster.client import wait_until
from support.house_support import ROOT
from support.installation import CHART, RELEASE, SYSTEM, Installation, Room, begin_lasting, read_hospitals

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
    namespace = f"uninvited-{secrets.token_hex(4)}"
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


@pytest.mark.replaces_operator
def test_a_training_outlives_an_upgrade_a_way_back_and_an_uninstallation_and_goes_when_told(
    room: Room, tmp_path: Path
) -> None:
    """One walk, since every other step waits for pods: an administrator's year."""
    installation, another = room.installation, room.installation.make_room()
    previous = read_previous_chart(tmp_path)
    training = begin_lasting(room, another)
    name = training["metadata"]["name"]
    # Each replaces the operator's pods, also where the charts are alike. The way back to the chart of the commit before
    # is as hard for what runs as an upgrade from it, which the rollback then is.
    installation.install(previous or CHART, **{"podAnnotations.chart": "previous"})
    installation.run("helm", "rollback", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "180s")
    step = room.get(name)["status"]["progress"]["step"]
    training = room.wait_for(name, "further steps", lambda seen: seen["status"]["progress"]["step"] > step)
    assert training["status"]["attempt"] == 1

    installation.run("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "120s")
    try:
        assert installation.client.find(DEPLOYMENT) is None
        assert room.get(name), "the resources stay: their definitions are kept"
        another.leave()  # with the training that runs in it
        room.kubectl("delete", "splittraining", name, "--wait=true", "--timeout=60s")
        wait_until("no pod of a party", lambda: not room.list_pods())
        another.remove()
    finally:
        installation.install()
