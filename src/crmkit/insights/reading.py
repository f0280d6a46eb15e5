"""Reading what is known of a customer: cached where that is the answer, else folded anew."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from crmkit.activities import carrying
from crmkit.activities.dimensions import DIMENSIONS
from crmkit.activities.metrics import Folded, Joined, fold
from crmkit.activities.recording import joined
from crmkit.activities.stories import Kinds, read, stories
from crmkit.insights.view import Recent, as_it_stands
from crmkit.model import Activity, Counter, Metrics
from crmkit.model.time import instant
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_SHORT: Final = tuple(d for d in DIMENSIONS if d != "item")
"""The dimensions that have few values however much a customer does."""
_LAST_FACTS: Final = 50
_MICROSECOND: Final = timedelta(microseconds=1)


@attrs.frozen
class Asked:
    """The instant that is asked about, and when it was known; None for all known by now."""

    at: datetime
    known_at: datetime | None

    @classmethod
    def of(
        cls, rt: Runtime, at: datetime | str | None, known_at: datetime | str | None = None
    ) -> Asked:
        """What a caller asks for; `known_at` alone asks for what was answered then."""
        known = None if known_at is None else instant(known_at, field="known_at")
        return cls((known or rt.now()) if at is None else rt.at(at), known)

    def includes(self, fact: Activity, kinds: Kinds) -> bool:
        """Whether the fact had happened and was known.

        A void or an amendment tells what always was: it counts as soon as it is known.
        """
        if self.known_at is not None and fact.recorded_at > self.known_at:
            return False
        return fact.occurred_at <= self.at or kinds[fact.kind].role in ("voids", "amends")

    def is_cached(self, metrics: Metrics) -> bool:
        """Whether the cached numbers are the answer: nothing they hold came later."""
        last = metrics.last_activity_at
        return self.known_at is None and (last is None or last <= self.at)


def facts(uow: UnitOfWork, rt: Runtime, customer_id: str, asked: Asked) -> Iterator[Activity]:
    """The facts that are asked about, a page in memory at a time."""
    kinds = rt.settings.kinds_by_name
    stored = uow.stream(Activity, customer_id=customer_id, order=("occurred_at", "id"))
    return (fact for fact in stored if asked.includes(fact, kinds))


def parts_of(uow: UnitOfWork, rt: Runtime, customer_id: str, asked: Asked) -> Iterator[Joined]:
    """What is asked about of the stories of others of which the customer bears a share."""
    kinds = rt.settings.kinds_by_name
    return joined(uow, customer_id, lambda fact: asked.includes(fact, kinds))


def counters(
    uow: UnitOfWork, rt: Runtime, customer_id: str, asked: Asked, dimension: str
) -> list[Counter]:
    """The counters of a dimension, as asked."""
    cached = rt.metrics(uow, customer_id)
    if asked.is_cached(cached):
        return uow.find(Counter, customer_id=cached.customer_id, dimension=dimension)
    found = folded(uow, rt, cached.customer_id, asked).counters
    return [c for c in found if c.dimension == dimension]


def numbers(uow: UnitOfWork, rt: Runtime, customer_id: str, asked: Asked) -> Metrics:
    """The metrics as asked."""
    cached = rt.metrics(uow, customer_id)
    if asked.is_cached(cached):
        return cached
    return folded(uow, rt, cached.customer_id, asked).metrics


def summary(uow: UnitOfWork, rt: Runtime, customer_id: str, asked: Asked) -> Folded:
    """Metrics and counters as asked, of the items at least the favourite, in few queries."""
    cached = rt.metrics(uow, customer_id)
    customer_id = cached.customer_id
    if not asked.is_cached(cached):
        return folded(uow, rt, customer_id, asked)
    short = uow.find(Counter, customer_id=customer_id, dimension=_SHORT)
    return Folded(cached, [*short, *_favourite(uow, customer_id, "item")])


def folded(uow: UnitOfWork, rt: Runtime, customer_id: str, asked: Asked) -> Folded:
    """Metrics and counters as asked, from all facts."""
    nothing = Metrics(tenant=rt.tenant, customer_id=customer_id)
    # Nothing is stored: the counters need no keyed hash.
    told = facts(uow, rt, customer_id, asked)
    parts = parts_of(uow, rt, customer_id, asked)
    folded = fold(nothing, told, rt.settings, lambda _: "", parts)
    gone = carrying.carried(uow, customer_id)
    return carrying.with_carried(folded, (c for c in gone if carrying.had_ended(c, asked.at)))


def _favourite(uow: UnitOfWork, customer_id: str, dimension: str) -> list[Counter]:
    """The counter that comes first in `habits.choices`, however many there are."""
    of: dict[str, Any] = {"customer_id": customer_id, "dimension": dimension}
    most = uow.find(Counter, order=("count", "spend_minor"), descending=True, limit=2, **of)
    ranks = [(c.count, c.spend_minor) for c in most]
    if len(set(ranks)) < len(ranks):
        of["count"], of["spend_minor"] = ranks[0]
        return uow.find(Counter, order=("label", "value"), limit=1, **of)
    return most[:1]


def just_after(at: datetime) -> tuple[datetime, str]:
    """The position behind all that has happened by an instant, where the latest come first."""
    return at + _MICROSECOND, ""


def recent(
    uow: UnitOfWork,
    rt: Runtime,
    customer_id: str,
    asked: Asked,
    names: Collection[str],
    limit: int,
) -> tuple[Recent, ...]:
    """The last bookings or orders, each once, as it stands by all that its story tells."""
    kinds = rt.settings.kinds_by_name
    if not names:
        return ()
    found = uow.find(
        Activity,
        customer_id=customer_id,
        kind=tuple(sorted(names)),
        order=("occurred_at", "id"),
        descending=True,
        after=just_after(asked.at),
        limit=_LAST_FACTS,
    )
    if not found:
        return ()
    told = uow.find(Activity, story=tuple(dict.fromkeys(f.story for f in found)))
    standing = [
        recent
        for story in stories(f for f in told if asked.includes(f, kinds))
        for recent in as_it_stands(read(story, kinds), names, rt.settings)
    ]
    standing.sort(key=lambda r: (r.activity.occurred_at, r.activity.id), reverse=True)
    return tuple(standing[:limit])
