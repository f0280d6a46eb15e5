"""`insights.for_customer` against one SQL statement over the activities, and by their number."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.by_hand import TENANT
from benchmarks.harness import Comparison, compare
from crmkit import CRMService
from crmkit.insights.habits import WEEKDAYS

CUSTOMERS = int(os.environ.get("CRMKIT_BENCH_CUSTOMERS", "2000"))
ACTIVITIES = 10  # of each customer
BUSY = 10_000  # of one more
ASKED = min(CUSTOMERS, 2_000)
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)

# What a host would ask its own table: the same numbers, for data in which nothing is called off.
BY_HAND = """
WITH mine AS MATERIALIZED (
    SELECT kind, amount_minor, item, venue, occurred_at / 1000000 AS second
    FROM crm_activities WHERE tenant = ?1 AND customer_id = ?2
), visits AS (
    SELECT second % 86400 / 900 AS quarter FROM mine WHERE kind = 'check_in' ORDER BY quarter
)
SELECT count(*) FILTER (WHERE kind = 'booking'), count(*) FILTER (WHERE kind = 'check_in'),
    coalesce(sum(amount_minor), 0),
    min(second) FILTER (WHERE kind = 'booking'), max(second) FILTER (WHERE kind = 'booking'),
    max(second) FILTER (WHERE kind = 'check_in'),
    (SELECT item FROM mine WHERE item IS NOT NULL GROUP BY item
     ORDER BY count(*) DESC, sum(amount_minor) DESC, item LIMIT 1),
    (SELECT venue FROM mine WHERE venue IS NOT NULL GROUP BY venue
     ORDER BY count(*) DESC, sum(coalesce(amount_minor, 0)) DESC, venue LIMIT 1),
    (SELECT (second / 86400 + 3) % 7 AS day FROM mine GROUP BY day
     ORDER BY count(*) DESC, day LIMIT 1),
    (SELECT quarter FROM visits LIMIT 1 OFFSET (SELECT (count(*) - 1) / 2 FROM visits))
FROM mine
"""


def insights_comparisons(folder: Path) -> Iterator[Comparison]:
    """On an SQLite file with many quiet customers and one who is always there."""
    path = folder / "insights.db"
    with (
        CRMService(f"sqlite:///{path}", tenant=TENANT) as crm,
        closing(sqlite3.connect(path)) as connection,
    ):
        begun = time.perf_counter()
        done = crm.activities.track_many(_activities())
        took = time.perf_counter() - begun
        print(f"track_many: {done.recorded:,} activities, {done.recorded / took:,.0f}/s")
        assert done.refused == 0
        ids = [crm.find_or_create({"user_id": n}).id for n in range(ASKED + 1)]

        def by_hand(customer_id: str) -> tuple[Any, ...]:
            found: tuple[Any, ...] = connection.execute(BY_HAND, (TENANT, customer_id)).fetchone()
            return found

        for customer_id in (ids[0], ids[1], ids[-1]):
            assert _same(crm, customer_id) == by_hand(customer_id)
        quiet = compare(
            f"for_customer, {ACTIVITIES} activities, one of {CUSTOMERS:,}",
            lambda n: crm.insights.for_customer(ids[1 + n * 7 % ASKED]),
            lambda n: by_hand(ids[1 + n * 7 % ASKED]),
        )
        yield quiet
        busy = compare(
            f"for_customer, {BUSY:,} activities",
            lambda _: crm.insights.for_customer(ids[0]),
            lambda _: by_hand(ids[0]),
            rounds=5,
            calls=10,
        )
        yield busy
        times = busy.crmkit.percentile(0.5) / quiet.crmkit.percentile(0.5)
        print(f"for_customer: {BUSY:,} activities take {times:.1f} × as long as {ACTIVITIES}")


def _activities() -> Iterator[dict[str, Any]]:
    """Bookings and visits of a club that opens four nights a week; guest 0 is always there."""
    rng = random.Random(1)
    for guest in range(CUSTOMERS + 1):
        for n in range(ACTIVITIES if guest else BUSY):
            night = rng.choice((0, 1, 2, 3)) + 7 * rng.randrange(50)
            hour = rng.choices((19, 20, 21, 22, 23), (1, 2, 4, 4, 2))[0]
            payload: dict[str, Any] = {"venue": f"Club {rng.randrange(5)}"}
            if n % 2:
                payload["party_size"] = rng.randrange(1, 8)
            else:
                payload |= {
                    "booking_id": n, "amount": rng.randrange(20, 200), "status": "completed",
                    "item": f"Night {rng.randrange(20)}", "channel": "app",
                    "genre": rng.choice(("house", "techno", "rock")),
                }  # fmt: skip
            yield {
                "customer": {"user_id": guest},
                "kind": "check_in" if n % 2 else "booking",
                "payload": payload,
                "at": BEGIN + timedelta(days=night, hours=hour, minutes=rng.randrange(60)),
            }


def _same(crm: CRMService, customer_id: str) -> tuple[Any, ...]:
    """The numbers of the statement, from crmkit."""
    found = crm.insights.for_customer(customer_id)
    dates = (found.first_booking_at, found.last_booking_at, found.last_visit_at)
    arrival = found.typical_arrival
    return (
        found.total_bookings,
        found.total_visits,
        found.total_spent.minor,
        *(int(date.timestamp()) if date else None for date in dates),
        found.favourite_item and found.favourite_item.value,
        found.preferred_venue and found.preferred_venue.value,
        WEEKDAYS.index(found.preferred_days[0].weekday),
        arrival and arrival.hour * 4 + arrival.minute // 15,
    )
