"""Which claim holds what a party left, and what a pod needs to mount it: also when the training itself is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from splittraining.api.names import PARTY_LABEL, SELECTOR, TRAINING_LABEL, TRAINING_UID_LABEL, build_child_name
from splittraining.api.usage import UsageInvalid
from splittraining.cli.reach import Api
from splittraining.cli.reader_pod import Volume
from splittraining.cli.trainings import SERVER, Training, choose_parties, fetch_training
from splittraining.cluster.errors import Forbidden, NotFound
from splittraining.cluster.resources import SPLIT_PARTICIPATION, VOLUME_CLAIM


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for."""

    training: str
    party: str
    image: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A volume, and what its weights must have been trained under."""

    volume: Volume
    contract_digest: str


async def find_volume(api: Api, namespace: str, wanted: Wanted, *, notices: TextIO) -> Found:
    """Finds the volume of a party.

    Raises:
        UsageInvalid: if there is none, or it is not known which image can read it.
    """
    try:
        training = await fetch_training(api, namespace, wanted.training)
    except UsageInvalid as missing:
        return await _find_kept(api, namespace, wanted, missing, notices)
    choose_parties(training, wanted.party)
    claim = build_child_name(training.name, wanted.party, uid=training.uid)
    await _check_claim(api, training, wanted.party, claim)
    pod = _find_pod_settings(training, wanted.party)
    volume = Volume(
        namespace=training.namespace,
        claim=claim,
        image=wanted.image or await _find_image(api, training, wanted.party, claim),
        training_uid=training.uid,
        party=wanted.party,
        owner=training.name,
        pull_secrets=tuple(str(secret["name"]) for secret in training.spec.get("imagePullSecrets") or ()),
        node_selector=pod.get("nodeSelector") or {},
        tolerations=tuple(pod.get("tolerations") or ()),
    )
    return Found(volume, training.status.contract_digest or "")


async def _check_claim(api: Api, training: Training, party: str, claim: str) -> None:
    try:
        await api.get(VOLUME_CLAIM, training.namespace, claim)
    except Forbidden:
        return  # the pod will tell
    except NotFound as error:
        raise UsageInvalid(
            f"{party} has no output volume: there is no claim {claim} in namespace {training.namespace}",
            remedy=f"it is made when the parties are first started; `kubectl splittraining status {training.name}` "
            "says what the training waits for",
        ) from error


async def _find_image(api: Api, training: Training, party: str, child: str) -> str:
    try:
        participation = await api.get(SPLIT_PARTICIPATION, training.namespace, child)
    except NotFound as error:
        raise UsageInvalid(
            f"which image {party} runs is not known: there is no SplitParticipation {child}",
            remedy="name an image that has python3 with --image",
        ) from error
    return str(participation["spec"]["image"])


async def _find_kept(api: Api, namespace: str, wanted: Wanted, missing: UsageInvalid, notices: TextIO) -> Found:
    """Finds a claim that outlived its training; of several the newest."""
    labels = f"{SELECTOR},{TRAINING_LABEL}={wanted.training},{PARTY_LABEL}={wanted.party}"
    try:
        claims, _ = await api.list_all(VOLUME_CLAIM, namespace=namespace, labels=labels)
    except Forbidden:
        raise missing from None
    if not claims:
        raise missing
    newest = max(claims, key=lambda claim: str(claim["metadata"].get("creationTimestamp", "")))["metadata"]
    if not wanted.image:
        raise UsageInvalid(
            f"{wanted.training} is gone; the volume of {wanted.party} was kept (claim {newest['name']}), but not which "
            "image can read it",
            allowed="any image with python3, such as the party's",
            remedy="name one with --image",
        )
    others = f", the newest of {len(claims)}" if len(claims) > 1 else ""
    notices.write(f"note: {wanted.training} is gone; reading claim {newest['name']}{others}\n")
    uid = str(newest["labels"].get(TRAINING_UID_LABEL, ""))
    return Found(Volume(namespace, str(newest["name"]), wanted.image, uid, wanted.party), "")


def _find_pod_settings(training: Training, party: str) -> Mapping[str, Any]:
    spec = training.spec
    members = [client for client in spec.get("clients") or () if client.get("name") == party]
    member = (spec.get("server") or {}) if party == SERVER else members[0]
    return member.get("pod") or {}
