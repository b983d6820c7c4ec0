"""The project's own files, as the house tests read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "operator" / "splittraining"


def list_files() -> list[Path]:
    """Lists every file of the project that .gitignore lets in, with or without a git checkout."""
    ignored = [".git/", *(ROOT / ".gitignore").read_text().split()]
    return sorted(path for path in _walk(ROOT, ignored) if path.is_file())


def list_documents() -> list[Path]:
    """Lists the Markdown files that people write; golden outputs are not among them."""
    return [path for path in list_files() if path.suffix == ".md" and ROOT / "tests" / "golden" not in path.parents]


def list_modules(room: str = "") -> list[Path]:
    """Lists the Python files of the package, or of one of its rooms."""
    return sorted((SOURCE / room).rglob("*.py"))


def list_examples() -> list[Path]:
    """Lists the folders of the examples."""
    return sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())


def name_of(path: Path) -> str:
    """Returns a path as a reader of a failure knows it."""
    return path.relative_to(ROOT).as_posix()


def find_blocks(text: str, language: str) -> list[str]:
    """Finds the code blocks of one language in a Markdown text."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def list_make_targets() -> dict[str, str]:
    """Returns the targets that `make help` shows, with their texts."""
    found = re.findall(r"^([a-z0-9-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return dict(found)


def _walk(folder: Path, ignored: list[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        name = path.relative_to(ROOT).as_posix()
        patterns = [pattern.rstrip("/") for pattern in ignored if path.is_dir() or not pattern.endswith("/")]
        if any(fnmatch(name if "/" in pattern else path.name, pattern) for pattern in patterns):
            continue
        if path.is_dir():
            yield from _walk(path, ignored)
        else:
            yield path
