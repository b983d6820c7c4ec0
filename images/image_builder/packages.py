"""Layers of Python packages: what a lock names, in a folder, with its bytecode."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

from image_builder.base import PYTHON
from image_builder.refusal import BuildRefused

# The one folder of all packages in an image; `bin` in it is on the PATH.
PLACE = "/opt/splittraining/packages"
# As torch names files whose syntax older versions of Python do not know. The Dockerfiles say the same.
_OF_OTHER_PYTHONS = "/py3[0-9]+_"
_PLATFORM = "x86_64-manylinux_2_36"


def list_install_command(uv: Path, requirements: Path, folder: Path) -> list[str]:
    """Lists the command that installs what a lock names: only that, each by its hash, and only ready-made wheels."""
    return [
        str(uv), "pip", "install", "--quiet", "--no-config", "--no-deps", "--require-hashes", "--only-binary", ":all:",
        "--python", sys.executable, "--python-version", ".".join(map(str, PYTHON)), "--python-platform", _PLATFORM,
        "--target", str(folder), "--requirements", str(requirements),
    ]  # fmt: skip


def install_locked(uv: Path, requirements: str, folder: Path) -> None:
    """Installs locked packages into a new folder, without bytecode.

    Args:
        uv: The installer.
        requirements: Entries of a lock.
        folder: Where the packages come to lie.

    Raises:
        BuildRefused: A package could not be had, or is not what the lock says.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        command = list_install_command(uv, Path(file.name), folder)
        # Links into uv's cache: gigabytes of CUDA then lie on the disk once. Nothing below writes into a file in place.
        environment = {**os.environ, "UV_LINK_MODE": "hardlink"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildRefused(f"uv could not install what the lock names:\n{done.stderr[-2000:]}")
    (folder / ".lock").unlink(missing_ok=True)
    # Commands of other packages: they name the interpreter of this machine, and nobody calls them in the image.
    shutil.rmtree(folder / "bin", ignore_errors=True)


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Unpacks this project's wheel, which holds nothing but Python, and makes its commands."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        names = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
        points = ConfigParser(delimiters=("=",))
        points.read_string(archive.read(names[0]).decode())
    (folder / "bin").mkdir()
    for name, target in points["console_scripts"].items():
        module, _, function = target.partition(":")
        command = folder / "bin" / name
        call = f"import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())"
        command.write_text(f"#!/usr/bin/python3\n{call}\n")
        command.chmod(0o755)


def compile_packages(folder: Path) -> None:
    """Writes the bytecode of a folder's packages, as they will lie in the image.

    Times in an image are all the same, so the bytecode says itself that it belongs to its source and is not compared.

    Raises:
        BuildRefused: This interpreter's bytecode would be ignored in the image, or a file does not compile.
    """
    if sys.version_info[:2] != PYTHON:
        wanted = ".".join(map(str, PYTHON))
        raise BuildRefused(
            f"The images hold Python {wanted}; this is {sys.version.split()[0]}, whose bytecode they could not use. To "
            f"do: `make images PYTHON=python{wanted}` in a fresh clone, or build with Docker or buildah"
        )
    command = [
        sys.executable, "-m", "compileall", "-q", "-j", "0", "-x", _OF_OTHER_PYTHONS,
        "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", PLACE, str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildRefused(f"Some packages do not compile:\n{done.stdout[-2000:]}")
