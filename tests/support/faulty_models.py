"""Models and loaders that a split training must refuse, or that end a party; given to parties as model source."""

from __future__ import annotations

import os
import signal

import torch
from torch import Tensor, nn


class Flat(nn.Module):
    """A cut at `flatten` would let the raw input cross; one at `bottom` is fine."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.bottom = nn.Linear(5, 4)
        self.top = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.bottom(self.flatten(x)))


class Skip(nn.Module):
    """A value before the cut is read again behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Linear(5, 4)
        self.bottom = nn.Linear(4, 4)
        self.top = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        early = self.early(x)
        return self.top(self.bottom(early) + early)


class Tied(nn.Module):
    """One weight on both sides of the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Linear(5, 5)
        self.top = nn.Linear(5, 5)
        self.top.weight = self.bottom.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.bottom(x))


class Branching(nn.Module):
    """Decides by the data's values, which no trace can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Linear(5, 4)
        self.top = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return self.top(self.bottom(x))
        return self.top(-self.bottom(x))


def build_flat() -> nn.Module:
    return Flat()


def build_skip() -> nn.Module:
    return Skip()


def build_tied() -> nn.Module:
    return Tied()


def build_branching() -> nn.Module:
    return Branching()


def load_until_killed(path: str) -> dict[str, Tensor]:
    """Ends as a process ends that the kernel's out-of-memory killer has chosen."""
    del path
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def load_too_much(path: str) -> dict[str, Tensor]:
    """Asks for more memory than any machine has."""
    del path
    return {"x": torch.empty(1 << 60), "y": torch.empty(1)}
