"""The schema: both ways of making it are one, and a database without it is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from crmkit import CRMService, InvalidInput, SchemaOutdated, SqlStorage, StorageError, migrate
from crmkit.adapters.sql import schema
from crmkit.adapters.sql.engine import open_engine
from crmkit.model import catalogue
from crmkit.testing import together
from tests.postgres import database

Columns = dict[str, list[tuple[str, str, str, str | None]]]


@pytest.fixture
def sqlite_file(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/crm.db"


@pytest.fixture
def new_postgres(postgres_url: str) -> Iterator[str]:
    """URL of an empty database of this test alone."""
    with database(postgres_url) as url:
        yield url


def create(engine: sa.Engine) -> None:
    """Make the schema as `SqlStorage.open` does on an empty SQLite file."""
    connection = engine.raw_connection()
    schema.create(connection.cursor(), engine.dialect.name)
    connection.commit()
    connection.close()


def upgrade(url: str) -> None:
    """Make the schema by running every migration, as an older database would."""
    engine = open_engine(url)
    with engine.begin() as connection:
        schema.upgrade(connection)
    engine.dispose()


def normalised(ddl: str) -> str:
    """DDL without what is only spelling: quotes, spaces, letter case."""
    return re.sub(r"\s*([(),])\s*", r"\1", re.sub(r'[\s"]+', " ", ddl)).strip().lower()


def sqlite_objects(url: str) -> dict[str, str]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        ).all()
    engine.dispose()
    return {name: normalised(ddl) for name, ddl in rows}


_COLUMNS = """
    SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default
    FROM information_schema.columns WHERE table_schema = 'public'
    ORDER BY table_name, ordinal_position
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexdef"
_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
"""


def postgres_objects(url: str) -> list[object]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = [connection.exec_driver_sql(q).all() for q in (_COLUMNS, _INDEXES, _CONSTRAINTS)]
    engine.dispose()
    return [*found]


def test_created_and_migrated_are_one_on_sqlite(tmp_path: Path) -> None:
    """Tables, columns, their order, keys and indexes: the same text in both files."""
    SqlStorage.open(f"sqlite:///{tmp_path}/created.db").close()
    upgrade(f"sqlite:///{tmp_path}/migrated.db")
    created = sqlite_objects(f"sqlite:///{tmp_path}/created.db")
    assert created == sqlite_objects(f"sqlite:///{tmp_path}/migrated.db")
    assert "crm_customers" in created


def test_created_and_migrated_are_one_on_postgresql(postgres_url: str) -> None:
    """Columns with type and collation, keys and indexes are reflected alike."""
    with database(postgres_url) as created, database(postgres_url) as migrated:
        engine = sa.create_engine(created)
        create(engine)
        engine.dispose()
        upgrade(migrated)
        assert postgres_objects(created) == postgres_objects(migrated)


def test_every_field_of_the_catalogue_has_its_column(empty_engine: sa.Engine) -> None:
    """And no table of crmkit's holds a column that the catalogue does not declare."""
    migrate(empty_engine)
    inspector = sa.inspect(empty_engine)
    for entry in catalogue():
        columns = inspector.get_columns(entry.table)
        assert [c["name"] for c in columns] == list(entry.names)
        assert [c["nullable"] for c in columns] == [c.optional for c in entry.columns]
        key = inspector.get_pk_constraint(entry.table)["constrained_columns"]
        assert tuple(key) == entry.key
        found = inspector.get_indexes(entry.table)
        indexes = {tuple(i["column_names"]): bool(i["unique"]) for i in found}
        assert indexes == {i.fields: i.unique for i in entry.indexes}
    tables = {t for t in inspector.get_table_names() if t.startswith("crm_")}
    assert tables == {e.table for e in catalogue()} | {"crm_secrets", schema.VERSION_TABLE}


def test_every_key_begins_with_the_tenant() -> None:
    assert all(entry.key[0] == "tenant" for entry in catalogue())
    assert all(index.fields[0] == "tenant" for entry in catalogue() for index in entry.indexes)


def test_migrating_twice_changes_nothing(empty_engine: sa.Engine) -> None:
    migrate(empty_engine)
    crm = CRMService(empty_engine)
    customer = crm.find_or_create({"email": "ana@mail.com"})
    migrate(empty_engine)
    assert CRMService(empty_engine).find_or_create({"email": "ana@mail.com"}).id == customer.id


