from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmkit import CRMService, EarnRule, MemoryStorage, Settings
from crmkit.activities.stories import Story, read
from crmkit.loyalty.earning import Worth, regranted, worth
from crmkit.model import Activity

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
