"""Telling an allocation that failed from every other error: torch has no type of its own for it on the CPU."""

from __future__ import annotations

import torch

_CPU_ALLOCATOR = "DefaultCPUAllocator"


def is_allocation_failure(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, on the CPU or on a device."""
    # torch's CPU allocator raises a plain RuntimeError; its own name in the text is the only sign.
    from_cpu = isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)
    return from_cpu or isinstance(error, MemoryError | torch.OutOfMemoryError)
