"""Asking a rule about everybody, at any instant: of the storage where it can, else in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, cast

import attrs

from crmkit.config import Settings
from crmkit.errors import NotFound, RuleError, shown, unknown
from crmkit.model import Customer, Horizon, Membership, Segment
from crmkit.model.document import text
from crmkit.model.rule import (
    AllOf,
    AnyOf,
    Compare,
    InSegment,
    Leaf,
    Member,
    Not,
    Rule,
    Top,
    leaves,
)
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import RulePushdown, UnitOfWork
from crmkit.segmentation.evaluate import getter, lasting
from crmkit.segmentation.fields import find
from crmkit.segmentation.needs import Needs, needs, together
from crmkit.segmentation.past import History
from crmkit.segmentation.rules import parse
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.subjects import AT_ONCE, all_subjects, subjects

NOBODY = AnyOf(())
_MOST_CONDITIONS: Final = 5_000
"""So many conditions a rule may have with the segments that it asks for put in."""


@attrs.frozen
class When:
    """The instant that is asked about; `live` where it is not in the past."""

    at: datetime
    live: bool

    @classmethod
    def of(cls, rt: Runtime, at: datetime | str | None) -> When:
        """What a caller asks for; None for now."""
        now = rt.now()
        asked = now if at is None else rt.at(at)
        return cls(asked, asked >= now)

    @property
    def told_at(self) -> datetime | None:
        """When accounts are told; None of the past, which is folded from all that happened."""
        return self.at if self.live else None

    def is_settled(self, uow: UnitOfWork) -> bool:
        """Whether nothing is known of anybody that came after the instant."""
        ahead = uow.get(Horizon, uow.tenant)
        return self.live and (ahead is None or ahead.until <= self.at)


# --- from a segment to what is asked ---


def segment_of(uow: UnitOfWork, name: str) -> Segment:
    """The segment of that name; raises `NotFound` with the nearest name."""
    called = text(name, field="name", limit=100) or ""
    found = uow.find(Segment, name=called)
    if not found:
        raise NotFound(unknown("segment", called, [s.name for s in uow.find(Segment)]))
    return found[0]


def by_name(uow: UnitOfWork) -> dict[str, Segment]:
    """The tenant's segments but those that are archived."""
    return {s.name: s for s in uow.find(Segment, archived_at=None)}


def replaced(rule: Rule, by: Callable[[Leaf], Rule]) -> Rule:
    """The rule with each leaf replaced."""
    match rule:
        case AllOf(parts):
            return AllOf(tuple(replaced(p, by) for p in parts))
        case AnyOf(parts):
            return AnyOf(tuple(replaced(p, by) for p in parts))
        case Not(part):
            return Not(replaced(part, by))
    return by(rule)


def whole(segment: Segment, named: Mapping[str, Segment], rt: Runtime) -> Rule:
    """Who is in a segment: those its rule fits or who were put in, but who is kept out.

    `named` are the tenant's segments by name. Raises `RuleError` for a segment that is
    not there any more, or that asks in a circle for itself.
    """
    try:
        return _put_in(alone(segment, rt.settings), named, rt, (segment.name,), [_MOST_CONDITIONS])
    except RuleError as error:
        # The settings may have changed since it was saved: say whose rule it is.
        raise RuleError(f"segment {shown(segment.name)}: {error}") from error


def at(segment: Segment, named: Mapping[str, Segment], rt: Runtime, when: When) -> Rule:
    """`whole`, as of an instant: an archived segment has nobody since then."""
    if segment.archived_at is not None and segment.archived_at <= when.at:
        return NOBODY
    return whole(segment, named, rt)


def alone(segment: Segment, settings: Settings) -> Rule:
    """`whole`, but with the segments that it asks for still named."""
    by_hand = Member(segment.id)
    inside: Rule = by_hand
    if segment.rules is not None and segment.auto_update:
        inside = parse(segment.rules, settings)
        if not segment.by_hand:
            return inside
        inside = AnyOf((inside, by_hand))
    return AllOf((inside, Not(Member(segment.id, kept_out=True))))