def test_a_created_file_needs_no_migration(sqlite_file: str) -> None:
    with CRMService(sqlite_file) as crm:
        customer = crm.find_or_create({"email": "ana@mail.com"})
    migrate(sqlite_file)
    with CRMService(sqlite_file) as crm:
        assert crm.customers.get(customer.id) == customer


def test_many_may_migrate_at_once(empty_engine: sa.Engine) -> None:
    """Several servers of a host that start together, each of which migrates first."""
    url = empty_engine.url.render_as_string(hide_password=False)
    together(4, lambda _: migrate(url))
    assert len(CRMService(empty_engine).customers.list()) == 0


def test_the_hosts_own_tables_are_left_alone(empty_engine: sa.Engine) -> None:
    """Also the host's Alembic version table."""
    with empty_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num TEXT)")
        connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('of the host')")
    migrate(empty_engine)
    with empty_engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").all()
    assert found == [("of the host",)]


COMMAND = r"run `crmkit migrate URL`, or call `crmkit\.migrate\(engine\)`"


def as_version(engine: sa.Engine, version: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{version}'")


def calls(engine: sa.Engine) -> list[Callable[[], object]]:
    """The first thing a host may do."""
    crm = CRMService(engine)
    return [
        lambda: crm.find_or_create({"email": "ana@mail.com"}, key="k"),
        lambda: crm.customers.list(),
        lambda: crm.gdpr.erase("nobody"),
    ]


def test_a_database_without_the_schema_names_the_command(empty_engine: sa.Engine) -> None:
    for call in calls(empty_engine):
        with pytest.raises(SchemaOutdated, match=f"no crmkit schema yet: {COMMAND}"):
            call()


def test_an_older_schema_names_the_command(empty_engine: sa.Engine) -> None:
    migrate(empty_engine)
    as_version(empty_engine, "0000")
    for call in calls(empty_engine):
        with pytest.raises(SchemaOutdated, match=f"schema 0000, .* needs {schema.HEAD}: {COMMAND}"):
            call()


def test_a_newer_schema_says_so(empty_engine: sa.Engine) -> None:
    """No command of this version helps; it must be upgraded."""
    migrate(empty_engine)
    as_version(empty_engine, "9999")
    for call in calls(empty_engine):
        with pytest.raises(SchemaOutdated, match="schema 9999, made by a newer crmkit"):
            call()


def test_a_half_made_schema_is_no_schema(empty_engine: sa.Engine) -> None:
    """A version table without a version counts as none."""
    migrate(empty_engine)
    with empty_engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {schema.VERSION_TABLE}")
    with pytest.raises(SchemaOutdated, match="no crmkit schema yet"):
        CRMService(empty_engine).customers.list()


def test_a_database_that_came_right_is_accepted(empty_engine: sa.Engine) -> None:
    """A service that was refused works as soon as somebody has migrated."""
    crm = CRMService(empty_engine)
    with pytest.raises(SchemaOutdated):
        crm.customers.list()
    migrate(empty_engine)
    assert len(crm.customers.list()) == 0


def test_a_sqlite_file_of_the_hosts_is_not_filled(sqlite_file: str) -> None:
    """Only an empty file gets its schema by itself."""
    engine = sa.create_engine(sqlite_file)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE hosts_own (id INTEGER)")
    with CRMService(sqlite_file) as crm, pytest.raises(SchemaOutdated, match=COMMAND):
        crm.customers.list()
    assert sa.inspect(engine).get_table_names() == ["hosts_own"]
    engine.dispose()


_OPEN_EACH = """
import sys
from crmkit import CRMService
print("ready", flush=True)
for url in sys.stdin:
    with CRMService(url.strip()) as crm:
        print(crm.find_or_create({"email": "ana@mail.com"}).id, flush=True)
"""


def test_two_processes_may_open_the_same_empty_file(tmp_path: Path) -> None:
    """One makes the schema, both use it: they find the same customer."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN_EACH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for n in range(10):
        for process in processes:
            assert process.stdin
            process.stdin.write(f"sqlite:///{tmp_path}/{n}.db\n")
            process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in processes]
    assert [errors for _, errors in ended] == ["", ""]
    first, second = (found.split() for found, _ in ended)
    assert first == second
    assert len(set(first)) == 10


def test_many_threads_may_open_the_same_empty_file(sqlite_file: str) -> None:
    def work(_: int) -> str:
        with CRMService(sqlite_file) as crm:
            return crm.find_or_create({"email": "ana@mail.com"}).id

    assert len(set(together(8, work))) == 1


def pragma(url: str, name: str) -> object:
    engine = open_engine(url)
    connection = engine.raw_connection()
    value = connection.cursor().execute(f"PRAGMA {name}").fetchone()[0]
    connection.close()
    engine.dispose()
    return value


@pytest.mark.parametrize(
    ("name", "value"),
    [("journal_mode", "wal"), ("secure_delete", 1), ("foreign_keys", 1), ("busy_timeout", 30_000)],
)
def test_sqlite_is_set_up_safely(sqlite_file: str, name: str, value: object) -> None:
    assert pragma(sqlite_file, name) == value


@pytest.mark.parametrize(
    ("query", "value"),
    [("", 2), ("?synchronous=NORMAL", 1), ("?synchronous=full", 2), ("?synchronous=OFF", 0)],
)
def test_the_url_says_how_safe_a_commit_is(sqlite_file: str, query: str, value: int) -> None:
    """FULL unless the host chooses speed."""
    assert pragma(sqlite_file + query, "synchronous") == value


def test_an_unknown_level_of_safety_is_refused(sqlite_file: str) -> None:
    with pytest.raises(InvalidInput, match="synchronous: expected one of OFF, NORMAL"):
        SqlStorage.open(sqlite_file + "?synchronous=ALWAYS")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "no url", ""])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="storage: "):
        SqlStorage.open(url)


def test_deleted_bytes_leave_the_hosts_file_too(tmp_path: Path) -> None:
    """On a host's engine secure_delete is switched on for crmkit's own transactions."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/host.db")
    migrate(engine)
    crm = CRMService(engine)
    canaries = [f"canary{n:04}" for n in range(60)]
    ids = [crm.find_or_create({"email": f"{c}@mail.com", "name": c}).id for c in canaries]
    with engine.begin() as connection, crm.using(connection) as tx:
        for customer_id in ids[::2]:
            tx.gdpr.erase(customer_id)
    for customer_id in ids[1::2]:
        crm.gdpr.erase(customer_id)
    engine.dispose()
    assert b"canary" not in (tmp_path / "host.db").read_bytes()


