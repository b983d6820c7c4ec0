"""What docs/training.md shows as YAML is what the API takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from splittraining.api.rules.registry import find_violations
from support.builders import TrainingBuilder, a_vanilla_training

PAGE = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```", PAGE.replace("…", "0" * 64), re.MULTILINE | re.DOTALL)


def put_in(training: TrainingBuilder, snippet: str) -> TrainingBuilder:
    for name, value in yaml.safe_load(snippet).items():
        match name:
            case "server":
                training = training.with_server(**value)
            case "clients":  # what one of them has, both have: they share a segment
                (shown,) = ({field: given for field, given in each.items() if field != "name"} for each in value)
                for client in (0, 1):
                    for field, given in shown.items():
                        training = training.with_value(f"spec.clients.{client}.{field}", given)
            case _:
                training = training.with_value(f"spec.training.{name}", value)
    return training


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.split(":")[0])
def test_a_snippet_is_part_of_a_training_that_can_run(snippet: str) -> None:
    assert find_violations(put_in(a_vanilla_training(), snippet).build()) == []


def test_the_page_shows_every_means() -> None:
    assert len(SNIPPETS) == 6
