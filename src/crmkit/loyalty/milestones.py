"""Milestones: what customers reach once in their life, whatever is taken back later.

Reaching one is a decision, made when the numbers first say so: it depends on what was known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

import attrs

from crmkit.activities.metrics import NOTHING, effect
from crmkit.activities.recording import StoriesChanged
from crmkit.loyalty import accounts, tiering
from crmkit.loyalty.membership import memberships
from crmkit.loyalty.periods import dates
from crmkit.model import (
    Achievement,
    Activity,
    Metrics,
    PointsAccount,
    PointsEntry,
    PointsLot,
    TierGrant,
)
from crmkit.model.money import digits
from crmkit.model.time import FOREVER
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Milestone, Programme

SOURCE: Final = "milestone"
"""Where lots and tiers come from that milestones give."""

_SHARED: Final = frozenset({"orders", "spend"})
"""What whoever bears a share of another's bill has more of."""

_Step: TypeAlias = tuple[Activity, int]
"""A fact, and how much more there is of something since."""


@attrs.frozen
class Reached:
    """A milestone that a customer reached, by a fact, at an instant."""

    customer_id: str
    milestone: Milestone
    fact: Activity
    at: datetime


def reach(
    uow: UnitOfWork, rt: Runtime, programme: Programme, event: StoriesChanged
) -> Sequence[Reached]:
    """Note who reached a milestone, and give what it gives; returns what was reached.

    Reads nothing unless there is more of something that a milestone counts.
    """
    counted = {milestone.counts for milestone in programme.milestones}
    risen = _risen(rt, event, counted) if counted else {}
    if not risen:
        return ()
    found = _reached(uow, rt, programme, risen)
    known = uow.find(
        Achievement,
        customer_id=tuple(sorted({r.customer_id for r in found})),
        programme=programme.name,
    ) if found else ()  # fmt: skip
    had = {(a.customer_id, a.milestone) for a in known}
    news = [r for r in found if (r.customer_id, r.milestone.name) not in had]
    customers = {r.customer_id for r in news}
    theirs = accounts.read(uow, rt, customers, programme.name) if news else {}
    joined = memberships(uow, programme, theirs)
    news = [r for r in news if r.customer_id not in joined or joined[r.customer_id](r.at)]
    if news:
        _give(uow, rt, programme, news)
    return news


def _risen(
    rt: Runtime, event: StoriesChanged, counted: Collection[str]
) -> Mapping[tuple[str, str], list[_Step]]:
    """By customer and by what is counted: the facts since which there is more or less of it.

    Only where there is more after all of them.
    """
    steps: dict[tuple[str, str], list[_Step]] = defaultdict(list)
    for change in event.changes:
        after = effect(change.after, rt.settings, tallied=False).sums
        before = NOTHING.sums
        if change.before is not None:
            before = effect(change.before, rt.settings, tallied=False).sums
        for name in counted:
            field = "spend_minor" if name == "spend" else name
            more = after.get(field, 0) - before.get(field, 0)
            if more:
                steps[change.fact.customer_id or "", name].append((change.fact, more))
    risen = {place: told for place, told in steps.items() if any(n > 0 for _, n in told)}
    for fact in (c.fact for c in event.changes if any(f.shares for f in c.after.standing)):
        for customer_id in event.customers - {fact.customer_id}:
            for name in _SHARED & {*counted}:
                risen.setdefault((customer_id, name), []).append((fact, 0))
    return risen


def _reached(
    uow: UnitOfWork,
    rt: Runtime,
    programme: Programme,
    risen: Mapping[tuple[str, str], Sequence[_Step]],
) -> list[Reached]:
    minor = 10 ** digits(rt.settings.currency)
    customers = tuple(sorted({customer_id for customer_id, _ in risen}))
    found: list[Reached] = []
    for metrics in uow.find(Metrics, customer_id=customers):
        for milestone in programme.milestones:
            steps = risen.get((metrics.customer_id, milestone.counts))
            spend = milestone.counts == "spend"
            total = metrics.spend_minor if spend else getattr(metrics, milestone.counts)
            aim = milestone.reaches * (minor if spend else 1)
            if steps and total >= aim:
                fact = _crossing(steps, total, aim)
                at = min(fact.occurred_at, rt.now())
                found.append(Reached(metrics.customer_id, milestone, fact, at))
    return found


