"""Each verdict tells what is asked, what was found, and until when; the least that decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from crmkit.config import Settings
from crmkit.errors import RuleError
from crmkit.model import Customer, Metrics, Money, Occasion, PointsAccount, Segment
from crmkit.model.rule import Top
from crmkit.model.time import Calendar, Duration
from crmkit.segmentation.asking import Rank
from crmkit.segmentation.explain import explain
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.verdicts import Explanation, Verdict
from tests.tiers import held

SETTINGS = Settings(timezone="Europe/Bucharest", currency="RON")
AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
BORN = date(1991, 2, 3)
SEVEN = PointsAccount(tenant="t", customer_id="c", balance=7)

Rule = dict[str, Any]


def rule_of(field: str, operator: str, value: Any) -> Rule:
    return {"field": field, "operator": operator, "value": value}


def group(operator: str, *conditions: Rule) -> Rule:
    return {"operator": operator, "conditions": list(conditions)}


def segment(name: str, rules: Rule | None, *, auto_update: bool = True) -> Segment:
    return Segment(
        tenant="t", id=f"id of {name}", name=name, rules=rules, auto_update=auto_update,
        by_hand=True, created_at=BEGAN,
    )  # fmt: skip


def occasion(fact: str, at: datetime, kind: str = "purchase", **fields: Any) -> Occasion:
    kept: dict[str, Any] = {
        "tenant": "t",
        "story": fact,
        "since": at,
        "until": None,
        "customer_id": "c",
    }
    empty = dict.fromkeys(
        ("item", "venue", "category", "channel", "status", "amount_minor", "party_size")
    )
    return Occasion(**kept | empty | fields | {"fact": fact, "kind": kind, "happened_at": at})


def subject(*done: Occasion, **fields: Any) -> Subject:
    own = ("account", "tiers", "tags", "consents", "memberships", "kept_out")
    metrics = {k: v for k, v in fields.items() if k not in own and hasattr(Metrics, k)}
    kinds = {o.kind for o in done}
    return Subject(
        customer=Customer(
            tenant="t", id="c", created_at=BEGAN, updated_at=BEGAN,
            **{k: v for k, v in fields.items() if k not in own and k not in metrics},
        ),
        metrics=Metrics(tenant="t", customer_id="c", **metrics),
        occasions={k: [o for o in done if o.kind == k] for k in kinds},
        **{k: v for k, v in fields.items() if k in own},
    )  # fmt: skip


def explained(
    rules: Rule | None,
    who: Subject,
    at: datetime = AT,
    ranks: Mapping[Top, Rank] | None = None,
    others: Sequence[Segment] = (),
) -> Explanation:
    named = {s.name: s for s in (segment("it", rules), *others)}
    return explain("it", who, at, SETTINGS, named, ranks or {})


def leaf(rules: Rule, who: Subject, at: datetime = AT, **more: Any) -> Verdict:
    found = explained(rules, who, at, **more)
    (only,) = found.root.leaves()
    assert only.holds is found.holds
    return only


# --- what was found ---


def test_money_is_told_as_money() -> None:
    told = leaf(rule_of("total_spend", ">=", 150), subject(spend_minor=12_050))
    assert (told.holds, told.expected, told.actual) == (
        False,
        Money(15_000, "RON"),
        Money(12_050, "RON"),
    )
    assert told.line == "total spend is at least 150.00 RON: 120.50 RON"
    assert told.until is None


def test_both_ends_of_a_range_are_money() -> None:
    told = leaf(rule_of("total_spend", "between", [1, 2]), subject(spend_minor=150))
    assert told.expected == (Money(100, "RON"), Money(200, "RON"))


def test_an_average_names_what_it_is_made_of() -> None:
    """It compares without rounding, so the amount alone might seem to contradict the verdict."""
    told = leaf(rule_of("average_order_value", ">", 33.33), subject(spend_minor=10_000, orders=3))
    assert told.holds
    assert told.actual == Money(3_333, "RON")
    assert told.found == "33.33 RON (100.00 RON in 3 orders)"


def test_within_tells_the_age_of_the_moment_and_its_end() -> None:
    bought = AT - 36 * DAY - 18 * HOUR
    told = leaf(rule_of("last_purchase", "within", "90d"), subject(last_order_at=bought))
    assert told.holds
    assert (told.expected, told.actual, told.age) == (Duration(90, "d"), bought, AT - bought)
    assert told.until == bought + 90 * DAY
    assert told.found.endswith(", 36 days 18 hours ago")


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (timedelta(0), "an instant ago"),
        (timedelta(minutes=1, seconds=1), "1 minute 1 second ago"),
        (timedelta(hours=25), "1 day 1 hour ago"),
        (-2 * DAY, "in 2 days"),
    ],
)
def test_ages_are_told_in_words(since: timedelta, words: str) -> None:
    told = leaf(rule_of("last_purchase", "within", "1h"), subject(last_order_at=AT - since))
    assert told.found.endswith(f", {words}")


def test_a_tier_ends_with_its_period() -> None:
    told = leaf(
        rule_of("tier", ">=", "SILVER"),
        subject(tiers=held((AT, "SILVER"), (AT + DAY, "BRONZE"))),
    )
    assert (told.holds, told.actual, told.until) == (True, "SILVER", AT + DAY)


def test_a_month_ends_where_the_tenants_month_ends() -> None:
    told = leaf(rule_of("last_purchase", "during", "this month"), subject(last_order_at=AT))
    assert told.expected == Calendar("month")
    assert told.until == datetime(2026, 6, 30, 21, tzinfo=UTC)


def test_an_anniversary_names_the_next_one() -> None:
    born = date(1990, 6, 3)
    told = leaf(rule_of("birth_date", "anniversary_within", "7d"), subject(birth_date=born))
    assert (told.holds, told.actual) == (True, born)
    assert told.found == "1990-06-03, next on 2026-06-03"
    assert told.until == datetime(2026, 6, 3, 21, tzinfo=UTC)


def test_an_age_ends_at_the_next_birthday() -> None:
    told = leaf(rule_of("age", ">=", 18), subject(birth_date=date(1990, 6, 3)))
    assert (told.actual, told.found) == (35, "35")
    assert told.until == datetime(2026, 6, 2, 21, tzinfo=UTC)
    unborn = leaf(rule_of("age", ">=", 18), subject(birth_date=date(2026, 6, 3)))
    assert (unborn.holds, unborn.actual, unborn.found) == (False, None, "nothing")


@pytest.mark.parametrize(
    ("rules", "fields", "actual", "found"),
    [
        (rule_of("city", "=", "Cluj"), {"city": "Iași"}, "Iași", '"Iași"'),
        (rule_of("city", "=", "Cluj"), {}, None, "nothing"),
        (rule_of("tags", "contains", "x"), {"tags": frozenset("ba")}, ("a", "b"), '"a", "b"'),
        (rule_of("tags", "contains", "x"), {}, (), "nothing"),
        (rule_of("tier", "=", "GOLD"), {}, "BRONZE", "BRONZE"),
        (rule_of("tier", ">", "GOLD"), {"tiers": held((BEGAN, "GOLD"))}, "GOLD", "GOLD"),
        (rule_of("points", ">", 7), {"account": SEVEN}, 7, "7"),
        (rule_of("consent.marketing_email", "=", True), {}, False, "false"),
        (rule_of("custom.x", "=", 1), {"custom": {"x": [1, "a"]}}, [1, "a"], '1, "a"'),
        (rule_of("custom.x", "=", 1), {"custom": {"x": []}}, [], "nothing"),
        (rule_of("email", "exists", False), {"email": "a@b.ro"}, "a@b.ro", '"a@b.ro"'),
        (rule_of("total_spend", "=", 1), {"spend_minor": 0}, Money(0, "RON"), "0.00 RON"),
        (rule_of("birth_date", "<", "1990-01-01"), {"birth_date": BORN}, BORN, "1991-02-03"),
    ],
)  # fmt: skip
def test_each_kind_of_value_is_told(
    rules: Rule, fields: dict[str, Any], actual: Any, found: str
) -> None:
    told = leaf(rules, subject(**fields))
    assert (told.holds, told.actual, told.found) == (False, actual, found)


def test_a_long_text_is_cut_in_words_but_whole_in_the_value() -> None:
    long = "x" * 5_000
    told = leaf(rule_of("custom.x", "=", 1), subject(custom={"x": long}))
    assert told.actual == long
    assert len(told.found) == 200


def test_a_place_tells_how_far_it_is() -> None:
    near = rule_of("location", "near", {"latitude": 44.43, "longitude": 26.1, "km": 5})
    told = leaf(near, subject(latitude_micro=44_450_000, longitude_micro=26_100_000))
    assert (told.holds, told.expected, told.actual) == (True, 5.0, 2.224)
    assert told.line == "is within 5 km of 44.43, 26.1: 2.224 km"
    nowhere = leaf(near, subject())
    assert (nowhere.holds, nowhere.actual, nowhere.found) == (False, None, "no place")


def test_a_place_beyond_the_date_line_is_near() -> None:
    near = rule_of("location", "near", {"latitude": 60, "longitude": 179.99, "km": 2})
    told = leaf(near, subject(latitude_micro=60_000_000, longitude_micro=-179_990_000))
    assert (told.holds, told.actual) == (True, 1.112)


def test_a_rank_tells_cut_off_place_and_population() -> None:
    top = Top("total_spend", count=3)
    rules = rule_of("total_spend", "top_count", 3)
    told = leaf(rules, subject(spend_minor=500), ranks={top: Rank(900, 40, 12)})
    assert (told.holds, told.expected, told.actual) == (False, Money(900, "RON"), Money(500, "RON"))
    assert (told.place, told.population, told.until) == (12, 40, None)
    assert told.found == "5.00 RON, place 12 of 40; the top begins at 9.00 RON"


def test_who_has_nothing_has_no_place() -> None:
    top = Top("total_spend", percent=10_000, bottom=True)
    rules = rule_of("total_spend", "bottom_percent", 10)
    told = leaf(rules, subject(), ranks={top: Rank(None, 0, None)})
    assert (told.holds, told.expected, told.place, told.population) == (False, None, None, 0)


# --- doings ---


BOUGHT = (
    occasion("a", AT - 100 * DAY, amount_minor=100, item="Crypt"),
    occasion("b", AT - 50 * DAY, amount_minor=200, item="Crypt"),
    occasion("c", AT - 10 * DAY, amount_minor=400, item="Lab"),
    occasion("d", AT - 5 * DAY, amount_minor=800, item="Crypt"),
)


def test_a_count_names_the_activities_that_count() -> None:
    crypt = rule_of("item", "=", "Crypt")
    told = leaf({"did": "purchase", "where": crypt, "within": "90d", "count": 2}, subject(*BOUGHT))
    assert (told.holds, told.expected, told.actual) == (True, 2, 2)
    assert [(a.activity_id, a.at, a.amount) for a in told.activities] == [
        ("b", AT - 50 * DAY, Money(200, "RON")),
        ("d", AT - 5 * DAY, Money(800, "RON")),
    ]
    assert told.until == AT + 40 * DAY


def test_a_sum_is_money() -> None:
    told = leaf({"did": "purchase", "sum": {"operator": "<", "value": 10}}, subject(*BOUGHT))
    assert (told.holds, told.expected, told.actual) == (
        False,
        Money(1_000, "RON"),
        Money(1_500, "RON"),
    )


def test_the_last_one_is_a_moment_with_its_age() -> None:
    rules = {"did": "purchase", "last": {"operator": "within", "value": "7d"}}
    told = leaf(rules, subject(*BOUGHT))
    assert (told.holds, told.actual, told.age) == (True, AT - 5 * DAY, 5 * DAY)
    assert told.until == AT + 2 * DAY
    never = leaf(rules, subject())
    assert (never.actual, never.found, never.activities) == (None, "nothing", ())


def test_a_rate_is_the_most_in_one_month() -> None:
    told = leaf({"did": "purchase", "per": "month", "count": 3}, subject(*BOUGHT))
    assert (told.holds, told.expected, told.actual) == (False, 3, 2)


def test_the_versions_of_an_activity_that_count_then_are_named() -> None:
    """A refund of yesterday is not known of the day before."""
    whole = occasion("a", AT - 3 * DAY, amount_minor=900, until=AT - DAY)
    rest = occasion("a", AT - 3 * DAY, amount_minor=300, since=AT - DAY)
    rules = {"did": "purchase", "sum": {"operator": ">=", "value": 5}}
    who = subject(whole, rest)
    (then,) = leaf(rules, who, AT - 2 * DAY).activities
    (now,) = leaf(rules, who).activities
    assert (then.amount, now.amount) == (Money(900, "RON"), Money(300, "RON"))
    assert leaf(rules, who, AT - 2 * DAY).until == AT - DAY


def test_a_sequence_tells_its_pairs() -> None:
    rules = {"did": "interaction", "within": "7d", "then": {"did": "ticket", "within": "1h"}}
    started = [occasion(f"f{n}", AT - n * DAY, "interaction") for n in (2, 1)]
    bought = occasion("t", AT - DAY + HOUR, "ticket", amount_minor=500)
    told = leaf(rules, subject(*started, bought))
    assert (told.holds, told.expected, told.actual) == (True, Duration(1, "h"), 1)
    pairs = [(a.activity_id, a.followed_by and a.followed_by.activity_id) for a in told.activities]
    assert pairs == [("f2", None), ("f1", "t")]
    assert told.found == "1 of 2 followed"


def test_a_sequence_names_the_one_that_was_not_followed() -> None:
    rules = {"did": "interaction", "not_then": {"did": "ticket", "within": "1h"}}
    early, late = (occasion(f"f{n}", AT - n * HOUR, "interaction") for n in (5, 0))
    told = leaf(rules, subject(early, late))
    assert (told.holds, told.actual) == (True, 1)
    assert told.found == "1 of 2 not followed, 1 may still be"
    waiting = leaf(rules, subject(late))
    assert (waiting.holds, waiting.until) == (False, AT + HOUR + TICK)
    assert leaf(rules, subject()).found == "nothing"


# --- by hand, segments, and before ---


def test_nothing_by_hand_is_not_told() -> None:
    found = explained(rule_of("city", "=", "Cluj"), subject(city="Cluj"))
    assert [v.words for v in found.root.leaves()] == ['city is "Cluj"']


def test_who_was_put_in_by_hand_is_in_by_that() -> None:
    who = subject(memberships=frozenset({"id of it"}))
    found = explained(rule_of("city", "=", "Cluj"), who)
    assert found.holds
    assert [v.words for v in found.why] == ["was put in by hand"]


def test_who_was_kept_out_by_hand_is_out_by_that() -> None:
    who = subject(kept_out=frozenset({"id of it"}), city="Cluj")
    found = explained(rule_of("city", "=", "Cluj"), who)
    assert not found.holds
    assert [(v.words, v.holds) for v in found.why_not] == [("was kept out by hand", True)]


def test_a_fixed_segment_may_have_been_filled_by_its_rule() -> None:
    fixed = segment("fixed", rule_of("city", "=", "Cluj"), auto_update=False)
    who = subject(memberships=frozenset({"id of fixed"}))
    found = explained({"in_segment": "fixed"}, who, others=[fixed])
    assert [v.words for v in found.why] == ["was put in by hand, or when the segment was made"]


def test_another_segment_is_a_tree_of_its_name() -> None:
    other = segment("other", rule_of("city", "=", "Cluj"))
    found = explained(group("not", {"in_segment": "other"}), subject(city="Cluj"), others=[other])
    (negation,) = found.root.parts
    (inner,) = negation.parts
    assert (negation.kind, inner.kind, inner.holds) == ("not", "segment", True)
    assert inner.words == 'is in the segment "other"'
    assert [part.words for part in inner.parts] == ['city is "Cluj"']


def test_before_the_first_fact_nobody_is_in() -> None:
    found = explained(group("not", rule_of("city", "=", "Cluj")), subject(), BEGAN - TICK)
    assert (found.holds, found.until) == (False, BEGAN)
    assert [v.kind for v in found.why_not] == ["known"]
    assert explained(group("not", rule_of("city", "=", "Cluj")), subject(), BEGAN).holds


def test_a_rule_that_cannot_be_read_any_more_is_refused() -> None:
    with pytest.raises(RuleError):
        explained(rule_of("tier", "=", "DIAMOND"), subject())


# --- the least that decides ---


RICH, CLUJ, VIP = (
    rule_of("total_spend", ">=", 300),
    rule_of("city", "=", "Cluj"),
    rule_of("tags", "contains", "vip"),
)


def words(verdicts: Sequence[Verdict]) -> list[str]:
    return [v.words for v in verdicts]


def test_of_several_ways_in_the_shortest_is_told() -> None:
    found = explained(group("or", group("and", RICH, CLUJ), VIP), subject())
    assert words(found.why_not) == ['tags contains "vip"']
    assert found.why == ()


def test_all_that_is_missing_is_told() -> None:
    found = explained(group("and", RICH, CLUJ, VIP), subject(city="Cluj"))
    assert words(found.why_not) == ["total spend is at least 300.00 RON", 'tags contains "vip"']


def test_what_must_not_be_is_told() -> None:
    found = explained(group("not", group("or", CLUJ, VIP)), subject(city="Cluj"))
    assert [(v.words, v.holds) for v in found.why_not] == [('city is "Cluj"', True)]


def test_the_shortest_reason_is_told() -> None:
    both = subject(spend_minor=30_000, city="Cluj", tags=frozenset({"vip"}))
    found = explained(group("or", group("and", RICH, CLUJ), VIP), both)
    assert words(found.why) == ['tags contains "vip"']
    assert found.why_not == ()


# --- telling ---


def test_the_text_shows_the_tree() -> None:
    rules = group("and", RICH, group("not", rule_of("last_purchase", "within", "30d")),
                  {"did": "purchase", "within": "30d", "count": 3})  # fmt: skip
    who = subject(*BOUGHT, spend_minor=150_000, last_order_at=AT - 5 * DAY)
    assert explained(rules, who).text().split("\n") == [
        "not in 'it' at 2026-06-01 15:00",
        "✗ all of",
        "  ✓ total spend is at least 300.00 RON: 1,500.00 RON",
        "  ✗ not, until 2026-06-26 15:00",
        "    ✓ last purchase within 30 days: 2026-05-27 15:00, 5 days ago, until 2026-06-26 15:00",
        "  ✗ had at least 3 purchases in the last 30 days: 2",
        "      2026-05-22 15:00, 4.00 RON (c)",
        "      2026-05-27 15:00, 8.00 RON (d)",
    ]


def test_the_text_does_not_list_hundreds_of_activities() -> None:
    many = [occasion(f"{n:03}", AT - (200 - n) * HOUR) for n in range(200)]
    found = explained({"did": "purchase", "count": 1}, subject(*many))
    (told,) = found.root.leaves()
    assert len(told.activities) == 200
    assert found.text().split("\n")[-1].strip() == "and 195 more"


def test_the_document_is_json() -> None:
    rules = group(
        "or",
        rule_of("last_purchase", "within", "30d"),
        rule_of("birth_date", "anniversary_within", "7d"),
        rule_of("last_purchase", "during", "this month"),
        {"did": "purchase", "then": {"did": "purchase", "within": "60d"}},
        rule_of("custom.x", "contains", "a"),
    )
    who = subject(*BOUGHT, birth_date=date(1990, 1, 1), last_order_at=AT - 5 * DAY,
                  custom={"x": {"a": [1]}})  # fmt: skip
    found = explained(rules, who).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["holds"], found["at"], found["until"]) == (True, "2026-06-01T12:00:00Z", None)
    within, anniversary, month, then, custom = found["rule"][0]["parts"]
    assert (within["expected"], within["age_seconds"]) == ("30d", 5 * 86_400)
    assert (anniversary["actual"], month["expected"]) == ("1990-01-01", "this month")
    assert then["activities"][0] == {
        "id": "a",
        "at": "2026-02-21T12:00:00Z",
        "amount": 1.0,
        "followed_by": {"id": "b", "at": "2026-04-12T12:00:00Z", "amount": 2.0},
    }
    assert custom["actual"] == {"a": [1]}
    assert found["why"] == [within["words"] + ": " + within["found"]]


def test_a_repr_tells_no_value() -> None:
    mail = "ana@pop.ro"
    who = subject(*BOUGHT, email=mail)
    rules = group("and", rule_of("email", "=", mail), {"did": "purchase"})
    found = explained(rules, who)
    shown = repr(found) + repr(found.root) + repr([*found.root.leaves()])
    assert mail in found.text()
    assert mail not in shown
    assert "RON" not in shown
    assert "Money" not in shown
