"""Bookings from CSV: what a row says, and what no row may say."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from crmkit.demo import bookings
from crmkit.errors import InvalidInput


def test_a_row_becomes_what_a_host_tells_crmkit() -> None:
    row = next(bookings.rows(bookings.PACKAGED))

    booking = row.booking()

    assert row.line == 2
    assert booking.id == "bk000001"
    assert booking.kind == "booking"
    assert booking.at == datetime(2010, 12, 1, 8, 0, tzinfo=UTC)
    assert booking.person["phone"] == "+40779780280"
    assert booking.person["source"] == "website"
    assert "consent" not in booking.person
    assert booking.payload == {
        "booking_id": "bk000001",
        "amount": Decimal("192.60"),
        "currency": "GBP",
        "item": "The Heist",
        "venue": "Riverside",
        "party_size": 2,
        "method": "WEBSITE",
        "starts_at": datetime(2010, 12, 7, 18, 0, tzinfo=UTC),
        "status": "completed",
    }


def test_a_time_in_summer_is_london_summer_time() -> None:
    found = (row.booking() for row in bookings.rows(bookings.PACKAGED))
    summer = next(b for b in found if b.at.month == 7)

    assert summer.at.utcoffset() != datetime(2010, 12, 1, tzinfo=bookings.ZONE).utcoffset()


def test_consent_carries_its_source_and_silence_is_no_answer() -> None:
    said = [
        row.booking().person.get("consent") for row in islice(bookings.rows(bookings.PACKAGED), 4)
    ]

    assert said == [
        None,
        {"marketing_email": False, "source": "booking form"},
        {"marketing_email": True, "source": "booking form"},
        None,
    ]


def test_the_packaged_file_has_its_bookings_and_its_truth() -> None:
    truth = bookings.truth_beside(bookings.PACKAGED)

    assert bookings.count(bookings.PACKAGED) == 18_532
    assert truth is not None
    assert len({person for _, person in bookings.truth(truth)}) == 4_338


def test_a_gzipped_and_a_plain_file_read_alike(tmp_path: Path) -> None:
    plain = tmp_path / "plain.csv"
    plain.write_bytes(gzip.decompress(bookings.PACKAGED.read_bytes()))

    assert list(islice(bookings.rows(plain), 20)) == list(
        islice(bookings.rows(bookings.PACKAGED), 20)
    )


def test_repr_of_row_and_booking_shows_nothing_personal() -> None:
    row = next(bookings.rows(bookings.PACKAGED))

    assert "Marca" not in repr(row)
    assert "Marca" not in repr(row.booking())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n1,2\n",
        b'"',
        (",".join(bookings.COLUMNS) + ",email\n").encode(),
        b"\x1f\x8b damaged",
        gzip.compress(b"x" * 10_000, mtime=0)[:-20],
        b"\x00" * 1_000,
    ],
)
def test_a_file_that_is_no_file_of_bookings_is_refused_as_a_whole(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "wrong.csv"
    path.write_bytes(content)

    with pytest.raises(InvalidInput):
        list(bookings.rows(path))


def test_rows_that_an_open_quote_swallows_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(",".join(bookings.COLUMNS) + '\nbk1\n"bk2\nbk3\nbk4\n')

    found = list(bookings.rows(path))

    assert [row.line for row in found] == [2, 3]
    with pytest.raises(InvalidInput, match="up to line 5"):
        found[1].booking()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        bookings.count(tmp_path / "nowhere.csv")
