"""Hops: stages of clients that work on what another client computed, one after the other, before the server's."""

from __future__ import annotations

from splittraining.api.contract import Contract
from splittraining.api.errors import SpecInvalid
from splittraining.api.spec.split_training import Topology
from splittraining.party.model.stages import StageSpec


def build_hops(contract: Contract, towers: tuple[StageSpec, ...], end: tuple[StageSpec, ...]) -> tuple[StageSpec, ...]:
    """Builds the stages of a topology whose model.cutPoints have owners.

    MultiHop is a chain: every cut ends the stage of its owner, and the first owner holds the forward's arguments.
    ExtendedVanilla has the data holders' branches first, and then one cut, which ends what lies after their merge.

    Args:
        contract: With model.cutPoints in forward order.
        towers: Branches of the data holders, in ExtendedVanilla.
        end: What follows the last cut.

    Raises:
        SpecInvalid: if a cut has no owner, or one that cannot own it.
    """
    clients = {party.name: party for party in contract.clients}
    hops: list[StageSpec] = []
    for cut in contract.model.cut_points:
        if cut.owner not in clients:
            raise SpecInvalid(
                f"cut point {cut.layer!r} has owner {cut.owner or 'nobody'}",
                allowed=f"a client: {', '.join(clients)}",
                remedy="set model.cutPoints[].owner to the client that runs the layers up to this cut",
            )
        inputs = clients[cut.owner].inputs
        if cut.owner in (hop.owner for hop in hops) or (inputs and (hops or towers)):
            raise SpecInvalid(
                f"{cut.owner} would run the layers up to {cut.layer!r} beside others of its own",
                allowed="one part of the chain for each client; inputs at the first one",
                remedy="give the cut to another client, or remove it",
            )
        hops.append(StageSpec(cut.owner, (cut.layer,), tuple(item.name for item in inputs)))
    if not hops or (towers and len(hops) > 1):
        raise SpecInvalid(
            f"topology {contract.topology.value} with {len(hops)} model.cutPoints",
            allowed="exactly 1" if contract.topology is Topology.EXTENDED_VANILLA else "at least 1",
            remedy="list the cut points with their owners under model.cutPoints",
        )
    return (*towers, *hops, *end)
