"""Memory, SQLite and PostgreSQL keep the contract, and it catches storages that do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

from crmkit import MemoryStorage, SqlStorage
from crmkit.adapters.audited import AuditedStorage, AuditedUnitOfWork
from crmkit.adapters.memory.storage import MemoryUnitOfWork
from crmkit.gdpr.auditing import Scribe
from crmkit.model import Note
from crmkit.model.catalogue import evolved
from crmkit.model.ids import TimeOrderedIds
from crmkit.ports.keys import StoredKey
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing import StorageContract
from tests.fixtures import sqlite_url

R = TypeVar("R")
T = TypeVar("T")


class TestMemory(StorageContract):
    def make_storage(self) -> Storage:
        return MemoryStorage()


class TestSqlite(StorageContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_storage(self) -> Storage:
        return SqlStorage.open(sqlite_url(self.folder))


class TestPostgresql(StorageContract):
    @pytest.fixture(autouse=True)
    def _url(self, crm_database: str) -> None:
        self.url = crm_database

    def make_storage(self) -> Storage:
        return SqlStorage.open(self.url)


class _Watched(AuditedStorage):
    """Watches, and writes nothing down: rows of the audit would be found beside the contract's."""

    def _put_down(self, uow: UnitOfWork, watched: AuditedUnitOfWork) -> None:
        assert uow is not watched

    def _tell(self, tenant: str, watched: AuditedUnitOfWork) -> None:
        assert tenant == watched.tenant


class TestAudited(StorageContract):
    def make_storage(self) -> Storage:
        storage = MemoryStorage()
        scribe = Scribe(StoredKey(storage.secret), TimeOrderedIds(), lambda: datetime.now(UTC))
        return _Watched(storage, scribe, reads=True)


class _Plain(UnitOfWork):
    """Only what an adapter must write, so that every fallback of the port is put to use."""

    def __init__(self, inner: UnitOfWork) -> None:
        self.tenant = inner.tenant
        self._inner = inner

    def add(self, record: object) -> None:
        self._inner.add(record)

    def add_if_absent(self, record: object) -> bool:
        return self._inner.add_if_absent(record)

    def put(self, record: object) -> None:
        self._inner.put(record)

    def get(self, kind: type[R], *key: str, lock: bool = False) -> R | None:
        return self._inner.get(kind, *key, lock=lock)

    def remove(self, kind: type, /, **equal: Any) -> int:
        return self._inner.remove(kind, **equal)

    def find(self, kind: type[R], /, **asked: Any) -> list[R]:
        return self._inner.find(kind, **asked)

    def count(self, kind: type, /, **equal: Any) -> int:
        return self._inner.count(kind, **equal)


class _PlainStorage(MemoryStorage):
    """A storage whose units of work are `Unit`."""

    Unit: Callable[[UnitOfWork], UnitOfWork] = _Plain

    @contextmanager
    def read(self, tenant: str) -> Iterator[UnitOfWork]:
        with super().read(tenant) as uow:
            yield type(self).Unit(uow)

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        return super().write(tenant, lambda uow: work(type(self).Unit(uow)))


class TestTheLeastAnAdapterMustDo(StorageContract):
    """The abstract operations alone keep the whole contract."""

    def make_storage(self) -> Storage:
        return _PlainStorage()


# From here on: storages with one mistake each, of the kinds that adapters make.


class SharesTenants(_PlainStorage):
    class Unit(_Plain):
        def count(self, kind: type, /, **equal: Any) -> int:
            # The one query whose author forgot the tenant.
            table = self._inner._table(kind)  # type: ignore[attr-defined]
            fits = [r for k in table.rows for r in table.select(k[0], equal)]
            return len(fits)


class RemovesFromAll(_PlainStorage):
    class Unit(_Plain):
        def remove(self, kind: type, /, **equal: Any) -> int:
            table = self._inner._table(kind)  # type: ignore[attr-defined]
            doomed = [table.key_of(r) for k in list(table.rows) for r in table.select(k[0], equal)]
            for key in set(doomed):
                table.set(key, None)
            return len(set(doomed))


