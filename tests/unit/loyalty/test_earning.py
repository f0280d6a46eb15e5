from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from crmkit import CRMService, EarnRule, MemoryStorage, Settings
from crmkit.activities.stories import Story, read
from crmkit.loyalty.earning import (
    Place,
    Run,
    Worth,
    counts_from,
    earns,
    moments,
    regranted,
    runs,
    worth,
)
from crmkit.model import Activity
from crmkit.model.catalogue import evolved

SETTINGS = Settings()
AT = datetime(2026, 1, 15, tzinfo=UTC)


def fact(
    kind: str,
    amount: int | None = None,
    status: str | None = None,
    *,
    day: int = 0,
    **payload: Any,
) -> Activity:
    return Activity(
        tenant="t",
        id=f"{kind}{amount}{day}{payload}",
        customer_id="c",
        kind=kind,
        occurred_at=AT + timedelta(days=day),
        recorded_at=AT,
        amount_minor=amount,
        currency="EUR",
        story="r",
        status=status,
        reference="r",
        payload=payload,
    )


def told(*facts: Activity) -> Story:
    return read(facts, SETTINGS.kinds_by_name)


DONE = fact("completion")


@pytest.mark.parametrize(
    ("story", "points"),
    [
        ([], 0),
        ([fact("booking")], 0),  # not yet
        ([fact("booking"), DONE], 100),
        ([fact("booking", status="completed")], 100),
        ([fact("booking", type="party"), DONE], 200),  # the better rule, not both
        ([fact("booking", type="cafe"), DONE], 100),
        ([fact("booking", type="Party"), DONE], 100),  # as it is written
        ([fact("booking"), fact("booking", status="completed"), DONE], 100),  # once
        ([fact("booking"), DONE, fact("review")], 125),
        ([fact("review"), fact("review", n=2)], 25),
        ([fact("referral")], 50),
        ([fact("booking"), DONE, fact("cancellation")], 0),
        ([fact("booking"), DONE, fact("no_show")], 0),
        ([fact("review"), fact("cancellation")], 0),
        ([fact("booking", 300), DONE, fact("refund", 100)], 66),
        ([fact("booking", 300), DONE, fact("refund", 299)], 0),
        ([fact("booking", 300), DONE, fact("refund")], 0),
        ([fact("booking"), DONE, fact("refund")], 0),  # all of it, whatever it was
        ([fact("visit"), fact("purchase", 100)], 0),
        ([fact("booking", status="cancelled"), fact("booking", status="completed", day=1)], 100),
        ([fact("booking", type="party"), DONE, fact("booking", type="cafe", day=1)], 100),
    ],
)
def test_what_a_story_earns(story: list[Activity], points: int) -> None:
    for order in (story, story[::-1]):
        assert worth(told(*order), SETTINGS.programme.earn_rules).kept == points


def test_a_hosts_own_rule() -> None:
    rules = (
        EarnRule(name="any", kind="visit", points=5),
        EarnRule(name="night", kind="visit", points=20, where={"gate": "north", "vip": True}),
    )
    assert worth(told(fact("visit", gate="north", vip=True)), rules).kept == 20
    assert worth(told(fact("visit", gate="north")), rules).kept == 5
    assert worth(told(fact("visit")), ()).kept == 0


@pytest.mark.parametrize(
    ("given", "before", "after", "left"),
    [
        (100, 50, 50, 100),  # a fact that earns nothing
        (100, 250, 250, 100),
        (0, 100, 100, 0),  # granted nothing, when there was no rule
        (100, 50, 75, 125),  # a review joins
        (100, 200, 100, 50),  # half the money went back
        (100, 0, 25, 125),
        (100, 30, 10, 33),  # rounded down
        (100, 50, 0, 0),
    ],
)
def test_points_under_former_rules(given: int, before: int, after: int, left: int) -> None:
    """They stay; what the story gains is added, and what it loses is taken pro rata."""
    assert regranted(given, Worth(before), Worth(after)) == left


def test_a_refund_that_is_voided_gives_all_points_back() -> None:
    """Those of former rules too: as much of them is kept as of the money."""
    whole, half, nothing = Worth(100), Worth(100, 1, 2), Worth(100, 0, 2)
    assert regranted(200, whole, half) == 100
    assert regranted(100, half, whole) == 200
    assert regranted(200, whole, nothing) == 0
    assert regranted(0, nothing, half) == 50


