"""Storage in SQLite or PostgreSQL: own transactions, or inside the host's."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from crmkit.adapters.sql import schema
from crmkit.adapters.sql.engine import (
    BUSY_TIMEOUT_MS,
    begin_lent,
    can_pipeline,
    open_engine,
    patiently,
    pipelined,
    within,
)
from crmkit.adapters.sql.unit import SqlUnitOfWork
from crmkit.errors import InvalidInput, StorageBusy, StorageError
from crmkit.ports.storage import Storage, UnitOfWork

T = TypeVar("T")

ATTEMPTS = 8
IDLE_CONNECTIONS = 4
_SERIALIZATION = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_UNIQUE = "23505"  # a race for a unique value was lost; the next try finds the winner's row


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return str(state) if state else None


def _converted(error: BaseException, said: str = "the database refused") -> StorageError:
    """The error a caller sees; the driver's text may hold values and stays in `__cause__`."""
    state = _sqlstate(error)
    busy = state in _SERIALIZATION or "database is locked" in str(error)
    kind = StorageBusy if busy else StorageError
    return kind(f"{said}: {type(error).__name__}{f' {state}' if state else ''}")


class SqlStorage(Storage):
    """Storage on a SQLAlchemy engine.

    SQLAlchemy makes the SQL and lends the connections; the statements go to the driver.
    """

    def __init__(self, engine: Engine, *, owned: bool = False) -> None:
        self._engine = engine
        self._owned = owned
        self.dialect = engine.dialect.name
        if self.dialect not in ("sqlite", "postgresql"):
            raise InvalidInput("expected an engine for sqlite or postgresql", field="storage")
        driver: Any = engine.dialect.loaded_dbapi
        self._driver_error: type[Exception] = driver.Error
        self._pipelines = can_pipeline(driver)
        # Threads of one process queue here, which is fair; SQLite's own waiting is not.
        self._writer = threading.Lock() if self.dialect == "sqlite" else None
        self._idle: deque[tuple[int, Any]] = deque()
        self._inherited: list[Any] = []
        self._checked = False
        self._secret: bytes | None = None
        if owned and self.dialect == "sqlite":
            self._create_if_empty()

    @classmethod
    def open(cls, url: str) -> SqlStorage:
        """Open a database by its URL; an empty SQLite file gets its schema."""
        return cls(open_engine(url), owned=True)

    def __repr__(self) -> str:
        return f"SqlStorage({self.dialect})"

    def close(self) -> None:
        """Close the connections of an engine that was opened from a URL."""
        with suppress(IndexError):  # when none is left
            while True:
                self._idle.pop()[1].close()
        if self._owned:
            self._engine.dispose()

    def secret(self) -> bytes:
        """See `Storage.secret`."""
        if self._secret is None:
            with self._transaction(writing=False) as (cursor, *_):
                self._learn(cursor)
        if self._secret is None:
            raise StorageError("the database's own key is missing")
        return self._secret

    @contextmanager
    def read(self, tenant: str) -> Iterator[UnitOfWork]:
        """See `Storage.read`."""
        with self._transaction(writing=False) as (cursor, sync, lender):
            self._learn(cursor)
            yield SqlUnitOfWork(
                cursor, self.dialect, tenant, writable=False, sync=sync, lender=lender
            )

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """See `Storage.write`."""
        if self._writer is None:
            return self._write(tenant, work)
        if not self._writer.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise StorageBusy("other writers kept the database for too long")
        try:
            return self._write(tenant, work)
        finally:
            self._writer.release()

    def _write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._transaction(writing=True) as (cursor, sync, lender):
                    self._learn(cursor)
                    uow = SqlUnitOfWork(
                        cursor, self.dialect, tenant, writable=True, sync=sync, lender=lender
                    )
                    return work(uow)
            except StorageError as error:
                state = _sqlstate(error.__cause__) if error.__cause__ else None
                if attempt == ATTEMPTS or state not in (*_SERIALIZATION, _UNIQUE):
                    raise
                time.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    @contextmanager
    def using(self, lent: Any) -> Iterator[Storage]:
        """See `Storage.using`; takes a SQLAlchemy Session or Connection."""
        yield LentStorage(self, lent)

    def _learn(self, cursor: Any) -> None:
        """Once: check that the schema is ours, and read the database's key."""
        if self._checked:
            return
        schema.check(schema.version(cursor, self.dialect))
        cursor.execute("SELECT value FROM crm_secrets WHERE name = 'fingerprint'")
        row = cursor.fetchone()
        self._secret = bytes.fromhex(row[0]) if row else None
        self._checked = True

    def _forget(self, _: Connection) -> None:
        self._checked, self._secret = False, None

    def _create_if_empty(self) -> None:
        with self._transaction(writing=False) as (cursor, *_):
            cursor.execute("SELECT count(*) FROM sqlite_master")
            if cursor.fetchone()[0]:
                return
        with self._transaction(writing=True) as (cursor, *_):
            cursor.execute("SELECT count(*) FROM sqlite_master")
            if cursor.fetchone()[0] == 0:  # another process may have been quicker
                schema.create(cursor, self.dialect)

    @contextmanager
    def _transaction(
        self, *, writing: bool
    ) -> Iterator[tuple[Any, Callable[[], None] | None, Callable[[], Connection]]]:
        """A cursor in a transaction of our own, committed at the end or rolled back.

        Beside it what waits for statements that were sent and not answered yet, if any may be,
        and what makes a Connection of SQLAlchemy's in the same transaction.
        """
        connection = self._checked_out()
        raw: Any = connection.dbapi_connection
        found, wanted = getattr(raw, "autocommit", None), self._mode(writing=writing)
        healthy = False
        try:
            if found != wanted:
                self._switch(raw, wanted)
            cursor = raw.cursor()
            if self.dialect == "sqlite":
                self._begin_sqlite(raw, cursor, writing=writing)
            if writing and self._pipelines:
                with pipelined(raw) as sync:
                    yield cursor, sync, lambda: within(self._engine, connection, sync)
                    raw.commit()
            else:
                yield cursor, None, lambda: within(self._engine, connection)
                raw.commit()
            healthy = True
        except self._driver_error as error:
            raise _converted(error) from error
        finally:
            try:
                if not healthy:
                    connection.rollback()
                if found != wanted:
                    self._switch(raw, found)
            except self._driver_error:
                connection.invalidate()
                self.close()  # the server is gone, and so are the other connections
            else:
                self._give_back(connection, healthy=healthy)

    def _mode(self, *, writing: bool) -> Any:
        """The driver's `autocommit` under which crmkit opens and ends transactions."""
        if self.dialect == "sqlite":
            return getattr(sqlite3, "LEGACY_TRANSACTION_CONTROL", None)  # since Python 3.12
        # Statements of a reading unit of work see what is committed when each begins,
        # inside a transaction or not; without one there is less to send.
        return not writing

    def _switch(self, raw: Any, mode: Any) -> None:
        if self.dialect == "sqlite":
            raw.autocommit = True  # ends the empty transaction of another mode
        raw.autocommit = mode

    def _checked_out(self) -> Any:
        """A connection; a forked process never uses its parent's."""
        while self._idle:
            try:
                pid, connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if pid == os.getpid():
                return connection
            # Closing it here would end the parent's session with the server.
            self._inherited.append(connection)
        try:
            return self._engine.raw_connection()
        except self._driver_error as error:
            raise _converted(error, "the database cannot be reached") from error
        except PoolTimeout as error:
            raise StorageBusy("no connection became free in time") from error

    def _give_back(self, connection: Any, *, healthy: bool) -> None:
        # Going through the pool costs as much as two statements; an engine of our own
        # need not. A host's pool gets its connections back at once.
        if healthy and self._owned and len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append((os.getpid(), connection))
        else:
            connection.close()

    def _begin_sqlite(self, connection: Any, cursor: Any, *, writing: bool) -> None:
        if connection.in_transaction:
            raise StorageError(
                "this connection is inside the host's transaction; use crm.using(session)"
            )
        if not self._owned:
            cursor.execute("PRAGMA secure_delete = ON")
        # A transaction that begins by reading cannot wait for its turn to write later.
        patiently(cursor.execute, "BEGIN IMMEDIATE" if writing else "BEGIN")