class KeepsWhatFailed(MemoryStorage):
    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        with self._lock:
            return work(MemoryUnitOfWork(self._tables, tenant, writable=True))


class UndoesExceptionsOnly(MemoryStorage):
    """An interruption leaves half of it."""

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        with self._lock:
            uow = MemoryUnitOfWork(self._tables, tenant, writable=True)
            try:
                return work(uow)
            except Exception:
                uow.undo()
                raise


class ReadsThenWrites(MemoryStorage):
    """Units of work run side by side, and nothing is locked."""

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        class Unit(_Plain):
            def get(self, kind: type[R], *key: str, lock: bool = False) -> R | None:
                found = super().get(kind, *key, lock=lock)
                time.sleep(0.0005)
                return found

            def find(self, kind: type[R], /, **asked: Any) -> list[R]:
                found = super().find(kind, **asked)
                time.sleep(0.0005)
                return found

            def count(self, kind: type, /, **equal: Any) -> int:
                counted = super().count(kind, **equal)
                time.sleep(0.0005)
                return counted

        return work(Unit(MemoryUnitOfWork(self._tables, tenant, writable=True)))


class OrdersAsTheLocaleSays(_PlainStorage):
    class Unit(_Plain):
        def find(self, kind: type[R], /, **asked: Any) -> list[R]:
            found = super().find(kind, **asked)
            if tuple(asked.get("order", ())) != ("text", "id"):
                return found
            return sorted(found, key=lambda record: str(record.text).casefold())  # type: ignore[attr-defined]


class MeetsTheEdgeTwice(_PlainStorage):
    class Unit(_Plain):
        def find(
            self, kind: type[R], /, *, after: Sequence[Any] | None = None, **asked: Any
        ) -> list[R]:
            found = super().find(kind, after=after, **asked)
            edge = super().get(kind, str(after[-1])) if after else None
            return found if edge is None else [edge, *found]


class FindsAllForNone(_PlainStorage):
    """An empty tuple leaves the condition out."""

    class Unit(_Plain):
        def find(self, kind: type[R], /, **asked: Any) -> list[R]:
            return super().find(kind, **{k: v for k, v in asked.items() if k == "order" or v != ()})


class ForgetsMicroseconds(_PlainStorage):
    class Unit(_Plain):
        def add(self, record: Any) -> None:
            if isinstance(record, Note):
                whole = record.occurred_at.replace(microsecond=0)
                record = evolved(record, occurred_at=whole)
            super().add(record)


class TellsNoOneWhoLost(_PlainStorage):
    class Unit(_Plain):
        def add(self, record: object) -> None:
            super().add_if_absent(record)


class HasNoUniqueIndex(MemoryStorage):
    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        class Unit(MemoryUnitOfWork):
            def _check_unique(self, *_: object) -> None:
                pass

        return work(Unit(self._tables, tenant, writable=True))


class HoldsEverythingInMemory(_PlainStorage):
    class Unit(_Plain):
        def stream(self, kind: type[R], /, **asked: Any) -> Iterator[R]:
            found = [evolved(record) for record in super().stream(kind, **asked)]
            if kind is Note:
                found = [evolved(r, text=r.text + " ") for r in found]  # type: ignore[attr-defined]
            yield from found


class WritesWhileReading(MemoryStorage):
    @contextmanager
    def read(self, tenant: str) -> Iterator[UnitOfWork]:
        with self._lock:
            yield MemoryUnitOfWork(self._tables, tenant, writable=True)


class IgnoresTheFloor(_PlainStorage):
    class Unit(_Plain):
        def increase(
            self,
            record: object,
            by: Mapping[str, int],
            *,
            floor: Mapping[str, int] | None = None,  # noqa: ARG002 - that is the mistake
        ) -> bool:
            return super().increase(record, by)


