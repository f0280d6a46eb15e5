"""A rule in plain English, for the people who did not write it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import attrs

from crmkit.config import Settings
from crmkit.model.money import Money
from crmkit.model.rule import (
    AllOf,
    AnyOf,
    Between,
    Compare,
    Did,
    InSegment,
    Member,
    Near,
    Not,
    Occurs,
    Rule,
    Then,
    Top,
    Window,
)
from crmkit.model.time import Calendar, Duration
from crmkit.segmentation.fields import MEASURES, Field, Source, Type, find, find_of_occasion

_LINE: Final = 120  # letters; a longer rule is told on several lines
_LISTED: Final = 10  # values of a list that are told
_INDENT: Final = "  "

_UNITS: Final = {"h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
_TODAY: Final = {0: "today", 1: "yesterday"}
_IS: Final[Mapping[str, str]] = {
    "=": "is",
    "!=": "is not",
    "<": "is below",
    "<=": "is at most",
    ">": "is above",
    ">=": "is at least",
    "in": "is one of",
    "not_in": "is none of",
    "contains": "contains",
    "contains_any": "contains one of",
    "contains_all": "contains each of",
    "starts_with": "begins with",
}
_WHEN: Final[Mapping[str, str]] = {
    **_IS,
    "<": "is before",
    "<=": "is not after",
    ">": "is after",
    ">=": "is not before",
}
_TIMES: Final[Mapping[str, str]] = {
    "=": "exactly",
    "!=": "not exactly",
    "<": "fewer than",
    "<=": "at most",
    ">": "more than",
    ">=": "at least",
}


def describe(rule: Rule, settings: Settings) -> str:
    """The rule in English, amounts and times as the tenant has them.

    On one line if it is short, else with a line for each condition and what belongs
    together indented. It tells the rule's values, which may be personal.
    """
    teller = _Teller(settings, find)
    line = teller.line(rule)
    return line if len(line) <= _LINE else "\n".join(_lines(rule, teller))


def _lines(rule: Rule, teller: _Teller) -> list[str]:
    match rule:
        case AllOf(parts) | AnyOf(parts) if len(parts) > 1:
            head = "all of:" if isinstance(rule, AllOf) else "at least one of:"
        case Not(AllOf() | AnyOf() as part):
            head, parts = "not:", (part,)
        case _:
            return [teller.line(rule)]
    return [head, *(_INDENT + line for part in parts for line in _lines(part, teller))]


@attrs.frozen
class _Teller:
    settings: Settings
    find: Callable[[str], Field]

    def line(self, rule: Rule) -> str:
        match rule:
            case AllOf(parts):
                return self.joined(parts, " and ") or "everybody"
            case AnyOf(parts):
                return self.joined(parts, " or ") or "nobody"
            case Not(part):
                return self.negated(part)
            case Compare(name, operator, value):
                field = self.find(name)
                return self.compared(_called(field), field, operator, value)
            case Did():
                return self.did(rule)
            case Then(first, second, within, follows, window):
                told = f"had {_article(first.kind)}{self.where(first)}{self.window(window)}"
                followed = "followed by" if follows else "not followed by"
                after = f"{_article(second.kind)}{self.where(second)}"
                return f"{told}, {followed} {after} within {_length(within)}"
        return _place_or_rank(rule)

    def joined(self, parts: tuple[Rule, ...], word: str) -> str:
        if len(parts) == 1:
            return self.line(parts[0])
        return word.join(
            f"({self.line(part)})" if _is_several(part) else self.line(part) for part in parts
        )

    def negated(self, part: Rule) -> str:
        match part:
            case InSegment(name):
                return f"is not in the segment {_quoted(name)}"
            case Did(what, "count", ">=", 1, window):
                return f"had no {_plural(what.kind)}{self.where(what)}{self.window(window)}"
        return f"not ({self.line(part)})"

    def compared(self, called: str, field: Field, operator: str, value: Any) -> str:
        match operator:
            case "exists":
                return f"has {called}" if value else f"has no {called}"
            case "within":
                return f"{called} within {_length(value)}"
            case "not_within":
                return f"{called} not within {_length(value)}"
            case "during":
                return f"{called} was {_calendar(value)}"
            case "anniversary_within":
                when = f"within {_length(Duration(value, 'd'))}" if value else "today"
                return f"anniversary of {called} is {when}"
            case "between":
                low, high = (self.value(field, end) for end in value)
                return f"{called} is between {low} and {high}"
        words = _WHEN if field.type in (Type.MOMENT, Type.DATE) else _IS
        if isinstance(value, tuple):
            told = ", ".join(self.value(field, item) for item in value[:_LISTED])
            more = f" and {len(value) - _LISTED:,} more" if len(value) > _LISTED else ""
            return f"{called} {words[operator]} {told}{more}"
        return f"{called} {words[operator]} {self.value(field, value)}"

    def value(self, field: Field, value: Any) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case datetime():
                return self.moment(value)
            case int() if field.type is Type.MONEY:
                return str(Money(value, self.settings.currency))
            case int() if field.type is Type.SHARE:
                return f"{_decimal(value, 4)} %"
            case int() | float():
                return f"{value:,}"
            case str() if field.type is not Type.TIER:
                return _quoted(value)
        return str(value)

    def moment(self, at: datetime) -> str:
        return moment_words(at, self.settings.zone)

    def did(self, rule: Did) -> str:
        where, window = self.where(rule.what), self.window(rule.window)
        kinds = _plural(rule.what.kind)
        if rule.measure in ("first", "last", "sum"):
            what = f"sum of {kinds}" if rule.measure == "sum" else f"{rule.measure} {_noun(rule)}"
            field = MEASURES[rule.measure]
            return self.compared(f"{what}{where}{window}", field, rule.operator, rule.value)
        per = "" if rule.measure == "count" else f" in one {rule.measure}"
        rest = f"{where}{per}{',' if per and window else ''}{window}"
        if (rule.operator, rule.value) == (">=", 1):
            return f"had {_article(rule.what.kind)}{rest}"
        if rule.operator in _TIMES:
            called = kinds if rule.value != 1 else _noun(rule)
            return f"had {_TIMES[rule.operator]} {rule.value:,} {called}{rest}"
        return self.compared(
            f"number of {kinds}{rest}", MEASURES["count"], rule.operator, rule.value
        )

    def where(self, what: Occurs) -> str:
        if what.where is None:
            return ""
        return f" ({_Teller(self.settings, find_of_occasion).line(what.where)})"

    def window(self, window: Window | None) -> str:
        match window:
            case Duration(count):
                return f" in the last {_length(window) if count > 1 else _UNITS[window.unit]}"
            case Calendar():
                return f" {_calendar(window)}"
            case Between(None, datetime() as until):
                return f" before {self.moment(until)}"
            case Between(datetime() as since, None):
                return f" since {self.moment(since)}"
            case Between(datetime() as since, datetime() as until):
                return f" from {self.moment(since)} until before {self.moment(until)}"
        return ""


def value_words(field: Field, value: Any, settings: Settings) -> str:
    """A value as a rule tells it: amounts in the tenant's currency, moments in its zone."""
    return _Teller(settings, find).value(field, value)


