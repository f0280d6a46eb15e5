"""What is kept of each story, version by version, is what its facts say at every instant."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crmkit import CRMService
from crmkit.activities.holding import Held
from crmkit.activities.occasions import occasions
from crmkit.activities.stories import stories
from crmkit.model import Activity, Occasion
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import Storage
from crmkit.testing.strategies import SETTINGS, activities, corrections, instants
from tests.properties.test_corrections import (
    KINDS,
    Step,
    _after_what_they_correct,
    _record,
    answer,
    asked,
    facts_of,
    plain,
    recorded,
    services,
    shared_storages,
    storages,
)
from tests.properties.test_metrics import Call, _cents, _order, _said_last, reference

__all__ = ["storages"]  # a fixture

_TICK = timedelta(microseconds=1)
_LISTS = (
    [{"id": "a", "price": 1}],
    [{"id": "b", "price": 2, "quantity": 2}, {"id": "a", "price": "1.5"}, {"id": "b", "price": 1}],
    [{"name": "c"}, {"name": "a"}],
)


def _listed(call: Call, items: Any) -> Call:
    spends = KINDS[call["kind"]].spends
    return call | {"payload": call["payload"] | {"items": items}} if items and spends else call


def _of_one_story(kind: str, payload: dict[str, Any], at: datetime) -> Call:
    told = {k: v for k, v in payload.items() if k != "status" or kind == "booking"}
    return {"kind": kind, "payload": {"reference": "r1", "amount": 7} | told, "at": at}


_one_story = st.builds(
    _of_one_story,
    st.sampled_from(("booking", "booking", "purchase", "consumption", "cancellation", "refund")),
    st.fixed_dictionaries(
        {},
        optional={
            "amount": st.sampled_from((1, 3, "0.05")),
            "status": st.sampled_from(("confirmed", "completed", "cancelled")),
            "item": st.sampled_from(("Quiz", "Heist")),
        },
    ),
    instants(),
)
_calls = st.builds(_listed, _one_story | activities(), st.sampled_from((None, None, *_LISTS)))
_corrections = st.tuples(st.just("correct"), st.tuples(st.integers(0, 5), corrections()))
HISTORIES = st.lists(
    st.one_of(
        *[st.tuples(st.just("track"), _calls)] * 2,
        st.tuples(st.just("many"), st.lists(_calls, max_size=4)),
        *[_corrections] * 3,
    ),
    max_size=12,
)


# --- the naive model ---


def _happened(said: Call, story: Sequence[Call]) -> datetime:
    once = KINDS[said["kind"]].once
    times: list[datetime] = [c["at"] for c in story if c["kind"] == said["kind"]]
    return min(times) if once else said["at"]


def _status(call: Call) -> str | None:
    told: str | None = call["payload"].get("status")
    return told and told.lower().replace("canceled", "cancelled")


def _split(whole: int, weights: Sequence[int]) -> Iterator[int]:
    """Each gets what brings all so far to their part of the whole, rounded down."""
    given_out = sofar = 0
    for weight in weights:
        sofar += weight
        upto = whole * sofar // sum(weights) if sum(weights) else 0
        yield upto - given_out
        given_out = upto


def _parts(payload: dict[str, Any], whole: int) -> dict[str, int]:
    items = payload.get("items", [])
    prices = [int(float(i.get("price", 0)) * 1000) * i.get("quantity", 1) for i in items]
    parts: Counter[str] = Counter()
    for item, part in zip(items, _split(whole, prices), strict=True):
        parts[item.get("id") or item["name"]] += part
    if "item" in payload:
        parts[payload["item"]] = whole
    return dict(parts)


def _said_at(story: Sequence[Call]) -> Iterator[tuple[Any, ...]]:
    """What counts of a story of which no more is known: one tuple for each row."""
    said = [c | {"at": _happened(c, story)} for c in _said_last(story)]
    off = any(c["kind"] in ("cancellation", "no_show") for c in story) or any(
        _status(c) in ("cancelled", "no_show") for c in said
    )
    spending = [c for c in said if KINDS[c["kind"]].spends]
    spending.sort(key=lambda c: (_order(c), c["kind"]))
    prices = [_cents(c["payload"].get("amount")) or 0 for c in spending]
    refunds = [_cents(c["payload"].get("amount")) for c in story if c["kind"] == "refund"]
    left = max(0, sum(prices) - sum(sum(prices) if r is None else r for r in refunds))
    parts_kept = zip(spending, _split(left, prices), strict=True)
    kept = {id(c): part for c, part in parts_kept if _cents(c["payload"].get("amount")) is not None}
    for call in said:
        if off and KINDS[call["kind"]].role == "happens":
            continue
        payload = call["payload"]
        amount = kept.get(id(call), _cents(payload.get("amount")))
        parts = _parts(payload, amount or 0)
        single = next(iter(parts)) if len(parts) == 1 else None
        more = payload.get("venue"), _status(call), payload.get("party_size")
        yield call["kind"], call["at"], 0, single, amount, *more
        for n, item in enumerate(sorted(parts) if len(parts) > 1 else (), 1):
            part = None if amount is None else parts[item]
            yield call["kind"], call["at"], n, item, part, *more


def model(facts: Sequence[Activity], at: datetime) -> Counter[tuple[Any, ...]]:
    """What counts as of an instant: each story's facts until then, as they were corrected."""
    told: dict[Any, list[Call]] = defaultdict(list)
    for identifier, call in plain(facts).items():
        if call["at"] <= at:
            told[reference(call) or identifier].append(call)
    return Counter(row for story in told.values() for row in _said_at(story))


