"""How accounts go through time: what each comes to at any instant, and until when that lasts."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from operator import itemgetter
from typing import Any, TypeAlias

import attrs

from crmkit.loyalty import accounts, ledger
from crmkit.model import PointsAccount, PointsEntry, Redemption
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import UnitOfWork

_Steps: TypeAlias = Sequence[tuple[datetime, int]]
"""A number from each instant on at which it changes, in order; before, it is zero."""


@attrs.frozen
class Course:
    """An account at every instant, also ahead if nothing more happens."""

    account: PointsAccount
    balances: _Steps
    qualifying: _Steps

    @classmethod
    def of(cls, account: PointsAccount, entries: Iterable[PointsEntry]) -> Course:
        """The course that all entries tell, with those of what lapses."""
        told = list(entries)
        sums: Counter[datetime] = Counter()
        for entry in told:
            if entry.qualifying:
                sums[entry.occurred_at] += entry.qualifying
        moments = sorted(sums)
        return cls(
            account,
            ledger.course(told, indebted=account.indebted),
            list(zip(moments, accumulate(sums[moment] for moment in moments), strict=True)),
        )

    @property
    def instants(self) -> set[datetime]:
        """When the balance changes, or what qualifies."""
        return {moment for moment, _ in (*self.balances, *self.qualifying)}

    def at(self, at: datetime) -> PointsAccount:
        """The account at an instant, with the balance from when until when it holds.

        Pending points are left aside.
        """
        since, balance, until = _around(self.balances, at)
        _, qualifying, _ = _around(self.qualifying, at)
        return evolved(
            self.account, balance=balance, qualifying=qualifying, since=since, next_at=until
        )


def _around(steps: _Steps, at: datetime) -> tuple[datetime | None, int, datetime | None]:
    n = bisect_right(steps, at, key=itemgetter(0))
    since, number = steps[n - 1] if n else (None, 0)
    return since, number, steps[n][0] if n < len(steps) else None


def courses(uow: UnitOfWork, of: Sequence[PointsAccount]) -> Mapping[str, Course]:
    """How accounts of one programme go through time, by customer."""
    if not of:
        return {}
    ids = tuple(account.customer_id for account in of)
    theirs: dict[str, Any] = {"customer_id": ids, "programme": of[0].programme}
    told: dict[str, list[PointsEntry]] = defaultdict(list)
    for entry in uow.find(PointsEntry, **theirs):
        told[entry.customer_id or ""].append(entry)
    for reserved in uow.find(Redemption, fulfilled_at=None, cancelled_at=None, **theirs):
        told[reserved.customer_id or ""] += accounts.returned(uow, reserved, reserved.until)
    return {a.customer_id: Course.of(a, told[a.customer_id]) for a in of}


def told(uow: UnitOfWork, of: Iterable[PointsAccount], at: datetime) -> list[PointsAccount]:
    """Accounts of one programme as they are at an instant, whether or not anybody settled them."""
    every = list(of)
    others = courses(uow, [account for account in every if not accounts.holds(account, at)])
    return [others[a.customer_id].at(at) if a.customer_id in others else a for a in every]
