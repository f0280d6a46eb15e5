"""Going through what is past its time, some hundreds at a time, and doing away with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import attrs

from crmkit.activities import carrying, forgetting, holding
from crmkit.activities.metrics import Folded
from crmkit.activities.signs import by_the_person
from crmkit.customers.restriction import restricted_among
from crmkit.errors import Erased, NotFound, OnHold
from crmkit.gdpr import erasing, objections, retaining
from crmkit.gdpr.holds import standing
from crmkit.gdpr.retaining import Inactive
from crmkit.model import (
    Activity,
    Carried,
    Consent,
    Customer,
    Enrolment,
    Metrics,
    Note,
    ProfileChange,
    Redemption,
    RetentionNotice,
)
from crmkit.ports.events import ConsentChanged
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.retention import RetentionPolicy

_AT_ONCE: Final = 500
_FACTS: Final[dict[str, type[Any]]] = {"notes": Note, "profile_changes": ProfileChange}


@attrs.frozen
class Batch:
    """Some records that are past their time: how many, whose, and how they are done away with.

    `carry_out` looks again inside its transaction, and returns how many went.
    """

    count: int
    customers: tuple[str, ...]
    carry_out: Callable[[], int]


def left_alone(
    uow: UnitOfWork, customers: Collection[str], rt: Runtime, at: datetime
) -> frozenset[str]:
    """Those of the customers of whom no policy takes anything.

    A legal hold stands, or their data is only stored (GDPR Art. 18). It is asked as of now where
    policies are carried out as of an earlier instant.
    """
    held = standing(uow, customers, max(at, rt.now()))
    return held | restricted_among(uow, customers)


def batches(rt: Runtime, policy: RetentionPolicy, at: datetime) -> Iterator[Batch]:
    """What is past its time by a policy; of what is under a legal hold nothing."""
    if policy.of == "customers":
        return _customers(rt, policy, at)
    before = retaining.cutoff(policy, at, rt.settings.zone)
    if policy.of == "activities":
        return _activities(rt, before, policy.kinds, at)
    if policy.of == "consents":
        return _consents(rt, before, at)
    return _facts(rt, _FACTS[policy.of], before, at)


def _pages(rt: Runtime) -> Iterator[tuple[str, ...]]:
    """The ids of all customers."""
    after: tuple[str] | None = None
    while True:
        with rt.read() as uow:
            found = uow.rows(Metrics, ("customer_id",), after=after, limit=_AT_ONCE)
        if found:
            yield tuple(row[0] for row in found)
            after = (found[-1][0],)
        if len(found) < _AT_ONCE:
            return


# --- activities ---


def _activities(
    rt: Runtime, before: datetime, kinds: Sequence[str] | None, at: datetime
) -> Iterator[Batch]:
    for ids in _pages(rt):
        after: tuple[datetime, str] | None = None
        while True:
            with rt.read() as uow:
                found = uow.find(
                    Activity,
                    customer_id=ids,
                    order=("occurred_at", "id"),
                    after=after,
                    limit=_AT_ONCE,
                )
                facts = [fact for fact in found if fact.occurred_at <= before]
                spared = left_alone(uow, ids, rt, at)
                past = forgetting.past(uow, rt, facts, before, kinds, spared)
            if past:
                yield Batch(
                    sum(map(len, past)),
                    tuple(dict.fromkeys(s[0].customer_id or "" for s in past)),
                    partial(_forget, rt, [s[0] for s in past], before, kinds, at),
                )
            if len(facts) < _AT_ONCE:
                break
            after = (facts[-1].occurred_at, facts[-1].id)


def _forget(
    rt: Runtime,
    facts: Sequence[Activity],
    before: datetime,
    kinds: Sequence[str] | None,
    at: datetime,
) -> int:
    def work(uow: UnitOfWork, also: frozenset[str]) -> int:
        spared = partial(left_alone, uow, rt=rt, at=at)
        return forgetting.forget(uow, rt, facts, before, kinds, spared, also)

    return holding.write(rt, work)


# --- notes, profile changes, consents ---


def _facts(rt: Runtime, kind: type[Any], before: datetime, at: datetime) -> Iterator[Batch]:
    after: tuple[str] | None = None
    while True:
        with rt.read() as uow:
            fields = ("id", "customer_id", "occurred_at")
            found = uow.rows(kind, fields, after=after, limit=_AT_ONCE)
            past = [row for row in found if row[2] <= before]
            spared = left_alone(uow, {row[1] for row in past}, rt, at)
        past = [row for row in past if row[1] not in spared]
        if past:
            customers = tuple(dict.fromkeys(row[1] for row in past))
            ids = tuple(row[0] for row in past)
            yield Batch(len(past), customers, partial(_remove, rt, kind, ids, customers, at))
        if len(found) < _AT_ONCE:
            return
        after = (found[-1][0],)


def _remove(
    rt: Runtime, kind: type[Any], ids: tuple[str, ...], customers: tuple[str, ...], at: datetime
) -> int:
    def work(uow: UnitOfWork) -> int:
        left = tuple(sorted({*customers} - left_alone(uow, customers, rt, at)))
        return uow.remove(kind, id=ids, customer_id=left) if left else 0

    return rt.write(work)


def _consents(rt: Runtime, before: datetime, at: datetime) -> Iterator[Batch]:
    for ids in _pages(rt):
        with rt.read() as uow:
            spared = left_alone(uow, ids, rt, at)
            found = retaining.withdrawn(uow.find(Consent, customer_id=ids), before)
        past = [fact for fact in found if fact.customer_id not in spared]
        if past:
            customers = tuple(dict.fromkeys(fact.customer_id for fact in past))
            yield Batch(len(past), customers, partial(_unsay, rt, customers, before, at))


def _unsay(rt: Runtime, customers: tuple[str, ...], before: datetime, at: datetime) -> int:
    def work(uow: UnitOfWork) -> int:
        uow.hold(Customer, customers)
        left = tuple(sorted({*customers} - left_alone(uow, customers, rt, at)))
        said = uow.find(Consent, customer_id=left) if left else []
        past = retaining.withdrawn(said, before)
        gone = tuple(sorted({fact.customer_id for fact in past}))
        for customer in uow.find(Customer, id=gone) if gone else ():
            theirs = [fact for fact in past if fact.customer_id == customer.id]
            objections.remember(uow, rt, customer, theirs)
            _carry_signs(uow, rt, theirs)
        removed = uow.remove(Consent, id=tuple(f.id for f in past)) if past else 0
        for customer_id in gone:
            rt.events.publish(uow, ConsentChanged(customer_id, rt.now()))
        return removed

    return rt.write(work)


def _carry_signs(uow: UnitOfWork, rt: Runtime, said: Sequence[Consent]) -> None:
    """Remember when the customer last said something: that they are a customer still."""
    nothing = Folded(Metrics(tenant=rt.tenant, customer_id=said[0].customer_id), [])
    for origin in sorted({fact.origin for fact in said}, key=str):
        last = max(fact.occurred_at for fact in said if fact.origin == origin)
        carrying.carry(uow, rt, said[0].customer_id, origin, nothing, last)


# --- customers ---


def _customers(rt: Runtime, policy: RetentionPolicy, at: datetime) -> Iterator[Batch]:
    for found in inactive(rt, policy, at):
        if found.verdict == "erase":
            yield Batch(1, (found.customer_id,), partial(_erase, rt, policy, found.customer_id, at))


def inactive(rt: Runtime, policy: RetentionPolicy, at: datetime) -> Iterator[Inactive]:
    """Those about whom a policy asks for something, but for those under a legal hold."""
    for ids in _pages(rt):
        with rt.read() as uow:
            spared = left_alone(uow, ids, rt, at)
            found = _judged(uow, rt, policy, tuple(i for i in ids if i not in spared), at)
        yield from (one for one in found if one.verdict != "keep")


def _erase(rt: Runtime, policy: RetentionPolicy, customer_id: str, at: datetime) -> int:
    def work(uow: UnitOfWork) -> int:
        rt.customer(uow, customer_id, lock=True)
        uow.hold(Metrics, [customer_id])
        if customer_id in left_alone(uow, [customer_id], rt, at):  # since the page was read
            return 0
        found = _judged(uow, rt, policy, (customer_id,), at)
        if not found or found[0].verdict != "erase":
            return 0
        erasing.erase(uow, rt, customer_id)
        return 1

    try:
        return rt.write(work)
    except (Erased, NotFound, OnHold):  # somebody was quicker
        return 0


def _judged(
    uow: UnitOfWork, rt: Runtime, policy: RetentionPolicy, ids: tuple[str, ...], at: datetime
) -> list[Inactive]:
    """What the policy asks for each of these customers."""
    zone = rt.settings.zone
    notices: dict[str, list[RetentionNotice]] = defaultdict(list)
    for notice in uow.find(RetentionNotice, customer_id=ids) if ids else ():
        notices[notice.customer_id].append(notice)
    judge = partial(retaining.judged, policy=policy, at=at, zone=zone)
    found = []
    for customer_id, since in _last_signs(uow, ids).items():
        one = judge(customer_id, since, notices[customer_id])
        if one.verdict != "keep":  # only then it matters what else there was
            since = max(since, _last_done(uow, rt, customer_id))
            one = judge(customer_id, since, notices[customer_id])
        found.append(one)
    return found


def _last_signs(uow: UnitOfWork, ids: tuple[str, ...]) -> dict[str, datetime]:
    """When these customers last booked, bought, came or spoke, or did what is anonymised by now."""
    if not ids:
        return {}
    found = dict(uow.rows(Customer, ("id", "created_at"), id=ids))
    dates = ("customer_id", "last_booking_at", "last_order_at", "last_visit_at")
    signs: list[tuple[Any, ...]] = [*uow.rows(Metrics, dates, customer_id=ids)]
    for kind, field in ((Consent, "occurred_at"), (Enrolment, "occurred_at"),
                        (Redemption, "reserved_at"), (Carried, "last_sign_at")):  # fmt: skip
        signs += uow.rows(kind, ("customer_id", field), customer_id=ids)
    for customer_id, *moments in signs:
        if customer_id in found:
            found[customer_id] = retaining.latest(moments, found[customer_id])
    return found


def _last_done(uow: UnitOfWork, rt: Runtime, customer_id: str) -> datetime:
    """When a customer last did something of themselves, of what is not anonymised."""
    last = uow.find(
        Activity,
        customer_id=customer_id,
        kind=by_the_person(rt.settings),
        order=("occurred_at", "id"),
        descending=True,
        limit=1,
    )
    return last[0].occurred_at if last else datetime.min.replace(tzinfo=rt.now().tzinfo)
