"""What a fork server imports for all parties of a run is what may be there before a fork, and nearly all there is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from splittraining.local.launcher import PRELOAD

LOOK = f"""
import importlib, sys, threading
for name in {PRELOAD!r}:
    importlib.import_module(name)
import torch
print("grpc" in sys.modules, torch.cuda.is_initialized(), threading.active_count())
before = set(sys.modules)
import splittraining.party.main
print(*sorted(name for name in set(sys.modules) - before if name.startswith("splittraining.party.data")))
"""


@pytest.mark.slow
def test_it_brings_no_grpc_no_cuda_and_no_thread_and_leaves_little_to_each_party() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    state, left = done.stdout.split("\n")[:2]
    assert state == "False False 1"
    assert left == ""
