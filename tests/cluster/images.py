"""Images without a registry: what every node needs lies unpacked in a folder that is hard-linked; others are imported.

Contents and committed layers are never written again, so clusters share them; a database needs a copy of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.commands import run_command
from cluster.components import CONTAINERD_SOCKET
from cluster.namespaces import ENVIRONMENT, Holder
from cluster.refusal import ClusterRefused
from cluster.thin import write_thin_archive
from image_builder.archive import Layer, write_archive
from image_builder.cache import compute_key, keep
from image_builder.dockerfile import ImageConfig

_NAMESPACE = ("-n", "k8s.io")  # of containerd's: the one that the kubelet sees
_PATIENCE_S = 30.0
_USER = "65532:65532"
_SYSTEM = ("pause", "coredns", "probe")


def prepare_images(cache: Path, binaries: Mapping[str, Path], archives: Sequence[Path] = ()) -> Path:
    """Returns a folder of containerd's with the images that every node has; makes it where it is missing.

    Args:
        cache: Where such folders are kept.
        binaries: Where the programs are.
        archives: Images of this project. Their lower layers change seldom, and are gigabytes: what lies in the folder
            may be an older image with the same ones, on which the newer one is loaded within seconds.
    """
    programs = {name: binaries[name] for name in _SYSTEM}
    lower = [layer for archive in archives for layer in read_layers(archive)[:-1]]
    key = compute_key(*(path.name for path in programs.values()), *lower, Path(__file__).read_bytes())
    return keep(cache, f"images-{key}", lambda made: _import_images(made, programs, archives))


def copy_images(source: Path, target: Path) -> None:
    """Gives a node its images: links, but for the databases."""
    shutil.copytree(source, target, copy_function=_copy_or_link, symlinks=True, dirs_exist_ok=True)


def load_archive(holder: Holder, archive: Path) -> str:
    """Imports a docker archive into a running node, but for what is there; returns its reference.

    Raises:
        ClusterRefused: The archive is none, or cannot be imported.
    """
    reference = read_reference(archive)
    control = ("ctr", "-a", CONTAINERD_SOCKET, *_NAMESPACE)
    # Kubernetes reads a name without a registry as one of docker.io's library.
    full = f"docker.io/library/{reference}" if "/" not in reference else reference
    if full in holder.run(*control, "images", "ls", "-q").split():
        return reference
    with tempfile.TemporaryDirectory() as folder:
        # A path in the cluster's own mount namespace is the same file: only a few places are its own.
        given = archive.resolve()
        if archive.with_suffix(".json").exists():
            given = Path(folder) / "thin.tar"
            write_thin_archive(given, archive, full, set(holder.run(*control, "content", "ls", "-q").split()))
        holder.run(*control, "images", "import", str(given))
    return reference


def read_reference(archive: Path) -> str:
    """Reads an image's name from its docker archive.

    Raises:
        ClusterRefused: It is no docker archive.
    """
    beside = archive.with_suffix(".json")
    if beside.exists():  # written with it; the archive has its own list of names at the end of gigabytes
        return str(json.loads(beside.read_text())["reference"])
    try:
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            return str(json.load(manifest)[0]["RepoTags"][0])  # type: ignore[arg-type]
    except (OSError, KeyError, tarfile.TarError) as error:
        raise ClusterRefused(f"{archive}: no docker archive ({error}). To do: `make images` writes some") from error


def read_layers(archive: Path) -> list[str]:
    """Reads the digests of an image's layers, from the bottom up, from what was written beside its archive.

    Raises:
        ClusterRefused: Nothing was.
    """
    try:
        return [str(layer["diff_id"]) for layer in json.loads(archive.with_suffix(".json").read_text())["layers"]]
    except (OSError, KeyError) as error:
        raise ClusterRefused(f"{archive} has no description beside it. To do: `make images`") from error


def _copy_or_link(source: str, target: str) -> None:
    if source.endswith(".db"):
        shutil.copy2(source, target)
    else:
        os.link(source, target)


def _import_images(root: Path, programs: Mapping[str, Path], archives: Sequence[Path]) -> None:
    root.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = folder / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{root}"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n'
            f'[grpc]\n  address = "{folder}/socket"\n'
        )
        with (folder / "log").open("wb") as log:
            containerd = subprocess.Popen(
                ["containerd", "-c", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=ENVIRONMENT
            )
        try:
            control = ["ctr", "-a", f"{folder}/socket", *_NAMESPACE]

            def ctr(*words: str) -> str:
                return run_command(words, inside=control, environment=ENVIRONMENT)

            _wait_for(containerd, [*control, "version"], folder / "log")
            for name, program in programs.items():
                _write_image(name, program, folder)
                ctr("images", "import", str(folder / f"{name}.tar"))
                written = ctr("images", "ls", "-q", f"name~={name}").split()[0]
                ctr("images", "tag", written, f"localhost/{name}:1")
            for archive in archives:
                ctr("images", "import", str(archive))
        finally:
            containerd.terminate()
            containerd.wait(_PATIENCE_S)


def _write_image(name: str, program: Path, folder: Path) -> None:
    layer = folder / name
    layer.mkdir()
    shutil.copy2(program, layer / name)
    config = ImageConfig(user=_USER, entrypoint=(f"/{name}",), environment={"PATH": "/"})
    with (folder / f"{name}.tar").open("wb") as output:
        write_archive(output, f"localhost/{name}", "1", [Layer(name, layer, place="/")], config)


def _wait_for(containerd: subprocess.Popen[bytes], probe: list[str], log: Path) -> None:
    ends_at = time.monotonic() + _PATIENCE_S
    while subprocess.run(probe, capture_output=True, env=ENVIRONMENT, check=False).returncode != 0:
        if containerd.poll() is not None or time.monotonic() > ends_at:
            raise ClusterRefused(f"containerd does not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)
