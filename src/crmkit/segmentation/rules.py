"""Reading a JSON rule: every name, type and limit is checked before anything is stored."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final, TypeVar

import attrs

from crmkit.config import Settings
from crmkit.errors import InvalidInput, RuleError, unknown
from crmkit.model.money import to_minor
from crmkit.model.rule import AllOf, AnyOf, Compare, Not, Rule
from crmkit.model.time import Duration, calendar_date, instant
from crmkit.segmentation.fields import Field, Type, find

MAX_DEPTH: Final = 16
MAX_NODES: Final = 1_000
MAX_LIST: Final = 1_000
MAX_LISTED: Final = 5_000  # in all lists together: databases bound the parameters of a query
MAX_TEXT: Final = 1_000
_MAX_NUMBER: Final = 2**53  # beyond it a float no longer tells whole numbers apart

_GROUPS: Final = ("and", "or", "not")
_SAME_AS: Final = {"==": "="}
_ORDERED: Final = ("=", "!=", "<", "<=", ">", ">=", "between")
_LISTED: Final = ("in", "not_in")
_CONTAINS: Final = ("contains", "contains_any", "contains_all")

OPERATORS: Final[Mapping[Type, tuple[str, ...]]] = {
    Type.TEXT: (*_ORDERED, *_LISTED, *_CONTAINS, "starts_with", "exists"),
    Type.NUMBER: (*_ORDERED, *_LISTED, "exists"),
    Type.MONEY: (*_ORDERED, *_LISTED, "exists"),
    Type.MOMENT: (*_ORDERED, "before", "after", "within", "not_within", "exists"),
    Type.DATE: (*_ORDERED, *_LISTED, "before", "after", "exists"),
    Type.FLAG: ("=", "!=", "exists"),
    Type.LIST: (*_CONTAINS, "exists"),
    Type.TIER: (*_ORDERED, *_LISTED, "exists"),
    Type.JSON: (*_ORDERED, *_LISTED, *_CONTAINS, "starts_with", "exists"),
}
"""The operators that each type of field takes."""

_CANONICAL: Final = {**_SAME_AS, "before": "<", "after": ">"}
_EVERY_OPERATOR: Final = frozenset(o for of in OPERATORS.values() for o in of) | set(_SAME_AS)
_LISTS: Final = frozenset({*_LISTED, "contains_any", "contains_all"})
_OF_TEXT: Final = frozenset({*_CONTAINS, "starts_with"})
_ALIKE: Final = frozenset({*_ORDERED, *_LISTED}) - {"=", "!="}

T = TypeVar("T")


def parse(document: object, settings: Settings) -> Rule:
    """The rule that a JSON document says, with its values converted and checked.

    Raises `RuleError` whose `field` is the path into the document.
    """
    return _Parser(settings).rule(document, "", 1)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


@attrs.define
class _Parser:
    settings: Settings
    nodes: int = 0
    listed: int = 0

    def rule(self, document: object, path: str, depth: int) -> Rule:
        # Both limits are checked before going deeper, so that hostile input costs little.
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise RuleError(f"nested deeper than {MAX_DEPTH} levels", field=path)
        if self.nodes > MAX_NODES:
            raise RuleError(f"more than {MAX_NODES:,} conditions", field=path)
        if not isinstance(document, Mapping):
            raise RuleError(
                f"expected an object such as {_EXAMPLE}, got {_kind(document)}", field=path or None
            )
        if "conditions" in document:
            return self.group(document, path, depth)
        return self.leaf(document, path)

    def group(self, document: Mapping[Any, Any], path: str, depth: int) -> Rule:
        _only(document, ("operator", "conditions"), path)
        operator = _text_of(document, "operator", path)
        if operator not in _GROUPS:
            message = unknown("group operator", operator, _GROUPS)
            raise RuleError(message, field=_join(path, "operator"))
        inner = _join(path, "conditions")
        conditions = document["conditions"]
        if not isinstance(conditions, (list, tuple)):
            raise RuleError(f"expected a list, got {_kind(conditions)}", field=inner)
        if not conditions:
            raise RuleError("expected at least one condition", field=inner)
        if operator == "not" and len(conditions) != 1:
            raise RuleError("'not' takes exactly one condition", field=inner)
        parts = tuple(self.rule(c, f"{inner}[{i}]", depth + 1) for i, c in enumerate(conditions))
        if operator == "not":
            return Not(parts[0])
        return AllOf(parts) if operator == "and" else AnyOf(parts)

    def leaf(self, document: Mapping[Any, Any], path: str) -> Compare:
        _only(document, ("field", "operator", "value", "conditions"), path)
        where = _join(path, "field")
        field = find(_checked_text(_text_of(document, "field", path), where), path=where)
        where = _join(path, "operator")
        operator = _text_of(document, "operator", path)
        if operator not in _EVERY_OPERATOR:
            raise RuleError(unknown("operator", operator, _EVERY_OPERATOR), field=where)
        operator = _SAME_AS.get(operator, operator)
        if operator not in OPERATORS[field.type]:
            allowed = ", ".join(OPERATORS[field.type])
            raise RuleError(
                f"{operator!r} does not work on {field.name!r} ({field.type.value}); use {allowed}",
                field=where,
            )
        where = _join(path, "value")
        if "value" not in document and operator != "exists":
            raise RuleError("missing", field=where)
        value = self.value(field, operator, document.get("value", True), where)
        return Compare(field.name, _CANONICAL.get(operator, operator), value)

    def value(self, field: Field, operator: str, raw: object, path: str) -> object:
        if operator == "exists":
            return _flag(raw, path)
        if operator in ("within", "not_within"):
            return _duration(raw, path)
        if field.type is Type.JSON and operator in _ALIKE:
            _check_alike(raw, path)

        def read(item: object, where: str) -> object:
            if operator in _OF_TEXT:
                return _checked_text(item, where)
            return _READ[field.type](item, where, self.settings)

        if operator == "between":
            return self.pair(field, raw, path, read)
        return self.several(raw, path, read) if operator in _LISTS else read(raw, path)

    def several(self, raw: object, path: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
        if not isinstance(raw, (list, tuple)):
            raise RuleError(f"expected a list, got {_kind(raw)}", field=path)
        if not 0 < len(raw) <= MAX_LIST:
            raise RuleError(f"expected 1 to {MAX_LIST:,} values, got {len(raw):,}", field=path)
        self.listed += len(raw)
        if self.listed > MAX_LISTED:
            raise RuleError(f"more than {MAX_LISTED:,} values in the rule's lists", field=path)
        return tuple(read(item, f"{path}[{i}]") for i, item in enumerate(raw))

    def pair(
        self, field: Field, raw: object, path: str, read: Callable[[object, str], Any]
    ) -> tuple[object, object]:
        if not isinstance(raw, (list, tuple)) or len(raw) != 2:
            raise RuleError("expected a list of two: [from, to], both included", field=path)
        low, high = (read(item, f"{path}[{i}]") for i, item in enumerate(raw))
        if field.type is Type.TIER:
            rank = [tier.name for tier in self.settings.tiers].index
            ordered = rank(low) <= rank(high)
        else:
            ordered = low <= high
        if not ordered:
            raise RuleError("expected [from, to] with from not above to", field=path)
        return low, high


_EXAMPLE: Final = '{"field": "total_spend", "operator": ">=", "value": 100}'


def _kind(value: object) -> str:
    """What a value is, in JSON's words; the value itself may be personal or huge."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
    return type(value).__name__


