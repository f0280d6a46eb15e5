"""Insights of another moment: what was so, and what was known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from crmkit import CRMService, Money
from crmkit.testing import FrozenClock


class TestThen:
    def test_an_answer_can_be_given_again(self, crm: CRMService, clock: FrozenClock) -> None:
        """Whatever came since: a late fact, a refund, a cancellation, a void, an amendment."""
        customer = crm.find_or_create({"email": "ana@mail.com"}).id
        answers = {}

        def remember() -> None:
            answers[clock()] = (
                crm.insights.for_customer(customer),
                crm.insights.items(customer),
                crm.insights.heatmap(customer),
            )
            clock.advance(hours=1)

        def told(kind: str, **payload: Any) -> str:
            return crm.track_activity(customer, kind, payload).id

        remember()
        told("booking", booking_id="b1", amount=80, item="Prison")
        remember()
        bought = told("purchase", order_id="o1", amount=30, item="Drink")
        remember()
        late = {"amount": 20, "item": "Drink"}
        crm.track_activity(customer, "purchase", late, at="2025-12-01T00:00:00Z")
        remember()
        crm.activities.refund(bought, amount=10)
        remember()
        crm.activities.amend(bought, {"item": "Dinner"})
        remember()
        told("cancellation", booking_id="b1")
        remember()
        crm.activities.void(bought)
        remember()
        crm.track_activity(customer, "booking", {"item": "Tomb"}, at="2026-02-01T00:00:00Z")
        remember()
        assert len({str(answer) for answer in answers.values()}) > 6
        for then, answer in answers.items():
            again = (
                crm.insights.for_customer(customer, known_at=then),
                crm.insights.items(customer, known_at=then),
                crm.insights.heatmap(customer, known_at=then),
            )
            assert again == answer

    def test_what_was_corrected_had_not_happened(self, crm: CRMService) -> None:
        """An amendment or a void counts whatever its date, but nothing without its activity."""
        customer = crm.find_or_create({"email": "ana@mail.com"}).id
        party = crm.track_activity(customer, "booking", {"amount": 9}, at="2026-01-12T00:00:00Z")
        crm.activities.amend(party.id, {"status": "no_show"})
        crm.activities.void(crm.track_activity(customer, "visit", at="2026-01-13T00:00:00Z").id)
        before = crm.insights.for_customer(customer, at="2026-01-11T00:00:00Z")
        assert (before.no_shows, before.no_show_rate, before.first_activity_at) == (0, None, None)

    def test_a_share_of_what_changed_since(self, crm: CRMService, clock: FrozenClock) -> None:
        """The part of a bill is that of then too, whatever became of the bill."""
        ana, bob = (crm.find_or_create({"name": name}).id for name in ("Ana", "Bob"))
        bill = {"booking_id": 1, "amount": 100, "participants": [{"customer_id": bob}]}
        crm.track_activity(ana, "booking", bill)
        then = clock.advance(days=30)
        for kind, since in (("booking", {"amount": 300}), ("refund", {}), ("cancellation", {})):
            crm.track_activity(ana, kind, {"booking_id": 1} | since, at=clock.advance(days=1))
            for guest in (ana, bob):
                assert crm.insights.for_customer(guest, at=then).total_spent == Money(5_000, "EUR")

    def test_what_had_happened_and_what_was_known(
        self, crm: CRMService, clock: FrozenClock
    ) -> None:
        """`at` takes in what was recorded since, `known_at` does not."""
        customer = crm.find_or_create({"email": "ana@mail.com"}).id
        march = clock.advance(days=60)
        crm.track_activity(customer, "visit", {}, at="2026-02-01T00:00:00Z")
        crm.track_activity(customer, "visit", {})
        february = "2026-02-02T00:00:00Z"

        def visits(**asked: Any) -> int:
            return crm.insights.for_customer(customer, **asked).total_visits

        assert visits() == 2
        assert visits(at=february) == 1
        assert visits(known_at=february) == 0
        assert visits(at=february, known_at=march) == 1
        assert visits(at="2026-01-16T00:00:00Z") == 0

    def test_a_void_tells_what_never_was(self, crm: CRMService, clock: FrozenClock) -> None:
        """The answer about last week no longer has it; the answer that was given last week has."""
        customer = crm.find_or_create({"email": "ana@mail.com"}).id
        visit = crm.track_activity(customer, "visit", {}).id
        last_week = clock()
        clock.advance(days=7)
        crm.activities.void(visit)
        assert crm.insights.for_customer(customer, at=last_week).total_visits == 0
        assert crm.insights.for_customer(customer, known_at=last_week).total_visits == 1

    def test_what_is_dated_ahead_has_not_happened(
        self, crm: CRMService, clock: FrozenClock
    ) -> None:
        customer = crm.find_or_create({"email": "ana@mail.com"}).id
        crm.track_activity(customer, "visit", {}, at=clock() + timedelta(days=1))
        assert crm.insights.for_customer(customer).total_visits == 0
        assert crm.insights.heatmap(customer).total == 0
        clock.advance(days=1)
        assert crm.insights.for_customer(customer).total_visits == 1
