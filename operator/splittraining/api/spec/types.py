"""Field types that several parts of the spec share, and the markers that a CRD needs for its lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

NAME_PATTERN = r"^[a-z]([a-z0-9-]*[a-z0-9])?$"
"""A DNS label that starts with a letter: names of trainings and parties become parts of host names."""

NAME_LENGTH = 40
"""Most characters of such a name: it becomes part of names that may have 63."""

DECIMAL_PATTERN = r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
"""A non-negative decimal number as text: text survives every JSON reader unchanged, a float does not."""

PartyName = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=NAME_PATTERN)]
Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Identifier = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Entrypoint = Annotated[
    str, Field(min_length=3, max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$")
]
Decimal = Annotated[str, Field(min_length=1, max_length=32, pattern=DECIMAL_PATTERN)]
Column = Annotated[str, Field(min_length=1, max_length=253)]
RelativePath = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^/].*$")]
Image = Annotated[str, Field(min_length=1, max_length=512)]
ArgumentName = Annotated[str, Field(max_length=63)]
ArgumentValue = Annotated[str, Field(max_length=1024)]
Arguments = Annotated[dict[ArgumentName, ArgumentValue], Field(max_length=64)]
LabelValue = Annotated[str, Field(max_length=63)]
Count = Annotated[int, Field(strict=True)]


def _accept_whole_number(value: object) -> object:
    return str(value) if type(value) is int else value


Quantity = Annotated[
    str,
    Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$"),
    BeforeValidator(_accept_whole_number),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "pattern": r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$",
        }
    ),
]
"""A Kubernetes quantity: ``1``, ``"500m"``, ``8Gi``. Whole numbers may stand unquoted, as everywhere in Kubernetes."""


@dataclass(frozen=True, slots=True)
class ListMap:
    """Marks a list whose items are told apart by one field, so that server-side apply can merge them."""

    key: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._refuse_duplicates, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}

    def _refuse_duplicates(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        keys = [getattr(item, self.key) for item in items]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise PydanticCustomError(
                "duplicate",
                "{key} {names} is given more than once; each must be unique",
                {"key": self.key, "names": ", ".join(twice)},
            )
        return items


ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
"""Marks a list that is written as a whole: its order or its completeness is its meaning."""
