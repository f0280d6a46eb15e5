"""What customers prefer: what each of them chose most, a page of them at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from crmkit.insights.habits import Choice, favourite
from crmkit.insights.reading import Asked, counters
from crmkit.model import Counter, Customer, Metrics
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_PAGE = 500


def preferring(
    uow: UnitOfWork, rt: Runtime, dimension: str, at: datetime, *, after: str | None = None
) -> Iterator[tuple[str, Choice]]:
    """The customers who chose anything of the dimension by an instant, and what they chose most.

    In the order of their ids.
    """
    while True:
        edge = None if after is None else (after,)
        page = tuple(row[0] for row in uow.rows(Customer, ("id",), after=edge, limit=_PAGE))
        yield from _favourites(uow, rt, page, dimension, at)
        if len(page) < _PAGE:
            return
        after = page[-1]


def _favourites(
    uow: UnitOfWork, rt: Runtime, ids: Sequence[str], dimension: str, at: datetime
) -> Iterator[tuple[str, Choice]]:
    for customer_id, chosen in _counters(uow, rt, ids, dimension, at).items():
        most = favourite(chosen, rt.settings.currency)
        if most is not None:
            yield customer_id, most


def _counters(
    uow: UnitOfWork, rt: Runtime, ids: Sequence[str], dimension: str, at: datetime
) -> Mapping[str, Sequence[Counter]]:
    """The counters of these customers: those that are kept, unless something came later."""
    if not ids:
        return {}
    asked = Asked(at, None)
    last = dict(uow.rows(Metrics, ("customer_id", "last_activity_at"), customer_id=tuple(ids)))
    late = {c for c, moment in last.items() if moment is not None and moment > at}
    kept: dict[str, list[Counter]] = defaultdict(list)
    fresh = tuple(c for c in ids if c not in late)
    for row in uow.find(Counter, customer_id=fresh, dimension=dimension) if fresh else ():
        kept[row.customer_id].append(row)
    of = {c: counters(uow, rt, c, asked, dimension) if c in late else kept.get(c, []) for c in ids}
    return {c: chosen for c, chosen in of.items() if chosen}
