"""Whether a document fits a JSON Schema, for the keywords that crmkit's schema uses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Schema = Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
    "integer": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and v == int(v),
}
_NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda v, limit: v >= limit,
    "maximum": lambda v, limit: v <= limit,
    "exclusiveMinimum": lambda v, limit: v > limit,
}
_TEXTS: dict[str, Callable[[str, Any], bool]] = {
    "minLength": lambda v, limit: len(v) >= limit,
    "maxLength": lambda v, limit: len(v) <= limit,
    "pattern": lambda v, pattern: re.search(pattern, v) is not None,
}
_LISTS: dict[str, Callable[[list[Any], Any], bool]] = {
    "minItems": lambda v, limit: len(v) >= limit,
    "maxItems": lambda v, limit: len(v) <= limit,
}


def fits(value: Any, schema: Schema, root: Schema = None) -> bool:
    """Whether the value fits; an unknown keyword of the schema is a `KeyError`."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    return all(_holds(keyword, says, value, schema, root) for keyword, says in schema.items())


def _holds(keyword: str, says: Any, value: Any, schema: Schema, root: Schema) -> bool:
    match keyword:
        case "$schema" | "$defs" | "title" | "description" | "format":
            return True
        case "$ref":
            return fits(value, root["$defs"][says.removeprefix("#/$defs/")], root)
        case "anyOf" | "oneOf":
            fitting = sum(fits(value, one, root) for one in says)
            return fitting == 1 if keyword == "oneOf" else fitting > 0
        case "not":
            return not fits(value, says, root)
        case "type":
            return any(_TYPES[t](value) for t in ([says] if isinstance(says, str) else says))
        case "enum" | "const":
            return value in (says if keyword == "enum" else [says])
        case "items":
            return not isinstance(value, list) or all(fits(item, says, root) for item in value)
    if keyword in _OBJECT:
        return not isinstance(value, dict) or _of_object(keyword, says, value, schema, root)
    return _of_kind(keyword, says, value)


_OBJECT = {"properties", "required", "additionalProperties"}


def _of_object(keyword: str, says: Any, value: Any, schema: Schema, root: Schema) -> bool:
    if keyword == "required":
        return all(key in value for key in says)
    if keyword == "properties":
        return all(fits(value[key], of, root) for key, of in says.items() if key in value)
    return bool(says) or all(key in schema["properties"] for key in value)


def _of_kind(keyword: str, says: Any, value: Any) -> bool:
    if keyword in _TEXTS:
        return not isinstance(value, str) or _TEXTS[keyword](value, says)
    if keyword in _LISTS:
        return not isinstance(value, list) or _LISTS[keyword](value, says)
    return not _TYPES["number"](value) or _NUMBERS[keyword](value, says)
