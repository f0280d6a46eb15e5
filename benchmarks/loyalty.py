"""Points against SQL by hand: redeeming, earning, a balance in the past, and recounting tiers.

``python -m benchmarks.loyalty [accounts]``. By hand a redemption is what most hosts write: a
conditional UPDATE of a balance and an INSERT into a log, in one durable transaction, without a
key, lots, expiry or stock; `earn` adds to the balance the same way.
"""

from __future__ import annotations

import itertools
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import make_url

from benchmarks.by_hand import TENANT, new_id
from benchmarks.harness import Comparison, compare
from crmkit import CRMService, Programme, Settings, Tier, migrate
from crmkit.model import Customer, Metrics, PointsAccount, PointsEntry, PointsLot
from crmkit.model.time import FOREVER
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Reward
from tests.postgres import database, postgres

CUSTOMERS = 200
PROGRAMME = Programme(rewards=[Reward(name="coffee", cost=1)])
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
_TABLES = (
    "CREATE TABLE balances (tenant TEXT, customer_id TEXT, balance BIGINT,"
    " PRIMARY KEY (tenant, customer_id))",
    "CREATE TABLE log (id TEXT PRIMARY KEY, tenant TEXT, customer_id TEXT, points BIGINT,"
    " reason TEXT, at BIGINT)",
)


class ByHand:
    """A balance and a log, on one connection of the driver."""

    def __init__(self, connection: Any, *, sqlite: bool) -> None:
        self._connection, self._sqlite = connection, sqlite
        self._cursor = connection.cursor()
        for table in _TABLES:
            self._run(table)
        self._connection.commit()

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        self._cursor.execute(sql if self._sqlite else sql.replace("?", "%s"), values)
        return int(self._cursor.rowcount)

    def add(self, customer_id: str, points: int) -> None:
        """Earn."""
        if self._sqlite:
            self._run("BEGIN IMMEDIATE")
        self._run(
            "INSERT INTO balances VALUES (?, ?, ?) ON CONFLICT (tenant, customer_id)"
            " DO UPDATE SET balance = balances.balance + excluded.balance",
            (TENANT, customer_id, points),
        )
        self._log(customer_id, points)

    def take(self, customer_id: str, points: int) -> None:
        """Redeem."""
        if self._sqlite:
            self._run("BEGIN IMMEDIATE")
        done = self._run(
            "UPDATE balances SET balance = balance - ?"
            " WHERE tenant = ? AND customer_id = ? AND balance >= ?",
            (points, TENANT, customer_id, points),
        )
        if not done:
            raise ValueError("not enough points")
        self._log(customer_id, -points)

    def _log(self, customer_id: str, points: int) -> None:
        self._run(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)",
            (new_id(), TENANT, customer_id, points, "coffee", time.time_ns() // 1000),
        )
        self._connection.commit()


def comparisons(folder: Path) -> Iterator[Comparison]:
    """On SQLite and PostgreSQL, commits durable."""
    settings = Settings(programmes=[PROGRAMME])
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/crmkit.db"
        crm = stack.enter_context(CRMService(url, tenant=TENANT, settings=settings))
        connection = sqlite3.connect(folder / "by_hand.db", isolation_level=None)
        stack.enter_context(closing(connection))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        yield from _compared("SQLite", crm, ByHand(connection, sqlite=True))
        server = stack.enter_context(postgres(durable=True))
        ours = stack.enter_context(database(server))
        theirs = stack.enter_context(database(server))
        migrate(ours)
        crm = stack.enter_context(CRMService(ours, tenant=TENANT, settings=settings))
        plain = make_url(theirs).set(drivername="postgresql")
        hand = psycopg.connect(plain.render_as_string(hide_password=False))
        yield from _compared("PostgreSQL", crm, ByHand(stack.enter_context(hand), sqlite=False))


def _compared(label: str, crm: CRMService, hand: ByHand) -> Iterator[Comparison]:
    ids = [crm.find_or_create({"user_id": n}).id for n in range(CUSTOMERS)]
    for customer_id in ids:
        crm.loyalty.update_points(customer_id, 1_000_000, reason="welcome")
        hand.add(customer_id, 1_000_000)
    yield compare(
        f"{label} update_points (earn)",
        lambda n: crm.loyalty.update_points(ids[n % CUSTOMERS], 5, reason="x", key=f"e{n}"),
        lambda n: hand.add(ids[n % CUSTOMERS], 5),
    )
    yield compare(
        f"{label} update_points (use)",
        lambda n: crm.loyalty.update_points(ids[n % CUSTOMERS], -1, reason="x", key=f"u{n}"),
        lambda n: hand.take(ids[n % CUSTOMERS], 1),
    )
    yield compare(
        f"{label} redeem",
        lambda n: crm.loyalty.redeem(ids[n % CUSTOMERS], "coffee", key=f"r{n}"),
        lambda n: hand.take(ids[n % CUSTOMERS], 1),
    )


