"""The model: whose code builds it, what goes in, and where it is cut."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.types import ATOMIC, Arguments, Count, Entrypoint, Identifier, ObjectName, PartyName
from splittraining.api.wire_plan import DType

RowShape = Annotated[
    tuple[Annotated[Count, Field(ge=1, le=2**31 - 1)], ...], Field(max_length=8, json_schema_extra=ATOMIC)
]
LayerName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*(@[1-9][0-9]*)?$")
]
ValueName = Annotated[str, Field(min_length=1, max_length=253)]


class Initialization(enum.StrEnum):
    """Who can know the weights that the clients' segments start from."""

    CLIENTS_ONLY = "ClientsOnly"
    SHARED = "Shared"
    PRIVATE = "Private"


class ConfigMapSource(Document):
    """A ConfigMap of Python files."""

    name: ObjectName
    """Name of the ConfigMap, in the namespace of the SplitTraining. Its keys are file names (*.py)."""


class SourceSpec(Document):
    """Where the model's Python files come from."""

    config_map: ConfigMapSource
    """A ConfigMap whose keys are file names. The digest of names and bytes enters the contract."""


class InputSpec(Document):
    """One argument of the model's forward."""

    name: Identifier
    """Name of the argument of forward."""
    dtype: DType
    """Element type that the model receives."""
    shape: RowShape
    """Shape of one row, without the batch axis: [1, 8, 8] for gray images of 8 x 8, [] for one number per row."""


class LabelSpec(Document):
    """What the loss compares the model's output with."""

    dtype: DType
    """Element type of the labels: Int64 for class numbers, Float32 for BCEWithLogits and MSE."""
    shape: RowShape
    """Shape of one row's label, without the batch axis: [] for a class number, [1] for one logit."""


class CutPoint(Document):
    """A module whose call's result crosses to the next owner."""

    layer: LayerName
    """Qualified name of the module after which to cut, as in named_modules(); `name@2` means its second call."""
    owner: PartyName | None = None
    """MultiHop and ExtendedVanilla only, and required there: the client that runs the layers up to this cut. In
    MultiHop the owner of the first cut holds all inputs; further owners need no data."""


class ModelSpec(Document):
    """An ordinary, unsplit torch.nn.Module, and where to cut it."""

    entrypoint: Entrypoint
    """Import path of a factory of the whole, unsplit torch.nn.Module, such as `xray.model:build`."""
    arguments: Arguments = {}
    """Keyword arguments of the factory, as strings; each is parsed by the parameter's annotation."""
    source: SourceSpec | None = None
    """Where the model's Python files come from; absent when the image has them installed."""
    inputs: Annotated[tuple[InputSpec, ...], Field(min_length=1, max_length=64, json_schema_extra=ATOMIC)]
    """The forward's arguments with dtype and shape of one row, so that every length is known before training."""
    label: LabelSpec | None = None
    """Dtype and shape of one row's label; required where a party names label columns, but for MultiTask, which has them
    per task."""
    cut_points: Annotated[tuple[CutPoint, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Cuts in forward order: one for Vanilla, two for UShaped, none for Vertical (there each client names its own), one
    per client of the chain for MultiHop, one after the merge for ExtendedVanilla, both with owners; one or more for
    MultiTask: the ends of the trunk, which the heads take."""
    extra_crossings: Annotated[tuple[ValueName, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Values beside the cuts' own that may cross, such as skip connections: each is named on purpose."""
    initialization: Initialization = Initialization.CLIENTS_ONLY
    """Who can know the clients' first weights. ClientsOnly: drawn from a seed that only clients know. Shared: from
    training.seed, which the server knows too (for proofs). Private: each client draws its own, where clients have
    segments of their own (mode Joint, handoff None)."""
    wire_plan_digest: Annotated[str, Field(max_length=71, pattern=r"^(sha256:[0-9a-f]{64})?$")] = ""
    """Pins what crosses: the digest that `splittraining plan --pin` writes. Empty means not pinned."""
