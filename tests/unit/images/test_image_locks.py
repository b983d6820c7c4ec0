"""Which part of a lock a layer installs."""

from __future__ import annotations

import pytest

from image_builder.locks import is_torch, is_torch_without_cuda, select_from_lock
from image_builder.recipes import RECIPES, Recipe
from image_builder.refusal import BuildRefused

LOCK = """\
# This file was made by a tool
aiohttp==3.14.5 ; sys_platform == 'linux' \\
    --hash=sha256:aa \\
    --hash=sha256:ab
    # via
    #   kopf
torch==2.15.0 \\
    --hash=sha256:bb
    # via splittraining (pyproject.toml)
"""


def test_an_entry_keeps_its_version_marker_and_hashes():
    assert select_from_lock(LOCK, lambda name: name == "aiohttp") == (
        "aiohttp==3.14.5 ; sys_platform == 'linux' \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\n"
    )
    assert select_from_lock(LOCK, is_torch) == "torch==2.15.0 \\\n    --hash=sha256:bb\n"


def test_a_lock_without_the_packages_of_a_layer_is_refused():
    with pytest.raises(BuildRefused, match="none of the packages"):
        select_from_lock("", is_torch)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_locked_package_lies_in_exactly_one_layer(recipe: Recipe):
    lock = recipe.lock_path.read_text()
    everything = select_from_lock(lock, lambda _: True)
    assert everything.count("==") >= 30
    if recipe.name == "operator":
        # No torch, or its layer would be gigabytes.
        assert select_from_lock(lock, lambda name: not is_torch(name)) == everything
    else:
        parts = select_from_lock(lock, is_torch) + select_from_lock(lock, lambda name: not is_torch(name))
        assert sorted(parts.splitlines()) == sorted(everything.splitlines())


def test_the_test_image_takes_of_cuda_the_runtime_only():
    names = ("torch", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "triton", "numpy", "cuda-toolkit")
    assert [name for name in names if is_torch_without_cuda(name)] == ["torch", "nvidia-cuda-runtime"]
