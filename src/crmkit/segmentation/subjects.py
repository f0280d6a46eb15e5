"""Loading what rules look at, for a page of customers at a time: a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from crmkit.gdpr.consent_state import lasting
from crmkit.loyalty import courses
from crmkit.model import (
    Consent,
    Customer,
    Membership,
    Metrics,
    Occasion,
    PointsAccount,
    Score,
    Tag,
    TierPeriod,
)
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation.needs import Needs
from crmkit.segmentation.subject import Subject

AT_ONCE = 200


def subjects(
    uow: UnitOfWork,
    rt: Runtime,
    customers: Sequence[Customer],
    wanted: Needs,
    at: datetime | None,
) -> list[Subject]:
    """The subjects of these customers, in their order; at most a few hundred at once.

    Metrics are always there; of the rest what is wanted. Accounts are told at an instant,
    or with None as they were last settled.
    """
    ids = tuple(c.id for c in customers)
    metrics = {m.customer_id: m for m in uow.find(Metrics, customer_id=ids)}
    of: dict[str, Any] = {"customer_id": ids, "programme": rt.settings.programme.name}
    stored = uow.find(PointsAccount, **of) if wanted.points else []
    accounts = {a.customer_id: a for a in (courses.told(uow, stored, at) if at else stored)}
    tiers: dict[str, list[TierPeriod]] = defaultdict(list)
    if wanted.tiers:
        for period in uow.find(TierPeriod, **of):
            tiers[period.customer_id].append(period)
    scores = {s.customer_id: s for s in uow.find(Score, customer_id=ids)} if wanted.scores else {}
    tags: dict[str, set[str]] = defaultdict(set)
    if wanted.tags:
        for tag in uow.find(Tag, customer_id=ids):
            tags[tag.customer_id].add(tag.tag)
    said: dict[str, list[Consent]] = defaultdict(list)
    if wanted.consents:
        for fact in uow.find(Consent, customer_id=ids):
            said[fact.customer_id].append(fact)
    by_hand: dict[tuple[str, bool | None], set[str]] = defaultdict(set)
    if wanted.by_hand:
        for row in uow.find(Membership, customer_id=ids):
            by_hand[row.customer_id, row.kept_out].add(row.segment_id)
    done = _occasions(uow, ids, wanted)
    return [
        Subject(
            customer=c,
            metrics=metrics.get(c.id) or Metrics(tenant=c.tenant, customer_id=c.id),
            account=accounts.get(c.id),
            tiers=tiers.get(c.id, ()),
            score=scores.get(c.id),
            tags=frozenset(tags[c.id]),
            consents=lasting(said[c.id]) if said[c.id] else {},
            memberships=frozenset(by_hand[c.id, False]),
            kept_out=frozenset(by_hand[c.id, True]),
            occasions=done.get(c.id, {}),
        )
        for c in customers
    ]


def _occasions(
    uow: UnitOfWork, ids: tuple[str, ...], wanted: Needs
) -> Mapping[str, Mapping[str, Sequence[Occasion]]]:
    done: dict[str, dict[str, list[Occasion]]] = defaultdict(lambda: defaultdict(list))
    if wanted.kinds:
        for o in uow.find(Occasion, customer_id=ids, kind=tuple(sorted(wanted.kinds))):
            done[o.customer_id][o.kind].append(o)
        for kinds in done.values():
            for told in kinds.values():
                told.sort(key=lambda o: (o.happened_at, o.fact, o.part, o.since))
    return done


def all_subjects(
    uow: UnitOfWork, rt: Runtime, wanted: Needs, at: datetime | None, *, after: str | None = None
) -> Iterator[Subject]:
    """All customers' subjects in the order of their ids, a page in memory at a time."""
    while True:
        edge = None if after is None else (after,)
        page = uow.find(Customer, order=("id",), after=edge, limit=AT_ONCE)
        yield from subjects(uow, rt, page, wanted, at)
        if len(page) < AT_ONCE:
            return
        after = page[-1].id
