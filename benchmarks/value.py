"""Fits of the models of value, and values of everybody: ``python -m benchmarks.value``.

With numpy at hand both ways are timed. ``CRMKIT_BENCH_CUSTOMERS`` sets the largest number.
"""

from __future__ import annotations

import os
import random
import resource
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import Any

from crmkit import CRMService
from crmkit.insights.value.choosing import fit_value
from crmkit.insights.value.likelihood import LARGE, fit_purchasing
from crmkit.insights.value.predicting import forecasts
from crmkit.insights.value.spending import fit_spending
from crmkit.insights.value.summaries import Summary
from crmkit.model import Customer, Metrics, Occasion
from crmkit.ports.storage import UnitOfWork
from tests import cdnow

CUSTOMERS = int(os.environ.get("CRMKIT_BENCH_CUSTOMERS", "1000000"))
KNOWN_DAYS = 730
PURE = 10**12
"""More customers than there are: numpy is never used."""
TENANT = "default"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
_CHUNK = 10_000


def bought(seed: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Customers without end, by the published model: how long known, and days with amounts."""
    rng = random.Random(seed)
    while True:
        age, day = rng.randrange(1, KNOWN_DAYS), 0.0
        rate = rng.gammavariate(0.525, 1 / (6.183 * 7))
        leaving, mean = rng.betavariate(0.891, 1.614), 6.25 * 15.44 / rng.gammavariate(3.74, 1)
        found: list[tuple[int, int]] = []
        while day < age:
            found.append((int(day), 1 + round(100 * mean * rng.gammavariate(6.25, 1 / 6.25))))
            if rng.random() < leaving or rate < 1e-6:
                break
            day += rng.expovariate(rate)
        yield age, found


def summaries(customers: int) -> Iterator[Summary]:
    for age, found in islice(bought(1), customers):
        days = sorted({day for day, _ in found if day})
        spent = sum(minor for day, minor in found if day) / 100
        yield Summary(len(days), max(days, default=0), age, spent / len(days) if days else 0.0)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = call()
    return time.perf_counter() - begun, found


def fits() -> None:
    """CDNOW without a prior as it was published, then more and more made-up customers."""
    known = [("CDNOW", cdnow.summaries())]
    known += [(f"{n:,}", list(summaries(n))) for n in (100_000, CUSTOMERS) if n <= CUSTOMERS]
    ways = [("pure Python", PURE)] + ([("numpy", LARGE)] if find_spec("numpy") else [])
    for name, who in known:
        for way, large in ways:
            frequency, fit = timed(partial(fit_purchasing, who, large=large))
            spend, _ = timed(partial(fit_spending, who, large=large))
            print(
                f"fit of {name:9} {way:11} {frequency:7.2f} s  spend {spend:6.2f} s"
                f"  ({fit.rows:,} rows, {fit.evaluations} evaluations, {fit.repeating:,} repeat)",
                flush=True,
            )


def values_of_summaries() -> None:
    """The model alone: values of all, streamed; time first, then memory in a run of its own."""
    model = fit_value(list(summaries(100_000)), 180)
    assert model.spend is not None
    spend = model.spend.model
    known = list(summaries(CUSTOMERS))

    def run(of: Any) -> int:
        return sum(1 for _ in forecasts(model.frequency, spend, of, 365))

    took, done = timed(partial(run, known))
    print(f"values of {done:,} summaries: {took / done * 1e6:.2f} µs a customer", flush=True)
    for n in (CUSTOMERS // 10, CUSTOMERS // 2):
        tracemalloc.start()
        run(summaries(n))
        print(f"  peak with {n:,}: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MB", flush=True)
        tracemalloc.stop()


def values_of_a_database(folder: str) -> None:
    """All of it on an SQLite file: reading what was bought, by page, and the model."""
    with CRMService(f"sqlite:///{folder}/value.db?synchronous=OFF", tenant=TENANT) as crm:
        told = bought(2)
        for start in range(0, CUSTOMERS, _CHUNK):
            rows = [row for n in range(start, min(start + _CHUNK, CUSTOMERS)) for row in
                    _rows(n, *next(told))]  # fmt: skip
            crm._runtime.write(partial(_add, rows))
        took, model = timed(lambda: crm.insights.fit(at=NOW))
        print(f"fit of {model.customers:,} in a database: {took:.1f} s", flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took, done = timed(lambda: sum(1 for _ in crm.insights.values(at=NOW)))
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"values of {done:,} in a database: {took / done * 1e6:.1f} µs a customer,"
            f" {more:.0f} MB more at the peak than the fit",
            flush=True,
        )
        tracemalloc.start()
        done = sum(1 for _ in islice(crm.insights.values(at=NOW), CUSTOMERS // 10))
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        print(f"  peak with {done:,}: {peak:.1f} MB", flush=True)


def _add(rows: list[object], uow: UnitOfWork) -> None:
    uow.add_many(rows)


def _rows(n: int, age: int, found: list[tuple[int, int]]) -> Iterator[object]:
    """A customer as it is stored, without going through `track_many`."""
    who = f"{n:036d}"
    begun = NOW - timedelta(days=age)
    times = [begun + timedelta(days=day) for day, _ in found]
    yield Customer(tenant=TENANT, id=who, created_at=begun, updated_at=begun)
    for k, (at, (_, minor)) in enumerate(zip(times, found, strict=True)):
        yield Occasion(
            tenant=TENANT, story=f"{who}-{k}", fact=f"{who}-{k}", since=at, customer_id=who,
            kind="purchase", happened_at=at, amount_minor=minor,
        )  # fmt: skip
    yield Metrics(
        tenant=TENANT, customer_id=who, activities=len(found), orders=len(found),
        spend_minor=sum(minor for _, minor in found), first_order_at=times[0],
        last_order_at=times[-1], first_activity_at=times[0], last_activity_at=times[-1],
    )  # fmt: skip


def main() -> None:
    fits()
    values_of_summaries()
    with tempfile.TemporaryDirectory() as folder:
        values_of_a_database(folder)


if __name__ == "__main__":
    main()
