"""YAML by libyaml: PyYAML's reader in Python takes ten times as long, a third of a second for a definition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load(text: str) -> Any:
    """Returns the only document of a text."""
    return yaml.load(text, Loader=_LOADER)


def load_all(text: str) -> list[Any]:
    """Returns the documents of a text, leaving out empty ones."""
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document is not None]


def dump_all(documents: Iterable[Any]) -> str:
    """Returns a text of documents with their keys in order."""
    return str(yaml.dump_all(documents, Dumper=_DUMPER, sort_keys=False))
