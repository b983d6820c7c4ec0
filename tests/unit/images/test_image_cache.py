"""What is kept between builds, and when it is made anew."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from image_builder.cache import compute_key, find_cache, forget_unused, keep, read_makers
from image_builder.own_writer import Piece, plan_pieces
from image_builder.recipes import RECIPES

LOCK = """\
# made by hand
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:aa
    # via torch
nvidia-cublas==13.4 ; sys_platform == 'linux' \\
    --hash=sha256:bb \\
    --hash=sha256:b2
nvidia-cuda-runtime==13.2 \\
    --hash=sha256:cc
torch==2.15.0 \\
    --hash=sha256:dd
triton==3.9.0 \\
    --hash=sha256:ee
"""


def test_the_cache_lies_where_the_user_keeps_caches():
    assert find_cache({"XDG_CACHE_HOME": "/var/kept", "HOME": "/home/me"}) == Path("/var/kept/splittraining/images")
    assert find_cache({"HOME": "/home/me"}) == Path("/home/me/.cache/splittraining/images")
    assert find_cache({"XDG_CACHE_HOME": "relative", "HOME": "/home/me"}).is_relative_to("/home/me/.cache")


def test_a_key_tells_apart_what_only_looks_alike_when_joined():
    assert compute_key("ab", "c") != compute_key("a", "bc")
    assert compute_key("ab", "c") == compute_key("ab", b"c")


def test_a_piece_is_made_once(tmp_path: Path):
    made: list[str] = []

    def make(path: Path) -> None:
        made.append("once")
        path.write_text("whole")

    first, second = keep(tmp_path / "cache", "base-1", make), keep(tmp_path / "cache", "base-1", make)
    assert first == second
    assert first.read_text() == "whole"
    assert made == ["once"]


def test_a_build_that_fails_leaves_no_piece_behind(tmp_path: Path):
    def fail(path: Path) -> None:
        path.mkdir()
        (path / "half").write_text("half")
        raise OSError("full disk")

    with pytest.raises(OSError, match="full disk"):
        keep(tmp_path, "torch-1", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".torch-1.lock"]


def test_two_builds_at_once_make_a_piece_once(tmp_path: Path):
    began, made = threading.Event(), []
    go_on = threading.Event()

    def make_slowly(path: Path) -> None:
        began.set()
        assert go_on.wait(10)
        made.append("slow")
        path.write_text("slow")

    def make_other(path: Path) -> None:
        made.append("other")
        path.write_text("other")

    slow = threading.Thread(target=keep, args=(tmp_path, "base-1", make_slowly))
    other = threading.Thread(target=keep, args=(tmp_path, "base-1", make_other))
    slow.start()
    assert began.wait(10)
    other.start()
    go_on.set()
    slow.join(10)
    other.join(10)
    assert made == ["slow"]


def test_what_no_build_has_used_for_a_month_is_forgotten(tmp_path: Path):
    def age(name: str) -> None:
        os.utime(tmp_path / name, (0, 0))

    for name in ("base-old", "base-used"):
        keep(tmp_path, name, lambda path: path.mkdir())
        age(name)
    keep(tmp_path, "base-used", lambda path: path.mkdir())
    keep(tmp_path, "base-new", lambda path: path.mkdir())
    forget_unused(tmp_path, now=time.time())
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"base-used", "base-new"}


def plan(tmp_path: Path, name: str, *, lock: str = LOCK, wheel: bytes = b"wheel") -> dict[str, Piece]:
    path = tmp_path / "splittraining-0-py3-none-any.whl"
    path.write_bytes(wheel)
    return {piece.name: piece for piece in plan_pieces(RECIPES[name], lock, path)}


def test_layers_that_change_often_lie_on_those_that_change_seldom(tmp_path: Path):
    assert list(plan(tmp_path, "party")) == ["party-packages", "torch", "splittraining"]
    assert list(plan(tmp_path, "party-cpu-test")) == ["party-packages", "torch-cpu-test", "splittraining"]
    assert list(plan(tmp_path, "operator")) == ["operator-packages", "splittraining"]


def list_changed(before: dict[str, Piece], after: dict[str, Piece]) -> list[str]:
    return [name for name, piece in after.items() if before[name].file_name != piece.file_name]


def test_a_change_of_code_makes_one_small_layer_anew(tmp_path: Path):
    before, after = plan(tmp_path, "party"), plan(tmp_path, "party", wheel=b"other")
    assert list_changed(before, after) == ["splittraining"]


def test_a_change_of_a_lock_makes_the_layer_of_that_package_anew(tmp_path: Path):
    before = plan(tmp_path, "party")
    assert list_changed(before, plan(tmp_path, "party", lock=LOCK.replace("2.4.6", "2.4.7"))) == ["party-packages"]
    assert list_changed(before, plan(tmp_path, "party", lock=LOCK.replace("sha256:b2", "sha256:b3"))) == ["torch"]


def test_both_party_images_share_the_layer_of_packages(tmp_path: Path):
    assert plan(tmp_path, "party")["party-packages"] == plan(tmp_path, "party-cpu-test")["party-packages"]


def test_the_code_that_makes_a_layer_is_part_of_its_key():
    assert read_makers("packages") != read_makers("packages", "torch_stubs")
    assert b"def write_stubs" in read_makers("torch_stubs")


def test_torch_lies_with_cuda_in_one_layer_and_without_it_in_the_test_image(tmp_path: Path):
    def list_names(piece: Piece) -> list[str]:
        return [line.split("==")[0] for line in piece.requirements.splitlines() if "==" in line]

    full, test = plan(tmp_path, "party"), plan(tmp_path, "party-cpu-test")
    assert list_names(full["party-packages"]) == ["numpy"]
    assert list_names(full["torch"]) == ["nvidia-cublas", "nvidia-cuda-runtime", "torch", "triton"]
    assert list_names(test["torch-cpu-test"]) == ["nvidia-cuda-runtime", "torch"]
