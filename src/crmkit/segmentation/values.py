"""Reading the values of a JSON rule: typed, bounded, and never repeated in an error."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, TypeVar

import attrs

from crmkit.config import Settings
from crmkit.errors import InvalidInput, RuleError, unknown
from crmkit.model import document
from crmkit.model.money import to_minor
from crmkit.model.rule import Compare, Near
from crmkit.model.time import Calendar, Duration, calendar_date, instant, midnight
from crmkit.segmentation.fields import OPERATORS, RANKINGS, WHOLE_PPM, Field, Type

MAX_LIST: Final = 1_000
MAX_LISTED: Final = 5_000  # in all lists together: databases bound the parameters of a query
MAX_TEXT: Final = 1_000
MAX_SEGMENT: Final = 100  # letters of a segment's name
MAX_DAYS: Final = 366
MAX_METRES: Final = 200_000
_MAX_NUMBER: Final = 2**53  # beyond it a float no longer tells whole numbers apart

SAME_AS: Final[Mapping[str, str]] = {"==": "="}
"""Other spellings of operators."""

_CANONICAL: Final = {"before": "<", "after": ">"}
_EVERY_OPERATOR: Final = frozenset(o for of in OPERATORS.values() for o in of).union(
    RANKINGS, SAME_AS
)
_LISTS: Final = frozenset({"in", "not_in", "contains_any", "contains_all"})
_OF_TEXT: Final = frozenset({"contains", "contains_any", "contains_all", "starts_with"})
_ALIKE: Final = frozenset({"<", "<=", ">", ">=", "between", "in", "not_in"})

T = TypeVar("T")


def join(path: str, key: str) -> str:
    """The path of a key of what stands at `path`."""
    return f"{path}.{key}" if path else key


def kind(value: object) -> str:
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


def only(given: Mapping[Any, Any], keys: tuple[str, ...], path: str) -> None:
    """Refuse any other key."""
    for key in given:
        if key not in keys:
            name = key if isinstance(key, str) else kind(key)
            raise RuleError(unknown("key", name, keys), field=path or None)


def name_of(given: Mapping[Any, Any], key: str, path: str) -> str:
    """The name that stands under a key."""
    if key not in given:
        raise RuleError("missing", field=join(path, key))
    value = given[key]
    if not isinstance(value, str):
        raise RuleError(f"expected a name, got {kind(value)}", field=join(path, key))
    return value


def mapping(raw: object, path: str, example: str) -> Mapping[Any, Any]:
    """An object."""
    if not isinstance(raw, Mapping):
        message = f"expected an object such as {example}, got {kind(raw)}"
        raise RuleError(message, field=path or None)
    return raw


def checked_text(raw: object, path: str) -> str:
    """Text that every storage can compare with."""
    if not isinstance(raw, str):
        raise RuleError(f"expected text, got {kind(raw)}", field=path)
    if len(raw) > MAX_TEXT:
        raise RuleError(f"longer than {MAX_TEXT:,} characters", field=path)
    # PostgreSQL stores neither, so no field can hold them.
    if "\0" in raw or any("\ud800" <= c <= "\udfff" for c in raw):
        raise RuleError("text with NUL or half of a surrogate pair", field=path)
    return raw


def number(raw: object, path: str) -> int | float:
    """A finite number; a whole one as an int."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise RuleError(f"expected a number, got {kind(raw)}", field=path)
    if isinstance(raw, float) and not math.isfinite(raw):
        raise RuleError("expected a finite number", field=path)
    if abs(raw) > _MAX_NUMBER:
        raise RuleError("number out of range (2 to the power of 53)", field=path)
    return int(raw) if raw == int(raw) else raw


def moment(raw: object, path: str, settings: Settings) -> datetime:
    """An instant; a date is the local midnight it begins with."""
    text = checked_text(raw, path).strip()

    def read() -> datetime:
        if not _ISO_DATE.fullmatch(text):
            return instant(text, field=path)
        day = calendar_date(text, field=path)
        return instant(midnight(day, settings.zone), field=path)

    return _converted(path, read)


def duration(raw: object, path: str) -> Duration:
    """A length of time such as ``90d``."""
    text = checked_text(raw, path)
    return _converted(path, lambda: Duration.parse(text, field=path))