def _only(document: Mapping[Any, Any], keys: tuple[str, ...], path: str) -> None:
    for key in document:
        if key not in keys:
            name = key if isinstance(key, str) else _kind(key)
            raise RuleError(unknown("key", name, keys), field=path or None)


def _text_of(document: Mapping[Any, Any], key: str, path: str) -> str:
    if key not in document:
        raise RuleError("missing", field=_join(path, key))
    value = document[key]
    if not isinstance(value, str):
        raise RuleError(f"expected a name, got {_kind(value)}", field=_join(path, key))
    return value


def _checked_text(raw: object, path: str) -> str:
    if not isinstance(raw, str):
        raise RuleError(f"expected text, got {_kind(raw)}", field=path)
    if len(raw) > MAX_TEXT:
        raise RuleError(f"longer than {MAX_TEXT:,} characters", field=path)
    # PostgreSQL stores neither, so no field can hold them.
    if "\0" in raw or any("\ud800" <= c <= "\udfff" for c in raw):
        raise RuleError("text with NUL or half of a surrogate pair", field=path)
    return raw


def _flag(raw: object, path: str, _: Settings | None = None) -> bool:
    if not isinstance(raw, bool):
        raise RuleError(f"expected true or false, got {_kind(raw)}", field=path)
    return raw


