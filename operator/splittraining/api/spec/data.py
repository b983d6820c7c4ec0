"""A party's own data: where its files are and which columns make which argument."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from splittraining.api.base import Document
from splittraining.api.spec.types import ATOMIC, Arguments, Column, Entrypoint, Identifier, ObjectName, RelativePath

ClassFolder = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[^./][^/]*$")]
"""Name of a folder; it neither is hidden nor leaves its place."""

Columns = Annotated[tuple[Column, ...], Field(min_length=1, max_length=4096, json_schema_extra=ATOMIC)]


class DataFormat(enum.StrEnum):
    """File formats."""

    NPZ = "NPZ"
    CSV = "CSV"
    PARQUET = "Parquet"
    IMAGE_FOLDER = "ImageFolder"
    SAFE_TENSORS = "SafeTensors"


class LoaderSpec(Document):
    """A party's own function that reads its files."""

    entrypoint: Entrypoint
    """Import path of a function that takes a path and returns arrays by column name, such as `xray.data:load`."""
    arguments: Arguments = {}
    """Keyword arguments of the function, as strings; each is parsed by the parameter's annotation."""


class TransformSpec(Document):
    """A party's own function that changes each training row a little, differently in every epoch."""

    entrypoint: Entrypoint
    """Import path of a function in the model's source, such as `xray.augment:transform`. It is called as
    `transform(row, generator)` with one row's tensors by the names of the inputs (and `label`, at a party that holds
    it), and returns the same names with the same shapes and dtypes. All chance comes from `generator`, which depends on
    the seed, the party, the epoch and the row alone."""
    arguments: Arguments = {}
    """Keyword arguments of the function, as strings; each is parsed by the parameter's annotation."""


class ClaimSource(Document):
    """A PersistentVolumeClaim in the party's namespace."""

    claim_name: ObjectName
    """Name of the claim. A local run maps it to a folder with `--volume CLAIM=PATH`."""


class VolumeSource(Document):
    """Where the party's files are."""

    persistent_volume_claim: ClaimSource
    """A claim in the party's own namespace, mounted read-only."""


class DataFile(Document):
    """One file or folder of the volume."""

    path: RelativePath
    """Path relative to the volume's root."""


class DataInput(Document):
    """Which columns make one argument of the model's forward."""

    name: Identifier
    """Name of one of model.inputs."""
    columns: Columns
    """Columns, in order: one array of the input's own shape, or as many numbers as the input's shape holds."""


class DataLabel(Document):
    """Which columns make the label."""

    columns: Columns
    """Columns, in order."""


class DataSpec(Document):
    """A party's own rows. Other parties see nothing in here but column names."""

    format: DataFormat | None = None
    """File format. Give either this or `loader`."""
    loader: LoaderSpec | None = None
    """A function that reads the files instead of a format."""
    volume: VolumeSource
    """The volume that holds the files."""
    train: DataFile
    """Rows to train on."""
    test: DataFile | None = None
    """Rows to evaluate on; absent means that this party evaluates nothing."""
    inputs: Annotated[tuple[DataInput, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = ()
    """Which columns make which argument of forward."""
    label: DataLabel | None = None
    """Which columns make the label, at a party that holds it."""
    id_column: Column | None = None
    """Column that identifies a row. Joint schedules order rows by it and check that all parties hold the same."""
    classes: Annotated[tuple[ClassFolder, ...], Field(max_length=1024, json_schema_extra=ATOMIC)] = ()
    """ImageFolder: names of the class folders, in the order of their labels from 0; a party may lack some of them, and
    may have no other. Absent means all folders there are, sorted by name: then every party must have the same ones."""
    transform: TransformSpec | None = None
    """Keyed augmentation of the training rows; test rows stay as they are."""
