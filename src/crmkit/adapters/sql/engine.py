"""Opening databases from a URL, with the settings that keep SQLite safe."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from crmkit.errors import InvalidInput, MissingExtra, StorageError

T = TypeVar("T")

BUSY_TIMEOUT_MS = 30_000
_SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")


def open_engine(url: str) -> Engine:
    """An engine for ``sqlite:///path`` or ``postgresql://…``.

    ``sqlite:///crm.db?synchronous=NORMAL`` trades the last commits before a power cut
    for speed; the default is FULL. Raises `InvalidInput` for another kind of database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInput("expected a database URL", field="storage") from error
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return _postgresql(parsed)
    if backend == "sqlite":
        return _sqlite(parsed)
    raise InvalidInput("expected a URL of sqlite or postgresql", field="storage")


def _postgresql(url: URL) -> Engine:
    if "+" not in url.drivername:
        url = url.set(drivername="postgresql+psycopg")
    try:
        return sa.create_engine(
            url, pool_size=10, max_overflow=20, isolation_level="READ COMMITTED"
        )
    except ImportError as error:
        raise MissingExtra("PostgreSQL needs psycopg: pip install 'crmkit[postgres]'") from error


def _sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise InvalidInput(
            "an SQLite database in memory has one connection only; use MemoryStorage()",
            field="storage",
        )
    synchronous = str(url.query.get("synchronous", "FULL")).upper()
    if synchronous not in _SYNCHRONOUS:
        raise InvalidInput(f"expected one of {', '.join(_SYNCHRONOUS)}", field="synchronous")
    engine = sa.create_engine(
        url.difference_update_query(["synchronous"]),
        pool_size=10,
        max_overflow=20,
        # crmkit opens each transaction itself, as BEGIN IMMEDIATE where it writes.
        connect_args={"isolation_level": None, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        for pragma in (
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "journal_mode = WAL",
            f"synchronous = {synchronous}",
            "foreign_keys = ON",
            "secure_delete = ON",
        ):
            patiently(connection.execute, f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # For those who use this engine through SQLAlchemy, such as the migrations.
        patiently(connection.connection.cursor().execute, "BEGIN IMMEDIATE")

    return engine


def patiently(execute: Callable[[str], T], sql: str) -> T:
    """Execute SQL on SQLite, waiting for a locked database where SQLite itself does not.

    While another connection turns a new file to write-ahead logging, SQLite answers
    “locked” at once, whatever the busy timeout.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        begun = time.monotonic()
        try:
            return execute(sql)
        except sqlite3.OperationalError as error:
            at_once = time.monotonic() - begun < 1
            if "locked" not in str(error) or not at_once or begun > deadline:
                raise
            time.sleep(0.01)


def can_pipeline(driver: Any) -> bool:
    """Whether connections of this driver can send statements without waiting for answers."""
    pipeline = getattr(driver, "Pipeline", None)  # psycopg has it, with libpq 14 or later
    return pipeline is not None and bool(pipeline.is_supported())


@contextmanager
def pipelined(connection: Any) -> Iterator[Callable[[], None]]:
    """Statements go out without waiting for each answer; the value waits for those that are out.

    A commit at the end waits for all. What the server refuses is raised by whatever waits
    next, be it a fetch.
    """
    with connection.pipeline() as pipeline:
        try:
            yield pipeline.sync
        except BaseException:
            # The driver logs what it finds unanswered at the end, values and all.
            with suppress(Exception):
                pipeline.sync()
            raise


def within(
    engine: Engine, connection: Any, sync: Callable[[], None] | None = None
) -> sa.Connection:
    """A Connection on what was checked out, in the transaction that it is in.

    It begins no transaction and ends none. Where statements are sent without waiting for
    their answers, `sync` waits for each.
    """
    lent = sa.Connection(engine, connection, _allow_autobegin=False)
    if sync is not None:
        sa.event.listen(lent, "after_cursor_execute", lambda *_: sync())
    return lent


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """An engine while the block lasts; what the database refuses becomes a `StorageError`."""
    engine = open_engine(url)
    driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
    try:
        yield engine
    except (SQLAlchemyError, driver_error) as error:
        # The first line says what is wrong; further ones may repeat values.
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise StorageError(f"the database cannot be used: {reason}") from error
    finally:
        engine.dispose()


def begin_lent(connection: sa.Connection) -> None:
    """Make sure that a connection the host lends is inside a transaction, in the driver too.

    Python's SQLite driver opens no transaction for a savepoint or for DDL; releasing the
    outermost savepoint would then commit.
    """
    if not connection.in_transaction():
        connection.begin()
    raw: Any = connection.connection.dbapi_connection
    local = connection.dialect.name == "sqlite"
    # In SQLite's driver no isolation level means the same; SQLAlchemy's recipe for it
    # sends its own BEGIN.
    by_itself = local and raw.isolation_level is None and not raw.in_transaction
    if by_itself or getattr(raw, "autocommit", False) is True:
        raise InvalidInput("the lent connection commits by itself; lend one that does not")
    if local and not raw.in_transaction:
        patiently(raw.cursor().execute, "BEGIN IMMEDIATE")
