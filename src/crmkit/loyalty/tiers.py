"""Tiers: a pure function of what qualified, of the tiers that were given, and of the policy.

A tier is *reached* while what qualifies within the policy's window comes to what the tier
begins at. It is *held* from the instant it is reached until `grace_days` after the first
instant at which it is reached no longer; where the policy has a review, until `grace_days`
after the end of the calendar unit which that instant lies in. Reached again by then, it was
never lost. The tier of a customer is the highest that they hold or were given.

As each tier is held by itself, whoever qualifies for more never has a lower tier: to fall at
the end of the grace to what is reached at that very instant would punish having once been
higher.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias
from zoneinfo import ZoneInfo

import attrs

from crmkit.config import Settings
from crmkit.model import TierGrant, TierPeriod
from crmkit.model.money import digits
from crmkit.model.time import FOREVER, Calendar, midnight
from crmkit.programmes import Programme

_Levels: TypeAlias = Mapping[datetime, int]
"""What holds from each instant on, in order; 0 before the first."""
_Span: TypeAlias = tuple[datetime, datetime]


@attrs.frozen
class Step:
    """What qualifies from an instant on, or is taken back where the amount is below zero.

    The amount is in points, visits or minor units of money, as the policy has it. It leaves a
    window with what came at `earned_at` (`at` if None): what is taken back late goes when
    that goes which it takes back.
    """

    at: datetime
    amount: int
    earned_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Progress:
    """How far a customer is, from the next tier and from losing this one.

    Amounts are in points, visits or minor units of money. `qualifying` is what counts in the
    window now. At the top of what can be reached there is no `next_tier`. At `keep_by` the
    tier is lost if nothing more comes, None for never; `to_keep` is how much more keeps it,
    if it comes before it is looked at (before the end of the grace, once that is past), 0
    where nothing is to be lost and None where the tier is only given. `given` is the tier
    that was given, while it is higher than what is earned, until `given_until` (None for
    good).
    """

    tier: str
    qualifying: int
    next_tier: str | None
    to_next: int | None
    keep_by: datetime | None
    to_keep: int | None
    given: str | None
    given_until: datetime | None


def periods(
    steps: Iterable[Step],
    grants: Iterable[TierGrant],
    programme: Programme,
    settings: Settings,
    *,
    tenant: str,
    customer_id: str,
) -> list[TierPeriod]:
    """A customer's tiers from the first above the lowest on; the last one until `FOREVER`.

    No period follows the one before it with the same tier. Empty for who never leaves the
    first tier.
    """
    reckoned = _Reckoned.of(steps, grants, programme, settings)
    found = [*reckoned.changes(), (FOREVER, 0, "")]
    return [
        TierPeriod(
            tenant=tenant,
            customer_id=customer_id,
            programme=programme.name,
            since=since,
            until=until,
            rank=rank,
            tier=programme.tiers[rank].name,
            cause=cause,
        )
        for (since, rank, cause), (until, _, _) in pairwise(found)
    ]


def progress(
    steps: Iterable[Step],
    grants: Iterable[TierGrant],
    programme: Programme,
    settings: Settings,
    at: datetime,
) -> Progress:
    """How far the customer is at an instant, by what had come until then."""
    reckoned = _Reckoned.of(
        (step for step in steps if step.at <= at),
        (grant for grant in grants if grant.occurred_at <= at),
        programme,
        settings,
    )
    rank, starts = reckoned.rank(at), reckoned.starts
    qualifying = _value(reckoned.totals, at)
    ahead = rank + 1 if rank + 1 < len(starts) else None
    gift = _value(reckoned.given, at)
    decides = gift > _value(reckoned.earned, at)
    ends = next((t for t in reckoned.given if t > at), FOREVER) if decides else FOREVER
    lost = reckoned.lost(at)
    return Progress(
        tier=programme.tiers[rank].name,
        qualifying=qualifying,
        next_tier=None if ahead is None else programme.tiers[ahead].name,
        to_next=None if ahead is None else starts[ahead] - qualifying,
        keep_by=lost,
        to_keep=0 if lost is None else reckoned.to_keep(at, lost),
        given=programme.tiers[gift].name if decides else None,
        given_until=None if ends == FOREVER else ends,
    )


def rank_at(tiers: Sequence[TierPeriod], at: datetime) -> tuple[int, datetime]:
    """The rank at an instant by a customer's periods, in order, and until when it stays."""
    n = bisect_right(tiers, at, key=lambda period: period.since)
    if n:
        return tiers[n - 1].rank, tiers[n - 1].until
    return 0, tiers[0].since if tiers else FOREVER


