"""Each question that moves a cut-off is one seek in the index, however many are ranked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from crmkit import SqlStorage
from crmkit.adapters.sql import statements
from crmkit.adapters.sql.unit import SqlUnitOfWork
from crmkit.model import Rank
from tests.fixtures import sqlite_url

INDEX = "ix_crm_segment_ranks_field_value_customer_id"
FIELDS = (("field", 1, False),)
ORDER = ("value", "customer_id")


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[sa.Engine]:
    SqlStorage.open(sqlite_url(tmp_path)).close()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/crm.db")
    yield engine
    engine.dispose()


def _filled(engine: sa.Engine) -> sa.PoolProxiedConnection:
    """A connection to a database that ranks some thousands by two fields."""
    connection = engine.raw_connection()
    uow = SqlUnitOfWork(connection.cursor(), engine.dialect.name, "venue", writable=True)
    uow.add_many(
        Rank(tenant="venue", customer_id=f"c{n:05}", field=field, value=n * 7919 % 4000 + 1)
        for field in ("points", "total_spend")
        for n in range(4000)
    )
    connection.cursor().execute("ANALYZE")
    return connection


def _asked(dialect: str) -> Iterator[tuple[statements.Statement, dict[str, object]]]:
    """The next number up and down, how many have one, and the first from one of the ends."""
    place = {"after_value": 2000, "after_customer_id": ""}
    of: dict[str, object] = {"tenant": "venue", "field_0": "points", "limit": 1}
    for descending in (False, True):
        for after in (False, True):
            found = statements.find(dialect, Rank, FIELDS, ORDER, descending, after, True)
            yield found, of | (place if after else {})
    held = (*FIELDS, ("value", 1, False))
    yield statements.count(dialect, Rank, held), of | {"value_0": 2000}


def test_sqlite_seeks_in_the_index(sqlite_engine: sa.Engine) -> None:
    """Down to the number, where there is one, and without sorting."""
    connection = _filled(sqlite_engine)
    for statement, values in _asked("sqlite"):
        cursor = connection.cursor()
        cursor.execute(f"EXPLAIN QUERY PLAN {statement.sql}", statement.values(values))
        (plan,) = [row[3] for row in cursor.fetchall()]
        assert INDEX in plan
        condition = plan.replace(INDEX, "")
        assert ("value" in condition) is ("after_value" in values or "value_0" in values)


def test_postgresql_seeks_in_the_index(postgres_engine: sa.Engine) -> None:
    """Down to the number, where there is one, and without sorting."""
    connection = _filled(postgres_engine)
    try:
        for statement, values in _asked("postgresql"):
            cursor = connection.cursor()
            cursor.execute(f"EXPLAIN {statement.sql}", statement.values(values))
            plan = "\n".join(row[0] for row in cursor.fetchall())
            assert f"using {INDEX}" in plan or f"Bitmap Index Scan on {INDEX}" in plan
            assert "Sort" not in plan
            condition = next(line for line in plan.splitlines() if "Index Cond" in line)
            assert ("value" in condition) is ("after_value" in values or "value_0" in values)
    finally:
        connection.rollback()
        connection.close()
