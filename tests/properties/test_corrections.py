"""Corrections are facts: any history of calls gives what its facts say, on every storage."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from crmkit import CRMError, CRMService, IdempotencyConflict, MemoryStorage, SqlStorage
from crmkit.activities.holding import Held
from crmkit.activities.joining import told_before
from crmkit.activities.metrics import fold
from crmkit.activities.recording import record
from crmkit.activities.stories import read, stories
from crmkit.loyalty.earning import worth
from crmkit.model import Activity, Counter, IdempotencyKey, Metrics, PointsEntry
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.ports.keys import StoredKey
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing import CountingIds, FrozenClock
from crmkit.testing.strategies import INSTANTS, SETTINGS, activities, corrections, instants
from tests.fixtures import sqlite_url
from tests.populate import values
from tests.properties.test_metrics import Call, _cents, _said_last, model, reference

KINDS = SETTINGS.kinds_by_name
_tenants = (f"corrected {n}" for n in itertools.count())

# Storages that were made once serve all examples, each in a tenant of its own.
shared_storages = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Any counter-example will do; making it small takes long.
unshrunk = settings(phases=[Phase.generate], max_examples=10_000, database=None)

Step = tuple[str, Any]
"""What is called: track, many, or a correction of the activity with a number."""

_paid = st.tuples(st.just("track"), activities().filter(lambda call: call["payload"].get("amount")))
_corrections = st.tuples(st.just("correct"), st.tuples(st.integers(0, 3), corrections()))
_steps = st.one_of(
    st.tuples(st.just("track"), activities()),
    st.tuples(st.just("many"), st.lists(activities(), max_size=4)),
    *[_corrections] * 4,
)
# First something that was paid, so that there is something to correct.
HISTORIES = st.builds(
    list.__add__, st.lists(_paid, min_size=1, max_size=2), st.lists(_steps, max_size=12)
)


@pytest.fixture(scope="module")
def storages(
    tmp_path_factory: pytest.TempPathFactory, crm_database: str
) -> Iterator[tuple[Storage, ...]]:
    folder: Path = tmp_path_factory.mktemp("corrected")
    opened = (MemoryStorage(), SqlStorage.open(sqlite_url(folder)), SqlStorage.open(crm_database))
    yield opened
    for storage in opened:
        storage.close()


def services(storages: Sequence[Storage]) -> list[CRMService]:
    """A CRM on each storage that makes the same ids and hashes, with nobody in it."""
    tenant = next(_tenants)
    return [
        CRMService(
            storage,
            settings=SETTINGS,
            clock=FrozenClock(),
            ids=CountingIds(),
            keys=StoredKey(lambda: b"the same on every storage"),
            tenant=tenant,
        )
        for storage in storages
    ]


def facts_of(crm: CRMService) -> list[Activity]:
    """All facts, in the order in which they were recorded."""
    with crm._runtime.read() as uow:
        return uow.find(Activity, order=("id",))


def told(crm: CRMService, customer: str) -> dict[str, Any]:
    """The numbers of a customer: metrics, points and counters."""
    with crm._runtime.read() as uow:
        counters = uow.find(Counter, customer_id=customer)
    found = values(crm.activities.metrics(customer)) | values(crm.loyalty.account(customer))
    found["counters"] = {
        (c.dimension, c.value): (c.label, c.count, c.spend_minor, c.first_at, c.last_at)
        for c in counters
    }
    return {k: v for k, v in found.items() if k not in ("tenant", "customer_id")}


Ask = Callable[[CRMService], Any]


def asked(step: Step, customer: str, facts: Sequence[Activity], key: str) -> Ask | None:
    """The call that a step makes, None if there is nothing to correct yet."""
    name, what = step
    if name == "track":
        return lambda crm: crm.activities.track(customer, **what, key=key)
    if name == "many":
        items = [c | {"customer_id": customer, "key": f"{key}/{n}"} for n, c in enumerate(what)]
        return lambda crm: crm.activities.track_many(items)
    number, (correction, arguments) = what
    if not facts:
        return None
    target = facts[number % len(facts)].id
    return lambda crm: getattr(crm.activities, correction)(target, **arguments, key=key)


def answer(ask: Ask, crm: CRMService) -> Any:
    """What a call gives; of an error its type and words."""
    try:
        return ask(crm)
    except CRMError as error:
        return type(error), str(error)


# --- the naive model ---


def _about(fact: Activity) -> dict[str, str]:
    """The id that names the fact's story, or a name for what is a story of its own."""
    named = reference({"kind": fact.kind, "payload": fact.payload})
    return dict([named]) if named else {"reference": fact.id}


