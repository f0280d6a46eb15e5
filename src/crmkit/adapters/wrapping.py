"""A storage around another: each operation goes through, until a subclass does more with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, TypeVar

from crmkit.model import Customer, Identity
from crmkit.ports.keys import Keys
from crmkit.ports.storage import STREAM_PAGE, Storage, UnitOfWork

R = TypeVar("R")
T = TypeVar("T")

_ABILITIES = frozenset({"matching", "count_matching", "cutoff"})


class WrappedUnitOfWork(UnitOfWork):
    """A unit of work whose operations are those of another.

    It has the optional abilities that the other has.
    """

    def __init__(self, inner: UnitOfWork) -> None:
        self.tenant = inner.tenant
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name in _ABILITIES:
            return getattr(self._inner, name)
        raise AttributeError(name)

    def add(self, record: object) -> None:
        """See `UnitOfWork.add`."""
        self._inner.add(record)

    def add_if_absent(self, record: object) -> bool:
        """See `UnitOfWork.add_if_absent`."""
        return self._inner.add_if_absent(record)

    def put(self, record: object) -> None:
        """See `UnitOfWork.put`."""
        self._inner.put(record)

    def get(self, kind: type[R], *key: Any, lock: bool = False) -> R | None:
        """See `UnitOfWork.get`."""
        return self._inner.get(kind, *key, lock=lock)

    def remove(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.remove`."""
        return self._inner.remove(kind, **equal)

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
        return self._inner.find(
            kind, order=order, descending=descending, after=after, limit=limit, lock=lock, **equal
        )

    def count(self, kind: type, /, **equal: Any) -> int:
        """See `UnitOfWork.count`."""
        return self._inner.count(kind, **equal)

    def add_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.add_many`."""
        self._inner.add_many(records)

    def put_many(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.put_many`."""
        self._inner.put_many(records)

    def hold(self, kind: type, keys: Iterable[str]) -> frozenset[str]:
        """See `UnitOfWork.hold`."""
        return self._inner.hold(kind, keys)

    def gather(self, records: Iterable[object]) -> None:
        """See `UnitOfWork.gather`."""
        self._inner.gather(records)

    def due(self, kind: type[R], field: str, by: datetime, /, *, limit: int) -> list[R]:
        """See `UnitOfWork.due`."""
        return self._inner.due(kind, field, by, limit=limit)

    def stream(self, kind: type[R], /, *, order: Sequence[str] = (), **equal: Any) -> Iterator[R]:
        """See `UnitOfWork.stream`."""
        return self._inner.stream(kind, order=order, **equal)

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
        return self._inner.rows(kind, fields, after=after, limit=limit, **equal)

    def stream_rows(
        self, kind: type, fields: Sequence[str], /, *, page: int = STREAM_PAGE, **equal: Any
    ) -> Iterator[tuple[Any, ...]]:
        """See `UnitOfWork.stream_rows`."""
        return self._inner.stream_rows(kind, fields, page=page, **equal)

    def sharing(self, tokens: Mapping[str, int]) -> dict[str, list[str]]:
        """See `UnitOfWork.sharing`."""
        return self._inner.sharing(tokens)

    def linked(
        self, kinds: Sequence[str], fingerprints: Sequence[str]
    ) -> list[tuple[Identity, Customer]]:
        """See `UnitOfWork.linked`."""
        return self._inner.linked(kinds, fingerprints)

    def totals(
        self,
        kind: type,
        field: str,
        /,
        *,
        by: Sequence[str] = (),
        upto: Mapping[str, datetime] | None = None,
        beyond: Mapping[str, datetime] | None = None,
        **equal: Any,
    ) -> dict[tuple[Any, ...], int]:
        """See `UnitOfWork.totals`."""
        return self._inner.totals(kind, field, by=by, upto=upto, beyond=beyond, **equal)

    def change(self, kind: type, values: Mapping[str, Any], /, **equal: Any) -> int:
        """See `UnitOfWork.change`."""
        return self._inner.change(kind, values, **equal)

    def lock(self, names: Iterable[str], *, shared: bool = False) -> None:
        """See `UnitOfWork.lock`."""
        self._inner.lock(names, shared=shared)

    def lend(self) -> Any:
        """See `UnitOfWork.lend`."""
        return self._inner.lend()

    def increase(
        self, record: object, by: Mapping[str, int], *, floor: Mapping[str, int] | None = None
    ) -> bool:
        """See `UnitOfWork.increase`."""
        return self._inner.increase(record, by, floor=floor)


class _Reading(AbstractContextManager[UnitOfWork]):
    """A reading unit of work; a class, for it is entered with every read."""

    def __init__(
        self,
        inner: AbstractContextManager[UnitOfWork],
        wrap: Callable[[UnitOfWork], UnitOfWork],
    ) -> None:
        self._inner = inner
        self._wrap = wrap

    def __enter__(self) -> UnitOfWork:
        return self._wrap(self._inner.__enter__())

    def __exit__(self, *error: Any) -> bool | None:
        return self._inner.__exit__(*error)


class WrappedStorage(Storage):
    """A storage whose units of work are those of another, each as `_wrap` hands it on."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner

    @property
    def keys(self) -> Keys | None:
        """What hashes for the storage, if it or one inside seals."""
        found: Keys | None = getattr(self._inner, "keys", None)
        return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"

    def _wrap(self, uow: UnitOfWork) -> UnitOfWork:
        return WrappedUnitOfWork(uow)

    def _around(self, inner: Storage) -> Storage:
        """The same around what is inside the host's transaction."""
        return type(self)(inner)

    def read(self, tenant: str) -> AbstractContextManager[UnitOfWork]:
        """See `Storage.read`."""
        return _Reading(self._inner.read(tenant), self._wrap)

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """See `Storage.write`."""
        return self._inner.write(tenant, lambda uow: work(self._wrap(uow)))

    @contextmanager
    def using(self, lent: Any) -> Iterator[Storage]:
        """See `Storage.using`."""
        with self._inner.using(lent) as storage:
            yield self._around(storage)

    def secret(self) -> bytes:
        """See `Storage.secret`."""
        return self._inner.secret()

    def close(self) -> None:
        """See `Storage.close`."""
        self._inner.close()
