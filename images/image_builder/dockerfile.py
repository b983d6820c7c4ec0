"""Reads what a Dockerfile says about the image that it makes: user, environment, entry point, labels."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from image_builder.refusal import BuildRefused


@dataclass(frozen=True)
class ImageConfig:
    """How a container of an image starts."""

    user: str
    entrypoint: tuple[str, ...]
    working_directory: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def list_instructions(text: str) -> list[tuple[str, str]]:
    """Lists a Dockerfile's instructions with their arguments; comments are dropped and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    split = [line.split(maxsplit=1) for line in joined.splitlines()]
    return [(words[0].upper(), words[1] if len(words) > 1 else "") for words in split]


def read_base(text: str) -> str:
    """Reads which image a Dockerfile stands on, unless it is told another one."""
    return next(rest.removeprefix("BASE=") for name, rest in list_instructions(text) if name == "ARG")


def read_config(text: str, arguments: Mapping[str, str]) -> ImageConfig:
    """Reads the configuration that a Dockerfile gives its image.

    Args:
        text: The Dockerfile.
        arguments: Values of its ``ARG``s, such as the version.

    Raises:
        BuildRefused: It names no user or no entry point.
    """
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    single: dict[str, str] = {}
    for instruction, rest in list_instructions(text):
        if instruction in {"ENV", "LABEL"}:
            pairs = (word.partition("=") for word in shlex.split(rest))
            values = {name: _fill(value, arguments) for name, _, value in pairs}
            (environment if instruction == "ENV" else labels).update(values)
        else:
            single[instruction] = rest
    if not {"USER", "ENTRYPOINT"} <= single.keys():
        raise BuildRefused("A Dockerfile must name its USER and its ENTRYPOINT. To do: add what is missing")
    return ImageConfig(
        user=single["USER"],
        entrypoint=tuple(json.loads(single["ENTRYPOINT"])),
        working_directory=single.get("WORKDIR", "/"),
        environment=environment,
        labels=labels,
    )


def _fill(value: str, arguments: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], value)
