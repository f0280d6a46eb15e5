"""How the rows of real tables become bookings, for tests and benchmarks."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

HOTEL_BOOKINGS = Path(__file__).parent / "data" / "hotel_bookings.csv.gz"

LONDON, LISBON = ZoneInfo("Europe/London"), ZoneInfo("Europe/Lisbon")
MONTHS = "January February March April May June July August September October November December"
OUTCOMES = {"Check-Out": "completed", "Canceled": "cancelled", "No-Show": "no_show"}


def rows_of(path: Path) -> list[dict[str, str]]:
    """All rows of a compressed CSV file; `number` counts them from 1."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [{**row, "number": str(n)} for n, row in enumerate(csv.DictReader(file), 1)]


def _london(cell: str) -> datetime:
    return datetime.fromisoformat(cell).replace(tzinfo=LONDON)


BOOKINGS: dict[str, Any] = {
    "id": "booking_id",
    "at": lambda row: _london(row["booked_at"]),
    "customer": {
        name: name
        for name in (
            "first_name", "last_name", "email", "phone", "country", "birth_date", "city",
            "instagram",
        )
    },
    "payload": {
        "amount": "amount",
        "status": "status",
        "item": "item",
        "venue": "venue",
        "party_size": lambda row: int(row["party_size"]),
        "method": "booking_method",
        "starts_at": lambda row: _london(row["starts_at"]),
    },
}  # fmt: skip


def _arrival(row: Mapping[str, str]) -> datetime:
    month = MONTHS.split().index(row["arrival_date_month"]) + 1
    day = int(row["arrival_date_day_of_month"])
    return datetime(int(row["arrival_date_year"]), month, day, 15, tzinfo=LISBON)


def _nights(row: Mapping[str, str]) -> int:
    return int(row["stays_in_weekend_nights"]) + int(row["stays_in_week_nights"])


HOTEL: dict[str, Any] = {
    "id": "number",
    "at": lambda row: _arrival(row) - timedelta(days=int(row["lead_time"])),
    "changed_at": lambda row: datetime.strptime(row["reservation_status_date"], "%d-%m-%y").replace(
        tzinfo=LISBON
    ),
    "customer": {
        "name": "name",
        "email": "email",
        "phone": lambda row: f"+1{row['phone-number'].replace('-', '')}",
    },
    "payload": {
        "amount": lambda row: Decimal(row["adr"]) * _nights(row),
        "status": lambda row: OUTCOMES[row["reservation_status"]],
        "venue": "hotel",
        "party_size": lambda row: int(row["adults"]) + int(row["children"] or 0) or None,
        "starts_at": _arrival,
    },
}
