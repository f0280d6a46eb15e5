"""Customers, their metrics and what they did, made up from a seed and written in bulk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from crmkit.adapters.sql.codec import codec
from crmkit.model import Customer, Metrics, Occasion, Tag
from crmkit.model.time import to_micros

TENANT: Final = "venue"
NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
_DAY: Final = 86_400_000_000
_YEARS: Final = 3 * 365
_KINDS: Final = ("purchase",) * 4 + ("visit",) * 4 + ("form_start", "ticket")
_TAGS: Final = ("vip", "wine", "blocked", "regular", "press", "staff")
_CITIES: Final = ("Milano", "Roma", "Torino", "Bari", "Genova", "Lecce", "Parma", "Siena")


def fill(write: Callable[[type, Iterable[list[Any]]], None], customers: int, each: int) -> None:
    """Make up so many customers who each did so many things, and hand their rows over.

    A page of customers is in memory at a time.
    """
    chance = random.Random(7)
    for page in _pages(range(customers), 2_000):
        made: dict[type, list[list[Any]]] = {Customer: [], Metrics: [], Tag: [], Occasion: []}
        for n in page:
            for record in _one(chance, n, each):
                made[type(record)].append(codec(type(record)).encode(record))
        for kind, rows in made.items():
            write(kind, rows)


def _pages(numbers: range, size: int) -> Iterator[range]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def customer_id(n: int) -> str:
    """An id as long as a real one, in no order of time."""
    return f"{n * 2_654_435_761 % 2**32:08x}-5b1c-7000-8000-{n:012x}"


def _one(chance: random.Random, n: int, each: int) -> Iterator[Any]:
    owner, now = customer_id(n), to_micros(NOW)
    # Few do much: the mean is `each`.
    count = min(int(chance.paretovariate(1.5) * each / 3), 40 * each)
    did = sorted(now - int(chance.random() ** 1.5 * _YEARS * _DAY) for _ in range(count))
    occasions = [_occasion(chance, n, i, owner, moment) for i, moment in enumerate(did)]
    made = NOW - timedelta(days=_YEARS + chance.randrange(400))
    born = date(1950 + chance.randrange(55), 1 + chance.randrange(12), 1 + chance.randrange(28))
    yield Customer(
        tenant=TENANT,
        id=owner,
        created_at=made,
        updated_at=made,
        name=f"Guest {n}",
        email=f"guest{n}@example.com",
        city=chance.choice(_CITIES),
        birth_date=born,
    )
    yield _metrics(owner, occasions)
    for tag in set(chance.choices(_TAGS, k=chance.randrange(3))):
        yield Tag(tenant=TENANT, customer_id=owner, fingerprint=tag, tag=tag, tagged_at=made)
    yield from occasions


def _occasion(chance: random.Random, n: int, i: int, owner: str, moment: int) -> Occasion:
    at = datetime.fromtimestamp(moment // 1_000_000, UTC)
    kind = chance.choice(_KINDS)
    name = f"{chance.getrandbits(32):08x}-5b1c-7000-{i:04x}-{n:012x}"
    cancelled = at + timedelta(days=1) if chance.random() < 0.05 else None
    return Occasion(
        tenant=TENANT,
        story=name,
        fact=name,
        since=at,
        until=cancelled,
        customer_id=owner,
        kind=kind,
        happened_at=at,
        item=f"item{int(chance.random() ** 2 * 20)}",
        venue=f"venue{int(chance.random() ** 2 * 8)}",
        amount_minor=chance.randrange(500, 30_000) if kind in ("purchase", "ticket") else None,
    )


def _metrics(owner: str, occasions: list[Occasion]) -> Metrics:
    paid = [o for o in occasions if o.amount_minor is not None and o.until is None]
    visits = [o for o in occasions if o.kind == "visit" and o.until is None]
    return Metrics(
        tenant=TENANT,
        customer_id=owner,
        activities=len(occasions),
        orders=len(paid),
        visits=len(visits),
        events_attended=len(visits) // 3,
        spend_minor=sum(o.amount_minor or 0 for o in paid),
        first_order_at=paid[0].happened_at if paid else None,
        last_order_at=paid[-1].happened_at if paid else None,
        first_visit_at=visits[0].happened_at if visits else None,
        last_visit_at=visits[-1].happened_at if visits else None,
        first_activity_at=occasions[0].happened_at if occasions else None,
        last_activity_at=occasions[-1].happened_at if occasions else None,
    )
