"""Topologies as lists of stages: who runs what up to which cut, with which arguments of forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from splittraining.api.contract import Contract, ContractParty
from splittraining.api.errors import SpecInvalid
from splittraining.api.spec.model import InputSpec
from splittraining.api.spec.split_training import Topology
from splittraining.api.spec.training import NumericsMode
from splittraining.api.wire_plan import CLIENT_OWNER
from splittraining.party.model.batch_coupling import explain_batch_coupling
from splittraining.party.model.cut import CutModel, cut_model
from splittraining.party.model.hops import build_hops
from splittraining.party.model.stages import StageSpec

SERVER_OWNER = "server"


def cut_for_contract(module: nn.Module, contract: Contract, *, stages: Sequence[StageSpec] | None = None) -> CutModel:
    """Cuts a model as its contract says, into the stages of training unless others are given.

    Raises:
        ModelInvalid: if the model cannot be cut so.
        NumericsInvalid: if it can only be cut up to rounding, and the contract asks for exactness.
    """
    cut = cut_model(
        module,
        stages=build_stages(contract) if stages is None else stages,
        inputs=contract.model.inputs,
        label=contract.model.label,
        seed=contract.training.seed,
        extra_crossings=contract.model.extra_crossings,
        exact=contract.training.numerics.mode is NumericsMode.EXACT,
    )
    notes = (*cut.report.notes, *explain_batch_coupling(cut, contract.schedule))
    return replace(cut, report=cut.report.model_copy(update={"notes": notes}))


def build_stages(contract: Contract) -> tuple[StageSpec, ...]:
    """Builds the stages of a contract's topology, in forward order.

    Raises:
        SpecInvalid: if the cut points or the label holder do not fit the topology.
    """
    inputs = tuple(item.name for item in contract.model.inputs)
    layers = tuple(cut.layer for cut in contract.model.cut_points)
    if contract.topology is Topology.VANILLA:
        (cut,) = _expect_cuts(contract, layers, 1)
        return (
            StageSpec(CLIENT_OWNER, cut_points=(cut,), arguments=inputs, holds_label=True),
            StageSpec(SERVER_OWNER),
        )
    if contract.topology is Topology.U_SHAPED:
        first, second = _expect_cuts(contract, layers, 2)
        return (
            StageSpec(CLIENT_OWNER, cut_points=(first,), arguments=inputs),
            StageSpec(SERVER_OWNER, cut_points=(second,)),
            StageSpec(CLIENT_OWNER, arguments=inputs, holds_label=True),
        )
    if contract.topology is Topology.VERTICAL:
        return (*_build_towers(contract), *_build_end(contract))
    if contract.topology in (Topology.EXTENDED_VANILLA, Topology.MULTI_HOP):
        return build_hops(contract, _build_towers(contract), _build_end(contract))
    return _build_multi_task(contract)


def build_uncut_stages(inputs: Sequence[InputSpec]) -> tuple[StageSpec, ...]:
    """Builds the one stage of the same engine without a cut: what a split training is compared with."""
    return (StageSpec(CLIENT_OWNER, arguments=tuple(item.name for item in inputs), holds_label=True),)


def _expect_cuts(contract: Contract, layers: tuple[str, ...], count: int) -> tuple[str, ...]:
    if len(layers) != count:
        raise SpecInvalid(
            f"topology {contract.topology.value} with {len(layers)} model.cutPoints",
            allowed=f"exactly {count}",
            remedy="list the cut points in forward order under model.cutPoints",
        )
    return layers


def _build_multi_task(contract: Contract) -> tuple[StageSpec, ...]:
    """Builds the branches, the trunk up to its ends, and a head per task in the order of the tasks."""
    towers = [_build_tower(party) for party in contract.clients if party.inputs]
    ends = tuple(cut.layer for cut in contract.model.cut_points)
    heads = [
        StageSpec(
            task.party,
            arguments=tuple(item.name for item in contract.get_party(task.party).inputs),
            holds_label=True,
            task=task.name,
            output=task.output,
        )
        for task in contract.tasks
    ]
    return (*towers, StageSpec(SERVER_OWNER, cut_points=ends), *heads)


def _build_towers(contract: Contract) -> tuple[StageSpec, ...]:
    """Builds the branches of clients that hold inputs; in MultiHop there are none, since the first hop holds all."""
    if contract.topology is Topology.MULTI_HOP:
        return ()
    return tuple(_build_tower(party) for party in contract.clients if party.inputs)


def _build_end(contract: Contract) -> tuple[StageSpec, ...]:
    """Builds the server's stage after the last cut and, where a client holds the labels, that client's loss."""
    holders = [party.name for party in contract.parties if party.label is not None]
    servers = [party.name for party in contract.parties if party not in contract.clients]
    if len(holders) != 1:
        raise SpecInvalid(
            f"topology {contract.topology.value} with {len(holders)} label holders ({', '.join(holders) or 'none'})",
            allowed="exactly one party with data.label",
            remedy="name data.label at the party that computes the loss, and at no other",
        )
    server, holder = servers[0], holders[0]
    if holder == server:
        return (StageSpec(server, holds_label=True),)
    return (StageSpec(server), StageSpec(holder, receives_output=True, holds_label=True))


def _build_tower(party: ContractParty) -> StageSpec:
    if not party.cut_points:
        raise SpecInvalid(
            f"client {party.name} has inputs but no cutPoints",
            allowed="the module after which its branch ends",
            remedy=f"add clients[{party.name}].cutPoints",
        )
    return StageSpec(
        party.name,
        cut_points=tuple(cut.layer for cut in party.cut_points),
        arguments=tuple(item.name for item in party.inputs),
    )
