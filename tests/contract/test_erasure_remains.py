"""What an erasure leaves in the database itself: no row with anything of the person."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crmkit import CRMService, Settings, SqlStorage, migrate
from crmkit.ports.storage import Storage
from tests.canaries import canaries
from tests.populate import populate


def all_text(engine: sa.Engine) -> str:
    """All columns of all tables, crmkit's or not, as text."""
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        assert len(names) > 40
        held = [connection.execute(sa.text(f'SELECT * FROM "{name}"')).all() for name in names]
    return repr(held)


@pytest.mark.parametrize("storage", ["postgresql", "sqlite"], indirect=True)
def test_no_column_of_any_table_holds_anything_of_the_person(
    storage: Storage, crm: CRMService
) -> None:
    """Whatever the catalogue says, asked of the database itself."""
    assert isinstance(storage, SqlStorage)
    person = populate(crm)
    ids = [person, *(m.dropped_id for m in crm.identity.merges(person))]
    assert len(canaries(all_text(storage._engine))) > 40
    receipt = crm.gdpr.erase(person)
    left = all_text(storage._engine)
    assert canaries(left) == set()
    assert sorted(receipt.ids) == sorted(ids)
    assert [gone for gone in ids if gone in left] == []


def files(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.glob("host.db*")))


@pytest.fixture
def careless(tmp_path: Path) -> Any:
    """A host's engine on SQLite whose connections never overwrite what is deleted."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/host.db")

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA secure_delete = OFF")

    migrate(engine)
    yield engine
    engine.dispose()


def _checkpointed(engine: sa.Engine, folder: Path) -> bytes:
    engine.dispose()
    connection = sqlite3.connect(folder / "host.db")
    assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    connection.close()
    return files(folder)


@pytest.mark.parametrize("lent", [False, True], ids=["own transaction", "lent connection"])
def test_a_careless_hosts_connections_overwrite_what_crmkit_deletes(
    careless: sa.Engine, tmp_path: Path, lent: bool
) -> None:
    """It sets `secure_delete` itself, whatever the build or the host have chosen."""
    crm = CRMService(careless, settings=Settings(region="RO"))
    person = populate(crm)
    crm.customers.add_note(person, "zqlong notezq " * 600)
    assert len(canaries(_checkpointed(careless, tmp_path))) > 40
    if lent:
        with careless.begin() as connection:
            assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == 0
            with crm.using(connection) as tx:
                tx.gdpr.erase(person)
            assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == 1
    else:
        crm.gdpr.erase(person)
    left = _checkpointed(careless, tmp_path)
    assert canaries(left) == set()
    assert person.encode() not in left


def test_a_plain_delete_leaves_the_bytes(careless: sa.Engine, tmp_path: Path) -> None:
    """What a host would do by itself fails the same test."""
    crm = CRMService(careless, settings=Settings(region="RO"))
    person = populate(crm)
    crm.customers.add_note(person, "zqlong notezq " * 600)
    _checkpointed(careless, tmp_path)
    with careless.begin() as connection:
        for table in ("crm_notes", "crm_customers", "crm_profile_changes"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    assert canaries(_checkpointed(careless, tmp_path)) != set()
