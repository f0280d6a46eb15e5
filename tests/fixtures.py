"""Fixtures for every test: a fresh storage of each kind, and a CRM on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from crmkit import CRMService, KeyRing, MemoryStorage, Settings, SqlStorage, migrate
from crmkit.adapters.encryption import EncryptedStorage
from crmkit.model import catalogue
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.postgres import database

STORAGES = ("memory", "sqlite", "postgresql")


@pytest.fixture(scope="session")
def crm_database(postgres_url: str) -> Iterator[str]:
    """URL of a database of this worker that has crmkit's schema; tests share it."""
    with database(postgres_url) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def _postgres_engine(crm_database: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(crm_database)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine(_postgres_engine: sa.Engine) -> sa.Engine:
    """A host's engine for PostgreSQL, with crmkit's schema and no rows."""
    # For few rows this takes a tenth of the time of TRUNCATE.
    with _postgres_engine.begin() as connection:
        tables = [entry.table for entry in catalogue()]
        connection.exec_driver_sql(";".join(f"DELETE FROM {table}" for table in tables))
    return _postgres_engine


@pytest.fixture(scope="session")
def _postgres_storage(crm_database: str) -> Iterator[Storage]:
    storage = SqlStorage.open(crm_database)
    yield storage
    storage.close()


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A fresh storage; the test runs once with each kind."""
    if request.param == "postgresql":
        request.getfixturevalue("postgres_engine")
        yield _sealing(request.getfixturevalue("_postgres_storage"))
        return
    made = MemoryStorage() if request.param == "memory" else SqlStorage.open(sqlite_url(tmp_path))
    yield _sealing(made)
    made.close()


def _sealing(storage: Storage) -> Storage:
    """With CRMKIT_TEST_ENCRYPTED all is tried with encryption at rest; `make deep` does."""
    if not os.environ.get("CRMKIT_TEST_ENCRYPTED"):
        return storage
    return EncryptedStorage(storage, KeyRing({"2026": bytes(range(32))}))


def sqlite_url(folder: Path) -> str:
    """URL of an SQLite file that no test loses by a power cut."""
    return f"sqlite:///{folder}/crm.db?synchronous=OFF"


@pytest.fixture
def clock() -> FrozenClock:
    """The clock of `crm`."""
    return FrozenClock()


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    """A CRM on each kind of storage in turn, its time standing still."""
    return CRMService(storage, clock=clock, settings=Settings(region="IT", currency="EUR"))
