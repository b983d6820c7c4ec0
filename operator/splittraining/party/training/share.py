"""One party's share of the model: its segments, their optimizer, and how both travel to another client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from splittraining.api.base import compute_digest
from splittraining.api.contract import Contract
from splittraining.api.errors import ContractMismatch, StorageFailed
from splittraining.api.plan_report import PlanReport
from splittraining.api.wire_plan import WirePlan
from splittraining.party.model.build import build_model
from splittraining.party.model.cut import CutModel
from splittraining.party.model.prediction import build_prediction_stages
from splittraining.party.model.topology import build_stages, cut_for_contract
from splittraining.party.training.optimizer import (
    build_optimizer,
    export_optimizer_state,
    import_optimizer_state,
)
from splittraining.party.training.results import build_manifest, write_result
from splittraining.party.training.sealed_state import copy_state_into, pack_state, unpack_state
from splittraining.party.training.stage import StageRunner
from splittraining.party.training.stored_result import StoredResult


class ModelShare:
    """The segments of one owner.

    Builds the whole model from the training's seed, cuts it, and lets go of everything that is not this owner's.

    Args:
        contract: What all parties agreed on.
        owner: This party's owner name in the wire plan.
        source_path: Folder of the model's source files, or empty.
        device: Where the segments live.
        predicts: Whether nothing is trained, and the output goes to where the labels would be.

    Raises:
        ModelInvalid: if the model cannot be cut as the contract says.
        ModelCodeFailed: if the model's own code raises.
        ContractMismatch: if the wire plan is not the pinned one.
    """

    def __init__(
        self, contract: Contract, *, owner: str, source_path: str, device: torch.device, predicts: bool = False
    ) -> None:
        self._contract = contract
        self._source_path = source_path
        model = build_model(contract.model, seed=contract.training.seed, source_path=source_path)
        cut = cut_for_contract(model, contract)
        check_pinned_plan(contract, cut.wire_plan)
        if predicts:
            cut = self._cut_for_prediction(cut)
        self.wire_plan: WirePlan = cut.wire_plan
        self.report: PlanReport = cut.report
        cut.keep_only(owner)
        segments = [segment for segment in cut.segments if segment.owner == owner]
        for segment in segments:
            segment.to(device)
        self.parameters: dict[str, torch.nn.Parameter] = {}
        self.buffers: dict[str, torch.Tensor] = {}
        for segment in segments:
            self.parameters |= segment.parameters()
            self.buffers |= segment.buffers()
        self._also_named, self._not_persistent = _compare_names(cut.root, {**self.parameters, **self.buffers})
        self.runners = {segment.stage: StageRunner(segment, self.wire_plan) for segment in segments}
        self.optimizer = build_optimizer(contract.training.optimizer, self.parameters)

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

    def count_state_bytes(self) -> int:
        """Returns an upper bound of what a packed state of this share can hold, for bounding what is taken in."""
        weights = sum(
            tensor.numel() * tensor.element_size() for own in (self.parameters, self.buffers) for tensor in own.values()
        )
        names = len(self.parameters) + len(self.buffers)
        return 4 * weights + 1024 * (names + 64)

    def write_result(self, folder: Path, *, party: str, contract_digest: str, generation: int, step: int) -> str:
        """Writes segments and manifest, and returns the manifest's digest."""
        tensors: dict[str, torch.Tensor] = {**self.parameters, **self.buffers}
        manifest = build_manifest(
            tensors,
            party=party,
            contract_digest=contract_digest,
            generation=generation,
            step=step,
            also_named=self._also_named,
            not_persistent=self._not_persistent,
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
