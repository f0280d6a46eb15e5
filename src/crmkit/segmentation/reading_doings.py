"""Reading what a JSON rule says about the things customers did, or did not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, cast

from crmkit.config import Settings
from crmkit.errors import RuleError, unknown
from crmkit.model.rule import Between, Did, Not, Occurs, Rule, Then, Window
from crmkit.model.time import CALENDAR_UNITS
from crmkit.segmentation.fields import MEASURES, Type
from crmkit.segmentation.values import (
    Values,
    calendar,
    checked_text,
    duration,
    join,
    mapping,
    moment,
    name_of,
    only,
)

DOINGS: Final = ("did", "did_not")
"""The keys by which a condition is known to be about what customers did."""

WINDOWS: Final = ("within", "during", "since", "until")
"""The keys that say when."""

FOLLOWERS: Final = ("then", "not_then")
"""The keys that say what had to follow, or must not."""

_MEASURE: TypeAlias = Literal["count", "sum", "first", "last", "day", "week", "month", "year"]
_Where: TypeAlias = Callable[[object, str], Rule]
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "did": ("did", "where", *WINDOWS, *MEASURES, "per", *FOLLOWERS),
    "did_not": ("did_not", "where", *WINDOWS),
}
_AT_LEAST_ONCE: Final[tuple[_MEASURE, str, int]] = ("count", ">=", 1)


def kinds_asked(settings: Settings) -> tuple[str, ...]:
    """The kinds of activity that customers do; a void or an amendment only corrects one."""
    corrections = ("voids", "amends")
    return tuple(k.name for k in settings.kinds_by_name.values() if k.role not in corrections)


def doing(given: Mapping[Any, Any], path: str, values: Values, where: _Where) -> Rule:
    """What ``did`` or ``did_not`` and the keys beside it say; `where` reads their conditions."""
    key = "did" if "did" in given else "did_not"
    only(given, _KEYS[key], path)
    what = _occurs(given, key, path, values, where)
    window = _window(given, path, values)
    if key == "did_not":
        return Not(Did(what, *_AT_LEAST_ONCE, window))
    if asked := [name for name in FOLLOWERS if name in given]:
        _alone(given, (*FOLLOWERS, *MEASURES, "per"), path)
        return _then(given, asked[0], path, values, where, what, window)
    return Did(what, *_measure(given, path, values), window)


def _occurs(given: Mapping[Any, Any], key: str, path: str, values: Values, where: _Where) -> Occurs:
    name = name_of(given, key, path)
    known = kinds_asked(values.settings)
    if name not in known:
        raise RuleError(unknown("kind of activity", name, known), field=join(path, key))
    asked = where(given["where"], join(path, "where")) if "where" in given else None
    return Occurs(name, asked)


def _alone(given: Mapping[Any, Any], keys: tuple[str, ...], path: str) -> None:
    """Refuse two of the keys beside each other."""
    there = [key for key in keys if key in given]
    if len(there) > 1:
        raise RuleError(f"does not go with {there[0]!r}", field=join(path, there[1]))


def _window(given: Mapping[Any, Any], path: str, values: Values) -> Window | None:
    _alone(given, ("within", "during", "since"), path)
    _alone(given, ("within", "during", "until"), path)
    if "within" in given:
        return duration(given["within"], join(path, "within"))
    if "during" in given:
        return calendar(given["during"], join(path, "during"))

    def end(key: str) -> datetime | None:
        return moment(given[key], join(path, key), values.settings) if key in given else None

    since, until = end("since"), end("until")
    if since is None and until is None:
        return None
    if since is not None and until is not None and since >= until:
        raise RuleError("expected an instant after 'since'", field=join(path, "until"))
    return Between(since, until)


def _measure(given: Mapping[Any, Any], path: str, values: Values) -> tuple[_MEASURE, str, Any]:
    _alone(given, tuple(MEASURES), path)
    per = _per(given, path)
    name = next((name for name in MEASURES if name in given), None)
    if name is None:
        return _AT_LEAST_ONCE
    field, where, raw = MEASURES[name], join(path, name), given[name]
    if field.type is not Type.MOMENT and not isinstance(raw, Mapping):
        return per or cast(_MEASURE, name), ">=", values.value(field, ">=", raw, where)
    example = '{"operator": ">=", "value": …}'
    asked = mapping(raw, where, example)
    only(asked, ("operator", "value"), where)
    comparison = values.comparison(field, asked, where)
    return per or cast(_MEASURE, name), comparison.operator, comparison.value


def _per(given: Mapping[Any, Any], path: str) -> _MEASURE | None:
    if "per" not in given:
        return None
    where = join(path, "per")
    if "count" not in given:
        raise RuleError("goes with 'count' only", field=where)
    unit = checked_text(given["per"], where)
    if unit not in CALENDAR_UNITS:
        raise RuleError(unknown("unit", unit, CALENDAR_UNITS), field=where)
    return cast(_MEASURE, unit)


def _then(
    given: Mapping[Any, Any],
    key: str,
    path: str,
    values: Values,
    where: _Where,
    first: Occurs,
    window: Window | None,
) -> Then:
    inner = join(path, key)
    asked = mapping(given[key], inner, '{"did": "ticket", "within": "1h"}')
    only(asked, ("did", "where", "within"), inner)
    second = _occurs(asked, "did", inner, values, where)
    if "within" not in asked:
        raise RuleError("missing", field=join(inner, "within"))
    within = duration(asked["within"], join(inner, "within"))
    return Then(first, second, within, follows=key == "then", window=window)