def moment_words(at: datetime, zone: ZoneInfo) -> str:
    """An instant as clocks there show it, no finer than it has to be."""
    local = at.astimezone(zone).replace(tzinfo=None)
    if not (local.hour or local.minute or local.second or local.microsecond):
        return local.date().isoformat()
    exact = local.second or local.microsecond
    return local.isoformat(" ", "auto" if exact else "minutes")


def _place_or_rank(rule: Rule) -> str:
    match rule:
        case InSegment(name):
            return f"is in the segment {_quoted(name)}"
        case Member(_, kept_out):
            return "was kept out by hand" if kept_out else "was put in by hand"
        case Near(latitude, longitude, metres):
            point = f"{_decimal(latitude, 6)}, {_decimal(longitude, 6)}"
            return f"is within {_decimal(metres, 3)} km of {point}"
        case Top(name, percent, count, bottom):
            part = f"{count:,}" if percent is None else f"{_decimal(percent, 3)} %"
            return f"is among the {'bottom' if bottom else 'top'} {part} by {_called(find(name))}"
    raise TypeError(f"no rule: {type(rule).__name__}")


def _is_several(rule: Rule) -> bool:
    """Whether its line has an ``and`` or ``or`` of its own."""
    match rule:
        case AllOf(parts) | AnyOf(parts):
            return len(parts) > 1 or any(_is_several(part) for part in parts)
    return False


def _called(field: Field) -> str:
    if field.source is Source.CONSENT:
        purpose, channel = field.consent
        return f"consent to {purpose.replace('_', ' ')} by {channel}"
    if field.source is Source.CUSTOM:
        return field.name if field.name.isprintable() else _quoted(field.name)
    return field.name.replace("_", " ")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _decimal(value: int, places: int) -> str:
    sign, rest = ("-" if value < 0 else ""), f"{abs(value):0{places + 1}}"
    return f"{sign}{rest[:-places]}.{rest[-places:]}".rstrip("0").rstrip(".")


def _length(duration: Duration) -> str:
    return f"{duration.count:,} {_UNITS[duration.unit]}{'s' if duration.count > 1 else ''}"


def _calendar(calendar: Calendar) -> str:
    return _TODAY[calendar.back] if calendar.unit == "day" else str(calendar)


def _noun(rule: Did) -> str:
    return rule.what.kind.replace("_", " ")


def _article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"


def _plural(kind: str) -> str:
    first, _, rest = kind.partition("_")
    if rest.endswith("ed"):  # messages opened
        return f"{first}s {rest.replace('_', ' ')}"
    called = kind.replace("_", " ")
    return f"{called[:-1]}ies" if called.endswith("ry") else f"{called}s"
