"""Duplicates among 14,000 invented records, and a year of bookings, against the truth."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, MemoryStorage, Settings
from crmkit.demo import bookings
from crmkit.demo.quality import pairwise

PEOPLE = Path(__file__).parents[1] / "data" / "people.csv.gz"
FIELDS = ("first_name", "last_name", "email", "phone", "birth_date", "city", "instagram")
SETTINGS = Settings(region="IT")


def rows() -> Iterator[dict[str, str]]:
    with gzip.open(PEOPLE, "rt", newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def record(crm: CRMService, row: Mapping[str, str]) -> dict[str, Any]:
    """What a row says of a person, without what crmkit refuses."""
    data: dict[str, Any] = {f: row[f] for f in FIELDS} | {"country": row["venue_country"]}
    while True:
        try:
            crm.identity._given(data)
        except InvalidInput as error:
            del data[(error.field or "").split(".")[0]]
        else:
            return data


def pairs(groups: Counter[Any]) -> int:
    return sum(n * (n - 1) // 2 for n in groups.values())


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, str, str]]:
    """For each record who it was taken for, who it is, and the household."""
    file = tmp_path_factory.mktemp("people") / "crm.db"
    with CRMService(f"sqlite:///{file}?synchronous=OFF", settings=SETTINGS) as crm:
        people = list(rows())
        ids = crm.identity.resolve_many((record(crm, r) for r in people), match=False)
        clusters = crm.identity.scan().clusters
    taken_for: dict[str, object] = {i: n for n, group in enumerate(clusters) for i in group}
    return [
        (taken_for.get(i, i), row["person"], row["household"])
        for i, row in zip(ids, people, strict=True)
    ]


def test_a_scan_finds_persons(scanned: list[tuple[object, str, str]]) -> None:
    """By pairs, with weights that were fitted without the truth."""
    together = pairs(Counter(found for found, _, _ in scanned))
    right = pairs(Counter((found, person) for found, person, _ in scanned))
    belonging = pairs(Counter(person for _, person, _ in scanned))
    precision, recall = right / together, right / belonging
    assert precision >= 0.97
    assert 2 * precision * recall / (precision + recall) >= 0.95


def test_a_household_is_not_one_person(scanned: list[tuple[object, str, str]]) -> None:
    """Nor are twins; what is left are fathers and sons of one name and one phone."""
    at_home = [(f, p, h) for f, p, h in scanned if h]
    false = pairs(Counter((f, h) for f, _, h in at_home)) - pairs(Counter(at_home))
    assert false <= 0.02 * pairs(Counter(found for found, _, _ in scanned))


def test_bookings_one_at_a_time_find_their_guests() -> None:
    """Each as it comes, with the weights that ship."""
    data = Path(str(files("crmkit.demo") / "data"))
    guests: dict[str, str] = {}
    with CRMService(MemoryStorage(), settings=Settings(currency="GBP")) as crm:
        for row in islice(bookings.rows(data / "bookings.csv.gz"), 6_000):
            booking = row.booking()
            guests[booking.id] = crm.find_or_create(booking.person, at=booking.at).id
        guests = {booking: crm.customers.get(guest).id for booking, guest in guests.items()}
    known = [t for t in bookings.truth(data / "bookings_truth.csv.gz") if t[0] in guests]
    quality = pairwise(guests, known)
    assert quality.precision >= 0.98
    assert quality.f1 >= 0.95
