"""What goes from client to client, and from which clients to the server, along a chain of owners.

The model's code decides what crosses, and nothing here has seen it: these lists follow from the manifest alone. Every
party holds the wire plan that it derives against them before the first step (`party.training.relays`).
"""

from __future__ import annotations

from collections.abc import Sequence

from splittraining.api.contract import Cargo, ContractLink
from splittraining.api.spec.client import ClientSpec
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology

_WITH_HOPS = (Topology.MULTI_HOP, Topology.EXTENDED_VANILLA)


def build_link(sender: str, receiver: str, cargo: Sequence[Cargo]) -> list[ContractLink]:
    """Builds one link, or none where nothing travels."""
    return [ContractLink(sender=sender, receiver=receiver, cargo=tuple(cargo))] if cargo else []


def sends_to_server(spec: SplitTrainingSpec, client: ClientSpec) -> bool:
    """Returns whether a client's activations go to the server: a branch's, or with hops the last hop's.

    A value in model.extraCrossings may go from any owner to any later one.
    """
    if spec.topology not in _WITH_HOPS:
        return client.data is not None and bool(client.data.inputs)
    senders = [owner for layer in _list_layers(spec) for owner in layer]
    return client.name in (senders if spec.model.extra_crossings else senders[-1:])


def list_relayed_cargo(spec: SplitTrainingSpec, sender: str, receiver: str) -> list[Cargo]:
    """Lists the values that go from one client to another; the server relays them and cannot read them."""
    if spec.topology not in _WITH_HOPS:
        return []
    goes_forward, goes_back = _follows(spec, sender, receiver), _follows(spec, receiver, sender)
    return ([Cargo.ACTIVATIONS] if goes_forward else []) + ([Cargo.GRADIENTS] if goes_back else [])


def _follows(spec: SplitTrainingSpec, earlier: str, later: str) -> bool:
    layers = _list_layers(spec)
    return any(
        earlier in layers[first] and later in layers[second]
        for second in range(len(layers))
        for first in range(second)
        if spec.model.extra_crossings or first == second - 1
    )


def _list_layers(spec: SplitTrainingSpec) -> list[list[str]]:
    """Lists the clients that run the model, those side by side together, in forward order."""
    towers = [client.name for client in spec.clients if client.data is not None and client.data.inputs]
    hops = [[cut.owner] for cut in spec.model.cut_points if cut.owner is not None]
    return [towers, *hops] if spec.topology is Topology.EXTENDED_VANILLA else hops
