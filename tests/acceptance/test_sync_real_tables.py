"""Real tables of bookings, synced, against a plain loop over their cells."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from crmkit import CRMService, MemoryStorage, Settings, SqlStorage
from crmkit.activities.bulk import Tracked
from crmkit.demo.bookings import PACKAGED
from crmkit.model import Activity, Counter, Metrics
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.mappings import BOOKINGS, HOTEL, HOTEL_BOOKINGS, LISBON, LONDON, rows_of
from tests.populate import rows as stored

Row = dict[str, Any]

REAL = 2_000


@pytest.fixture(scope="module")
def packaged() -> list[Row]:
    return rows_of(PACKAGED)[:REAL]


def _by_hand(rows: list[Row], owners: Mapping[str, str]) -> dict[str, Row]:
    """Each customer's numbers by one loop over the cells, given whose each booking is."""
    told: dict[str, Row] = {}
    for cells in rows:
        mine = told.setdefault(
            owners[cells["booking_id"]],
            {"bookings": 0, "spend": 0, "cancelled": 0, "no_shows": 0, "dates": [],
             "chosen": defaultdict(lambda: [0, 0])},
        )  # fmt: skip
        if cells["status"] == "cancelled":
            mine["cancelled"] += 1
        elif cells["status"] == "no_show":
            mine["no_shows"] += 1
        else:
            pounds, pence = cells["amount"].split(".")
            paid = int(pounds) * 100 + int(pence)
            mine["bookings"] += 1
            mine["spend"] += paid
            mine["dates"].append(cells["booked_at"])
            for dimension in ("item", "venue"):
                chosen = mine["chosen"][dimension, cells[dimension]]
                chosen[0] += 1
                chosen[1] += paid
    return told


def _as_kept(crm: CRMService) -> dict[str, Row]:
    kept: dict[str, Row] = {}

    def london(moment: datetime | None) -> str | None:
        return f"{moment.astimezone(LONDON):%Y-%m-%dT%H:%M:%S}" if moment else None

    with crm._runtime.read() as uow:
        for m in uow.find(Metrics):
            counters = uow.find(Counter, customer_id=m.customer_id, dimension=("item", "venue"))
            kept[m.customer_id] = {
                "bookings": m.bookings,
                "spend": m.spend_minor,
                "cancelled": m.cancellations,
                "no_shows": m.no_shows,
                "first and last": (london(m.first_booking_at), london(m.last_booking_at)),
                "chosen": {(c.dimension, c.value): [c.count, c.spend_minor] for c in counters},
            }
    return kept


def test_a_real_table_gives_the_numbers_of_a_plain_loop(
    storage: Storage, packaged: list[Row]
) -> None:
    """Every customer's, to the penny; read a second time, nothing changes."""
    if isinstance(storage, MemoryStorage):  # it looks at every record for each that it finds
        packaged = packaged[: REAL // 4]
    options = Settings(currency="GBP", timezone="Europe/London")
    crm = CRMService(storage, settings=options, clock=FrozenClock())
    assert crm.activities.sync(iter(packaged), BOOKINGS) == Tracked(recorded=len(packaged))
    with crm._runtime.read() as uow:
        told = uow.find(Activity)
    owners = {fact.reference or "": fact.customer_id or "" for fact in told}
    assert len(told) == len(owners) == len(packaged)
    expected = _by_hand(packaged, owners)
    for mine in expected.values():
        dates = mine.pop("dates")
        mine["first and last"] = (min(dates, default=None), max(dates, default=None))
    assert _as_kept(crm) == expected
    before = stored(storage, crm.tenant)
    assert crm.activities.sync(packaged, BOOKINGS) == Tracked(repeated=len(packaged))
    assert stored(storage, crm.tenant) == before


def _hotel_by_hand(rows: list[Row], owners: Mapping[str, str]) -> dict[str, Row]:
    """Each guest's numbers by one loop, in whole cents and whole days."""
    told: dict[str, Row] = {}
    for cells in rows:
        mine = told.setdefault(
            owners[cells["number"]], dict.fromkeys(("stays", "spend", "cancelled", "no_shows"), 0)
        )
        if cells["reservation_status"] == "Canceled":
            mine["cancelled"] += 1
        elif cells["reservation_status"] == "No-Show":
            mine["no_shows"] += 1
        else:
            nights = int(cells["stays_in_weekend_nights"]) + int(cells["stays_in_week_nights"])
            mine["stays"] += 1
            mine["spend"] += round(float(cells["adr"]) * 100) * nights
            arrival = "-".join(
                cells[f"arrival_date_{part}"] for part in ("year", "month", "day_of_month")
            )
            booked = datetime.strptime(arrival, "%Y-%B-%d").toordinal() - int(cells["lead_time"])
            mine["first"] = min(mine.get("first", booked), booked)
    return told


def test_a_messy_export_gives_the_numbers_of_a_plain_loop(storage: Storage) -> None:
    """A hotel's file: dates in three columns, a price per night, some addresses that are none."""
    rows = rows_of(HOTEL_BOOKINGS)
    if not (isinstance(storage, SqlStorage) and storage.dialect == "sqlite"):
        rows = rows[: REAL // 4]
    crm = CRMService(storage, settings=Settings(timezone="Europe/Lisbon"), clock=FrozenClock())
    broken = [n for n, row in enumerate(rows) if re.search(r"\.[.@]", row["email"])]
    done = crm.activities.sync(iter(rows), HOTEL)
    assert (done.recorded, done.refused) == (len(rows) - len(broken), len(broken))
    assert [(r.position, str(r.error)[:6]) for r in done.refusals] == [
        (n, "email:") for n in broken
    ]
    rows = [row for n, row in enumerate(rows) if n not in broken]
    with crm._runtime.read() as uow:
        owners = {f.reference or "": f.customer_id or "" for f in uow.stream(Activity)}
        kept = {
            m.customer_id: {
                "stays": m.bookings, "spend": m.spend_minor, "cancelled": m.cancellations,
                "no_shows": m.no_shows,
            } | (
                {"first": m.first_booking_at.astimezone(LISBON).toordinal()}
                if m.first_booking_at else {}
            )
            for m in uow.stream(Metrics)
        }  # fmt: skip
    assert kept == _hotel_by_hand(rows, owners)
    assert crm.activities.sync(rows, HOTEL) == Tracked(repeated=len(rows))
