"""The data set in memory: the rows of one split of one party, as tensors under the names of the model's inputs."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from splittraining.api.errors import DataInvalid
from splittraining.api.spec.data import DataFile, DataFormat, DataSpec
from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.wire_plan import DType
from splittraining.party.data.conversion import convert_column
from splittraining.party.data.csv_file import read_csv
from splittraining.party.data.loader import read_by_loader
from splittraining.party.data.npz_file import read_npz
from splittraining.party.data.order import RowIndices
from splittraining.party.data.safetensors_file import read_safetensors
from splittraining.party.data.table import Column, ImageForm


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a data set."""

    inputs: dict[str, torch.Tensor]
    label: torch.Tensor | None
    ids: tuple[str, ...] | None
    num_rows: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """All rows of one split, on the CPU.

    Shapes:
        Each input and the label: [rows, *the declared shape of one row].
    """

    inputs: dict[str, torch.Tensor]
    label: torch.Tensor | None
    ids: tuple[str, ...] | None
    num_rows: int

    def take(self, indices: RowIndices) -> Batch:
        """Returns the rows at the indices, in their order."""
        places = torch.from_numpy(indices)
        return Batch(
            inputs={name: tensor[places] for name, tensor in self.inputs.items()},
            label=None if self.label is None else self.label[places],
            ids=None if self.ids is None else tuple(self.ids[index] for index in indices),
            num_rows=len(indices),
        )


def load_dataset(
    spec: DataSpec,
    file: DataFile,
    *,
    root: str,
    inputs: Sequence[InputSpec],
    label: LabelSpec | None,
    loader: Callable[[str], Any] | None,
) -> Dataset:
    """Reads one split and checks every row of it.

    Args:
        spec: The party's data, as its manifest names it.
        file: The split's file.
        root: Folder where the party's volume is mounted.
        inputs: The model's inputs; only those that `spec` names are read.
        label: What one row's label looks like.
        loader: The party's own function that reads the file instead of a format, its arguments bound.

    Raises:
        DataInvalid: if a file, column or row is not what the manifest says; the message names it and shows no cell.
        ModelCodeFailed: if the party's own loader raises.
    """
    wanted = _list_wanted(spec)
    with _explain_unreadable(spec, file):
        columns = _read_columns(spec, file, root, loader, wanted, inputs)
    num_rows = _check_counts(list(columns.values()))
    declared = {given.name: given for given in inputs}
    held = {}
    for given in spec.inputs:
        if given.name not in declared:
            raise _refuse_input(given.name, declared)
        shape, dtype = declared[given.name].shape, declared[given.name].dtype
        held[given.name] = build_tensor([columns[name] for name in given.columns], dtype=dtype, shape=shape)
    if spec.label is not None and label is None:
        raise DataInvalid("data.label names columns, but model.label does not say what a label looks like")
    return Dataset(
        inputs=held,
        label=None
        if spec.label is None or label is None
        else build_tensor([columns[name] for name in spec.label.columns], dtype=label.dtype, shape=label.shape),
        ids=None if spec.id_column is None else parse_ids(columns[spec.id_column]),
        num_rows=num_rows,
    )


def build_tensor(columns: Sequence[Column], *, dtype: DType, shape: Sequence[int]) -> torch.Tensor:
    """Builds one argument of the model: one array of the declared shape, or as many numbers a row as that holds.

    Raises:
        DataInvalid: if shapes or values do not fit.
    """
    num_rows, shape = columns[0].num_rows, tuple(shape)
    if len(columns) == 1 and columns[0].row_shape == shape:
        return convert_column(columns[0], dtype)
    allowed = f"one column with rows of shape {list(shape)}, or {math.prod(shape)} columns of one number a row"
    for column in columns:
        if column.row_shape not in ((), (1,)):
            raise column.refuse(
                f"its rows have shape {list(column.row_shape)}",
                allowed=allowed,
                remedy="write the rows in the declared shape, or change the shape under model",
            )
    if len(columns) != math.prod(shape):
        raise columns[0].refuse(
            f"{_render_count(len(columns))} of one number a row cannot make rows of shape {list(shape)}",
            allowed=allowed,
            remedy="list the right columns under data, or change the shape under model",
        )
    parts = [convert_column(column, dtype).reshape(num_rows) for column in columns]
    return torch.stack(parts, dim=-1).reshape(num_rows, *shape)