def calendar(raw: object, path: str) -> Calendar:
    """A unit of the calendar such as ``this month``."""
    text = checked_text(raw, path)
    return _converted(path, lambda: Calendar.parse(text, field=path))


def percent(raw: object, path: str) -> int:
    """A part of a hundred, in thousandths."""
    thousandths = Decimal(str(number(raw, path))) * 1_000
    if not 0 < thousandths <= 100_000 or thousandths % 1:
        message = "expected more than 0 and at most 100, with at most 3 decimals"
        raise RuleError(message, field=path)
    return int(thousandths)


def positive(raw: object, path: str) -> int:
    """A whole number from 1."""
    value = number(raw, path)
    if isinstance(value, float) or value < 1:
        raise RuleError("expected a whole number from 1", field=path)
    return value


def near(raw: object, path: str) -> Near:
    """A point and how far from it."""
    example = '{"latitude": 44.43, "longitude": 26.1, "km": 5}'
    given = mapping(raw, path, example)
    keys = ("latitude", "longitude", "km")
    only(given, keys, path)

    def read(key: str, limit: int, factor: int) -> int:
        if key not in given:
            raise RuleError("missing", field=join(path, key))
        value = number(given[key], join(path, key))
        if abs(value) > limit:
            raise RuleError(f"expected at most {limit}", field=join(path, key))
        return round(Decimal(str(value)) * factor)

    latitude, longitude = read("latitude", 90, 1_000_000), read("longitude", 180, 1_000_000)
    metres = read("km", MAX_METRES // 1_000, 1_000)
    if metres < 1:
        raise RuleError("expected more than 0", field=join(path, "km"))
    return Near(latitude, longitude, metres)


def segment_name(raw: object, path: str) -> str:
    """A segment's name, cleaned as it is when the segment is made."""
    text = checked_text(raw, path)
    name = _converted(path, lambda: document.text(text, field=path, limit=MAX_SEGMENT))
    if name is None:
        raise RuleError("expected the name of a segment", field=path)
    return name


@attrs.define
class Values:
    """The values of one rule; their lists are counted together."""

    settings: Settings
    listed: int = 0

    def comparison(self, field: Field, given: Mapping[Any, Any], path: str) -> Compare:
        """The field compared as the keys ``operator`` and ``value`` say."""
        operator = self.operator(field, given, path)
        where = join(path, "value")
        if "value" not in given and operator != "exists":
            raise RuleError("missing", field=where)
        value = self.value(field, operator, given.get("value", True), where)
        return Compare(field.name, _CANONICAL.get(operator, operator), value)

    def operator(self, field: Field, given: Mapping[Any, Any], path: str) -> str:
        """The operator, one that the field takes."""
        where = join(path, "operator")
        operator = name_of(given, "operator", path)
        if operator not in _EVERY_OPERATOR:
            raise RuleError(unknown("operator", operator, _EVERY_OPERATOR), field=where)
        operator = SAME_AS.get(operator, operator)
        if operator not in field.operators:
            allowed = ", ".join(field.operators)
            raise RuleError(
                f"{operator!r} does not work on {field.name!r} ({field.type.value}); use {allowed}",
                field=where,
            )
        return operator

    def value(self, field: Field, operator: str, raw: object, path: str) -> object:
        """What the field is compared with, in the form it is compared in."""
        if operator in _OF_OPERATOR:
            return _OF_OPERATOR[operator](raw, path)
        if field.type is Type.JSON and operator in _ALIKE:
            _check_alike(raw, path)

        def read(item: object, where: str) -> object:
            if operator in _OF_TEXT:
                return checked_text(item, where)
            return _READ[field.type](item, where, self.settings)

        if operator == "between":
            return self._pair(field, raw, path, read)
        return self.several(raw, path, read) if operator in _LISTS else read(raw, path)

    def several(self, raw: object, path: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
        """A list of at least one value."""
        if not isinstance(raw, (list, tuple)):
            raise RuleError(f"expected a list, got {kind(raw)}", field=path)
        if not 0 < len(raw) <= MAX_LIST:
            raise RuleError(f"expected 1 to {MAX_LIST:,} values, got {len(raw):,}", field=path)
        self.listed += len(raw)
        if self.listed > MAX_LISTED:
            raise RuleError(f"more than {MAX_LISTED:,} values in the rule's lists", field=path)
        return tuple(read(item, f"{path}[{i}]") for i, item in enumerate(raw))

    def _pair(
        self, field: Field, raw: object, path: str, read: Callable[[object, str], Any]
    ) -> tuple[object, object]:
        if not isinstance(raw, (list, tuple)) or len(raw) != 2:
            raise RuleError("expected a list of two: [from, to], both included", field=path)
        low, high = (read(item, f"{path}[{i}]") for i, item in enumerate(raw))
        if field.type is Type.TIER:
            ranks = self.settings.programme.ranks
            ordered = ranks[low] <= ranks[high]
        else:
            ordered = low <= high
        if not ordered:
            raise RuleError("expected [from, to] with from not above to", field=path)
        return low, high


def _flag(raw: object, path: str) -> bool:
    if not isinstance(raw, bool):
        raise RuleError(f"expected true or false, got {kind(raw)}", field=path)
    return raw


def _scalar(raw: object, path: str) -> bool | int | float | str:
    if isinstance(raw, bool):
        return raw
    return checked_text(raw, path) if isinstance(raw, str) else number(raw, path)


def _check_alike(raw: object, path: str) -> None:
    """Texts or numbers, not both: what is of another kind than the value never compares."""
    several = isinstance(raw, (list, tuple))
    items = raw[:MAX_LIST] if isinstance(raw, (list, tuple)) else [raw]
    for i, item in enumerate(items):
        if kind(item) not in ("text", "a number") or kind(item) != kind(items[0]):
            where = f"{path}[{i}]" if several else path
            raise RuleError("expected numbers only, or texts only", field=where)


def _amount(raw: object, path: str, settings: Settings) -> int:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        raise RuleError(f"expected an amount such as 150, got {kind(raw)}", field=path)
    return _converted(path, lambda: to_minor(raw, settings.currency, field=path))


_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DAYS: Final = re.compile(r"(\d{1,5})\s*d", re.ASCII)


def _days(raw: object, path: str) -> int:
    match = _DAYS.fullmatch(raw.strip()) if isinstance(raw, str) and len(raw) < MAX_TEXT else None
    days = int(match[1]) if match else raw
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= MAX_DAYS:
        raise RuleError(f"expected days such as '7d', at most {MAX_DAYS}", field=path)
    return days


def _day(raw: object, path: str) -> date:
    text = checked_text(raw, path)
    return _converted(path, lambda: calendar_date(text, field=path))


def _share(raw: object, path: str) -> int:
    """Millionths of a share from 0 to 1; what is finer is rounded."""
    value = number(raw, path)
    if not 0 <= value <= 1:
        raise RuleError("expected a share from 0 to 1", field=path)
    return round(Fraction(str(value)) * WHOLE_PPM)


def _tier(raw: object, path: str, settings: Settings) -> str:
    name = checked_text(raw, path)
    known = settings.programme.ranks
    if name not in known:
        raise RuleError(unknown("tier", name, known), field=path)
    return name


def _converted(path: str, convert: Callable[[], T]) -> T:
    try:
        return convert()
    except InvalidInput as error:
        raise RuleError(error.message, field=path) from None
    except (ValueError, OverflowError):
        raise RuleError("out of range", field=path) from None


_OF_OPERATOR: Final[Mapping[str, Callable[[object, str], object]]] = {
    "exists": _flag,
    "within": duration,
    "not_within": duration,
    "during": calendar,
    "anniversary_within": _days,
}
_READ: Final[Mapping[Type, Callable[[object, str, Settings], object]]] = {
    Type.TEXT: lambda raw, path, _: checked_text(raw, path),
    Type.NUMBER: lambda raw, path, _: number(raw, path),
    Type.MONEY: _amount,
    Type.SHARE: lambda raw, path, _: _share(raw, path),
    Type.MOMENT: moment,
    Type.DATE: lambda raw, path, _: _day(raw, path),
    Type.FLAG: lambda raw, path, _: _flag(raw, path),
    Type.TIER: _tier,
    Type.JSON: lambda raw, path, _: _scalar(raw, path),
}
