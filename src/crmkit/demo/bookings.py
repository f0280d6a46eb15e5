"""Reading bookings from CSV, one row at a time, into what a host would tell crmkit."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TextIO
from zoneinfo import ZoneInfo

import attrs

from crmkit.errors import InvalidInput

PACKAGED: Final = Path(__file__).with_name("data") / "bookings.csv.gz"
"""The bookings that crmkit carries; data/README.md says where they come from."""

ZONE: Final = ZoneInfo("Europe/London")
CURRENCY: Final = "GBP"
COLUMNS: Final = (
    "booking_id", "booked_at", "starts_at", "venue", "item", "party_size", "booking_method",
    "status", "amount", "currency", "first_name", "last_name", "email", "phone", "country",
    "birth_date", "city", "instagram", "marketing_email",
)  # fmt: skip

_GZIP: Final = b"\x1f\x8b"
_KINDS: Final = {"completed": "booking", "cancelled": "cancellation", "no_show": "no_show"}
_SAID: Final = {"yes": True, "no": False}
_PERSON: Final = (
    "first_name", "last_name", "email", "phone", "country", "birth_date", "city", "instagram",
)  # fmt: skip
_PARTY: Final = "Birthday Party"


@attrs.frozen
class Booking:
    """A booking as a host knows it: who, what and when.

    `id` is the host's own, which makes it the key that lets crmkit hear of a booking
    twice and count it once.
    """

    id: str
    at: datetime
    kind: str
    person: Mapping[str, Any] = attrs.field(repr=False)
    payload: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class Row:
    """A row of the file as it came, with its first and last line; no cells if it is no CSV."""

    line: int
    last_line: int
    names: tuple[str, ...]
    cells: tuple[str, ...] = attrs.field(repr=False)

    def booking(self) -> Booking:
        """The booking in the row; raises `InvalidInput` naming the column."""
        if len(self.cells) != len(self.names):
            raise InvalidInput(self._misshapen(), field="row")
        cell = dict(zip(self.names, self.cells, strict=True))
        status = _one_of(cell, "status", _KINDS)
        payload: dict[str, Any] = {
            "booking_id": _filled(cell, "booking_id"),
            "amount": _amount(cell["amount"]),
            "currency": _one_of(cell, "currency", (CURRENCY,)),
            "item": _filled(cell, "item"),
            "venue": _filled(cell, "venue"),
            "party_size": _party_size(cell["party_size"]),
            "method": _filled(cell, "booking_method"),
            "starts_at": _moment(cell, "starts_at"),
        }
        if status == "completed":
            payload["status"] = status
        if cell["item"] == _PARTY:
            payload["type"] = "party"
        return Booking(
            id=payload["booking_id"],
            at=_moment(cell, "booked_at"),
            kind=_KINDS[status],
            person=_person(cell),
            payload=payload,
        )

    def _misshapen(self) -> str:
        what = f"expected {len(self.names)} cells, found {len(self.cells)}"
        if not self.cells:
            what = "not readable as CSV"
        if self.last_line > self.line:  # a quote that is not closed takes other rows along
            what += f", up to line {self.last_line:,}"
        return what


def rows(path: Path) -> Iterator[Row]:
    """The rows of a CSV file, plain or gzipped, one in memory at a time.

    Raises `InvalidInput` if the file as a whole is of no use: not readable, or without
    the columns of a booking.
    """
    with _opened(path) as file:
        reader = csv.reader(file, strict=True)
        names = _header(reader)
        while True:
            line = reader.line_num + 1
            try:
                cells = tuple(next(reader))
            except StopIteration:
                return
            except csv.Error:  # such as a quote that is never closed
                yield Row(line, reader.line_num, names, ())
                continue
            if cells:
                yield Row(line, reader.line_num, names, cells)


def truth(path: Path) -> Iterator[tuple[str, str]]:
    """Pairs of booking and person; raises `InvalidInput` for a file that has none."""
    with _opened(path) as file:
        reader = csv.DictReader(file)
        if not {"record_id", "cluster_id"} <= set(reader.fieldnames or ()):
            raise InvalidInput("expected the columns record_id and cluster_id", field=path.name)
        for row in reader:
            yield row["record_id"], row["cluster_id"]


def truth_beside(path: Path) -> Path | None:
    """The truth about a file of bookings: ``x_truth.csv`` beside ``x.csv``, if it is there."""
    stem, dot, ending = path.name.partition(".")
    for name in (f"{stem}_truth{dot}{ending}", f"{stem}_truth.csv", f"{stem}_truth.csv.gz"):
        if path.with_name(name).is_file():
            return path.with_name(name)
    return None


def count(path: Path) -> int:
    """How many bookings the file has at most: its lines below the header."""
    with _opened(path) as file:
        return max(sum(1 for _ in file) - 1, 0)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The file as text, unpacked if it is gzipped; bytes that are no UTF-8 fail in their row."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(
                file, encoding="utf-8-sig", errors="surrogateescape", newline=""
            ) as lines:
                yield lines
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise InvalidInput(f"cannot be read: {reason or 'damaged'}", field=path.name) from error


def _header(reader: Iterator[list[str]]) -> tuple[str, ...]:
    try:
        names = tuple(name.strip() for name in next(reader, []))
    except csv.Error:
        names = ()
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise InvalidInput(f"the first line lacks the column {missing[0]}", field="bookings")
    if len(set(names)) != len(names):
        raise InvalidInput("the first line names a column twice", field="bookings")
    return names


def _person(cell: Mapping[str, str]) -> dict[str, Any]:
    person: dict[str, Any] = {name: cell[name] for name in _PERSON}
    person["source"] = cell["booking_method"].lower()
    if cell["marketing_email"]:
        said = _SAID[_one_of(cell, "marketing_email", _SAID)]
        person["consent"] = {"marketing_email": said, "source": "booking form"}
    return person


def _filled(cell: Mapping[str, str], name: str) -> str:
    if not cell[name].strip():
        raise InvalidInput("missing", field=name)
    return cell[name]


def _one_of(
    cell: Mapping[str, str], name: str, known: Mapping[str, object] | tuple[str, ...]
) -> str:
    if cell[name] not in known:
        raise InvalidInput(f"expected {' or '.join(known)}", field=name)
    return cell[name]


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text) if len(text) <= 40 else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise InvalidInput("expected an amount such as 150.00", field="amount")
    return amount


def _party_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 6 and int(text) > 0):
        raise InvalidInput("expected a whole number from 1", field="party_size")
    return int(text)


def _moment(cell: Mapping[str, str], name: str) -> datetime:
    """A local time of the venue as an instant."""
    try:
        local = datetime.fromisoformat(cell[name])
    except ValueError:
        raise InvalidInput("expected a time such as 2011-03-05T20:30:00", field=name) from None
    return local if local.tzinfo else local.replace(tzinfo=ZONE)