def plain(facts: Sequence[Activity]) -> dict[str, Call]:
    """What is left once the corrections are carried out: calls of `track`, by activity."""
    voided = {f.corrects for f in facts if f.kind == "void"}
    calls: dict[str, Call] = {}
    by_id = {f.id: f for f in facts}
    given_back = {f.corrects for f in facts if f.kind == "refund"}
    for fact in facts:
        if fact.id in voided or fact.kind in ("void", "amendment"):
            continue
        payload = dict(fact.payload)
        if fact.corrects:
            payload |= _about(by_id[fact.corrects])
            if fact.amount_minor is not None:
                payload["amount"] = str(Decimal(fact.amount_minor) / 100)
        elif fact.id in given_back:
            payload |= _about(fact)
        calls[fact.id] = {"kind": fact.kind, "payload": payload, "at": fact.occurred_at}
    amendments = [f for f in facts if f.kind == "amendment" and f.id not in voided]
    for change in sorted(amendments, key=_order_of_amendment):
        if change.corrects in calls:
            payload = calls[change.corrects]["payload"]
            payload |= change.payload["changes"]
            calls[change.corrects]["payload"] = {k: v for k, v in payload.items() if v is not None}
    return calls


def _order_of_amendment(fact: Activity) -> tuple[Any, ...]:
    amount = -1 if fact.amount_minor is None else fact.amount_minor
    return fact.occurred_at, amount, canonical(fact.payload)


def may_go_back(facts: Sequence[Activity], target: Activity) -> tuple[int | None, int]:
    """What an activity cost as it was said last, and how much of it may still go back."""
    calls = plain(facts)
    own = calls[target.id]
    about = reference(own)
    story = {i: c for i, c in calls.items() if c is own or (about and reference(c) == about)}
    said = _said_last(list(story.values()))
    restated = KINDS[own["kind"]].once
    cost = _cents(
        next(c for c in said if c["kind"] == own["kind"])["payload"].get("amount")
        if restated
        else own["payload"].get("amount")
    )
    paid = sum(_cents(c["payload"].get("amount")) or 0 for c in said if KINDS[c["kind"]].spends)
    refunds = [c for c in story.values() if c["kind"] == "refund"]
    amounts = [_cents(c["payload"].get("amount")) for c in refunds]
    left = max(0, paid - sum(paid if a is None else a for a in amounts))
    same = {i for i, c in story.items() if restated and c["kind"] == own["kind"]} or {target.id}
    back = sum(f.amount_minor or 0 for f in facts if f.corrects in same and f.id in story
               and f.kind == "refund")  # fmt: skip
    return cost, min((cost or 0) - back, left)


def refund_of(facts: Sequence[Activity], step: Step) -> int | None:
    """What a refund gives back in cents; None if it must be refused."""
    number, (_, asked) = step[1]
    target = facts[number % len(facts)]
    if target.id not in plain(facts) or KINDS[target.kind].role != "happens":
        return None
    cost, left = may_go_back(facts, target)
    if cost is None:
        return 0 if not asked.keys() & {"amount", "fraction"} else None
    if "amount" in asked:
        back = _cents(asked["amount"]) or 0
    elif "fraction" in asked:
        exact = cost * Decimal(str(asked["fraction"]))
        back = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    else:
        back = left
    return back if 0 < back <= left else None


# --- the properties ---


@given(history=HISTORIES, rng=st.randoms(use_true_random=False))
@settings(shared_storages, max_examples=3 * settings().max_examples)
def test_any_history_gives_what_its_facts_say(
    storages: Sequence[Storage], history: list[Step], rng: random.Random
) -> None:
    """All storages answer alike, keep what they would fold anew, and agree with a naive model."""
    crms = services(storages)
    customer, *_ = [crm.find_or_create({"user_id": 1}).id for crm in crms]
    done: list[tuple[Ask, Any]] = []
    for n, step in enumerate(history):
        facts = facts_of(crms[0])
        ask = asked(step, customer, facts, f"key {n}")
        if ask is None:
            continue
        first, *others = [answer(ask, crm) for crm in crms]
        assert others == [first, first]
        if step[0] == "correct" and step[1][1][0] == "refund":
            given_back = first.amount_minor or 0 if isinstance(first, Activity) else None
            assert given_back == refund_of(facts, step)
        if not isinstance(first, tuple):
            done.append((ask, first))
    facts = facts_of(crms[0])
    numbers = told(crms[0], customer)
    expected = model(list(plain(facts).values()))
    assert {k: numbers[k] for k in expected} == dict(expected)
    for crm in crms:
        assert crm.activities.verify() == ()
        assert told(crm, customer) == numbers
        with crm._runtime.read() as uow:
            entries = uow.find(PointsEntry, customer_id=customer)
            keys = uow.find(IdempotencyKey)
        assert sum(e.points for e in entries) == numbers["balance"]
        assert {k.result_id for k in keys} == {f.id for f in facts}
    rng.shuffle(done)
    for ask, first in done:
        for crm in crms:
            again = ask(crm)
            if isinstance(first, Activity):
                assert again == first
            else:
                assert (again.recorded, again.repeated) == (0, first.recorded)
    assert [told(crm, customer) for crm in crms] == [numbers] * len(crms)


def recorded(history: Sequence[Step]) -> list[Activity]:
    """The facts that a history leaves."""
    [crm] = services([MemoryStorage()])
    customer = crm.find_or_create({"user_id": 1}).id
    for n, step in enumerate(history):
        ask = asked(step, customer, facts_of(crm), f"key {n}")
        if ask:
            answer(ask, crm)
    return facts_of(crm)