@pytest.mark.parametrize(
    ("qualifying", "tier", "following", "missing"),
    [
        (0, "BRONZE", "SILVER", 1_000),
        (999, "BRONZE", "SILVER", 1),
        (1_000, "SILVER", "GOLD", 2_000),
        (2_999, "SILVER", "GOLD", 1),
        (3_000, "GOLD", "PLATINUM", 3_000),
        (5_999, "GOLD", "PLATINUM", 1),
        (6_000, "PLATINUM", None, None),
        (10**12, "PLATINUM", None, None),
    ],
)
def test_tiers(qualifying: int, tier: str, following: str | None, missing: int | None) -> None:
    """L-02, L-03: the edges exactly; never from the balance."""
    crm = CRMService(MemoryStorage())
    who = crm.find_or_create({"user_id": 1}).id
    if qualifying:
        crm.loyalty.update_points(who, qualifying, reason="welcome")
        crm.loyalty.update_points(who, -qualifying, reason="all of it")
    found = crm.loyalty.account(who)
    assert (found.balance, found.qualifying, found.tier) == (0, qualifying, tier)
    assert (found.next_tier, found.to_next_tier) == (following, missing)


# --- what a story earns from instant to instant ---


def day(n: int) -> datetime:
    return AT + timedelta(days=n)


def late(kind: str, amount: int | None = None, n: int = 0, **payload: Any) -> Activity:
    """A fact that was told when all of them had happened."""
    return evolved(fact(kind, amount, day=n, **payload), recorded_at=day(99))


def ran(
    *facts: Activity,
    rules: Sequence[EarnRule],
    asked: Callable[[EarnRule, datetime], Decimal | None] = lambda *_: Decimal(1),
) -> dict[tuple[str, datetime, bool], dict[datetime, int]]:
    found = runs(told(*facts), SETTINGS.kinds_by_name, rules, 100, asked)
    places = [(r.place.rule, r.place.since, r.place.pending) for r in found]
    assert len(set(places)) == len(places)
    return dict(zip(places, (dict(r.totals) for r in found), strict=True))


FLAT = EarnRule(name="flat", kind="purchase", points=100)
PER = EarnRule(name="per", kind="purchase", points=3, per=Decimal(10))
DONE_RULE = EarnRule(name="done", kind="booking", points=100, completed=True)
PROMISE = EarnRule(name="promise", kind="booking", points=70, completed=True, pending=True)


def test_each_full_amount_of_money_earns() -> None:
    """By minor units as the currency has them; what is not full earns nothing."""
    for amount, points in ((999, 0), (1_000, 3), (1_999, 3), (2_000, 6), (0, 0)):
        found = ran(late("purchase", amount), rules=[PER])
        assert found == {("per", day(0), False): {day(0): points}}


