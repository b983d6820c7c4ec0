"""The one place that starts parties. It knows the party by name only: nothing here imports it, or torch.

All processes come from one fork server that has imported torch once (four parties are ready in 7 s instead of 45 s,
with 30 MiB of their own instead of 385). The fork server must never have started gRPC, touched CUDA or run a parallel
operation before a fork, so its preload list is exactly this.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.context import ForkServerProcess

from splittraining.local.child import Order, follow_order

PARTY_TARGET = "splittraining.party.main:run_party"
"""`run_party(document_path, *, debug) -> exit code`."""

PLAN_TARGET = "splittraining.party.main:plan_party"
"""`plan_party(document_path, *, debug) -> exit code`; the plan report is the last line on stdout."""

PRELOAD = ("torch", "torch._dynamo")
"""torch._dynamo is what the first optimizer would import, 4 to 6 s of it, in every party."""


class Launcher:
    """Starts processes from the fork server of this interpreter, which lives as long as the interpreter does.

    Args:
        preload: Modules that the fork server imports before its first fork.
        environment: Variables that must be set before those modules are imported. The fork server takes them; this
            process keeps its own.
    """

    def __init__(self, *, preload: Sequence[str] = PRELOAD, environment: Mapping[str, str] | None = None) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._environment = dict(environment or {})

    def warm_up(self) -> None:
        """Starts the fork server without waiting for it, so that it imports while the caller does something else."""
        # First, since it would unblock what is blocked below.
        multiprocessing.resource_tracker.ensure_running()
        with _with_environment(self._environment), _without_ctrl_c():
            multiprocessing.forkserver.ensure_running()

    def start(self, name: str, order: Order) -> ForkServerProcess:
        """Starts one process.

        Args:
            name: Name of the process.
            order: What it is to do.
        """
        self.warm_up()
        process = self._context.Process(target=follow_order, args=(order,), name=name)
        process.start()
        return process


def build_environment(*, intra_op_threads: int) -> dict[str, str]:
    """Builds the variables that torch, CUDA and gRPC read once, when they are imported.

    Args:
        intra_op_threads: The contract's `numerics.intraOpThreads`; the same in a pod.
    """
    threads = str(intra_op_threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        # Deterministic cuBLAS needs a fixed workspace.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # Without these the C library hands activations back to the system after every step and faults their pages in
        # again in the next: a fifth of a step at 4 MiB. Larger blocks are mapped as before, and freed at once.
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
        # An ECDSA leaf has no TLS 1.2 suite in this list, so that gRPC can only agree on TLS 1.3.
        "GRPC_SSL_CIPHER_SUITES": "ECDHE-RSA-AES128-GCM-SHA256",
    }


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Makes new processes deaf to the terminal's Ctrl-C from their first instruction on, by the mask they inherit.

    The fork server ignores it too, but only after its imports, which is when an impatient person presses it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _with_environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
