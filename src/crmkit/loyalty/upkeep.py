"""`crm.loyalty.ledger`: what is kept beside the entries is what they tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from crmkit.loyalty import accounts, tiering
from crmkit.model import Metrics, PointsAccount, PointsEntry, PointsLot, ProgrammeVersion
from crmkit.model.catalogue import evolved
from crmkit.model.time import FOREVER
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme

_PAGE = 200
_KEPT = ("left", "used", "status")
_SUMMED = ("qualifying", "indebted")


@attrs.frozen
class Wrong:
    """Something of an account that is kept, and is not what its entries tell."""

    customer_id: str
    programme: str
    name: str
    kept: Any = attrs.field(repr=False)
    told: Any = attrs.field(repr=False)


class Ledger:
    """The entries of one tenant's accounts, and what follows from them."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def verify(
        self, customer_id: str | None = None, *, progress: Callable[[int], None] | None = None
    ) -> tuple[Wrong, ...]:
        """Compare lots, accounts and tiers with the entries; changes nothing.

        Empty is what it should be. `progress` is told how many accounts were looked at.
        """
        found: list[Wrong] = []
        for n, account in enumerate(self._accounts(customer_id), 1):
            with self._rt.read() as uow:
                now = uow.get(PointsAccount, account.customer_id, account.programme)
                if now is not None:
                    found += self._wrong(uow, now)
            if progress:
                progress(n)
        return tuple(found)

    def rebuild(
        self, customer_id: str | None = None, *, progress: Callable[[int], None] | None = None
    ) -> int:
        """Put right what `verify` finds, account by account; returns how many were wrong."""
        done = 0
        for n, account in enumerate(self._accounts(customer_id), 1):
            done += self._rt.write(lambda uow, found=account: self._righted(uow, found))  # type: ignore[misc]
            if progress:
                progress(n)
        return done

    def versions(self, *, programme: str | None = None) -> tuple[ProgrammeVersion, ...]:
        """The configurations of a programme that were in use, the latest last."""
        of = self._rt.settings.programme_named(programme)
        with self._rt.read() as uow:
            found = uow.find(ProgrammeVersion, programme=of.name)
        return tuple(sorted(found, key=lambda v: (v.since, v.version)))

    def _accounts(self, customer_id: str | None) -> Iterator[PointsAccount]:
        names = tuple(of.name for of in self._rt.settings.programmes)
        if customer_id is not None:
            with self._rt.read() as uow:
                holder = self._rt.customer(uow, checked_id(customer_id)).id
                found = uow.find(PointsAccount, customer_id=holder, programme=names)
            yield from found
            return
        after: tuple[str, str] | None = None
        while True:
            with self._rt.read() as uow:
                page = uow.find(PointsAccount, after=after, limit=_PAGE)
            yield from (account for account in page if account.programme in names)
            if len(page) < _PAGE:
                return
            after = (page[-1].customer_id, page[-1].programme)

    def _wrong(self, uow: UnitOfWork, account: PointsAccount) -> list[Wrong]:
        told = accounts.entries(uow, account)
        right = accounts.summed_up(account, told)
        found = [
            (f"lot {name}", getattr(kept, name), getattr(lot, name))
            for kept, lot in self._lots(uow, account, told)
            for name in _KEPT
        ]
        found += [(name, getattr(account, name), getattr(right, name)) for name in _SUMMED]
        if account.since is not None and account.since < (account.next_at or FOREVER):
            held = accounts.reckoned(uow, right, account.since)
            found += [("balance", account.balance, held.balance)]
            found += [("pending", account.pending, held.pending)]
        of = self._programme(account)
        for _, stored, periods in tiering.reckoned(uow, self._rt, of, [account.customer_id]):
            found.append(("tiers", [tiering.plain(period) for period in stored], periods))
        of_whom = account.customer_id, account.programme
        return [Wrong(*of_whom, *compared) for compared in found if compared[1] != compared[2]]

    def _lots(
        self, uow: UnitOfWork, account: PointsAccount, told: list[PointsEntry]
    ) -> Iterator[tuple[PointsLot, PointsLot]]:
        """Each lot as it is kept and as its entries tell."""
        by_lot: dict[str, list[PointsEntry]] = defaultdict(list)
        for entry in told:
            by_lot[entry.lot_id or ""].append(entry)
        of: dict[str, Any] = {"customer_id": account.customer_id, "programme": account.programme}
        for lot in uow.find(PointsLot, **of):
            mine = by_lot[lot.id]
            left = sum(entry.points for entry in mine)
            used = -sum(e.points for e in mine if e.kind in ("burn", "return") or _takes(e))
            status = lot.status if lot.status == "expired" else "open" if left else "spent"
            yield lot, evolved(lot, left=left, used=used, status=status)

    def _righted(self, uow: UnitOfWork, found: PointsAccount) -> int:
        uow.hold(Metrics, [found.customer_id])
        account = uow.get(PointsAccount, found.customer_id, found.programme)
        if account is None or not self._wrong(uow, account):
            return 0
        told = accounts.entries(uow, account)
        uow.put_many(right for kept, right in self._lots(uow, account, told) if kept != right)
        rebuilt = accounts.rebuilt(uow, self._rt, account.customer_id, account.programme)
        if rebuilt is not None:
            uow.put(rebuilt)
        tiering.retier(uow, self._rt, self._programme(account), [account.customer_id])
        return 1

    def _programme(self, account: PointsAccount) -> Programme:
        return self._rt.settings.programme_named(account.programme)


def _takes(entry: PointsEntry) -> bool:
    return entry.kind == "adjust" and entry.points < 0
