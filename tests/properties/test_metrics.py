"""Metrics and points after any history, in any order and with any repetition, on every storage."""

from __future__ import annotations

import itertools
import random
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from crmkit import CRMService
from crmkit.model import Counter, Metrics, PointsEntry
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.ports.storage import Storage
from crmkit.testing.strategies import INSTANTS, SETTINGS, histories
from tests.populate import values

Call = dict[str, Any]

# A fresh tenant for each example: the fixture's storage may be shared by all of them.
shared_storage = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Any counter-example will do; making it small takes long.
unshrunk = settings(phases=[Phase.generate], max_examples=10_000, database=None)
_tenants = (f"tenant {n}" for n in itertools.count())


def fresh(storage: Storage) -> CRMService:
    return CRMService(storage, settings=SETTINGS, tenant=next(_tenants))


def replay(crm: CRMService, customer: str, calls: Sequence[tuple[int, Call]]) -> None:
    """Track numbered calls; a call keeps its key however often it comes."""
    for number, call in calls:
        crm.activities.track(customer, **call, key=f"{customer}/{number}")


def told(crm: CRMService, customer: str) -> dict[str, Any]:
    """The metrics, counters and points of a customer, without the customer."""
    metrics = values(crm.activities.metrics(customer))
    account = values(crm.loyalty.account(customer))
    with crm._runtime.read() as uow:
        counters = [values(c) for c in uow.find(Counter, customer_id=customer)]
    found = metrics | account | {"counters": [c | {"customer_id": None} for c in counters]}
    return {k: v for k, v in found.items() if k != "customer_id"}


def _cents(value: object) -> int | None:
    return None if value is None else int(Decimal(str(value)) * 100)


_OWN_IDS = {
    "booking": "booking_id",
    "purchase": "order_id",
    "order": "order_id",
    "ticket": "ticket_id",
}


def reference(call: Call) -> tuple[str, str] | None:
    """The id that names the story: a stated reference, the kind's own id, the most particular."""
    own = _OWN_IDS.get(call["kind"], "reference")
    names = ("reference", own, "ticket_id", "order_id", "booking_id")
    return next(((n, call["payload"][n]) for n in names if n in call["payload"]), None)


def model(calls: Sequence[Call]) -> Counts[str]:
    """What the documentation promises, written down a second time and as plainly as possible."""
    told: dict[Any, list[Call]] = defaultdict(list)
    for n, call in enumerate(calls):
        told[reference(call) or n].append(call)
    total: Counts[str] = Counts(activities=len(calls))
    for story in told.values():
        total.update(_story(story))
    return total


