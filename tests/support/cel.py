"""Rules in CEL, tried as the API server tries them: on the object with the schema's defaults filled in."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import celpy
from celpy.adapter import json_to_cel

from splittraining.api.crd import build_schema
from splittraining.api.structural_schema import fill_defaults

_ENVIRONMENT = celpy.Environment()


def see_as_api_server(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a manifest as rules see it: defaults filled in where the schema has some, everything else as written."""
    return dict(fill_defaults(dict(manifest), _build_schema()))


def evaluate_rule(cel: str, path: str, new: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> bool:
    """Returns whether a rule holds at every place that its path names.

    Args:
        cel: The rule.
        path: Where `self` is, such as `spec.clients[].data`; absent places are passed over.
        new: The object, as `see_as_api_server` returns it.
        old: The object before the change, for a rule about changes.
    """
    results = []
    for place, value in _iterate_places(new, path):
        names = {"self": value}
        if old is not None:
            names["oldSelf"] = dict(_iterate_places(old, path))[place]
        results.append(evaluate_cel(cel, **names))
    return all(results)


def evaluate_cel(cel: str, **names: Any) -> bool:
    """Returns what a rule says of plain values, as they are: nothing is filled in."""
    read = {name: _keep_what_is_read(cel, name, value) for name, value in names.items()}
    return _evaluate(cel, json.dumps(read, sort_keys=True))


def _keep_what_is_read(cel: str, name: str, value: Any) -> Any:
    """Leaves out the fields that a rule does not name, so that objects that differ elsewhere are one case to it."""
    uses = re.findall(rf"\b{name}\b(?:\.(\w+)\b(?!\())?", cel)
    return {key: value[key] for key in uses if key in value} if isinstance(value, dict) and all(uses) else value


@functools.cache
def _evaluate(cel: str, names: str) -> bool:
    return bool(_compile(cel).evaluate({name: json_to_cel(value) for name, value in json.loads(names).items()}))


@functools.cache
def _build_schema() -> dict[str, Any]:
    return build_schema()


@functools.cache
def _compile(cel: str) -> celpy.Runner:
    return _ENVIRONMENT.program(_ENVIRONMENT.compile(cel))


def _iterate_places(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if not path:
        yield "", value
        return
    part, _, rest = path.partition(".")
    name = part.removesuffix("[]")
    if name not in value:
        return
    for index, item in enumerate(value[name]) if part.endswith("[]") else [("", value[name])]:
        for place, found in _iterate_places(item, rest):
            yield f"{name}{index}.{place}", found
