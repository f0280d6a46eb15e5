"""Recording bookings as a host would: the customer and the booking in one transaction."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import attrs
from sqlalchemy import Engine

from crmkit.demo.bookings import Booking, Row
from crmkit.errors import Erased, IdempotencyConflict, InvalidInput
from crmkit.identity.service import Resolution
from crmkit.service import CRMService

_PROBLEMS_KEPT: Final = 1_000
_PROGRESS_STEP: Final = 20


@attrs.frozen
class Problem:
    """A row that could not be used: where it is and what is wrong, without its values."""

    line: int
    reason: str


@attrs.define
class Recording:
    """What became of the rows of a file.

    `recognised` tells by what a booking's customer was found: an identifier, or ``key``
    where the booking had been recorded before. `customers` maps each booking to its
    customer, `plain` to what a plain key would have made of it. `erased` are the bookings
    of people who were erased earlier; they are left alone.
    """

    read: int = 0
    created: int = 0
    merged: int = 0
    recognised: Counter[str] = attrs.field(factory=Counter)
    customers: dict[str, str] = attrs.field(factory=dict, repr=False)
    plain: dict[str, str] = attrs.field(factory=dict, repr=False)
    erased: list[str] = attrs.field(factory=list)
    example: Resolution | None = attrs.field(default=None, repr=False)
    """A booking that found its guest though no identifier was equal, with its evidence."""
    skipped: int = 0
    problems: list[Problem] = attrs.field(factory=list)
    first_at: datetime | None = None
    last_at: datetime | None = None
    seconds: float = 0.0

    @property
    def bookings_per_second(self) -> float:
        """How many rows were worked through in a second."""
        return self.read / self.seconds if self.seconds else 0.0

    @property
    def recorded_before(self) -> int:
        """Bookings that an earlier run had recorded; they were not counted again."""
        return self.recognised["key"]

    def add(self, booking: Booking, resolution: Resolution) -> None:
        """Note a booking that is recorded, now or before."""
        if resolution.created:
            self.created += 1
        else:
            self.recognised[resolution.matched_by or "key"] += 1
        if self.example is None and resolution.matched_by == "profile":
            self.example = resolution
        self.customers[booking.id] = resolution.customer.id
        self.plain[booking.id] = plain_key(booking)
        self.first_at = min(self.first_at or booking.at, booking.at)
        self.last_at = max(self.last_at or booking.at, booking.at)

    def skip(self, row: Row, error: Exception) -> None:
        """Note a row that could not be used."""
        self.skipped += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(Problem(row.line, str(error)))


def record(
    crm: CRMService,
    engine: Engine,
    rows: Iterable[Row],
    *,
    progress: Callable[[int], None] | None = None,
) -> Recording:
    """Record the bookings of all rows; `progress` hears how many rows are done.

    Recording them again changes nothing, because each booking has its key.
    """
    done = Recording()
    started = time.perf_counter()
    for row in rows:
        done.read += 1
        try:
            _record_one(crm, engine, row.booking(), done)
        except (InvalidInput, IdempotencyConflict) as error:
            done.skip(row, error)
        if progress and done.read % _PROGRESS_STEP == 0:
            progress(done.read)
    _settle(crm, done)
    done.seconds = time.perf_counter() - started
    if progress:
        progress(done.read)
    return done


def _settle(crm: CRMService, done: Recording) -> None:
    """Whose the bookings are by now: later ones may have shown two customers to be one."""
    now = {c: crm.customers.get(c).id for c in set(done.customers.values())}
    done.merged = len(now) - len(set(now.values()))
    done.customers = {booking: now[c] for booking, c in done.customers.items()}


def _record_one(crm: CRMService, engine: Engine, booking: Booking, done: Recording) -> None:
    """One transaction of the host: if anything in it fails, nothing of it remains.

    `resolve` is `find_or_create` that also tells how it found the customer.
    """
    try:
        with engine.begin() as connection, crm.using(connection) as tx:
            found = tx.identity.resolve(booking.person, at=booking.at, key=booking.id)
            tx.track_activity(
                found.customer.id, booking.kind, booking.payload, at=booking.at, key=booking.id
            )
    except Erased:
        done.erased.append(booking.id)
    else:
        done.add(booking, found)


def plain_key(booking: Booking) -> str:
    """What many hosts tell customers by: the e-mail address, else the digits of the phone."""
    email, phone = booking.person["email"], booking.person["phone"]
    digits = "".join(c for c in phone if c.isdecimal())
    return email.strip().lower() or digits or booking.id