class TestAServerThatGoesAway:
    def test_a_server_that_is_not_there_is_a_storage_error(self) -> None:
        url = "postgresql+psycopg://nobody:secret@127.0.0.1:9/crm"
        with pytest.raises(StorageError) as caught, CRMService(url) as crm:
            crm.customers.list()
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is not None

    def test_after_a_restart_one_call_fails_and_the_next_works(self, new_postgres: str) -> None:
        """The connections that were open are all dropped with the first that is found dead."""
        migrate(new_postgres)
        with CRMService(new_postgres) as crm:
            together(4, lambda n: crm.find_or_create({"email": f"a{n}@mail.com"}))
            self._restart(new_postgres)
            with pytest.raises(StorageError):
                crm.find_or_create({"email": "b@mail.com"})
            crm.find_or_create({"email": "b@mail.com"})
            assert len(crm.customers.list()) == 5

    def test_an_engine_of_the_hosts_recovers_too(self, new_postgres: str) -> None:
        """With the host's `pool_pre_ping` not even the first call fails."""
        engine = sa.create_engine(new_postgres, pool_pre_ping=True)
        migrate(engine)
        crm = CRMService(engine)
        crm.find_or_create({"email": "a@mail.com"})
        self._restart(new_postgres)
        crm.find_or_create({"email": "b@mail.com"})
        assert len(crm.customers.list()) == 2
        engine.dispose()

    def test_a_connection_that_breaks_in_the_middle(self, new_postgres: str) -> None:
        """The call is a `StorageError`, nothing of it stays, and the next one works."""
        migrate(new_postgres)
        with CRMService(new_postgres) as crm:
            storage = SqlStorage.open(new_postgres)
            with pytest.raises(StorageError):
                storage.write("default", lambda _: self._restart_within(storage, new_postgres))
            storage.close()
            assert len(crm.customers.list()) == 0

    def _restart_within(self, storage: SqlStorage, url: str) -> None:
        self._restart(url)
        with storage.read("default") as uow:
            uow.count(catalogue()[0].record)

    def _restart(self, url: str) -> None:
        """End all sessions but this one, as a restart of the server would."""
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        engine.dispose()
