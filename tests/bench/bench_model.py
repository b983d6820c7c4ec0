"""The model that the benchmark trains: a small CNN with three places to cut, so that all cuts share one unsplit step.

Parties get this file as their model source; the unsplit training imports it.

Legend: B batch, C channels, H W image, K classes. Bytes are those of a batch of 64 rows in float32.
"""

from __future__ import annotations

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Ends of `stem`, `shrink` and `body` are the places to cut."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(  # [B, 16, 32, 32]: 4 MiB
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.shrink = nn.MaxPool2d(2)  # [B, 16, 16, 16]: 1 MiB
        self.body = nn.Sequential(  # [B, 32, 4, 4]: 128 KiB
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * width * 16, 8 * width), nn.ReLU(), nn.Linear(8 * width, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.shrink(self.stem(x))))


def build(width: int = 16, num_classes: int = 10) -> nn.Module:
    """Builds the whole model; the parties cut it, the unsplit training does not."""
    return SmallCNN(width, num_classes)
