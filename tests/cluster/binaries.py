"""Builds what a cluster runs from the pinned Go modules in ``go/``, once: kept in the user's cache under a hash.

Needs nothing but Python and Go, so a build can start before anything is installed::

    PYTHONPATH=tests:images python3 -m cluster.binaries          # all of them; prints where each lies
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.refusal import ClusterRefused
from image_builder.cache import compute_key, find_cache, forget_unused, keep

MODULES = Path(__file__).parent / "go"
KUBERNETES = "1.36.3"
GO_AT_LEAST = (1, 26)

_VERSION_FLAGS = (
    f"-X k8s.io/component-base/version.gitVersion=v{KUBERNETES} "
    f"-X k8s.io/component-base/version.gitMajor={KUBERNETES.split('.', maxsplit=1)[0]} "
    f"-X k8s.io/component-base/version.gitMinor={KUBERNETES.split('.')[1]} "
    f"-X k8s.io/client-go/pkg/version.gitVersion=v{KUBERNETES}"
)


@dataclass(frozen=True)
class Binary:
    """One program.

    Attributes:
        name: What it is called.
        module: The folder under ``go/`` whose go.mod pins it.
        package: The Go package, seen from that folder.
        stamps: Linker flags that put a version in.
    """

    name: str
    module: str
    package: str = "."
    stamps: str = ""

    @property
    def folder(self) -> Path:
        """Returns where its go.mod lies."""
        return MODULES / self.module

    @property
    def flags(self) -> str:
        """Returns its linker flags; without symbols it is a third smaller."""
        return f"-s -w {self.stamps}".strip()

    def compute_key(self, go_version: str) -> str:
        """Computes the hash of what decides its bytes: its pins, its own source, the flags and the compiler."""
        own = self.folder / self.package
        sources = [path for path in sorted(own.glob("*.go")) if not path.name.endswith("_test.go")]
        pins = [self.folder / "go.mod", self.folder / "go.sum"]
        return compute_key(go_version, self.package, self.flags, *(path.read_bytes() for path in (*pins, *sources)))


# The slowest first: whoever waits for one of them waits least.
BINARIES = {
    binary.name: binary
    for binary in (
        Binary("kube", "kube", stamps=_VERSION_FLAGS),
        Binary("etcd", "etcd"),
        Binary("tether", "plain", "./tether"),
        Binary("pause", "plain", "./pause"),
        Binary("forward", "plain", "./forward"),
        Binary("probe", "plain", "./probe"),
        Binary("policies", "kube", "./policies"),
        Binary("coredns", "coredns"),
        Binary("helm", "helm", "helm.sh/helm/v4/cmd/helm", "-X helm.sh/helm/v4/internal/version.version=v4.3.1"),
    )
}


@dataclass(frozen=True)
class Builder:
    """Builds binaries, or finds them where they were built before."""

    cache: Path
    go_version: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def build(self, name: str) -> Path:
        """Returns where a binary lies; builds it where it is missing.

        Raises:
            ClusterRefused: It cannot be built; the compiler has said why.
        """
        binary = BINARIES[name]
        return keep(
            self.cache, f"{name}-{binary.compute_key(self.go_version)}", lambda made: self._compile(binary, made)
        )

    def _compile(self, binary: Binary, made: Path) -> None:
        command = ["go", "build", "-trimpath", "-ldflags", binary.flags, "-o", str(made), binary.package]
        # The compiler that is there, no other; no C library, so that it runs in any image; modules as go.sum has them.
        settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false -mod=readonly"}
        started = time.monotonic()
        done = subprocess.run(command, cwd=binary.folder, env={**self.environment, **settings}, check=False)
        if done.returncode != 0:
            raise ClusterRefused(
                f"{binary.name}: `{' '.join(command[:2])}` in {binary.folder.name}/ ended with {done.returncode}. "
                "To do: see its messages above; modules come from where `go env GOPROXY` says"
            )
        print(f"{binary.name}: built in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def find_builder(environment: Mapping[str, str] = os.environ) -> Builder:
    """Finds the Go compiler.

    Raises:
        ClusterRefused: There is none, or it is too old.
    """
    try:
        settings = {**environment, "GOTOOLCHAIN": "local"}
        said = subprocess.run(
            ["go", "env", "GOVERSION"], env=settings, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ClusterRefused(_tell_go("found no `go`")) from error
    check_go_version(said)
    return Builder(find_cache(environment, "binaries"), said.strip(), environment)


def check_go_version(said: str) -> None:
    """Checks what ``go env GOVERSION`` says, as in ``go1.26.2``.

    Raises:
        ClusterRefused: It is too old.
    """
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < GO_AT_LEAST:
        raise ClusterRefused(_tell_go(f"found {said.strip() or 'nothing that tells its version'}"))


def _tell_go(found: str) -> str:
    wanted = ".".join(map(str, GO_AT_LEAST))
    return (
        f"The test cluster is built from Go modules: {found}. Needed: Go {wanted} or newer. To do: put it on the PATH"
    )


def main(arguments: list[str]) -> int:
    """Builds the binaries that are named, or all; prints where each lies."""
    unknown = sorted(set(arguments) - BINARIES.keys())
    if unknown:
        print(f"{', '.join(unknown)}: unknown. Allowed: {', '.join(BINARIES)}", file=sys.stderr)
        return 1
    try:
        builder = find_builder()
        for name in arguments or BINARIES:
            print(name, builder.build(name), flush=True)
        forget_unused(builder.cache, now=time.time())
    except ClusterRefused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
