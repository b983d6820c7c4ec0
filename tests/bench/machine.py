"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch


def describe_machine(device: str) -> dict[str, str]:
    """Describes processor, device and versions, without a name or a date."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    described = {
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": models[0] if models else platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads_per_process": "1",
        "device": device,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "grpcio", "splittraining")},
    }
    if device == "cuda":
        described["device"] = torch.cuda.get_device_name(0)
        described["cuda"] = str(torch.version.cuda)
    return described
