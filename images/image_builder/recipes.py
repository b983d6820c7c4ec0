"""What the images are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "images"


class TorchLayer(StrEnum):
    """Which torch an image holds."""

    NONE = "none"
    CUDA = "torch"
    STUBS = "torch-cpu-test"


@dataclass(frozen=True)
class Recipe:
    """One image.

    Attributes:
        name: What `make` and the files in build/images call it.
        repository: The image's name, without registry and tag.
        folder: Where its Dockerfile is, under images/.
        lock: Whose packages it holds.
        torch: Which torch it holds.
        variant: Told in the tag, after the version; empty for what users run.
        labels: Labels beside those of the Dockerfile, or in their place.
    """

    name: str
    repository: str
    folder: str
    lock: str
    torch: TorchLayer
    variant: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def dockerfile(self) -> Path:
        """Returns where its Dockerfile lies."""
        return ROOT / "images" / self.folder / "Dockerfile"

    @property
    def lock_path(self) -> Path:
        """Returns where its lock lies."""
        return ROOT / "requirements" / self.lock

    def tag_for(self, version: str) -> str:
        """Returns what the image's tag begins with; digits of its digest follow."""
        return f"{version}-{self.variant}" if self.variant else version


_OPERATOR = Recipe("operator", "splittraining-operator", "operator", "operator.txt", TorchLayer.NONE)
_PARTY = Recipe("party", "splittraining-party", "party", "party.txt", TorchLayer.CUDA)
# No Dockerfile makes this one: stub libraries are nothing that a user should find a recipe for.
_PARTY_CPU_TEST = Recipe(
    "party-cpu-test",
    "splittraining-party",
    "party",
    "party.txt",
    TorchLayer.STUBS,
    variant="cpu-test",
    labels={
        "org.opencontainers.image.title": "SplitTraining party for tests, without CUDA",
        "org.opencontainers.image.description": (
            "For tests only: CUDA's libraries are stubs, so that torch runs on the CPU and finds no GPU."
        ),
        "splitlearning.dev/test-image": "true",
    },
)
RECIPES = {recipe.name: recipe for recipe in (_OPERATOR, _PARTY, _PARTY_CPU_TEST)}