def _after_what_they_correct(facts: Sequence[Activity]) -> list[Activity]:
    """The facts in this order, but each correction behind what it corrects."""
    waiting, ordered, known = list(facts), list[Activity](), set[str | None]({None})
    while waiting:
        ready = next(f for f in waiting if f.corrects in known)
        waiting.remove(ready)
        ordered.append(ready)
        known.add(ready.id)
    return ordered


def _record(uow: UnitOfWork, rt: Runtime, facts: Sequence[Activity], held: Held) -> None:
    record(uow, rt, facts, told_before(uow, facts), held)


@given(history=HISTORIES, rng=st.randoms(use_true_random=False))
@settings(shared_storages, max_examples=3 * settings().max_examples)
def test_facts_recorded_in_any_order_give_the_same(
    storages: Sequence[Storage], history: list[Step], rng: random.Random
) -> None:
    """One by one or many at once, metrics, counters and points come out the same."""
    facts = recorded(history)
    numbers: list[dict[str, Any]] = []
    crms = services(storages)
    for crm in crms:
        customer = crm.find_or_create({"user_id": 1}).id
        held = Held(frozenset([customer]), frozenset([customer]))
        rng.shuffle(facts)
        rest = [
            evolved(f, tenant=crm.tenant, customer_id=customer)
            for f in _after_what_they_correct(facts)
        ]
        while rest:
            size = rng.randint(1, 4)
            batch, rest = rest[:size], rest[size:]
            crm._runtime.write(partial(_record, rt=crm._runtime, facts=batch, held=held))
        assert crm.activities.verify() == ()
        numbers.append(told(crm, customer))
    assert numbers == numbers[:1] * len(crms)


@given(history=HISTORIES, rng=st.randoms(use_true_random=False))
def test_facts_in_any_order_fold_to_the_same(history: list[Step], rng: random.Random) -> None:
    """A correction may even come before what it corrects."""
    facts = recorded(history)
    shuffled = rng.sample(facts, len(facts))
    nothing = Metrics(tenant="t", customer_id="c")
    assert fold(nothing, facts, SETTINGS, str) == fold(nothing, shuffled, SETTINGS, str)

    def points(facts: Sequence[Activity]) -> int:
        return sum(
            worth(read(s, KINDS), SETTINGS.programme.earn_rules).kept for s in stories(facts)
        )

    assert points(facts) == points(shuffled)


# --- naive twins, which the same properties must catch ---


def naive(facts: Sequence[Activity]) -> int:
    """Adds what is paid and subtracts what is corrected as it comes: what hosts write first."""
    spend, amounts = 0, dict[str, int]()
    for fact in facts:
        amount, target = fact.amount_minor or 0, fact.corrects or ""
        if KINDS[fact.kind].spends:
            amounts[fact.id] = amount
            spend += amount
        elif fact.kind == "refund":
            amounts[fact.id] = -amount
            spend -= amount
        elif fact.kind == "void":
            spend -= amounts.get(target, 0)
        elif fact.kind == "amendment" and target in amounts and "amount" in fact.payload["changes"]:
            spend += amount - amounts[target]
            amounts[target] = amount
    return spend


_purchases = st.builds(
    lambda amount, at: ("track", {"kind": "purchase", "payload": {"amount": amount}, "at": at}),
    st.integers(1, 9),
    instants(),
)


def test_counting_up_and_down_fails_the_same_property() -> None:
    """Purchases alone are enough: a void of an amendment brings back a price that it forgot."""

    def fails(history: list[Step]) -> bool:
        facts = recorded(history)
        return naive(facts) != model(list(plain(facts).values()))["spend_minor"]

    assert find(st.lists(_purchases | _corrections, max_size=8), fails, settings=unshrunk)


def test_another_content_under_a_key_is_refused(storages: Sequence[Storage]) -> None:
    """For each correction, by what is asked and by when; the same content gives the same fact."""
    changes: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("refund", {"amount": 10}, {"amount": 11}),
        ("refund", {"amount": 10}, {"fraction": "0.1"}),
        ("refund", {"fraction": "0.5"}, {}),
        ("amend", {"changes": {"amount": 90}}, {"changes": {"amount": 80}}),
        ("void", {}, {"reason": "typing error"}),
        ("void", {}, {"at": INSTANTS[0]}),
    ]
    for crm in services(storages):
        customer = crm.find_or_create({"user_id": 1}).id
        for n, (name, asked, other) in enumerate(changes):
            fact = crm.activities.track(customer, "purchase", {"amount": 100})
            call = partial(getattr(crm.activities, name), key=f"key {n}")
            assert call(fact.id, **asked) == call(fact.id, **asked)
            with pytest.raises(IdempotencyConflict):
                call(fact.id, **other)
            with pytest.raises(IdempotencyConflict):
                call(crm.activities.track(customer, "purchase", {"amount": 100}).id, **asked)