def holding(rows: Sequence[Occasion], at: datetime) -> Counter[tuple[Any, ...]]:
    """The versions that hold at an instant, as the model tells them."""
    return Counter(
        (o.kind, o.happened_at, o.part, o.item, o.amount_minor, o.venue, o.status, o.party_size)
        for o in rows
        if o.since <= at and (o.until is None or at < o.until)
    )


# --- the properties ---


def kept(crm: CRMService) -> list[Occasion]:
    """All occasions of a tenant, by their keys."""
    with crm._runtime.read() as uow:
        return uow.find(Occasion)


def folded(facts: Sequence[Activity]) -> list[Occasion]:
    """The occasions of all these facts, by their keys."""
    found = [row for story in stories(facts) for row in occasions(story, SETTINGS)]
    return sorted(found, key=lambda o: (o.story, o.fact, o.part, o.since))


def assert_plain(rows: Sequence[Occasion]) -> None:
    """Versions do not overlap, each says something new, and what is said once is one fact."""
    once: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in rows:
        assert one.until is None or one.since < one.until
        if KINDS[one.kind].once:
            once[one.story, one.kind].add(one.fact)
    assert all(len(names) == 1 for names in once.values())
    for one, after in pairwise(rows):
        if (one.story, one.fact, one.part) == (after.story, after.fact, after.part):
            assert one.until is not None
            assert one.until <= after.since
            gone = one.until < after.since
            assert gone or evolved(after, since=one.since, until=one.until) != one


@given(history=HISTORIES)
@shared_storages
def test_any_history_keeps_what_its_facts_say(
    storages: Sequence[Storage], history: list[Step]
) -> None:
    """Every storage keeps the fold, and what holds at any instant is what the model says."""
    crms = services(storages)
    customer, *_ = [crm.find_or_create({"user_id": 1}).id for crm in crms]
    for n, step in enumerate(history):
        ask = asked(step, customer, facts_of(crms[0]), f"key {n}")
        for crm in crms if ask else ():
            answer(ask, crm)  # type: ignore[arg-type]
    facts = facts_of(crms[0])
    rows = kept(crms[0])
    assert rows == folded(facts)
    assert [kept(crm) for crm in crms] == [rows] * len(crms)
    assert all(crm.activities.verify() == () for crm in crms)
    for moment in {f.occurred_at for f in facts}:
        for at in (moment - _TICK, moment, moment + _TICK):
            assert holding(rows, at) == model(facts, at)
    assert_plain(rows)


@given(history=HISTORIES, rng=st.randoms(use_true_random=False))
@shared_storages
def test_facts_recorded_in_any_order_keep_the_same(
    storages: Sequence[Storage], history: list[Step], rng: random.Random
) -> None:
    """One by one or many at once, the same versions are kept in the end."""
    facts = recorded(history)
    for crm in services(storages):
        customer = crm.find_or_create({"user_id": 1}).id
        held = Held(frozenset([customer]), frozenset([customer]))
        mine = [evolved(f, tenant=crm.tenant, customer_id=customer) for f in facts]
        rest = _after_what_they_correct(rng.sample(mine, len(mine)))
        while rest:
            size = rng.randint(1, 4)
            batch, rest = rest[:size], rest[size:]
            crm._runtime.write(partial(_record, rt=crm._runtime, facts=batch, held=held))
        assert kept(crm) == folded(mine)
        assert crm.activities.verify() == ()


@given(history=HISTORIES, rng=st.randoms(use_true_random=False))
def test_facts_in_any_order_fold_to_the_same(history: list[Step], rng: random.Random) -> None:
    facts = recorded(history)
    assert folded(rng.sample(facts, len(facts))) == folded(facts)


@given(history=HISTORIES, rng=st.randoms(use_true_random=False))
@shared_storages
def test_rebuild_repairs_any_wrong_row(
    storages: Sequence[Storage], history: list[Step], rng: random.Random
) -> None:
    """One that is missing, one too many, one that says something else."""
    crm = services(storages)[1]
    customer = crm.find_or_create({"user_id": 1}).id
    for n, step in enumerate(history):
        ask = asked(step, customer, facts_of(crm), f"key {n}")
        if ask:
            answer(ask, crm)
    right = kept(crm)
    if not right:
        return
    one = rng.choice(right)
    wrong = rng.choice([evolved(one, amount_minor=77), evolved(one, fact="f"), None])

    def spoil(uow: Any) -> None:
        uow.remove(Occasion, fact=one.fact, part=one.part, since=one.since)
        if wrong:
            uow.put(wrong)

    crm._runtime.write(spoil)
    spoilt = kept(crm) != right
    found = crm.activities.verify()
    assert {d.name for d in found} == ({"occasion"} if spoilt else set())
    assert crm.activities.rebuild() == int(spoilt)
    assert kept(crm) == right