class StoresBeforeItRefuses(_PlainStorage):
    class Unit(_Plain):
        def increase(
            self, record: object, by: Mapping[str, int], *, floor: Mapping[str, int] | None = None
        ) -> bool:
            super().add_if_absent(record)
            return super().increase(record, by, floor=floor)


class AddsAllItCan(_PlainStorage):
    class Unit(_Plain):
        def add_many(self, records: Iterable[object]) -> None:
            for record in records:
                super().add_if_absent(record)


class MakesANewSecretEachTime(MemoryStorage):
    def secret(self) -> bytes:
        return time.monotonic_ns().to_bytes(16)


class SharesItsDocuments(_PlainStorage):
    """What was given is stored itself, not a copy."""

    class Unit(_Plain):
        def add(self, record: object) -> None:
            inner: Any = self._inner
            table = inner._table(type(record))
            table.set(table.key_of(record), record)


MISTAKES: list[tuple[type[MemoryStorage], str]] = [
    (SharesTenants, "test_nothing_of_another_tenant_is_read"),
    (RemovesFromAll, "test_nothing_of_another_tenant_is_removed_or_changed"),
    (KeepsWhatFailed, "test_an_error_undoes_everything"),
    (UndoesExceptionsOnly, "test_an_error_undoes_everything"),
    (ReadsThenWrites, "test_increases_are_not_lost"),
    (ReadsThenWrites, "test_a_floor_holds_for_all_together"),
    (ReadsThenWrites, "test_a_locked_record_may_be_read_and_written"),
    (ReadsThenWrites, "test_found_or_held_records_may_be_read_and_written"),
    (ReadsThenWrites, "test_gathered_sums_are_not_lost"),
    (ReadsThenWrites, "test_lock_makes_check_then_add_safe"),
    (OrdersAsTheLocaleSays, "test_text_is_ordered_by_code_point"),
    (MeetsTheEdgeTwice, "test_after_begins_behind_a_position"),
    (MeetsTheEdgeTwice, "test_pages_hold_every_record_once"),
    (FindsAllForNone, "test_an_empty_tuple_finds_nothing"),
    (ForgetsMicroseconds, "test_added_records_come_back"),
    (TellsNoOneWhoLost, "test_add_of_a_key_that_is_there_is_refused"),
    (HasNoUniqueIndex, "test_unique_values_hold_within_a_tenant"),
    (HoldsEverythingInMemory, "test_a_stream_holds_a_page_in_memory"),
    (WritesWhileReading, "test_reading_units_refuse_to_write"),
    (IgnoresTheFloor, "test_increase_may_go_down_to_the_floor"),
    (StoresBeforeItRefuses, "test_a_refused_increase_creates_nothing"),
    (AddsAllItCan, "test_add_many_refuses_a_key_that_is_there"),
    (MakesANewSecretEachTime, "test_the_secret_is_stable_and_long"),
    (SharesItsDocuments, "test_what_the_caller_changes_later_is_not_stored"),
]


@pytest.mark.parametrize(
    ("storage", "promise"), MISTAKES, ids=[f"{s.__name__}-{p}" for s, p in MISTAKES]
)
def test_the_contract_catches(storage: type[MemoryStorage], promise: str) -> None:
    class Twin(StorageContract):
        def make_storage(self) -> Storage:
            return storage()

    twin = Twin()
    with pytest.raises(AssertionError):
        getattr(twin, promise)()
    twin.teardown_method()


def test_memorys_block_is_kept_or_undone_as_a_whole() -> None:
    """Memory joins no host's transaction; its `using` is one of its own."""
    storage = MemoryStorage()
    one, two = (evolved(TestMemory().note(i), tenant="t") for i in ("n1", "n2"))
    with storage.using(None) as block:
        block.write("t", lambda uow: uow.add(one))

    def failing() -> NoReturn:
        with storage.using(None) as block:
            block.write("t", lambda uow: uow.add(two))
            block.write("t", lambda uow: uow.remove(Note))
            with block.read("t") as uow:
                assert uow.count(Note) == 0
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    with storage.read("t") as uow:
        assert [note.id for note in uow.find(Note)] == ["n1"]
