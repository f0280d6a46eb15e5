"""Records in memory: for hosts' tests and for trying things out. Nothing outlives the process."""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from itertools import product
from typing import Any, TypeVar

from crmkit.errors import StorageError
from crmkit.model import Entry, entry_of
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import Storage, UnitOfWork

R = TypeVar("R")
T = TypeVar("T")
Key = tuple[Any, ...]


class _Table:
    """One kind's records by key, and the keys by what each index begins with."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.documents = [c.name for c in entry.columns if c.type is dict]
        self.rows: dict[Key, Any] = {}
        leading = [i.fields[1] for i in entry.indexes if len(i.fields) > 1]
        leading += entry.key[1:] if len(entry.key) > 2 else ()
        fields = dict.fromkeys([entry.owner] if entry.owner else []) | dict.fromkeys(leading)
        self.indexed: dict[str, dict[tuple[str, Any], dict[Key, None]]] = {
            field: defaultdict(dict) for field in fields
        }

    def key_of(self, record: object) -> Key:
        return tuple(getattr(record, f) for f in self.entry.key)

    def copied(self, record: R) -> R:
        """The record with documents of its own: who changes those does not change what is here."""
        given = {f: deepcopy(v) for f in self.documents if (v := getattr(record, f))}
        return evolved(record, **given) if given else record

    def set(self, key: Key, record: Any | None) -> Any | None:
        """Store or drop (None) the record of a key; returns what was there."""
        before = self.rows.pop(key, None)
        for field, keys in self.indexed.items():
            if before is not None:
                keys[key[0], getattr(before, field)].pop(key, None)
            if record is not None:
                keys[key[0], getattr(record, field)][key] = None
        if record is not None:
            self.rows[key] = record
        return before

    def _keys(self, tenant: str, field: str, wanted: Any) -> dict[Key, None]:
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        keys: dict[Key, None] = {}
        for value in dict.fromkeys(values):
            keys |= self.indexed[field].get((tenant, value), {})
        return keys

    def select(self, tenant: str, equal: dict[str, Any]) -> list[Any]:
        """The tenant's records whose fields equal these."""
        indexed = [f for f in self.indexed if f in equal]
        if indexed:
            # The most particular one: of several values the shortest list.
            field = min(indexed, key=lambda f: len(self._keys(tenant, f, equal[f])))
            candidates = [self.rows[k] for k in self._keys(tenant, field, equal[field])]
        elif set(equal) >= set(self.entry.key[1:]):
            choices = (equal[f] for f in self.entry.key[1:])
            wanted = product(*(c if isinstance(c, tuple) else (c,) for c in choices))
            keys = dict.fromkeys((tenant, *values) for values in wanted)
            candidates = [self.rows[key] for key in keys if key in self.rows]
        else:
            candidates = [r for k, r in self.rows.items() if k[0] == tenant]
        return [r for r in candidates if all(_fits(getattr(r, f), v) for f, v in equal.items())]


def _fits(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, tuple) else bool(value == wanted)


