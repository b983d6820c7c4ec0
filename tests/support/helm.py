"""Helm and the chart."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.binaries import KUBERNETES, find_builder
from support.house_support import ROOT
from support.yaml_text import load_all

CHART = ROOT / "helm" / "splittraining"
RELEASE, NAMESPACE = "splittraining", "splittraining-system"


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm as the test cluster builds it."""
    return Helm(find_builder().build("helm"), tmp_path_factory.mktemp("helm"))


class Refused(Exception):
    """Helm did not do it; its own words."""


@dataclass(frozen=True)
class Helm:
    """Runs Helm, away from what its user keeps for it."""

    program: Path
    home: Path

    def run(self, *words: str, values: Mapping[str, Any] | None = None) -> str:
        """Runs a command with values on its standard input; returns what it prints.

        Raises:
            Refused: if it fails.
        """
        folders = {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        command = [str(self.program), *words, *(() if values is None else ("--values", "-"))]
        done = subprocess.run(
            command,
            input=json.dumps(values or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=os.environ | folders,
        )
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return done.stdout

    # Without a cluster Helm takes its own newest version of Kubernetes, so each call names ours.
    def lint(self, values: Mapping[str, Any] | None = None) -> str:
        return self.run("lint", "--strict", str(CHART), "--kube-version", KUBERNETES, values=values or {})

    def render_text(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        release: str = RELEASE,
        namespace: str = NAMESPACE,
        kubernetes: str = KUBERNETES,
        chart: Path = CHART,
    ) -> str:
        words = ("template", release, str(chart), "--namespace", namespace, "--kube-version", kubernetes)
        return self.run(*words, values=values or {})

    def render(self, values: Mapping[str, Any] | None = None, **options: Any) -> Rendered:
        return Rendered(load_all(self.render_text(values, **options)))


class Rendered(list[dict[str, Any]]):
    """The objects of a chart."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [item for item in self if item["kind"] == kind]

    def the(self, kind: str, name: str = "") -> dict[str, Any]:
        (found,) = (item for item in self.of(kind) if not name or item["metadata"]["name"] == name)
        return found

    def iterate_rules(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yields every rule with its role."""
        for role in [*self.of("Role"), *self.of("ClusterRole")]:
            for rule in role["rules"]:
                yield role, rule

    @property
    def pod(self) -> dict[str, Any]:
        return dict(self.the("Deployment")["spec"]["template"]["spec"])

    @property
    def container(self) -> dict[str, Any]:
        (container,) = self.pod["containers"]
        return dict(container)
