"""The server party."""

from __future__ import annotations

import enum

from splittraining.api.base import Document
from splittraining.api.spec.data import DataSpec
from splittraining.api.spec.pod import PodSpec
from splittraining.api.spec.types import Image, Namespace
from splittraining.api.spec.warm_start import WarmStartSpec


class Device(enum.StrEnum):
    """Where a party's tensors live."""

    CPU = "CPU"
    CUDA = "CUDA"


class ServerSpec(Document):
    """The party that runs the middle or the top of the model, and drives the turns."""

    namespace: Namespace | None = None
    """Namespace of the server's pod; absent means the training's own."""
    image: Image | None = None
    """Image of this party; absent means spec.image."""
    device: Device | None = None
    """Where tensors live; absent means CUDA when the pod asks for a GPU (its absence is then an error), else CPU."""
    data: DataSpec | None = None
    """Data of the server, only where it holds the labels of a Vertical, ExtendedVanilla or MultiHop training."""
    warm_start: WarmStartSpec | None = None
    """Weights that the server's layers start from, such as a pretrained trunk; absent means as the model's factory
    draws them from training.seed."""
    pod: PodSpec = PodSpec()
    """Scheduling of the server's pod."""
