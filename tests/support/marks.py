"""Marks that a whole folder of tests has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest


def mark_tests_below(folder: Path, items: Iterable[pytest.Item], mark: pytest.MarkDecorator) -> None:
    """Marks the tests below a folder; pytest hands every conftest the tests of all folders."""
    for item in items:
        if folder in item.path.parents:
            item.add_marker(mark)
