"""The command: ``python -m image_builder operator party``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

from image_builder import engines
from image_builder.cache import compute_key, find_cache, forget_unused, read_makers
from image_builder.dockerfile import read_base
from image_builder.engines import Engine
from image_builder.own_writer import prepare_layers, write_own
from image_builder.recipes import OUTPUT, RECIPES, ROOT, Recipe, TorchLayer
from image_builder.refusal import BuildRefused
from image_builder.wheelhouse import gather_wheels

_MEGA = 1_000_000


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(prog="image_builder", description="Builds container images into build/images.")
    parser.add_argument("images", nargs="+", choices=sorted(RECIPES), metavar="IMAGE", help=", ".join(sorted(RECIPES)))
    parser.add_argument("--engine", choices=["auto", *Engine], default="auto", help="what builds (default: auto)")
    parser.add_argument("--base", default="", help="for docker and buildah: the image to stand on")
    parser.add_argument("--prefix", default="", help="put before image names, such as registry.example/team/")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the archives (default: build/images)")
    parser.add_argument("--measure", action="store_true", help="also tell the sizes after compression")
    return parser


def read_version() -> str:
    """Reads the project's version where it stands."""
    text = (ROOT / "operator" / "splittraining" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


def build_own(recipe: Recipe, arguments: argparse.Namespace, archive: Path) -> dict[str, object]:
    """Writes an image without an engine, unless what is there is made from the same."""
    cache = find_cache(os.environ)
    layers = prepare_layers(recipe, cache, arguments.output / "wheels")
    inputs = compute_key(
        *(layer.source.name for layer in layers),
        recipe.dockerfile.read_bytes(),
        arguments.prefix,
        read_makers("archive", "dockerfile", "own_writer", "recipes"),
    )
    forget_unused(cache, now=time.time())
    description = archive.with_suffix(".json")
    if archive.exists() and description.exists():
        known: dict[str, object] = json.loads(description.read_text())
        if known.get("inputs") == inputs and not (arguments.measure and known["compressed"] is None):
            return known
    facts = write_own(
        recipe,
        layers,
        version=read_version(),
        prefix=arguments.prefix,
        cache=cache,
        archive=archive,
        measure=arguments.measure,
    )
    return {**facts.as_document(), "inputs": inputs}


def build(recipe: Recipe, engine: Engine, arguments: argparse.Namespace) -> dict[str, object]:
    """Builds one image and returns what `build/images/NAME.json` says about it."""
    archive: Path = arguments.output / f"{recipe.name}.tar"
    if engine is Engine.OWN or recipe.torch is TorchLayer.STUBS:
        document = build_own(recipe, arguments, archive) | {"engine": Engine.OWN.value}
    else:
        gather_wheels(recipe, OUTPUT / "wheels")
        reference = engines.build_with(
            engine,
            recipe,
            version=read_version(),
            base=arguments.base,
            prefix=arguments.prefix,
            archive=archive,
        )
        document = {"reference": reference, "size": archive.stat().st_size, "compressed": None, "engine": engine.value}
    document = {"name": recipe.name, "archive": archive.name, **document}
    archive.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n")
    return document


def main() -> int:
    """Builds the images that the command line names."""
    arguments = build_parser().parse_args()
    if arguments.engine == "auto":
        base = arguments.base or read_base(RECIPES["party"].dockerfile.read_text())
        engine = engines.choose_engine(base, engines.answers)
    else:
        engine = Engine(arguments.engine)
    arguments.output.mkdir(parents=True, exist_ok=True)
    try:
        for name in arguments.images:
            start = time.monotonic()
            document = build(RECIPES[name], engine, arguments)
            print(f"{document['reference']}  {_say_sizes(document)}  by {document['engine']}", end="  ")
            print(f"{time.monotonic() - start:.1f} s  {arguments.output / str(document['archive'])}", flush=True)
    except BuildRefused as refusal:
        print(f"image_builder: {refusal}", file=sys.stderr)
        return 1
    return 0


def _say_sizes(document: dict[str, object]) -> str:
    size, compressed = document["size"], document["compressed"]
    assert isinstance(size, int)
    pushed = f", {compressed / _MEGA:.0f} MB compressed" if isinstance(compressed, int) else ""
    return f"{size / _MEGA:.0f} MB{pushed}"


if __name__ == "__main__":
    sys.exit(main())
