"""Making the schema, and telling whether a database has the one this version needs."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.schema import CreateIndex, CreateTable

from crmkit.adapters.sql.engine import begin_lent, opened
from crmkit.adapters.sql.statements import dialect as dialect_named
from crmkit.adapters.sql.tables import SECRETS, all_tables
from crmkit.errors import MissingExtra, SchemaOutdated

HEAD = "0001"
"""The newest migration."""

VERSION_TABLE = "crm_schema_version"

_ALEMBIC = threading.Lock()  # it runs migrations through a global of its own


def version(cursor: Any, dialect: str) -> str | None:
    """The database's schema version, or None where crmkit never was."""
    if dialect == "sqlite":
        cursor.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,))
    else:
        cursor.execute("SELECT to_regclass(%s)::text", (VERSION_TABLE,))
    row = cursor.fetchone()
    if row is None or row[0] is None:
        return None
    cursor.execute(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    row = cursor.fetchone()
    return None if row is None else str(row[0])


def check(found: str | None) -> None:
    """Raise `SchemaOutdated` unless the version is this one."""
    if found == HEAD:
        return
    command = "run `crmkit migrate URL`, or call `crmkit.migrate(engine)`"
    if found is None:
        raise SchemaOutdated(f"the database has no crmkit schema yet: {command}")
    if found > HEAD:
        raise SchemaOutdated(
            f"the database has schema {found}, made by a newer crmkit; this one knows {HEAD}"
        )
    raise SchemaOutdated(f"the database has schema {found}, this crmkit needs {HEAD}: {command}")


def create(cursor: Any, dialect: str) -> None:
    """Create everything in an empty database, as the migrations would have."""
    target = dialect_named(dialect)
    for made in all_tables().sorted_tables:
        cursor.execute(str(CreateTable(made).compile(dialect=target)))
        for index in sorted(made.indexes, key=lambda i: str(i.name)):
            cursor.execute(str(CreateIndex(index).compile(dialect=target)))
    mark = "?" if dialect == "sqlite" else "%s"
    cursor.execute(
        f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    cursor.execute(f"INSERT INTO {VERSION_TABLE} VALUES ({mark})", (HEAD,))  # noqa: S608
    cursor.execute(
        f"INSERT INTO {SECRETS.name} (name, value) VALUES ({mark}, {mark})",  # noqa: S608
        ("fingerprint", secrets.token_hex(32)),
    )


_one_at_a_time = threading.Lock()
"""Alembic keeps its state in module globals: two threads must not run it together."""


def migrate(target: str | Engine | Connection) -> None:
    """Bring a database's crmkit schema to this version.

    `target` is a URL, an Engine, or a Connection that the host lends: then the changes
    are part of the host's transaction, which is left open. Many may call at once; one
    does the work. Upgrading an older schema needs the extra ``crmkit[migrations]``.
    """
    if isinstance(target, str):
        with opened(target) as engine:
            migrate(engine)
        return
    if isinstance(target, Engine):
        with target.begin() as connection:
            migrate(connection)
        return
    begin_lent(target)
    cursor, dialect = target.connection.cursor(), target.dialect.name
    if dialect == "postgresql":
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (VERSION_TABLE,))
    found = version(cursor, dialect)
    if found is None:
        create(cursor, dialect)
    elif found < HEAD:
        upgrade(target)
    else:
        check(found)


def upgrade(connection: Connection) -> None:
    """Run the migrations that a database lacks, inside the connection's transaction."""
    try:
        from alembic import command
        from alembic.config import Config
    except ImportError as error:
        raise MissingExtra(
            "upgrading an older schema needs Alembic: pip install 'crmkit[migrations]'"
        ) from error
    config = Config()
    config.set_main_option("script_location", "crmkit.adapters.sql:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, "head")
