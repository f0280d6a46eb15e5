from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import attrs
import pytest

from crmkit import EarnRule, InvalidInput, Programme
from crmkit.programmes import (
    Cap,
    Limit,
    Milestone,
    Multiplier,
    ReferralPolicy,
    Reward,
    StampCard,
    Tier,
    TierPolicy,
    checked,
)

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def rule(**told: Any) -> EarnRule:
    plain: dict[str, Any] = {"name": "r", "kind": "review", "points": 1}
    return EarnRule(**plain | told)


def times(**told: Any) -> Multiplier:
    plain: dict[str, Any] = {"name": "m", "times": 2}
    return Multiplier(**plain | told)


def reward(**told: Any) -> Reward:
    return Reward(name="w", **told)


def card(**told: Any) -> StampCard:
    plain: dict[str, Any] = {"name": "c", "reward": "w", "every": 5}
    return StampCard(**plain | told)


def reached(**told: Any) -> Milestone:
    plain: dict[str, Any] = {"name": "x", "counts": "visits", "reaches": 5}
    return Milestone(**plain | told)


def wrong(make: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as caught:
        make()
    return str(caught.value.field)


# As a host without a type checker may call them.
tier: Any = Tier
policy: Any = TierPolicy
cap: Any = Cap
limit: Any = Limit
referral: Any = ReferralPolicy
programme: Any = Programme


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: tier(""), "tiers.name"),
        (lambda: tier(5), "tiers.name"),
        (lambda: tier("x" * 101), "tiers.name"),
        (lambda: tier("_x"), "tiers.name"),
        (lambda: tier("x", -1), "tiers.from_points"),
        (lambda: tier("x", 1.0), "tiers.from_points"),
        (lambda: tier("x", True), "tiers.from_points"),
        (lambda: tier("x", 10**12 + 1), "tiers.from_points"),
        (lambda: policy(by="balance"), "policy.by"),
        (lambda: policy(window_days=0), "policy.window_days"),
        (lambda: policy(window_days=36_501), "policy.window_days"),
        (lambda: policy(calendar="week"), "policy.calendar"),
        (lambda: policy(review="day"), "policy.review"),
        (lambda: policy(calendar="year", window_days=9), "policy"),
        (lambda: policy(calendar="year", review="month"), "policy.review"),
        (lambda: policy(grace_days=-1), "policy.grace_days"),
        (lambda: policy(grace_days=3_651), "policy.grace_days"),
        (lambda: policy(notice_days=-1), "policy.notice_days"),
        (lambda: cap(-1), "cap.points"),
        (lambda: cap(1, "hour"), "cap.per"),
        (lambda: rule(name=None), "earn_rules.name"),
        (lambda: rule(points=-1), "earn_rules.points"),
        (lambda: rule(per=0), "earn_rules.per"),
        (lambda: rule(per="ten"), "earn_rules.per"),
        (lambda: rule(per=True), "earn_rules.per"),
        (lambda: rule(per="NaN"), "earn_rules.per"),
        (lambda: rule(per=10**9 + 1), "earn_rules.per"),
        (lambda: rule(starts=datetime(2026, 1, 1)), "starts"),  # without a zone
        (lambda: rule(ends="2026-01-01"), "ends"),
        (lambda: rule(hold_days=-1), "earn_rules.hold_days"),
        (lambda: rule(expires_days=0), "earn_rules.expires_days"),
        (lambda: times(times=0), "multipliers.times"),
        (lambda: times(times=-2), "multipliers.times"),
        (lambda: times(times="Infinity"), "multipliers.times"),
        (lambda: limit(0), "limit.times"),
        (lambda: limit(1, "hour"), "limit.per"),
        (lambda: reward(cost=-1), "rewards.cost"),
        (lambda: reward(stock=-1), "rewards.stock"),
        (lambda: reward(party_size=0), "rewards.party_size"),
        (lambda: reward(hold_days=0), "rewards.hold_days"),
        (lambda: card(every=0), "cards.every"),
        (lambda: card(counts="spend"), "cards.counts"),
        (lambda: reached(counts="points"), "milestones.counts"),
        (lambda: reached(reaches=0), "milestones.reaches"),
        (lambda: reached(points=-1), "milestones.points"),
        (lambda: referral(referrer=-1), "referral.referrer"),
        (lambda: referral(referee=-1), "referral.referee"),
        (lambda: referral(window_days=-1), "referral.window_days"),
        (lambda: referral(shared_phone="ignore"), "referral.shared_phone"),
        (lambda: programme(name=""), "name"),
        (lambda: programme(enrolment="never"), "enrolment"),
        (lambda: programme(tiers=()), "tiers"),
        (lambda: programme(tiers=[tier("A")]), "tiers"),
        (lambda: programme(tiers=[tier("A", 1)]), "tiers"),
        (lambda: programme(tiers=[tier("A", 0), tier("B", 0)]), "tiers"),
        (lambda: programme(tiers=[tier("A", 0), tier("B", 9), tier("C", 5)]), "tiers"),
        (lambda: programme(tiers=[tier("A"), tier("B", 0)]), "tiers"),
        (lambda: programme(tiers=[tier("A", 0), tier("A", 1)]), "tiers"),
        (lambda: programme(hold_days=-1), "hold_days"),
        (lambda: programme(expires_days=0), "expires_days"),
        (lambda: programme(on_spent="ignore"), "on_spent"),
        (lambda: programme(earn_rules=[rule(), rule()]), "earn_rules"),
        (lambda: programme(multipliers=[times(), times()]), "multipliers"),
        (lambda: programme(rewards=[reward(), reward()]), "rewards"),
        (lambda: programme(milestones=[reached(), reached()]), "milestones"),
        (lambda: programme(earn_rules=[rule(starts=LATE, ends=EARLY)]), "ends"),
        (lambda: programme(multipliers=[times(starts=LATE, ends=LATE)]), "ends"),
        (lambda: programme(rewards=[reward(starts=LATE, ends=EARLY)]), "ends"),
        (lambda: programme(earn_rules=[rule(pending=True)]), "earn_rules.pending"),
        (lambda: programme(multipliers=[times(during="easter")]), "during"),
        (lambda: programme(rewards=[reward(during="easter")]), "during"),
        (lambda: programme(rewards=[reward(tier="BRASS")]), "tier"),
        (lambda: programme(milestones=[reached(tier="BRASS")]), "tier"),
        (lambda: programme(rewards=[], cards=[card()]), "cards.reward"),
        (lambda: programme(rewards=[reward()], cards=[card()]), "cards.reward"),
        (lambda: programme(rewards=[reward(by_card=True, cost=1)], cards=[card()]), "cards.reward"),
        (lambda: programme(rewards=[reward(by_card=True)]), "rewards.by_card"),
        (lambda: checked([]), None),
        (lambda: checked([programme(), programme()]), None),
        (lambda: checked(cast(Any, ["points"])), None),
    ],
)
def test_what_does_not_hold_together_is_refused_with_its_place(
    make: Callable[[], object], field: str | None
) -> None:
    assert wrong(make) == ("programmes" if field is None else f"programmes.{field}")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tier("x" * 100, 10**12),
        lambda: Tier("Größe 5% & mehr", 0),
        lambda: TierPolicy(calendar="year", review="year"),
        lambda: TierPolicy(window_days=1, review="quarter", grace_days=3_650),
        lambda: rule(per="0.01", hold_days=0, expires_days=1),
        lambda: rule(per=10**9, starts=EARLY, ends=LATE),
        lambda: rule(completed=True, pending=True, cap=Cap(0, "ever")),
        lambda: Programme(tiers=[Tier("A", 0)], milestones=()),
        lambda: Programme(rewards=[reward(by_card=True)], cards=[card()]),
        lambda: Programme(rewards=[reward(tier="VIP", during="birthday")]),
        lambda: Programme(earn_rules=[], multipliers=[], rewards=[], milestones=[], referral=None),
    ],
)
def test_what_lies_at_the_edge_is_taken(make: Callable[[], object]) -> None:
    assert make()


