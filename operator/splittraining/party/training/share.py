"""One party's share of the model: its segments, their optimizer, and how both travel to another client."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from splittraining.api.base import compute_digest
from splittraining.api.contract import Contract
from splittraining.api.errors import ContractMismatch, StorageFailed
from splittraining.api.plan_report import PlanReport
from splittraining.api.spec.update import ClippingMode
from splittraining.api.spec.warm_start import WarmStartSpec
from splittraining.api.wire_plan import WirePlan
from splittraining.party.lasting import without_collections
from splittraining.party.model.build import build_model
from splittraining.party.model.cut import CutModel
from splittraining.party.model.prediction import build_prediction_stages
from splittraining.party.model.topology import build_stages, cut_for_contract
from splittraining.party.training.averaging import Outline, pack_tensors, unpack_tensors
from splittraining.party.training.best_round import KeptWeights
from splittraining.party.training.clipping import find_dtype
from splittraining.party.training.consent import check_transfers
from splittraining.party.training.optimizer import (
    build_optimizer,
    export_optimizer_state,
    import_optimizer_state,
)
from splittraining.party.training.parameter_groups import check_parameter_groups, freeze_parameters
from splittraining.party.training.results import build_manifest, write_result
from splittraining.party.training.sealed_state import copy_state_into, pack_state, unpack_state
from splittraining.party.training.stage import StageRunner
from splittraining.party.training.stored_result import StoredResult
from splittraining.party.training.updates import Updates, add_training_notes
from splittraining.party.training.warm_start import load_warm_start


class ModelShare:
    """The segments of one owner.

    Builds the whole model from the training's seed, cuts it, and lets go of everything that is not this owner's.

    Args:
        contract: What all parties agreed on.
        owner: This party's owner name in the wire plan.
        source_path: Folder of the model's source files, or empty.
        device: Where the segments live.
        shard: Keeps this party's random draws apart from those of others that run the same segments at once.
        predicts: Whether nothing is trained, and the output goes to where the labels would be.

    Raises:
        ModelInvalid: if the model cannot be cut as the contract says, or its code sends more than that.
        ModelCodeFailed: if the model's own code raises.
        ContractMismatch: if the wire plan is not the pinned one.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        owner: str,
        source_path: str,
        device: torch.device,
        shard: str = "",
        predicts: bool = False,
    ) -> None:
        self._contract = contract
        self._source_path = source_path
        self._kept = KeptWeights()
        self._warm: dict[str, torch.Tensor] = {}
        model = build_model(contract.model, seed=contract.training.seed, source_path=source_path)
        freeze_parameters(model, contract.training.freeze)  # before tracing, which finds what needs no gradient
        check_parameter_groups(contract.training, model)
        self._state_names = frozenset(model.state_dict())
        if "torch._dynamo" not in sys.modules:  # cuts and optimizers import it by themselves, and slower
            with without_collections(for_good=True):
                importlib.import_module("torch._dynamo")
        cut = cut_for_contract(model, contract)
        check_pinned_plan(contract, cut.wire_plan)
        check_transfers(contract, cut.wire_plan)
        if predicts:
            cut = self._cut_for_prediction(cut)
        self.wire_plan: WirePlan = cut.wire_plan
        self.report: PlanReport = add_training_notes(cut.report, contract.training)
        self.outside = Outline.of_segments(segment for segment in cut.segments if segment.owner != owner)
        """What the other owners hold."""
        cut.keep_only(owner)
        segments = [segment for segment in cut.segments if segment.owner == owner]
        for segment in segments:
            segment.to(device)
        self.parameters: dict[str, torch.nn.Parameter] = {}
        self.buffers: dict[str, torch.Tensor] = {}
        for segment in segments:
            self.parameters |= segment.parameters()
            self.buffers |= segment.buffers()
        self.runners = {segment.stage: StageRunner(segment, self.wire_plan, shard=shard) for segment in segments}
        self._also_named, self._not_persistent = _compare_names(cut.root, {**self.parameters, **self.buffers})
        self.optimizer = build_optimizer(contract.training.optimizer, self.parameters)
        self.updates = self._build_updates(model, cut, owner=owner, device=device)

    def _build_updates(self, model: nn.Module, cut: CutModel, *, owner: str, device: torch.device) -> Updates:
        owner_of = {name: segment.owner for segment in reversed(cut.segments) for name in segment.parameters()}
        owners = {name: owner_of[name] for name, _ in model.named_parameters()}
        training = self._contract.training
        clipping = training.gradient_clipping
        is_global = clipping is not None and clipping.mode is ClippingMode.GLOBAL_NORM
        return Updates(
            training,
            optimizer=self.optimizer,
            parameters={name: self.parameters[name] for name in owners if owners[name] == owner},
            owners=owners,
            dtype=find_dtype(model.parameters()) if is_global else torch.float32,
            device=device,
        )

    def _cut_for_prediction(self, trained: CutModel) -> CutModel:
        """Cuts the model anew where the output takes another way than in training; what is pinned is the training's."""
        contract, stages = self._contract, build_stages(self._contract)
        predicting = build_prediction_stages(stages)
        if predicting == stages:
            return trained
        model = build_model(contract.model, seed=contract.training.seed, source_path=self._source_path)
        return cut_for_contract(model, contract, stages=predicting)

    @torch.no_grad()
    def load_result(self, stored: StoredResult) -> None:
        """Takes the weights of a party's result.

        Raises:
            StorageFailed: if its tensors are not those of this share.
        """
        own = {**self.parameters, **self.buffers}
        expected = {name: (tensor.shape, tensor.dtype) for name, tensor in own.items()}
        given = {name: (tensor.shape, tensor.dtype) for name, tensor in stored.tensors.items()}
        if given != expected:
            wrong = sorted(name for name in given.keys() | expected if given.get(name) != expected.get(name))
            raise StorageFailed(
                f"{stored.folder} holds other tensors than this party's layers have: {', '.join(wrong)}",
                allowed=f"exactly the tensors {', '.join(sorted(own)) or '(none)'} in their shapes",
                remedy="use the model's code and the versions of the training",
            )
        for name, tensor in own.items():
            tensor.copy_(stored.tensors[name])

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draws the segments' weights anew from another seed, before the first step.

        The whole model is built once more, since the author's own initialization may depend on the order of draws.
        """
        fresh = build_model(self._contract.model, seed=seed, source_path=self._source_path).state_dict()
        for own in (self.parameters, self.buffers):
            for name, tensor in own.items():
                if name in fresh:  # buffers that are not persistent keep what the constructor gave them
                    tensor.copy_(fresh[name])
        self._apply_warm_start()

    def start_from(self, warm_start: WarmStartSpec | None, root: str) -> None:
        """Takes first weights from a file; they stay first weights however often the others are drawn anew.

        Args:
            warm_start: Path, digest and choice; None for none.
            root: Folder that the path is relative to.

        Raises:
            ContractMismatch: if it is another file than the contract names.
            DataInvalid: if it cannot be read or does not fit.
        """
        if warm_start is None:
            return
        own = {name: tensor for name, tensor in self._list_tensors().items() if name in self._state_names}
        self._warm = load_warm_start(warm_start, root, own=own, known=self._state_names)
        self._apply_warm_start()

    @torch.no_grad()
    def _apply_warm_start(self) -> None:
        tensors = self._list_tensors()
        for name, first in self._warm.items():
            tensors[name].copy_(first)

    def export_state(self, *, step: int, weights_only: bool) -> bytes:
        """Returns the share's state as bytes for another client."""
        optimizer_state = {} if weights_only else export_optimizer_state(self.optimizer, self.parameters)
        return pack_state(self.parameters, self.buffers, optimizer_state, {"step": str(step)})

    @torch.no_grad()
    def import_state(self, data: bytes) -> None:
        """Takes over another client's state; an optimizer state is replaced whole.

        Raises:
            ProtocolViolation: if it is not the state of the same segments and optimizer.
        """
        state = unpack_state(data, parameters=self.parameters, buffers=self.buffers)
        copy_state_into(state, parameters=self.parameters, buffers=self.buffers)
        import_optimizer_state(self.optimizer, self.parameters, state.optimizer)

    @property
    def outline(self) -> Outline:
        """What this owner holds."""
        return Outline(self.parameters, self.buffers)

    def export_weights(self) -> bytes:
        """Returns parameters and buffers as bytes, for an average over clients."""
        return pack_tensors(self.outline.weights)

    @torch.no_grad()
    def import_weights(self, data: bytes) -> None:
        """Takes an average in place of parameters and buffers; the optimizer keeps its state.

        Raises:
            ProtocolViolation: if they are not those of this share.
        """
        own = self.outline.weights
        for name, tensor in unpack_tensors(data, like=own, whole=True).items():
            own[name].copy_(tensor)

    def keep_weights(self, round_number: int) -> None:
        """Keeps a copy of parameters and buffers, in place of an earlier one."""
        self._kept.keep(round_number, self._list_tensors())

    def restore_weights(self, round_number: int) -> None:
        """Goes back to the copy.

        Raises:
            ProtocolViolation: if it is of another round.
        """
        self._kept.restore(round_number, self._list_tensors())

    def _list_tensors(self) -> dict[str, torch.Tensor]:
        return {**self.parameters, **self.buffers}

    def count_state_bytes(self) -> int:
        """Returns an upper bound of what a packed state of this share can hold, for bounding what is taken in."""
        return self.outline.count_state_bytes()

    def write_result(
        self, folder: Path, *, party: str, contract_digest: str, generation: int, step: int, round_number: int
    ) -> str:
        """Writes segments and manifest, and returns the manifest's digest."""
        tensors = self._list_tensors()
        manifest = build_manifest(
            tensors,
            party=party,
            contract_digest=contract_digest,
            generation=generation,
            step=step,
            also_named=self._also_named,
            not_persistent=self._not_persistent,
            round_number=round_number,
        )
        write_result(folder, tensors, manifest)
        return compute_digest(manifest.model_dump(mode="json", by_alias=True))


def _compare_names(
    root: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Returns what tells a share's tensors from the model's state dict: further names there, and names it lacks."""
    state = root.state_dict(keep_vars=True)
    names = {id(tensor): name for name, tensor in tensors.items()}
    further = {name: names[id(held)] for name, held in state.items() if name not in tensors and id(held) in names}
    return further, tuple(sorted(tensors.keys() - state.keys()))


def check_pinned_plan(contract: Contract, wire_plan: WirePlan) -> None:
    """Refuses a wire plan that is not the one the contract pins.

    Raises:
        ContractMismatch: with both digests.
    """
    pinned = contract.model.wire_plan_digest
    derived = wire_plan.compute_digest()
    if pinned and pinned != derived:
        raise ContractMismatch(
            f"the model's code gives wire plan {derived}, the manifest pins {pinned}",
            allowed="the wire plan that model.wirePlanDigest names",
            remedy="look what changed with `splittraining plan`, then pin it anew with `splittraining plan --pin`",
        )
