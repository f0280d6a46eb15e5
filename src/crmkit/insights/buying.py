"""Reading who bought on which day for how much: of one customer, or of all, a page at a time.

A purchase is an activity that counts, of the kinds that `Settings.value` names; it is told by
the occasions that hold at the instant asked about, and for shares of the bills of others by the
stories of those bills.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

import attrs

from crmkit.activities.dimensions import local
from crmkit.activities.metrics import Joined
from crmkit.activities.sharing import divided, split
from crmkit.activities.stories import Kinds, order, read, stories
from crmkit.config import Settings
from crmkit.insights.reading import Asked, folded, parts_of
from crmkit.insights.value.summaries import Purchase
from crmkit.model import Activity, Metrics, Occasion, Participation
from crmkit.model.money import digits
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

PAGE: Final = 500
"""Customers whose purchases are in memory at a time."""

Told: TypeAlias = tuple[datetime, int | None]
"""When something was bought, and for how many minor units."""

LASTS: Final = ("last_booking_at", "last_order_at", "last_visit_at")
"""The metrics that tell when a customer was last heard of."""

_OCCASION: Final = ("customer_id", "kind", "happened_at", "amount_minor")


@attrs.frozen
class History:
    """What a customer spent in all, net, and on which days they bought.

    `last_at` is when they last booked, ordered or visited, where that was asked for.
    """

    customer_id: str
    spent_minor: int
    purchases: tuple[Purchase, ...]
    last_at: datetime | None


def kinds_bought(settings: Settings) -> Mapping[str, bool]:
    """The kinds that count as a purchase, each with whether it needs an amount for it."""
    named = settings.value.purchase_kinds
    if named is not None:
        return dict.fromkeys(named, False)
    return {k.name: True for k in settings.kinds if k.spends and k.role == "happens"}


def bought(uow: UnitOfWork, rt: Runtime, customer_id: str, asked: Asked) -> tuple[Purchase, ...]:
    """The purchases of one customer by that instant."""
    own = _occasions(uow, rt.settings, asked.at, (customer_id,))
    told: list[Told] = [(when, minor) for _, when, minor in own]
    told += _joined(parts_of(uow, rt, customer_id, asked), rt.settings)
    return _purchases(told, rt.settings)


def page(
    uow: UnitOfWork, rt: Runtime, asked: Asked, after: str | None, *, heard: bool = False
) -> list[History]:
    """The next customers in the order of their ids, those too who never bought.

    When they were last `heard` of is told where it is asked for.
    """
    rows, late = metrics_page(uow, rt, asked, ("spend_minor", *(LASTS if heard else ())), after)
    ids = tuple(row[0] for row in rows)
    if not ids:
        return []
    told: defaultdict[str, list[Told]] = defaultdict(list)
    for settled in (True, False):
        some = (
            tuple(i for i in ids if (i not in late) is settled) if late else ids[: settled * PAGE]
        )
        for who, when, minor in _occasions(uow, rt.settings, asked.at, some, settled=settled):
            told[who].append((when, minor))
    for customer_id, parts in _parts(uow, rt, ids, asked).items():
        told[customer_id] += _joined(parts, rt.settings)
    return [
        History(
            who, spent, _purchases(told[who], rt.settings), max(filter(None, lasts), default=None)
        )
        for who, spent, *lasts in rows
    ]


def metrics_page(
    uow: UnitOfWork, rt: Runtime, asked: Asked, fields: Sequence[str], after: str | None
) -> tuple[list[tuple[Any, ...]], frozenset[str]]:
    """The next customers' ids, each with these metrics as they were at that instant.

    And the ids of those of whom something is known that came later.
    """
    rows = uow.rows(
        Metrics,
        ("customer_id", *fields, "last_activity_at"),
        after=None if after is None else (after,),
        limit=PAGE,
    )
    late = frozenset(row[0] for row in rows if row[-1] is not None and row[-1] > asked.at)
    found: list[tuple[Any, ...]] = []
    for row in rows:
        if row[0] in late:
            then = folded(uow, rt, row[0], asked).metrics
            found.append((row[0], *(getattr(then, field) for field in fields)))
        else:
            found.append(row[:-1])
    return found, late


def happened(
    uow: UnitOfWork,
    at: datetime,
    ids: tuple[str, ...],
    kinds: Iterable[str],
    *,
    settled: bool = False,
) -> Iterator[tuple[str, str, datetime, int | None]]:
    """What counts at an instant of these customers and kinds: who, kind, when, for how much.

    `settled` says that nothing is known of them that came later: what has no end then counts,
    and nothing else.
    """
    named = tuple(sorted(kinds))
    if not named or not ids:
        return
    of: dict[str, Any] = {"customer_id": ids, "kind": named, "part": 0}
    if settled:
        yield from uow.rows(Occasion, _OCCASION, until=None, **of)
        return
    for *what, since, until in uow.rows(Occasion, (*_OCCASION, "since", "until"), **of):
        if since <= at and (until is None or at < until):
            yield tuple(what)


def _occasions(
    uow: UnitOfWork,
    settings: Settings,
    at: datetime,
    ids: tuple[str, ...],
    *,
    settled: bool = False,
) -> Iterator[tuple[str, datetime, int | None]]:
    """What counts at that instant of the kinds bought: who, when, for how much."""
    kinds = kinds_bought(settings)
    for who, kind, happened_at, amount in happened(uow, at, ids, kinds, settled=settled):
        if amount is not None or not kinds[kind]:
            yield who, happened_at, amount


def _parts(
    uow: UnitOfWork, rt: Runtime, ids: tuple[str, ...], asked: Asked
) -> Mapping[str, Iterable[Joined]]:
    """Of which stories of others these customers bear shares."""
    shares = uow.find(Participation, customer_id=ids)
    if not shares:
        return {}
    kinds = rt.settings.kinds_by_name
    facts = uow.find(Activity, story=tuple(sorted({part.story for part in shares})))
    told = {s[0].story: s for s in stories(f for f in facts if asked.includes(f, kinds))}
    found: defaultdict[str, list[Joined]] = defaultdict(list)
    for part in shares:
        if part.story in told:
            found[part.customer_id].append((told[part.story], part.share))
    return found


def _joined(parts: Iterable[Joined], settings: Settings) -> Iterator[Told]:
    """When a customer bore a part of what others paid, and what it came to."""
    kinds = settings.kinds_by_name
    bought = kinds_bought(settings)
    for facts, share in parts:
        yield from _borne(facts, share, kinds, bought)


def _borne(
    facts: Sequence[Activity], share: str, kinds: Kinds, bought: Mapping[str, bool]
) -> Iterator[Told]:
    story = read(facts, kinds)
    paid = [f for f in story.said if kinds[f.kind].spends]
    if story.off:
        return
    paid.sort(key=order)
    parts = split(story.left, [f.amount_minor or 0 for f in paid])
    for fact, part in zip(paid, parts, strict=True):
        if fact.kind in bought and fact.shares.get(share) and fact.amount_minor is not None:
            yield fact.occurred_at, divided(part, fact.shares)[share]


def _purchases(told: Iterable[Told], settings: Settings) -> tuple[Purchase, ...]:
    """Each by its business day, in major units; in a fixed order."""
    unit = 10 ** digits(settings.currency)
    ordered = sorted(told, key=_when)
    return tuple((local(at, settings)[0], (minor or 0) / unit) for at, minor in ordered)


def _when(told: Told) -> tuple[datetime, int]:
    return told[0], told[1] or 0
