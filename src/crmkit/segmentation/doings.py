"""What customers did, asked by rules: how often, how much, when, and what followed; pure.

Each answer says also until when it holds: what happened leaves its window at a known instant.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import attrs

from crmkit.model import Occasion
from crmkit.model.rule import (
    AllOf,
    AnyOf,
    Between,
    Compare,
    Did,
    Not,
    Occurs,
    Rule,
    Then,
    Window,
    leaves,
)
from crmkit.model.time import EARLIEST, FOREVER, Calendar, Duration
from crmkit.segmentation import moments
from crmkit.segmentation.comparing import value_test
from crmkit.segmentation.moments import Answer

Occasions: TypeAlias = Mapping[str, Sequence[Occasion]]
Asked: TypeAlias = Callable[[Occasions, datetime], Answer]
_Fits: TypeAlias = Callable[[Occasion], bool]

COLUMNS: Final[Mapping[str, str]] = {
    "item": "item",
    "venue": "venue",
    "category": "category",
    "channel": "channel",
    "status": "status",
    "amount": "amount_minor",
    "party_size": "party_size",
}
"""The fields of an occasion that conditions may name, and where they are kept."""

_MICROSECOND: Final = timedelta(microseconds=1)
_happened: Final[Callable[[Occasion], datetime]] = attrgetter("happened_at")


@attrs.frozen
class Done:
    """Something that was done: one activity, with as much of its amount as was asked for."""

    at: datetime
    fact: str
    amount_minor: int


@attrs.frozen
class _Choice:
    """Those of a customer's occasions that a rule speaks of."""

    kind: str
    fits: _Fits
    by_item: bool

    @classmethod
    def of(cls, what: Occurs) -> _Choice:
        named = () if what.where is None else leaves(what.where)
        by_item = any(isinstance(c, Compare) and c.field == "item" for c in named)
        return cls(what.kind, _fits(what.where), by_item)

    def done(
        self, occasions: Occasions, at: datetime, since: datetime | None = None
    ) -> tuple[list[Done], datetime]:
        """What was done by then and after `since`, in order; and when another version begins."""
        told = occasions.get(self.kind, ())
        start = 0 if since is None else bisect_right(told, since, key=_happened)
        until = FOREVER
        valid: list[Occasion] = []
        for o in told[start:]:
            if o.since > at:
                until = min(until, o.since)
            elif o.until is None or at < o.until:
                if o.until is not None:
                    until = min(until, o.until)
                valid.append(o)
        return (self._by_item(valid) if self.by_item else self._whole(valid)), until

    def _whole(self, valid: Sequence[Occasion]) -> list[Done]:
        fits = self.fits
        return [
            Done(o.happened_at, o.fact, o.amount_minor or 0)
            for o in valid
            if not o.part and fits(o)
        ]

    def _by_item(self, valid: Sequence[Occasion]) -> list[Done]:
        # The whole of an order of several items is none of them.
        parted = {o.fact for o in valid if o.part}
        found: dict[str, Done] = {}
        for o in valid:
            if (o.part or o.fact not in parted) and self.fits(o):
                before = found[o.fact].amount_minor if o.fact in found else 0
                found[o.fact] = Done(o.happened_at, o.fact, before + (o.amount_minor or 0))
        return [*found.values()]


def _fits(where: Rule | None) -> _Fits:
    match where:
        case None:
            return lambda o: True  # noqa: ARG005
        case AllOf(parts):
            every = [_fits(p) for p in parts]
            return lambda o: all(fits(o) for fits in every)
        case AnyOf(parts):
            some = [_fits(p) for p in parts]
            return lambda o: any(fits(o) for fits in some)
        case Not(part):
            inner = _fits(part)
            return lambda o: not inner(o)
        case Compare(field, "exists", wanted):
            get = attrgetter(COLUMNS[field])
            return lambda o: (get(o) is not None) is wanted
        case Compare(field, operator, value):
            get, test = attrgetter(COLUMNS[field]), value_test(operator, value)
            return lambda o: (found := get(o)) is not None and test(found)
    raise AssertionError("an occasion has no such condition")


@attrs.frozen
class _Reach:
    """A window at an instant: which of the doings, in order, lie in it, and how it moves."""

    window: Window | None
    zone: ZoneInfo

    def since(self, at: datetime) -> datetime | None:
        """What happened until then is outside for good; None where nothing ever leaves."""
        match self.window:
            case Duration():
                return self.window.before(at, self.zone)
            case Calendar():
                return self.window.span(at, self.zone)[0] - _MICROSECOND
            case Between(since):
                return None if since is None else since - _MICROSECOND
        return None

    def until(self, at: datetime) -> datetime | None:
        """What happened from then on is not inside, or not yet."""
        match self.window:
            case Calendar():
                return self.window.span(at, self.zone)[1]
            case Between(_, until):
                return until
        return None

    def inside(self, at: datetime, done: Sequence[Done]) -> Sequence[Done]:
        """Those that lie in it, of what was done after its `since`."""
        ends = self.until(at)
        return done if ends is None else [d for d in done if d.at < ends]

    def moves(self, at: datetime, done: Sequence[Done]) -> datetime:
        """When the window next holds others of them, or its first one no more."""
        if not done:
            return FOREVER
        match self.window:
            case Duration():
                return self.window.after(done[0].at, self.zone)
            case Calendar():
                return Calendar(self.window.unit).span(at, self.zone)[1]
        return FOREVER


