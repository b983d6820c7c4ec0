"""Who is who in a training: roles, order, label holders, peers and what travels between them."""

from __future__ import annotations

from splittraining.api.contract import Cargo, ContractLink, Role
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.resource import SplitTraining
from splittraining.api.spec.client import ClientSpec
from splittraining.api.spec.data import DataSpec
from splittraining.api.spec.pod import GPU_RESOURCE
from splittraining.api.spec.schedule import HandOff
from splittraining.api.spec.server import Device, ServerSpec
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology


def list_parties(spec: SplitTrainingSpec) -> tuple[str, ...]:
    """Returns all party names: the server, then the clients in the order of their turns."""
    return (SERVER_PARTY, *(client.name for client in spec.clients))


def get_role(party: str) -> Role:
    """Returns the role of a party: its name says it, since `server` is reserved."""
    return Role.SERVER if party == SERVER_PARTY else Role.CLIENT


def get_member(spec: SplitTrainingSpec, party: str) -> ServerSpec | ClientSpec:
    """Returns what the manifest says of a party."""
    if party == SERVER_PARTY:
        return spec.server
    return next(client for client in spec.clients if client.name == party)


def get_namespace(training: SplitTraining, party: str) -> str:
    """Returns where a party runs: as it says, else where the training is."""
    return get_member(training.spec, party).namespace or training.metadata.namespace


def get_data(spec: SplitTrainingSpec, party: str) -> DataSpec | None:
    """Returns a party's own data, or None where it holds none."""
    return get_member(spec, party).data


def find_label_holders(spec: SplitTrainingSpec) -> tuple[str, ...]:
    """Returns the parties that hold labels."""
    return tuple(
        party for party in list_parties(spec) if (data := get_data(spec, party)) is not None and data.label is not None
    )


def decide_device(spec: SplitTrainingSpec, party: str) -> Device:
    """Decides where a party's tensors live: as it says, else CUDA exactly if its pod asks for a GPU."""
    member = get_member(spec, party)
    if member.device is not None:
        return member.device
    limits = member.pod.resources.limits
    return Device.CUDA if limits.get(GPU_RESOURCE, "0") != "0" else Device.CPU


def build_links(spec: SplitTrainingSpec) -> tuple[ContractLink, ...]:
    """Builds the list of who sends what to whom, whoever relays it.

    An institution consents to this list: it is what leaves its walls.
    """
    clients = [client.name for client in spec.clients]
    holders = find_label_holders(spec)
    links = []
    for client in spec.clients:
        has_branch = client.data is not None and bool(client.data.inputs)
        gets_output = spec.topology in (Topology.VERTICAL, Topology.MULTI_TASK) and client.name in holders
        up = [Cargo.ACTIVATIONS] if has_branch else []
        down = [Cargo.GRADIENTS] if has_branch else []
        if spec.topology is Topology.VANILLA:
            up.append(Cargo.LABELS)
        if spec.topology is Topology.U_SHAPED or gets_output:
            up.append(Cargo.GRADIENTS)
            down.append(Cargo.ACTIVATIONS)
        links.append(ContractLink(sender=client.name, receiver=SERVER_PARTY, cargo=tuple(up)))
        links.append(ContractLink(sender=SERVER_PARTY, receiver=client.name, cargo=tuple(down)))
    if SERVER_PARTY in holders:
        # The server checks its own rows against the clients', for which it gets the key of the digests and no more.
        first = links[0]
        links[0] = first.model_copy(update={"cargo": (*first.cargo, Cargo.ROW_IDS_KEY)})
    sequential = spec.schedule.sequential
    hands_on = sequential is not None and sequential.handoff is not HandOff.NONE
    for sender in clients:
        for receiver in clients:
            cargo = ([Cargo.CLIENT_SECRET] if sender == clients[0] else []) + ([Cargo.HAND_OFF] if hands_on else [])
            if sender != receiver and cargo:
                links.append(ContractLink(sender=sender, receiver=receiver, cargo=tuple(cargo)))
    return tuple(links)
