"""Building with Docker or buildah: which one there is, and the commands."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from image_builder.recipes import ROOT, Recipe
from image_builder.refusal import BuildRefused


class Engine(StrEnum):
    """What builds an image."""

    DOCKER = "docker"
    BUILDAH = "buildah"
    OWN = "own"


# How long an engine may take to answer: buildah's answer is a base image of some 50 MB.
_PATIENCE_S = 60


def list_probes(base: str) -> list[tuple[Engine, list[str]]]:
    """Lists the commands by which engines tell that they can build on a base, in the order of preference.

    A command that is there says nothing: Docker's client builds nothing without its engine, and buildah, which needs
    none, builds nothing without a base.
    """
    return [(Engine.DOCKER, ["docker", "info"]), (Engine.BUILDAH, ["buildah", "pull", "--policy", "missing", base])]


def choose_engine(base: str, answers: Callable[[list[str]], bool]) -> Engine:
    """Chooses the first engine that answers, and this project's own writer where none does.

    Args:
        base: The image to stand on.
        answers: Runs a command and tells whether it succeeded.
    """
    return next((engine for engine, probe in list_probes(base) if answers(probe)), Engine.OWN)


def answers(command: list[str]) -> bool:
    """Tells whether a command is there and succeeds in time."""
    try:
        return subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def list_build_command(engine: Engine, recipe: Recipe, *, version: str, base: str, id_file: Path) -> list[str]:
    """Lists the command that builds an image.

    Args:
        engine: Docker or buildah.
        recipe: The image.
        version: The project's version, for the labels.
        base: The image to stand on; empty for the one that the Dockerfile names.
        id_file: Where the engine writes the id of what it built.
    """
    arguments = {"VERSION": version} | ({"BASE": base} if base else {})
    # Times would give every build another digest. buildah makes one layer of all unless it is told otherwise.
    reproducible = (
        ["--layers", "--timestamp", "0"] if engine is Engine.BUILDAH else ["--build-arg", "SOURCE_DATE_EPOCH=0"]
    )
    return [
        engine.value, "build", "--file", str(recipe.dockerfile), "--iidfile", str(id_file), *reproducible,
        *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")), str(ROOT),
    ]  # fmt: skip


def list_save_commands(engine: Engine, image_id: str, reference: str, archive: Path) -> list[list[str]]:
    """Lists the commands that name a built image and write it as a docker archive."""
    tag = [engine.value, "tag", image_id, reference]
    if engine is Engine.DOCKER:
        return [tag, ["docker", "save", "--output", str(archive), reference]]
    return [tag, ["buildah", "push", "--quiet", reference, f"docker-archive:{archive}:{reference}"]]


def build_with(engine: Engine, recipe: Recipe, *, version: str, base: str, prefix: str, archive: Path) -> str:
    """Builds an image, writes it to an archive and returns its reference.

    Raises:
        BuildRefused: The engine failed; it has told why.
    """
    id_file = archive.with_suffix(".id")
    _run(list_build_command(engine, recipe, version=version, base=base, id_file=id_file))
    image_id = id_file.read_text().strip()
    reference = f"{prefix}{recipe.repository}:{recipe.tag_for(version)}-{image_id.removeprefix('sha256:')[:12]}"
    # buildah refuses to write into an archive that is there.
    archive.unlink(missing_ok=True)
    for command in list_save_commands(engine, image_id, reference, archive):
        _run(command)
    return reference


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise BuildRefused(
            f"`{' '.join(command[:2])}` ended with {done.returncode}. To do: see its messages above; `make images "
            "ENGINE=own` builds without an engine"
        )
