"""Fixtures of the tests that play a host."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crmkit import CRMService, Settings, migrate
from tests.hosts import ENGINES, Base, sqlite_engine
from tests.postgres import database


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with crmkit's schema and the host's table, to be copied."""
    file = tmp_path_factory.mktemp("host") / "host.db"
    engine = sa.create_engine(f"sqlite:///{file}")
    migrate(engine)
    Base.metadata.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A host's engine, made as hosts make them, with crmkit's schema and a table of its own."""
    kind, _, way = request.param.partition(" ")
    if kind == "postgresql":
        engine = request.getfixturevalue("postgres_engine")
        Base.metadata.create_all(engine)
        yield engine
        Base.metadata.drop_all(engine)
        return
    shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "host.db")
    engine = sqlite_engine(f"sqlite:///{tmp_path}/host.db", way)
    yield engine
    engine.dispose()


@pytest.fixture(params=["Session", "Connection"])
def lend(request: pytest.FixtureRequest, engine: sa.Engine) -> Callable[[], Any]:
    """Opens what the host works with, inside a `with`; nobody but the test commits it."""
    return {"Session": lambda: Session(engine), "Connection": engine.connect}[request.param]


@pytest.fixture
def service(engine: sa.Engine) -> CRMService:
    return CRMService(engine, settings=Settings(region="IT"))


@pytest.fixture(params=ENGINES)
def empty_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A host's engine for an empty database."""
    kind, _, way = request.param.partition(" ")
    if kind == "sqlite":
        engine = sqlite_engine(f"sqlite:///{tmp_path}/empty.db", way)
        yield engine
    else:
        with database(request.getfixturevalue("postgres_url")) as url:
            engine = sa.create_engine(url)
            yield engine
    engine.dispose()
