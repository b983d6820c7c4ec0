"""What the chart's tests share. They need Helm, so they run where a real API server's programs are too."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.helm import helm  # noqa: F401 - a fixture
from support.marks import mark_tests_below


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_tests_below(Path(__file__).parent, items, pytest.mark.api)
