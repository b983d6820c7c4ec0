"""Small models that the end-to-end tests cut. Parties get this file as their model source; oracles import it.

Legend: B batch, F features, C channels, H W image, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Features in, classes out; `bottom` is where the tests cut."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Linear(num_features, 8), nn.Tanh())
        self.top = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.bottom(x))


class NormClassifier(nn.Module):
    """Convolutions with BatchNorm on both sides of the cut, and dropout where it is asked for."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(dropout))
        self.middle = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(4 * 4 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.middle(self.bottom(x)).flatten(1)))


class BinaryHead(nn.Module):
    """Three parts for a U-shape: `encoder`, `trunk`, and a head with one logit or more."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(num_features, 6), nn.Tanh())
        self.trunk = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
        self.head = nn.Linear(6, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(self.encoder(x)))


class UNet(nn.Module):
    """Two levels with skips from encoder to decoder: in a U-shape they stay with the client that made them."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU())
        self.bottleneck = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
        )
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.merge2 = nn.Conv2d(16, 4, 3, padding=1)
        self.merge1 = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip1 = self.down1(x)
        skip2 = self.down2(skip1)
        deep = self.up(self.bottleneck(skip2))
        mid = self.up(torch.relu(self.merge2(torch.cat([deep, skip2], dim=1))))
        return self.merge1(torch.cat([mid, skip1], dim=1))


class Patches(nn.Module):
    """Convolved patches turned into tokens: the value at the cut lies transposed in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 6, 2, stride=2)
        self.embed = nn.LeakyReLU(0.2)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(self.patch(x).flatten(2).transpose(1, 2))
        return self.head(torch.tanh(self.mix(tokens)).mean(dim=1))


class Summed(nn.Module):
    """BatchNorm last before the cut, sums over whole images first behind it: one gradient for all pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.top = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.bottom(x).sum((2, 3)) / 64)


class SummedRows(nn.Module):
    """A Linear over the rows of images last before the cut, sums over its features first behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Linear(8, 6)
        self.top = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(torch.tanh(self.bottom(x.flatten(1, 2)).sum(2)))


class Halves(nn.Module):
    """For a U-shape whose views cross: a gradient that is a part of a concatenation's, and halves of one value."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.middle = Halving()
        self.left = nn.BatchNorm2d(3)
        self.right = nn.BatchNorm2d(3)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.middle(self.bottom(x))
        joined = torch.cat([torch.relu(self.left(left)), torch.tanh(self.right(right))], dim=1)
        return self.head(joined.mean((2, 3)))


class Halving(nn.Module):
    """Puts a learned plane beside what comes in, and gives back halves that are views of one value."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 2, 8, 8))
        self.mix = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.mix(torch.cat([x, self.place.expand(x.shape[0], -1, -1, -1)], dim=1)).chunk(2, dim=1)


class Towers(nn.Module):
    """One tower per data holder, put side by side, and a trunk."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left_tower = nn.Sequential(nn.Linear(3, width), nn.Tanh())
        self.right_tower = nn.Sequential(nn.Linear(2, width), nn.ReLU())
        self.trunk = nn.Sequential(nn.Linear(2 * width, 6), nn.ReLU(), nn.Linear(6, 1))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.trunk(torch.cat([self.left_tower(left), self.right_tower(right)], dim=1))


class Tasks(nn.Module):
    """One branch or two, a trunk, and tasks: `kind` of three classes, `flag` of one logit, `size` of numbers.

    `flag` has no head of its own where it is `bare`: the trunk's `logit` is its output. The head of `size` reads the
    trunk's value twice.
    """

    def __init__(self, num_branches: int, num_tasks: int, width: int, numbers: int, *, bare: bool) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(3, width), nn.Tanh())
        if num_branches > 1:
            self.right = nn.Sequential(nn.Linear(2, width), nn.ReLU())
        self.trunk = nn.Sequential(nn.Linear(num_branches * width, width), nn.ReLU(), nn.Linear(width, width))
        self.logit = nn.Linear(width, 1)
        self.kind = nn.Sequential(nn.ReLU(), nn.Linear(width, 3))
        if not bare:
            self.flag = nn.Tanh()
        if num_tasks > 2:
            self.size = nn.Linear(width, numbers)
            self.scale = nn.Linear(width, 1)

    def forward(self, left: Tensor, right: Tensor | None = None) -> dict[str, Tensor]:
        merged = self.left(left) if right is None else torch.cat([self.left(left), self.right(right)], dim=1)
        shared = self.trunk(merged)
        logit = self.logit(shared if not hasattr(self, "flag") else self.flag(shared))
        outputs = {"kind": self.kind(shared), "flag": logit}
        if hasattr(self, "size"):
            outputs["size"] = self.size(shared) * torch.sigmoid(self.scale(shared))
        return outputs


