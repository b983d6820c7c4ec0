"""A loss that takes its time until somebody else got on; given to parties as source beside the model."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import torch
from torch import Tensor

_CALLS = itertools.count()


def compute_loss(output: Tensor, label: Tensor, *, gates: str, every: int) -> Tensor:
    """Cross entropy; passes gate n, a file of that name in a folder, only when it is there."""
    gate = Path(gates) / str(next(_CALLS) // every)
    while not gate.exists():
        threading.Event().wait(0.02)
    return torch.nn.functional.cross_entropy(output, label)