def asked(
    rule: Rule, named: Mapping[str, Segment], rt: Runtime, within: tuple[str, ...] = ()
) -> Rule:
    """The rule with the segments that it names put in."""
    return _put_in(rule, named, rt, within, [_MOST_CONDITIONS])


def _put_in(
    rule: Rule,
    named: Mapping[str, Segment],
    rt: Runtime,
    within: tuple[str, ...],
    left: list[int],
) -> Rule:
    """With at most so many conditions as are `left`, counted as they come."""

    def put_in(leaf: Leaf) -> Rule:
        left[0] -= 1
        if left[0] < 0:
            raise RuleError(
                f"more than {_MOST_CONDITIONS:,} conditions with the segments that it asks for"
            )
        if not isinstance(leaf, InSegment):
            return leaf
        if leaf.name in within:
            circle = " → ".join([*within[within.index(leaf.name) :], leaf.name])
            raise RuleError(f"segments ask for each other in a circle: {circle}")
        if leaf.name not in named:
            raise RuleError(unknown("segment", leaf.name, named))
        inner = named[leaf.name]
        return _put_in(alone(inner, rt.settings), named, rt, (*within, inner.name), left)

    return replaced(rule, put_in)


def users(name: str, named: Mapping[str, Segment], rt: Runtime) -> set[str]:
    """The segments whose rules ask for this one, by themselves or through others."""
    asks = {
        s.name: {
            leaf.name for leaf in leaves(parse(s.rules, rt.settings)) if isinstance(leaf, InSegment)
        }
        for s in named.values()
        if s.rules is not None
    }
    found: set[str] = set()
    while more := {s for s, of in asks.items() if of & {name, *found}} - found:
        found |= more
    return found


def renamed(rule: Any, name: str, to: str) -> Any:
    """The JSON of a rule that asks for a segment, once that has another name."""
    if isinstance(rule, list):
        return [renamed(part, name, to) for part in rule]
    if not isinstance(rule, Mapping):
        return rule
    key = "in_segment" if "in_segment" in rule else "value"
    if key == "in_segment" or rule.get("field") == "segment":
        asked_for = rule.get(key)
        if isinstance(asked_for, list):
            return {**rule, key: [to if n == name else n for n in asked_for]}
        return {**rule, key: to if asked_for == name else asked_for}
    return {k: renamed(v, name, to) for k, v in rule.items()}


# --- one customer ---


def as_of(uow: UnitOfWork, rt: Runtime, now: Subject, wanted: Needs, when: When) -> Subject:
    """The subject as it was at an instant; it was loaded with accounts `told_at` that."""
    if when.live and now.is_settled(when.at):
        return now
    return History.load(uow, rt, now, wanted).at(when.at)


def seen(uow: UnitOfWork, rt: Runtime, wanted: Needs, customer: Customer, when: When) -> Subject:
    """What rules with these needs look at of a customer at an instant."""
    (now,) = subjects(uow, rt, [customer], wanted, when.told_at)
    return as_of(uow, rt, now, wanted, when)


def holds(uow: UnitOfWork, rt: Runtime, rule: Rule, customer: Customer, when: When) -> bool:
    """Whether the rule fits a customer at an instant."""
    return bool(fits(uow, rt, {"": rule}, customer, when))


def fits(
    uow: UnitOfWork, rt: Runtime, rules: Mapping[str, Rule], customer: Customer, when: When
) -> tuple[str, ...]:
    """Those of the named rules that fit a customer at an instant."""
    ready = {name: ranked(uow, rt, rule, when) for name, rule in rules.items()}
    then = seen(uow, rt, together(map(needs, ready.values())), customer, when)
    return tuple(n for n, rule in ready.items() if lasting(rule, rt.settings)(then, when.at)[0])


# --- everybody ---


