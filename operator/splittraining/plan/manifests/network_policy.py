"""NetworkPolicies of a party: nothing in or out, but names, the peers' port and the intake.

Source: Kubernetes documentation, "Network Policies": a pod that any policy selects is closed in the policy's directions
but for what some policy opens.
"""

from __future__ import annotations

from splittraining.api.identity import SERVER_PARTY
from splittraining.api.names import PARTY_PORT
from splittraining.api.resource import SplitTraining
from splittraining.plan.manifests.metadata import Manifest, build_object, build_selector, own_by_participation
from splittraining.plan.manifests.settings import DnsSettings, OperatorSettings
from splittraining.plan.topology import find_hand_off_neighbors, get_namespace, list_parties

_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def build_network_policy(training: SplitTraining, party: str, *, uid: str, settings: OperatorSettings) -> Manifest:
    """Builds the one policy of a party's pods."""
    dialers, dialed = _list_peers(training, party)
    egress = [_allow_names(settings.dns), _allow_intake(settings)]
    if dialed:
        egress.append({"to": [_select_party(training, name) for name in dialed], "ports": [_tcp(PARTY_PORT)]})
    ingress = [{"from": [_select_party(training, name) for name in dialers], "ports": [_tcp(PARTY_PORT)]}]
    return build_object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        training,
        party,
        owners=own_by_participation(training, party, uid),
        spec={
            "podSelector": {"matchLabels": build_selector(training, party)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress if dialers else [],
            "egress": egress,
        },
    )


def _list_peers(training: SplitTraining, party: str) -> tuple[list[str], list[str]]:
    """Returns who may dial a party, and whom it dials."""
    if party == SERVER_PARTY:
        return [name for name in list_parties(training.spec) if name != SERVER_PARTY], []
    neighbors = find_hand_off_neighbors(training.spec, party)
    if neighbors is None:
        return [], [SERVER_PARTY]
    return [neighbors.predecessor], [SERVER_PARTY, neighbors.successor]


def _allow_names(dns: DnsSettings) -> Manifest:
    peers: list[Manifest] = [
        {
            "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: dns.namespace}},
            "podSelector": {"matchLabels": dict(dns.labels)},
        }
    ]
    peers += [{"ipBlock": {"cidr": block}} for block in dns.ip_blocks]
    ports = [{"protocol": protocol, "port": port} for port in dns.ports for protocol in ("UDP", "TCP")]
    return {"to": peers, "ports": ports}


def _allow_intake(settings: OperatorSettings) -> Manifest:
    peer = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: settings.namespace}},
        "podSelector": {"matchLabels": dict(settings.intake_labels)},
    }
    return {"to": [peer], "ports": [_tcp(settings.intake_port)]}


def _select_party(training: SplitTraining, party: str) -> Manifest:
    return {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: get_namespace(training, party)}},
        "podSelector": {"matchLabels": build_selector(training, party)},
    }


def _tcp(port: int) -> Manifest:
    return {"protocol": "TCP", "port": port}
