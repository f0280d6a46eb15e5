"""Stamp cards and milestones count alike on every storage."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from crmkit import (
    CRMService,
    Settings,
)
from crmkit.model import PointsLot, TierGrant
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.rewards import NOW, PROGRAMME, against, balance


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    settings = Settings(programmes=[PROGRAMME], timezone="Europe/Bucharest")
    return CRMService(storage, clock=clock, settings=settings)


@pytest.fixture
def ana(crm: CRMService) -> str:
    found = crm.find_or_create({"name": "Ana", "birth_date": "1990-06-15"}).id
    crm.loyalty.update_points(found, 100, reason="gift")
    return found


# --- stamp cards ---


def test_every_third_night_gives_a_table(crm: CRMService, ana: str) -> None:
    nights = [
        crm.track_activity(ana, "attendance", at=NOW - timedelta(days=n)).id for n in range(4)
    ]
    (card,) = crm.loyalty.rewards.offers(ana).cards
    assert (card.card, card.reward, card.stamps, card.every, card.ready) == (
        "nights", "table", 1, 3, 1,
    )  # fmt: skip
    made = crm.loyalty.redeem(ana, "table")
    assert (made.card, made.cost) == ("nights", 0)
    assert against(crm, ana, "table") == ["card"]
    crm.loyalty.cancel(made.id)
    assert against(crm, ana, "table") == []
    for night in nights[:2]:
        crm.activities.void(night)
    assert against(crm, ana, "table") == ["card"]
    assert crm.loyalty.rewards.offers(ana).cards[0].stamps == 2


def test_stamps_taken_back_after_the_reward_come_first(crm: CRMService, ana: str) -> None:
    nights = [crm.track_activity(ana, "attendance").id for _ in range(3)]
    crm.loyalty.redeem(ana, "table")
    crm.activities.void(nights[0])
    for _ in range(3):
        crm.track_activity(ana, "attendance")
        assert against(crm, ana, "table") == ["card"]
    crm.track_activity(ana, "attendance")
    assert against(crm, ana, "table") == []


# --- milestones ---


def milestones(crm: CRMService, storage: Storage, customer_id: str) -> list[tuple[str | None, int]]:
    with storage.read(crm.tenant) as uow:
        lots = uow.find(PointsLot, customer_id=customer_id, source="milestone")
    return sorted((lot.rule, lot.full) for lot in lots)


def test_a_milestone_is_reached_once_whatever_is_taken_back(
    crm: CRMService, ana: str, storage: Storage, clock: FrozenClock
) -> None:
    nights = [crm.track_activity(ana, "attendance").id for _ in range(4)]
    assert milestones(crm, storage, ana) == []
    nights.append(crm.track_activity(ana, "attendance").id)
    assert milestones(crm, storage, ana) == [("five nights", 40)]
    account = crm.loyalty.account(ana)
    assert (account.balance, account.qualifying, account.tier) == (140, 100, "VIP")
    for night in nights:
        crm.activities.void(night)
    clock.advance(days=1)
    for _ in range(6):
        crm.track_activity(ana, "attendance")
    assert milestones(crm, storage, ana) == [("five nights", 40)]
    assert (balance(crm, ana), crm.loyalty.account(ana).tier) == (140, "VIP")


def test_a_refund_and_another_sale_do_not_pay_twice(
    crm: CRMService, ana: str, storage: Storage
) -> None:
    crm.track_activity(ana, "purchase", {"order_id": "1", "amount": 199.99})
    assert milestones(crm, storage, ana) == []
    crm.track_activity(ana, "purchase", {"order_id": "2", "amount": 0.01})
    assert milestones(crm, storage, ana) == [("big spender", 7)]
    crm.track_activity(ana, "refund", {"order_id": "1"})
    crm.track_activity(ana, "purchase", {"order_id": "3", "amount": 500})
    assert milestones(crm, storage, ana) == [("big spender", 7)]


def test_milestones_of_an_import_are_reached_when_they_happened(
    crm: CRMService, ana: str, storage: Storage
) -> None:
    """In one chunk, out of order, for several customers: each by its fifth night."""
    bob = crm.find_or_create({"name": "Bob"}).id
    told = [
        {"customer_id": who, "kind": "attendance", "at": NOW - timedelta(days=day)}
        for day in (3, 9, 1, 7, 5, 2)
        for who in (ana, bob)
    ]
    assert crm.activities.track_many(told).refused == 0
    with storage.read(crm.tenant) as uow:
        lots = uow.find(PointsLot, source="milestone")
        grants = uow.find(TierGrant)
    assert {(lot.customer_id, lot.earned_at) for lot in lots} == {
        (who, NOW - timedelta(days=2)) for who in (ana, bob)
    }
    assert {(g.customer_id, g.tier, g.source) for g in grants} == {
        (who, "VIP", "milestone") for who in (ana, bob)
    }
    assert crm.loyalty.account(bob, at=NOW - timedelta(days=2, seconds=1)).tier == "BRONZE"
    assert crm.loyalty.account(bob, at=NOW - timedelta(days=2)).tier == "VIP"


def test_who_bears_a_share_reaches_what_counts_the_money(
    crm: CRMService, ana: str, storage: Storage
) -> None:
    bob = crm.find_or_create({"name": "Bob"}).id
    bill = {"amount": 500, "participants": [{"customer_id": bob, "amount": 250}]}
    crm.track_activity(ana, "purchase", bill)
    assert milestones(crm, storage, bob) == [("big spender", 7)]
    assert milestones(crm, storage, ana) == [("big spender", 7)]


def test_a_milestone_takes_no_tier_away(crm: CRMService, ana: str, storage: Storage) -> None:
    """Who was given as high a tier keeps it as it was given."""
    crm.loyalty.set_tier(ana, "VIP", reason="owner's friend")
    for _ in range(5):
        crm.track_activity(ana, "attendance")
    with storage.read(crm.tenant) as uow:
        assert [grant.source for grant in uow.find(TierGrant)] == ["hand"]
    assert milestones(crm, storage, ana) == [("five nights", 40)]


def test_who_takes_no_part_reaches_nothing(storage: Storage, clock: FrozenClock) -> None:
    closed = attrs.evolve(PROGRAMME, enrolment="on_request")
    crm = CRMService(storage, clock=clock, settings=Settings(programmes=[closed]))
    ana, bob = (crm.find_or_create({"name": name}).id for name in ("Ana", "Bob"))
    crm.loyalty.enrol(ana)
    clock.advance(hours=1)
    for who in (ana, bob):
        for _ in range(5):
            crm.track_activity(who, "attendance")
    assert milestones(crm, storage, ana) == [("five nights", 40)]
    assert milestones(crm, storage, bob) == []
    assert against(crm, bob, "table") == ["not_enrolled"]
