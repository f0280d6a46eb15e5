"""Which facts are one story, and what it is worth once it is told again; on every storage."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from crmkit import CRMService, EarnRule, Programme, Settings
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"email": "ana@mail.com"}).id


def earning(rules: list[EarnRule]) -> Settings:
    return Settings(programmes=[Programme(earn_rules=rules)])


class TestTheNameOfAStory:
    def test_two_tickets_of_one_booking(self, crm: CRMService, ana: str) -> None:
        """Each counts and costs for itself, and each is given back alone."""
        for ticket, amount in (("t1", 20), ("t2", 30)):
            ids = {"ticket_id": ticket, "booking_id": "b1"}
            crm.track_activity(ana, "ticket", {**ids, "amount": amount})
        metrics = crm.activities.metrics(ana)
        assert (metrics.orders, metrics.spend_minor) == (2, 5_000)
        crm.track_activity(ana, "refund", {"ticket_id": "t1", "booking_id": "b1"})
        assert crm.activities.metrics(ana).spend_minor == 3_000

    def test_a_booking_and_an_order_with_one_number(self, crm: CRMService, ana: str) -> None:
        """Booking 7 is not order 7: cancelling the one leaves the other."""
        crm.track_activity(ana, "booking", {"booking_id": 7, "amount": 40})
        crm.track_activity(ana, "order", {"order_id": 7, "amount": 9})
        crm.track_activity(ana, "cancellation", {"booking_id": 7})
        metrics = crm.activities.metrics(ana)
        assert (metrics.bookings, metrics.orders, metrics.spend_minor) == (0, 1, 900)

    def test_an_order_that_names_its_booking(self, crm: CRMService, ana: str) -> None:
        """Cancelling the order leaves the booking it was for."""
        crm.track_activity(ana, "booking", {"booking_id": "b1", "amount": 40})
        crm.track_activity(ana, "order", {"order_id": "o1", "booking_id": "b1", "amount": 9})
        crm.track_activity(ana, "cancellation", {"order_id": "o1"})
        metrics = crm.activities.metrics(ana)
        assert (metrics.bookings, metrics.spend_minor) == (1, 4_000)

    def test_a_stated_reference_holds_them_together(self, crm: CRMService, ana: str) -> None:
        """Booking and order of one evening go at once."""
        evening = {"reference": "evening 1", "amount": 40}
        crm.track_activity(ana, "booking", {**evening, "booking_id": "b1"})
        crm.track_activity(ana, "order", {**evening, "order_id": "o1"})
        crm.track_activity(ana, "cancellation", {"reference": "evening 1", "booking_id": "b1"})
        metrics = crm.activities.metrics(ana)
        assert (metrics.bookings, metrics.orders, metrics.spend_minor) == (0, 0, 0)


class TestTheLastWord:
    def say(self, crm: CRMService, customer: str, status: str, at: str, **more: Any) -> None:
        payload = {"booking_id": "b1", "amount": 80, "status": status, **more}
        crm.track_activity(customer, "booking", payload, at=at)

    def test_a_cancelled_booking_that_took_place_after_all(self, crm: CRMService, ana: str) -> None:
        """Its spend and its points are back."""
        self.say(crm, ana, "cancelled", "2026-01-01T12:00:00Z")
        metrics = crm.activities.metrics(ana)
        assert (metrics.cancellations, metrics.spend_minor) == (1, 0)
        self.say(crm, ana, "completed", "2026-01-02T12:00:00Z")
        metrics = crm.activities.metrics(ana)
        assert (metrics.cancellations, metrics.completed_bookings) == (0, 1)
        assert metrics.spend_minor == 8_000
        assert crm.loyalty.account(ana).balance == 100

    def test_a_completed_booking_that_is_cancelled(self, crm: CRMService, ana: str) -> None:
        """A correction that is heard late does not bring it back."""
        self.say(crm, ana, "completed", "2026-01-02T12:00:00Z")
        self.say(crm, ana, "cancelled", "2026-01-03T12:00:00Z")
        self.say(crm, ana, "completed", "2026-01-01T12:00:00Z")
        metrics = crm.activities.metrics(ana)
        assert (metrics.cancellations, metrics.completed_bookings) == (1, 0)
        assert metrics.spend_minor == crm.loyalty.account(ana).balance == 0

    @pytest.mark.parametrize("fact", ["cancellation", "no_show"])
    def test_a_fact_that_calls_it_off_is_final(self, crm: CRMService, ana: str, fact: str) -> None:
        crm.track_activity(ana, fact, {"booking_id": "b1"}, at="2026-01-01T12:00:00Z")
        self.say(crm, ana, "completed", "2026-01-02T12:00:00Z")
        metrics = crm.activities.metrics(ana)
        assert (metrics.cancellations + metrics.no_shows, metrics.completed_bookings) == (1, 0)
        assert metrics.spend_minor == crm.loyalty.account(ana).balance == 0

    def test_two_words_at_one_instant(self, crm: CRMService) -> None:
        """The larger amount is taken, whichever came first."""
        noon = "2026-01-01T12:00:00Z"
        for words in permutations((("cancelled", 70), ("completed", 80), ("confirmed", 60))):
            guest = crm.find_or_create({"name": "somebody"}).id
            for status, amount in words:
                self.say(crm, guest, status, noon, amount=amount)
            metrics = crm.activities.metrics(guest)
            assert (metrics.completed_bookings, metrics.spend_minor) == (1, 8_000)
            assert crm.loyalty.account(guest).balance == 100
        assert crm.activities.rebuild() == 0


class TestPoints:
    def test_a_refund_of_a_booking_without_a_price(self, crm: CRMService, ana: str) -> None:
        """Without an amount all is given back, and the points with it."""
        crm.track_activity(ana, "booking", {"booking_id": "b1", "status": "completed"})
        assert crm.loyalty.account(ana).balance == 100
        crm.track_activity(ana, "refund", {"booking_id": "b1"})
        assert crm.loyalty.account(ana).balance == 0

    @pytest.mark.parametrize("today", [0, 30, 250])
    def test_what_was_granted_under_former_rules_stays(
        self, storage: Storage, clock: FrozenClock, today: int
    ) -> None:
        """Until it is cancelled; a fact that joins the story earns under the rules of its day."""
        rules = [
            EarnRule(name="review", kind="review", points=5),
            EarnRule(name="booking", kind="booking", points=today, completed=True),
        ]
        before = CRMService(storage, clock=clock)
        after = CRMService(storage, clock=clock, settings=earning(rules))
        ana = before.find_or_create({"email": "ana@mail.com"}).id
        booked = {"booking_id": "b1", "amount": 100, "status": "completed"}
        before.track_activity(ana, "booking", booked)
        balances = []
        for kind in ("visit", "review", "cancellation"):
            after.track_activity(ana, kind, {"booking_id": "b1"})
            balances.append(after.loyalty.account(ana).balance)
        assert balances == [100, 105, 0]

    def test_a_refund_takes_its_part_of_what_was_granted(
        self, storage: Storage, clock: FrozenClock
    ) -> None:
        """Half the money takes half the points, whatever the rules would grant today."""
        more = EarnRule(name="more", kind="booking", points=500, completed=True)
        before = CRMService(storage, clock=clock)
        after = CRMService(storage, clock=clock, settings=earning([more]))
        ana = before.find_or_create({"email": "ana@mail.com"}).id
        booked = {"booking_id": "b1", "amount": 100, "status": "completed"}
        before.track_activity(ana, "booking", booked)
        after.track_activity(ana, "refund", {"booking_id": "b1", "amount": 50})
        assert after.loyalty.account(ana).balance == 50
