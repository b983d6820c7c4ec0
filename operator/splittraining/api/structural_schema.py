"""Turns pydantic's JSON schema into the structural schema that a CustomResourceDefinition may hold.

The API server refuses much of what pydantic writes, and accepts some of it only to do nothing. What is listed here was
tried; everything else raises, so that nobody finds out at `kubectl apply`.

Source: Kubernetes documentation, "Extend the Kubernetes API with CustomResourceDefinitions", "Structural schemas".
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, JsonValue

Schema = dict[str, Any]

_INT_OR_STRING = "x-kubernetes-int-or-string"
_LIST_TYPE = "x-kubernetes-list-type"
_LIST_MAP_KEYS = "x-kubernetes-list-map-keys"

_KEPT = (
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxProperties",
    _LIST_TYPE,
    _LIST_MAP_KEYS,
)
"""Keywords that mean the same on both sides, in the order in which they are written."""

_DROPPED = ("title", "propertyNames")
"""Noise, and what a structural schema cannot say: the keys of a map stay unchecked by the API server."""

_HANDLED = ("$ref", "anyOf", "default", "description", "items", "properties", "additionalProperties", "required")


def build_structural_schema(model: type[BaseModel], *, defaults: bool) -> Schema:
    """Builds the structural schema of a model.

    Args:
        model: The model; its field names are taken as the outside sees them.
        defaults: Whether the API server is to fill in defaults: yes for a spec, no for a status, which would come back
            other than it was written.

    Raises:
        ValueError: if the model says something that a structural schema cannot hold.
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}), place=model.__name__, defaults=defaults)


def fill_defaults(value: JsonValue, schema: Schema) -> JsonValue:
    """Returns a value with the schema's defaults filled in, as the API server does before it validates."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = {name: fill_defaults(item, properties.get(name, {})) for name, item in value.items()}
        for name, below in properties.items():
            if name not in filled and "default" in below:
                filled[name] = fill_defaults(below["default"], below)
        return filled
    if isinstance(value, list):
        return [fill_defaults(item, schema.get("items", {})) for item in value]
    return value


def _convert(node: Schema, definitions: Schema, *, place: str, defaults: bool) -> Schema:
    node = _resolve(node, definitions, place)
    unknown = sorted(set(node) - {*_KEPT, *_DROPPED, *_HANDLED, "$defs", _INT_OR_STRING})
    if unknown:
        raise ValueError(f"{place}: a structural schema has no rule for {', '.join(unknown)}; add one or drop it")
    result: Schema = {}
    if "description" in node:
        result["description"] = " ".join(node["description"].split())
    if node.get(_INT_OR_STRING):
        result |= {_INT_OR_STRING: True, "anyOf": node["anyOf"]}
    result |= {key: node[key] for key in _KEPT if key in node}
    match node.get("type"):
        case "array":
            result["items"] = _convert(_get_items(node, place), definitions, place=f"{place}[]", defaults=False)
            _check_list_keys(result, place)
        case "object":
            result |= _convert_members(node, definitions, place=place, defaults=defaults)
        case None if not node.get(_INT_OR_STRING):
            raise ValueError(f"{place}: has no type; every value of a structural schema has exactly one")
        case "number":
            raise ValueError(f"{place}: is a float; use an integer or a decimal string")
    if defaults and node.get("default") is not None:
        result["default"] = _convert_default(node["default"], result, place)
    return result


def _resolve(node: Schema, definitions: Schema, place: str) -> Schema:
    """Returns a node with its reference inlined and `X or null` read as an absent X; siblings win."""
    siblings = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        return _resolve(definitions[node["$ref"].removeprefix("#/$defs/")] | siblings, definitions, place)
    if "anyOf" in node and not node.get(_INT_OR_STRING):
        branches = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
        if len(branches) != 1:
            raise ValueError(f"{place}: is a union; use one object with optional members and a rule")
        return _resolve(branches[0] | siblings, definitions, place)
    return node


def _convert_members(node: Schema, definitions: Schema, *, place: str, defaults: bool) -> Schema:
    """Returns the part of an object's schema that is about its fields, or about the values of a map."""
    if "properties" not in node:
        values = node.get("additionalProperties")
        if not isinstance(values, dict):
            raise ValueError(f"{place}: is an object of unknown fields; declare them")
        return {"additionalProperties": _convert(values, definitions, place=f"{place}.*", defaults=False)}
    members: Schema = {
        "properties": {
            name: _convert(below, definitions, place=f"{place}.{name}", defaults=defaults)
            for name, below in node["properties"].items()
        }
    }
    if node.get("required"):
        members["required"] = node["required"]
    return members


def _get_items(node: Schema, place: str) -> Schema:
    if "items" not in node:
        raise ValueError(f"{place}: is a list of unknown items; declare them")
    if _LIST_TYPE not in node:
        raise ValueError(f"{place}: is a list without a kind; mark it ATOMIC or as a ListMap")
    items: Schema = node["items"]
    return items


def _check_list_keys(schema: Schema, place: str) -> None:
    optional = set(schema.get(_LIST_MAP_KEYS, ())) - set(schema["items"].get("required", ()))
    if optional:
        raise ValueError(f"{place}: its key {', '.join(sorted(optional))} may be absent; make it required")


def _convert_default(default: JsonValue, schema: Schema, place: str) -> JsonValue:
    if "enum" in schema and default not in schema["enum"]:
        raise ValueError(f"{place}: its default {default!r} is not among {schema['enum']}")
    if "properties" not in schema:
        return default
    # The API server fills an empty object from the defaults below it: said once there, they cannot differ here. It
    # refuses such a default over required fields; a default that names them fails here.
    if _drop_nulls(default) != fill_defaults({}, schema):
        raise ValueError(f"{place}: its default is more than the defaults of its fields; a structural one cannot be")
    return {}


def _drop_nulls(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _drop_nulls(item) for key, item in value.items() if item is not None}
    return value
