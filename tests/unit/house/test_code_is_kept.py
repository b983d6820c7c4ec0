"""The form of the code that no linter holds: charters, lengths, who names whom, what a start imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.house_support import ROOT, SOURCE, list_files, list_modules, name_of

CHARTERS = [path for path in list_modules() if path.name == "__init__.py"]
LONGEST_MODULE = 400
HEAVY = ("torch", "grpc", "numpy", "safetensors", "pyarrow", "PIL", "cryptography", "aiohttp", "yaml", "rich")
PARTYS_OWN = ("torch", "grpc", "numpy", "safetensors", "pyarrow", "PIL")

# What may stand in no file: the folder it was written in, and where packages came from. A lock says what, never from
# where.
PRIVATE = re.compile(
    rf"{re.escape(str(ROOT))}/|(?<![\w-])--(?:extra-)?index-url|(?<![\w-])--find-links"
    r"|https?_proxy\s*=|://[^/\s\"']*(?:proxy|mirror|artifactory|nexus)",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", CHARTERS, ids=name_of)
def test_a_package_opens_with_its_charter_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text())
    charter = ast.get_docstring(tree)
    assert charter is not None
    assert 5 <= len(charter.splitlines()) + 1 <= 12
    code = [ast.unparse(statement) for statement in tree.body[1:]]
    assert all(line.startswith("__version__ = ") for line in code) if path.parent == SOURCE else code == []
    if path.parent != SOURCE:
        assert re.search(r"\b[Nn]ever\b", charter), "a charter says what the room never holds"


def test_every_folder_of_the_package_has_a_charter() -> None:
    assert {path.parent for path in list_modules()} == {path.parent for path in CHARTERS}


def test_modules_stay_short_and_say_what_they_are() -> None:
    texts = {name_of(path): path.read_text() for path in list_modules()}
    assert not [name for name, text in texts.items() if len(text.splitlines()) > LONGEST_MODULE]
    assert not [name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))]


def test_no_file_tells_of_the_machine_it_was_written_on() -> None:
    others = [path for path in list_files() if path != Path(__file__)]
    found = {name_of(path): PRIVATE.search(path.read_bytes().decode("utf-8", errors="replace")) for path in others}
    assert not {name: told.group() for name, told in found.items() if told}


def test_only_the_launcher_names_the_party() -> None:
    outside = [path for path in list_modules() if SOURCE / "party" not in path.parents]
    naming = [name_of(path) for path in outside if re.search(r"splittraining\.party\b", path.read_text())]
    assert naming == ["operator/splittraining/local/launcher.py"]


def test_what_the_launcher_names_is_there() -> None:
    launcher = (SOURCE / "local" / "launcher.py").read_text()
    named = re.findall(r"\"splittraining\.party\.(\w+):(\w+)\"", launcher)
    assert len(named) == 3
    for module, function in named:
        tree = ast.parse((SOURCE / "party" / f"{module}.py").read_text())
        assert function in {statement.name for statement in tree.body if isinstance(statement, ast.FunctionDef)}


def find_loaded(statement: str, modules: tuple[str, ...]) -> str:
    """Runs a statement in an interpreter of its own and returns which of some modules it loaded."""
    script = f"{statement}\nimport sys\nprint(*[name for name in {modules!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_starting_the_command_loads_nothing_heavy() -> None:
    assert find_loaded("import splittraining.cli.main", HEAVY) == ""


def test_no_command_loads_what_is_the_partys() -> None:
    commands = [path.stem for path in list_modules("cli") if path.stem.endswith("_command")]
    assert commands
    statement = "\n".join(f"import splittraining.cli.{command}" for command in commands)
    assert find_loaded(statement, PARTYS_OWN) == ""


def test_the_search_for_loaded_modules_would_find_one() -> None:
    assert find_loaded("import numpy", PARTYS_OWN) == "numpy"
