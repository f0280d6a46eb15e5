"""The rule language as a JSON Schema, made from the tables that `parse` reads by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from crmkit.config import Settings
from crmkit.model.time import CALENDAR_UNITS
from crmkit.segmentation.fields import (
    ALIASES,
    FIELDS,
    MEASURES,
    OCCASION_FIELDS,
    Field,
    Source,
    Type,
)
from crmkit.segmentation.reading_doings import FOLLOWERS, WINDOWS, kinds_asked
from crmkit.segmentation.rules import GROUPS
from crmkit.segmentation.values import (
    MAX_DAYS,
    MAX_LIST,
    MAX_METRES,
    MAX_SEGMENT,
    MAX_TEXT,
    SAME_AS,
)

Schema: TypeAlias = dict[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_FLAG: Final[Schema] = {"type": "boolean"}
_TEXT: Final[Schema] = {"type": "string", "maxLength": MAX_TEXT}
_NUMBER: Final[Schema] = {"type": "number"}
_SEGMENT: Final[Schema] = {"type": "string", "minLength": 1, "maxLength": MAX_SEGMENT}
_MOMENT: Final[Schema] = {"type": "string", "pattern": r"^\s*[0-9]{4}-?([0-9]{2}|W)"}
_LENGTH: Final[Schema] = {"type": "string", "pattern": r"^\s*[0-9]{1,5}\s*(h|d|w|mo|y)\s*$"}
_CALENDAR: Final[Schema] = {
    "type": "string",
    "pattern": rf"^\s*(today|yesterday|(this|last) ({'|'.join(CALENDAR_UNITS)}))\s*$",
}
_DAYS: Final[Schema] = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": MAX_DAYS},
        {"type": "string", "pattern": r"^\s*[0-9]{1,5}\s*d\s*$"},
    ]
}
_PERCENT: Final[Schema] = {"type": "number", "exclusiveMinimum": 0, "maximum": 100}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 1}
_OF_TYPE: Final[dict[Type, Schema]] = {
    Type.TEXT: _TEXT,
    Type.NUMBER: _NUMBER,
    Type.MONEY: {"type": ["number", "string"]},
    Type.SHARE: {"type": "number", "minimum": 0, "maximum": 1},
    Type.MOMENT: _MOMENT,
    Type.DATE: {"type": "string", "pattern": r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}\s*$"},
    Type.FLAG: _FLAG,
    Type.LIST: _TEXT,
    Type.JSON: {"type": ["string", "number", "boolean"]},
}
_OF_OPERATOR: Final[dict[str, Schema]] = {
    "exists": _FLAG,
    "within": _LENGTH,
    "not_within": _LENGTH,
    "during": _CALENDAR,
    "anniversary_within": _DAYS,
    "contains": _TEXT,
    "starts_with": _TEXT,
    "top_percent": _PERCENT,
    "bottom_percent": _PERCENT,
    "top_count": _COUNT,
    "bottom_count": _COUNT,
}


def json_schema(settings: Settings | None = None) -> Schema:
    """The JSON Schema (draft 2020-12) of rules for a tenant with these settings.

    `parse` takes no document that it refuses. Some that it takes are refused by `parse`,
    for what a schema cannot say: limits of a whole rule, the order of two values, dates
    that no calendar has.
    """
    known = settings or Settings()
    return {
        "$schema": _DRAFT,
        "title": "Segment rule",
        "$ref": "#/$defs/rule",
        "$defs": {
            "rule": {"anyOf": [_group("rule"), *_leaves(known), *_doings()]},
            "where": {"anyOf": [_group("where"), *_compared(OCCASION_FIELDS.values(), known)]},
            "wheres": {
                "anyOf": [
                    _ref("where"),
                    {"type": "array", "minItems": 1, "items": _ref("where")},
                ]
            },
            "kind": {"enum": list(kinds_asked(known))},
            "window": _window(),
            "follower": _object(
                {"did": _ref("kind"), "within": _LENGTH}, {"where": _ref("wheres")}
            ),
            **{name: _measure(field, known) for name, field in MEASURES.items()},
        },
    }


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _group(of: str) -> Schema:
    inner = {"type": "array", "minItems": 1, "items": _ref(of)}
    several = _object(
        {"operator": {"enum": [g for g in GROUPS if g != "not"]}, "conditions": inner}
    )
    negated = _object({"operator": {"const": "not"}, "conditions": inner | {"maxItems": 1}})
    return {"anyOf": [several, negated]}


def _leaves(settings: Settings) -> Iterator[Schema]:
    yield from _compared(FIELDS.values(), settings)
    others = {
        r"^custom\.(.|\s)": Type.JSON,
        r"^consent\.[a-z0-9][a-z0-9_]*_[a-z0-9]+$": Type.FLAG,
    }
    for pattern, kind in others.items():
        field = Field("", kind, Source.CUSTOM, "")
        yield from _comparisons({"pattern": pattern, "type": "string"}, field, settings)
    names = {"anyOf": [_SEGMENT, _several(_SEGMENT)]}
    segment = {"const": "segment"}
    yield _comparison(segment, ["=", "=="], _SEGMENT)
    yield _comparison(segment, ["in", "not_in"], names)
    yield _object({"in_segment": _SEGMENT})
    yield _comparison({"const": "location"}, ["near"], _point())


def _point() -> Schema:
    return _object(
        {
            "latitude": {"type": "number", "minimum": -90, "maximum": 90},
            "longitude": {"type": "number", "minimum": -180, "maximum": 180},
            "km": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_METRES / 1_000},
        }
    )


def _compared(fields: Iterable[Field], settings: Settings) -> Iterator[Schema]:
    """Comparisons of fields, those that take the same operators together."""
    alike: dict[tuple[Type, tuple[str, ...]], list[Field]] = {}
    for field in fields:
        alike.setdefault((field.type, field.operators), []).append(field)
    for first, *more in alike.values():
        names = [name for field in (first, *more) for name in _spellings(field)]
        yield from _comparisons({"enum": names}, first, settings)


def _spellings(field: Field) -> list[str]:
    if field.source is Source.OCCASION:
        return [field.name]
    return [field.name, *(alias for alias, name in ALIASES.items() if name == field.name)]


def _comparisons(name: Schema, field: Field, settings: Settings) -> Iterator[Schema]:
    """What a field is compared with, the operators that take the same values together."""
    for operators, value in _values(field, settings):
        yield _comparison(name, operators, value)


def _comparison(name: Schema, operators: list[str], value: Schema) -> Schema:
    return _asked({"field": name}, operators, value)


def _asked(required: Schema, operators: list[str], value: Schema) -> Schema:
    required = required | {"operator": {"enum": operators}}
    if operators == ["exists"]:
        return _object(required, {"value": value})
    return _object(required | {"value": value})


def _values(field: Field, settings: Settings) -> Iterator[tuple[list[str], Schema]]:
    alike: list[tuple[list[str], Schema]] = []
    for operator in field.operators:
        value = _value(operator, field, settings)
        for operators, known in alike:
            # What may be left out of a comparison stands alone.
            if known == value and "exists" not in (operator, *operators):
                operators.append(operator)
                break
        else:
            alike.append(([operator], value))
    for operators, value in alike:
        yield operators + [o for o, same in SAME_AS.items() if same in operators], value


def _value(operator: str, field: Field, settings: Settings) -> Schema:
    if operator in _OF_OPERATOR:
        return _OF_OPERATOR[operator]
    one = _OF_TYPE.get(field.type) or {"enum": [*settings.programme.ranks]}
    if operator == "between":
        return {"type": "array", "items": one, "minItems": 2, "maxItems": 2}
    if operator in ("contains_any", "contains_all"):
        return _several(_TEXT)
    return _several(one) if operator in ("in", "not_in") else one


def _several(one: Schema) -> Schema:
    return {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_LIST}


def _doings() -> Iterator[Schema]:
    kind, window = _ref("kind"), _ref("window")
    optional = {"where": _ref("wheres"), **dict.fromkeys(WINDOWS, True)}
    yield _object({"did": kind}, optional) | window
    yield _object({"did_not": kind}, optional) | window
    for name in MEASURES:
        per = {"per": {"enum": list(CALENDAR_UNITS)}} if name == "count" else {}
        yield _object({"did": kind, name: _ref(name)}, optional | per) | window
    for name in FOLLOWERS:
        yield _object({"did": kind, name: _ref("follower")}, optional) | window


def _window() -> Schema:
    """At most one of the ways to say when."""
    values = {"within": _LENGTH, "during": _CALENDAR, "since": _MOMENT, "until": _MOMENT}
    ends = {"anyOf": [{"required": ["since"]}, {"required": ["until"]}]}
    ways: list[Schema] = [{"required": ["within"]}, {"required": ["during"]}, ends]
    return {"properties": values, "oneOf": [{"not": {"anyOf": ways}}, *ways]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _measure(field: Field, settings: Settings) -> Schema:
    asked = [_asked({}, *values) for values in _values(field, settings)]
    if field.type is not Type.MOMENT:
        asked.append(_OF_TYPE[field.type])
    return {"anyOf": asked}
