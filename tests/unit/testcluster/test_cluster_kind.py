"""What kind and Docker are told where there is a Docker engine; they are not run here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from cluster import kind
from cluster.refusal import ClusterRefused

NO_ENGINE = "Cannot connect to the Docker daemon"


class Told:
    """Notes the commands and gives prepared answers."""

    def __init__(self, clusters: str = "") -> None:
        self.commands: list[list[str]] = []
        self._clusters = clusters

    def __call__(self, command: Sequence[str]) -> str:
        self.commands.append(list(command))
        return self._clusters if list(command) == ["kind", "get", "clusters"] else ""


def test_the_engine_is_asked_before_anything_is_made(tmp_path: Path):
    def refuse(command: Sequence[str]) -> str:
        assert list(command) == ["docker", "info"]
        raise ClusterRefused(NO_ENGINE)

    with pytest.raises(ClusterRefused, match="Docker daemon"):
        kind.bring_up(tmp_path, "trial", refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_up_stays_as_it_is(tmp_path: Path):
    told = Told(clusters="other\ntrial\n")
    kind.bring_up(tmp_path, "trial", told)
    assert told.commands == [["docker", "info"], ["kind", "get", "clusters"]]


def test_the_node_image_is_the_version_that_the_other_form_runs(tmp_path: Path):
    command = kind.list_create("trial", tmp_path / "kubeconfig")
    assert command[:5] == ["kind", "create", "cluster", "--name", "trial"]
    assert "kindest/node:v1.36.3" in command


def test_an_image_is_loaded_from_its_archive(tmp_path: Path):
    told, archive = Told(), tmp_path / "operator.tar"
    archive.with_suffix(".json").write_text('{"reference": "splittraining-operator:1"}')
    assert kind.KindCluster("trial", tmp_path, told).load(archive) == "splittraining-operator:1"
    assert told.commands == [["kind", "load", "image-archive", str(archive), "--name", "trial"]]


def test_files_are_copied_onto_the_node_of_that_cluster():
    commands = kind.list_copy("trial", Path("/data/xrays"), "/var/x")
    assert commands == [
        ["docker", "exec", "trial-control-plane", "mkdir", "-p", "/var/x"],
        ["docker", "cp", "/data/xrays/.", "trial-control-plane:/var/x"],
    ]


def test_taking_down_names_the_cluster(tmp_path: Path):
    told = Told()
    kind.take_down(tmp_path, "trial", told)
    assert told.commands == [["kind", "delete", "cluster", "--name", "trial", "--kubeconfig",
                              str(tmp_path / "trial" / "kubeconfig")]]  # fmt: skip


def test_a_kubeconfig_of_kind_is_read(tmp_path: Path):
    text = base64.b64encode(b"pem").decode()
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"cluster": {"server": "https://127.0.0.1:34567", "certificate-authority-data": text}}],
                "users": [{"user": {"client-certificate-data": text, "client-key-data": text}}],
            }
        )
    )
    client = kind.read_client(path)
    assert (client.port, client.authority.read_bytes()) == (34567, b"pem")
    assert client.certificate is not None
    assert client.certificate[1].stat().st_mode & 0o077 == 0
