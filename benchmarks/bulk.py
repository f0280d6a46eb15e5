"""`track_many` against SQL by hand, and `sync` of whole files: ``python -m benchmarks.bulk``."""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import psycopg
from sqlalchemy import make_url

from benchmarks.bulk_by_hand import OnPostgres, OnSqlite, Tables
from benchmarks.by_hand import TENANT
from crmkit import CRMService, Settings, migrate
from crmkit.activities.bulk import Tracked
from crmkit.demo.bookings import PACKAGED
from tests.mappings import BOOKINGS, HOTEL, HOTEL_BOOKINGS, rows_of
from tests.postgres import database, postgres

ITEMS = 20_000
CUSTOMERS = 2_000
ROUNDS = 5
START = datetime(2025, 1, 1, 18, tzinfo=UTC)
END = START + timedelta(days=365)

Item = dict[str, Any]


@attrs.frozen
class Bulk:
    """Rows a second of crmkit and of the code written by hand, in turns of as many rows."""

    name: str
    rows: int
    crmkit: Sequence[float]
    by_hand: Sequence[float]

    def line(self) -> str:
        """One line of the report; the ratio is the median over the rounds."""
        ratios = [h / c for c, h in zip(self.crmkit, self.by_hand, strict=True)]
        ours, theirs = (self.rows * len(t) / sum(t) for t in (self.crmkit, self.by_hand))
        return (
            f"{self.name:44} {statistics.median(ratios):6.0%} of by hand"
            f" ({min(ratios):.0%}–{max(ratios):.0%} over rounds)\n"
            f"{'':6}crmkit  {ours:8,.0f} rows/s\n{'':6}by hand {theirs:8,.0f} rows/s"
        )


@attrs.frozen
class Figure:
    """Something measured of crmkit alone."""

    name: str
    said: str

    def line(self) -> str:
        """One line of the report."""
        return f"{self.name:44} {self.said}"


def items(ids: Sequence[str], numbers: Iterable[int]) -> Iterator[Item]:
    """Completed bookings: of many guests in turn, at some venues, with their keys."""
    for n in numbers:
        yield {
            "customer_id": ids[n * 7 % len(ids)],
            "kind": "booking",
            "payload": {
                "booking_id": f"bk{n}",
                "amount": f"{100 + n % 90}.50",
                "status": "completed",
                "item": f"Room {n % 7}",
                "venue": f"Venue {n % 3}",
                "party_size": n % 8 + 1,
            },
            "at": START + timedelta(minutes=n * 11 % 500_000),
            "key": f"bk{n}",
        }


