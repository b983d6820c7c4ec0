"""All objects of one party but its Job, in the order of their application."""

from __future__ import annotations

from collections.abc import Mapping

from splittraining.api.contract import Contract
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.operation import Isolation
from splittraining.plan.manifests.config_maps import build_document_map, build_source_map, build_trust_map
from splittraining.plan.manifests.document import build_document
from splittraining.plan.manifests.metadata import Manifest
from splittraining.plan.manifests.network_policy import build_network_policy
from splittraining.plan.manifests.service import build_service, build_service_account
from splittraining.plan.manifests.settings import OperatorSettings
from splittraining.plan.manifests.volume_claim import build_volume_claim
from splittraining.plan.topology import find_hand_off_neighbors


def build_party_objects(
    training: SplitTraining,
    contract: Contract,
    party: str,
    *,
    uid: str,
    attempt: int,
    settings: OperatorSettings,
    source_files: Mapping[str, bytes],
    trust_bundle_pem: str,
) -> tuple[Manifest, ...]:
    """Builds what a party's pod needs. Policies come before anything that could run.

    Args:
        training: An accepted training.
        contract: Its contract.
        party: The party.
        uid: Of its participation.
        attempt: Number of the attempt, which is the generation that the party is told.
        settings: What the operator knows.
        source_files: The model's files by name; empty where the image has them installed.
        trust_bundle_pem: Roots that parties trust at the intake's door.
    """
    document = build_document(training, contract, party, attempt=attempt, settings=settings)
    objects: list[Manifest] = []
    if training.spec.network.isolation is Isolation.DENY_ALL:
        objects.append(build_network_policy(training, party, uid=uid, settings=settings))
    objects += [
        build_service_account(training, party, uid=uid),
        build_document_map(training, party, uid=uid, document=document),
        build_trust_map(training, party, uid=uid, bundle_pem=trust_bundle_pem),
    ]
    if source_files:
        objects.append(build_source_map(training, party, uid=uid, files=source_files))
    if party == SERVER_PARTY or find_hand_off_neighbors(training.spec, party) is not None:
        objects.append(build_service(training, party, uid=uid))
    objects.append(build_volume_claim(training, party, uid=uid, settings=settings))
    return tuple(objects)