def _story(story: Sequence[Call]) -> Counts[str]:
    of = Counts(call["kind"] for call in story)
    said = _said_last(story)
    statuses = {call["payload"].get("status", "").lower() for call in said}
    cancelled = of["cancellation"] or statuses & {"cancelled", "canceled"}
    missed = of["no_show"] or "no_show" in statuses
    counts = Counts(
        cancellations=int(bool(cancelled)), no_shows=int(bool(missed)), refunds=of["refund"]
    )
    if cancelled or missed:
        return counts
    paid, booking_is_paid = _paid(story)
    completed = of["completion"] or "completed" in statuses
    counts.update(
        bookings=min(1, of["booking"]),
        completed_bookings=min(1, of["booking"]) if completed else 0,
        orders=sum(min(1, of[k]) for k in ("purchase", "order", "ticket")) + booking_is_paid,
        visits=of["visit"] + of["check_in"] + of["attendance"],
        events_attended=of["attendance"],
        reviews=of["review"],
        referrals=of["referral"],
    )
    refunds = [_cents(c["payload"].get("amount")) for c in story if c["kind"] == "refund"]
    earned = [50 * min(1, of["referral"]), 25 * min(1, of["review"])]
    if of["booking"] and completed:
        party = any(c["payload"].get("type") == "party" for c in said if c["kind"] == "booking")
        earned.append(200 if party else 100)
    if paid is None:
        spend = -sum(r or 0 for r in refunds) if not reference(story[0]) else 0
    else:
        spend = max(0, paid - sum(paid if r is None else r for r in refunds))
        # What each rule gave is rounded down by itself.
        earned = [points * spend // paid if paid else points for points in earned]
    points = sum(earned)
    if not paid and None in refunds:
        points = 0
    counts.update(spend_minor=spend, balance=points, qualifying=points)
    return counts


def _said_last(story: Sequence[Call]) -> list[Call]:
    """What a booking, order, purchase or ticket says again takes the place of what it said."""
    last: dict[Any, Call] = {}
    for n, call in enumerate(sorted(story, key=_order)):
        place = call["kind"] if call["kind"] in _OWN_IDS else n
        before = last.get(place, call)["payload"]
        last[place] = call | {"payload": before | call["payload"]}
    return list(last.values())


def _order(call: Call) -> tuple[Any, ...]:
    amount = _cents(call["payload"].get("amount"))
    payload = call["payload"]
    stages = "requested pending approved confirmed completed cancelled no_show".split()
    status = payload.get("status", "").lower().replace("canceled", "cancelled")
    return (
        call["at"],
        -1 if amount is None else amount,
        stages.index(status) if status else -1,
        payload.get("item", ""),
        payload.get("venue", ""),
        canonical(payload),
    )


def _paid(story: Sequence[Call]) -> tuple[int | None, bool]:
    """What was paid in all, None if nobody says; and whether the booking has its price."""
    said = [c for c in _said_last(story) if c["kind"] in (*_OWN_IDS, "consumption")]
    amounts = [_cents(c["payload"].get("amount")) for c in said]
    booking = [a for a, c in zip(amounts, said, strict=True) if c["kind"] == "booking"]
    return (sum(a or 0 for a in amounts) if amounts else None), booking not in ([], [None])


@given(calls=histories(), rng=st.randoms(use_true_random=False))
@shared_storage
def test_any_order_and_any_repetition_give_the_same(
    storage: Storage, calls: list[Call], rng: random.Random
) -> None:
    """Replayed with their keys, shuffled and repeated, the same facts give the same numbers."""
    crm = fresh(storage)
    one, other = (crm.find_or_create({"user_id": n}).id for n in (1, 2))
    numbered = list(enumerate(calls))
    replay(crm, one, numbered)
    again = numbered + [call for call in numbered if rng.random() < 0.5]
    rng.shuffle(again)
    replay(crm, other, again)
    replay(crm, one, again)
    assert told(crm, one) == told(crm, other)
    expected = model(calls)
    assert {k: told(crm, one)[k] for k in expected} == dict(expected)


@given(calls=histories())
@shared_storage
def test_cached_numbers_are_the_fold_of_the_facts(storage: Storage, calls: list[Call]) -> None:
    crm = fresh(storage)
    customer = crm.find_or_create({"user_id": 1}).id
    for call in calls:
        crm.activities.track(customer, **call)
    assert crm.activities.verify(customer) == ()
    with storage.read(crm.tenant) as uow:
        entries = uow.find(PointsEntry, customer_id=customer)
    account = crm.loyalty.account(customer)
    assert sum(e.points for e in entries) == account.balance
    assert sum(e.qualifying for e in entries) == account.qualifying
    assert crm.activities.rebuild() == 0


@given(calls=histories(max_size=6), wrong=st.sampled_from(attrs.fields(Metrics)[2:]))  # type: ignore[arg-type]
@settings(shared_storage, max_examples=settings().max_examples // 2)
def test_rebuild_repairs_a_corrupted_row(
    storage: Storage, calls: list[Call], wrong: attrs.Attribute[Any]
) -> None:
    """Whichever number or date is wrong, it is found, counted once, and put right."""
    crm = fresh(storage)
    customer, bystander = (crm.find_or_create({"user_id": n}).id for n in (1, 2))
    for call in calls:
        crm.activities.track(customer, **call)
    right = crm.activities.metrics(customer)
    value = 77 if isinstance(wrong.default, int) else INSTANTS[0]
    corrupted = evolved(right, **{wrong.name: value})
    storage.write(crm.tenant, lambda uow: uow.put(corrupted))
    assert crm.activities.metrics(customer) == corrupted
    assert crm.activities.rebuild(bystander) == 0
    assert crm.activities.rebuild() == int(corrupted != right)
    assert crm.activities.metrics(customer) == right
    assert crm.activities.rebuild(customer) == 0


class Naive:
    """Adds when it hears of money, subtracts when it hears of a cancellation: as hosts do it."""

    def __init__(self) -> None:
        self.spend = 0
        self.orders = 0
        self.paid: Counts[tuple[str, str]] = Counts()

    def track(self, kind: str, payload: dict[str, Any], **_: object) -> None:
        amount = _cents(payload.get("amount")) or 0
        about = reference({"kind": kind, "payload": payload}) or ("", "")
        if SETTINGS.kinds_by_name[kind].spends:
            self.spend += amount
            self.orders += 1
            self.paid[about] += amount
        elif kind in ("cancellation", "no_show"):
            self.spend -= self.paid.pop(about, 0)
            self.orders -= 1
        elif kind == "refund":
            self.spend -= amount or self.paid.pop(about, 0)


def naive(calls: Sequence[Call]) -> tuple[int, int]:
    counter = Naive()
    for call in calls:
        counter.track(**call)
    return counter.spend, counter.orders


def test_the_naive_way_fails_the_same_properties() -> None:
    """Counting up and down as facts arrive depends on their order, and on their repetition."""
    shuffled = histories().flatmap(lambda h: st.tuples(st.just(h), st.permutations(h)))
    one, other = find(
        shuffled, lambda orders: naive(orders[0]) != naive(orders[1]), settings=unshrunk
    )
    assert model(one) == model(other)
    repeated = find(
        histories(), lambda calls: naive(calls) != naive([*calls, *calls]), settings=unshrunk
    )
    assert repeated
