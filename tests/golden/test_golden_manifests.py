"""Kubernetes objects from manifests. A folder `objects-of-…` holds `input.yaml`, a training, and `output.yaml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from splittraining.api.participation import DesiredState
from splittraining.api.resource import parse_split_training
from splittraining.plan.acceptance import find_cluster_problems
from splittraining.plan.contracts import build_contract
from splittraining.plan.manifests.job import build_job
from splittraining.plan.manifests.participation import build_participation
from splittraining.plan.manifests.party_set import build_party_objects
from splittraining.plan.topology import list_parties
from support.manifests import A_SETTINGS

CASES = sorted(Path(__file__).parent.glob("objects-of-*"))
SOURCE_DIGEST = "sha256:" + "0" * 64
SOURCE = {"model.py": b"def build():\n    ...\n"}


def build_objects(manifest: str) -> list[dict[str, Any]]:
    training = parse_split_training(yaml.safe_load(manifest))
    assert find_cluster_problems(training, default_image=A_SETTINGS.party_image) == []
    contract = build_contract(training, source_digest=SOURCE_DIGEST, default_image=A_SETTINGS.party_image)
    objects: list[dict[str, Any]] = []
    for party in list_parties(training.spec):
        known = {"uid": f"uid-of-{party}", "attempt": 2, "settings": A_SETTINGS}
        objects.append(build_participation(training, contract, party, desired=DesiredState.RUNNING))
        objects += build_party_objects(
            training, contract, party, **known, source_files=SOURCE, trust_bundle_pem="roots\n"
        )
        objects.append(build_job(training, contract, party, **known))
    return objects


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_objects_are_what_was_agreed_on(case: Path):
    objects = build_objects((case / "input.yaml").read_text())
    rendered = yaml.safe_dump_all(objects, sort_keys=False, width=120, allow_unicode=True)
    if os.environ.get("SPLITTRAINING_UPDATE_GOLDEN"):
        (case / "output.yaml").write_text(rendered)
    assert rendered == (case / "output.yaml").read_text()
