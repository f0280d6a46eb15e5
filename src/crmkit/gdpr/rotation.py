"""Bringing all that is sealed and hashed to the master key that is current."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import attrs

from crmkit.customers import blocking, records, search
from crmkit.errors import InvalidInput
from crmkit.model import Customer, DataKey, Metrics, catalogue
from crmkit.model.catalogue import SEAL, Entry, evolved
from crmkit.ports.keys import RotatingKeys
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_PAGE: Final = 50
_ROWS: Final = 500
_TENANT: Final = ""


@attrs.frozen
class Rotation:
    """What a rotation did.

    `customers` were brought to the current `epoch`, and `rows` sealed that were older than the key
    ring. Where `left` is 0, keys of other epochs open nothing of this tenant any more.
    """

    epoch: str
    customers: int
    rows: int
    left: int


class _Rotating:
    """The rotation of one tenant's keys, a page of customers in a transaction."""

    def __init__(self, rt: Runtime, progress: Callable[[int], None] | None) -> None:
        if not isinstance(rt.keys, RotatingKeys):
            raise InvalidInput("there is no key ring: pass one as CRMService(…, keys=KeyRing(…))")
        self._rt, self._keys = rt, rt.keys
        self._progress = progress
        self.customers = self.rows = 0

    def run(self) -> Rotation:
        # Writing makes the tenant's own key, which knows whether there is anything older.
        own = self._rt.write(lambda uow: uow.get(DataKey, _TENANT))
        if own is not None and own.partly:
            self._seal_customers()
        self._rotate_customers()
        self.rows += self._rt.write(self._finish)
        with self._rt.read() as uow:
            left = uow.count(DataKey) - uow.count(DataKey, epoch=self._keys.epoch)
        return Rotation(self._keys.epoch, self.customers, self.rows, left)

    def _rotate_customers(self) -> None:
        """All of them: one whose key is current may have been written to by who had the old one."""
        looked_at, after = 0, None
        while True:
            page = self._page(after)
            self.customers += self._rt.write(partial(self._bring, customers=page))
            looked_at += len(page)
            if self._progress and page:
                self._progress(looked_at)
            if len(page) < _PAGE:
                return
            after = (page[-1],)

    def _page(self, after: tuple[str, ...] | None) -> tuple[str, ...]:
        with self._rt.read() as uow:
            return tuple(row[0] for row in uow.rows(Customer, ("id",), after=after, limit=_PAGE))

    def _bring(self, uow: UnitOfWork, customers: tuple[str, ...]) -> int:
        """All that concerns a customer at once: found by old hashes or by new ones, whole."""
        count = 0
        for customer in uow.find(Customer, id=customers, order=("id",), lock=True):
            kept = uow.get(DataKey, customer.id)
            stale = kept is not None and kept.epoch != self._keys.epoch
            if kept is not None and stale:
                uow.put(self._keys.rewrapped(kept))
            count += self._reindex(uow, customer) or stale
        return count

    def _reindex(self, uow: UnitOfWork, customer: Customer) -> bool:
        done = (
            records.rehash(uow, self._rt, customer.id),
            search.repair(uow, self._rt, customer),
            blocking.repair(uow, self._rt, customer),
        )
        return any(done)

    def _seal_customers(self) -> None:
        """Seal what is older than the key ring, customer by customer."""
        after: tuple[str, ...] | None = None
        while True:
            page = self._page(after)
            for customer_id in page:
                self.rows += self._rt.write(partial(self._seal, customer_id=customer_id))
            if len(page) < _PAGE:
                return
            after = (page[-1],)

    def _seal(self, uow: UnitOfWork, customer_id: str) -> int:
        customer = uow.get(Customer, customer_id, lock=True)
        if customer is None:
            return 0
        uow.hold(Metrics, [customer_id])  # whoever writes of a customer holds one of the two
        return sum(
            _resealed(uow, entry, {entry.owner: customer_id}) for entry in _sealing() if entry.owner
        )

    def _finish(self, uow: UnitOfWork) -> int:
        """What is nobody's, and the tenant's own key, come last."""
        own = uow.get(DataKey, _TENANT, lock=True)
        if own is None:
            return 0
        count = 0
        if own.partly:
            for entry in _sealing():
                nobodys = {entry.owner: None} if entry.owner else {}
                optional = entry.owner is None or entry.column(entry.owner).optional
                count += _resealed(uow, entry, nobodys) if optional else 0
        if own.partly or own.epoch != self._keys.epoch:
            uow.put(evolved(self._keys.rewrapped(own), partly=False))
        return count


def rotate(rt: Runtime, progress: Callable[[int], None] | None) -> Rotation:
    """Bring a tenant's keys, hashes and rows to the current epoch; may be run again."""
    return _Rotating(rt, progress).run()


def _sealing() -> Iterator[Entry]:
    return (e for e in catalogue() if any(c.sealed for c in e.columns))


def _resealed(uow: UnitOfWork, entry: Entry, equal: dict[str, Any]) -> int:
    """Write rows again that are not sealed yet."""
    key, count = entry.key[1:], 0
    after: tuple[Any, ...] | None = None
    unsealed: dict[str, Any] = {**equal, SEAL: None}
    while True:
        found: list[Any] = uow.find(entry.record, after=after, limit=_ROWS, lock=True, **unsealed)
        uow.put_many(found)
        count += len(found)
        if len(found) < _ROWS:
            return count
        after = tuple(getattr(found[-1], f) for f in key)
