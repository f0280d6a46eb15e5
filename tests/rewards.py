"""A programme with rewards of every sort, and questions about it, for tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from crmkit import (
    CRMService,
    Programme,
    RewardRefused,
)
from crmkit.programmes import EarnRule, Limit, Milestone, Reward, StampCard

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
PROGRAMME = Programme(
    earn_rules=(EarnRule(name="sale", kind="purchase", points=100),),
    rewards=(
        Reward(name="beer", cost=60, type="FREE_BEVERAGE", hold_days=2),
        Reward(name="shirt", cost=10, stock=2, hold_days=2),
        Reward(name="entry", during="birthday", limit=Limit(1, "year"), hold_days=1),
        Reward(name="bottle", during="birthday_month", party_size=6),
        Reward(name="lounge", tier="GOLD"),
        Reward(name="hello", when={"field": "total_orders", "operator": "=", "value": 0}),
        Reward(name="water", limit=Limit(2, "day")),
        Reward(name="autumn", starts=NOW + timedelta(days=90), ends=NOW + timedelta(days=99)),
        Reward(name="table", by_card=True),
    ),
    cards=(StampCard(name="nights", reward="table", every=3, counts="events_attended"),),
    milestones=(
        Milestone(name="five nights", counts="events_attended", reaches=5, points=40, tier="VIP"),
        Milestone(name="big spender", counts="spend", reaches=200, points=7),
    ),
)


def balance(crm: CRMService, customer_id: str) -> int:
    return crm.loyalty.account(customer_id).balance


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(RewardRefused) as caught:
        call()
    return caught.value.reason


def against(crm: CRMService, customer_id: str, reward: str, party: int | None = None) -> list[str]:
    """Why not, as it is offered; redeeming is refused for the first of these."""
    offer = crm.loyalty.rewards.offers(customer_id, party_size=party)[reward]
    reasons = [refusal.reason for refusal in offer.why_not]
    assert offer.available == (not reasons)
    if reasons and reasons != ["points"]:
        told = refused(lambda: crm.loyalty.redeem(customer_id, reward, party_size=party))
        assert told == reasons[0]
    return reasons


def left(crm: CRMService) -> int:
    (stock,) = crm.loyalty.rewards.stock()
    return stock.left
