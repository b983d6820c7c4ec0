"""SplitParticipation: what may change, and what an institution decides."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from splittraining.api.participation import DesiredState, ParticipationSpec, SplitParticipation
from splittraining.api.participation_crd import FIXED_FIELDS, build_participation_schema
from splittraining.plan.contracts import build_contract
from splittraining.plan.manifests.participation import build_participation
from support.builders import a_vanilla_training
from support.cel import evaluate_cel
from support.observed import UID

DIGEST = "sha256:" + "1" * 64
APPROVAL = {"contractDigest": DIGEST, "planDigest": DIGEST, "decision": "Approved"}


def build() -> dict[str, Any]:
    training = a_vanilla_training().with_value("metadata.uid", UID).build()
    contract = build_contract(training, source_digest=DIGEST)
    return build_participation(training, contract, "st-mary", desired=DesiredState.RUNNING)


def find_refused(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    rules = build_participation_schema()["properties"]["spec"]["x-kubernetes-validations"]
    return [rule["fieldPath"] for rule in rules if not evaluate_cel(rule["rule"], self=new, oldSelf=old)]


def test_what_the_operator_writes_is_a_participation():
    participation = SplitParticipation.model_validate(build())
    assert participation.spec.run_id == UID
    assert participation.spec.approval is None
    assert participation.metadata.owner_references is not None


def test_every_field_but_what_is_to_be_done_and_the_approval_is_fixed():
    fields = {info.alias for info in ParticipationSpec.model_fields.values()}
    assert fields - set(FIXED_FIELDS) == {"desiredState", "approval"}


@pytest.mark.parametrize("field", FIXED_FIELDS)
def test_what_a_participation_is_about_cannot_be_changed(field: str):
    spec = build()["spec"]
    changed = {**spec, field: {**spec[field], "name": "x"} if isinstance(spec[field], dict) else "other"}
    assert find_refused(spec, changed) == [f".{field}"]


def test_what_is_to_be_done_and_the_approval_may_change():
    spec = build()["spec"]
    assert find_refused(spec, {**spec, "desiredState": "Suspended"}) == []
    assert find_refused(spec, {**spec, "approval": APPROVAL}) == []


def test_an_approval_names_both_digests():
    spec = build()["spec"]
    assert ParticipationSpec.model_validate({**spec, "approval": APPROVAL}).approval is not None
    for missing in ("contractDigest", "planDigest", "decision"):
        approval = {name: value for name, value in APPROVAL.items() if name != missing}
        with pytest.raises(ValidationError):
            ParticipationSpec.model_validate({**spec, "approval": approval})
