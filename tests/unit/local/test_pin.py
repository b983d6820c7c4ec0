import pytest
import yaml

from splittraining.api.errors import SpecInvalid
from splittraining.local.pin import pin_wire_plan_digest

DIGEST = "sha256:" + "ab" * 32

BLOCK = """\
# what we agreed on
kind: ConfigMap
metadata: {name: code}
---
kind: SplitTraining
spec:
  rounds: 3   # enough
  model:
    # the network
    entrypoint: "m:build"   # ours
    cutPoints: [{layer: body}]
"""


def get_model(text: str) -> dict:
    return next(doc for doc in yaml.safe_load_all(text) if doc["kind"] == "SplitTraining")["spec"]["model"]


def test_a_digest_is_added_and_every_other_line_stays():
    pinned = pin_wire_plan_digest(BLOCK, DIGEST)
    added = [line for line in pinned.splitlines() if line not in BLOCK.splitlines()]
    assert added == [f'    wirePlanDigest: "{DIGEST}"']
    assert pinned.replace(added[0] + "\n", "") == BLOCK


@pytest.mark.parametrize(
    "before",
    [
        BLOCK.replace("    cutPoints", '    wirePlanDigest: ""  # not yet\n    cutPoints'),
        BLOCK.replace("    cutPoints", f"    wirePlanDigest: sha256:{'0' * 64}  # not yet\n    cutPoints"),
        BLOCK.replace("    cutPoints", "    wirePlanDigest:  # not yet\n    cutPoints"),
        BLOCK.replace("    cutPoints", "    wirePlanDigest:\n    cutPoints"),
    ],
    ids=["empty text", "an old digest", "nothing but a comment", "nothing at all"],
)
def test_a_digest_that_is_there_is_replaced_with_its_comment_kept(before):
    pinned = pin_wire_plan_digest(before, DIGEST)
    assert get_model(pinned) == {"entrypoint": "m:build", "wirePlanDigest": DIGEST, "cutPoints": [{"layer": "body"}]}
    assert pinned.count("#") == before.count("#")


def test_a_model_in_one_line_is_pinned_too():
    text = "kind: SplitTraining\nspec: {model: {entrypoint: m:build, cutPoints: [{layer: body}]}}\n"
    assert get_model(pin_wire_plan_digest(text, DIGEST))["wirePlanDigest"] == DIGEST


def test_pinning_twice_changes_nothing_more():
    once = pin_wire_plan_digest(BLOCK, DIGEST)
    assert pin_wire_plan_digest(once, DIGEST) == once


def test_a_manifest_without_a_model_is_refused():
    with pytest.raises(SpecInvalid, match=r"no spec\.model"):
        pin_wire_plan_digest("kind: SplitTraining\nspec: {rounds: 1}\n", DIGEST)