def parse_ids(column: Column) -> tuple[str, ...]:
    """Returns the row ids as texts.

    Raises:
        DataInvalid: if an id is empty or there twice, or the column holds anything but texts or whole numbers.
    """
    values = column.values
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "iuU" or column.row_shape not in ((), (1,)):
            raise column.refuse(
                f"it holds {values.dtype} with rows of shape {list(column.row_shape)}, which are no ids",
                allowed="one text or whole number a row",
            )
        values = [str(value) for value in values.reshape(-1).tolist()]
    ids = tuple(values)
    if "" in ids:
        raise column.refuse("the id is empty", row=ids.index(""), allowed="one id a row")
    repeated = find_repeated_id(ids)
    if repeated is not None:
        first, second = repeated
        raise column.refuse(
            f"the same id as in {column.render_row(first)}",
            row=second,
            allowed="one row per id",
            remedy="make the ids unique",
        )
    return ids


def find_repeated_id(ids: Sequence[str]) -> tuple[int, int] | None:
    """Returns the first two rows that have the same id, or None."""
    seen: dict[str, int] = {}
    for row, row_id in enumerate(ids):
        if row_id in seen:
            return seen[row_id], row
        seen[row_id] = row
    return None


def _list_wanted(spec: DataSpec) -> list[str]:
    names = [name for given in spec.inputs for name in given.columns]
    names += [] if spec.label is None else spec.label.columns
    names += [] if spec.id_column is None else [spec.id_column]
    if not names:
        raise DataInvalid("data names no columns", remedy="name columns under data.inputs or data.label")
    return list(dict.fromkeys(names))


def _read_columns(
    spec: DataSpec,
    file: DataFile,
    root: str,
    loader: Callable[[str], Any] | None,
    wanted: Sequence[str],
    inputs: Sequence[InputSpec],
) -> dict[str, Column]:
    if ".." in PurePosixPath(file.path).parts:
        raise DataInvalid(f"the path {file.path!r} leaves the volume", allowed="a path below the volume's root")
    path = Path(root, file.path)
    if loader is not None:
        return read_by_loader(path, file.path, wanted, loader)
    match spec.format:
        case DataFormat.NPZ:
            return read_npz(path, file.path, wanted)
        case DataFormat.CSV:
            return read_csv(path, file.path, wanted)
        case DataFormat.SAFE_TENSORS:
            return read_safetensors(path, file.path, wanted)
        case DataFormat.PARQUET:
            # Two large libraries that only parties with such files load.
            from splittraining.party.data.parquet_file import read_parquet  # noqa: PLC0415

            return read_parquet(path, file.path, wanted)
        case DataFormat.IMAGE_FOLDER:
            from splittraining.party.data.image_folder import read_image_folder  # noqa: PLC0415

            form = _find_image_form(spec, inputs)
            return read_image_folder(path, file.path, wanted, form=form, classes=spec.classes)
        case None:
            raise DataInvalid("data names neither a format nor a loader", remedy="name one of them")


def _find_image_form(spec: DataSpec, inputs: Sequence[InputSpec]) -> ImageForm | None:
    """Returns what the images have to become: an image can be one input only, and nothing else."""
    takers = [given.name for given in spec.inputs if "image" in given.columns]
    for name in takers:
        declared = next((item for item in inputs if item.name == name), None)
        if declared is None:
            raise _refuse_input(name, {item.name: item for item in inputs})
        if len(takers) == 1:
            return ImageForm(declared.dtype, tuple(declared.shape))
    if takers or spec.id_column == "image" or (spec.label is not None and "image" in spec.label.columns):
        raise DataInvalid(
            "data names the column 'image' of an ImageFolder where it cannot be read",
            allowed="'image' as the one column of one input",
            remedy="leave it out of the other inputs, data.label and data.idColumn",
        )
    return None


@contextmanager
def _explain_unreadable(spec: DataSpec, file: DataFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        claim = spec.volume.persistent_volume_claim.claim_name
        raise DataInvalid(
            f"{file.path} in volume {claim!r} cannot be read: {error.strerror or type(error).__name__}",
            allowed="a readable file at that path of the volume",
            remedy="correct the path under data, or look whether the right volume is mounted",
        ) from error


def _check_counts(columns: Sequence[Column]) -> int:
    first = columns[0]
    for column in columns:
        if column.num_rows != first.num_rows:
            raise column.refuse(
                f"it has {column.num_rows} rows, column {first.name!r} has {first.num_rows}",
                allowed="the same number of rows in every column",
            )
    if first.num_rows == 0:
        raise DataInvalid(f"{first.file} has no rows", allowed="at least one row", remedy="look how it was written")
    return first.num_rows


def _refuse_input(name: str, declared: dict[str, InputSpec]) -> DataInvalid:
    near = difflib.get_close_matches(name, declared)
    return DataInvalid(
        f"data.inputs names {name!r}, which is no input of the model",
        allowed=", ".join(declared),
        remedy=f"did you mean {near[0]!r}?" if near else "name one of model.inputs",
    )


def _render_count(num_columns: int) -> str:
    return "1 column" if num_columns == 1 else f"{num_columns} columns"
