"""Mistakes of a restaurant and how they are put right, on every storage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crmkit import CRMService, IdempotencyConflict, InvalidInput, Money
from crmkit.model import Activity, Counter
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock

EVENING = "2026-01-10T20:00:00+01:00"


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"email": "ana@mail.com", "name": "Ana Pop"}).id


def dined(crm: CRMService, guest: str, number: int, **more: Any) -> Activity:
    """A table that was booked, honoured and paid."""
    table = {"booking_id": number, "amount": 100, "status": "completed", "party_size": 4} | more
    return crm.track_activity(guest, "booking", table, at=EVENING, key=f"booking {number}")


def counted(crm: CRMService, guest: str, dimension: str) -> dict[str, tuple[int, int]]:
    """How often each value was chosen, and what was paid for it."""
    with crm._runtime.read() as uow:
        found = uow.find(Counter, customer_id=guest, dimension=dimension)
    return {c.value: (c.count, c.spend_minor) for c in found}


def spent(crm: CRMService, guest: str) -> Money:
    return crm.get_lifetime_value(guest).historic


def euros(amount: int) -> Money:
    return Money(amount * 100, "EUR")


class TestAnAmendment:
    def test_it_changes_what_it_names(self, crm: CRMService, ana: str, clock: FrozenClock) -> None:
        """A voided change of the venue leaves no trace in a later change of something else."""
        fact = dined(crm, ana, 1, venue="Terrace")
        moved = crm.activities.amend(fact.id, {"venue": "Cellar"})
        clock.advance(hours=1)
        crm.activities.amend(fact.id, {"note": "by the window"})
        crm.activities.void(moved.id)
        booking = crm.insights.view(ana).reservations[0].activity
        assert (booking.venue, booking.payload["venue"]) == ("Terrace", "Terrace")

    @pytest.mark.parametrize(
        "huge", [10**5000, -(10**5000), "1" * 5000], ids=["number", "below zero", "text"]
    )
    def test_huge_numbers_are_refused(self, crm: CRMService, ana: str, huge: object) -> None:
        fact = dined(crm, ana, 1)
        with pytest.raises(InvalidInput, match="amount"):
            crm.activities.refund(fact.id, amount=huge, key="huge")
        with pytest.raises(InvalidInput, match="fraction"):
            crm.activities.refund(fact.id, fraction=huge)


class TestTheWrongTable:
    def test_it_was_another_guest(self, crm: CRMService, ana: str) -> None:
        """The evening goes from the one who never came to the one who did, points and all."""
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        wrong = dined(crm, ana, 1, venue="Terrace")
        crm.activities.void(wrong.id, reason="it was Bob's table", key="void booking 1")
        crm.track_activity(bob, "booking", wrong.payload, at=EVENING, key="booking 1 of Bob")
        assert (spent(crm, ana), spent(crm, bob)) == (euros(0), euros(100))
        assert crm.loyalty.account(ana).balance == 0
        assert crm.loyalty.account(bob).balance == 100
        assert counted(crm, ana, "venue") == {}
        assert counted(crm, bob, "venue") == {"Terrace": (1, 10_000)}
        assert crm.activities.metrics(ana).last_booking_at is None
        assert crm.activities.metrics(ana).cancellations == 0

    def test_the_timeline_tells_both(self, crm: CRMService, ana: str) -> None:
        """What was recorded, and that it was a mistake: nothing is edited or removed."""
        wrong = dined(crm, ana, 1)
        void = crm.activities.void(wrong.id, reason="typed into the wrong day")
        assert list(crm.activities.timeline(ana)) == [void, wrong]
        assert void.payload["reason"] == "typed into the wrong day"

    def test_the_evening_before_is_the_last_one_again(self, crm: CRMService, ana: str) -> None:
        """Dates fall back to what stands."""
        dined(crm, ana, 1)
        later = {"booking_id": 2, "amount": 50}
        wrong = crm.track_activity(ana, "booking", later, at="2026-01-14T20:00:00Z")
        crm.activities.void(wrong.id)
        metrics = crm.activities.metrics(ana)
        assert metrics.last_booking_at == metrics.first_booking_at
        assert metrics.bookings == 1

    def test_the_click_is_repeated(self, crm: CRMService, ana: str) -> None:
        """With a key the second click is the first; without one it is told that it was done."""
        wrong = dined(crm, ana, 1)
        first = crm.activities.void(wrong.id, key="click")
        assert crm.activities.void(wrong.id, key="click") == first
        with pytest.raises(InvalidInput, match="voided before"):
            crm.activities.void(wrong.id)
        with pytest.raises(IdempotencyConflict):
            crm.activities.void(wrong.id, reason="another", key="click")


class TestThePrice:
    def test_it_is_corrected(self, crm: CRMService, ana: str) -> None:
        """A zero too many: amended, nothing else changes."""
        table = dined(crm, ana, 1, amount=1_200, item="Table 7")
        crm.activities.amend(table.id, {"amount": 120}, reason="a zero too many", key="fix 1")
        metrics = crm.activities.metrics(ana)
        assert (metrics.bookings, metrics.orders, metrics.guests) == (1, 1, 4)
        assert spent(crm, ana) == euros(120)
        assert counted(crm, ana, "item") == {"Table 7": (1, 12_000)}
        assert crm.loyalty.account(ana).balance == 100

    def test_the_kind_of_evening_is_corrected(self, crm: CRMService, ana: str) -> None:
        """It was a party: the points of a party, and the larger group."""
        table = dined(crm, ana, 1)
        crm.activities.amend(table.id, {"type": "party", "party_size": 12})
        assert crm.loyalty.account(ana).balance == 200
        assert counted(crm, ana, "companions") == {"large group": (1, 10_000)}

    def test_the_correction_was_a_mistake(self, crm: CRMService, ana: str) -> None:
        """Voided, the first price stands again."""
        table = dined(crm, ana, 1)
        amendment = crm.activities.amend(table.id, {"amount": 10})
        assert spent(crm, ana) == euros(10)
        crm.activities.void(amendment.id)
        assert spent(crm, ana) == euros(100)


class TestAComplaint:
    def test_half_goes_back(self, crm: CRMService, ana: str) -> None:
        """Half of the money and half of the points, in the week in which it happened."""
        table = dined(crm, ana, 1, item="Table 7")
        refund = crm.activities.refund(
            table.id, fraction=0.5, reason="cold soup", at="2026-01-12T10:00:00Z", key="complaint 1"
        )
        assert refund.amount == euros(50)
        assert spent(crm, ana) == euros(50)
        assert crm.loyalty.account(ana).balance == 50
        assert counted(crm, ana, "item") == {"Table 7": (1, 5_000)}
        assert crm.activities.metrics(ana).refunds == 1
        assert [e.points for e in crm.loyalty.history(ana)] == [-50, 100]

    def test_the_refund_was_a_mistake(self, crm: CRMService, ana: str) -> None:
        """The void of a refund brings back the money and the points; then it may go again."""
        table = dined(crm, ana, 1)
        refund = crm.activities.refund(table.id, key="refund 1")
        assert (spent(crm, ana), crm.loyalty.account(ana).balance) == (euros(0), 0)
        crm.activities.void(refund.id, reason="the card was charged again")
        assert (spent(crm, ana), crm.loyalty.account(ana).balance) == (euros(100), 100)
        assert crm.activities.metrics(ana).refunds == 0
        assert crm.activities.refund(table.id, amount=100).amount == euros(100)

    def test_no_more_than_was_paid(self, crm: CRMService, ana: str) -> None:
        """Two colleagues answer one complaint."""
        table = dined(crm, ana, 1)
        crm.activities.refund(table.id, amount=70)
        with pytest.raises(InvalidInput) as caught:
            crm.activities.refund(table.id, amount=50)
        assert caught.value.field == "amount"
        assert spent(crm, ana) == euros(30)

    def test_the_price_falls_below_what_went_back(self, crm: CRMService, ana: str) -> None:
        """Nobody gets more than was paid; once the price is right again, so is the rest."""
        table = dined(crm, ana, 1)
        crm.activities.refund(table.id, amount=70)
        wrong = crm.activities.amend(table.id, {"amount": 60})
        assert (spent(crm, ana), crm.loyalty.account(ana).balance) == (euros(0), 0)
        crm.activities.void(wrong.id)
        assert (spent(crm, ana), crm.loyalty.account(ana).balance) == (euros(30), 30)

    def test_points_that_were_used_become_debt(self, crm: CRMService, ana: str) -> None:
        table = dined(crm, ana, 1)
        crm.loyalty.update_points(ana, -80, reason="free dessert")
        crm.activities.void(table.id)
        account = crm.loyalty.account(ana)
        assert (account.balance, account.qualifying) == (-80, 0)


class TestAnImport:
    """The till's export of last year, guests by e-mail or phone."""

    def lines(self) -> Iterator[dict[str, Any]]:
        guests = [
            {"email": "ana@mail.com", "phone": "+39 347 1234567"},
            {"phone": "347 123 4567", "name": "Ana Pop"},
            {"email": "dan@mail.com", "name": "Dan"},
        ]
        for n in range(30):
            yield {
                "customer": guests[n % 3],
                "kind": "booking",
                "payload": {"booking_id": n, "amount": "20.50", "status": "completed"},
                "at": f"2025-0{n % 9 + 1}-15T20:00:00Z",
                "key": f"till {n}",
            }

    def test_it_is_run_twice(self, crm: CRMService, clock: FrozenClock) -> None:
        """The second run finds everything there, and changes nothing."""
        done = crm.activities.track_many(self.lines())
        assert (done.recorded, done.repeated, done.refused) == (30, 0, 0)
        guests = list(crm.customers.list())
        assert len(guests) == 2
        before = [(crm.activities.metrics(g.id), crm.loyalty.account(g.id)) for g in guests]
        assert sorted(m.spend_minor for m, _ in before) == [10 * 2_050, 20 * 2_050]
        clock.advance(days=1)
        again = crm.activities.track_many(self.lines())
        assert (again.recorded, again.repeated, again.refused) == (0, 30, 0)
        assert list(crm.customers.list()) == guests
        assert before == [(crm.activities.metrics(g.id), crm.loyalty.account(g.id)) for g in guests]

    def test_what_was_corrected_stays_so(self, crm: CRMService, storage: Storage) -> None:
        """A line that was voided since does not come back with the next run."""
        crm.activities.track_many(self.lines())
        with storage.read(crm.tenant) as uow:
            wrong = uow.find(Activity, reference="7")[0]
        crm.activities.void(wrong.id)
        crm.activities.track_many(self.lines())
        metrics = crm.activities.metrics(wrong.customer_id or "")
        assert (metrics.bookings, metrics.spend_minor) == (19, 19 * 2_050)

    def test_the_erased_do_not_come_back(self, crm: CRMService) -> None:
        """Their lines are refused; those of the others are repeated."""
        crm.activities.track_many(self.lines())
        [dan] = [c.id for c in crm.customers.list() if c.email == "dan@mail.com"]
        crm.gdpr.erase(dan)
        again = crm.activities.track_many(self.lines())
        assert (again.recorded, again.repeated, again.refused) == (0, 20, 10)
        assert len(crm.customers.list()) == 1

    def test_a_line_is_wrong(self, crm: CRMService) -> None:
        """The rest is in; once the line is right, the run adds only that."""
        lines = list(self.lines())
        right, lines[4] = lines[4], lines[4] | {"at": "last Friday"}
        done = crm.activities.track_many(lines)
        assert (done.recorded, done.refused) == (29, 1)
        assert [(r.position, r.error.field) for r in done.refusals if isinstance(
            r.error, InvalidInput)] == [(4, "at")]  # fmt: skip
        lines[4] = right
        assert crm.activities.track_many(lines).recorded == 1
        assert crm.activities.verify() == ()
