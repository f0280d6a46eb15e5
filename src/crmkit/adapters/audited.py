"""A storage that writes down for whom each unit of work changed what, and whom it read.

One row of the audit for each transaction and customer: the tables and how many of their rows,
never a value. What was written is put down in the transaction that writes it. What was read
is put down right after, in a transaction of its own, for one that reads cannot write;
the answer is held back until that is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar, cast

import attrs

from crmkit.adapters.wrapping import WrappedStorage, WrappedUnitOfWork
from crmkit.gdpr.auditing import Scribe, add
from crmkit.gdpr.disclosing import tells
from crmkit.model import (
    AuditChain,
    AuditRow,
    AuditSubject,
    Customer,
    Erasure,
    Identity,
    Redirect,
    entry_of,
)
from crmkit.ports.keys import Keys
from crmkit.ports.storage import STREAM_PAGE, Storage, UnitOfWork

R = TypeVar("R")
T = TypeVar("T")
Touched: TypeAlias = dict[str | None, Counter[tuple[str, str]]]
"""By customer, how many rows of which table were added, put, changed, removed or read."""

READ_AT_ONCE: Final = 100
"""Of more customers than these that one transaction reads, only the number of rows is told."""

_OWN: Final = frozenset({AuditChain, AuditRow, AuditSubject})


def _owner_of(kind: type) -> str | None:
    entry = entry_of(kind)
    return None if kind in _OWN or entry.owner is None or not tells(entry) else entry.owner


def _is_personal(kind: type) -> bool:
    return any(column.personal for column in entry_of(kind).columns)


# Type checkers lose the signature of a function that is cached.
_owner = cast(Callable[[type], str | None], cache(_owner_of))
"""The field with the customer, of records that tell something of one."""
_personal = cast(Callable[[type], bool], cache(_is_personal))


class AuditedUnitOfWork(WrappedUnitOfWork):
    """A unit of work that remembers whose records it touches."""

    def __init__(self, inner: UnitOfWork, *, reads: bool) -> None:
        super().__init__(inner)
        self.written: Touched = {}
        self.seen: Touched = {}
        self.erased: set[str] = set()
        self.moved = False
        self._reads = reads

    def _wrote(self, verb: str, kind: type, whose: Mapping[str | None, int]) -> None:
        for customer, count in whose.items():
            if count:
                self.written.setdefault(customer, Counter())[entry_of(kind).table, verb] += count

    def _write(self, verb: str, record: object) -> None:
        kind = type(record)
        if isinstance(record, Erasure):
            self.erased.add(record.subject)
        self.moved = self.moved or kind is Redirect
        owner = _owner(kind)
        if owner is not None:
            self._wrote(verb, kind, {getattr(record, owner): 1})

    def _watched(self, verb: str, records: Iterable[object]) -> Iterator[object]:
        for record in records:
            self._write(verb, record)
            yield record

    def _saw(self, kind: type, customer: str | None) -> None:
        if customer not in self.seen and len(self.seen) > READ_AT_ONCE:
            customer = None
        self.seen.setdefault(customer, Counter())[entry_of(kind).table, "read"] += 1

    def _read(self, record: R) -> R:
        kind = type(record)
        owner = _owner(kind)
        if self._reads and owner is not None and _personal(kind):
            self._saw(kind, getattr(record, owner))
        return record

    def _whose(self, kind: type, equal: Mapping[str, Any]) -> Counter[str | None]:
        """To whom the records belong that a change or removal will reach."""
        owner = _owner(kind)
        if owner is None:
            return Counter()
        return Counter(row[0] for row in self._inner.rows(kind, (owner,), **equal))

    # --- what writes ---

    def add(self, record: object) -> None:
        """See `UnitOfWork.add`."""
        self._inner.add(record)
        self._write("added", record)

    def add_if_absent(self, record: object) -> bool:
        """See `UnitOfWork.add_if_absent`."""
        added = self._inner.add_if_absent(record)
        if added or isinstance(record, Erasure):
            self._write("added", record)
        return added

    def put(self, record: object) -> None:
        """See `UnitOfWork.put`."""
        self._inner.put(record)
        self._write("put", record)

    def add_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.add_many`."""
        self._inner.add_many(self._watched("added", records))

    def put_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.put_many`."""
        self._inner.put_many(self._watched("put", records))

    def gather(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.gather`."""
        self._inner.gather(self._watched("changed", records))

    def remove(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.remove`."""
        self.moved = self.moved or kind is Redirect
        customer = equal.get(_owner(kind) or "")
        if isinstance(customer, str):  # the most usual, and it needs no question
            removed = self._inner.remove(kind, **equal)
            self._wrote("removed", kind, {customer: removed})
            return removed
        self._wrote("removed", kind, self._whose(kind, equal))
        return self._inner.remove(kind, **equal)

    def change(self, kind: type, values: Mapping[str, Any], /, **equal: Any) -> int:
        """See `UnitOfWork.change`."""
        self.moved = self.moved or kind is Redirect
        owner = _owner(kind) or ""
        customer = equal.get(owner)
        if isinstance(customer, str):
            changed = self._inner.change(kind, values, **equal)
            self._wrote("changed", kind, {customer: changed})
        else:
            self._wrote("changed", kind, self._whose(kind, equal))
            changed = self._inner.change(kind, values, **equal)
        return changed

    def increase(
        self, record: object, by: Mapping[str, int], *, floor: Mapping[str, int] | None = None
    ) -> bool:
        """See `UnitOfWork.increase`."""
        done = self._inner.increase(record, by, floor=floor)
        if done:
            self._write("changed", record)
        return done

    # --- what reads ---

    def get(self, kind: type[R], *key: Any, lock: bool = False) -> R | None:
        """See `UnitOfWork.get`."""
        found = self._inner.get(kind, *key, lock=lock)
        return None if found is None else self._read(found)

    def find(
        self,
        kind: type[R],
        /,
        *,
        order: Sequence[str] = (),
        descending: bool = False,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
        lock: bool = False,
        **equal: Any,
    ) -> list[R]:
        """See `UnitOfWork.find`."""
        found = self._inner.find(
            kind, order=order, descending=descending, after=after, limit=limit, lock=lock, **equal
        )
        return [self._read(record) for record in found] if self._reads else found

    def due(self, kind: type[R], field: str, by: datetime, /, *, limit: int) -> list[R]:
        """See `UnitOfWork.due`."""
        return [self._read(r) for r in self._inner.due(kind, field, by, limit=limit)]

    def stream(self, kind: type[R], /, *, order: Sequence[str] = (), **equal: Any) -> Iterator[R]:
        """See `UnitOfWork.stream`."""
        return map(self._read, self._inner.stream(kind, order=order, **equal))

    def linked(
        self, kinds: Sequence[str], fingerprints: Sequence[str]
    ) -> list[tuple[Identity, Customer]]:
        """See `UnitOfWork.linked`."""
        found = self._inner.linked(kinds, fingerprints)
        return [(identity, self._read(customer)) for identity, customer in found]

    def rows(
        self,
        kind: type,
        fields: Sequence[str],
        /,
        *,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
        **equal: Any,
    ) -> list[tuple[Any, ...]]:
        """See `UnitOfWork.rows`."""
        found = self._inner.rows(kind, fields, after=after, limit=limit, **equal)
        return list(self._read_rows(kind, fields, found, equal))

    def stream_rows(
        self, kind: type, fields: Sequence[str], /, *, page: int = STREAM_PAGE, **equal: Any
    ) -> Iterator[tuple[Any, ...]]:
        """See `UnitOfWork.stream_rows`."""
        found = self._inner.stream_rows(kind, fields, page=page, **equal)
        return self._read_rows(kind, fields, found, equal)

    def _read_rows(
        self,
        kind: type,
        fields: Sequence[str],
        found: Iterable[tuple[Any, ...]],
        equal: Mapping[str, Any],
    ) -> Iterator[tuple[Any, ...]]:
        owner, entry = _owner(kind), entry_of(kind)
        told = owner is not None and any(entry.column(f).personal for f in fields)
        if not self._reads or owner is None or not told:
            yield from found
            return
        place = fields.index(owner) if owner in fields else None
        theirs = equal.get(owner)
        known = theirs if isinstance(theirs, str) else None
        for row in found:
            self._saw(kind, known if place is None else row[place])
            yield row


