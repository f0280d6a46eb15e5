"""Accounts as they are stored: told at an instant, and posted to.

The customer whose account is posted to is held by the caller.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Any

import attrs

from crmkit.errors import InsufficientPoints
from crmkit.loyalty import ledger
from crmkit.model import (
    Enrolment,
    PointsAccount,
    PointsEntry,
    PointsLot,
    Redemption,
    RewardStock,
    TierGrant,
)
from crmkit.model.catalogue import evolved
from crmkit.model.time import FOREVER
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_BEHIND = "~"
"""Behind every id."""
_FIRST, _PAGE = 4, 50
"""How many lots are read at once: most that is taken comes from the first ones."""


@attrs.frozen
class Balance:
    """What an account holds at an instant."""

    balance: int = 0
    pending: int = 0


@attrs.frozen
class Posted:
    """An account before and after entries were posted to it."""

    before: PointsAccount
    after: PointsAccount
    news: Sequence[PointsEntry]


def holds(account: PointsAccount, at: datetime) -> bool:
    """Whether balance and pending points at an instant are those that are stored."""
    begun = account.since is None or account.since <= at
    return begun and (account.next_at is None or at < account.next_at)


def balance(uow: UnitOfWork, account: PointsAccount | None, at: datetime) -> Balance:
    """What an account holds at any instant, whether or not anybody settled it."""
    if account is None:
        return Balance()
    if holds(account, at):
        return Balance(account.balance, account.pending)
    return reckoned(uow, account, at)


def reckoned(uow: UnitOfWork, account: PointsAccount, at: datetime) -> Balance:
    """What an account holds at an instant by its entries alone, whatever is stored of it."""
    lapses = list(lapsed(uow, account, at))
    if account.indebted:
        state = ledger.replay([*entries(uow, account), *lapses], at)
        return Balance(state.balance, state.pending)
    of: dict[str, Any] = {"customer_id": account.customer_id, "programme": account.programme}
    usable = uow.totals(
        PointsEntry,
        "points",
        upto={"occurred_at": at, "available_at": at},
        beyond={"expires_at": at},
        **of,
    )
    coming = uow.totals(
        PointsEntry, "points", upto={"occurred_at": at}, beyond={"available_at": at}, **of
    )
    more, waiting = ledger.summed(lapses, at)
    return Balance(usable.get((), 0) + more, coming.get((), 0) + waiting)


def entries(uow: UnitOfWork, account: PointsAccount) -> list[PointsEntry]:
    """All entries of an account."""
    return uow.find(PointsEntry, customer_id=account.customer_id, programme=account.programme)


def lapsed(uow: UnitOfWork, account: PointsAccount, at: datetime) -> Iterable[PointsEntry]:
    """What comes back by `at` of rewards that nobody fetched, as entries that are not stored."""
    for reserved in _waiting(uow, account):
        if reserved.until <= at:
            yield from returned(uow, reserved, reserved.until)


def returned(uow: UnitOfWork, redemption: Redemption, at: datetime) -> list[PointsEntry]:
    """The entries that give a redemption's points back to their lots.

    Each is named by what it gives back, so that nothing comes back twice. None for one of
    somebody who was erased: the lots went with them.
    """
    if redemption.customer_id is None:
        return []
    taken = uow.find(PointsEntry, redemption_id=redemption.id, kind="burn")
    return [
        evolved(
            entry,
            id=f"{entry.id}-",
            kind="return",
            points=-entry.points,
            occurred_at=at,
            actor=redemption.ended_by,
            reason=redemption.reason,
        )
        for entry in taken
    ]


def _waiting(uow: UnitOfWork, account: PointsAccount) -> list[Redemption]:
    return uow.find(
        Redemption,
        customer_id=account.customer_id,
        programme=account.programme,
        fulfilled_at=None,
        cancelled_at=None,
    )


def read(
    uow: UnitOfWork, rt: Runtime, customers: Collection[str], programme: str
) -> dict[str, PointsAccount]:
    """The accounts of these customers; of who has none yet an empty one."""
    ids = tuple(sorted(customers))
    found = uow.find(PointsAccount, customer_id=ids, programme=programme)
    stored = {account.customer_id: account for account in found}
    return {
        customer_id: stored.get(customer_id) or empty(rt, customer_id, programme)
        for customer_id in ids
    }


def empty(rt: Runtime, customer_id: str, programme: str) -> PointsAccount:
    """An account without anything in it."""
    return PointsAccount(tenant=rt.tenant, customer_id=customer_id, programme=programme)


def post(
    uow: UnitOfWork,
    rt: Runtime,
    programme: str,
    news: Sequence[PointsEntry],
    lots: Iterable[PointsLot] = (),
    overdrawn: Collection[str] = (),
    known: Mapping[str, PointsAccount] | None = None,
) -> Mapping[str, Posted]:
    """Store entries, and what follows for lots and accounts; returns these, by customer.

    `overdrawn` are customers of whom more was taken off a lot than it had. `known` are
    accounts that were read before, in this unit of work.
    """
    by_customer: dict[str, list[PointsEntry]] = defaultdict(list)
    for entry in news:
        by_customer[entry.customer_id or ""].append(entry)
    before = dict(known or {})
    unread = by_customer.keys() - before.keys()
    if unread:
        before |= read(uow, rt, unread, programme)
    uow.add_many(news)
    uow.put_many(lots)
    now = rt.now()
    done: dict[str, Posted] = {}
    for customer_id, mine in sorted(by_customer.items()):
        account = evolved(
            before[customer_id],
            qualifying=before[customer_id].qualifying + sum(e.qualifying for e in mine),
            indebted=before[customer_id].indebted or customer_id in overdrawn,
        )
        if account.indebted or (account.next_at is not None and account.next_at <= now):
            account = settled(uow, rt, account)
        else:
            account = moved(account, mine, now)
        done[customer_id] = Posted(before[customer_id], account, mine)
    uow.put_many(posted.after for posted in done.values())
    return done


def moved(account: PointsAccount, news: Sequence[PointsEntry], now: datetime) -> PointsAccount:
    """An account that is neither indebted nor behind its time, with these entries too."""
    balance, pending = ledger.summed(news, now)
    times = chain.from_iterable(ledger.instants(e) for e in news)
    last, ahead = ledger.last_and_next((t for t in times if t != FOREVER), now)
    seen = [t for t in (account.since, last) if t is not None]
    coming = [t for t in (account.next_at, ahead) if t is not None]
    return evolved(
        account,
        balance=account.balance + balance,
        pending=account.pending + pending,
        since=max(seen, default=None),
        next_at=min(coming, default=None),
    )


def rebuilt(uow: UnitOfWork, rt: Runtime, customer_id: str, programme: str) -> PointsAccount | None:
    """The account as all its entries tell; None without any, or anything to wait for."""
    account = PointsAccount(tenant=rt.tenant, customer_id=customer_id, programme=programme)
    told = entries(uow, account)
    of: dict[str, Any] = {"customer_id": customer_id, "programme": programme}
    enrols = uow.count(Enrolment, **of) > 0
    known = told or enrols or uow.count(TierGrant, **of) or _waiting(uow, account)
    if not known:
        return None
    return settled(uow, rt, evolved(summed_up(account, told), enrols=enrols), told)


def summed_up(account: PointsAccount, told: Iterable[PointsEntry]) -> PointsAccount:
    """The account with what all its entries tell, but for what it holds at an instant."""
    by_lot: dict[str | None, list[PointsEntry]] = defaultdict(list)
    qualifying = 0
    for entry in told:
        by_lot[entry.lot_id].append(entry)
        qualifying += entry.qualifying
    by_lot.pop(None, None)
    indebted = any(ledger.is_overdrawn(mine) for mine in by_lot.values())
    return evolved(account, qualifying=qualifying, indebted=indebted)


def up_to_now(
    uow: UnitOfWork, rt: Runtime, customer_id: str, programme: str
) -> PointsAccount | None:
    """The account, settled where something was due."""
    account = uow.get(PointsAccount, customer_id, programme)
    if account is None or account.next_at is None or account.next_at > rt.now():
        return account
    return settle(uow, rt, account)


def look_again(uow: UnitOfWork, account: PointsAccount, at: datetime) -> None:
    """Let the account be settled at an instant too, when something may come back to it."""
    if account.next_at is None or at < account.next_at:
        uow.put(evolved(account, next_at=at))


def settle(uow: UnitOfWork, rt: Runtime, account: PointsAccount) -> PointsAccount:
    """Bring an account up to the clock's instant, and store it."""
    account = settled(uow, rt, account)
    uow.put(account)
    return account


