"""What the chart's tests share. They need Helm, so they run where a real API server's programs are too."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.helm import helm  # noqa: F401 - a fixture


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.api)