def _crossing(steps: Iterable[_Step], total: int, aim: int) -> Activity:
    """The fact by which the aim was reached, of those that led to this total."""
    ordered = sorted(steps, key=lambda step: (step[0].occurred_at, step[0].id))
    had = total - sum(more for _, more in ordered)
    for fact, more in ordered:
        had += more
        if had >= aim:
            return fact
    raise AssertionError("the last of them leads to the total")


def _give(uow: UnitOfWork, rt: Runtime, programme: Programme, news: Sequence[Reached]) -> None:
    uow.add_many(
        Achievement(
            tenant=rt.tenant,
            customer_id=reached.customer_id,
            programme=programme.name,
            milestone=reached.milestone.name,
            reached_at=reached.at,
        )
        for reached in news
    )
    lots = [_lot(rt, programme, reached) for reached in news if reached.milestone.points]
    if lots:
        entries = [_entry(rt, programme, lot) for lot in lots]
        accounts.post(uow, rt, programme.name, entries, lots)
    _give_tiers(uow, rt, programme, [r for r in news if r.milestone.tier is not None])


def _lot(rt: Runtime, programme: Programme, reached: Reached) -> PointsLot:
    points = reached.milestone.points
    available, expires = dates(programme, None, reached.at, rt.settings.zone)
    return PointsLot(
        tenant=rt.tenant,
        id=rt.new_id(),
        customer_id=reached.customer_id,
        programme=programme.name,
        source=SOURCE,
        rule=reached.milestone.name,
        full=points,
        left=points,
        earned_at=reached.at,
        available_at=available,
        expires_at=expires,
        origin=_origin(reached),
    )


def _entry(rt: Runtime, programme: Programme, lot: PointsLot) -> PointsEntry:
    return PointsEntry(
        tenant=rt.tenant,
        id=rt.new_id(),
        customer_id=lot.customer_id,
        programme=programme.name,
        lot_id=lot.id,
        kind="earn",
        points=lot.full,
        qualifying=0,
        available_at=lot.available_at,
        expires_at=lot.expires_at,
        rule=lot.rule,
        version=programme.version,
        occurred_at=lot.earned_at,
        recorded_at=rt.now(),
        origin=lot.origin,
    )


def _give_tiers(
    uow: UnitOfWork, rt: Runtime, programme: Programme, news: Sequence[Reached]
) -> None:
    """Give the tiers; of who was given as high a one that still holds, that one stays."""
    if not news:
        return
    customers = tuple(sorted({reached.customer_id for reached in news}))
    ranks = programme.ranks
    held: dict[str, tuple[int, datetime]] = {}
    order = ("occurred_at", "id")
    for grant in uow.find(TierGrant, customer_id=customers, programme=programme.name, order=order):
        held[grant.customer_id] = ranks.get(grant.tier or "", 0), grant.until
    grants: list[TierGrant] = []
    for reached in sorted(news, key=lambda r: r.at):
        tier = reached.milestone.tier or ""
        rank, until = held.get(reached.customer_id, (0, FOREVER))
        if until > reached.at and rank >= ranks[tier]:
            continue
        held[reached.customer_id] = ranks[tier], FOREVER
        grants.append(
            TierGrant(
                tenant=rt.tenant,
                id=rt.new_id(),
                customer_id=reached.customer_id,
                programme=programme.name,
                tier=tier,
                until=FOREVER,
                source=SOURCE,
                reason=reached.milestone.name,
                occurred_at=reached.at,
                recorded_at=rt.now(),
                origin=_origin(reached),
            )
        )
    uow.add_many(grants)
    given = {grant.customer_id for grant in grants}
    for customer_id in sorted(given):  # tiers are recounted account by account
        uow.add_if_absent(
            PointsAccount(tenant=rt.tenant, customer_id=customer_id, programme=programme.name)
        )
    tiering.retier(uow, rt, programme, given)


def _origin(reached: Reached) -> str | None:
    """As that of the fact, unless it is another's whose bill was shared."""
    return reached.fact.origin if reached.fact.customer_id == reached.customer_id else None
