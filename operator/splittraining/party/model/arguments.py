"""Factory arguments: a manifest holds strings, a signature says what they mean."""

# ruff: noqa: ANN401 - annotations are objects of many kinds, and so are the values they describe

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from splittraining.api.errors import ModelInvalid

_BOOLEANS = {"true": True, "false": False}


def parse_arguments(
    function: Callable[..., Any], arguments: Mapping[str, str], *, num_given: int = 0
) -> dict[str, Any]:
    """Parses strings by the annotations of the parameters they go to.

    Args:
        function: The factory, loss or loader that will be called.
        arguments: Strings by parameter name, as the manifest has them.
        num_given: Leading parameters that the caller fills itself: a loss's output and label, a loader's path.

    Returns:
        Keyword arguments for the call.

    Raises:
        ModelInvalid: if a name is no parameter, a text does not fit its annotation, or a required parameter is missing.
    """
    parameters = inspect.signature(function).parameters
    rest = list(parameters.items())[num_given:]
    named = {n: p for n, p in rest if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    annotations = _get_annotations(function)
    parsed: dict[str, Any] = {}
    for name, text in arguments.items():
        if name not in named and not takes_any:
            raise _refuse_name(function, name, named)
        parsed[name] = _parse(text, annotations.get(name, _get_default_type(named.get(name))), name)
    missing = [n for n, p in named.items() if p.default is p.empty and n not in arguments]
    if missing:
        raise ModelInvalid(
            f"{function.__qualname__} needs {', '.join(missing)}, which arguments does not give",
            remedy="add them under arguments, or give the parameters defaults",
        )
    return parsed


def _get_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    target = function.__init__ if inspect.isclass(function) else function
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError):  # an annotation under TYPE_CHECKING: the defaults' types must do
        return {}


def _get_default_type(parameter: inspect.Parameter | None) -> Any:
    if parameter is None or parameter.default is None or parameter.default is parameter.empty:
        return str
    return type(parameter.default)


def _refuse_name(function: Callable[..., Any], name: str, named: Mapping[str, Any]) -> ModelInvalid:
    near = difflib.get_close_matches(name, named)
    return ModelInvalid(
        f"{function.__qualname__} has no parameter {name!r}",
        allowed=", ".join(named) or "no arguments at all",
        remedy=f"did you mean {near[0]!r}?" if near else "remove the argument or add the parameter",
    )


def _parse(text: str, kind: Any, name: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        members = typing.get_args(kind)
        if type(None) in members and text in ("", "None", "null"):
            return None
        return _parse_first(text, [m for m in members if m is not type(None)], name)
    if origin is typing.Literal:
        allowed = {str(member): member for member in typing.get_args(kind)}
        if text in allowed:
            return allowed[text]
        raise _refuse_text(text, name, "one of " + ", ".join(allowed))
    if kind in (tuple, list) or origin in (tuple, list):
        return _parse_sequence(text, kind, name)
    return _parse_scalar(text, kind, name)


def _parse_first(text: str, kinds: list[Any], name: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return _parse(text, kind, name)
        except ModelInvalid:
            continue
    return _parse(text, kinds[-1], name)


def _parse_sequence(text: str, kind: Any, name: str) -> Any:
    items = [item.strip() for item in text.strip().strip("()[]").split(",") if item.strip()]
    members = [m for m in typing.get_args(kind) if m is not Ellipsis] or [str]
    kinds = members * len(items) if len(members) == 1 else members
    if len(kinds) != len(items):
        raise _refuse_text(text, name, f"{len(kinds)} values separated by commas")
    values = [_parse(item, member, name) for item, member in zip(items, kinds, strict=True)]
    return values if kind is list or typing.get_origin(kind) is list else tuple(values)


def _parse_scalar(text: str, kind: Any, name: str) -> Any:
    if kind is str or kind is Any:
        return text
    if kind is bool:
        if text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        raise _refuse_text(text, name, "true or false")
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise _refuse_text(text, name, "a whole number" if kind is int else "a number") from None
    raise ModelInvalid(
        f"argument {name!r} is annotated {kind!r}, which a text cannot become",
        allowed="str, int, float, bool, Literal, tuples and lists of these, and None beside them",
        remedy="take one of these and build the object inside the factory",
    )


def _refuse_text(text: str, name: str, allowed: str) -> ModelInvalid:
    return ModelInvalid(f"argument {name!r} is {text!r}", allowed=allowed, remedy="correct it under arguments")
