"""What every document of the API shares: camelCase on the outside, frozen inside, unknown fields refused."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Document(BaseModel):
    """Base of all models here: immutable, strict about names, camelCase in YAML and JSON."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    def as_json_object(self) -> dict[str, Any]:
        """Returns the document as plain JSON values with unset defaults left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def render_canonical_json(value: object) -> bytes:
    """Renders JSON that is the same byte for byte everywhere: sorted keys, no spaces, UTF-8, no floats.

    Raises:
        TypeError: if a float is inside; numbers that parties must agree on are integers or decimal strings.
    """
    _refuse_floats(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def compute_digest(value: object) -> str:
    """Returns ``sha256:<hex>`` of the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(render_canonical_json(value)).hexdigest()


def _refuse_floats(value: object) -> None:
    if isinstance(value, float):
        raise TypeError(f"canonical JSON holds no floats, got {value!r}; use a decimal string")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)
