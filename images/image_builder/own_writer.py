"""Builds an image without an engine: prepares its layers, mostly from the cache, and writes the archive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from image_builder.archive import ImageFacts, Layer, write_archive
from image_builder.base import PYTHON, prepare_base
from image_builder.cache import compute_key, keep, read_makers
from image_builder.dockerfile import ImageConfig, read_config
from image_builder.locks import is_torch, is_torch_without_cuda, select_from_lock
from image_builder.packages import PLACE, compile_packages, install_locked, unpack_wheel
from image_builder.recipes import ROOT, Recipe, TorchLayer
from image_builder.torch_stubs import write_stubs
from image_builder.wheelhouse import build_own_wheel

_UV = ROOT / ".uv" / "bin" / "uv"


@dataclass(frozen=True)
class Piece:
    """A layer as it will be: what it is made from is known, whether it lies in the cache is not."""

    name: str
    key: str
    requirements: str = ""
    stubs: bool = False
    wheel: Path | None = None

    @property
    def file_name(self) -> str:
        """Returns its name in the cache."""
        return f"{self.name}-{self.key}"


def plan_pieces(recipe: Recipe, lock: str, wheel: Path) -> list[Piece]:
    """Plans the layers above the base: what changes seldom lies below what changes often."""
    pieces = [_plan_locked(f"{recipe.folder}-packages", select_from_lock(lock, lambda name: not is_torch(name)))]
    if recipe.torch is TorchLayer.CUDA:
        pieces.append(_plan_locked(recipe.torch.value, select_from_lock(lock, is_torch)))
    elif recipe.torch is TorchLayer.STUBS:
        pieces.append(_plan_locked(recipe.torch.value, select_from_lock(lock, is_torch_without_cuda), stubs=True))
    key = compute_key(wheel.read_bytes(), repr(PYTHON), read_makers("packages"))
    return [*pieces, Piece("splittraining", key, wheel=wheel)]


def prepare_piece(cache: Path, piece: Piece) -> Layer:
    """Returns a layer; makes it where the cache lacks it."""
    folder = keep(cache, piece.file_name, lambda made: _make(piece, made))
    return Layer(piece.name, folder, place=PLACE, compressed=_recall_compressed(cache, folder))


def prepare_layers(recipe: Recipe, cache: Path, wheels: Path) -> list[Layer]:
    """Prepares an image's layers, from the bottom up."""
    wheel = build_own_wheel(wheels / f"own-{recipe.name}")
    base = prepare_base(cache)
    pieces = plan_pieces(recipe, recipe.lock_path.read_text(), wheel)
    return [
        Layer("base", base, compressed=_recall_compressed(cache, base)),
        *(prepare_piece(cache, piece) for piece in pieces),
    ]


def configure(recipe: Recipe, version: str) -> ImageConfig:
    """Returns how containers of an image start: what its Dockerfile says, and the recipe's own labels."""
    config = read_config(recipe.dockerfile.read_text(), {"VERSION": version})
    return replace(config, labels={**config.labels, **recipe.labels})


def write_own(
    recipe: Recipe, layers: list[Layer], *, version: str, prefix: str, cache: Path, archive: Path, measure: bool
) -> ImageFacts:
    """Writes an image from its layers; the archive is there only when it is whole."""
    unfinished = archive.with_suffix(".unfinished")
    with unfinished.open("wb") as output:
        facts = write_archive(
            output,
            f"{prefix}{recipe.repository}",
            recipe.tag_for(version),
            layers,
            configure(recipe, version),
            measure=measure,
        )
    unfinished.replace(archive)
    for layer, fact in zip(layers, facts.layers, strict=True):
        if fact.compressed is not None:
            _note_for(cache, layer.source).write_text(f"{fact.compressed}\n")
    return facts


def _plan_locked(name: str, requirements: str, *, stubs: bool = False) -> Piece:
    makers = read_makers("packages", *(["torch_stubs"] if stubs else []))
    return Piece(name, compute_key(requirements, repr(PYTHON), makers), requirements=requirements, stubs=stubs)


def _make(piece: Piece, folder: Path) -> None:
    if piece.wheel is not None:
        unpack_wheel(piece.wheel, folder)
    else:
        install_locked(_UV, piece.requirements, folder)
    if piece.stubs:
        write_stubs(folder)
    compile_packages(folder)


def _note_for(cache: Path, source: Path) -> Path:
    return cache / f"{source.name}.compressed"


def _recall_compressed(cache: Path, source: Path) -> int | None:
    note = _note_for(cache, source)
    return int(note.read_text()) if note.exists() else None
