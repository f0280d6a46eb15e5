"""What all accounts of a programme hold at an instant, a page of them in memory at a time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from crmkit.loyalty import accounts, ledger
from crmkit.model import PointsAccount, PointsEntry, Redemption
from crmkit.ports.storage import UnitOfWork

_PAGE = 500


@attrs.frozen
class Holding:
    """What one account holds: points by when they expire, and what is owed."""

    usable: Mapping[datetime, int]
    pending: Mapping[datetime, int]
    debt: int = 0

    @property
    def balance(self) -> int:
        """What can be used; below zero what is owed."""
        return sum(self.usable.values()) - self.debt


def holdings(uow: UnitOfWork, programme: str, at: datetime) -> Iterator[Holding]:
    """What each account holds, whether or not anybody settled it; also ahead of time."""
    after: tuple[str, str] | None = None
    while True:
        page = uow.find(PointsAccount, programme=programme, after=after, limit=_PAGE)
        yield from _of_page(uow, page, at)
        if len(page) < _PAGE:
            return
        after = (page[-1].customer_id, page[-1].programme)


def _of_page(uow: UnitOfWork, page: Sequence[PointsAccount], at: datetime) -> Iterator[Holding]:
    filled = [a for a in page if a.balance or a.pending or not accounts.holds(a, at)]
    for _ in range(len(page) - len(filled)):
        yield Holding({}, {})
    back = _lapsed(uow, filled, at)
    plain = [account for account in filled if not account.indebted]
    usable, pending = _sums(uow, plain, at)
    for account in plain:
        mine = usable[account.customer_id], pending[account.customer_id]
        for entry in back[account.customer_id]:
            if entry.expires_at > at:
                mine[entry.available_at > at][entry.expires_at] += entry.points
        yield Holding(+mine[False], +mine[True])
    for account in filled:
        if account.indebted:
            told = [*accounts.entries(uow, account), *back[account.customer_id]]
            yield _replayed(ledger.replay(told, at))


def _lapsed(
    uow: UnitOfWork, of: Sequence[PointsAccount], at: datetime
) -> Mapping[str, list[PointsEntry]]:
    """What came back by then of rewards that nobody fetched, by customer."""
    found: dict[str, list[PointsEntry]] = defaultdict(list)
    if of:
        ids = tuple(account.customer_id for account in of)
        theirs: dict[str, Any] = {"customer_id": ids, "programme": of[0].programme}
        for reserved in uow.find(Redemption, fulfilled_at=None, cancelled_at=None, **theirs):
            if reserved.until <= at:
                found[reserved.customer_id or ""] += accounts.returned(
                    uow, reserved, reserved.until
                )
    return found


def _sums(
    uow: UnitOfWork, of: Sequence[PointsAccount], at: datetime
) -> tuple[Mapping[str, Counter[datetime]], Mapping[str, Counter[datetime]]]:
    """What can be used and what cannot yet, by customer and expiry; of accounts without debt."""
    usable: dict[str, Counter[datetime]] = defaultdict(Counter)
    pending: dict[str, Counter[datetime]] = defaultdict(Counter)
    if of:
        ids = tuple(account.customer_id for account in of)
        theirs: dict[str, Any] = {"customer_id": ids, "programme": of[0].programme}
        by = ("customer_id", "expires_at")
        now, ahead = {"occurred_at": at, "available_at": at}, {"occurred_at": at}
        for sums, upto, beyond in (
            (usable, now, {"expires_at": at}),
            (pending, ahead, {"available_at": at}),
        ):
            found = uow.totals(PointsEntry, "points", by=by, upto=upto, beyond=beyond, **theirs)
            for (customer_id, expires_at), points in found.items():
                sums[customer_id][expires_at] = points
    return usable, pending


def _replayed(state: ledger.State) -> Holding:
    usable: Counter[datetime] = Counter()
    pending: Counter[datetime] = Counter()
    for lot in state.lots.values():
        if lot.available_at > state.at:
            pending[lot.expires_at] += lot.left
        elif lot.is_usable(state.at):
            usable[lot.expires_at] += lot.left
    return Holding(+usable, +pending, state.debt)
