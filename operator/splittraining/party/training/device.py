"""The device of a party: chosen and tried before anything is read, and named in its reports."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch

from splittraining.api.errors import DeviceUnavailable
from splittraining.party.allocations import is_allocation_failure

_MAX_NAME = 63
_DRIVER_FILE = Path("/proc/driver/nvidia/version")
_VISIBILITY_VARIABLES = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_ALLOWED = "CPU, or CUDA on a machine with a driver and a GPU that this process may use"
_REMEDY = (
    "look on the node whether `nvidia-smi` lists a GPU, give the pod the runtimeClassName that brings the driver in,"
    " take an image with a PyTorch that the driver can run; or ask for no GPU, or set device: CPU"
)


def select_device(name: str) -> torch.device:
    """Returns the device of a party document, after a first operation on it.

    Args:
        name: ``CPU`` or ``CUDA``.

    Raises:
        DeviceUnavailable: if CUDA is asked for and not there, or cannot be used.
    """
    if name == "CPU":
        return torch.device("cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        said = "".join(f", warning: {str(each.message).splitlines()[0]}" for each in caught[:1])
        raise DeviceUnavailable(
            f"device CUDA was asked for, but PyTorch {torch.__version__} finds none ({_describe_cuda()}{said})",
            allowed=_ALLOWED,
            remedy=_REMEDY,
        )
    device = torch.device("cuda", 0)
    try:
        # A GPU may be listed and yet refuse: in exclusive use, or of a generation that this build has no kernels for.
        torch.zeros(1, device=device).add_(1).item()
    except RuntimeError as error:
        if is_allocation_failure(error):
            raise
        raise DeviceUnavailable(
            f"{describe_device(device)} refused a first operation: {str(error).splitlines()[0]} ({_describe_cuda()})",
            allowed=_ALLOWED,
            remedy=_REMEDY,
        ) from error
    return device


def describe_device(device: torch.device) -> str:
    """Returns a device as reports show it: ``cpu``, or ``cuda:0 NVIDIA H100``."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} {torch.cuda.get_device_name(device)}"[:_MAX_NAME]


def _describe_cuda() -> str:
    """Returns what a person would look up first: PyTorch's build, the driver, the GPUs, what hides them."""
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    hidden = "".join(f", {name}={os.environ[name]}" for name in _VISIBILITY_VARIABLES if name in os.environ)
    return f"{built}, {_describe_driver()}, {len(_list_gpu_files())} of /dev/nvidia0 and on{hidden}"


def _describe_driver() -> str:
    try:
        first = _DRIVER_FILE.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return f"no NVIDIA driver at {_DRIVER_FILE}"
    return f"driver {' '.join(first.split())}"


def _list_gpu_files() -> list[Path]:
    return [path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]
