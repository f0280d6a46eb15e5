"""Asking a rule about one customer in memory: the rule becomes closures, once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import attrgetter
from typing import Any, Final, TypeAlias

import attrs

from crmkit.config import Settings
from crmkit.errors import RuleError, unknown
from crmkit.loyalty.tiers import rank_at
from crmkit.model import Customer, PointsAccount, TierPeriod
from crmkit.model.rule import (
    AllOf,
    AnyOf,
    Compare,
    Did,
    InSegment,
    Leaf,
    Member,
    Near,
    Not,
    Rule,
    Then,
    Top,
)
from crmkit.model.time import FOREVER, Duration
from crmkit.segmentation.comparing import Test, average_test, json_test, value_test
from crmkit.segmentation.doings import did, then
from crmkit.segmentation.fields import BALANCE, Field, Source, Type, find
from crmkit.segmentation.moments import OPERATORS, Answer, Timed, aged, timed
from crmkit.segmentation.subject import Subject

Predicate: TypeAlias = Callable[[Subject, datetime], bool]
Lasting: TypeAlias = Callable[[Subject, datetime], Answer]
_Getter: TypeAlias = Callable[[Subject], Any]


def compiled(rule: Rule, settings: Settings) -> Predicate:
    """A function that says whether the rule holds for a subject at an instant.

    Segments and ranks in it were replaced (see `asking`). Raises `RuleError` for a tier that
    the settings no longer name.
    """
    match rule:
        case AllOf(parts):
            return _every([compiled(p, settings) for p in parts])
        case AnyOf(parts):
            return _some([compiled(p, settings) for p in parts])
        case Not(part):
            inner = compiled(part, settings)
            return lambda subject, at: not inner(subject, at)
    return _asked(rule, settings).holds


def lasting(rule: Rule, settings: Settings) -> Lasting:
    """A function that also says until when the answer holds while no further fact comes.

    That instant may be early, never late. Nobody is in before the first fact about them.
    """
    ask = once_known(rule, settings)

    def since_known(subject: Subject, at: datetime) -> Answer:
        begins = subject.begins_at
        return (False, begins) if at < begins else ask(subject, at)

    return since_known


def _every(parts: Sequence[Predicate]) -> Predicate:
    # By twos: a loop costs more than the comparisons.
    return reduce(_both, parts) if parts else lambda subject, at: True  # noqa: ARG005


def _both(one: Predicate, other: Predicate) -> Predicate:
    return lambda subject, at: one(subject, at) and other(subject, at)


def _some(parts: Sequence[Predicate]) -> Predicate:
    return reduce(_either, parts) if parts else lambda subject, at: False  # noqa: ARG005


def _either(one: Predicate, other: Predicate) -> Predicate:
    return lambda subject, at: one(subject, at) or other(subject, at)


def once_known(rule: Rule, settings: Settings) -> Lasting:
    """`lasting` of whom something is known by then: what each part of a rule is asked."""
    match rule:
        case AllOf(parts):
            return _together([once_known(p, settings) for p in parts], decides=False)
        case AnyOf(parts):
            return _together([once_known(p, settings) for p in parts], decides=True)
        case Not(part):
            inner = once_known(part, settings)

            def negated(subject: Subject, at: datetime) -> Answer:
                truth, until = inner(subject, at)
                return not truth, until

            return negated
    question = _asked(rule, settings)
    holds = question.holds
    return question.lasts or (lambda subject, at: (holds(subject, at), FOREVER))


def _together(parts: Sequence[Lasting], *, decides: bool) -> Lasting:
    """A group in which one part of the value `decides` decides; else all must be the other."""

    def ask(subject: Subject, at: datetime) -> Answer:
        decided: datetime | None = None
        until = FOREVER
        for part in parts:
            truth, holds = part(subject, at)
            if truth is not decides:
                until = min(until, holds)
            elif holds == FOREVER:
                return decides, FOREVER
            else:  # as long as any of the deciding ones holds
                decided = holds if decided is None else max(decided, holds)
        return (not decides, until) if decided is None else (decides, decided)

    return ask


@attrs.frozen
class _Question:
    """A leaf: whether it holds and, where time alone may change that, also until when."""

    holds: Predicate
    lasts: Lasting | None = None

    @classmethod
    def timed(cls, lasts: Lasting, holds: Predicate | None = None) -> _Question:
        return cls(holds or (lambda subject, at: lasts(subject, at)[0]), lasts)


def _asked(leaf: Leaf, settings: Settings) -> _Question:
    match leaf:
        case Compare():
            return _compare(leaf, settings)
        case Member(segment_id, kept_out):
            of: Callable[[Subject], frozenset[str]]
            of = attrgetter("kept_out" if kept_out else "memberships")
            return _Question(lambda subject, at: segment_id in of(subject))  # noqa: ARG005
        case Near():
            return _Question(_near(leaf))
        case Did():
            done = did(leaf, settings.zone)
            return _Question.timed(lambda subject, at: done(subject.occasions, at))
        case Then():
            followed = then(leaf, settings.zone)
            return _Question.timed(lambda subject, at: followed(subject.occasions, at))
        case Top() | InSegment():
            raise RuleError("must be replaced before it can be asked")


def _compare(rule: Compare, settings: Settings) -> _Question:
    field = find(rule.field)
    if field.source is Source.AGE:
        return _of_birth(rule, aged(rule.operator, rule.value, settings.zone))
    if field.source is Source.TIER:
        return _of_tier(rule, settings)
    if field.source is Source.CONSENT:
        return _of_consent(rule, field)
    get = getter(field)
    if rule.operator == "exists":
        return _Question(_exists(field, get, wanted=rule.value))
    if rule.operator in OPERATORS:
        ask = timed(rule.operator, rule.value, settings.zone)
        holds = _within(get, rule, settings) if isinstance(rule.value, Duration) else None
        return _Question.timed(_timely(get, ask), holds)
    if rule.operator in _INLINE and field.type in _ALIKE and field.source is not Source.AVERAGE:
        plain = _INLINE[rule.operator](get, rule.value)
    else:
        plain = _plain(get, _test_of(field, rule))
    return _of_balance(plain) if field is BALANCE else _Question(plain)


def _of_consent(rule: Compare, field: Field) -> _Question:
    key = field.consent
    if rule.operator == "exists":  # without a word it is false, not missing
        wanted = bool(rule.value)
        return _Question(lambda subject, at: wanted)  # noqa: ARG005
    test = value_test(rule.operator, rule.value)

    def lasts(subject: Subject, at: datetime) -> Answer:
        until = subject.consents_until(key, at)
        return test(until is not None), until or FOREVER

    return _Question.timed(lasts)


def _of_balance(plain: Predicate) -> _Question:
    def lasts(subject: Subject, at: datetime) -> Answer:
        account = subject.account
        until = account.next_at if account is not None else None
        return plain(subject, at), until or FOREVER

    return _Question.timed(lasts, plain)


_ALIKE: Final = frozenset(
    {Type.NUMBER, Type.MONEY, Type.SHARE, Type.TEXT, Type.MOMENT, Type.DATE, Type.FLAG}
)
# The comparisons that most rules consist of, without the call of a test.
_INLINE: Final[Mapping[str, Callable[[_Getter, Any], Predicate]]] = {
    "=": lambda get, x: lambda s, at: (v := get(s)) is not None and v == x,  # noqa: ARG005
    "!=": lambda get, x: lambda s, at: (v := get(s)) is not None and v != x,  # noqa: ARG005
    "<": lambda get, x: lambda s, at: (v := get(s)) is not None and v < x,  # noqa: ARG005
    "<=": lambda get, x: lambda s, at: (v := get(s)) is not None and v <= x,  # noqa: ARG005
    ">": lambda get, x: lambda s, at: (v := get(s)) is not None and v > x,  # noqa: ARG005
    ">=": lambda get, x: lambda s, at: (v := get(s)) is not None and v >= x,  # noqa: ARG005
}


def _test_of(field: Field, rule: Compare) -> Test:
    if field.source is Source.AVERAGE:
        return average_test(rule.operator, rule.value)
    if field.type is Type.JSON:
        return json_test(rule.operator, rule.value)
    return value_test(rule.operator, rule.value)


def _plain(get: _Getter, test: Test) -> Predicate:
    def holds(subject: Subject, at: datetime) -> bool:  # noqa: ARG001
        value = get(subject)
        return value is not None and test(value)

    return holds


def tier_ranks(value: str | tuple[str, ...], settings: Settings) -> Any:
    """Ranks of tiers; raises `RuleError` for a tier that the settings no longer name."""
    known = settings.programme.ranks

    def rank(name: str) -> int:
        if name not in known:
            raise RuleError(unknown("tier", name, known), field="tier")
        return known[name]

    return rank(value) if isinstance(value, str) else tuple(rank(name) for name in value)


def tier_name(tiers: Sequence[TierPeriod], at: datetime, settings: Settings) -> str:
    """The tier of an instant, as the settings name it."""
    known = settings.programme.tiers
    # There may have been more of them when it was kept.
    return known[min(rank_at(tiers, at)[0], len(known) - 1)].name


def getter(field: Field) -> _Getter:
    """Reads the field from a subject; None where it is missing.

    Tiers are those of all time, and of a consent it is until when it holds.
    """
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
            return attrgetter("tiers")
        case Source.TAGS:
            return attrgetter("tags")
        case Source.SCORE:
            told = attrgetter(name)
            return lambda s: None if s.score is None else told(s.score)
        case Source.CONSENT:
            key = field.consent
            return lambda s: s.consents.get(key)
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


def _timely(get: _Getter, ask: Timed) -> Lasting:
    def lasts(subject: Subject, at: datetime) -> Answer:
        value = get(subject)
        return (False, FOREVER) if value is None else ask(value, at)

    return lasts


def _within(get: _Getter, rule: Compare, settings: Settings) -> Predicate:
    """`within` and `not_within` for many customers at one instant: its start is worked out once."""
    length, zone, inside = rule.value, settings.zone, rule.operator == "within"
    last: tuple[datetime | None, datetime] = (None, FOREVER)

    def holds(subject: Subject, at: datetime) -> bool:
        nonlocal last
        asked, start = last  # one after the other for any thread
        if asked is not at:
            start = length.before(at, zone)
            last = at, start
        value = get(subject)
        return value is not None and (start < value <= at) is inside

    return holds


def _of_tier(rule: Compare, settings: Settings) -> _Question:
    if rule.operator == "exists":  # everybody has one
        return _Question(lambda subject, at: bool(rule.value))  # noqa: ARG005
    test = value_test(rule.operator, tier_ranks(rule.value, settings))

    def lasts(subject: Subject, at: datetime) -> Answer:
        rank, until = rank_at(subject.tiers, at)
        return test(rank), until

    return _Question.timed(lasts)


def _of_birth(rule: Compare, ask: Timed) -> _Question:
    unknown_birth = rule.operator == "exists" and not rule.value

    def lasts(subject: Subject, at: datetime) -> Answer:
        born = subject.customer.birth_date
        return (unknown_birth, FOREVER) if born is None else ask(born, at)

    return _Question.timed(lasts)


_MICRODEGREE_METRES: Final = 0.111195
_TURN: Final = 360_000_000


def plane(rule: Near) -> tuple[int, int]:
    """The reach in microdegrees, and how a square of longitude counts in millionths."""
    shortened = math.cos(math.radians(rule.latitude_micro / 1e6))
    return round(rule.metres / _MICRODEGREE_METRES), round(shortened * shortened * 1_000_000)


def distance(rule: Near, customer: Customer) -> float | None:
    """How many metres a customer's place is from the point, as `Near` measures it."""
    if customer.latitude_micro is None or customer.longitude_micro is None:
        return None
    _, share = plane(rule)
    north = customer.latitude_micro - rule.latitude_micro
    east = abs(customer.longitude_micro - rule.longitude_micro)
    east = min(east, _TURN - east)
    return math.hypot(north, east * math.sqrt(share / 1_000_000)) * _MICRODEGREE_METRES


def _near(rule: Near) -> Predicate:
    reach, share = plane(rule)

    def holds(subject: Subject, at: datetime) -> bool:  # noqa: ARG001
        customer = subject.customer
        if customer.latitude_micro is None or customer.longitude_micro is None:
            return False
        north = customer.latitude_micro - rule.latitude_micro
        east = abs(customer.longitude_micro - rule.longitude_micro)
        east = min(east, _TURN - east)
        # Whole numbers only, so that a database comes to the same.
        return north * north * 1_000_000 + east * east * share <= reach * reach * 1_000_000

    return holds