@attrs.frozen
class _Reckoned:
    """What qualified, what was earned by it, and what was given, from each instant on."""

    programme: Programme
    starts: Sequence[int]
    totals: _Levels
    earned: _Levels
    given: _Levels

    @classmethod
    def of(
        cls,
        steps: Iterable[Step],
        grants: Iterable[TierGrant],
        programme: Programme,
        settings: Settings,
    ) -> _Reckoned:
        by_spend = programme.policy.by == "spend"
        unit = 10 ** digits(settings.currency) if by_spend else 1
        starts = [start * unit for start in programme.starts]
        totals = _totals(steps, programme, settings.zone)
        earned = _earned(totals, starts, programme, settings.zone)
        return cls(programme, starts, totals, earned, _given(grants, programme))

    def changes(self) -> Iterator[tuple[datetime, int, str]]:
        """Each change of the tier: from when on, its rank, and why."""
        own = gift = rank = 0
        for at in sorted({*self.earned, *self.given}):
            was_given = gift > own
            own, gift = self.earned.get(at, own), self.given.get(at, gift)
            before, rank = rank, max(own, gift)
            if rank != before:
                fell = "returned" if was_given else "lowered"
                yield at, rank, "given" if gift > own else "reached" if rank > before else fell

    def rank(self, at: datetime) -> int:
        """The tier at an instant."""
        return max(_value(self.earned, at), _value(self.given, at))

    def lost(self, at: datetime) -> datetime | None:
        """When the tier of an instant will be lost."""
        rank = self.rank(at)
        return next((t for t, to, _ in self.changes() if t > at and to < rank), None)

    def to_keep(self, at: datetime, lost: datetime) -> int | None:
        """How much more keeps the tier beyond the instant at which it will be lost."""
        rank, policy = self.rank(at), self.programme.policy
        if rank >= len(self.starts):
            return None
        grace = timedelta(days=policy.grace_days)
        decided = lost
        if policy.reviewed and lost - grace > at and _value(self.earned, lost, just=True) >= rank:
            decided = lost - grace
        # What is held beyond the instant at which it is reached may be reached just before.
        lasts = bool(policy.reviewed or grace)
        return self.starts[rank] - _value(self.totals, decided, just=lasts)


def _value(levels: _Levels, at: datetime, *, just: bool = False) -> int:
    """What holds at an instant, or just before it."""
    instants = list(levels)
    n = bisect_left(instants, at) if just else bisect_right(instants, at)
    return levels[instants[n - 1]] if n else 0


def _totals(steps: Iterable[Step], programme: Programme, zone: ZoneInfo) -> _Levels:
    """What qualifies within the window of each instant."""
    moved: dict[datetime, int] = defaultdict(int)
    for step in steps:
        ends = _leaves(step.earned_at or step.at, programme, zone)
        if ends > step.at:
            moved[step.at] += step.amount
            moved[ends] -= step.amount
    return _summed(moved)


def _leaves(earned_at: datetime, programme: Programme, zone: ZoneInfo) -> datetime:
    """From when on the window holds it no longer."""
    policy = programme.policy
    if policy.window_days is not None:
        return earned_at + timedelta(days=policy.window_days)
    return _end(policy.calendar, earned_at, zone) if policy.calendar else FOREVER


def _earned(
    totals: _Levels, starts: Sequence[int], programme: Programme, zone: ZoneInfo
) -> _Levels:
    """The highest tier that is held."""
    policy = programme.policy
    grace = timedelta(days=policy.grace_days)

    def lost(missed: datetime) -> datetime:
        if missed == FOREVER:
            return FOREVER
        return (_end(policy.reviewed, missed, zone) if policy.reviewed else missed) + grace

    moved: dict[datetime, int] = defaultdict(int)
    for start in starts[1:]:
        reached = _reached(totals, start)
        for since, until in _joined((since, lost(missed)) for since, missed in reached):
            moved[since] += 1
            moved[until] -= 1
    return _summed(moved)


def _reached(totals: _Levels, start: int) -> Iterator[_Span]:
    """From when until when at least so much qualifies."""
    since: datetime | None = None
    for at, total in totals.items():
        if total >= start and since is None:
            since = at
        elif total < start and since is not None:
            yield since, at
            since = None
    if since is not None:
        yield since, FOREVER


def _joined(spans: Iterable[_Span]) -> Iterator[_Span]:
    """The spans in their order, those made one that meet."""
    last: _Span | None = None
    for since, until in spans:
        if last is not None and last[1] < since:
            yield last
            last = None
        last = (last[0] if last else since), until
    if last is not None:
        yield last


def _summed(moved: Mapping[datetime, int]) -> _Levels:
    total, levels = 0, dict[datetime, int]()
    for at in sorted(moved):
        total += moved[at]
        if at != FOREVER:
            levels[at] = total
    return levels


def _given(grants: Iterable[TierGrant], programme: Programme) -> _Levels:
    """The tier that was last given; one that the programme no longer names is none."""
    ordered = sorted(grants, key=lambda grant: (grant.occurred_at, grant.id))
    levels: dict[datetime, int] = {}
    for n, grant in enumerate(ordered, 1):
        since, until = grant.occurred_at, grant.until
        if n < len(ordered):  # the next one counts from then on, even if it gives nothing
            until = min(until, ordered[n].occurred_at)
        if since < until:
            levels[since] = programme.ranks.get(grant.tier or "", 0)
        if since < until < FOREVER:
            levels[until] = 0
    return levels


def _end(unit: str, at: datetime, zone: ZoneInfo) -> datetime:
    """When the calendar unit ends which an instant lies in."""
    end = _ending(unit, at.astimezone(zone).date(), zone)
    # Where clocks are turned back over midnight, the day before comes once more after it.
    return end if end > at else _end(unit, end, zone)


@lru_cache(maxsize=4_096)
def _ending(unit: str, day: date, zone: ZoneInfo) -> datetime:
    return Calendar(unit).span(midnight(day, zone), zone)[1]