class MemoryUnitOfWork(UnitOfWork):
    """A unit of work that remembers how to undo itself."""

    def __init__(self, tables: dict[type, _Table], tenant: str, *, writable: bool) -> None:
        self.tenant = tenant
        self._tables = tables
        self._writable = writable
        self._undo: list[tuple[_Table, Key, Any | None]] = []

    def _table(self, kind: type) -> _Table:
        table = self._tables.get(kind)
        if table is None:
            table = self._tables[kind] = _Table(entry_of(kind))
        return table

    def _set(self, table: _Table, key: Key, record: Any | None) -> None:
        if not self._writable:
            raise StorageError("this unit of work only reads")
        if key[0] != self.tenant:
            raise StorageError("a record of another tenant")
        self._check_unique(table, key, record)
        self._undo.append((table, key, table.set(key, record)))

    def _check_unique(self, table: _Table, key: Key, record: Any | None) -> None:
        for index in table.entry.indexes:
            if not index.unique or record is None:
                continue
            if index.where_present and getattr(record, index.where_present) is None:
                continue
            equal = {f: getattr(record, f) for f in index.fields}
            if any(table.key_of(r) != key for r in table.select(self.tenant, equal)):
                raise StorageError("a value that must be unique is there already")

    def undo(self) -> None:
        """Put everything back."""
        while self._undo:
            table, key, before = self._undo.pop()
            table.set(key, before)

    def add(self, record: object) -> None:
        """See `UnitOfWork.add`."""
        if not self.add_if_absent(record):
            raise StorageError("a record with this key is there already")

    def add_if_absent(self, record: object) -> bool:
        """See `UnitOfWork.add_if_absent`."""
        table = self._table(type(record))
        key = table.key_of(record)
        if key in table.rows:
            return False
        self._set(table, key, table.copied(record))
        return True

    def put(self, record: object) -> None:
        """See `UnitOfWork.put`."""
        table = self._table(type(record))
        self._set(table, table.key_of(record), table.copied(record))

    def get(self, kind: type[R], *key: Any, lock: bool = False) -> R | None:  # noqa: ARG002 - one writer at a time: every record is locked
        """See `UnitOfWork.get`."""
        table = self._table(kind)
        found: R | None = table.rows.get((self.tenant, *key))
        return None if found is None else table.copied(found)

    def remove(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.remove`."""
        table = self._table(kind)
        doomed = table.select(self.tenant, equal)
        for record in doomed:
            self._set(table, table.key_of(record), None)
        return len(doomed)

    def find(
        self,
        kind: type[R],
        /,
        *,
        order: Sequence[str] = (),
        descending: bool = False,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
        lock: bool = False,  # noqa: ARG002 - as in `get`
        **equal: Any,
    ) -> list[R]:
        """See `UnitOfWork.find`."""
        table = self._table(kind)
        fields = tuple(order) or table.entry.key[1:]

        def place(record: Any) -> tuple[Any, ...]:
            return tuple(getattr(record, f) for f in fields)

        found = sorted(table.select(self.tenant, equal), key=place, reverse=descending)
        if after is not None:
            edge = tuple(after)
            found = [r for r in found if (place(r) < edge if descending else place(r) > edge)]
        return [table.copied(r) for r in found[:limit]]

    def count(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.count`."""
        return len(self._table(kind).select(self.tenant, equal))


class MemoryStorage(Storage):
    """Keeps everything in memory; one unit of work at a time."""

    def __init__(self) -> None:
        self._tables: dict[type, _Table] = {}
        self._lock = threading.RLock()
        self._secret = os.urandom(32)

    @contextmanager
    def read(self, tenant: str) -> Iterator[UnitOfWork]:
        """See `Storage.read`."""
        with self._lock:
            yield MemoryUnitOfWork(self._tables, tenant, writable=False)

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """See `Storage.write`."""
        with self._lock:
            result, _ = self._run(tenant, work)
            return result

    def _run(self, tenant: str, work: Callable[[UnitOfWork], T]) -> tuple[T, MemoryUnitOfWork]:
        uow = MemoryUnitOfWork(self._tables, tenant, writable=True)
        try:
            return work(uow), uow
        except BaseException:
            uow.undo()
            raise

    @contextmanager
    def using(self, lent: Any) -> Iterator[Storage]:  # noqa: ARG002 - there is nothing to join: memory has no driver
        """One transaction of its own for the block: kept if it ends well, else undone.

        So code written for a lent session runs in tests against memory too.
        """
        with self._lock:
            block = _Block(self)
            try:
                yield block
            except BaseException:
                block.undo()
                raise

    def secret(self) -> bytes:
        """See `Storage.secret`."""
        return self._secret

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._tables.clear()

    def __repr__(self) -> str:
        return "MemoryStorage()"


class _Block(Storage):
    """The units of work of one `using` block, undone together."""

    def __init__(self, parent: MemoryStorage) -> None:
        self._parent = parent
        self._done: list[MemoryUnitOfWork] = []

    def read(self, tenant: str) -> AbstractContextManager[UnitOfWork]:
        return self._parent.read(tenant)

    def secret(self) -> bytes:
        return self._parent.secret()

    def using(self, lent: Any) -> AbstractContextManager[Storage]:
        return self._parent.using(lent)

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        result, uow = self._parent._run(tenant, work)
        self._done.append(uow)
        return result

    def undo(self) -> None:
        while self._done:
            self._done.pop().undo()

    def close(self) -> None:
        pass
