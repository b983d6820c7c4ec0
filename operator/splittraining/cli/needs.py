"""What a command needs beside the base install: told before it starts, by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from splittraining.api.usage import UsageInvalid

EXTRA = "local"
"""The extra of this package that brings all of it."""

_PACKAGES_OF_A_RUN = ("aiohttp", "grpc", "jwt", "numpy", "safetensors", "torch")
_NEEDS = {"run_command": _PACKAGES_OF_A_RUN, "plan_command": _PACKAGES_OF_A_RUN}


def check_needs(module: str, *, is_installed: Callable[[str], bool]) -> None:
    """Refuses a command whose packages are not all installed.

    Args:
        module: The command's module in this package.
        is_installed: Whether a package can be imported.

    Raises:
        UsageInvalid: with the missing packages and how to get them.
    """
    missing = [name for name in _NEEDS.get(module, ()) if not is_installed(name)]
    if missing:
        raise UsageInvalid(
            f"this command needs packages that are not installed: {', '.join(missing)}",
            allowed=f"an install with the extra `{EXTRA}`",
            remedy=f"pip install 'splittraining[{EXTRA}]'",
        )


def is_package_installed(name: str) -> bool:
    """Tells whether a package can be imported, without importing it."""
    return importlib.util.find_spec(name) is not None
