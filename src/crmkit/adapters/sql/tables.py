"""The tables, as the catalogue declares them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.adapters.sql.codec import remembered
from crmkit.model import Entry, catalogue

METADATA = sa.MetaData()

_LONGEST_NAME = 63

# One order everywhere: PostgreSQL compares text by code point too, whatever the
# database's locale, so that pages and rules agree with SQLite and Python.
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON_TEXT = sa.Text().with_variant(JSONB(), "postgresql")
_TYPES: dict[type, Any] = {
    str: _TEXT,
    int: sa.BigInteger(),
    bool: sa.Boolean(),
    datetime: sa.BigInteger(),  # microseconds since 1970
    date: _TEXT,  # ISO 8601, which sorts as the calendar does
}

SECRETS = sa.Table(
    "crm_secrets",
    METADATA,
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("value", _TEXT, nullable=False),
)
"""Keys that belong to the database, such as the one behind its keyed hashes."""


@remembered
def table(record: type) -> sa.Table:
    """The table of a record class; a column's name is its field's name."""
    for entry in catalogue():
        if entry.record is record:
            return _make(entry)
    raise KeyError(record.__name__)


def _make(entry: Entry) -> sa.Table:
    columns = [
        sa.Column(c.name, _TYPES.get(c.type, JSON_TEXT), nullable=c.optional) for c in entry.columns
    ]
    # The key in its declared order: the tenant leads, for it is the distribution key.
    made = sa.Table(
        entry.table,
        METADATA,
        *columns,
        sa.PrimaryKeyConstraint(*entry.key),
        sqlite_with_rowid=not _in_the_key(entry),
    )
    for index in entry.indexes:
        present = made.c[index.where_present].is_not(None) if index.where_present else None
        sa.Index(
            _index_name(entry.table, index.fields[1:]),
            *(made.c[f] for f in index.fields),
            unique=index.unique,
            sqlite_where=present,
            postgresql_where=present,
        )
    return made


def _index_name(table: str, fields: tuple[str, ...]) -> str:
    """Named after its fields, as many as PostgreSQL lets a name hold."""
    name = "_".join(["ix", table, *fields])
    return name if len(name) <= _LONGEST_NAME else _index_name(table, fields[:-1])


def _in_the_key(entry: Entry) -> bool:
    """Whether SQLite keeps the rows in the key's own tree: one page to write instead of two.

    Rows that are only ever found by their key, and rows that are nothing but their key. For
    others with a second index SQLite would prefer to walk the key.
    """
    if set(entry.key) == set(entry.names):
        return True
    return not entry.indexes and all(c.type in _TYPES for c in entry.columns)


def all_tables() -> sa.MetaData:
    """The whole schema."""
    for entry in catalogue():
        table(entry.record)
    return METADATA