class AuditedStorage(WrappedStorage):
    """A storage whose units of work are put down; those that only read too, with `reads`."""

    def __init__(self, inner: Storage, scribe: Scribe, *, reads: bool) -> None:
        super().__init__(inner)
        self._scribe = scribe
        self._reads = reads

    @property
    def unaudited(self) -> Storage:
        """The storage inside."""
        return self._inner

    def _around(self, inner: Storage) -> Storage:
        # Inside the host's transaction keys are read and made there, or it waits for itself.
        keys: Keys = getattr(inner, "keys", None) or self._scribe.keys
        scribe = attrs.evolve(self._scribe, keys=keys)
        return type(self)(inner, scribe, reads=self._reads)

    @contextmanager
    def read(self, tenant: str) -> Iterator[UnitOfWork]:
        """See `Storage.read`."""
        if not self._reads:
            with self._inner.read(tenant) as uow:
                yield uow
            return
        watched: AuditedUnitOfWork | None = None
        try:
            with self._inner.read(tenant) as uow:
                watched = AuditedUnitOfWork(uow, reads=True)
                yield watched
        finally:
            if watched is not None:
                self._tell(tenant, watched)

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """See `Storage.write`."""
        tried: list[AuditedUnitOfWork] = []

        def audited(uow: UnitOfWork) -> T:
            tried.append(AuditedUnitOfWork(uow, reads=self._reads))
            result = work(tried[-1])
            self._put_down(uow, tried[-1])
            return result

        try:
            return self._inner.write(tenant, audited)
        except BaseException:
            for watched in tried:
                watched.written.clear()  # nothing was
            raise
        finally:
            for watched in tried[-1:]:  # what was read was read, also where nothing was written
                self._tell(tenant, watched)

    def _put_down(self, uow: UnitOfWork, watched: AuditedUnitOfWork) -> None:
        """Write down what was written, in the same transaction.

        Whoever wrote holds the customer; erasing somebody links nothing to them.
        """
        drafts = []
        for customer, counts in watched.written.items():
            holder, gone = customer, False
            if customer is not None and watched.moved:
                led = uow.get(Redirect, customer)
                holder = led.customer_id if led else customer
            if customer is not None and watched.erased:
                gone = self._erased(uow.tenant, customer) in watched.erased
            drafts.append(
                self._scribe.draft(
                    uow.tenant, "write", holder, _told(counts), told_as=customer, gone=gone
                )
            )
        if drafts:
            add(uow, *drafts)

    def _tell(self, tenant: str, watched: AuditedUnitOfWork) -> None:
        """Write down who was read, in a transaction that holds them: no erasure comes between."""
        seen = {c: counts for c, counts in watched.seen.items() if c not in watched.written}
        if len(seen) > READ_AT_ONCE:
            seen = {None: sum(seen.values(), Counter())}
        if not seen:
            return

        def work(uow: UnitOfWork) -> None:
            ids = tuple(customer for customer in seen if customer is not None)
            led = {r.id: r.customer_id for r in uow.find(Redirect, id=ids)} if ids else {}
            there = uow.hold(Customer, [led.get(c, c) for c in ids]) if ids else frozenset()
            drafts = []
            for customer, counts in seen.items():
                holder = None if customer is None else led.get(customer, customer)
                gone = holder is not None and holder not in there
                drafts.append(
                    self._scribe.draft(
                        tenant, "read", holder, _told(counts), told_as=customer, gone=gone
                    )
                )
            add(uow, *drafts)

        self._inner.write(tenant, work)

    def _erased(self, tenant: str, customer: str) -> str:
        return self._scribe.keys.fingerprint(tenant, "erased", customer)


def _told(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    told: dict[str, dict[str, int]] = {}
    for (table, verb), count in counts.items():
        told.setdefault(table, {})[verb] = count
    return told


def audited(storage: Storage, level: str, scribe: Scribe) -> Storage:
    """The storage, audited as `Settings.audit` says."""
    inner = storage.unaudited if isinstance(storage, AuditedStorage) else storage
    return inner if level == "acts" else AuditedStorage(inner, scribe, reads=level == "reads")
