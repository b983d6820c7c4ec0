"""Reads a folder of images: one folder per class, and in it one file per row.

Columns are ``image``, ``label`` and ``id``. An image becomes what its input declares: channels first, as [height,
width] or [1, height, width] for gray, [3, height, width] for red, green and blue, [4, height, width] with opacity.
A float input gets 0 to 1 (the stored number divided by the largest that the file's depth can hold), any other the
stored numbers. Nothing is resized, turned, or converted between gray and color: that would be part of the training, and
nobody would see it.

A file's name may be a patient's. So messages, which travel, say which file of which class folder, in the order of
names; this party's own log, which stays, names it.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from splittraining.api.errors import DataInvalid
from splittraining.api.wire_plan import DType
from splittraining.party.data.table import Column, ImageForm, refuse_missing, render_counted_row
from splittraining.party.dtypes import TORCH_DTYPES

COLUMNS = ("image", "label", "id")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_LAYOUTS = {"L": (0, 255), "I;16": (0, 65535), "RGB": (3, 255), "RGBA": (4, 255)}
"""Pillow's modes that are read, with their channels (0: none of its own) and their largest number."""

_REMEDY = "repair the file or take it out; this party's own log names it"
# What Pillow raises for files that are not what they say, and what it says of one that unpacks to gigabytes.
_BROKEN = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    label: int
    place: str


def read_image_folder(
    path: Path, folder: str, wanted: Sequence[str], *, form: ImageForm | None, classes: Sequence[str]
) -> dict[str, Column]:
    """Reads the wanted columns of a folder of images, in the order of class folders and names.

    Args:
        path: The folder.
        folder: How messages name it.
        wanted: Names of the columns.
        form: What an image has to become; None where no image is wanted.
        classes: Names of the class folders in the order of their labels; empty for those there are, sorted by name.

    Raises:
        DataInvalid: if a column is none of this format's, a folder is not as said, or an image does not fit its input.
        OSError: if the folder cannot be read.
    """
    for name in wanted:
        if name not in COLUMNS:
            raise refuse_missing(folder, name, COLUMNS)
    rows = list(_iterate_rows(path, folder, classes))
    columns: dict[str, npt.NDArray[np.generic] | list[str]] = {}
    if "image" in wanted and form is not None:
        columns["image"] = _read_images(rows, folder, form)
    if "label" in wanted:
        columns["label"] = np.array([row.label for row in rows], dtype=np.int64)
    if "id" in wanted:
        columns["id"] = np.array([row.path.relative_to(path).as_posix() for row in rows], dtype=np.str_)
    return {name: Column(folder, name, columns[name], render_counted_row) for name in wanted}


def _iterate_rows(path: Path, folder: str, classes: Sequence[str]) -> Iterator[_Row]:
    found = _list_visible(path)
    for entry in found:
        if not entry.is_dir():
            raise DataInvalid(
                f"{folder} holds a file beside its class folders; this party's own log names it",
                allowed="one folder per class, and the images in these",
                remedy="put it into the folder of its class, or take it out",
            ) from FileExistsError(entry.name)
    repeated = next((name for place, name in enumerate(classes) if name in classes[:place]), None)
    if repeated is not None:
        raise DataInvalid(f"data.classes names {repeated!r} twice", allowed="each class folder once")
    names = list(classes) or [entry.name for entry in found]
    unknown = [entry.name for entry in found if entry.name not in names]
    if unknown:
        raise DataInvalid(
            f"{folder} holds a class folder that data.classes does not name; this party's own log names it",
            allowed=", ".join(repr(name) for name in names),
            remedy="rename the folder, or add the class to data.classes at every party",
        ) from FileExistsError(unknown[0])
    for label, name in enumerate(names):
        files = _list_visible(path / name) if (path / name).is_dir() else []
        for number, file in enumerate(files):
            place = f"{folder}, file {number} of class folder {name!r} (in the order of names, counted from 0)"
            if file.suffix.lower() not in SUFFIXES or file.is_dir():
                raise DataInvalid(
                    f"{place} is no image by its name", allowed=", ".join(SUFFIXES), remedy=_REMEDY
                ) from FileExistsError(file.name)
            yield _Row(file, label, place)


def _list_visible(path: Path) -> list[Path]:
    """Lists a folder by the bytes of its names, without hidden ones: volumes and desktops put those there."""
    visible = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: os.fsencode(entry.name))


def _read_images(rows: Sequence[_Row], folder: str, form: ImageForm) -> npt.NDArray[np.generic]:
    channels, height, width = _parse_shape(folder, form)
    is_float = TORCH_DTYPES[form.dtype].is_floating_point
    held: npt.DTypeLike = np.int32
    if is_float:
        held = np.float64 if form.dtype is DType.FLOAT64 else np.float32
    images = np.empty((len(rows), *form.shape), dtype=held)
    for image, row in zip(images, rows, strict=True):
        numbers, largest = _read_image(row, channels, (width, height))
        # Divided in the float's own precision, as torchvision does: the quotient is the nearest float to the true one.
        image[...] = (numbers.astype(held) / images.dtype.type(largest) if is_float else numbers).reshape(form.shape)
    return images


def _parse_shape(folder: str, form: ImageForm) -> tuple[int, int, int]:
    """Returns channels (0 where the shape has no axis for them), height and width."""
    match form.shape:
        case (height, width):
            return 0, height, width
        case (1 | 3 | 4 as channels, height, width):
            return channels, height, width
    raise DataInvalid(
        f"{folder}, column 'image': the input's shape is {list(form.shape)}",
        allowed="[height, width], or [channels, height, width] with 1, 3 or 4 channels",
        remedy="correct the shape under model.inputs",
    )


def _read_image(row: _Row, channels: int, size: tuple[int, int]) -> tuple[npt.NDArray[np.generic], int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(row.path, formats=_FORMATS) as image:
                # Its header says how large it will be: what does not fit is never unpacked.
                _check_form(row, image, channels, size)
                numbers = np.asarray(image)
                mode = image.mode
    except _BROKEN as error:
        raise DataInvalid(
            f"{row.place} cannot be read as an image ({type(error).__name__})",
            allowed=f"{', '.join(_FORMATS)}, whole and undamaged",
            remedy=_REMEDY,
        ) from ValueError(f"{row.path.name}: {error}")
    if channels > 1:
        numbers = np.moveaxis(numbers, -1, 0)
    return numbers, _LAYOUTS[mode][1]


def _check_form(row: _Row, image: Image.Image, channels: int, size: tuple[int, int]) -> None:
    frames = getattr(image, "n_frames", 1)
    wanted = channels if channels > 1 else 0
    fits = image.mode in _LAYOUTS and _LAYOUTS[image.mode][0] == wanted
    if fits and image.size == size and frames == 1:
        return
    allowed_modes = " or ".join(mode for mode, (held, _) in _LAYOUTS.items() if held == wanted)
    raise DataInvalid(
        f"{row.place} has {image.width} x {image.height} pixels of mode {image.mode}"
        + (f" in {frames} frames" if frames != 1 else ""),
        allowed=f"{size[0]} x {size[1]} pixels (width x height) of mode {allowed_modes}, one frame",
        remedy="resize and convert the files beforehand, or change the shape under model.inputs",
    ) from ValueError(row.path.name)
