"""Folders of images: what is read, and what is refused without telling the name of a file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from splittraining.api.errors import DataInvalid
from splittraining.api.spec.data import DataFormat
from splittraining.api.wire_plan import DType
from support.data_support import CANARY, AParty

GRAY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 50
COLOR = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10


def put(root: Path, path: str, pixels: np.ndarray = GRAY) -> Path:
    target = root / "train" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(target)
    return target


def a_party(root: Path) -> AParty:
    return AParty(root).at("train").with_format(DataFormat.IMAGE_FOLDER)


def test_rows_come_by_class_folder_and_name_and_a_label_is_the_place_of_its_folder(tmp_path: Path) -> None:
    for path, first in (("sick/b.png", 2), ("healthy/z.png", 1), ("sick/a.png", 3)):
        put(tmp_path, path, np.full((2, 3), first, dtype=np.uint8))
    party = a_party(tmp_path).with_input("image", dtype=DType.UINT8, shape=(2, 3)).with_label("label").with_ids("id")
    dataset = party.load()
    assert dataset.ids == ("healthy/z.png", "sick/a.png", "sick/b.png")
    assert dataset.label is not None
    assert dataset.label.tolist() == [0, 1, 1]
    assert dataset.inputs["x"][:, 0, 0].tolist() == [1, 3, 2]


def test_named_classes_give_the_labels_and_a_party_may_lack_one(tmp_path: Path) -> None:
    put(tmp_path, "sick/a.png")
    party = a_party(tmp_path).with_classes("unclear", "healthy", "sick").with_input("image", shape=(2, 3))
    dataset = party.with_label("label").load()
    assert dataset.label is not None
    assert dataset.label.tolist() == [2]


@pytest.mark.parametrize(
    ("pixels", "shape", "largest"),
    [
        (GRAY, (2, 3), 255),
        (GRAY, (1, 2, 3), 255),
        (COLOR, (3, 2, 3), 255),
        (np.concatenate([COLOR, COLOR[..., :1]], axis=-1), (4, 2, 3), 255),
        (GRAY.astype(np.uint16) * 200, (1, 2, 3), 65535),
    ],
    ids=["gray", "gray with a channel", "color", "with opacity", "16 bits"],
)
def test_a_float_input_gets_0_to_1_and_a_whole_one_the_stored_numbers_channels_first(
    tmp_path: Path, pixels: np.ndarray, shape: tuple[int, ...], largest: int
) -> None:
    put(tmp_path, "a/a.png", pixels)
    stored = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels
    expected = torch.from_numpy(stored.astype(np.int32).reshape(1, *shape))
    whole = a_party(tmp_path).with_input("image", dtype=DType.INT32, shape=shape).load().inputs["x"]
    assert torch.equal(whole, expected)
    scaled = a_party(tmp_path).with_input("image", shape=shape).load().inputs["x"]
    assert torch.equal(scaled, expected.float() / largest)


def test_other_suffixes_and_formats_are_read_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.bmp", "c.tiff"):
        put(tmp_path, f"a/{name}")
    (tmp_path / "train" / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / "..data").mkdir()
    assert a_party(tmp_path).with_input("image", shape=(2, 3)).load().num_rows == 3


def test_an_image_of_another_size_is_refused_and_never_resized(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    put(tmp_path, f"a/{CANARY}.png", GRAY[:, :2])
    with pytest.raises(DataInvalid, match=r"train, file 1 of class folder 'a' .* has 2 x 2 pixels") as refused:
        a_party(tmp_path).with_input("image", shape=(2, 3)).load()
    assert "3 x 2 pixels (width x height)" in str(refused.value)
    assert CANARY not in str(refused.value)
    assert CANARY in str(refused.value.__cause__)


@pytest.mark.parametrize("shape", [(2, 3), (4, 2, 3)], ids=["gray", "opacity"])
def test_colors_are_never_converted(tmp_path: Path, shape: tuple[int, ...]) -> None:
    put(tmp_path, "a/1.png", COLOR)
    with pytest.raises(DataInvalid, match="has 3 x 2 pixels of mode RGB"):
        a_party(tmp_path).with_input("image", shape=shape).load()


@pytest.mark.parametrize("cut_at", [0, 20, 50], ids=str)
def test_a_broken_image_is_told_by_its_place_and_named_in_the_own_log_only(tmp_path: Path, cut_at: int) -> None:
    broken = put(tmp_path, f"a/{CANARY}.png")
    broken.write_bytes(broken.read_bytes()[:cut_at])
    with pytest.raises(DataInvalid, match=r"file 0 of class folder 'a' .* cannot be read as an image") as refused:
        a_party(tmp_path).with_input("image", shape=(2, 3)).load()
    assert CANARY not in str(refused.value)
    assert CANARY in str(refused.value.__cause__)


def test_an_image_that_claims_to_be_huge_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    put(tmp_path, "a/1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(DataInvalid, match=r"cannot be read as an image \(DecompressionBombError\)"):
        a_party(tmp_path).with_input("image", shape=(2, 3)).load()


def test_an_image_of_several_frames_is_refused(tmp_path: Path) -> None:
    target = put(tmp_path, "a/1.tif")
    first = Image.fromarray(GRAY)
    first.save(target, save_all=True, append_images=[first])
    with pytest.raises(DataInvalid, match="in 2 frames"):
        a_party(tmp_path).with_input("image", shape=(2, 3)).load()


def test_another_format_under_an_images_name_is_refused(tmp_path: Path) -> None:
    target = put(tmp_path, "a/1.png")
    Image.fromarray(GRAY).save(target, format="GIF")
    with pytest.raises(DataInvalid, match="UnidentifiedImageError"):
        a_party(tmp_path).with_input("image", shape=(2, 3)).load()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{CANARY}.txt", "holds a file beside its class folders"),
        (f"a/{CANARY}.txt", "file 1 of class folder 'a' .* is no image by its name"),
        (f"{CANARY}/1.png", "holds a class folder that data.classes does not name"),
    ],
    ids=["a file beside the folders", "another file among images", "a class folder too many"],
)
def test_nothing_that_lies_there_is_passed_over(tmp_path: Path, path: str, message: str) -> None:
    put(tmp_path, "a/1.png")
    target = tmp_path / "train" / path
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(b"x")
    with pytest.raises(DataInvalid, match=message) as refused:
        a_party(tmp_path).with_classes("a").with_input("image", shape=(2, 3)).load()
    assert CANARY not in str(refused.value)
    assert CANARY in str(refused.value.__cause__)


def test_a_column_that_no_folder_has_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    with pytest.raises(DataInvalid, match=r"train has no column 'pixels'\. Allowed: one of 'image', 'label', 'id'"):
        a_party(tmp_path).with_input("pixels", shape=(2, 3)).load()


def test_an_image_is_one_input_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    with pytest.raises(DataInvalid, match="names the column 'image' of an ImageFolder where it cannot be read"):
        a_party(tmp_path).with_input("image", shape=(2, 3)).with_input("image", name="z", shape=(2, 3)).load()


def test_a_shape_that_is_no_images_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    with pytest.raises(DataInvalid, match=r"column 'image': the input's shape is \[2, 2, 3\]"):
        a_party(tmp_path).with_input("image", shape=(2, 2, 3)).load()


def test_a_class_named_twice_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    with pytest.raises(DataInvalid, match=r"data\.classes names 'a' twice"):
        a_party(tmp_path).with_classes("a", "b", "a").with_input("image", shape=(2, 3)).load()


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(DataInvalid, match="train has no rows"):
        a_party(tmp_path).with_input("image", shape=(2, 3)).load()


def test_a_folder_that_is_not_there_is_told_with_its_volume(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid, match="train in volume 'xrays' cannot be read: No such file"):
        a_party(tmp_path).with_input("image", shape=(2, 3)).load()
