"""What the Dockerfiles hold, and how the own writer reads them."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch

import pytest

from image_builder.dockerfile import list_instructions, read_base, read_config
from image_builder.own_writer import configure
from image_builder.packages import _OF_OTHER_PYTHONS, PLACE
from image_builder.recipes import RECIPES, ROOT, Recipe
from image_builder.refusal import BuildRefused

SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))
WITH_DOCKERFILE = [RECIPES["operator"], RECIPES["party"]]


def name_recipe(recipe: Recipe) -> str:
    return recipe.name


def list_arguments(recipe: Recipe, instruction: str) -> list[str]:
    return [rest for name, rest in list_instructions(recipe.dockerfile.read_text()) if name == instruction]


def test_every_dockerfile_belongs_to_an_image():
    assert sorted(recipe.dockerfile for recipe in WITH_DOCKERFILE) == DOCKERFILES


@pytest.mark.parametrize("recipe", WITH_DOCKERFILE, ids=name_recipe)
def test_a_dockerfile_stands_on_an_exact_base_that_can_be_replaced(recipe: Recipe):
    instructions = list_instructions(recipe.dockerfile.read_text())
    assert instructions[0][0] == "ARG"
    assert instructions[1] == ("FROM", "${BASE}")
    base = read_base(recipe.dockerfile.read_text())
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", base)


@pytest.mark.parametrize("recipe", WITH_DOCKERFILE, ids=name_recipe)
def test_a_dockerfile_fetches_nothing_and_names_no_index_and_nothing_latest(recipe: Recipe):
    text = recipe.dockerfile.read_text()
    assert list_arguments(recipe, "ADD") == []
    assert not re.search(r"https?://|latest|curl|wget|apt-get|PIP_INDEX_URL", text)
    for run in list_arguments(recipe, "RUN"):
        assert run.count("pip install") == run.count("PIP_NO_INDEX=1")


@pytest.mark.parametrize("recipe", WITH_DOCKERFILE, ids=name_recipe)
def test_a_dockerfile_installs_what_its_lock_names_by_hash(recipe: Recipe):
    packages = list_arguments(recipe, "RUN")[1]
    assert f"source=requirements/{recipe.lock}," in packages
    assert f"source=build/images/wheels/{recipe.folder}," in packages
    assert "--require-hashes" in packages
    assert recipe.lock_path.is_file()


@pytest.mark.parametrize("recipe", WITH_DOCKERFILE, ids=name_recipe)
def test_bytecode_is_written_for_a_root_that_cannot_be_written_to(recipe: Recipe):
    runs = list_arguments(recipe, "RUN")[1:]
    assert all("compileall" in run and "--invalidation-mode unchecked-hash" in run for run in runs)
    assert all("--no-cache-dir" in run for run in runs)
    assert f"-x '{_OF_OTHER_PYTHONS}'" in runs[0]


@pytest.mark.parametrize("recipe", WITH_DOCKERFILE, ids=name_recipe)
def test_what_a_dockerfile_mounts_is_let_in_by_dockerignore(recipe: Recipe):
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sources = re.findall(r"source=([^,]+)", " ".join(list_arguments(recipe, "RUN")))
    assert len(sources) == 3
    for source in sources:
        prefixes = [source.rsplit("/", count)[0] for count in range(source.count("/") + 1)]
        # The last line that matches a path or a folder above it decides.
        verdicts = [line.startswith("!") for line in lines for path in prefixes if fnmatch(path, line.lstrip("!/"))]
        assert verdicts[-1], f"{source} is kept from the build"


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=name_recipe)
def test_an_image_runs_its_own_command_as_nobody_in_particular(recipe: Recipe):
    config = configure(recipe, "1.2.3")
    assert config.entrypoint == (recipe.repository,)
    assert config.user == "65532:65532"
    assert config.environment["PATH"].split(":")[0] == f"{PLACE}/bin"
    assert config.environment["PYTHONPATH"] == PLACE


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=name_recipe)
def test_the_command_of_an_image_is_a_script_of_this_project(recipe: Recipe):
    assert recipe.repository in SCRIPTS


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=name_recipe)
def test_an_image_says_what_it_is(recipe: Recipe):
    labels = configure(recipe, "1.2.3").labels
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.title"]


def test_the_test_image_says_in_its_tag_and_labels_that_it_has_no_cuda():
    recipe = RECIPES["party-cpu-test"]
    labels = configure(recipe, "1.2.3").labels
    assert recipe.tag_for("1.2.3") == "1.2.3-cpu-test"
    assert labels["splitlearning.dev/test-image"] == "true"
    assert "For tests only" in labels["org.opencontainers.image.description"]
    assert "splitlearning.dev/test-image" not in configure(RECIPES["party"], "1.2.3").labels


def test_no_image_takes_gpus_that_its_pod_was_not_given():
    for recipe in RECIPES.values():
        assert "NVIDIA_VISIBLE_DEVICES" not in configure(recipe, "1.2.3").environment


def test_continued_lines_and_comments_between_them_are_one_instruction():
    text = '# a comment\nRUN one \\\n  # another\n  && two\nUSER 1\nENTRYPOINT ["x", "y"]\nENV A=1 B="2 3" C=${V}\n'
    assert list_instructions(text)[0] == ("RUN", "one && two")
    config = read_config(text, {"V": "4"})
    assert config.environment == {"A": "1", "B": "2 3", "C": "4"}
    assert config.entrypoint == ("x", "y")


def test_a_dockerfile_without_a_user_is_refused():
    with pytest.raises(BuildRefused, match="USER"):
        read_config('ENTRYPOINT ["x"]\n', {})
