"""The root filesystem under images that are written here: Debian with its Python, made on the spot.

An image that a Dockerfile makes stands on the Dockerfile's base instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from image_builder.cache import compute_key, keep, read_makers
from image_builder.refusal import BuildRefused

SUITE = "bookworm"
PYTHON = (3, 11)
PACKAGES = ("ca-certificates", "python3")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
# The user that the Dockerfiles make, and nothing of the machine on which the base was made.
_FINISH = (
    'echo "splittraining:x:65532:" >> "$1/etc/group"',
    'echo "splittraining:x:65532:65532:SplitTraining:/tmp:/usr/sbin/nologin" >> "$1/etc/passwd"',
    'rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
    # Where packages came from is nobody's business, and nothing is installed there later.
    'rm -rf "$1/etc/apt/sources.list" "$1/etc/apt/sources.list.d" "$1/var/lib/apt/lists" "$1/var/cache" "$1/var/log"',
    'mkdir -p "$1/var/cache" "$1/var/log"',
    # Nobody becomes root in there.
    'find "$1" -xdev -type f -perm /6000 -exec chmod ug-s {} +',
)


def list_base_command(output: Path) -> list[str]:
    """Lists the command that makes the base as a tar file."""
    left_out = [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
    finish = [f"--customize-hook={line}" for line in _FINISH]
    included = f"--include={','.join(PACKAGES)}"
    return ["mmdebstrap", "--quiet", "--variant=minbase", included, *left_out, *finish, SUITE, str(output)]


def prepare_base(cache: Path) -> Path:
    """Returns the base as a tar file; making it takes half a minute to one minute.

    Raises:
        BuildRefused: mmdebstrap is missing or failed.
    """
    key = compute_key(SUITE, *PACKAGES, read_makers("base"))
    return keep(cache, f"base-{key}.tar", _make_base)


def _make_base(output: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise BuildRefused(
            "The base of the images needs mmdebstrap, which is not there. Allowed: Debian or Ubuntu with it, a Docker "
            "engine, or buildah. To do: apt install mmdebstrap"
        )
    # mmdebstrap tells a tar file by its name.
    made = output.with_suffix(".tar")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
    done = subprocess.run(list_base_command(made), env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildRefused(f"mmdebstrap could not make the base of the images:\n{done.stderr[-2000:]}")
    made.rename(output)
