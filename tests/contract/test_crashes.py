"""An import is killed at any moment: what was told is there, nothing is half there."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter as Counts
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings

from crmkit import CRMService
from crmkit.model import (
    Activity,
    Counter,
    Customer,
    IdempotencyKey,
    Identity,
    Metrics,
    PointsAccount,
    PointsEntry,
    PointsLot,
    Tag,
)
from tests.fixtures import sqlite_url
from tests.populate import values

CHUNK = 10
TOTAL = 240
KILLS = 100 if settings().max_examples > 1_000 else 10

_IMPORT = f"""
import os, sys
from crmkit import CRMService
from crmkit.activities import service

service.CHUNK = {CHUNK}  # many small transactions
url, tenant, way = sys.argv[1:]

KINDS = [
    ("booking", {{"amount": "9.99", "type": "party"}}),
    ("completion", {{}}),
    ("refund", {{"amount": "3.33"}}),
    ("visit", {{"party_size": 3}}),
]

def items():
    for n in range({TOTAL}):
        # The facts of a booking lie apart, in several chunks.
        number = n % 60
        kind, said = KINDS[n // 60]
        if kind == "booking":
            said = said | {{"item": f"table {{number % 5}}"}}
        item = {{
            "customer": {{"email": f"guest{{number % 7}}@mail.com", "tags": [f"t{{n % 3}}"]}},
            "kind": kind,
            "payload": said | {{"booking_id": number, "line": n}},
            "at": f"2026-01-{{n // 24 + 1:02}}T{{n % 24:02}}:00:00Z",
        }}
        yield item if way == "keyless" else item | {{"key": f"line {{n}}"}}

crm = CRMService(url, tenant=tenant)

if way == "halves":
    record = service.record
    def by_halves(uow, rt, facts, *more):
        # Keys are committed before what they stand for, and then the power fails.
        uow._cursor.connection.commit()
        os.kill(os.getpid(), {signal.SIGKILL:d})
    service.record = by_halves

print("ready", flush=True)
crm.activities.track_many(items(), progress=lambda done: print(done.total, flush=True))
"""


class Database:
    """Where the import goes, and processes that carry it out."""

    def __init__(self, url: str, server: sa.Engine | None) -> None:
        self.url = url
        self._server = server

    def run(self, tenant: str, *, until: int = TOTAL, pause: float = 0, way: str = "") -> int:
        """Run the import; kill it `pause` seconds after it told of `until` items.

        Returns how many items it told of.
        """
        process = subprocess.Popen(
            [sys.executable, "-c", _IMPORT, self.url + self._name, tenant, way],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        told = [process.stdout.readline().strip()]
        while told[-1] not in ("", str(TOTAL)) and int(told[-1].replace("ready", "0")) < until:
            told.append(process.stdout.readline().strip())
        if until < TOTAL:
            time.sleep(pause)
            process.kill()
        rest, errors = process.communicate(timeout=60)
        assert errors == ""
        self._wait_for_the_server()
        return max(int(line) for line in ["0", *told, *rest.split()] if line.isdecimal())

    @property
    def _name(self) -> str:
        return "?application_name=import" if self._server else ""

    def _wait_for_the_server(self) -> None:
        """Until it has noticed that its client is gone."""
        if self._server is None:
            return
        count = sa.text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'import' AND datname = current_database()"
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with self._server.connect() as connection:
                if connection.execute(count).scalar_one() == 0:
                    return
            time.sleep(0.005)
        raise AssertionError("the server still works for a client that is gone")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    if request.param == "sqlite":
        return Database(sqlite_url(tmp_path), None)
    engine = request.getfixturevalue("postgres_engine")
    return Database(request.getfixturevalue("crm_database"), engine)


def intact(crm: CRMService) -> int:
    """How many items are recorded: the first ones, in whole chunks, with all that follows."""
    with crm._runtime.read() as uow:
        facts, keys = uow.find(Activity), uow.find(IdempotencyKey)
        customers = {c.id for c in uow.find(Customer)}
        entries, accounts = uow.find(PointsEntry), uow.find(PointsAccount)
        assert {i.customer_id for i in uow.find(Identity)} == customers
        assert {m.customer_id for m in uow.find(Metrics)} == customers
    lines = sorted(f.payload["line"] for f in facts)
    assert lines == list(range(len(lines)))
    assert len(lines) % CHUNK == 0
    assert {f.customer_id for f in facts} == customers
    assert sorted((k.result_id, k.customer_id) for k in keys) == sorted(
        (f.id, f.customer_id) for f in facts
    )
    points = Counts[str | None]()
    for entry in entries:
        points[entry.customer_id] += entry.points
    assert points == {a.customer_id: a.balance for a in accounts}
    assert crm.activities.verify() == ()
    return len(lines)


_NAMES = {
    "tenant", "id", "customer_id", "lot_id", "story", "fingerprint", "recorded_at", "added_at",
}  # fmt: skip


def state(crm: CRMService) -> dict[str, Any]:
    """All that an import leaves, by guest, without what differs from run to run."""
    kinds = (Activity, PointsEntry, PointsLot, PointsAccount, Metrics, Counter, Tag)
    with crm._runtime.read() as uow:
        return {
            c.email or "": [c.created_at] + [_all(uow.find(k, customer_id=c.id)) for k in kinds]
            for c in uow.find(Customer)
        }


def _all(records: list[Any]) -> list[str]:
    return sorted(repr({k: v for k, v in values(r).items() if k not in _NAMES}) for r in records)


def test_killed_again_and_again_an_import_ends_as_if_undisturbed(database: Database) -> None:
    """Each run is killed at a random moment and run again from its first item."""
    rng = random.Random(9)
    assert database.run("undisturbed") == TOTAL
    with CRMService(database.url, tenant="undisturbed") as undisturbed:
        expected = state(undisturbed)
        assert intact(undisturbed) == TOTAL
        for tenant in map(str, range(KILLS // 10)):
            crm, recorded = undisturbed.for_tenant(tenant), 0
            for _ in range(10):
                furthest = min(recorded + 5 * CHUNK, TOTAL)
                until = rng.randrange(recorded, furthest, CHUNK) if recorded < TOTAL else 0
                told = database.run(tenant, until=until, pause=rng.uniform(0, 0.006))
                assert intact(crm) >= max(told, recorded)
                recorded = intact(crm)
            assert database.run(tenant) == TOTAL
            assert intact(crm) == TOTAL
            assert state(crm) == expected


def test_half_a_transaction_fails_the_same_test(database: Database) -> None:
    """An import whose keys are committed before its facts is found out."""
    database.run("halves", way="halves")
    with (
        CRMService(database.url, tenant="halves") as crm,
        pytest.raises(AssertionError),
    ):
        intact(crm)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_without_keys_the_import_run_again_counts_twice(database: Database) -> None:
    """It is the keys that make the end the same."""
    with CRMService(database.url, tenant="once") as once:
        database.run("once", way="keyless")
        told = database.run("twice", until=3 * CHUNK, way="keyless")
        twice = once.for_tenant("twice")
        database.run("twice", way="keyless")
        assert told >= 3 * CHUNK
        assert state(twice) != state(once)
