"""A storage around any other that seals what is personal before it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from crmkit.adapters.encryption.bounding import bound, readable
from crmkit.adapters.encryption.keys import OWN, Keychain, RingKeys, TenantKey, Wrapping
from crmkit.adapters.encryption.ring import KeyRing, cipher
from crmkit.adapters.encryption.sealing import Sealing, sealing_of
from crmkit.adapters.wrapping import WrappedStorage, WrappedUnitOfWork
from crmkit.config import Settings
from crmkit.errors import DecryptionError, StorageError
from crmkit.model import Customer, DataKey, Identity
from crmkit.model.catalogue import SEAL, evolved
from crmkit.model.rule import Rule
from crmkit.ports.storage import STREAM_PAGE, RulePushdown, Storage, UnitOfWork

R = TypeVar("R")
T = TypeVar("T")

_PAGE: Final = 500


class EncryptedUnitOfWork(WrappedUnitOfWork):
    """A unit of work whose records are sealed where they are stored.

    What is asked of a sealed field the database cannot answer: then the rows that fit in all else
    are opened and looked at here, which gives the same answer and takes longer.
    """

    def __init__(self, inner: UnitOfWork, chain: Keychain, changed: Callable[[], None]) -> None:
        super().__init__(inner)
        self._chain = chain
        self._changed = changed

    # --- writing ---

    def _sealed(self, record: R, *, new: bool = False) -> R:
        sealing = sealing_of(type(record))
        if sealing is None:
            return record
        if getattr(record, SEAL) is not None:
            raise StorageError("a record that is sealed already")
        is_new = new and isinstance(record, Customer)
        if sealing.is_blank(record) and not is_new:
            return record
        key = self._chain.sealing(sealing.owner(record), new=is_new)
        return sealing.sealed(record, cipher(key))

    def _all_sealed(self, records: Iterable[R]) -> list[R]:
        found = list(records)
        self._chain.load({s.owner(r) for r in found if (s := sealing_of(type(r)))})
        return [self._sealed(record) for record in found]

    def add(self, record: object) -> None:
        """See `UnitOfWork.add`."""
        self._inner.add(self._sealed(record, new=True))

    def add_if_absent(self, record: object) -> bool:
        """See `UnitOfWork.add_if_absent`."""
        return self._inner.add_if_absent(self._sealed(record))

    def put(self, record: object) -> None:
        """See `UnitOfWork.put`."""
        self._inner.put(self._sealed(record))
        if isinstance(record, DataKey) and record.customer_id == OWN:
            self._changed()

    def add_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.add_many`."""
        self._inner.add_many(self._all_sealed(records))

    def put_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.put_many`."""
        self._inner.put_many(self._all_sealed(records))

    def gather(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.gather`."""
        self._inner.gather(self._all_sealed(records))

    def increase(
        self, record: object, by: Mapping[str, int], *, floor: Mapping[str, int] | None = None
    ) -> bool:
        """See `UnitOfWork.increase`."""
        return self._inner.increase(self._sealed(record), by, floor=floor)

    def remove(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.remove`."""
        sealing = sealing_of(kind)
        if sealing and sealing.touches(equal):
            found: list[object] = self._looked_at(sealing, kind, equal, lock=True)
            return sum(self._inner.remove(kind, **_key_of(sealing, r)) for r in found)
        if kind is DataKey:
            gone = self._inner.rows(kind, ("customer_id",), **equal)
            self._chain.give_up(row[0] for row in gone)
        return self._inner.remove(kind, **equal)

    def change(self, kind: type, values: Mapping[str, Any], /, **equal: Any) -> int:
        """See `UnitOfWork.change`; what gets another owner is sealed anew, with their key."""
        sealing = sealing_of(kind)
        if sealing is None:
            return self._inner.change(kind, values, **equal)
        if not sealing.touches(equal):
            if not sealing.touches(values) and sealing.entry.owner not in values:
                return self._inner.change(kind, values, **equal)
            if all(name in values and values[name] == b for name, b in sealing.blanks.items()):
                return self._inner.change(kind, {**values, SEAL: None}, **equal)
        count = 0
        found: Iterator[Any] = self.stream(kind, **equal)
        for page in _paged(found):
            self.put_many([evolved(record, **values) for record in page])
            count += len(page)
        return count

    # --- reading ---

    def _opened(self, records: list[R]) -> list[R]:
        sealing = sealing_of(type(records[0])) if records else None
        if sealing is None:
            return records
        shut = [r for r in records if getattr(r, SEAL) is not None]
        self._chain.load({sealing.owner(r) for r in shut})
        opened = (self._open(sealing, record) for record in records)
        return [record for record in opened if record is not None]

    def _open(self, sealing: Sealing, record: R) -> R | None:
        """The record; None for one that was there when it was read, and is no longer."""
        if getattr(record, SEAL) is None:
            return record
        key = self._chain.opening(sealing.owner(record))
        if key is None:
            # Erased or merged between the two reads, or something is wrong.
            again = self._inner.get(type(record), *_key_of(sealing, record).values())
            if again is None or again == record:
                if again is not None:
                    raise DecryptionError("the key of these rows is gone")
                return None
            return self._open(sealing, again)
        return sealing.opened(record, cipher(key))

    def get(self, kind: type[R], *key: Any, lock: bool = False) -> R | None:
        """See `UnitOfWork.get`."""
        found = self._inner.get(kind, *key, lock=lock)
        sealing = sealing_of(kind)
        return found if found is None or sealing is None else self._open(sealing, found)

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
        sealing = sealing_of(kind)
        if sealing and sealing.touches((*equal, *order)):
            found = self._looked_at(sealing, kind, equal, lock=lock)
            return _page(found, tuple(order) or sealing.entry.key[1:], descending, after, limit)
        return self._opened(
            self._inner.find(
                kind, order=order, descending=descending, after=after, limit=limit, lock=lock,
                **equal,
            )
        )  # fmt: skip

    def _looked_at(
        self, sealing: Sealing, kind: type[R], equal: Mapping[str, Any], *, lock: bool
    ) -> list[R]:
        """The records that fit, in any order, where a sealed field is asked for."""
        open_ = {f: v for f, v in equal.items() if f not in sealing.blanks}
        hidden = {f: v for f, v in equal.items() if f in sealing.blanks}
        found = self._opened(self._inner.find(kind, lock=lock, **open_))
        return [r for r in found if all(_fits(getattr(r, f), v) for f, v in hidden.items())]

    def count(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.count`."""
        sealing = sealing_of(kind)
        if sealing and sealing.touches(equal):
            return len(self._looked_at(sealing, kind, equal, lock=False))
        return self._inner.count(kind, **equal)

    def due(self, kind: type[R], field: str, by: datetime, /, *, limit: int) -> list[R]:
        """See `UnitOfWork.due`."""
        sealing = sealing_of(kind)
        if sealing and sealing.touches([field]):
            return UnitOfWork.due(self, kind, field, by, limit=limit)
        return self._opened(self._inner.due(kind, field, by, limit=limit))

    def stream(self, kind: type[R], /, *, order: Sequence[str] = (), **equal: Any) -> Iterator[R]:
        """See `UnitOfWork.stream`."""
        if sealing_of(kind) is None:
            return self._inner.stream(kind, order=order, **equal)
        return UnitOfWork.stream(self, kind, order=order, **equal)

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
        sealing = sealing_of(kind)
        if sealing is None or not sealing.touches((*fields, *equal)):
            return self._inner.rows(kind, fields, after=after, limit=limit, **equal)
        return UnitOfWork.rows(self, kind, fields, after=after, limit=limit, **equal)

    def stream_rows(
        self, kind: type, fields: Sequence[str], /, *, page: int = STREAM_PAGE, **equal: Any
    ) -> Iterator[tuple[Any, ...]]:
        """See `UnitOfWork.stream_rows`."""
        sealing = sealing_of(kind)
        if sealing is None or not sealing.touches((*fields, *equal)):
            return self._inner.stream_rows(kind, fields, page=page, **equal)
        return UnitOfWork.stream_rows(self, kind, fields, page=page, **equal)

    def linked(
        self, kinds: Sequence[str], fingerprints: Sequence[str]
    ) -> list[tuple[Identity, Customer]]:
        """See `UnitOfWork.linked`."""
        found = self._inner.linked(kinds, fingerprints)
        customers = {c.id: c for c in self._opened([customer for _, customer in found])}
        # An identity's value is what was asked for; it need not be opened.
        return [(i, customers[c.id]) for i, c in found if c.id in customers]

    def totals(self, kind: type, field: str, /, **asked: Any) -> dict[tuple[Any, ...], int]:
        """See `UnitOfWork.totals`."""
        sealing = sealing_of(kind)
        if sealing and sealing.touches((field, *asked, *asked.get("by", ()))):
            return UnitOfWork.totals(self, kind, field, **asked)
        return self._inner.totals(kind, field, **asked)


class EncryptedRules(EncryptedUnitOfWork):
    """The same on a storage that finds who fits a rule; see `RulePushdown`.

    Of a rule that asks for sealed fields the storage tells who may fit, and who fits whatever
    those fields hold. It is unsure of all between.
    """

    _inner: Any

    def matching(
        self,
        rule: Rule,
        settings: Settings,
        at: datetime,
        *,
        settled: bool = False,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[tuple[str, bool]]:
        """See `RulePushdown.matching`."""
        inner: RulePushdown = self._inner

        def asked(part: Rule) -> list[tuple[str, bool]]:
            return inner.matching(part, settings, at, settled=settled, after=after, limit=limit)

        if readable(rule):
            return asked(rule)
        # Who surely fits may fit too: a page of the former reaches no less far.
        certain = {c for c, sure in asked(bound(rule, upper=False)) if sure}
        return [(c, c in certain) for c, _ in asked(bound(rule, upper=True))]

    def count_matching(
        self, rule: Rule, settings: Settings, at: datetime, *, settled: bool = False
    ) -> tuple[int, list[str]]:
        """See `RulePushdown.count_matching`."""
        if readable(rule):
            inner: RulePushdown = self._inner
            return inner.count_matching(rule, settings, at, settled=settled)
        found = self.matching(rule, settings, at, settled=settled)
        unsure = [customer_id for customer_id, sure in found if not sure]
        return len(found) - len(unsure), unsure


class EncryptedStorage(WrappedStorage):
    """Any storage, with what is personal sealed; `keys` makes its hashes."""

    def __init__(
        self, inner: Storage, ring: KeyRing, known: Mapping[str, TenantKey] | None = None
    ) -> None:
        super().__init__(inner)
        self._ring = ring
        self._known = dict(known or {})
        self._keys = RingKeys(ring, self._own, inner.secret)

    @property
    def keys(self) -> RingKeys:
        """What makes its hashes."""
        return self._keys

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """See `Storage.write`."""
        self._own(tenant)  # made in a transaction of its own, for others to rely on
        return super().write(tenant, work)

    def _wrap(self, uow: UnitOfWork) -> UnitOfWork:
        tenant = uow.tenant
        chain = Keychain(uow, Wrapping(self._ring, tenant), lambda: self._own(tenant))
        kind = EncryptedRules if hasattr(uow, "matching") else EncryptedUnitOfWork
        return kind(uow, chain, partial(self._forget, tenant))

    def _forget(self, tenant: str) -> None:
        self._known.pop(tenant, None)

    def _around(self, inner: Storage) -> Storage:
        # What is learnt inside the host's transaction may leave with it.
        return EncryptedStorage(inner, self._ring, self._known)

    def _own(self, tenant: str) -> TenantKey:
        """The tenant's own key, made if there is none."""
        known = self._known.get(tenant)
        if known is None:
            wrapping = Wrapping(self._ring, tenant)
            with self._inner.read(tenant) as uow:
                kept = uow.get(DataKey, OWN)
            if kept is None:
                secret = self._inner.secret()
                kept = self._inner.write(tenant, lambda uow: wrapping.make_own(uow, secret))
            known = self._known[tenant] = wrapping.own(kept)
        return known


def _key_of(sealing: Sealing, record: object) -> dict[str, Any]:
    return {f: getattr(record, f) for f in sealing.entry.key[1:]}


def _fits(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, tuple) else bool(value == wanted)


def _page(
    found: list[R],
    fields: Sequence[str],
    descending: bool,
    after: Sequence[Any] | None,
    limit: int | None,
) -> list[R]:
    def place(record: Any) -> tuple[Any, ...]:
        return tuple(getattr(record, f) for f in fields)

    ordered = sorted(found, key=place, reverse=descending)
    if after is not None:
        edge = tuple(after)
        ordered = [r for r in ordered if (place(r) < edge if descending else place(r) > edge)]
    return ordered[:limit]


def _paged(found: Iterator[R]) -> Iterator[list[R]]:
    page: list[R] = []
    for record in found:
        page.append(record)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
