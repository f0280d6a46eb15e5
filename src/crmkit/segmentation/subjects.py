"""Loading what rules look at, for a page of customers at a time: a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from crmkit.gdpr.consents import state
from crmkit.model import Consent, Customer, Membership, Metrics, PointsAccount, Tag
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation.subject import Subject

_AT_ONCE = 200


def subjects(uow: UnitOfWork, customers: Sequence[Customer]) -> list[Subject]:
    """The subjects of these customers, in their order; at most a few hundred at once."""
    ids = tuple(c.id for c in customers)
    metrics = {m.customer_id: m for m in uow.find(Metrics, customer_id=ids)}
    accounts = {a.customer_id: a for a in uow.find(PointsAccount, customer_id=ids)}
    tags: dict[str, set[str]] = defaultdict(set)
    for tag in uow.find(Tag, customer_id=ids):
        tags[tag.customer_id].add(tag.tag)
    said: dict[str, list[Consent]] = defaultdict(list)
    for fact in uow.find(Consent, customer_id=ids):
        said[fact.customer_id].append(fact)
    by_hand: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for row in uow.find(Membership, customer_id=ids):
        by_hand[row.customer_id, row.kept_out].add(row.segment_id)
    return [
        Subject(
            customer=c,
            metrics=metrics.get(c.id) or Metrics(tenant=c.tenant, customer_id=c.id),
            account=accounts.get(c.id),
            tags=frozenset(tags[c.id]),
            consents=state(said[c.id]).granted,
            memberships=frozenset(by_hand[c.id, False]),
            kept_out=frozenset(by_hand[c.id, True]),
        )
        for c in customers
    ]


def all_subjects(uow: UnitOfWork, *, after: str | None = None) -> Iterator[Subject]:
    """All customers' subjects in the order of their ids, a page in memory at a time."""
    while True:
        edge = None if after is None else (after,)
        page = uow.find(Customer, order=("id",), after=edge, limit=_AT_ONCE)
        yield from subjects(uow, page)
        if len(page) < _AT_ONCE:
            return
        after = page[-1].id
