"""Runs a command inside an image's root filesystem as a container would: read-only, as its user, with its environment.

Needs root or user namespaces, no engine: mount namespaces of util-linux's ``unshare`` and a ``chroot``.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Root, its /proc, a /tmp in memory; everything else can only be read. Then the image's user and nothing of this
# process's environment.
_ENTER = """
set -eu
root=$1 user=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp" -o mode=1777
mount -t tmpfs tmpfs "$root/dev" -o mode=755
for device in null zero urandom; do : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mkdir "$root/dev/shm"; mount -t tmpfs tmpfs "$root/dev/shm" -o mode=1777
mount -o remount,ro,bind "$root"
exec chroot --userspec="$user" "$root" "$@"
"""


@dataclass(frozen=True)
class ImageRoom:
    """An unpacked image."""

    root: Path
    config: dict[str, Any]

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a command as the image's user, found on the image's PATH."""
        enter = ["unshare", "--mount", "--pid", "--fork", "--ipc", "--net", "bash", "-c", _ENTER, "enter"]
        inside = ["/usr/bin/env", "-i", "-C", self.config["WorkingDir"], *self.config["Env"], *command]
        return subprocess.run(
            [*enter, str(self.root), self.config["User"], *inside],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def unpack_image(archive: Path, folder: Path) -> ImageRoom:
    """Unpacks a docker archive's layers, one on the other."""
    with tarfile.open(archive) as image:
        manifest = json.load(image.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        config = json.load(image.extractfile(manifest["Config"]))["config"]  # type: ignore[arg-type]
        for name in manifest["Layers"]:
            with subprocess.Popen(["tar", "-x", "-C", str(folder), "-f", "-"], stdin=subprocess.PIPE) as tar:
                layer = image.extractfile(name)
                assert layer is not None
                assert tar.stdin is not None
                while piece := layer.read(1 << 20):
                    tar.stdin.write(piece)
            assert tar.returncode == 0
    return ImageRoom(folder, config)
