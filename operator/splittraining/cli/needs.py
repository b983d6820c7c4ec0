"""What a command needs beside the base install: told before it starts, by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from splittraining.api.usage import UsageInvalid

_OF_A_RUN = ("local", ("aiohttp", "grpc", "jwt", "numpy", "safetensors", "torch"))
_OF_A_CLUSTER = ("cluster", ("aiohttp", "kubernetes"))
_NEEDS = {
    "run_command": _OF_A_RUN,
    "plan_command": _OF_A_RUN,
    "predict_command": _OF_A_RUN,
    "export_command": _OF_A_RUN,
    "status_command": _OF_A_CLUSTER,
    "logs_command": _OF_A_CLUSTER,
    "fetch_command": _OF_A_CLUSTER,
}
"""For each command the extra of this package that brings all it needs, and what that is."""


def check_needs(module: str, *, is_installed: Callable[[str], bool]) -> None:
    """Refuses a command whose packages are not all installed.

    Args:
        module: The command's module in this package.
        is_installed: Whether a package can be imported.

    Raises:
        UsageInvalid: with the missing packages and how to get them.
    """
    extra, packages = _NEEDS.get(module, ("", ()))
    missing = [name for name in packages if not is_installed(name)]
    if missing:
        raise UsageInvalid(
            f"this command needs packages that are not installed: {', '.join(missing)}",
            allowed=f"an install with the extra `{extra}`",
            remedy=f"pip install 'splittraining[{extra}]'",
        )


def is_package_installed(name: str) -> bool:
    """Tells whether a package can be imported, without importing it."""
    return importlib.util.find_spec(name) is not None
