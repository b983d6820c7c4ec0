"""The SplitTraining resource as a whole, and reading it from a loaded manifest with messages a person can act on."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from splittraining.api.base import Document
from splittraining.api.errors import SpecInvalid
from splittraining.api.spec.split_training import SplitTrainingSpec
from splittraining.api.spec.types import Namespace, PartyName
from splittraining.api.status import SplitTrainingStatus

GROUP = "splitlearning.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "SplitTraining"

DEFAULT_NAMESPACE = "default"
"""Where a manifest without a namespace goes, as with kubectl."""


_KINDS = {
    "bool_type": "true or false",
    "dict_type": "a mapping of names to values",
    "int_type": "a whole number",
    "model_type": "a mapping of fields",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What may stand where pydantic found a value of another kind."""


class Metadata(Document):
    """The object's metadata: Kubernetes' own fields, so that a misspelled one is refused here as it is there."""

    name: PartyName
    """Name of the training, a DNS label of at most 40 characters that starts with a letter."""
    namespace: Namespace = DEFAULT_NAMESPACE
    """Namespace of the training."""
    labels: dict[str, str] | None = None
    """For people and tools to select by."""
    annotations: dict[str, str] | None = None
    """For people and tools to read."""
    uid: Annotated[str, Field(max_length=63)] = ""
    """Set by the API server, as is all that follows."""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    deletion_grace_period_seconds: int | None = None
    generate_name: str = ""
    finalizers: tuple[str, ...] | None = None
    owner_references: tuple[dict[str, Any], ...] | None = None
    managed_fields: tuple[dict[str, Any], ...] | None = None
    self_link: str = ""


class SplitTraining(Document):
    """One split training."""

    api_version: Literal["splitlearning.dev/v1alpha1"]
    """Group and version."""
    kind: Literal["SplitTraining"]
    """Kind."""
    metadata: Metadata
    """Name and namespace."""
    spec: SplitTrainingSpec
    """What is wanted."""
    status: SplitTrainingStatus | None = None
    """What is observed; written by the operator, a manifest has none."""


def parse_split_training(document: Mapping[str, Any]) -> SplitTraining:
    """Reads a loaded manifest.

    Args:
        document: The YAML or JSON document as plain values.

    Raises:
        SpecInvalid: with one line for each thing that is wrong: path, what was given, what is allowed.
    """
    try:
        # By the outside's names alone: a field that only Python calls so is refused here as it is in a cluster.
        return SplitTraining.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [_render_problem(problem) for problem in _list_problems(error)]
    raise SpecInvalid(
        problems[0] if len(problems) == 1 else f"{len(problems)} problems:\n  " + "\n  ".join(problems),
        remedy="mend the manifest; `splittraining validate -f` checks it without a run",
    ) from None


def _list_problems(error: ValidationError) -> list[dict[str, Any]]:
    """Returns what is wrong, without what only follows from it: a list is not too short because of a wrong item."""
    problems: list[dict[str, Any]] = [dict(problem) for problem in error.errors(include_url=False)]
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short" or problem["ctx"]["actual_length"] == len(problem["input"])
    ]


def _render_problem(problem: dict[str, Any]) -> str:
    location = tuple(part for part in problem["loc"] if not _is_union_branch(part))
    path = _render_path(location)
    given = problem.get("input")
    kind = problem["type"]
    if kind == "extra_forbidden":
        return f"{path}: no such field{_suggest_field(location)}"
    if kind == "missing":
        return f"{path}: missing"
    if kind == "string_type" and isinstance(given, bool | int | float):
        quoted = str(given).lower() if isinstance(given, bool) else str(given)
        return f'{path}: {quoted} is not text; quote it: "{quoted}"'
    if kind == "duplicate":
        return f"{path}: {problem['msg']}"
    if given is None:
        return f"{path}: is empty (null); {_render_allowed(problem)}"
    return f"{path}: {_shorten(given)} is not allowed; {_render_allowed(problem)}"


def _render_allowed(problem: dict[str, Any]) -> str:
    context = problem.get("ctx") or {}
    match problem["type"]:
        case "enum" | "literal_error":
            allowed = str(context["expected"])
        case "string_pattern_mismatch":
            allowed = f"text that matches {context['pattern']}"
        case "string_too_long" | "string_too_short" | "too_long" | "too_short" as kind:
            unit = "characters" if kind.startswith("string") else "items"
            most, least = context.get("max_length"), context.get("min_length")
            allowed = f"{least} or more {unit}" if most is None else f"at most {most} {unit}"
        case "greater_than_equal":
            allowed = f"{context['ge']} or more"
        case "less_than_equal":
            allowed = f"{context['le']} or less"
        case kind:
            allowed = _KINDS.get(kind) or str(problem["msg"])
    return f"allowed: {allowed}"


def _render_path(location: tuple[Any, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the document"


def _is_union_branch(part: object) -> bool:
    # pydantic adds the name of the branch it tried, such as `function-after[...]`, to the place of a union's error.
    return isinstance(part, str) and ("[" in part or "(" in part)


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - one line of a terminal


def _suggest_field(location: tuple[Any, ...]) -> str:
    fields = _list_fields(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), fields, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; allowed: {', '.join(sorted(fields))}" if fields else ""


def _list_fields(location: tuple[Any, ...]) -> list[str]:
    """Returns the field names of the model at a place of the document, or nothing where there is none."""
    annotation: Any = SplitTraining
    for part in location:
        model = _find_model(annotation)
        if isinstance(part, int):
            continue
        field = next((info for info in model.model_fields.values() if info.alias == part), None) if model else None
        if field is None:
            return []
        annotation = field.annotation
    model = _find_model(annotation)
    return [info.alias or name for name, info in model.model_fields.items()] if model else []


def _find_model(annotation: object) -> type[BaseModel] | None:
    """Returns the model inside an optional, annotated or list type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list):
        for argument in get_args(annotation):
            model = _find_model(argument)
            if model is not None:
                return model
    return None
