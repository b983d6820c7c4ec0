"""How long a leaf is valid that the operator signs: as its training says, and never longer than a CA here allows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from splittraining.api.identity import PartyIdentity
from splittraining.cluster.resources import SPLIT_TRAINING
from splittraining.controller.parts import Parts, Surroundings
from splittraining.controller.settings import Settings
from splittraining.intake.errors import Unavailable
from splittraining.pki.keys import build_csr, generate_key
from support.api_objects import TRAINING_UID, make_training
from support.clocks import ManualClock
from support.cluster_api import PretendedCluster

IDENTITY = PartyIdentity("cluster.local", TRAINING_UID, "st-mary")
DAY_S = 86400


def sign_leaf(training: dict[str, Any] | None) -> tuple[x509.Certificate, ManualClock]:
    """Lets an operator that knows a training sign a leaf for one of its parties."""
    clock = ManualClock()

    async def sign() -> bytes:
        settings = Settings(namespace="operators", pod_name="controller-0", pod_ip="10.0.0.7")
        around = Surroundings(clock=clock.now, monotonic_s=clock.monotonic_s)
        parts = Parts(settings, PretendedCluster(), around)  # type: ignore[arg-type]
        if training is not None:
            parts.state.take_object(SPLIT_TRAINING, training)
        await parts.authority.ensure()
        server = parts.build_intake(["https://cluster.example"])
        return await server.signer.sign(build_csr(generate_key(), IDENTITY), IDENTITY)

    return x509.load_pem_x509_certificate(asyncio.run(sign())), clock


def make_training_with(tls: dict[str, int] | None) -> dict[str, Any]:
    training = make_training()
    if tls is not None:
        training["spec"]["tls"] = tls
    return training


@pytest.mark.parametrize(
    ("tls", "seconds"),
    [({"leafDurationSeconds": 600}, 600), ({"leafDurationSeconds": 30 * DAY_S}, 7 * DAY_S), ({}, DAY_S), (None, DAY_S)],
    ids=["as the training says", "a week at most", "a day by default", "a day where there is no tls"],
)
def test_a_leaf_ends_when_its_training_says(tls: dict[str, int] | None, seconds: int) -> None:
    leaf, clock = sign_leaf(make_training_with(tls))
    assert leaf.not_valid_after_utc == clock.now() + timedelta(seconds=seconds)


@pytest.mark.parametrize("training", [None, make_training(uid="another")], ids=["none", "a namesake"])
def test_where_the_training_is_not_known_yet_nobody_guesses(training: dict[str, Any] | None) -> None:
    with pytest.raises(Unavailable, match="not known to this replica yet"):
        sign_leaf(training)