def test_a_review_is_at_the_end_of_the_calendars_unit() -> None:
    assert TierPolicy(calendar="month").reviewed == "month"
    assert TierPolicy(review="year").reviewed == "year"
    assert TierPolicy().reviewed is None


def test_ranks_and_starts_follow_the_tiers() -> None:
    """A tier that is only given stands above those that are reached."""
    programme = Programme()
    assert programme.starts == (0, 1_000, 3_000, 6_000)
    assert list(programme.ranks.items()) == [
        ("BRONZE", 0), ("SILVER", 1), ("GOLD", 2), ("PLATINUM", 3), ("VIP", 4),
    ]  # fmt: skip


def test_parts_are_found_by_name() -> None:
    programme = Programme()
    found = programme.rule("review"), programme.reward("discount_10")
    assert [part and part.name for part in found] == ["review", "discount_10"]
    assert (programme.rule("x"), programme.reward("x")) == (None, None)


CHANGES: dict[str, Any] = {
    "name": "other",
    "enrolment": "on_request",
    "tiers": [Tier("A", 0), Tier("VIP")],
    "policy": TierPolicy(by="visits"),
    "earn_rules": [rule(per="0.5", starts=EARLY)],
    "multipliers": [times(times="1.5", ends=LATE)],
    "hold_days": 1,
    "expires_days": 1,
    "on_spent": "floor",
    "rewards": [reward()],
    "cards": [],
    "milestones": [],
    "referral": None,
}


@pytest.mark.parametrize("part", sorted(CHANGES.keys() - {"cards"}))
def test_another_part_makes_another_version(part: str) -> None:
    """The same parts make the same, in whatever process."""
    programme, other = Programme(), Programme(**{part: CHANGES[part]})
    assert other.version != programme.version
    assert other.version == Programme(**{part: CHANGES[part]}).version
    assert len(other.version) == 12


def test_every_part_is_in_the_document() -> None:
    """Which is plain JSON."""
    assert CHANGES.keys() == {a.name for a in attrs.fields(Programme)}
    document = Programme(**CHANGES).document()
    assert json.loads(json.dumps(document)) == document
    assert document.keys() == CHANGES.keys()
    assert document["earn_rules"][0]["per"] == "0.5"
    assert document["tiers"] == [
        {"name": "A", "from_points": 0}, {"name": "VIP", "from_points": None},
    ]  # fmt: skip


def test_numbers_are_taken_as_they_are_written() -> None:
    assert [rule(per=n).per for n in ("0.1", 0.1, Decimal("0.1"))] == [Decimal("0.1")] * 3
    assert rule().per is None
