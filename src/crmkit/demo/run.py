"""The main job: record a file of bookings, then ask crmkit everything a report wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import attrs
from sqlalchemy import make_url

from crmkit.adapters.sql import migrate
from crmkit.adapters.sql.engine import opened
from crmkit.config import Settings
from crmkit.demo import bookings
from crmkit.demo.quality import Quality, pairwise
from crmkit.demo.recording import Recording, record
from crmkit.errors import AlreadyTaken
from crmkit.gdpr.receipts import ErasureReceipt
from crmkit.insights.service import Bands
from crmkit.model import Activity, Money
from crmkit.service import CRMService

TENANT: Final = "demo"
SETTINGS: Final = Settings(currency=bookings.CURRENCY, timezone=bookings.ZONE.key, region="GB")

ERASED_BY: Final = "bk000045"
"""The booking whose guest is shown and then erased: a regular with a phone in three spellings."""

SHOWN_BY: Final = "bk000040"
"""The booking whose guest is shown once the other one is gone."""

TIMELINE_ROWS: Final = 12

_RECENT: Final = {"field": "last_booking", "operator": "within", "value": "90d"}


@attrs.frozen
class SegmentRule:
    """A segment of the demo: its name, and its rule in words and as crmkit takes it."""

    name: str
    words: str
    rules: Mapping[str, Any]


SEGMENTS: Final = (
    SegmentRule(
        "engaged",
        "spent 100 or more, and booked within 90 days or kept 3 bookings or more",
        {
            "operator": "and",
            "conditions": [
                {"field": "total_spend", "operator": ">=", "value": 100},
                {
                    "operator": "or",
                    "conditions": [
                        _RECENT,
                        {"field": "completed_bookings", "operator": ">=", "value": 3},
                    ],
                },
            ],
        },
    ),
    SegmentRule(
        "vip",
        "spent 500 or more in 5 bookings or more",
        {
            "operator": "and",
            "conditions": [
                {"field": "total_spend", "operator": ">=", "value": 500},
                {"field": "total_bookings", "operator": ">=", "value": 5},
            ],
        },
    ),
    SegmentRule(
        "lapsed regulars",
        "5 bookings or more, none of them within 90 days",
        {
            "operator": "and",
            "conditions": [
                {"field": "total_bookings", "operator": ">=", "value": 5},
                {"operator": "not", "conditions": [_RECENT]},
            ],
        },
    ),
)


@attrs.frozen
class Typed:
    """What a guest typed at one booking."""

    booking_id: str
    name: str
    email: str
    phone: str


@attrs.frozen
class Person:
    """All that crmkit knows of one customer, and what the guest had typed to be known so."""

    customer_id: str
    profile: Mapping[str, Any] = attrs.field(repr=False)
    timeline: tuple[Activity, ...] = attrs.field(repr=False)
    typed: tuple[Typed, ...] = attrs.field(repr=False)
    export: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class Erasing:
    """An erasure and its proof: the export afterwards, and the revenue, which is unchanged."""

    receipt: ErasureReceipt
    export: Mapping[str, Any]
    is_empty: bool
    revenue: Money


@attrs.frozen
class Outcome:
    """Everything the job found out.

    `quality` and `plain` are None without a truth to compare with. `person` is None
    if there was no booking; `erasing` is None too where this run had nobody to erase.
    """

    storage: str
    path: Path
    recording: Recording
    quality: Quality | None
    plain: Quality | None
    revenue: Mapping[str, Money]
    bands: Bands
    tiers: Mapping[str, int]
    segments: Mapping[str, int]
    person: Person | None
    erasing: Erasing | None

    @property
    def customers(self) -> int:
        """How many customers there are, those of earlier runs included."""
        return sum(self.tiers.values())

    @property
    def total_revenue(self) -> Money:
        """The revenue of all months."""
        return total(self.revenue)


def run(
    storage: str,
    *,
    path: Path = bookings.PACKAGED,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Do the whole job on the database at that URL; an empty one gets crmkit's schema.

    `progress` hears how many rows are done, and of how many. Running it again on the same
    file changes nothing. Raises `InvalidInput` and `StorageError`.
    """
    lines = bookings.count(path)
    rows = min(lines, lines if limit is None else limit)
    with opened(_quick(storage)) as engine:
        migrate(engine)
        crm = CRMService(engine, settings=SETTINGS, tenant=TENANT)
        recording = record(
            crm,
            engine,
            islice(bookings.rows(path), limit),
            progress=None if progress is None else lambda done: progress(done, rows),
        )
        return _outcome(crm, recording, path, shown_url(storage))


