"""What a customer sees of an account: points, tier, what expires, and how it came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from crmkit.loyalty import accounts, ledger
from crmkit.model import PointsAccount, PointsEntry, PointsLot, TierPeriod
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme

_BEHIND = "~"
_NEXT = timedelta(microseconds=1)


@attrs.frozen
class Account:
    """A customer's points at an instant: what can be used, what cannot yet, and the tier.

    `balance` below zero is debt: points that were used before their booking was called off.
    `qualifying` is what ever counted for the tier, in its unit: points, minor units of money
    or visits. `to_next_tier` is None at the top of what can be reached.
    """

    customer_id: str
    programme: str
    balance: int
    pending: int
    qualifying: int
    tier: str
    next_tier: str | None
    to_next_tier: int | None


@attrs.frozen
class Earning:
    """What an activity would earn by one rule, and when the points could be used."""

    rule: str
    points: int
    on_completion: bool
    available_at: datetime
    expires_at: datetime | None


@attrs.frozen
class Expiring:
    """Points that expire unused at an instant, unless they are used before."""

    at: datetime
    points: int


def standing(
    uow: UnitOfWork, programme: Programme, customer_id: str, at: datetime, minor: int
) -> Account:
    """The account as its owner sees it; `minor` is how many minor units a major unit has."""
    account = uow.get(PointsAccount, customer_id, programme.name)
    held = accounts.balance(uow, account, at)
    qualifying = _qualifying(uow, account, at)
    rank = rank_at(uow, programme, customer_id, at)
    unit = minor if programme.policy.by == "spend" else 1
    ahead = next(((n, start * unit) for n, start in enumerate(programme.starts) if n > rank), None)
    return Account(
        customer_id=customer_id,
        programme=programme.name,
        balance=held.balance,
        pending=held.pending,
        qualifying=qualifying,
        tier=programme.tiers[rank].name,
        next_tier=programme.tiers[ahead[0]].name if ahead else None,
        to_next_tier=max(ahead[1] - qualifying, 0) if ahead else None,
    )


def rank_at(uow: UnitOfWork, programme: Programme, customer_id: str, at: datetime) -> int:
    """The place of the customer's tier at an instant."""
    found = uow.find(
        TierPeriod,
        customer_id=customer_id,
        programme=programme.name,
        order=("since",),
        descending=True,
        after=(at + _NEXT,),
        limit=1,
    )
    if not found or found[0].until <= at:
        return 0
    return min(found[0].rank, len(programme.tiers) - 1)


def _qualifying(uow: UnitOfWork, account: PointsAccount | None, at: datetime) -> int:
    if account is None:
        return 0
    if account.since is not None and account.since <= at and not account.next_at:
        return account.qualifying
    of: dict[str, Any] = {"customer_id": account.customer_id, "programme": account.programme}
    sums = uow.totals(PointsEntry, "qualifying", upto={"occurred_at": at}, **of)
    return sums.get((), 0)


def expiring(
    uow: UnitOfWork, account: PointsAccount | None, at: datetime, until: datetime
) -> tuple[Expiring, ...]:
    """What expires after an instant and not later than another, the soonest first."""
    found: Counter[datetime] = Counter()
    if account is None:
        return ()
    lapses = list(accounts.lapsed(uow, account, at))
    if account.indebted or lapses:
        told = [e for e in accounts.entries(uow, account) if e.occurred_at <= at]
        for effect in ledger.replay([*told, *lapses], until).effects:
            if effect.kind == "expire" and effect.at > at:
                found[effect.at] -= effect.points
    else:
        of: dict[str, Any] = {"customer_id": account.customer_id, "programme": account.programme}
        sums = uow.totals(
            PointsEntry,
            "points",
            by=("expires_at",),
            upto={"occurred_at": at, "expires_at": until},
            beyond={"expires_at": at},
            **of,
        )
        for (moment,), points in sums.items():
            found[moment] += points
    return tuple(Expiring(moment, found[moment]) for moment in sorted(found) if found[moment])


def history(
    uow: UnitOfWork,
    account: PointsAccount,
    now: datetime,
    start: tuple[datetime, str] | None,
    limit: int,
) -> list[PointsEntry]:
    """Entries and what expired by now, the latest first, behind a position.

    Up to so many, each with its position; those of one operation are one, with the last's.
    """
    found: list[PointsEntry] = []
    while True:
        page = _told(uow, account, now, start, limit)
        for entry in page:
            if found and _together(found[-1], entry):
                points = found[-1].points + entry.points
                found[-1] = evolved(entry, points=points, lot_id=None)
            elif len(found) == limit:
                return found
            else:
                found.append(entry)
        if len(page) < limit:
            return found
        start = position(page[-1])


