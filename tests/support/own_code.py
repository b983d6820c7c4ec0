"""A loader and a loss as users write them; given to parties as source beside the model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def load(path: str, suffix: str, scale: float = 1.0) -> dict[str, np.ndarray | Tensor]:
    """Reads an archive whose columns have a suffix."""
    with np.load(path) as archive:
        return {"x" + suffix: archive["x"] * np.float32(scale), "y" + suffix: torch.from_numpy(archive["y"])}


def compute_loss(output: Tensor, label: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Cross entropy over softened outputs."""
    return torch.nn.functional.cross_entropy(output / temperature, label)


def add_noise(row: dict[str, Tensor], generator: torch.Generator, *, scale: float) -> dict[str, Tensor]:
    """Adds noise from the row's own generator."""
    x = row["x"]
    return {**row, "x": x + scale * torch.randn(x.shape, generator=generator)}


def add_global_noise(row: dict[str, Tensor], generator: torch.Generator, *, scale: float) -> dict[str, Tensor]:
    """Adds noise that nobody can repeat: what a party must refuse."""
    del generator
    return {**row, "x": row["x"] + scale * torch.randn(row["x"].shape)}
