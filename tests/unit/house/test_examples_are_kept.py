"""Every example can be read, made and run by whoever finds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from splittraining.local.accepted import accept_manifest, list_claims
from splittraining.local.manifest import load_manifest
from support.house_support import ROOT, list_examples

EXAMPLES = list_examples()


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_is_accepted_and_says_what_to_expect(folder: Path) -> None:
    accepted = accept_manifest(load_manifest(folder / "training.yaml"))
    assert list_claims(accepted.training)
    readme = (folder / "README.md").read_text()
    assert accepted.training.spec.topology.value in readme
    assert "**Expected**" in readme
    assert (folder / "make_data.py").is_file()


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_the_readme_leads_to_an_example(folder: Path) -> None:
    assert f"(examples/{folder.name}/README.md)" in (ROOT / "README.md").read_text()


def test_examples_are_numbered_without_a_gap() -> None:
    numbers = [int(re.match(r"(\d\d)-[a-z-]+$", folder.name).group(1)) for folder in EXAMPLES]
    assert numbers == list(range(1, len(EXAMPLES) + 1))
