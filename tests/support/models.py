"""Small models in the shapes that are hard to cut. Each is an ordinary module that knows nothing of cuts.

Legend: B batch, F features, C channels, H W image, T tokens, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Mlp(nn.Module):
    """Three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


class Cnn(nn.Module):
    """Convolutions with BatchNorm, in-place ReLU, and a flatten that asks the input for its size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.head = nn.Linear(6 * 8 * 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h_BCHW = self.body(self.relu(self.norm(self.stem(x))))
        return self.head(h_BCHW.view(x.size(0), -1))


class Residual(nn.Module):
    """A residual block with a downsampling branch: the value before it is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 1, stride=2)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h_BCHW = self.stem(x)
        h_BCHW = torch.relu(self.conv2(torch.relu(self.conv(h_BCHW))) + self.down(h_BCHW))
        return self.head(h_BCHW.mean((2, 3)))


class SkipNet(nn.Module):
    """An encoder, a middle and a decoder. The decoder reads an early value and the value at the cut itself."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        self.down2 = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.left = nn.Conv2d(4, 4, 3, padding=1)
        self.right = nn.Conv2d(4, 4, 1)
        self.middle = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.up = nn.Conv2d(12, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        early_BCHW = self.down1(x)
        cut_BCHW = self.down2(early_BCHW)
        h_BCHW = self.middle(self.left(cut_BCHW) + self.right(cut_BCHW))
        h_BCHW = self.up(torch.cat([h_BCHW, early_BCHW, cut_BCHW], 1))
        return self.head(h_BCHW.mean((2, 3)))


class TwoTowers(nn.Module):
    """Two arguments, one tower each, merged by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.right = nn.Sequential(nn.Linear(2, 4), nn.Tanh())
        self.trunk = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.trunk(torch.cat([self.left(left), self.right(right)], 1))


class NoisyNet(nn.Module):
    """Dropout and BatchNorm on both sides, as modules and as functions, two random functions in one forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Dropout(0.3))
        self.second = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.RReLU())
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h_BF = F.dropout(self.first(x), 0.2, self.training)
        h_BF = F.dropout(self.second(h_BF), 0.2, self.training)
        return self.head(h_BF + 0.1 * torch.rand_like(h_BF))


class Attention(nn.Module):
    """Tokens through multi-head attention with dropout; a class token made from a parameter alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        h_BTF = self.embed(tokens)
        h_BTF = torch.cat([self.token.expand(h_BTF.shape[0], -1, -1), h_BTF], 1)
        h_BTF, _ = self.attention(h_BTF, h_BTF, h_BTF, need_weights=False)
        return self.head(h_BTF[:, 0])


class Recurrent(nn.Module):
    """An LSTM whose whole state goes on into another one."""

    def __init__(self, num_layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.read = nn.LSTM(3, 5, num_layers, batch_first=True, dropout=dropout)
        self.write = nn.LSTM(5, 5, num_layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h_BTF, state = self.read(x)
        h_BTF, _ = self.write(h_BTF, state)
        return self.head(h_BTF[:, -1])


class Patches(nn.Module):
    """Convolved patches turned into tokens: the value at the cut lies transposed in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.embed = Scale()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h_BTF = self.embed(self.conv(x).flatten(2).transpose(1, 2))
        return self.head(h_BTF.mean(1))


class Scale(nn.Module):
    """A weight for each feature."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Tied(nn.Module):
    """An autoencoder-like model whose last weight is its first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.middle = nn.Linear(16, 16)
        self.last = nn.Linear(16, 16)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.middle(torch.relu(self.first(self.first(x))))))


class Lambda(nn.Module):
    """A model whose forward is a function over its modules: for one-line cases.

    Its function is called as `function(model, *arguments)`; arguments are named `x`, and `y` where there are two.
    """

    def __init__(self, function: Callable[..., Any], **members: Any) -> None:
        super().__init__()
        self.function = function
        for name, member in members.items():
            if isinstance(member, Tensor) and not isinstance(member, nn.Parameter):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


class PairLambda(Lambda):
    """As Lambda, with two arguments."""

    def forward(self, x: Tensor, y: Tensor) -> Any:  # type: ignore[override]
        return self.function(self, x, y)