def ids(
    uow: UnitOfWork,
    rt: Runtime,
    rule: Rule,
    when: When,
    *,
    after: str | None = None,
    limit: int | None = None,
) -> Iterator[str]:
    """Ids of the customers whom the rule fits at that instant, ascending."""
    if not hasattr(uow, "matching"):
        return islice(asked_in_memory(uow, rt, rule, when, after), limit)
    ready = ranked(uow, rt, rule, when)
    return islice(_pushed(cast(RulePushdown, uow), rt, ready, when, after, limit), limit)


def asked_in_memory(
    uow: UnitOfWork, rt: Runtime, rule: Rule, when: When, after: str | None = None
) -> Iterator[str]:
    """The same, each customer's facts by themselves."""
    ready = ranked(uow, rt, rule, when)
    ask, wanted = lasting(ready, rt.settings), needs(ready)
    for now in all_subjects(uow, rt, wanted, when.told_at, after=after):
        if ask(as_of(uow, rt, now, wanted, when), when.at)[0]:
            yield now.customer.id


def _pushed(
    uow: RulePushdown,
    rt: Runtime,
    rule: Rule,
    when: When,
    after: str | None,
    limit: int | None,
) -> Iterator[str]:
    moved = _moved_by_hand(cast(UnitOfWork, uow), rule, when)
    settled = when.is_settled(cast(UnitOfWork, uow))
    while True:
        found = uow.matching(rule, rt.settings, when.at, settled=settled, after=after, limit=limit)
        is_last = limit is None or len(found) < limit
        unsure = {customer_id for customer_id, sure in found if not sure}
        unsure |= {
            c for c in moved if (after is None or c > after) and (is_last or c <= found[-1][0])
        }
        fits = fitting(cast(UnitOfWork, uow), rt, rule, sorted(unsure), when)
        yield from sorted({c for c, sure in found if sure and c not in unsure} | fits)
        if is_last:
            return
        after = found[-1][0]


def _moved_by_hand(uow: UnitOfWork, rule: Rule, when: When) -> frozenset[str]:
    """Who was ever put in or kept out by hand, where the past is asked about."""
    segments = {leaf.segment_id for leaf in leaves(rule) if isinstance(leaf, Member)}
    if when.live or not segments:
        return frozenset()
    rows = uow.stream_rows(Membership, ("customer_id",), segment_id=tuple(sorted(segments)))
    return frozenset(row[0] for row in rows)


def count(uow: UnitOfWork, rt: Runtime, rule: Rule, when: When) -> int:
    """How many customers the rule fits at that instant."""
    if not hasattr(uow, "count_matching"):
        return sum(1 for _ in asked_in_memory(uow, rt, rule, when))
    ready = ranked(uow, rt, rule, when)
    if _moved_by_hand(uow, rule, when):
        return sum(1 for _ in ids(uow, rt, rule, when))
    settled = when.is_settled(uow)
    able = cast(RulePushdown, uow)
    sure, unsure = able.count_matching(ready, rt.settings, when.at, settled=settled)
    return sure + len(fitting(uow, rt, ready, unsure, when))


def fitting(
    uow: UnitOfWork, rt: Runtime, rule: Rule, customers: Sequence[str], when: When
) -> frozenset[str]:
    """Which of these customers the rule fits, asked of all their facts."""
    if not customers:
        return frozenset()
    ask, wanted = lasting(rule, rt.settings), needs(rule)
    found: set[str] = set()
    for first in range(0, len(customers), AT_ONCE):
        some = tuple(customers[first : first + AT_ONCE])
        for now in subjects(uow, rt, uow.find(Customer, id=some), wanted, when.told_at):
            if ask(as_of(uow, rt, now, wanted, when), when.at)[0]:
                found.add(now.customer.id)
    return frozenset(found)


