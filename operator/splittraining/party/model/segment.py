"""One stage of the model that can run: forward in either mode, over parameters that both modes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from splittraining.api.errors import NumericsInvalid
from splittraining.party.model.dependence import get_attribute
from splittraining.party.model.failures import explain_user_code
from splittraining.party.model.programs import StageGraph
from splittraining.party.model.randomness import KeyedGenerators, ProbingRun, list_operations, list_origins
from splittraining.party.model.shapes import Layout
from splittraining.party.model.state import StateShare


class Segment:
    """One stage with its weights.

    Args:
        stage: Index of the stage.
        owner: Who runs it.
        root: The model; its modules are called in place, so names and parameters stay what they are.
        graphs: The stage's graph in training (True) and evaluation mode (False).
        share: The stage's parameters and buffers.
        layouts: Of every value between stages, by name.
        seed: The training's seed, which random operations are keyed with.
        exact: Whether what cannot be bit-exact on a device is refused.
    """

    def __init__(
        self,
        *,
        stage: int,
        owner: str,
        root: nn.Module,
        graphs: Mapping[bool, StageGraph],
        share: StateShare,
        layouts: Mapping[str, Layout],
        seed: int,
        exact: bool,
    ) -> None:
        self.stage = stage
        self.owner = owner
        self.device = torch.device("cpu")
        self._root = root
        self._parameters = dict(share.parameters)
        self._buffers = dict(share.buffers)
        self._layouts = dict(layouts)
        self._exact = exact
        self._programs = {mode: _Program(root, graph, seed) for mode, graph in graphs.items()}

    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the stage's parameters by their names in the model, in the model's order."""
        return dict(self._parameters)

    def buffers(self) -> dict[str, torch.Tensor]:
        """Returns the stage's persistent and updated buffers by their names in the model."""
        return dict(self._buffers)

    def forward(
        self,
        arguments: Mapping[str, torch.Tensor],
        values: Mapping[str, torch.Tensor],
        *,
        training: bool,
        step: int,
        shard: str = "",
    ) -> dict[str, torch.Tensor]:
        """Runs the stage.

        Args:
            arguments: The forward's arguments that the owner holds; others may be there too.
            values: The values that come from earlier stages, by name; others may be there too.
            training: Which mode.
            step: Global number of the step: random operations draw anew in each.
            shard: Tells clients apart that run the same stage in one step; empty where only one does.

        Returns:
            What later stages read, by name; from the last stage the model's output under ``output`` too.

        Raises:
            ModelCodeFailed: if an operation of the model raises.
            OutOfMemory: if an allocation fails.
        """
        if self._root.training != training:
            self._root.train(training)
        program = self._programs[training]
        stage_graph = program.stage_graph
        inputs: list[Any] = [arguments[name] for name in stage_graph.arguments]
        inputs += [values[name] for name in stage_graph.values]
        if stage_graph.needs_rows:
            inputs.append(self._count_rows(inputs, stage_graph))
        if stage_graph.needs_device:
            inputs.append(self.device)
        with explain_user_code(f"the model's stage {self.stage} ({self.owner}) at step {step}", has_data=True):
            results = program.run(inputs, step=step, shard=shard)
        return dict(zip(stage_graph.outputs, results, strict=True))

    @torch.no_grad()
    def to(self, device: torch.device) -> None:
        """Moves the stage's tensors to a device; parameters stay the same objects.

        Raises:
            NumericsInvalid: if an exact training would use a module that is not reproducible there.
        """
        for module in self._iterate_modules():
            if device.type == "cuda" and self._exact and isinstance(module, nn.RNNBase) and module.dropout > 0:
                raise NumericsInvalid(
                    f"{type(module).__name__}(dropout={module.dropout}) on CUDA keeps random state of its own",
                    allowed="recurrent layers without dropout where numerics.mode is Exact",
                    remedy="put nn.Dropout between single layers, or set device: CPU at this party",
                )
        for tensor in self._iterate_tensors():
            tensor.data = tensor.data.to(device)
        for module in self._iterate_modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()
        self.device = device
        for program in self._programs.values():
            program.keys.use_device(device)

    def list_tensor_ids(self) -> set[int]:
        """Returns the identities of all tensors that the stage needs, constants included."""
        return {id(tensor) for tensor in self._iterate_tensors()}

    def _iterate_tensors(self) -> list[torch.Tensor]:
        found: dict[int, torch.Tensor] = {id(t): t for t in (*self._parameters.values(), *self._buffers.values())}
        for module in self._iterate_modules():
            found |= {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        for program in self._programs.values():
            for node in program.stage_graph.graph.find_nodes(op="get_attr"):
                tensor = get_attribute(self._root, str(node.target))
                if isinstance(tensor, torch.Tensor):
                    found[id(tensor)] = tensor
        return list(found.values())

    def _iterate_modules(self) -> list[nn.Module]:
        graphs = [program.stage_graph.graph for program in self._programs.values()]
        targets = {str(node.target) for graph in graphs for node in graph.find_nodes(op="call_module")}
        return [self._root.get_submodule(target) for target in sorted(targets)]

    def _count_rows(self, inputs: list[torch.Tensor], stage_graph: StageGraph) -> int:
        for name, value in zip(stage_graph.values, inputs[len(stage_graph.arguments) :], strict=False):
            layout = self._layouts[name]
            if layout.batch_dimension >= 0:
                return value.shape[layout.batch_dimension] // layout.shape[layout.batch_dimension]
        return inputs[0].shape[0]


@dataclass
class _Program:
    """One graph as a module, seeded before the operations that its first run found to draw."""

    root: nn.Module
    stage_graph: StageGraph
    seed: int

    def __post_init__(self) -> None:
        self.keys = KeyedGenerators(self.seed, list_origins(self.stage_graph.graph))
        self._module = fx.GraphModule(self.root, self.stage_graph.graph)
        self._is_probed = False

    def run(self, inputs: list[Any], *, step: int, shard: str) -> tuple[torch.Tensor, ...]:
        self.keys.begin(step=step, shard=shard)
        if self._is_probed:
            results: tuple[torch.Tensor, ...] = self._module.forward(*inputs)
            return results
        positions = list_operations(self._module.graph)
        probe = ProbingRun(self._module, self.keys, positions)
        results = probe.run(*inputs, enable_io_processing=False)
        reseed = self.keys.reseed  # one object: every access would make another bound method, and fx another global
        for node in probe.drawing:
            with self._module.graph.inserting_before(node):
                self._module.graph.call_function(reseed, (positions[node],))
        if probe.drawing:
            self._module.recompile()
        self._is_probed = True
        return results
