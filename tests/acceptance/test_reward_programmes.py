"""Stories of hosts that reward their guests, told from the catalogue to the till."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crmkit import CRMService, InsufficientPoints, RewardRefused, Settings
from crmkit.loyalty.rewards import Offers
from crmkit.ports.storage import Storage
from crmkit.presets import loyalty
from crmkit.testing import FrozenClock

FRIDAY = datetime(2026, 6, 19, 19, tzinfo=UTC)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(FRIDAY)


@pytest.fixture
def club(storage: Storage, clock: FrozenClock) -> CRMService:
    settings = Settings(timezone="Europe/Bucharest", programmes=[loyalty.nightclub()])
    return CRMService(storage, clock=clock, settings=settings)


@pytest.fixture
def bistro(storage: Storage, clock: FrozenClock) -> CRMService:
    settings = Settings(timezone="Europe/Bucharest", programmes=[loyalty.restaurant()])
    return CRMService(storage, clock=clock, settings=settings)


def available(offers: Offers) -> set[str]:
    return {offer.reward for offer in offers.rewards if offer.available}


def test_the_default_catalogue_sells_for_points(storage: Storage, clock: FrozenClock) -> None:
    """A beverage for 500, a discount for 1,000, an add-on for 2,500, an hour for 5,000."""
    crm = CRMService(storage, clock=clock)
    ana = crm.find_or_create({"name": "Ana"}).id
    catalogue = crm.loyalty.rewards.offers(ana).rewards
    assert [(offer.type, offer.cost, offer.missing) for offer in catalogue] == [
        ("FREE_BEVERAGE", 500, 500),
        ("DISCOUNT_10", 1_000, 1_000),
        ("PARTY_ADDON", 2_500, 2_500),
        ("PRIVATE_HOUR", 5_000, 5_000),
    ]
    for n in range(6):
        crm.track_activity(ana, "booking", {"booking_id": str(n), "status": "completed"})
    assert available(crm.loyalty.rewards.offers(ana)) == {"free_beverage"}
    made = crm.loyalty.redeem(ana, "free_beverage", key="order 1")
    with pytest.raises(InsufficientPoints):
        crm.loyalty.redeem(ana, "free_beverage", key="order 2")
    crm.loyalty.fulfil(made.code, key="scan 1", actor="bar")
    crm.track_activity(ana, "cancellation", {"booking_id": "0"})
    assert crm.loyalty.account(ana).balance == 0
    (had,) = crm.loyalty.rewards.history(ana)
    assert (had.type, had.state, had.cost) == ("FREE_BEVERAGE", "fulfilled", 500)
    assert [(e.kind, e.points) for e in crm.loyalty.history(ana, limit=2)] == [
        ("reverse", -100),
        ("burn", -500),
    ]


def test_a_guest_of_ten_nights_is_vip_and_comes_in_first(
    club: CRMService, clock: FrozenClock
) -> None:
    """Every fifth night a table is free; the tier stays when a night is voided."""
    ana = club.find_or_create({"name": "Ana"}).id
    nights: list[str] = []
    for _ in range(10):
        assert club.loyalty.account(ana).tier != "VIP"
        assert "priority_entry" not in available(club.loyalty.rewards.offers(ana))
        nights.append(club.track_activity(ana, "attendance").id)
        clock.advance(days=7)
    assert club.loyalty.account(ana).tier == "VIP"
    entry = club.loyalty.redeem(ana, "priority_entry")
    assert club.loyalty.fulfil(entry.code).type == "PRIORITY_ENTRY"
    (card,) = club.loyalty.rewards.offers(ana).cards
    assert (card.stamps, card.ready) == (0, 2)
    table = club.loyalty.redeem(ana, "free_table")
    club.activities.void(nights[0])
    (card,) = club.loyalty.rewards.offers(ana).cards
    assert (card.stamps, card.ready) == (4, 0)
    assert club.loyalty.account(ana).tier == "VIP"
    assert club.loyalty.fulfil(table.code).type == "FREE_TABLE"


def test_the_birthday_club(club: CRMService, clock: FrozenClock) -> None:
    """Written to a week before, let in free on the day, a bottle for a group above five."""
    ana = club.find_or_create({"name": "Ana", "birth_date": "1995-06-26"}).id
    club.find_or_create({"name": "Bob", "birth_date": "1995-06-27"})
    club.track_activity(ana, "attendance")
    assert [b.customer_id for b in club.loyalty.rewards.birthdays(within="7d")] == [ana]
    assert available(club.loyalty.rewards.offers(ana)) == set()
    clock.set("2026-06-25T21:00:00Z")  # midnight in Bucharest
    assert available(club.loyalty.rewards.offers(ana, party_size=5)) == {"birthday_entry"}
    both = {"birthday_entry", "birthday_bottle"}
    assert available(club.loyalty.rewards.offers(ana, party_size=6)) == both
    entry = club.loyalty.redeem(ana, "birthday_entry")
    assert club.loyalty.fulfil(entry.code).type == "FREE_ENTRY"
    with pytest.raises(RewardRefused) as caught:
        club.loyalty.redeem(ana, "birthday_entry")
    assert caught.value.reason == "limit"
    clock.set("2026-06-26T21:00:00Z")
    assert available(club.loyalty.rewards.offers(ana, party_size=6)) == set()
    clock.set("2027-06-26T12:00:00Z")
    assert available(club.loyalty.rewards.offers(ana, party_size=6)) == both


def test_who_never_came_is_welcome_for_less(club: CRMService) -> None:
    """Once, and not again after the first visit."""
    ana, bob = (club.find_or_create({"name": name}).id for name in ("Ana", "Bob"))
    club.track_activity(bob, "attendance")
    made = club.loyalty.redeem(ana, "welcome_discount")
    assert made.type == "DISCOUNT_10"
    for who, reason in ((ana, "limit"), (bob, "rule")):
        with pytest.raises(RewardRefused) as caught:
            club.loyalty.redeem(who, "welcome_discount")
        assert caught.value.reason == reason
    club.track_activity(ana, "attendance")
    assert club.loyalty.fulfil(made.code).state == "fulfilled"


def test_the_tenth_booking_and_the_first_thousand_pay_once(
    bistro: CRMService, clock: FrozenClock
) -> None:
    """Also when refunds make a guest cross the line again."""
    ana = bistro.find_or_create({"name": "Ana"}).id
    for n in range(10):
        told = {"booking_id": str(n), "amount": 99.99, "status": "completed"}
        bistro.track_activity(ana, "booking", told, key=f"b{n}")
        clock.advance(days=1)
    table = 10 * 90  # ten for each full ten of 99.99
    assert bistro.loyalty.account(ana).balance == table + 100
    bistro.track_activity(ana, "purchase", {"order_id": "x", "amount": 0.10})
    assert bistro.loyalty.account(ana).balance == table + 100 + 250
    bistro.track_activity(ana, "refund", {"order_id": "x"})
    bistro.track_activity(ana, "cancellation", {"booking_id": "3"})
    again = {"booking_id": "10", "amount": 99.99, "status": "completed"}
    bistro.track_activity(ana, "booking", again)
    bistro.track_activity(ana, "purchase", {"order_id": "y", "amount": 9})
    assert bistro.loyalty.account(ana).balance == table + 100 + 250
    kinds = [e.rule for e in bistro.loyalty.history(ana) if e.kind == "earn"]
    assert kinds.count("tenth_booking") == kinds.count("spent_1000") == 1


def test_five_visits_make_a_dessert(bistro: CRMService, clock: FrozenClock) -> None:
    """A card that is not used up is filled on, and one that is forgotten comes back."""
    ana = bistro.find_or_create({"name": "Ana"}).id
    for _ in range(6):
        bistro.track_activity(ana, "visit")
    made = bistro.loyalty.redeem(ana, "dessert")
    assert [c.ready for c in bistro.loyalty.rewards.offers(ana).cards] == [0]
    clock.advance(timedelta(days=30))
    assert [c.ready for c in bistro.loyalty.rewards.offers(ana).cards] == [1]
    with pytest.raises(RewardRefused) as caught:
        bistro.loyalty.fulfil(made.code)
    assert caught.value.reason == "lapsed"
    assert bistro.loyalty.redeem(ana, "dessert").card == "visits"