def _together(one: PointsEntry, other: PointsEntry) -> bool:
    """Whether both are parts of what was taken, or given back, at once."""
    return (
        one.kind in ("burn", "return", "adjust")
        and one.points * other.points > 0
        and (one.points < 0 or one.kind == "return")
        and all(getattr(one, name) == getattr(other, name) for name in _OPERATION)
    )


_OPERATION = ("kind", "occurred_at", "recorded_at", "redemption_id", "reason", "actor")


def _told(
    uow: UnitOfWork,
    account: PointsAccount,
    now: datetime,
    start: tuple[datetime, str] | None,
    limit: int,
) -> list[PointsEntry]:
    """What happened by now, the latest first, behind a position.

    The entries; what lapsed, though nobody settled it; and what follows of these, so that
    all that happened by an instant adds up to what there was then.
    """
    over = min(start, (now, _BEHIND)) if start else (now, _BEHIND)
    lapses = list(accounts.lapsed(uow, account, now))
    if account.indebted or lapses:
        told = [e for e in accounts.entries(uow, account) if e.occurred_at <= now] + lapses
        told += _effects(told, now)
    else:
        of: dict[str, Any] = {"customer_id": account.customer_id, "programme": account.programme}
        told = uow.find(
            PointsEntry,
            order=("occurred_at", "id"),
            descending=True,
            after=over,
            limit=limit,
            **of,
        )
        told += [_over_at_once(e) for e in told if e.lot_id and e.expires_at <= e.occurred_at]
        for status in ("open", "expired"):
            told += _expired(uow, over, limit, {**of, "status": status})
    behind = (e for e in told if position(e) < over)
    return sorted(behind, key=position, reverse=True)[:limit]


def _expired(
    uow: UnitOfWork, start: tuple[datetime, str], limit: int, of: dict[str, Any]
) -> list[PointsEntry]:
    found: list[PointsEntry] = []
    while len(found) < limit:
        lots = uow.find(
            PointsLot,
            order=("expires_at", "id"),
            descending=True,
            after=start,
            limit=limit,
            **of,
        )
        if not lots:
            break
        sums: Counter[str] = Counter()
        for entry in uow.find(PointsEntry, lot_id=tuple(lot.id for lot in lots)):
            if entry.occurred_at < entry.expires_at:
                sums[entry.lot_id or ""] += entry.points
        found += [_expiry(lot, -sums[lot.id]) for lot in lots if sums[lot.id]]
        if len(lots) < limit:
            break
        start = (lots[-1].expires_at, lots[-1].id)
    return found


def _expiry(lot: PointsLot, points: int) -> PointsEntry:
    """An entry that is not stored: what is over by its lot's instants needs no fact."""
    return PointsEntry(
        tenant=lot.tenant,
        id=lot.id,
        customer_id=lot.customer_id,
        programme=lot.programme,
        lot_id=lot.id,
        kind="expire",
        points=points,
        qualifying=0,
        available_at=lot.available_at,
        expires_at=lot.expires_at,
        story=lot.story,
        rule=lot.rule,
        occurred_at=lot.expires_at,
        recorded_at=lot.expires_at,
        origin=lot.origin,
    )


def _over_at_once(entry: PointsEntry) -> PointsEntry:
    """What comes to a lot that is over is over; what is taken off it was over."""
    return _following(entry, "expire", -entry.points, entry.occurred_at, f"{entry.id}{_BEHIND}")


def _effects(told: Sequence[PointsEntry], now: datetime) -> list[PointsEntry]:
    """The effects of a replay, as entries that are not stored."""
    like = {entry.lot_id: entry for entry in told}
    sums: Counter[tuple[datetime, str, str]] = Counter()
    for effect in ledger.replay(told, now).effects:
        sums[effect.at, effect.lot_id, effect.kind] += effect.points
    # What is over as it comes follows what came, as where nothing has to be replayed.
    last = {(e.occurred_at, e.lot_id): e.id for e in sorted(told, key=position)}

    def made_id(at: datetime, lot: str, kind: str) -> str:
        if kind == "expire" and at == like[lot].expires_at:
            return lot
        return f"{last.get((at, lot), lot) if kind == 'expire' else lot}{_BEHIND}"

    return [
        _following(like[lot], kind, points, at, made_id(at, lot, kind))
        for (at, lot, kind), points in sums.items()
        if points
    ]


def _following(
    like: PointsEntry, kind: str, points: int, at: datetime, made_id: str
) -> PointsEntry:
    return evolved(
        like,
        id=made_id,
        kind=kind,
        points=points,
        qualifying=0,
        redemption_id=None,
        actor=None,
        reason=None,
        version=None,
        occurred_at=at,
        recorded_at=at,
    )


def position(entry: PointsEntry) -> tuple[datetime, str]:
    """Where an entry stands in the order of time."""
    return entry.occurred_at, entry.id