def counted(
    what: Occurs, window: Window | None, zone: ZoneInfo
) -> Callable[[Occasions, datetime], Sequence[Done]]:
    """Reads what of it was done in the window, in order."""
    choice, reach = _Choice.of(what), _Reach(window, zone)

    def read(occasions: Occasions, at: datetime) -> Sequence[Done]:
        done, _ = choice.done(occasions, at, reach.since(at))
        return reach.inside(at, done)

    return read


def did(rule: Did, zone: ZoneInfo) -> Asked:
    """Whether a customer did something so often, so much or then; and until when that is sure."""
    choice, reach = _Choice.of(rule.what), _Reach(rule.window, zone)
    judge = _judge(rule, zone)

    def ask(occasions: Occasions, at: datetime) -> Answer:
        done, told_anew = choice.done(occasions, at, reach.since(at))
        inside = reach.inside(at, done)
        truth, until = judge(inside, at)
        until = min(until, told_anew)
        if isinstance(rule.window, Duration):
            return truth, _outlasts(rule, zone, inside, truth, until)
        return truth, min(until, reach.moves(at, done))

    return ask


def _outlasts(
    rule: Did, zone: ZoneInfo, inside: Sequence[Done], truth: bool, until: datetime
) -> datetime:
    """When the answer changes as one after the other leaves a trailing window."""
    length = rule.window
    if not inside or not isinstance(length, Duration):
        return until
    if rule.measure not in ("count", "sum"):
        return min(until, length.after(inside[0].at, zone))
    test = value_test(rule.operator, rule.value)
    left = len(inside) if rule.measure == "count" else sum(d.amount_minor for d in inside)
    for d in inside:
        left -= 1 if rule.measure == "count" else d.amount_minor
        if test(left) is not truth:
            return min(until, length.after(d.at, zone))
    return until


_Judge: TypeAlias = Callable[[Sequence[Done], datetime], Answer]


def _judge(rule: Did, zone: ZoneInfo) -> _Judge:
    """What the doings inside the window say."""
    measure = measured(rule.measure, zone)
    if rule.operator in moments.OPERATORS:
        ask = moments.timed(rule.operator, rule.value, zone)

        def by_time(inside: Sequence[Done], at: datetime) -> Answer:
            value = measure(inside)
            return (False, FOREVER) if value is None else ask(value, at)

        return by_time
    if rule.operator == "exists":
        return lambda inside, at: (bool(inside) is rule.value, FOREVER)  # noqa: ARG005
    test = value_test(rule.operator, rule.value)

    def by_value(inside: Sequence[Done], at: datetime) -> Answer:  # noqa: ARG001
        value = measure(inside)
        return value is not None and test(value), FOREVER

    return by_value


def measured(name: str, zone: ZoneInfo) -> Callable[[Sequence[Done]], Any]:
    """Reads a measure of what was done in a window; see `Did`."""
    match name:
        case "count":
            return len
        case "sum":
            return lambda inside: sum(d.amount_minor for d in inside)
        case "first" | "last":
            end = 0 if name == "first" else -1
            return lambda inside: inside[end].at if inside else None
    return lambda inside: most(inside, name, zone)


def most(done: Sequence[Done], unit: str, zone: ZoneInfo) -> int:
    """The most of them in one calendar unit."""
    step, ends, counts = Calendar(unit), EARLIEST, Counter[datetime]()
    for d in done:
        if d.at >= ends:
            ends = step.span(d.at, zone)[1]
        counts[ends] += 1
    return max(counts.values(), default=0)


def then(rule: Then, zone: ZoneInfo) -> Asked:
    """Whether something was followed by something else, or was not; and until when."""
    first, second = _Choice.of(rule.first), _Choice.of(rule.second)
    reach = _Reach(rule.window, zone)

    def ask(occasions: Occasions, at: datetime) -> Answer:
        begun, told_anew = first.done(occasions, at, reach.since(at))
        inside = reach.inside(at, begun)
        since = inside[0].at - _MICROSECOND if inside else None
        came, others = second.done(occasions, at, since) if inside else ([], FOREVER)
        until = min(told_anew, others)
        if not isinstance(rule.window, Duration):
            until = min(until, reach.moves(at, begun))
        held = lost = None
        for d in inside:
            deadline = rule.within.after(d.at, zone)
            if (_follower(d, came, deadline) is not None) is rule.follows:
                over = d.at if rule.follows else deadline + _MICROSECOND
                if at < over:
                    lost = min(lost or over, over)
                    continue
                leaves_at = reach.moves(at, [d]) if isinstance(rule.window, Duration) else FOREVER
                held = max(held or leaves_at, leaves_at)
        if held is not None:
            return True, min(until, held)
        return False, until if lost is None else min(until, lost)

    return ask


def followed(
    rule: Then, zone: ZoneInfo
) -> Callable[[Occasions, datetime], Sequence[tuple[Done, Done | None]]]:
    """Reads what was done first, in the window, each with what followed it in time."""
    begun, second = counted(rule.first, rule.window, zone), _Choice.of(rule.second)

    def read(occasions: Occasions, at: datetime) -> Sequence[tuple[Done, Done | None]]:
        came, _ = second.done(occasions, at)
        return [
            (d, _follower(d, came, rule.within.after(d.at, zone))) for d in begun(occasions, at)
        ]

    return read


def _follower(first: Done, came: Sequence[Done], deadline: datetime) -> Done | None:
    after = bisect_left(came, first.at, key=attrgetter("at"))
    for second in came[after:]:
        if second.at > deadline:
            return None
        if second.fact != first.fact:
            return second
    return None
