"""The locks: exact, hashed, without addresses, and of what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.house_support import ROOT, name_of

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def read_pins(path: Path) -> dict[str, list[str]]:
    """Returns what a lock pins: the versions of each package (more than one where platforms differ)."""
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(), re.MULTILINE):
        pins.setdefault(canonicalize_name(name), []).append(version)
    return pins


def list_requirements(extra: str) -> list[Requirement]:
    """Lists what an extra asks for, with the extras it names in turn and what everybody needs."""
    asked = [Requirement(text) for text in (*PROJECT["dependencies"], *EXTRAS[extra])]
    own = [item for item in asked if item.name == PROJECT["name"]]
    nested = [item for named in own for inner in named.extras for item in list_requirements(inner)]
    return [item for item in asked if item not in own] + nested


@pytest.mark.parametrize("path", LOCKS, ids=name_of)
def test_a_lock_pins_every_package_with_hashes_and_names_no_host(path: Path) -> None:
    text = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==[^\s;]+(?: ; [^\n\\]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\s*", entry), (
            entry
        )


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_a_lock_holds_what_its_extra_asks_for(extra: str) -> None:
    pins = read_pins(ROOT / "requirements" / f"{extra}.txt")
    for requirement in list_requirements(extra):
        versions = pins.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not locked; call `make lock`"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions)


def test_all_locks_pin_the_same_versions() -> None:
    pinned = [read_pins(path) for path in LOCKS]
    for name in {name for pins in pinned for name in pins}:
        assert len({tuple(pins[name]) for pins in pinned if name in pins}) == 1, name


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "adr" / "0006-dependencies.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    named = {word for row in rows for word in re.findall(r"[a-z][a-z-]+", re.sub(r"\(.*?\)", "", row))}
    asked = {requirement.name for extra in EXTRAS for requirement in list_requirements(extra)}
    assert named - {"package"} == asked | {"uv"}
