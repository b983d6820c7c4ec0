"""What an institution consents to: what moves the digest of a contract, and what does not."""

from __future__ import annotations

import pytest

from splittraining.api.contract import Role
from splittraining.plan.contracts import build_contract
from support.builders import TrainingBuilder, a_training, a_vanilla_training, a_vertical_training

VANILLA = a_vanilla_training()
SOURCE = "sha256:" + "1" * 64


def compute_digest(training: TrainingBuilder, source_digest: str = SOURCE) -> str:
    return build_contract(training.build(), source_digest=source_digest).compute_digest()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "another-trial"),
        ("spec.rounds", 21),
        ("spec.suspend", True),
        ("spec.activeDeadlineSeconds", 60),
        ("spec.ttlSecondsAfterFinished", 60),
        ("spec.startup.readyTimeoutSeconds", 60),
        ("spec.faultTolerance.stallTimeoutSeconds", 60),
        ("spec.model.source.configMap.name", "renamed-code"),
        ("spec.clients.0.pod", {"resources": {"limits": {"nvidia.com/gpu": "1"}}}),
        ("spec.clients.0.device", "CPU"),
        ("spec.clients.0.data.volume.persistentVolumeClaim.claimName", "other-claim"),
        ("spec.clients.0.data.train.path", "other.npz"),
        ("spec.clients.0.data.test.path", "other.npz"),
        ("spec.server.pod", {"nodeSelector": {"gpu": "a100"}}),
        # A default written out is the same training.
        ("spec.clients.1.namespace", "trial"),
        ("spec.training.numerics.mode", "Exact"),
        ("spec.model.initialization", "ClientsOnly"),
    ],
)
def test_what_may_change_or_is_nobody_elses_business_does_not_move_the_digest(path: str, value: object):
    assert compute_digest(VANILLA.with_value(path, value)) == compute_digest(VANILLA)


PRETRAINED = {
    "volume": {"persistentVolumeClaim": {"claimName": "pretrained"}},
    "path": "first.safetensors",
    "digest": "sha256:" + "3" * 64,
}


@pytest.mark.parametrize("place", ["spec.server.warmStart", "spec.clients.1.warmStart"])
def test_of_a_warm_start_the_digest_and_the_choice_are_agreed_on_and_its_place_is_not(place: str):
    warm = VANILLA.with_value(place, PRETRAINED)
    digests = {
        compute_digest(training)
        for training in (
            VANILLA,
            warm,
            warm.with_value(f"{place}.digest", "sha256:" + "4" * 64),
            warm.with_value(f"{place}.parameters", ["stem.*"]),
        )
    }
    assert len(digests) == 4
    for path, value in (("path", "other.safetensors"), ("volume.persistentVolumeClaim.claimName", "other-claim")):
        assert compute_digest(warm.with_value(f"{place}.{path}", value)) == compute_digest(warm)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.model.entrypoint", "xray.model:build_other"),
        ("spec.model.arguments.width", "64"),
        ("spec.model.inputs.0.shape", [1, 8, 9]),
        ("spec.model.label.dtype", "Int32"),
        ("spec.model.cutPoints.0.layer", "layer2"),
        ("spec.model.extraCrossings", ["layer0"]),
        ("spec.model.initialization", "Shared"),
        ("spec.model.wirePlanDigest", "sha256:" + "0" * 64),
        ("spec.training.batchSize", 32),
        ("spec.training.seed", 8),
        ("spec.training.optimizer.learningRate", "0.1"),
        ("spec.training.loss.name", "MSE"),
        ("spec.training.numerics.intraOpThreads", 2),
        ("spec.training.evaluation.metrics", ["AUC"]),
        ("spec.schedule.sequential.handoff", "None"),
        ("spec.schedule.sequential.turn.length", 2),
        ("spec.image", "registry.example/party:0.2.0"),
        ("spec.server.image", "registry.example/party:0.2.0"),
        ("metadata.namespace", "elsewhere"),
        ("spec.clients.1.namespace", "st-luke"),
        ("spec.clients.1.name", "st-john"),
        ("spec.clients.0.data.inputs.0.columns", ["pixels"]),
        ("spec.clients.0.data.label.columns", ["age"]),
        ("spec.clients.0.data.idColumn", "patient"),
    ],
)
def test_what_is_agreed_on_moves_the_digest(path: str, value: object):
    assert compute_digest(VANILLA.with_value(path, value)) != compute_digest(VANILLA)


def test_the_digest_of_the_source_moves_the_digest():
    assert compute_digest(VANILLA) != compute_digest(VANILLA, "sha256:" + "2" * 64)


def test_the_order_of_clients_moves_the_digest():
    moved = a_training().with_client("st-luke").with_client("st-mary")
    assert compute_digest(moved) != compute_digest(VANILLA)


def test_a_clients_own_cut_point_moves_the_digest():
    vertical = a_vertical_training()
    moved = vertical.with_value("spec.clients.0.cutPoints.0.layer", "other_tower")
    assert compute_digest(moved) != compute_digest(vertical)


def test_images_that_parties_inherit_are_each_partys_own():
    contract = build_contract(VANILLA.with_value("spec.clients.0.image", "own:1").build(), source_digest=SOURCE)
    assert [(party.name, party.role, party.image) for party in contract.parties] == [
        ("server", Role.SERVER, "registry.example/party:0.1.0"),
        ("st-mary", Role.CLIENT, "own:1"),
        ("st-luke", Role.CLIENT, "registry.example/party:0.1.0"),
    ]


def test_where_the_source_came_from_is_not_in_the_contract():
    contract = build_contract(VANILLA.build(), source_digest=SOURCE)
    assert contract.model.source is None
    assert contract.source_digest == SOURCE


def test_the_digest_is_computed_once_and_a_copy_with_other_fields_has_its_own() -> None:
    contract = build_contract(VANILLA.build(), source_digest=SOURCE)
    digest = contract.compute_digest()
    assert contract.compute_digest() is digest
    assert contract == build_contract(VANILLA.build(), source_digest=SOURCE)
    changed = contract.model_copy(update={"source_digest": "sha256:" + "2" * 64})
    assert changed.compute_digest() == compute_digest(VANILLA, "sha256:" + "2" * 64)
