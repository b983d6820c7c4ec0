"""What one institution alone consents to: what moves the digest of a party's own plan, and what does not."""

from __future__ import annotations

import pytest

from splittraining.plan.party_plans import build_party_plan
from support.builders import TrainingBuilder, a_vanilla_training

VANILLA = a_vanilla_training()


def compute_digest(training: TrainingBuilder, party: str = "st-mary") -> str:
    return build_party_plan(training.build(), party).compute_digest()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.namespace", "elsewhere"),
        ("spec.clients.0.namespace", "st-mary"),
        ("spec.clients.0.data.volume.persistentVolumeClaim.claimName", "other-claim"),
        ("spec.clients.0.data.train.path", "other.npz"),
        ("spec.clients.0.data.test.path", "other.npz"),
        ("spec.clients.0.data.format", "CSV"),
        ("spec.clients.0.data.inputs.0.columns", ["pixels"]),
        ("spec.clients.0.data.label.columns", ["age"]),
        ("spec.clients.0.data.idColumn", "patient"),
    ],
)
def test_what_a_party_reads_moves_its_digest(path: str, value: object):
    assert compute_digest(VANILLA.with_value(path, value)) != compute_digest(VANILLA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "another-trial"),
        ("spec.rounds", 21),
        ("spec.training.seed", 8),
        ("spec.clients.0.pod", {"nodeSelector": {"gpu": "a100"}}),
        ("spec.clients.0.namespace", "trial"),  # where it runs anyway
        ("spec.clients.1.data.volume.persistentVolumeClaim.claimName", "other-claim"),
        ("spec.clients.1.data.train.path", "other.npz"),
    ],
)
def test_what_others_read_and_what_all_agree_on_does_not(path: str, value: object):
    assert compute_digest(VANILLA.with_value(path, value)) == compute_digest(VANILLA)


def test_where_first_weights_lie_moves_the_digest_of_their_party_alone():
    warm_start = {
        "volume": {"persistentVolumeClaim": {"claimName": "pretrained"}},
        "path": "first.safetensors",
        "digest": "sha256:" + "3" * 64,
    }
    warm = VANILLA.with_value("spec.server.warmStart", warm_start)
    for path, value in (("path", "other.safetensors"), ("volume.persistentVolumeClaim.claimName", "other-claim")):
        other = warm.with_value(f"spec.server.warmStart.{path}", value)
        assert len({compute_digest(each, "server") for each in (VANILLA, warm, other)}) == 3
        assert len({compute_digest(each, "st-mary") for each in (VANILLA, warm, other)}) == 1


def test_parties_with_alike_data_have_digests_of_their_own():
    digests = {compute_digest(VANILLA, party) for party in ("server", "st-mary", "st-luke")}
    assert len(digests) == 3
