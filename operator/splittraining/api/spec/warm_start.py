"""First weights of a party's layers, from a file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.data import VolumeSource
from splittraining.api.spec.types import ATOMIC, RelativePath
from splittraining.api.spec.update import ParameterPattern


class WarmStartSpec(Document):
    """First weights from a file, in place of random ones. Other parties see its digest and what is taken, no more."""

    volume: VolumeSource | None = None
    """The volume that holds the file; absent means that of the party's data. A party without data has to name one."""
    path: RelativePath
    """A safetensors file, relative to the volume's root. It may hold the whole model: the party takes what it owns,
    under the names of the whole model's state_dict(). Any other name in it is refused."""
    digest: Annotated[str, Field(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
    """`sha256:` and what `sha256sum` prints for the file. It is part of the contract, volume and path are not."""
    parameters: Annotated[tuple[ParameterPattern, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """What to take, as patterns over the names that the party owns; absent means all of them, none of which may then
    be missing in the file. What is not taken starts as model.initialization says."""
