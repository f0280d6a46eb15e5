"""Asking a rule about one customer in memory: the rule becomes closures, once."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, TypeAlias

import attrs

from crmkit.config import Settings
from crmkit.errors import RuleError, unknown
from crmkit.model import Customer, Metrics, PointsAccount
from crmkit.model.rule import AllOf, AnyOf, Compare, Member, Not, Rule
from crmkit.model.time import Duration, age
from crmkit.segmentation.fields import Field, Source, Type, find


@attrs.frozen(kw_only=True)
class Subject:
    """What rules look at: one customer with everything known about them.

    `consents` holds, by purpose and channel, what the latest fact said; `memberships` the
    segments that the customer was put into by hand.
    """

    customer: Customer
    metrics: Metrics
    account: PointsAccount | None = None
    tags: frozenset[str] = frozenset()
    consents: Mapping[tuple[str, str], bool] = attrs.field(factory=dict)
    memberships: frozenset[str] = frozenset()


Predicate: TypeAlias = Callable[[Subject, datetime], bool]
_Getter: TypeAlias = Callable[[Subject], Any]
_Test: TypeAlias = Callable[[Any], bool]


def compiled(rule: Rule, settings: Settings) -> Predicate:
    """A function that says whether the rule holds for a subject at an instant."""
    match rule:
        case AllOf(parts):
            return _every(tuple(compiled(p, settings) for p in parts))
        case AnyOf(parts):
            return _some(tuple(compiled(p, settings) for p in parts))
        case Not(part):
            inner = compiled(part, settings)
            return lambda subject, at: not inner(subject, at)
        case Member(segment_id):
            return lambda subject, at: segment_id in subject.memberships  # noqa: ARG005
        case Compare():
            return _leaf(rule, settings)
        case _:
            raise RuleError("cannot be asked yet")


def _every(parts: tuple[Predicate, ...]) -> Predicate:
    def holds(subject: Subject, at: datetime) -> bool:
        for part in parts:  # noqa: SIM110 - a generator costs more than the comparisons
            if not part(subject, at):
                return False
        return True

    return holds


def _some(parts: tuple[Predicate, ...]) -> Predicate:
    def holds(subject: Subject, at: datetime) -> bool:
        for part in parts:  # noqa: SIM110
            if part(subject, at):
                return True
        return False

    return holds


def _leaf(rule: Compare, settings: Settings) -> Predicate:
    field = find(rule.field)
    if field.source is Source.AGE:
        return _age(rule, settings)
    get = _getter(field, settings)
    if rule.operator == "exists":
        return _exists(field, get, wanted=rule.value)
    if rule.operator in ("within", "not_within"):
        return _within(get, rule.value, settings, inside=rule.operator == "within")
    if field.source is Source.AVERAGE:
        test = _average(rule.operator, rule.value)
    elif field.type is Type.JSON:
        test = _json_test(rule.operator, rule.value)
    elif field.type is Type.TIER:
        test = _test(rule.operator, tier_ranks(rule.value, settings))
    else:
        test = _test(rule.operator, rule.value)

    def holds(subject: Subject, at: datetime) -> bool:  # noqa: ARG001
        value = get(subject)
        return value is not None and test(value)

    return holds


def tier_ranks(value: str | tuple[str, ...], settings: Settings) -> Any:
    """Ranks of tiers; raises `RuleError` for a tier that the settings no longer name."""
    names = [tier.name for tier in settings.tiers]

    def rank(name: str) -> int:
        if name not in names:
            raise RuleError(unknown("tier", name, names), field="tier")
        return names.index(name)

    return rank(value) if isinstance(value, str) else tuple(rank(name) for name in value)


def _getter(field: Field, settings: Settings) -> _Getter:
    name = field.attribute
    match field.source:
        case Source.PREFERENCES:
            return attrgetter(f"customer.preferences.{name}")
        case Source.METRICS:
            return attrgetter(f"metrics.{name}")
        case Source.AVERAGE:
            return _spend_and_orders
        case Source.LOYALTY:
            read: Callable[[PointsAccount], int] = attrgetter(name)
            return lambda s: 0 if s.account is None else read(s.account)
        case Source.TIER:
            starts = [tier.from_points for tier in settings.tiers[1:]]
            return lambda s: 0 if s.account is None else bisect_right(starts, s.account.qualifying)
        case Source.TAGS:
            return attrgetter("tags")
        case Source.CONSENT:
            key = field.consent
            return lambda s: s.consents.get(key, False)
        case Source.CUSTOM:
            return lambda s: s.customer.custom.get(name)
        case _:
            return attrgetter(f"customer.{name}")


def _spend_and_orders(subject: Subject) -> tuple[int, int] | None:
    metrics = subject.metrics
    return (metrics.spend_minor, metrics.orders) if metrics.orders > 0 else None


def _exists(field: Field, get: _Getter, *, wanted: bool) -> Predicate:
    if field.type is Type.LIST:
        return lambda subject, at: bool(get(subject)) is wanted  # noqa: ARG005
    return lambda subject, at: (get(subject) is not None) is wanted  # noqa: ARG005


def _within(get: _Getter, length: Duration, settings: Settings, *, inside: bool) -> Predicate:
    zone = settings.zone
    start = lru_cache(maxsize=4)(lambda at: length.before(at, zone))

    def holds(subject: Subject, at: datetime) -> bool:
        value = get(subject)
        return value is not None and (start(at) < value <= at) is inside

    return holds


def _age(rule: Compare, settings: Settings) -> Predicate:
    zone = settings.zone
    today = lru_cache(maxsize=4)(lambda at: at.astimezone(zone).date())

    def years(subject: Subject, at: datetime) -> int | None:
        born, on = subject.customer.birth_date, today(at)
        return None if born is None or born > on else age(born, on)

    if rule.operator == "exists":
        wanted = bool(rule.value)
        return lambda subject, at: (years(subject, at) is not None) is wanted
    test = _test(rule.operator, rule.value)

    def holds(subject: Subject, at: datetime) -> bool:
        value = years(subject, at)
        return value is not None and test(value)

    return holds


# Swapped, for partial(lt, 5)(value) asks whether 5 < value.
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.gt,
    "<=": operator.ge,
    ">": operator.lt,
    ">=": operator.le,
}


def _test(name: str, expected: Any) -> _Test:
    """The test of a present value."""
    if name in _COMPARE:
        return partial(_COMPARE[name], expected)
    match name:
        case "between":
            low, high = expected
            return lambda value: low <= value <= high
        case "in":
            return frozenset(expected).__contains__
        case "not_in":
            refused = frozenset(expected)
            return lambda value: value not in refused
        case "contains":
            return lambda value: expected in value
        case "contains_any":
            return lambda value: any(e in value for e in expected)
        case "contains_all":
            return lambda value: all(e in value for e in expected)
        case "starts_with":
            return lambda value: value.startswith(expected)
    raise RuleError(unknown("operator", name, _COMPARE), field="operator")


def _json_test(name: str, expected: Any) -> _Test:
    """The same for a value of any type: what is of another type does not compare."""
    test = _test(name, expected)
    sample = expected[0] if isinstance(expected, tuple) else expected
    kinds: Collection[type]
    if name.startswith("contains"):
        kinds = (str, list, tuple)
    elif isinstance(sample, bool):
        kinds = (bool,)
    else:
        kinds = (str,) if isinstance(sample, str) else (int, float)
    # By exact type: to Python, True is a number.
    return lambda value: type(value) in kinds and test(value)


def _average(name: str, expected: Any) -> _Test:
    """Spend over orders against an amount, multiplied out so that nothing is rounded."""
    match name:
        case "between":
            low, high = expected
            return lambda of: low * of[1] <= of[0] <= high * of[1]
        case "in":
            return lambda of: any(of[0] == e * of[1] for e in expected)
        case "not_in":
            return lambda of: all(of[0] != e * of[1] for e in expected)
    compare = _COMPARE[name]
    return lambda of: compare(expected * of[1], of[0])