def shown_url(storage: str) -> str:
    """A database's URL without its password."""
    return make_url(storage).render_as_string(hide_password=True)


def total(revenue: Mapping[str, Money]) -> Money:
    """The sum of the months."""
    return sum(revenue.values(), start=Money(0, SETTINGS.currency))


def _quick(storage: str) -> str:
    """For SQLite: a commit need not survive a power cut, for the demo can run again."""
    if storage.startswith("sqlite") and "synchronous=" not in storage:
        return f"{storage}{'&' if '?' in storage else '?'}synchronous=NORMAL"
    return storage


def _outcome(crm: CRMService, recording: Recording, path: Path, storage: str) -> Outcome:
    at = recording.last_at
    truth = bookings.truth_beside(path)
    for segment in SEGMENTS:
        _create_segment(crm, segment)
    revenue = crm.insights.revenue_by_month()
    bands, tiers = crm.insights.bands(at=at), crm.loyalty.tiers()
    sizes = {segment.name: crm.segments.count(segment.name, at=at) for segment in SEGMENTS}
    person = _person(crm, recording, path)
    return Outcome(
        storage=storage,
        path=path,
        recording=recording,
        quality=_measured(recording.customers, truth),
        plain=_measured(recording.plain, truth),
        revenue=revenue,
        bands=bands,
        tiers=tiers,
        segments=sizes,
        person=person,
        erasing=_erase(crm, person) if person and not recording.erased else None,
    )


def _measured(groups: Mapping[str, str], truth: Path | None) -> Quality | None:
    return None if truth is None else pairwise(groups, bookings.truth(truth))


def _create_segment(crm: CRMService, segment: SegmentRule) -> None:
    with suppress(AlreadyTaken):  # an earlier run made it
        crm.segments.create(segment.name, segment.rules, description=segment.words)


def _person(crm: CRMService, recording: Recording, path: Path) -> Person | None:
    """The customer that the report shows."""
    customers = recording.customers
    booking = next((b for b in (ERASED_BY, SHOWN_BY, *customers) if b in customers), None)
    if booking is None:
        return None
    customer_id = customers[booking]
    theirs = {b for b, c in customers.items() if c == customer_id}
    return Person(
        customer_id=customer_id,
        profile=crm.customers.profile(customer_id, at=recording.last_at).to_dict(),
        timeline=crm.activities.timeline(customer_id, limit=TIMELINE_ROWS).items,
        typed=tuple(_typed(path, theirs)),
        export=crm.gdpr.export(customer_id).to_dict(),
    )


def _typed(path: Path, booking_ids: set[str]) -> Iterator[Typed]:
    """What the guest typed at these bookings, read from the file anew."""
    wanted = set(booking_ids)
    for row in bookings.rows(path):
        if not wanted:
            return
        cell = dict(zip(row.names, row.cells, strict=False))
        booking_id = cell.get("booking_id", "")
        if booking_id in wanted:
            wanted.remove(booking_id)
            name = f"{cell['first_name']} {cell['last_name']}".strip()
            yield Typed(booking_id, name, cell["email"], cell["phone"])


def _erase(crm: CRMService, person: Person) -> Erasing:
    """Erase the person who was shown, and ask again what is known."""
    receipt = crm.gdpr.erase(person.customer_id)
    export = crm.gdpr.export(person.customer_id)
    return Erasing(
        receipt=receipt,
        export=export.to_dict(),
        is_empty=export.is_empty,
        revenue=total(crm.insights.revenue_by_month()),
    )
