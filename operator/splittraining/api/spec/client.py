"""A client party: an institution with data of its own, or one that lends its machines to a chain."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.data import DataSpec
from splittraining.api.spec.model import CutPoint
from splittraining.api.spec.pod import PodSpec
from splittraining.api.spec.server import Device
from splittraining.api.spec.types import ATOMIC, Image, Namespace, PartyName
from splittraining.api.spec.warm_start import WarmStartSpec


class ClientSpec(Document):
    """An institution that trains the layers next to its own data."""

    name: PartyName
    """Name of the party, a DNS label of at most 40 characters that starts with a letter; `server` is reserved."""
    namespace: Namespace | None = None
    """Namespace of the client's pod; absent means the training's own."""
    image: Image | None = None
    """Image of this party; absent means spec.image."""
    device: Device | None = None
    """Where tensors live; absent means CUDA when the pod asks for a GPU (its absence is then an error), else CPU."""
    cut_points: Annotated[tuple[CutPoint, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = ()
    """Vertical, ExtendedVanilla and MultiTask: where this client's own branch ends."""
    data: DataSpec | None = None
    """The client's own rows. In MultiHop and ExtendedVanilla a client that owns a cut point may go without."""
    warm_start: WarmStartSpec | None = None
    """Weights that this client's layers start from; absent means as model.initialization says."""
    pod: PodSpec = PodSpec()
    """Scheduling of the client's pod."""