class Chain(nn.Module):
    """Four parts in a row for a chain of owners; where it skips, the third part also reads what the first one made."""

    def __init__(self, width: int, *, skips: bool) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(5, width), nn.Tanh())
        self.second = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.third = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        self.last = nn.Linear(width, 1)
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        low = self.first(x)
        mid = self.second(low)
        return self.last(self.third(mid + low if self.skips else mid))


class FusedTowers(nn.Module):
    """Two towers, a part that works on both together, and a trunk."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.left_tower = nn.Sequential(nn.Linear(3, width), nn.Tanh())
        self.right_tower = nn.Sequential(nn.Linear(2, width), nn.ReLU())
        self.fusion = nn.Sequential(nn.Linear(2 * width, width), nn.Tanh())
        self.trunk = nn.Sequential(nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 1))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.trunk(self.fusion(torch.cat([self.left_tower(left), self.right_tower(right)], dim=1)))


def build_classifier(num_features: int = 5, num_classes: int = 3) -> nn.Module:
    """Builds a model without randomness for Vanilla."""
    return Classifier(num_features, num_classes)


def build_double_classifier() -> nn.Module:
    """Builds the same in double precision, where equal up to rounding is a narrow claim."""
    return Classifier(5, 3).double()


def build_double_binary() -> nn.Module:
    """Builds the model for the U-shape in double precision."""
    return BinaryHead(5, 1).double()


def build_norm_classifier(dropout: float = 0.0) -> nn.Module:
    """Builds an image model with BatchNorm on both sides of `bottom`."""
    return NormClassifier(dropout)


def build_double_norm_classifier(dropout: float = 0.0) -> nn.Module:
    """Builds the same in double precision."""
    return NormClassifier(dropout).double()


def build_patches(dropout: float = 0.0) -> nn.Module:
    """Builds an image model whose cut at `embed` is transposed in memory; `dropout` is there to be called alike."""
    del dropout
    return Patches()


def build_summed(dropout: float = 0.0) -> nn.Module:
    """Builds an image model whose gradient at `bottom` is expanded; `dropout` is there to be called alike."""
    del dropout
    return Summed()


def build_summed_rows(dropout: float = 0.0) -> nn.Module:
    """Builds a model of rows of images whose gradient at `bottom` is expanded; `dropout` as above."""
    del dropout
    return SummedRows()


def build_halves(dropout: float = 0.0) -> nn.Module:
    """Builds an image model to be cut at `bottom` and `middle`, where views cross; `dropout` as above."""
    del dropout
    return Halves()


def build_binary(num_features: int = 5, num_outputs: int = 1) -> nn.Module:
    """Builds a model for the U-shape, to be cut at `encoder` and `trunk`."""
    return BinaryHead(num_features, num_outputs)


def build_u_net() -> nn.Module:
    """Builds a U-Net, to be cut at `down2` and `bottleneck`."""
    return UNet()


def build_towers(width: int = 4) -> nn.Module:
    """Builds the two-tower model for Vertical."""
    return Towers(width)


def build_tasks(branches: int = 1, tasks: int = 2, bare: int = 0, width: int = 6, numbers: int = 1) -> nn.Module:
    """Builds the model for MultiTask, to be cut at `left`, `right` and `trunk`, where `bare` at `logit` too."""
    return Tasks(branches, tasks, width, numbers, bare=bool(bare))


def build_chain(width: int = 6, skips: int = 0) -> nn.Module:
    """Builds the chain, to be cut at `first`, `second` and `third`."""
    return Chain(width, skips=bool(skips))


def build_fused_towers(width: int = 4) -> nn.Module:
    """Builds the two-tower model with a part after the merge, to be cut at `fusion`."""
    return FusedTowers(width)
