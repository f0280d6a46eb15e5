"""A ledger nobody can cheat: its invariants, after any history, on every storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from crmkit import MemoryStorage, Programme, SqlStorage
from crmkit.ports.storage import Storage
from tests.fixtures import sqlite_url
from tests.points import (
    House,
    Step,
    caps_hold,
    histories,
    is_sound,
    nothing_was_changed,
    programmes,
)

some = settings().max_examples
shared = settings(suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def storages(
    tmp_path_factory: pytest.TempPathFactory, crm_database: str
) -> Iterator[tuple[Storage, ...]]:
    folder: Path = tmp_path_factory.mktemp("points")
    opened = (MemoryStorage(), SqlStorage.open(sqlite_url(folder)), SqlStorage.open(crm_database))
    yield opened
    for storage in opened:
        storage.close()


def lived(house: House, steps: Sequence[Step]) -> House:
    for step in steps:
        house.step(*step)
    return house


@given(programmes(), histories())
@settings(shared, max_examples=3 * some)
def test_accounts_are_what_their_entries_tell(programme: Programme, steps: list[Step]) -> None:
    """After every step, at every instant; and no entry is ever changed."""
    house = House(MemoryStorage(), programme)
    for step in steps:
        before, _ = house.rows()
        house.step(*step)
        nothing_was_changed(before, house.rows()[0])
        is_sound(house)
    caps_hold(house) if not house.merges else None