def _number(raw: object, path: str) -> int | float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise RuleError(f"expected a number, got {_kind(raw)}", field=path)
    if isinstance(raw, float) and not math.isfinite(raw):
        raise RuleError("expected a finite number", field=path)
    if abs(raw) > _MAX_NUMBER:
        raise RuleError("number out of range (2 to the power of 53)", field=path)
    return int(raw) if raw == int(raw) else raw


def _scalar(raw: object, path: str) -> bool | int | float | str:
    if isinstance(raw, bool):
        return raw
    return _checked_text(raw, path) if isinstance(raw, str) else _number(raw, path)


def _check_alike(raw: object, path: str) -> None:
    """Texts or numbers, not both: what is of another kind than the value never compares."""
    several = isinstance(raw, (list, tuple))
    items = raw[:MAX_LIST] if isinstance(raw, (list, tuple)) else [raw]
    for i, item in enumerate(items):
        if _kind(item) not in ("text", "a number") or _kind(item) != _kind(items[0]):
            where = f"{path}[{i}]" if several else path
            raise RuleError("expected numbers only, or texts only", field=where)


def _amount(raw: object, path: str, settings: Settings) -> int:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        raise RuleError(f"expected an amount such as 150, got {_kind(raw)}", field=path)
    return _converted(path, lambda: to_minor(raw, settings.currency, field=path))


_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _moment(raw: object, path: str, settings: Settings) -> datetime:
    text = _checked_text(raw, path).strip()

    def read() -> datetime:
        if not _ISO_DATE.fullmatch(text):
            return instant(text, field=path)
        day = calendar_date(text, field=path)
        midnight = datetime(day.year, day.month, day.day, tzinfo=settings.zone)
        return instant(midnight, field=path)

    return _converted(path, read)


def _day(raw: object, path: str) -> date:
    text = _checked_text(raw, path)
    return _converted(path, lambda: calendar_date(text, field=path))


def _duration(raw: object, path: str) -> Duration:
    text = _checked_text(raw, path)
    return _converted(path, lambda: Duration.parse(text, field=path))


def _tier(raw: object, path: str, settings: Settings) -> str:
    name = _checked_text(raw, path)
    names = [tier.name for tier in settings.tiers]
    if name not in names:
        raise RuleError(unknown("tier", name, names), field=path)
    return name


def _converted(path: str, convert: Callable[[], T]) -> T:
    try:
        return convert()
    except InvalidInput as error:
        message = str(error).removeprefix(f"{path}: ")
        raise RuleError(message, field=path) from None
    except (ValueError, OverflowError):
        raise RuleError("out of range", field=path) from None


_READ: Final[Mapping[Type, Callable[[object, str, Settings], object]]] = {
    Type.TEXT: lambda raw, path, _: _checked_text(raw, path),
    Type.NUMBER: lambda raw, path, _: _number(raw, path),
    Type.MONEY: _amount,
    Type.MOMENT: _moment,
    Type.DATE: lambda raw, path, _: _day(raw, path),
    Type.FLAG: _flag,
    Type.TIER: _tier,
    Type.JSON: lambda raw, path, _: _scalar(raw, path),
}
