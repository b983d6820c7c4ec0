"""Kubernetes objects from manifests. A folder `objects-of-…` holds `input.yaml`, a training, and `output.yaml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from splittraining.api.participation import PARTICIPATION_KIND, DesiredState, SplitParticipation
from splittraining.api.resource import parse_split_training
from splittraining.plan.acceptance import find_cluster_problems
from splittraining.plan.contracts import build_contract
from splittraining.plan.manifests.job import build_job
from splittraining.plan.manifests.participation import build_participation
from splittraining.plan.manifests.party_set import build_party_objects
from splittraining.plan.topology import list_parties
from support.manifests import A_SETTINGS
from support.yaml_text import load

CASES = sorted(Path(__file__).parent.glob("objects-of-*"))
SOURCE_DIGEST = "sha256:" + "0" * 64
KUBERNETES_VERSIONS = ("1.31", "1.37")
"""The one in which podFailurePolicy became stable, and the newest there are schemas of."""
SOURCE = {"model.py": b"def build():\n    ...\n"}


def build_objects(manifest: str) -> list[dict[str, Any]]:
    training = parse_split_training(load(manifest))
    assert find_cluster_problems(training, default_image=A_SETTINGS.party_image) == []
    images = dict.fromkeys(list_parties(training.spec), A_SETTINGS.party_image)
    contract = build_contract(training, source_digest=SOURCE_DIGEST, default_images=images)
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


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_kubernetes_version_knows_every_field_of_every_object(case: Path, version: str):
    for item in build_objects((case / "input.yaml").read_text()):
        if item["kind"] == PARTICIPATION_KIND:
            SplitParticipation.model_validate(item)
        else:
            assert kubernetes_validate.validate(item, version, strict=True) == version


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(("spec", "backoffLimits"), 0, id="a misspelled field"),
        pytest.param(("spec", "template", "spec", "volumes", 0, "configMap", "names"), "x", id="one deep inside"),
        pytest.param(("spec", "template", "spec", "containers", 0, "env", 0, "value"), 1, id="a number for text"),
    ],
)
def test_the_schemas_refuse_what_the_api_server_would_refuse(place: tuple[str | int, ...], value: object):
    job: Any = build_objects((CASES[0] / "input.yaml").read_text())[-1]
    below = job
    for name in place[:-1]:
        below = below[name]
    below[place[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES_VERSIONS[0], strict=True)
