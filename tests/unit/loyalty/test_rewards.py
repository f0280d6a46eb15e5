"""Whether a reward may be had, and why not; what a stamp card holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from crmkit.loyalty.rewards import Claim, Stamps, offer, refusals, stamps, stands, state_of
from crmkit.model import Redemption
from crmkit.programmes import Limit, Programme, Reward, StampCard

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLAIM = Claim(at=NOW, balance=100)


def reasons(claim: Claim = CLAIM, **asked: Any) -> list[str]:
    reward = Reward(name="beer", **asked)
    given = (StampCard(name="card", reward="beer", every=5),) if reward.by_card else ()
    programme = Programme(rewards=(reward,), cards=given)
    found = refusals(reward, programme, claim)
    assert all(refusal.text for refusal in found)
    told = offer(reward, programme, claim)
    assert told.available == (not found)
    assert told.why_not == tuple(found)
    return [refusal.reason for refusal in found]


@pytest.mark.parametrize(
    ("asked", "right", "wrong", "reason"),
    [
        ({"cost": 100}, {}, {"balance": 99}, "points"),
        ({"stock": 5}, {"left": 1}, {"left": 0}, "sold_out"),
        ({"starts": NOW}, {}, {"at": NOW - timedelta(microseconds=1)}, "not_yet"),
        ({"ends": NOW}, {"at": NOW - timedelta(microseconds=1)}, {}, "over"),
        ({"tier": "GOLD"}, {"rank": 2}, {"rank": 1}, "tier"),
        ({"tier": "GOLD"}, {"rank": 4}, {"rank": 0}, "tier"),
        ({"when": {}}, {}, {"fits": False}, "rule"),
        ({"during": "birthday"}, {}, {"celebrates": False}, "birthday"),
        ({"during": "birthday_month"}, {}, {"celebrates": False}, "birthday"),
        ({"party_size": 6}, {"party_size": 6}, {"party_size": 5}, "party_size"),
        ({"party_size": 6}, {"party_size": 7}, {"party_size": None}, "party_size"),
        ({"limit": Limit(2, "day")}, {"taken": 1}, {"taken": 2}, "limit"),
        ({"by_card": True}, {"ready": 1}, {"ready": 0}, "card"),
        ({}, {}, {"takes_part": False}, "not_enrolled"),
    ],
)
def test_each_condition_refuses_alone(
    asked: dict[str, Any], right: dict[str, Any], wrong: dict[str, Any], reason: str
) -> None:
    assert reasons(attrs.evolve(CLAIM, **right), **asked) == []
    assert reasons(attrs.evolve(CLAIM, **wrong), **asked) == [reason]


def test_all_that_stands_against_a_reward_is_told() -> None:
    """What the customer can do least about comes first, what is missing in points last."""
    claim = Claim(at=NOW, balance=-5, celebrates=False, taken=3, left=0)
    asked = {"cost": 10, "ends": NOW, "during": "birthday", "limit": Limit(1), "stock": 1}
    assert reasons(claim, **asked) == ["over", "birthday", "limit", "sold_out", "points"]
    told = offer(Reward(name="beer", cost=10), Programme(), claim)
    assert (told.missing, told.left) == (15, 0)


@pytest.mark.parametrize(
    ("counted", "used", "now", "ready"),
    [
        (0, 0, 0, 0),
        (4, 0, 4, 0),
        (5, 0, 0, 1),
        (5, 1, 0, 0),
        (23, 1, 3, 3),
        (9, 1, 4, 0),
        (4, 1, 0, 0),  # a stamp of the reward that was had was taken back
        (8, 2, 0, 0),
        (11, 2, 1, 0),
    ],
)
def test_a_card_is_filled_anew_after_each_reward(
    counted: int, used: int, now: int, ready: int
) -> None:
    card = StampCard(name="card", reward="beer", every=5)
    assert stamps(card, counted, used) == Stamps("card", "beer", now, 5, ready)


@pytest.mark.parametrize(
    ("told", "state", "counts"),
    [
        ({}, "reserved", True),
        ({"until": NOW}, "lapsed", False),
        ({"until": NOW, "cancelled_at": NOW}, "lapsed", False),
        ({"cancelled_at": NOW}, "cancelled", False),
        ({"fulfilled_at": NOW - HOUR, "until": NOW}, "fulfilled", True),
    ],
)
def test_what_has_become_of_a_redemption_needs_no_job(
    told: dict[str, Any], state: str, counts: bool
) -> None:
    given: dict[str, Any] = {
        "until": NOW + HOUR,
        "reserved_at": NOW - HOUR,
        "cost": 1,
        "reward": "beer",
    } | told
    redemption = Redemption(tenant="t", id="1", customer_id="c", **given)
    assert state_of(redemption, NOW) == state
    assert stands(redemption, NOW) == counts