def test_a_refund_takes_from_its_instant_on_pro_rata_of_the_first_rounding() -> None:
    facts = [late("purchase", 2_999, 1), late("refund", 1_000, 3), late("refund", None, 5)]
    assert ran(*facts, rules=[PER]) == {
        ("per", day(1), False): {day(1): 6, day(3): 6 * 1_999 // 2_999, day(5): 0}
    }


def test_a_rule_that_gives_again_gives_anew() -> None:
    """It is another place: with a new instant from which its points can be used."""
    statuses = {0: "completed", 1: None, 2: "cancelled", 4: "completed"}
    facts = [evolved(late("booking", n=n), status=said) for n, said in statuses.items()]
    assert ran(*facts, rules=[DONE_RULE]) == {
        ("done", day(0), False): {day(0): 100, day(1): 100, day(2): 0},
        ("done", day(4), False): {day(4): 100},
    }


def test_a_promise_ends_when_it_is_kept_or_called_off() -> None:
    booked, done, off = late("booking", n=0), late("completion", n=2), late("cancellation", n=3)
    promised = ("promise", day(0), True)
    assert ran(booked, rules=[PROMISE]) == {promised: {day(0): 70}}
    assert ran(booked, rules=[DONE_RULE]) == {}
    kept = {promised: {day(0): 70, day(2): 0}, ("promise", day(2), False): {day(2): 70}}
    assert ran(booked, done, rules=[PROMISE]) == kept
    kept["promise", day(2), False][day(3)] = 0
    assert ran(booked, done, off, rules=[PROMISE]) == kept
    assert ran(booked, off, rules=[PROMISE]) == {promised: {day(0): 70, day(3): 0}}


def test_the_best_rule_of_a_kind_pays_and_what_stacks_pays_besides() -> None:
    """From the instant on at which it is the best; of equal ones the last by name."""
    stacked = EarnRule(name="more", kind="purchase", points=1, stacks=True)
    facts = [late("purchase", 1_000, 0), late("purchase", 100_000, 2)]
    assert ran(*facts, rules=[FLAT, PER, stacked]) == {
        ("flat", day(0), False): {day(0): 100, day(2): 0},
        ("per", day(0), False): {day(2): 300},
        ("more", day(0), False): {day(0): 1, day(2): 1},
    }
    twin = EarnRule(name="a twin", kind="purchase", points=100)
    assert list(ran(facts[0], rules=[FLAT, twin])) == [("flat", day(0), False)]


def test_the_best_is_told_after_it_is_multiplied() -> None:
    asked = {"flat": Decimal(1), "per": Decimal("40.5")}
    found = ran(late("purchase", 1_000), rules=[FLAT, PER], asked=lambda rule, _: asked[rule.name])
    assert found == {("per", day(0), False): {day(0): 121}}  # 3 times 40.5, rounded down


def test_a_rule_that_does_not_fit_the_customer_gives_nothing() -> None:
    """It is asked once for each time that it begins to fit, about that instant."""
    questions: list[tuple[str, datetime]] = []

    def asked(rule: EarnRule, since: datetime) -> Decimal | None:
        questions.append((rule.name, since))
        return None if rule.name == "flat" else Decimal(1)

    facts = [late("purchase", 1_000, 1), late("purchase", 2_000, 2), late("refund", 500, 3)]
    found = ran(*facts, rules=[FLAT, PER], asked=asked)
    assert found == {("per", day(1), False): {day(1): 3, day(2): 6, day(3): 6 * 1_500 // 2_000}}
    assert questions == [("flat", day(1)), ("per", day(1))]


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"where": {"item": "beer"}}, True),
        ({"where": {"item": "wine"}}, False),
        ({"where": {"item": "beer", "table": None}}, True),  # what is not said is None
        ({"starts": day(1)}, True),
        ({"starts": day(1) + timedelta(microseconds=1)}, False),
        ({"ends": day(1)}, False),
        ({"ends": day(1) + timedelta(microseconds=1)}, True),
        ({"kind": "order"}, False),
    ],
)
def test_a_rule_fits_by_kind_time_and_payload(rule: dict[str, Any], fits: bool) -> None:
    plain: dict[str, Any] = {"name": "r", "kind": "purchase", "points": 5}
    made = EarnRule(**plain | rule)
    story = told(late("purchase", 1_000, 1, item="beer"))
    assert earns(story, SETTINGS.kinds_by_name, [made], 100) is fits
    assert worth(story, [made]).kept == (5 if fits else 0)


def test_what_ever_fitted_is_told_though_it_was_called_off() -> None:
    kinds = SETTINGS.kinds_by_name
    booked, off = late("booking", n=0), late("cancellation", n=1)
    assert earns(told(booked, off), kinds, [PROMISE], 100)
    assert not earns(told(booked, off), kinds, [DONE_RULE], 100)
    assert not earns(told(off), kinds, [PROMISE], 100)
    assert worth(told(booked), [PROMISE]).points == 0


def test_what_is_told_ahead_of_its_time_counts_at_once() -> None:
    """And what happened before it was told, from when it happened."""
    ahead = fact("purchase", 1_000, day=7)
    assert counts_from(ahead) == ahead.recorded_at == AT
    assert counts_from(late("purchase", 1_000, 7)) == day(7)
    assert ran(ahead, rules=[FLAT]) == {("flat", AT, False): {AT: 100}}


def test_a_story_is_read_as_of_each_instant_at_which_it_came_to_say_more() -> None:
    facts = [late("booking", 500, 2), late("purchase", 700, 1), late("refund", 100, 2)]
    found = list(moments(told(*facts), SETTINGS.kinds_by_name))
    assert [(at, story.paid, story.left) for at, story in found] == [
        (day(1), 700, 700), (day(2), 1_200, 1_100),
    ]  # fmt: skip
    assert list(moments(told(), SETTINGS.kinds_by_name)) == []
    alone = told(facts[0])
    assert list(moments(alone, SETTINGS.kinds_by_name)) == [(day(2), alone)]


def test_differences_and_the_last_total() -> None:
    run = Run(Place("r", day(1)), Decimal(1), {day(3): 40, day(1): 40, day(5): 0, day(9): 7})
    assert run.differences() == {day(1): 40, day(5): -40, day(9): 7}
    assert run.final == 7
