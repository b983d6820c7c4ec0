"""Random numbers that are the same wherever the model is cut.

Before every operation that draws, torch's default generator is seeded with a key of (seed, path of the module, call,
ordinal of the operation in that call, step, shard). So the draws of one operation do not depend on what other
operations drew before, in this process or another, and no generator state is ever kept.

The ordinal counts all operations of the call, not only the random ones: who runs one half of a module's forward cannot
know which operations of the other half draw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import fx

from splittraining.party.model.trace import OPERATIONS, Origin, get_origin


class KeyedGenerators:
    """Seeds the default generators of the CPU and of one CUDA device.

    Args:
        seed: The training's seed.
        origins: The operations that may be seeded for; they are known by their position.
    """

    def __init__(self, seed: int, origins: Sequence[Origin]) -> None:
        self._hashes = [_hash_origin(seed, origin) for origin in origins]
        self._suffix = b""
        self._generators = [torch.default_generator]

    def use_device(self, device: torch.device) -> None:
        """Chooses the device whose generator is seeded beside the CPU's."""
        on_cuda = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
        self._generators = [torch.default_generator, *on_cuda]

    def begin(self, *, step: int, shard: str) -> None:
        """Says which step the next draws belong to."""
        self._suffix = b"%d/%b" % (step, shard.encode())

    def reseed(self, position: int) -> None:
        """Seeds the generators for one operation."""
        keyed = self._hashes[position].copy()
        keyed.update(self._suffix)
        key = int.from_bytes(keyed.digest(), "big")
        for generator in self._generators:
            generator.manual_seed(key)

    def get_states(self) -> list[torch.Tensor]:
        """Returns the generators' states, to see whether an operation moves them."""
        return [generator.get_state() for generator in self._generators]


def _hash_origin(seed: int, origin: Origin) -> hashlib.blake2b:
    # CPU generators use the low 32 bits of a seed only: packed integers would collide, a hash does not.
    keyed = hashlib.blake2b(digest_size=8)
    keyed.update(f"{seed}/{origin.path}/{origin.call}/{origin.ordinal}/".encode())
    return keyed


class ProbingRun(fx.Interpreter):
    """Runs a graph once, seeding before every operation, and notes which operations drew.

    It computes exactly what the seeded graph computes later, so the first step needs no extra pass.
    """

    def __init__(self, module: fx.GraphModule, keys: KeyedGenerators, positions: dict[fx.Node, int]) -> None:
        super().__init__(module)
        self.drawing: list[fx.Node] = []
        self._keys = keys
        self._positions = positions

    def run_node(self, n: fx.Node) -> object:
        """Runs one node, seeded if it is an operation of the model."""
        if n not in self._positions:
            return super().run_node(n)
        self._keys.reseed(self._positions[n])
        before = self._keys.get_states()
        result = super().run_node(n)
        after = self._keys.get_states()
        if not all(torch.equal(old, new) for old, new in zip(before, after, strict=True)):
            self.drawing.append(n)
        return result


def list_operations(graph: fx.Graph) -> dict[fx.Node, int]:
    """Returns the operations of a graph that stand in the model's own code, with their positions."""
    operations = [node for node in graph.nodes if node.op in OPERATIONS and "origin" in node.meta]
    return {node: position for position, node in enumerate(operations)}


def list_origins(graph: fx.Graph) -> list[Origin]:
    """Returns where the operations of a graph stand, by position."""
    return [get_origin(node) for node in list_operations(graph)]
