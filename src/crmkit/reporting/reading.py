"""What reports read of all customers, a page of them in a unit of work at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Final, TypeVar

import attrs

from crmkit.activities.dimensions import local
from crmkit.activities.metrics import spend
from crmkit.activities.stories import Story, read
from crmkit.insights.buying import LASTS, PAGE, happened, metrics_page
from crmkit.insights.modelling import fitted, model_at, values
from crmkit.insights.reading import Asked
from crmkit.model import Activity, Counter, Customer, Metrics
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

T = TypeVar("T")

UNKNOWN: Final = "unknown"
"""The source of those of whom it is not known."""

_PROFILE: Final = ("id", "created_at", "account_created_at", "source")
_NUMBERS: Final = ("spend_minor", "first_activity_at", "first_order_at", *LASTS)


@attrs.frozen
class Person:
    """What reports read of every customer: `since` when they are known, and their numbers."""

    id: str
    since: datetime
    source: str
    spent_minor: int
    first_order_at: datetime | None
    last_at: datetime | None


@attrs.frozen
class Worth:
    """What somebody spent, and will spend; that is None without a model."""

    customer_id: str
    spent_minor: int
    predicted_minor: int | None
    p_active: float | None

    @property
    def total_minor(self) -> int:
        """Both together."""
        return self.spent_minor + (self.predicted_minor or 0)


def paged(rt: Runtime, ask: Callable[[UnitOfWork, tuple[str, ...]], Iterable[T]]) -> Iterator[T]:
    """What is asked of all customers, page by page in the order of their ids."""
    after: tuple[str] | None = None
    while True:
        with rt.read() as uow:
            rows = uow.rows(Metrics, ("customer_id",), after=after, limit=PAGE)
            found = list(ask(uow, tuple(row[0] for row in rows))) if rows else []
        yield from found
        if not rows:
            return
        after = rows[-1]


def people(rt: Runtime, asked: Asked) -> Iterator[Person]:
    """All who were known by then, in the order of their ids, with their numbers of then."""
    after: str | None = None
    while True:
        with rt.read() as uow:
            rows, _ = metrics_page(uow, rt, asked, _NUMBERS, after)
            ids = tuple(row[0] for row in rows)
            profiles = {p[0]: p[1:] for p in uow.rows(Customer, _PROFILE, id=ids)} if ids else {}
        for who, spent, first, ordered, *lasts in rows:
            created, account, source = profiles[who]
            since = min(t for t in (created, account, first) if t is not None)
            if since <= asked.at:
                last = max(filter(None, lasts), default=None)
                yield Person(who, since, source or UNKNOWN, spent, ordered, last)
        if not rows:
            return
        after = ids[-1]


def worth(rt: Runtime, asked: Asked) -> Iterator[Worth]:
    """All who spent something by then, in the order of their ids."""
    with rt.read() as uow:
        modelled = model_at(uow, asked.at) is not None
    if not modelled:
        spent = ((p.id, p.spent_minor) for p in people(rt, asked) if p.spent_minor)
        yield from (Worth(who, minor, None, None) for who, minor in spent)
        return
    found = values(rt, asked, fitted(rt, asked), rt.settings.lifetime_horizon_days)
    for value in found:
        more = value.predicted.minor if value.predicted else None
        yield Worth(value.customer_id, value.historic.minor, more, value.p_active)


def days_come(rt: Runtime, asked: Asked) -> Iterator[set[date]]:
    """Of each customer the business days on which they booked, ordered or visited."""
    settings = rt.settings
    kinds = {k.name: not k.dates for k in settings.kinds if k.dates or k.paid_is_order}

    def ask(uow: UnitOfWork, ids: tuple[str, ...]) -> Iterable[set[date]]:
        days: defaultdict[str, set[date]] = defaultdict(set)
        for who, kind, when, amount in happened(uow, asked.at, ids, kinds):
            if amount is not None or not kinds[kind]:
                days[who].add(local(when, settings)[0])
        return days.values()

    return paged(rt, ask)


def names(rt: Runtime, ids: Sequence[str]) -> dict[str, str]:
    """What these customers are called; only those with a name."""
    with rt.read() as uow:
        found = uow.find(Customer, id=tuple(ids)) if ids else []
    return {c.id: c.full_name for c in found if c.full_name}


@attrs.define
class Promoted:
    """Whom a promoter brought: guests, how often, and what these spent."""

    guests: set[str] = attrs.Factory(set)
    entries: int = 0
    spent_minor: int = 0


def promoted(rt: Runtime, begin: datetime | None, end: datetime) -> dict[str, Promoted]:
    """By promoter the stories that name one and began from `begin` up to `end`."""
    kinds = rt.settings.kinds_by_name
    found: defaultdict[str, Promoted] = defaultdict(Promoted)
    with rt.read() as uow:
        for _, told in groupby(uow.stream(Activity, order=("story", "id")), lambda f: f.story):
            facts = list(told)
            began = min(fact.occurred_at for fact in facts)
            if began > end or (begin is not None and began < begin):
                continue
            story = read(facts, kinds)
            promoter = None if story.off else _promoter(story)
            if promoter is not None:
                of = found[promoter]
                of.entries += 1
                of.spent_minor += spend(story, kinds)
                of.guests.update(fact.customer_id for fact in facts if fact.customer_id)
    return found


def _promoter(story: Story) -> str | None:
    """Who brought the guest, by the first fact that tells."""
    for fact in story.said:
        named = fact.payload.get("promoter")
        if isinstance(named, str) and named.strip():
            return named.strip()
    return None


@attrs.define
class Chosen:
    """An item by the name it bore last: by how many chosen, how often, for how much."""

    label: str = ""
    named_at: datetime | None = None
    customers: int = 0
    times: int = 0
    spent_minor: int = 0


def chosen(rt: Runtime) -> list[Chosen]:
    """What customers chose, the most chosen first, then by spend."""
    found: defaultdict[str, Chosen] = defaultdict(Chosen)
    fields = ("value", "label", "count", "spend_minor", "last_at")
    with rt.read() as uow:
        for value, label, count, minor, last in uow.stream_rows(Counter, fields, dimension="item"):
            of = found[value]
            of.customers, of.times = of.customers + 1, of.times + count
            of.spent_minor += minor
            if not of.label or (last is not None and (of.named_at is None or of.named_at < last)):
                of.label, of.named_at = label, last
    return sorted(found.values(), key=lambda of: (-of.times, -of.spent_minor, of.label))