def pages(
    uow: UnitOfWork, rt: Runtime, rule: Rule, when: When, *, after: str | None = None
) -> Iterator[Sequence[Customer]]:
    """The customers whom the rule fits, in the order of their ids, a page in memory at a time."""
    ready = ranked(uow, rt, rule, when)
    while True:
        page = list(ids(uow, rt, ready, when, after=after, limit=AT_ONCE))
        if page:
            yield uow.find(Customer, order=("id",), id=tuple(page))
        if len(page) < AT_ONCE:
            return
        after = page[-1]


# --- ranks ---


def ranked(uow: UnitOfWork, rt: Runtime, rule: Rule, when: When) -> Rule:
    """The rule with each question for the top replaced by one for the value that it begins at."""
    tops = {leaf for leaf in leaves(rule) if isinstance(leaf, Top)}
    if not tops:
        return rule
    return at_cutoffs(rule, {top: cutoff(uow, rt, top, when) for top in tops})


def at_cutoffs(rule: Rule, cutoffs: Mapping[Top, int | None]) -> Rule:
    """The rule with each top replaced by whether a value is beyond its cut-off."""

    def put_in(leaf: Leaf) -> Rule:
        return at_cutoff(leaf, cutoffs[leaf]) if isinstance(leaf, Top) else leaf

    return replaced(rule, put_in)


def at_cutoff(top: Top, value: int | None) -> Rule:
    """Whether a value is beyond a cut-off; nobody is beyond none."""
    if value is None:
        return NOBODY
    if top.bottom:
        return AllOf((Compare(top.field, ">", 0), Compare(top.field, "<=", value)))
    return Compare(top.field, ">=", value)


def cutoff(uow: UnitOfWork, rt: Runtime, top: Top, when: When) -> int | None:
    """The value of the last who is among the top, or the bottom, at an instant.

    But of the past, balances are those that were last settled.
    """
    if hasattr(uow, "cutoff") and when.is_settled(uow):
        return cast(RulePushdown, uow).cutoff(top, rt.settings)
    return among(top, _values(uow, rt, top, when, None))


def among(top: Top, values: Iterable[int]) -> int | None:
    """The value of the last among the top of these; what is not positive takes no part."""
    ordered = sorted((v for v in values if v > 0), reverse=not top.bottom)
    if not ordered:
        return None
    return ordered[min(places(top, len(ordered)), len(ordered)) - 1]


def places(top: Top, population: int) -> int:
    """How many are among the top of so many; a part of a customer is a whole one."""
    if top.count is not None:
        return top.count
    return -(-population * (top.percent or 0) // 100_000)


@attrs.frozen
class Rank:
    """The value that the top begins at, and where a customer is among how many.

    Counted from the top, or from the bottom where that is asked for; None for who has no
    positive value, and so takes no part.
    """

    cutoff: int | None
    population: int
    place: int | None = attrs.field(repr=False)


def rank(uow: UnitOfWork, rt: Runtime, top: Top, subject: Subject, when: When) -> Rank:
    """Where a customer, as they were at that instant, was among all."""
    own = getter(find(top.field))(subject)
    if when.live and hasattr(uow, "cutoff"):

        def many(*parts: Compare) -> int:
            return count(uow, rt, AllOf(parts), when)

        positive = Compare(top.field, ">", 0)
        better = Compare(top.field, "<" if top.bottom else ">", own)
        ahead = many(positive, better) if own > 0 else 0
        return Rank(cutoff(uow, rt, top, when), many(positive), ahead + 1 if own > 0 else None)
    values = [v for v in _values(uow, rt, top, when, when.told_at) if v > 0]
    ahead = sum(v < own if top.bottom else v > own for v in values)
    return Rank(cutoff(uow, rt, top, when), len(values), ahead + 1 if own > 0 else None)


def _values(
    uow: UnitOfWork, rt: Runtime, top: Top, when: When, told_at: datetime | None
) -> Iterator[int]:
    wanted = needs(top)
    get = getter(find(top.field))
    for now in all_subjects(uow, rt, wanted, told_at):
        value = get(as_of(uow, rt, now, wanted, when))
        if value is not None:
            yield value
