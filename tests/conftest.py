"""What holds for every test. Kept small: what one folder needs stands in that folder's own conftest."""

from __future__ import annotations

import gc
import os

from hypothesis import settings

from splittraining.party.wire.tls import prepare_grpc_environment

# Until all tests are known nothing becomes garbage: PyTorch and they are millions of objects to look at, over and over.
gc.disable()

# Before anything imports torch: the number of threads decides the order of additions, and with it the last bits of a
# sum. Parties pin theirs from the contract; the hand-written oracles in this process must do the same. It also keeps
# two test processes on two cores from fighting over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Before anything imports grpc: it reads its TLS settings once.
prepare_grpc_environment()

# No test is timed: what is slow on a busy machine is not wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Tells the garbage collector that what is there now stays."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Lets the interpreter take it all apart as usual, which some libraries watch."""
    gc.unfreeze()