def _connection(lent: Any) -> Connection:
    """The connection of what the host lent."""
    if isinstance(lent, Session):
        lent.flush()  # the host's pending rows come first
        lent = lent.connection()
    if not isinstance(lent, Connection):
        raise InvalidInput("expected a SQLAlchemy Session or Connection", field="using")
    return lent


class LentStorage(Storage):
    """Storage inside the host's transaction: savepoints, never a commit."""

    def __init__(self, parent: SqlStorage, lent: Any) -> None:
        self._parent = parent
        self._lent = lent
        self._known: object = None
        self.dialect = parent.dialect
        self._driver_error = parent._driver_error
        self._depth = 0
        self._joined()

    def _joined(self) -> Any:
        """A cursor inside the transaction the host is in now.

        That may be another than before: the host may have committed, or set a savepoint.
        """
        connection = _connection(self._lent)
        if connection.dialect.name != self.dialect:
            raise InvalidInput("the lent connection is to another kind of database", field="using")
        try:
            begin_lent(connection)
            cursor = connection.connection.cursor()
            if connection.get_transaction() is not self._known:
                self._meet(connection, cursor)
        except self._driver_error as error:
            raise _converted(error) from error
        return cursor

    def _meet(self, connection: Connection, cursor: Any) -> None:
        if self.dialect == "sqlite":
            cursor.execute("PRAGMA secure_delete = ON")
            self._take_turn(cursor)
        self._known = connection.get_transaction()
        if not self._parent._checked:
            self._parent._learn(cursor)
            # The schema may have been made in this very transaction, and leave with it.
            event.listen(connection, "rollback", self._parent._forget, once=True)

    def _take_turn(self, cursor: Any) -> None:
        """Reserve the right to write: SQLite waits for it, but not once something was read."""
        try:
            cursor.execute("UPDATE crm_secrets SET value = value WHERE 0")
        except self._driver_error as error:
            if "no such table" not in str(error):
                raise

    @contextmanager
    def _savepoint(self, tenant: str, *, writable: bool) -> Iterator[UnitOfWork]:
        cursor = self._joined()
        self._depth += 1
        name = f"crmkit_{self._depth}"
        try:
            cursor.execute(f"SAVEPOINT {name}")
            try:
                yield SqlUnitOfWork(
                    cursor,
                    self.dialect,
                    tenant,
                    writable=writable,
                    lender=lambda: _connection(self._lent),
                )
            except BaseException:
                cursor.execute(f"ROLLBACK TO SAVEPOINT {name}")
                cursor.execute(f"RELEASE SAVEPOINT {name}")
                raise
            cursor.execute(f"RELEASE SAVEPOINT {name}")
        except self._driver_error as error:
            raise _converted(error) from error
        finally:
            self._depth -= 1

    @contextmanager
    def read(self, tenant: str) -> Iterator[UnitOfWork]:
        """See `Storage.read`."""
        with self._savepoint(tenant, writable=False) as uow:
            yield uow

    def write(self, tenant: str, work: Callable[[UnitOfWork], T]) -> T:
        """See `Storage.write`; only a lost race for a unique value is tried again."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._savepoint(tenant, writable=True) as uow:
                    return work(uow)
            except StorageError as error:
                state = _sqlstate(error.__cause__) if error.__cause__ else None
                if attempt == ATTEMPTS or state != _UNIQUE:
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def using(self, lent: Any) -> Iterator[Storage]:
        """Another lent connection, not this one."""
        with self._parent.using(lent) as storage:
            yield storage

    def secret(self) -> bytes:
        """See `Storage.secret`."""
        return self._parent.secret()

    def close(self) -> None:
        """Nothing: the host closes what it lent."""
