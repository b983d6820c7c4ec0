"""Writes the CustomResourceDefinitions into folders: ``python -m splittraining.cli.render_crds crds/``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from splittraining.api.crd import render_crd
from splittraining.api.participation_crd import render_participation_crd

FIRST_LINE = "# Generated from operator/splittraining/api by `make crds`; change the models there, not this file.\n"


class _Dumper(yaml.SafeDumper):
    """Quotes text that other YAML readers take for a number: `1e-8` is text to PyYAML, and a float to Kubernetes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if _NUMBER.match(text) else None)


_NUMBER = re.compile(r"^[-+.]?[0-9][-+.0-9_a-zA-Z]*$")
_Dumper.add_representer(str, _represent_text)


def render_file(crd: dict[str, Any]) -> tuple[str, str]:
    """Returns the name and the text of a definition's file."""
    spec = crd["spec"]
    text = yaml.dump(crd, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return f"{spec['group']}_{spec['names']['plural']}.yaml", FIRST_LINE + text


def main(argv: Sequence[str] | None = None) -> None:
    """Writes one file per kind into each folder, where it is not there as it should be.

    Args:
        argv: The arguments, without the program's name; absent means this process's own.
    """
    parser = argparse.ArgumentParser(description="Writes the CustomResourceDefinitions into folders.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="folder", help="where to write, such as crds/")
    folders: list[Path] = parser.parse_args(argv).folders
    files = [render_file(crd) for crd in (render_crd(), render_participation_crd())]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files:
            path = folder / name
            # One that is right stays untouched: somebody may be installing it.
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
