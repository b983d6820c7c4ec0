"""The resource as the API server itself takes it: rules in CEL, typing mistakes, defaults, and what `kubectl` tells."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.binaries import find_builder
from cluster.light import ADMIN, ApiServer
from splittraining.api.rules.registry import find_violations
from support.builders import a_vanilla_training
from support.rule_rows import CHANGE_ROWS, ROWS, ChangeRow, Row
from support.update_rows import UPDATE_ROWS

NAMESPACE = "rules"
PATH = f"/apis/splitlearning.dev/v1alpha1/namespaces/{NAMESPACE}/splittrainings"
MERGE = "application/merge-patch+json"
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def rules(server: ApiServer) -> ApiServer:
    server.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    return server


def place(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Puts a manifest into the namespace of this file."""
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": NAMESPACE}}


@pytest.mark.parametrize("row", [*ROWS, *UPDATE_ROWS], ids=lambda row: f"{row.message}: {row.name}")
def test_the_api_server_refuses_and_accepts_what_a_rules_table_says(rules: ApiServer, row: Row) -> None:
    status, answer = rules.call("POST", f"{PATH}?dryRun=All&fieldValidation=Strict", place(row.training.as_manifest()))
    if row.accepted:
        assert status == 201, answer
    else:
        assert status == 422, answer
        assert row.message in answer["message"]


def is_valid(row: ChangeRow) -> bool:
    """Tells whether a change begins with an object that can be there."""
    return not find_violations(row.old.build())


CHANGES = [row for row in CHANGE_ROWS if is_valid(row)]


def test_nearly_all_changes_begin_with_an_object_that_can_be_there() -> None:
    assert len(CHANGE_ROWS) - len(CHANGES) <= 2


@pytest.mark.parametrize("row", CHANGES, ids=lambda row: f"{row.path}{row.field}: {row.name}")
def test_the_api_server_refuses_and_accepts_the_changes_that_a_table_says(rules: ApiServer, row: ChangeRow) -> None:
    name = f"change-{next(_NUMBERS)}"
    old, new = (place(each.named(name).as_manifest()) for each in (row.old, row.new))
    made = rules.create(PATH, {key: value for key, value in old.items() if key != "status"})
    if "status" in old:
        status, made = rules.call("PATCH", f"{PATH}/{name}/status", {"status": old["status"]}, content_type=MERGE)
        assert status == 200, made
    new["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    status, answer = rules.call("PUT", f"{PATH}/{name}?dryRun=All", new)
    assert status == (200 if row.accepted else 422), answer


def kubectl(server: ApiServer, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(server.write_kubeconfig(ADMIN))}
    command = [str(find_builder().build("kube")), "kubectl", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=check)


def write(folder: Path, manifest: Mapping[str, Any]) -> str:
    (folder / "training.yaml").write_text(json.dumps(place(manifest)))
    return str(folder / "training.yaml")


def test_explain_tells_every_field_with_a_text(rules: ApiServer) -> None:
    tree = kubectl(rules, "explain", "splittrainings", "--recursive").stdout
    for field in ("cutPoints", "readyTimeoutSeconds", "nodeSelector", "etaSeconds", "activeDeadlineSeconds"):
        assert field in tree
    told = kubectl(rules, "explain", "splittrainings.spec.schedule.sequential.handoff").stdout
    assert "ViaServer" in told
    assert "<no description>" not in kubectl(rules, "explain", "splittrainings.spec").stdout


def test_a_misspelled_field_is_refused_by_its_name(rules: ApiServer, tmp_path: Path) -> None:
    manifest = a_vanilla_training().with_value("spec.training.batchsize", 8).as_manifest()
    done = kubectl(rules, "apply", "-f", write(tmp_path, manifest), check=False)
    assert done.returncode != 0
    assert 'unknown field "spec.training.batchsize"' in done.stderr


@pytest.mark.parametrize("words", [(), ("--server-side",)], ids=["at the client", "at the server"])
def test_applying_the_same_manifest_again_changes_nothing(
    rules: ApiServer, tmp_path: Path, words: tuple[str, ...]
) -> None:
    name = f"twice-{next(_NUMBERS)}"
    path = write(tmp_path, a_vanilla_training().named(name).as_manifest())
    kubectl(rules, "apply", "-f", path, *words)
    before = rules.get(f"{PATH}/{name}")["metadata"]
    said = kubectl(rules, "apply", "-f", path, *words).stdout
    after = rules.get(f"{PATH}/{name}")["metadata"]
    assert (after["generation"], after["resourceVersion"]) == (before["generation"], before["resourceVersion"])
    assert words or "unchanged" in said
