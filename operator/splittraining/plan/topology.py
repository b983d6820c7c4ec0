"""Who is who in a training: roles, order, label holders, peers and what travels between them."""

from __future__ import annotations

from itertools import permutations

from splittraining.api.contract import Cargo, ContractLink, Role
from splittraining.api.identity import SERVER_PARTY
from splittraining.api.resource import SplitTraining
from splittraining.api.ring import Neighbors, find_neighbors
from splittraining.api.spec.client import ClientSpec
from splittraining.api.spec.data import DataSpec
from splittraining.api.spec.pod import GPU_RESOURCE
from splittraining.api.spec.schedule import AveragingAt, HandOff, ScheduleMode
from splittraining.api.spec.server import Device, ServerSpec
from splittraining.api.spec.split_training import SplitTrainingSpec, Topology
from splittraining.api.spec.warm_start import WarmStartSpec
from splittraining.plan.links import build_link, list_relayed_cargo, sends_to_server


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


def find_data_claim(spec: SplitTrainingSpec, party: str) -> str:
    """Returns the claim with a party's own data; empty where it holds none."""
    data = get_data(spec, party)
    return "" if data is None else data.volume.persistent_volume_claim.claim_name


def get_warm_start(spec: SplitTrainingSpec, party: str) -> WarmStartSpec | None:
    """Returns which file a party's layers start from, or None where they start from none."""
    return get_member(spec, party).warm_start


def find_warm_start_claim(spec: SplitTrainingSpec, party: str) -> str:
    """Returns the claim with a party's warm start, which may be that of its data; empty where it has no warm start."""
    warm_start = get_warm_start(spec, party)
    if warm_start is None:
        return ""
    if warm_start.volume is None:
        return find_data_claim(spec, party)
    return warm_start.volume.persistent_volume_claim.claim_name


def find_label_holders(spec: SplitTrainingSpec) -> tuple[str, ...]:
    """Returns the parties that hold labels."""
    return tuple(
        party for party in list_parties(spec) if (data := get_data(spec, party)) is not None and data.label is not None
    )


def find_hand_off_neighbors(spec: SplitTrainingSpec, party: str) -> Neighbors | None:
    """Returns who dials a client for a PeerToPeer hand-off and whom it dials; None where nobody does."""
    return find_neighbors(spec.schedule, [client.name for client in spec.clients], party)


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
        has_branch = sends_to_server(spec, client)
        gets_output = client.name in holders and spec.topology not in (Topology.VANILLA, Topology.U_SHAPED)
        up = [Cargo.ACTIVATIONS] if has_branch else []
        down = [Cargo.GRADIENTS] if has_branch else []
        if spec.topology is Topology.VANILLA:
            up.append(Cargo.LABELS)
        if spec.topology is Topology.U_SHAPED or gets_output:
            up.append(Cargo.GRADIENTS)
            down.append(Cargo.ACTIVATIONS)
        if SERVER_PARTY in holders and client.name == clients[0]:
            # The server checks its own rows against the clients', for which it gets the key of the digests and no more.
            up.append(Cargo.ROW_IDS_KEY)
        links += build_link(client.name, SERVER_PARTY, up) + build_link(SERVER_PARTY, client.name, down)
    if spec.schedule.averaging_at is AveragingAt.SERVER:
        links = [link.model_copy(update={"cargo": (*link.cargo, *_list_averaged(spec))}) for link in links]
    for sender, receiver in permutations(clients, 2):
        links += build_link(sender, receiver, _list_cargo_between(spec, sender, receiver))
    return tuple(links)


def _list_cargo_between(spec: SplitTrainingSpec, sender: str, receiver: str) -> list[Cargo]:
    """Returns what one client sends to another, whoever carries it."""
    first, sequential = spec.clients[0].name, spec.schedule.sequential
    cargo = list_relayed_cargo(spec, sender, receiver)
    if sender == first:
        cargo.append(Cargo.CLIENT_SECRET)
    neighbors = find_hand_off_neighbors(spec, sender)
    hands_on = sequential is not None and sequential.handoff is not HandOff.NONE
    if hands_on and (neighbors is None or receiver == neighbors.successor):
        cargo.append(Cargo.HAND_OFF)
    if spec.schedule.averaging_at is AveragingAt.CLIENT and first in (sender, receiver):
        cargo += _list_averaged(spec)
    return cargo


def _list_averaged(spec: SplitTrainingSpec) -> list[Cargo]:
    """Returns what every client gives to the averaging party, and gets back from it."""
    return [Cargo.CLIENT_GRADIENTS if spec.schedule.mode is ScheduleMode.PARALLEL else Cargo.CLIENT_WEIGHTS]
