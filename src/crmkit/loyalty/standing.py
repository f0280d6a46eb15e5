"""What a customer sees of an account: points, tier, what expires, and how it came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
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
    at: datetime
    balance: int
    pending: int
    qualifying: int
    tier: str
    next_tier: str | None
    to_next_tier: int | None


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
        at=at,
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
    if account.indebted or list(accounts.lapsed(uow, account, at)):
        told = [*accounts.entries(uow, account), *accounts.lapsed(uow, account, at)]
        for lot in ledger.replay(told, at).lots.values():
            if at < lot.expires_at <= until:
                found[lot.expires_at] += lot.left
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
    """Entries and what expired by now, the latest first, behind a position."""
    lapses = list(accounts.lapsed(uow, account, now))
    if account.indebted or lapses:
        return _replayed(uow, account, lapses, now, start, limit)
    of: dict[str, Any] = {"customer_id": account.customer_id, "programme": account.programme}
    told = uow.find(
        PointsEntry,
        order=("occurred_at", "id"),
        descending=True,
        after=start,
        limit=limit,
        **of,
    )
    over = min(start, (now, _BEHIND)) if start else (now, _BEHIND)
    gone = [_expired_late(entry) for entry in told if _is_late(entry)]
    gone = [entry for entry in gone if start is None or _position(entry) < start]
    for status in ("open", "expired"):
        gone += _expired(uow, over, limit, {**of, "status": status})
    return sorted((*told, *gone), key=_position, reverse=True)[:limit]


def _expired(
    uow: UnitOfWork, start: tuple[datetime, str], limit: int, of: dict[str, Any]
) -> Iterator[PointsEntry]:
    while limit > 0:
        lots = uow.find(
            PointsLot,
            order=("expires_at", "id"),
            descending=True,
            after=start,
            limit=limit,
            **of,
        )
        ids = tuple(lot.id for lot in lots)
        back = uow.find(PointsEntry, lot_id=ids, kind="return") if lots else []
        late = Counter[str]()
        for entry in filter(_is_late, back):
            late[entry.lot_id or ""] += entry.points
        found = [(lot, points) for lot in lots if (points := lot.left - late[lot.id]) > 0]
        yield from (_expiry(lot, points) for lot, points in found)
        if len(lots) < limit or len(found) == limit:
            return
        start = (lots[-1].expires_at, lots[-1].id)


def _is_late(entry: PointsEntry) -> bool:
    """Whether points came back when their lot was over: they are gone at once."""
    return entry.kind == "return" and entry.occurred_at >= entry.expires_at


def _expired_late(entry: PointsEntry) -> PointsEntry:
    return evolved(
        entry,
        id=f"{_BEHIND}{entry.lot_id}",
        kind="expire",
        points=-entry.points,
        redemption_id=None,
        actor=None,
        reason=None,
        version=None,
        recorded_at=entry.occurred_at,
    )


def _expiry(lot: PointsLot, points: int) -> PointsEntry:
    """An entry that is not stored: what is over by its lot's instants needs no fact."""
    return PointsEntry(
        tenant=lot.tenant,
        id=lot.id,
        customer_id=lot.customer_id,
        programme=lot.programme,
        lot_id=lot.id,
        kind="expire",
        points=-points,
        qualifying=0,
        available_at=lot.available_at,
        expires_at=lot.expires_at,
        story=lot.story,
        rule=lot.rule,
        occurred_at=lot.expires_at,
        recorded_at=lot.expires_at,
        origin=lot.origin,
    )


def _expired_at(lot: PointsLot, points: int, at: datetime) -> PointsEntry:
    entry = _expiry(lot, points)
    if at == lot.expires_at:
        return entry
    return evolved(entry, id=f"{_BEHIND}{lot.id}", occurred_at=at, recorded_at=at)


def _replayed(
    uow: UnitOfWork,
    account: PointsAccount,
    lapses: Sequence[PointsEntry],
    now: datetime,
    start: tuple[datetime, str] | None,
    limit: int,
) -> list[PointsEntry]:
    told = [*accounts.entries(uow, account), *lapses]
    state = ledger.replay(told, now)
    ids = tuple({expiry.lot_id for expiry in state.expiries})
    lots = {lot.id: lot for lot in uow.find(PointsLot, id=ids)} if ids else {}
    gone = [_expired_at(lots[e.lot_id], -e.points, e.at) for e in state.expiries]
    every: Sequence[PointsEntry] = sorted((*told, *gone), key=_position, reverse=True)
    behind = [e for e in every if start is None or _position(e) < start]
    return behind[:limit]


def _position(entry: PointsEntry) -> tuple[datetime, str]:
    return entry.occurred_at, entry.id
