"""Builders of data specs, data files and data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from splittraining.api.spec.data import DataFile, DataFormat, DataInput, DataLabel, DataSpec, LoaderSpec, VolumeSource
from splittraining.api.spec.model import InputSpec, LabelSpec
from splittraining.api.wire_plan import DType
from splittraining.party.data.dataset import Dataset, load_dataset

CANARY = "Smith-1971-03-02"
"""Stands in a cell; no message may show it."""


class AParty:
    """A party with one file, and what its manifest says of it.

    Args:
        root: Folder that stands for the volume.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = "train.npz"
        self._format: DataFormat | None = DataFormat.NPZ
        self._loader: Callable[[str], Any] | None = None
        self._inputs: list[tuple[DataInput, InputSpec]] = []
        self._label: tuple[DataLabel, LabelSpec] | None = None
        self._id_column: str | None = None
        self._classes: tuple[str, ...] = ()

    def with_npz(self, **arrays: Any) -> AParty:
        np.savez(self.root / self.path, **arrays)
        return self

    def with_csv(self, text: str | bytes) -> AParty:
        self.path, self._format = "train.csv", DataFormat.CSV
        (self.root / self.path).write_bytes(text if isinstance(text, bytes) else text.encode())
        return self

    def with_bytes(self, data: bytes) -> AParty:
        (self.root / self.path).write_bytes(data)
        return self

    def with_loader(self, loader: Callable[[str], Any]) -> AParty:
        (self.root / self.path).touch()
        self._format, self._loader = None, loader
        return self

    def with_format(self, given: DataFormat) -> AParty:
        self._format = given
        return self

    def at(self, path: str) -> AParty:
        self.path = path
        return self

    def with_input(
        self, *columns: str, name: str = "x", dtype: DType = DType.FLOAT32, shape: Sequence[int] = ()
    ) -> AParty:
        declared = InputSpec(name=name, dtype=dtype, shape=tuple(shape))
        self._inputs.append((DataInput(name=name, columns=columns), declared))
        return self

    def with_label(self, *columns: str, dtype: DType = DType.INT64, shape: Sequence[int] = ()) -> AParty:
        self._label = DataLabel(columns=columns), LabelSpec(dtype=dtype, shape=tuple(shape))
        return self

    def with_ids(self, column: str) -> AParty:
        self._id_column = column
        return self

    def with_classes(self, *names: str) -> AParty:
        self._classes = names
        return self

    def load(self, *, extra_inputs: Sequence[InputSpec] = ()) -> Dataset:
        spec = DataSpec(
            format=self._format,
            loader=None if self._loader is None else LoaderSpec(entrypoint="xray.data:load"),
            volume=VolumeSource.model_validate({"persistentVolumeClaim": {"claimName": "xrays"}}),
            train=DataFile(path=self.path),
            inputs=tuple(given for given, _ in self._inputs),
            label=None if self._label is None else self._label[0],
            id_column=self._id_column,
            classes=self._classes,
        )
        return load_dataset(
            spec,
            spec.train,
            root=str(self.root),
            inputs=[declared for _, declared in self._inputs] + list(extra_inputs),
            label=None if self._label is None else self._label[1],
            loader=self._loader,
        )


def a_dataset(num_rows: int = 4, ids: Sequence[str] | None = None) -> Dataset:
    rows = torch.arange(num_rows, dtype=torch.float32)
    return Dataset({"x": rows}, rows.long(), None if ids is None else tuple(ids), num_rows)