def settled(
    uow: UnitOfWork,
    rt: Runtime,
    account: PointsAccount,
    told: Sequence[PointsEntry] | None = None,
) -> PointsAccount:
    """The account at the clock's instant; what lapsed until then is stored.

    `told` are all its entries, where they were read.
    """
    now = rt.now()
    times = [r.until for r in _lapse(uow, rt, account, now)]
    of: dict[str, Any] = {"customer_id": account.customer_id, "programme": account.programme}
    lots = uow.find(PointsLot, status="open", **of)
    over = tuple(lot.id for lot in lots if lot.expires_at <= now)
    if over:
        uow.change(PointsLot, {"status": "expired"}, id=over)
    times += chain.from_iterable((lot.available_at, lot.expires_at) for lot in lots)
    if told is None and account.indebted:
        told = entries(uow, account)
    some = _after(uow, account, now) if told is None else told
    times += chain.from_iterable(ledger.instants(e) for e in some)
    last, ahead = ledger.last_and_next((t for t in times if t != FOREVER), now)
    held = reckoned(uow, account, now)
    return evolved(
        account,
        balance=held.balance,
        pending=held.pending,
        since=now if told is None or last is None else last,
        next_at=ahead,
    )


def _after(
    uow: UnitOfWork, account: PointsAccount, at: datetime, limit: int | None = None
) -> list[PointsEntry]:
    """The entries that happen later."""
    return uow.find(
        PointsEntry,
        customer_id=account.customer_id,
        programme=account.programme,
        order=("occurred_at", "id"),
        after=(at, _BEHIND),
        limit=limit,
    )


