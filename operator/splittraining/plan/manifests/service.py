"""The Service of a party that listens, and the ServiceAccounts: a name to dial, and an identity without rights."""

from __future__ import annotations

from splittraining.api.names import PARTY_PORT
from splittraining.api.resource import SplitTraining
from splittraining.plan.manifests.metadata import Manifest, build_object, build_selector, own_by_participation


def build_service(training: SplitTraining, party: str, *, uid: str) -> Manifest:
    """Builds the headless Service under whose name a party is dialed, ready or not: it waits for its peers."""
    return build_object(
        "v1",
        "Service",
        training,
        party,
        owners=own_by_participation(training, party, uid),
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": build_selector(training, party),
            "ports": [{"name": "grpc-party", "port": PARTY_PORT, "targetPort": PARTY_PORT, "protocol": "TCP"}],
        },
    )


def build_service_account(training: SplitTraining, party: str, *, uid: str) -> Manifest:
    """Builds the party's own ServiceAccount. It has no rights and mounts no token of the API server."""
    owners = own_by_participation(training, party, uid)
    return build_object("v1", "ServiceAccount", training, party, owners=owners, automountServiceAccountToken=False)
