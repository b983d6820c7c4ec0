"""Which engine builds, and by which commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_builder.__main__ import build_parser, read_version
from image_builder.engines import Engine, answers, choose_engine, list_build_command, list_save_commands
from image_builder.recipes import RECIPES, ROOT
from image_builder.wheelhouse import list_download_command
from splittraining import __version__

OPERATOR = RECIPES["operator"]


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"docker", "buildah"}, Engine.DOCKER),
        ({"docker"}, Engine.DOCKER),
        ({"buildah"}, Engine.BUILDAH),
        (set(), Engine.OWN),
    ],
)
def test_docker_comes_before_buildah_and_both_before_the_own_writer(there: set[str], chosen: Engine):
    assert choose_engine("base:1", lambda command: command[0] in there) is chosen


def test_an_engine_is_asked_for_what_a_build_needs_not_looked_for_on_the_path():
    asked: list[list[str]] = []

    def note(command: list[str]) -> bool:
        asked.append(command)
        return False

    choose_engine("base:1", note)
    assert asked == [["docker", "info"], ["buildah", "pull", "--policy", "missing", "base:1"]]


def test_a_command_that_is_not_there_or_fails_does_not_answer():
    assert answers(["true"])
    assert not answers(["false"])
    assert not answers(["no-such-command-anywhere"])


def build_command(engine: Engine, base: str = "") -> list[str]:
    return list_build_command(engine, OPERATOR, version="1.2.3", base=base, id_file=Path("/out/operator.id"))


@pytest.mark.parametrize("engine", [Engine.DOCKER, Engine.BUILDAH])
def test_an_engine_builds_the_dockerfile_from_the_projects_folder(engine: Engine):
    command = build_command(engine)
    assert command[:2] == [engine.value, "build"]
    assert command[command.index("--file") + 1] == str(ROOT / "images" / "operator" / "Dockerfile")
    assert command[command.index("--iidfile") + 1] == "/out/operator.id"
    assert "VERSION=1.2.3" in command
    assert command[-1] == str(ROOT)


def test_the_base_is_the_dockerfiles_unless_another_one_is_named():
    assert not any(word.startswith("BASE=") for word in build_command(Engine.DOCKER))
    assert "BASE=registry.example/base:1" in build_command(Engine.DOCKER, base="registry.example/base:1")


def test_buildah_gives_the_same_image_at_another_time():
    command = build_command(Engine.BUILDAH)
    assert command[command.index("--timestamp") + 1] == "0"


def test_a_built_image_gets_its_name_before_it_is_saved_under_it():
    tag, save = list_save_commands(Engine.DOCKER, "sha256:12", "operator:1-12", Path("/out/operator.tar"))
    assert tag == ["docker", "tag", "sha256:12", "operator:1-12"]
    assert save == ["docker", "save", "--output", "/out/operator.tar", "operator:1-12"]
    tag, save = list_save_commands(Engine.BUILDAH, "sha256:12", "operator:1-12", Path("/out/operator.tar"))
    assert tag == ["buildah", "tag", "sha256:12", "operator:1-12"]
    assert save[-1] == "docker-archive:/out/operator.tar:operator:1-12"


def test_wheels_are_downloaded_by_the_lock_with_hashes_and_nothing_is_built_on_the_way():
    command = list_download_command(Path("/python"), OPERATOR, Path("/wheels"))
    assert "--require-hashes" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert command[-1] == str(ROOT / "requirements" / "operator.txt")


def test_the_command_line_knows_the_images_and_chooses_the_engine_itself():
    arguments = build_parser().parse_args(["operator", "party"])
    assert arguments.images == ["operator", "party"]
    assert arguments.engine == "auto"
    with pytest.raises(SystemExit):
        build_parser().parse_args(["no-such-image"])


def test_images_carry_the_projects_version():
    assert read_version() == __version__
