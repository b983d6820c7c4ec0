"""The device of the tests that need a GPU, and what their own process must be for it.

`SPLITTRAINING_GPU_TESTS_ON=CPU make test-gpu` runs the same tests without a GPU, for whoever writes or changes them.
"""

from __future__ import annotations

import os

import pytest
import torch

DEVICE = os.environ.get("SPLITTRAINING_GPU_TESTS_ON", "CUDA")
"""As a manifest names it."""

ON_CUDA = DEVICE == "CUDA"

TORCH_DEVICE = torch.device(DEVICE.lower())

NEEDS_A_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(ON_CUDA and not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def require_fixed_workspaces() -> None:
    """Asserts that cuBLAS was told to be deterministic before anything used it: it reads that once.

    The parties' launcher says so to them; the references are computed in the tests' own process.
    """
    given = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    assert given == ":4096:8" or not ON_CUDA, f"CUBLAS_WORKSPACE_CONFIG is {given}, not :4096:8: use `make test-gpu`"