def sqlite_imports(
    folder: Path, *, count: int = ITEMS, customers: int = CUSTOMERS
) -> Iterator[Bulk | Figure]:
    """On SQLite files, commits durable (synchronous = FULL)."""
    ours, theirs = (f"sqlite:///{folder}/{name}.db" for name in ("bulk", "bulk_by_hand"))
    connection = sqlite3.connect(folder / "bulk_by_hand.db", isolation_level=None)
    with closing(connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        yield from _tracked("SQLite", ours, theirs, OnSqlite(connection), count, customers)
    yield _memory(ours, count, customers)
    yield from _synced("SQLite", lambda name: f"sqlite:///{folder}/{name}.db")


def postgresql_imports(
    *, count: int = ITEMS, customers: int = CUSTOMERS
) -> Iterator[Bulk | Figure]:
    """On databases of one PostgreSQL server, commits durable."""
    with ExitStack() as stack:
        server = stack.enter_context(postgres(durable=True))

        def fresh(_: str) -> str:
            url = stack.enter_context(database(server))
            migrate(url)
            return url

        ours, theirs = fresh("bulk"), fresh("bulk_by_hand")
        plain = make_url(theirs).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = stack.enter_context(closing(psycopg.connect(plain)))
        yield from _tracked("PostgreSQL", ours, theirs, OnPostgres(connection), count, customers)
        yield from _synced("PostgreSQL", fresh)


def _tracked(
    label: str, ours: str, theirs: str, hand: Tables, count: int, customers: int
) -> Iterator[Bulk]:
    with CRMService(ours, tenant=TENANT) as crm, CRMService(theirs, tenant=TENANT) as other:
        ids, others = _guests(crm, customers), _guests(other, customers)
        size = count // ROUNDS
        times: list[tuple[float, float]] = []
        for n in range(ROUNDS):
            numbers = range(n * size, (n + 1) * size)
            mine, same = list(items(ids, numbers)), list(items(others, numbers))
            times.append(
                (
                    _seconds(partial(crm.activities.track_many, mine), size),
                    _seconds(partial(hand.track, same), size),
                )
            )
        assert _numbers(crm, ids) == _numbers(other, others)
        # Counters differ in their keyed hashes alone, which by-hand code cannot make; it tells
        # nothing of what counts when, which rules about the past ask for.
        kept = {d.name for d in other.activities.verify()}
        assert all(name == "occasion" or name.endswith(" counter") for name in kept)
    name = f"{label}: track_many, {count:,} of {customers:,} customers"
    yield Bulk(name, size, *zip(*times, strict=True))


def _guests(crm: CRMService, count: int) -> list[str]:
    guests = (
        {"customer": {"email": f"guest{n}@venue-guests.net"}, "kind": "interaction", "at": START}
        for n in range(count)
    )
    crm.activities.track_many(guests)
    return [crm.find_or_create({"email": f"guest{n}@venue-guests.net"}).id for n in range(count)]


def _seconds(work: Callable[[], Tracked | int], rows: int) -> float:
    begun = time.perf_counter()
    done = work()
    seconds = time.perf_counter() - begun
    assert (done.recorded if isinstance(done, Tracked) else done) == rows
    return seconds


def _numbers(crm: CRMService, ids: Sequence[str]) -> list[object]:
    """What both sides must have told of each guest."""
    told: list[object] = []
    for customer_id in ids:
        found = crm.insights.for_customer(customer_id, at=END)
        account = crm.loyalty.account(customer_id)
        same = attrs.asdict(found, filter=attrs.filters.exclude("customer", "at"))
        told.append((same, account.balance, account.qualifying))
    return told


def _memory(url: str, count: int, customers: int) -> Figure:
    """The most that Python held at once while it read and stored, for few items and for many."""
    peaks = []
    with CRMService(url, tenant="memory") as crm:
        ids = _guests(crm, min(customers, 500))
        for numbers in (range(count // 8), range(count // 8, count // 8 * 5)):
            tracemalloc.start()
            crm.activities.track_many(items(ids, numbers))
            peaks.append((len(numbers), tracemalloc.get_traced_memory()[1] / 2**20))
            tracemalloc.stop()
    said = ", ".join(f"{peak:.1f} MiB for {n:,}" for n, peak in peaks)
    return Figure("SQLite: track_many, peak of memory", said)


# --- sync ---


def _synced(label: str, fresh: Callable[[str], str]) -> Iterator[Figure]:
    for path, mapping, broken in ((PACKAGED, BOOKINGS, 0), (HOTEL_BOOKINGS, HOTEL, 104)):
        yield _sync(
            label, path.name, fresh(path.name.partition(".")[0]), rows_of(path), mapping, broken
        )


def _sync(
    label: str,
    name: str,
    url: str,
    rows: Sequence[Mapping[str, str]],
    mapping: Mapping[str, Any],
    broken: int,
) -> Figure:
    """The whole file into an empty database, and once more unchanged."""
    rates = []
    with CRMService(url, settings=Settings(timezone="Europe/London")) as crm:
        for known in (False, True):
            begun = time.perf_counter()
            done = crm.activities.sync(rows, mapping)
            rates.append(len(rows) / (time.perf_counter() - begun))
            assert (done.refused, done.recorded == 0) == (broken, known)
    said = f"{rates[0]:,.0f} rows/s, unchanged {rates[1]:,.0f} rows/s"
    return Figure(f"{label}: sync of {name}, {len(rows):,} rows", said)


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    asked = parser.parse_args()
    how = {"count": asked.items, "customers": asked.customers}
    with tempfile.TemporaryDirectory() as folder:
        for figure in sqlite_imports(Path(folder), **how):
            print(figure.line(), flush=True)
    for figure in postgresql_imports(**how):
        print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
