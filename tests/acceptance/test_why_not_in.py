"""Why is Ana not in "loyal"? What staff hear, now and of another day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crmkit import CRMService, Money, NotFound
from crmkit.testing import FrozenClock

RULES = {
    "operator": "and",
    "conditions": [
        {"field": "total_spend", "operator": ">=", "value": 300},
        {"did": "purchase", "within": "90d", "count": 2},
        {"field": "tags", "operator": "contains", "value": "vip"},
    ],
}


def test_why_ana_is_not_in(crm: CRMService, clock: FrozenClock) -> None:
    """One purchase is missing; once it comes, it is told until when it is enough."""
    ana = crm.find_or_create({"name": "Ana", "email": "ana@mail.com", "tags": ["vip"]}).id
    crm.segments.create("loyal", RULES)
    first = crm.track_activity(ana, "purchase", {"amount": 350})

    why = crm.segments.explain(ana, "loyal")
    (missing,) = why.why_not
    assert missing.words == "had at least 2 purchases in the last 90 days"
    assert (missing.expected, missing.actual) == (2, 1)
    assert [a.activity_id for a in missing.activities] == [first.id]
    assert not crm.segments.is_member(ana, "loyal")

    before = clock()
    clock.advance(days=10)
    second = crm.track_activity(ana, "purchase", {"amount": 20})
    why = crm.segments.explain(ana, "loyal")
    assert why.holds
    assert why.until == before + timedelta(days=90)
    assert [a.activity_id for v in why.why for a in v.activities] == [first.id, second.id]
    assert not crm.segments.explain(ana, "loyal", at=before).holds

    clock.advance(days=80)
    assert not crm.segments.explain(ana, "loyal").holds


def test_a_refund_is_seen_from_its_instant_on(crm: CRMService, clock: FrozenClock) -> None:
    """Asked of the day before, the whole amount counts; of today, what is left."""
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    rules = {"did": "purchase", "sum": {"operator": ">=", "value": 100}}
    crm.segments.create("spender", rules)
    bought = crm.track_activity(ana, "purchase", {"amount": 150})
    clock.advance(days=1)
    yesterday = clock()
    clock.advance(days=1)
    crm.activities.refund(bought.id, amount=90)
    now, then = (crm.segments.explain(ana, "spender", at=at) for at in (clock(), yesterday))
    assert (now.holds, then.holds) == (False, True)
    assert now.why_not[0].actual == Money(6_000, "EUR")
    assert then.why[0].actual == Money(15_000, "EUR")
    assert [a.activity_id for a in then.why[0].activities] == [bought.id]


def test_a_rank_is_told_with_its_cut_off(crm: CRMService) -> None:
    """The value that the top begins at, and the place among all who have one."""
    for n, spent in enumerate((500, 300, 300, 100)):
        one = crm.find_or_create({"email": f"c{n}@mail.com"})
        crm.track_activity(one.id, "purchase", {"amount": spent})
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.find_or_create({"email": "nobody@mail.com"})
    crm.track_activity(ana, "purchase", {"amount": 200})
    crm.segments.create("top", {"field": "total_spend", "operator": "top_count", "value": 2})
    (rank,) = crm.segments.explain(ana, "top").why_not
    assert (rank.expected, rank.actual) == (Money(30_000, "EUR"), Money(20_000, "EUR"))
    assert (rank.place, rank.population) == (4, 5)
    best = crm.find_or_create({"email": "c0@mail.com"}).id
    (rank,) = crm.segments.explain(best, "top").why
    assert (rank.place, rank.population) == (1, 5)


def test_the_rank_of_another_day_is_told(crm: CRMService, clock: FrozenClock) -> None:
    """Cut-off, place and population are those of that instant."""
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.track_activity(ana, "purchase", {"amount": 200})
    crm.segments.create("top", {"field": "total_spend", "operator": "top_count", "value": 1})
    clock.advance(days=1)
    then = clock()
    clock.advance(days=1)
    dan = crm.find_or_create({"email": "dan@mail.com"}).id
    crm.track_activity(dan, "purchase", {"amount": 900})
    (now,) = crm.segments.explain(ana, "top").why_not
    (before,) = crm.segments.explain(ana, "top", at=then).why
    assert (now.expected, now.place, now.population) == (Money(90_000, "EUR"), 2, 2)
    assert (before.expected, before.place, before.population) == (Money(20_000, "EUR"), 1, 1)


def test_by_hand_is_told_as_such(crm: CRMService) -> None:
    """In by hand, out by hand, and in another segment by hand."""
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.segments.create("loyal", RULES)
    crm.segments.add(ana, "friends")
    crm.segments.create("both", {"operator": "or", "conditions": [
        {"in_segment": "friends"}, {"in_segment": "loyal"}]})  # fmt: skip
    assert [v.words for v in crm.segments.explain(ana, "both").why] == ["was put in by hand"]
    crm.segments.keep_out(ana, "friends")
    assert not crm.segments.explain(ana, "both").holds
    crm.segments.add(ana, "loyal")
    assert [v.words for v in crm.segments.explain(ana, "loyal").why] == ["was put in by hand"]
    crm.segments.keep_out(ana, "loyal")
    told = crm.segments.explain(ana, "loyal").text()
    assert "✓ was kept out by hand" in told


def test_before_anything_was_known(crm: CRMService, clock: FrozenClock) -> None:
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.segments.create("no spender", {"field": "total_spend", "operator": "=", "value": 0})
    why = crm.segments.explain(ana, "no spender", at="2020-01-01T00:00:00Z")
    assert (why.holds, why.until) == (False, clock())
    assert crm.segments.explain(ana, "no spender").holds


def test_who_or_what_is_not_there_is_said(crm: CRMService) -> None:
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.segments.create("loyal", RULES)
    with pytest.raises(NotFound):
        crm.segments.explain("nobody", "loyal")
    with pytest.raises(NotFound, match="loyal"):
        crm.segments.explain(ana, "loyl")


def test_a_merged_id_leads_to_the_kept_one(crm: CRMService) -> None:
    """What both did counts together."""
    ana, anna = (crm.find_or_create({"email": f"{n}@mail.com"}).id for n in ("ana", "anna"))
    told = [crm.track_activity(c, "purchase", {"amount": 200}).id for c in (ana, anna)]
    crm.segments.create("loyal", {"did": "purchase", "within": "90d", "count": 2})
    crm.identity.merge(ana, anna, reason="the same")
    why = crm.segments.explain(anna, "loyal")
    assert (why.holds, why.customer_id) == (True, ana)
    assert sorted(a.activity_id for a in why.why[0].activities) == sorted(told)
