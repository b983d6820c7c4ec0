"""Gathers what a Dockerfile installs: the locked packages and this project's wheel, in build/images/wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from image_builder.base import PYTHON
from image_builder.recipes import ROOT, Recipe
from image_builder.refusal import BuildRefused


def build_own_wheel(folder: Path) -> Path:
    """Builds this project's wheel in an emptied folder; the same files give the same wheel."""
    shutil.rmtree(folder, ignore_errors=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}  # 1980: the first day that a zip file can tell
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder.absolute())]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildRefused(f"This project's wheel could not be built:\n{done.stderr[-2000:]}")
    return next(folder.glob("*.whl"))


def list_download_command(python: Path, recipe: Recipe, folder: Path) -> list[str]:
    """Lists the command that downloads what a lock names, each by its hash; pip's own settings say from where."""
    return [
        str(python), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--dest", str(folder), "--requirement", str(recipe.lock_path),
    ]  # fmt: skip


def gather_wheels(recipe: Recipe, wheels: Path) -> None:
    """Fills the folder from which a Dockerfile installs.

    Args:
        recipe: The image.
        wheels: The folder of all images' wheels.

    Raises:
        BuildRefused: A package could not be had, or this is not the images' version of Python.
    """
    if sys.version_info[:2] != PYTHON:
        wanted = ".".join(map(str, PYTHON))
        raise BuildRefused(
            f"The images hold Python {wanted}, and this is {sys.version.split()[0]}: it would gather other packages. "
            f"To do: `make images PYTHON=python{wanted}` in a fresh clone"
        )
    build_own_wheel(wheels / "splittraining")
    command = list_download_command(ROOT / ".uv" / "bin" / "python", recipe, wheels / recipe.folder)
    if subprocess.run(command, check=False).returncode != 0:
        raise BuildRefused("pip could not download what the lock names. To do: see its messages above")
