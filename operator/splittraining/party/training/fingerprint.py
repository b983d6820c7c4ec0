"""What the bits of a result depend on beside the program: device, threads, instruction set and numeric switches."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

import torch

from splittraining.api.errors import NumericsInvalid

_WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"
_WORKSPACES = (":4096:8", ":16:8")
_MAX_TEXT = 255


def prepare_numerics(*, intra_op_threads: int, device: torch.device, exact: bool) -> None:
    """Sets the process's numeric switches, before the first tensor is computed.

    Args:
        intra_op_threads: CPU threads of one operation; sums depend on it.
        device: Where tensors will be computed.
        exact: Whether a step must give the same bits every time.

    Raises:
        NumericsInvalid: if the process was not started in a way that can be exact.
    """
    torch.set_num_threads(intra_op_threads)
    if torch.get_num_interop_threads() != 1:
        # PyTorch takes this once per process and not after its first parallel work. No result depends on it: only
        # TorchScript runs operations side by side. It saves threads where it can be had.
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(exact)
    # It would also fill all fresh memory, so that reading what nobody wrote repeats: a cost on every step for nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False  # would choose kernels by time, anew in every process
    if not exact:
        return
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if device.type == "cuda" and os.environ.get(_WORKSPACE_VARIABLE) not in _WORKSPACES:
        raise NumericsInvalid(
            f"numerics mode Exact on CUDA with {_WORKSPACE_VARIABLE}={os.environ.get(_WORKSPACE_VARIABLE)}",
            allowed=" or ".join(_WORKSPACES),
            remedy="set the variable before the party starts, as `splittraining run` and the operator do",
        )


def compute_fingerprint(*, intra_op_threads: int, device: torch.device) -> dict[str, str]:
    """Returns what two runs must have in common for equal bits; call it after :func:`prepare_numerics`."""
    fingerprint = {
        "torch": torch.__version__,
        "device": _read_cpu_model(),
        "threads": str(intra_op_threads),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
        "tf32": str(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32).lower(),
    }
    if device.type == "cuda":
        fingerprint |= {
            "device": torch.cuda.get_device_name(device),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
    return {name: value[:_MAX_TEXT] for name, value in fingerprint.items()}


def _read_cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models and models[0] else platform.machine()