def _lapse(uow: UnitOfWork, rt: Runtime, account: PointsAccount, now: datetime) -> list[Redemption]:
    """Cancel what nobody fetched by now; returns all that was waited for."""
    waiting = _waiting(uow, account)
    for reserved in waiting:
        if reserved.until <= now:
            give_back(uow, rt, reserved, reserved.until)
    return waiting


def give_back(uow: UnitOfWork, rt: Runtime, redemption: Redemption, at: datetime) -> None:
    """Cancel a redemption as of an instant: its points go to their lots, it to the stock.

    The account is left to the caller.
    """
    back = [evolved(entry, recorded_at=rt.now()) for entry in returned(uow, redemption, at)]
    uow.add_many(back)
    uow.put_many(_lots_after(uow, back))
    uow.put(evolved(redemption, cancelled_at=at))
    if redemption.taken:
        of, reward = redemption.programme, redemption.reward
        stock = RewardStock(tenant=rt.tenant, programme=of, reward=reward)
        uow.increase(stock, {"level": redemption.taken})


def _lots_after(uow: UnitOfWork, news: Iterable[PointsEntry]) -> list[PointsLot]:
    """The lots of entries that were not earned, with these."""
    by_lot = {e.lot_id: e for e in news}
    lots = uow.find(PointsLot, id=tuple(lot for lot in by_lot if lot)) if by_lot else []
    return [drawn(lot, -by_lot[lot.id].points) for lot in lots]


def owed(
    uow: UnitOfWork,
    rt: Runtime,
    account: PointsAccount,
    news: Iterable[PointsEntry],
    since: datetime,
) -> list[tuple[str, int, datetime]]:
    """What is owed from an instant on once these entries are posted: lot, points, since when.

    Each is told once: as if it were waived then.
    """
    told = [*entries(uow, account), *lapsed(uow, account, rt.now()), *news]
    return ledger.short(told, since)


def drawn(lot: PointsLot, points: int) -> PointsLot:
    """A lot of which so many points were used, or below zero given back."""
    left = lot.left - points
    status = lot.status if lot.status == "expired" else "open" if left else "spent"
    return evolved(lot, left=left, used=lot.used + points, status=status)


def allocate(
    uow: UnitOfWork, account: PointsAccount, points: int, at: datetime
) -> list[tuple[PointsLot, int]]:
    """The lots that so many points are taken from, the ones first that expire first.

    Raises `InsufficientPoints` if what can be used does not cover them.
    """
    is_plain = not account.indebted and _is_last(uow, account, at)
    found = _open(uow, account, at) if is_plain else _spare(uow, account, at)
    taken: list[tuple[PointsLot, int]] = []
    for lot, left in found:
        part = min(points, left)
        if part > 0:
            taken.append((lot, part))
            points -= part
        if not points:
            return taken
    raise InsufficientPoints("the balance does not cover these points")


def _open(uow: UnitOfWork, account: PointsAccount, at: datetime) -> Iterable[tuple[PointsLot, int]]:
    edge: tuple[datetime, str] = (at, _BEHIND)
    for limit in chain([_FIRST], repeat(_PAGE)):
        page = uow.find(
            PointsLot,
            customer_id=account.customer_id,
            programme=account.programme,
            status="open",
            order=("expires_at", "id"),
            after=edge,
            limit=limit,
        )
        yield from ((lot, lot.left) for lot in page if lot.available_at <= at)
        if len(page) < limit:
            return
        edge = (page[-1].expires_at, page[-1].id)


def _is_last(uow: UnitOfWork, account: PointsAccount, at: datetime) -> bool:
    """Whether nothing is known to happen later, so that what is left of lots is what they have."""
    if account.since is None or at < account.since:
        return False
    return account.next_at is None or not _after(uow, account, at, limit=1)


def _spare(
    uow: UnitOfWork, account: PointsAccount, at: datetime
) -> Iterable[tuple[PointsLot, int]]:
    found = ledger.spare(entries(uow, account), at)
    stored = {lot.id: lot for lot in uow.find(PointsLot, id=tuple(lot for lot, _ in found))}
    return [(stored[lot], points) for lot, points in found]


def pay(
    uow: UnitOfWork,
    rt: Runtime,
    account: PointsAccount,
    points: int,
    entry: PointsEntry,
) -> tuple[list[PointsEntry], list[PointsLot]]:
    """What taking so many points means for entries and lots; `entry` is the like of each."""
    found: list[PointsEntry] = []
    lots: list[PointsLot] = []
    for lot, part in allocate(uow, account, points, entry.occurred_at):
        lots.append(drawn(lot, part))
        found.append(
            evolved(
                entry,
                id=rt.new_id(),
                lot_id=lot.id,
                points=-part,
                available_at=lot.available_at,
                expires_at=lot.expires_at,
                story=lot.story,
                rule=lot.rule,
                origin=lot.origin,
            )
        )
    return found, lots