def long_account(folder: Path, count: int = 10_000) -> str:
    """A balance in the middle of an account's life."""
    crm = CRMService(f"sqlite:///{folder}/long.db", tenant=TENANT)
    who = crm.find_or_create({"user_id": 1}, at=BEGIN).id
    _fill(crm, {who: count})
    middle = BEGIN + timedelta(hours=count // 2)
    for at in (middle, None):
        crm.loyalty.account(who, at=at)
    spent = []
    for at in (middle, None):
        begun = time.process_time()
        for _ in range(50):
            crm.loyalty.account(who, at=at)
        spent.append((time.process_time() - begun) / 50 * 1e3)
    return f"account of {count:,} entries: {spent[0]:.2f} ms CPU then, {spent[1]:.2f} ms now"


def recount(folder: Path, accounts: int) -> str:
    """The tiers of all accounts follow another configuration."""
    url = f"sqlite:///{folder}/many.db"
    crm = CRMService(url, tenant=TENANT)
    _fill(crm, {f"{n:08}": 12 for n in range(accounts)}, new=True)
    crm.run_due()
    lower = Programme(tiers=[Tier("BRONZE", 0), Tier("SILVER", 100), Tier("GOLD", 110)])
    other = CRMService(url, tenant=TENANT, settings=Settings(programmes=[lower]))
    tracemalloc.start()
    peaks: list[int] = []

    def noted(done: int) -> None:
        if done % 10_000 == 0:
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.reset_peak()

    other.run_due(progress=noted)
    tracemalloc.stop()
    print("      peaks of Python's memory:", [f"{peak / 1e6:.1f} MB" for peak in peaks])
    third = CRMService(url, tenant=TENANT, settings=Settings(programmes=[PROGRAMME]))
    begun, cpu = time.perf_counter(), time.process_time()
    third.run_due()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return f"recount of {accounts:,} accounts: {seconds:.1f} s, {cpu:.1f} s CPU"


def _fill(crm: CRMService, counts: dict[str, int], *, new: bool = False) -> None:
    """Accounts of so many entries of 10 points, an hour apart."""

    def rows(customer_id: str, count: int) -> Iterator[tuple[PointsLot, PointsEntry]]:
        for n in range(count):
            at = BEGIN + timedelta(hours=n)
            same: dict[str, Any] = {
                "tenant": TENANT,
                "id": f"{customer_id}-{n:06}",
                "customer_id": customer_id,
                "available_at": at,
                "expires_at": FOREVER,
                "rule": "review",
            }
            yield (
                PointsLot(source="earn", full=10, left=10, earned_at=at, **same),
                PointsEntry(
                    lot_id=same["id"], kind="earn", points=10, qualifying=10, occurred_at=at,
                    recorded_at=at, **same,
                ),
            )  # fmt: skip

    def work(some: list[tuple[str, int]], uow: UnitOfWork) -> None:
        if new:
            uow.add_many(
                Customer(tenant=TENANT, id=i, created_at=BEGIN, updated_at=BEGIN) for i, _ in some
            )
            uow.add_many(Metrics(tenant=TENANT, customer_id=i) for i, _ in some)
        made = list(itertools.chain.from_iterable(rows(i, count) for i, count in some))
        uow.add_many(lot for lot, _ in made)
        uow.add_many(entry for _, entry in made)
        uow.add_many(
            PointsAccount(
                tenant=TENANT,
                customer_id=i,
                balance=10 * count,
                qualifying=10 * count,
                since=BEGIN + timedelta(hours=count),
            )
            for i, count in some
        )

    items = list(counts.items())
    for first in range(0, len(items), 2_000):
        some = items[first : first + 2_000]
        crm._runtime.write(lambda uow, some=some: work(some, uow))  # type: ignore[misc]


def main() -> None:
    """Print all figures."""
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        for comparison in comparisons(Path(folder)):
            print(comparison.line(), flush=True)
        print(long_account(Path(folder)), flush=True)
        print(recount(Path(folder), accounts), flush=True)


if __name__ == "__main__":
    main()
