"""What insights say of customers, worked out by hand, on every storage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from crmkit import Activity, CRMService, Erased, InvalidInput, Money, NotFound, Settings, migrate
from crmkit.insights.habits import DayShare
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock

CLUB = Settings(timezone="Europe/Bucharest", day_ends="06:00")
FIRST_BOOKING = datetime(2025, 9, 15, 18, tzinfo=UTC)  # 4 months of 30.4375 days before the clock
FIRST_VISIT = datetime(2025, 11, 15, 15, tzinfo=UTC)  # 2 months before it


def euros(amount: float) -> Money:
    return Money(round(amount * 100), "EUR")


def at_club(storage: Storage, clock: FrozenClock) -> CRMService:
    return CRMService(storage, clock=clock, settings=CLUB)


@pytest.fixture
def ana(crm: CRMService) -> str:
    """A player: two rooms played, one not come to, one cancelled, a voucher bought."""
    customer = crm.find_or_create({"email": "ana@mail.com", "name": "Ana Pop"}).id

    def told(kind: str, at: datetime | str, **payload: Any) -> None:
        crm.track_activity(customer, kind, payload, at=at)

    mill = {"venue_id": "v1", "venue": "Old Mill"}
    harbour = {"venue_id": "v2", "venue": "Harbour", "method": "WEBSITE"}
    tomb = {"game_id": "g2", "game": "Tomb", **mill}
    told("booking", FIRST_BOOKING, booking_id="b1", game_id="g1", game="Prison", amount=80,
         party_size=4, category="escape", method="WEBSITE", **mill)  # fmt: skip
    told("check_in", FIRST_VISIT, booking_id="b1")
    told("booking", "2025-11-20T10:00:00Z", booking_id="b2", game_id="g1", game="Prison Break",
         amount=120, party_size=2, status="completed", **harbour)  # fmt: skip
    told("check_in", "2025-12-27T20:10:00Z", booking_id="b2")
    told("refund", "2025-12-28T09:00:00Z", booking_id="b2", amount=20)
    told("booking", "2025-12-01T10:00:00Z", booking_id="b3", amount=100, party_size=6, **tomb)
    told("no_show", "2025-12-05T20:00:00Z", booking_id="b3")
    told("booking", "2026-01-05T10:00:00Z", booking_id="b4", amount=60, **tomb)
    told("cancellation", "2026-01-06T10:00:00Z", booking_id="b4")
    told("purchase", "2026-01-06T16:00:00Z", order_id="o1", amount="40.50", item="Voucher")
    return customer


class TestNumbers:
    def test_counts_and_money(self, crm: CRMService, ana: str) -> None:
        """What is off counts only as called off; 80 + (120 − 20) + 40.50 were spent."""
        found = crm.insights.for_customer(ana)
        assert found.customer == crm.customers.get(ana)
        assert (found.total_bookings, found.completed_bookings, found.total_orders) == (2, 1, 3)
        assert (found.total_visits, found.events_attended) == (2, 0)
        assert (found.cancellations, found.no_shows) == (1, 1)
        assert found.total_spent == euros(220.50)
        assert found.average_booking_value == euros(110.25)
        assert found.average_order_value == euros(73.50)

    def test_rates(self, crm: CRMService, ana: str) -> None:
        """One no-show of three that were not cancelled; 4 and 2 people; months of 30.4375 days."""
        found = crm.insights.for_customer(ana)
        assert found.no_show_rate == 1 / 3
        assert found.average_party_size == 3.0
        assert found.booking_frequency_per_month == 2 / 4
        assert found.visits_per_month == 2 / 2

    def test_dates_and_bands(self, crm: CRMService, ana: str) -> None:
        found = crm.insights.for_customer(ana)
        assert found.first_booking_at == FIRST_BOOKING
        assert found.last_booking_at == datetime(2025, 11, 20, 10, tzinfo=UTC)
        assert found.first_visit_at == FIRST_VISIT
        assert found.last_order_at == datetime(2026, 1, 6, 16, tzinfo=UTC)
        assert found.days_since_last_visit == 18  # and 15 hours and 50 minutes
        assert found.lifecycle_stage == "active"
        assert (found.spending_band, found.frequency_band) == ("medium", "occasional")

    def test_habits(self, crm: CRMService, ana: str) -> None:
        """The room's last name; of venues and groups that tie, the one with more spend."""
        found = crm.insights.for_customer(ana)
        item, venue, group = found.favourite_item, found.preferred_venue, found.usual_group
        assert item is not None
        assert (item.value, item.label, item.count) == ("g1", "Prison Break", 2)
        assert item.spent == euros(180)
        assert venue is not None
        assert (venue.value, venue.label, venue.count) == ("v2", "Harbour", 1)
        assert group is not None
        assert (group.value, group.count) == ("pair", 1)
        assert found.favourite_category is not None
        assert found.favourite_category.label == "escape"
        assert found.favourite_channel is not None
        assert (found.favourite_channel.label, found.favourite_channel.count) == ("WEBSITE", 2)
        assert found.favourite_genre is None
        assert found.preferred_days == (
            DayShare("saturday", 2, 2 / 3),
            DayShare("tuesday", 1, 1 / 3),
        )
        assert (found.typical_arrival, found.arrival) == (time(15, 0), "early")

    def test_of_nobody_yet_nothing_is_told(self, crm: CRMService) -> None:
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        found = crm.insights.for_customer(bob)
        assert (found.total_bookings, found.total_spent) == (0, euros(0))
        assert (found.lifecycle_stage, found.spending_band, found.frequency_band) == (
            "lead", "low", "none",
        )  # fmt: skip
        assert (found.booking_frequency_per_month, found.visits_per_month) == (0.0, 0.0)
        missing = (
            found.average_booking_value, found.no_show_rate, found.average_party_size,
            found.days_since_last_visit, found.favourite_item, found.typical_arrival, found.arrival,
        )  # fmt: skip
        assert set(missing) == {None}
        assert found.preferred_days == ()
        assert crm.insights.items(bob) == ()
        assert crm.insights.spend_series(bob) == ()
        assert crm.insights.heatmap(bob).total == 0

    def test_a_young_customer_is_not_extrapolated(self, crm: CRMService) -> None:
        """Two bookings of one week are two a month, not nine."""
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        for n in (1, 2):
            crm.track_activity(bob, "booking", {"booking_id": n}, at=f"2026-01-0{n}T12:00:00Z")
        assert crm.insights.for_customer(bob).booking_frequency_per_month == 2.0

    def test_an_average_is_rounded_to_the_even_unit(self, crm: CRMService) -> None:
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        for n, amount in enumerate(("0.01", "0.02", "0.03", "0.04")):
            crm.track_activity(bob, "purchase", {"order_id": n, "amount": amount})
        assert crm.insights.for_customer(bob).average_order_value == Money(2, "EUR")  # of 2.5

    def test_without_a_visit_the_last_booking_tells_how_long_ago(self, crm: CRMService) -> None:
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        crm.track_activity(bob, "booking", {}, at="2026-01-05T12:00:00.000001Z")
        assert crm.insights.for_customer(bob).days_since_last_visit == 9
        crm.track_activity(bob, "visit", {}, at="2026-01-02T12:00:00Z")
        assert crm.insights.for_customer(bob).days_since_last_visit == 13

    def test_days_are_counted_to_the_instant(self, crm: CRMService, ana: str) -> None:
        found = crm.insights.for_customer(ana, at="2026-07-01T00:00:00Z")
        assert (found.days_since_last_visit, found.lifecycle_stage) == (185, "at_risk")
        assert found.at == datetime(2026, 7, 1, tzinfo=UTC)


class TestItemsAndVenues:
    def test_items(self, crm: CRMService, ana: str) -> None:
        """By count, with what was paid for each and its dates; what was called off is not there."""
        prison, voucher = crm.insights.items(ana)
        assert (prison.value, prison.count, prison.spent) == ("g1", 2, euros(180))
        assert prison.first_at == FIRST_BOOKING
        assert prison.last_at == datetime(2025, 11, 20, 10, tzinfo=UTC)
        assert (voucher.value, voucher.label, voucher.count) == ("Voucher", "Voucher", 1)
        assert voucher.spent == euros(40.50)

    def test_venues(self, crm: CRMService, ana: str) -> None:
        """One visit each: the one with more spend comes first."""
        found = [(v.value, v.label, v.count, v.spent) for v in crm.insights.venues(ana)]
        assert found == [("v2", "Harbour", 1, euros(100)), ("v1", "Old Mill", 1, euros(80))]

    def test_a_tie_is_broken_by_the_name(self, crm: CRMService) -> None:
        """By code point, whatever the storage's locale; the favourite is the first of them."""
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        names = ["b", "B", "é", "z", "Z", "a", "\uffff", "\U0001f600"]
        for name in names:
            crm.track_activity(bob, "purchase", {"amount": 5, "item": name})
        assert [i.label for i in crm.insights.items(bob)] == sorted(names)
        assert crm.insights.for_customer(bob).favourite_item == crm.insights.items(bob)[0]


class TestHistory:
    def test_filters(self, crm: CRMService, ana: str) -> None:
        def told(**asked: Any) -> list[str | None]:
            return [f"{a.kind} {a.reference}" for a in crm.insights.history(ana, **asked)]

        assert told(item="Tomb") == ["booking b4", "booking b3"]
        assert told(venue="Harbour") == ["booking b2"]
        assert told(item="Tomb", venue="Harbour") == []
        assert told(kinds=["no_show", "refund"]) == ["refund b2", "no_show b3"]
        assert told(kinds=[]) == []
        assert told(item="Tomb", until="2026-01-05T10:00:00Z") == ["booking b3"]
        assert told(since="2026-01-06T16:00:00Z") == ["purchase o1"]
        both = told(since="2025-12-27T20:10:00Z", until="2026-01-05T10:00:00Z")
        assert both == ["refund b2", "check_in b2"]

    def test_pages_cross_exactly(self, crm: CRMService) -> None:
        """Of facts at one instant too, none is left out and none comes twice."""
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        for n in range(24):
            payload = {"item": "one" if n % 2 else "two"}
            crm.track_activity(bob, "visit", payload, at=f"2026-01-0{n // 6 + 1}T12:00:00Z")
        asked: dict[str, Any] = {
            "item": "one", "since": "2026-01-02T00:00:00Z", "until": "2026-01-04T12:00:00Z",
        }  # fmt: skip
        whole = crm.insights.history(bob, **asked)
        assert [a.occurred_at.day for a in whole] == [3, 3, 3, 2, 2, 2]
        for size in (1, 2, 3, 4, 6):
            seen: list[Activity] = []
            after, turns = None, 0
            while turns == 0 or after:
                page = crm.insights.history(bob, limit=size, after=after, **asked)
                seen += page.items
                after, turns = page.next, turns + 1
            assert tuple(seen) == whole.items
            assert turns <= len(whole) // size + 1

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"kinds": "visit"}, "kinds"),
            ({"kinds": ["vizit"]}, "kinds"),
            ({"kinds": [7]}, "kinds"),
            ({"item": ""}, "item"),
            ({"venue": 7}, "venue"),
            ({"since": "yesterday"}, "since"),
            ({"until": datetime(2026, 1, 1)}, "until"),
            ({"limit": 0}, "limit"),
            ({"after": "x"}, "after"),
        ],
    )
    def test_what_cannot_be_asked(
        self, crm: CRMService, ana: str, asked: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            crm.insights.history(ana, **asked)
        assert refused.value.field == field


class TestSeries:
    def test_spend(self, crm: CRMService, ana: str) -> None:
        """A refund lowers the month of its payment; months without spend are there, with zero."""
        months = crm.insights.spend_series(ana)
        assert [(m.name, m.value) for m in months] == [
            ("2025-09", euros(80)),
            ("2025-10", euros(0)),
            ("2025-11", euros(100)),
            ("2025-12", euros(0)),
            ("2026-01", euros(40.50)),
        ]

    def test_weeks_bear_the_year_of_their_thursday(self, crm: CRMService) -> None:
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        for day in ("2025-12-28", "2026-01-14", "2026-01-15"):
            crm.track_activity(bob, "visit", {}, at=f"{day}T12:00:00Z")
        weeks = crm.insights.visit_series(bob, "week")
        assert [(w.name, w.start.isoformat(), w.value) for w in weeks] == [
            ("2025-W52", "2025-12-22", 1),
            ("2026-W01", "2025-12-29", 0),
            ("2026-W02", "2026-01-05", 0),
            ("2026-W03", "2026-01-12", 2),
        ]

    def test_days_pass_29_february(self, storage: Storage, clock: FrozenClock) -> None:
        """At 00:30 on 1 March the night of 29 February goes on."""
        crm = at_club(storage, clock)
        bob = crm.find_or_create({"user_id": 1}).id
        for moment in ("2024-02-28T20:00:00Z", "2024-02-29T22:30:00Z", "2024-03-01T04:00:00Z"):
            crm.track_activity(bob, "visit", {}, at=moment)
        days = crm.insights.visit_series(bob, "day")
        assert [(d.name, d.value) for d in days] == [
            ("2024-02-28", 1), ("2024-02-29", 1), ("2024-03-01", 1),
        ]  # fmt: skip
        months = crm.insights.visit_series(bob, "month")
        assert [(m.name, m.value) for m in months] == [("2024-02", 2), ("2024-03", 1)]

    def test_bookings_belong_to_the_day_they_are_for(self, crm: CRMService) -> None:
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        late = {"booking_id": 1, "starts_at": "2026-02-03T19:00:00Z"}
        crm.track_activity(bob, "booking", late, at="2026-01-10T12:00:00Z")
        crm.track_activity(bob, "booking", {"booking_id": 2}, at="2026-01-11T12:00:00Z")
        crm.track_activity(bob, "cancellation", {"booking_id": 2}, at="2026-01-12T12:00:00Z")
        assert [(m.name, m.value) for m in crm.insights.booking_series(bob)] == [("2026-02", 1)]

    def test_only_what_had_happened(self, crm: CRMService, ana: str) -> None:
        then = "2025-12-01T00:00:00Z"
        assert [m.value for m in crm.insights.spend_series(ana, at=then)] == [
            euros(80), euros(0), euros(120),
        ]  # fmt: skip
        assert [m.name for m in crm.insights.visit_series(ana, at=then)] == ["2025-11"]

    def test_an_unknown_period_is_refused(self, crm: CRMService, ana: str) -> None:
        with pytest.raises(InvalidInput, match="month"):
            crm.insights.spend_series(ana, "moth")

    def test_revenue_is_the_sum_of_all_customers(
        self, storage: Storage, clock: FrozenClock
    ) -> None:
        """Also of a payment at night, which belongs to the business day before."""
        crm = at_club(storage, clock)
        bob = crm.find_or_create({"user_id": 1}).id
        crm.track_activity(bob, "purchase", {"amount": 7}, at="2025-12-31T23:30:00Z")
        assert crm.insights.revenue_by_month() == {"2025-12": euros(7)}
        assert [(m.name, m.value) for m in crm.insights.spend_series(bob)] == [
            ("2025-12", euros(7))
        ]


class TestNights:
    """A club whose business day ends at six, in a zone with summer time."""

    def came(self, crm: CRMService, *moments: str) -> str:
        guest = crm.find_or_create({"user_id": 1}).id
        for moment in moments:
            crm.track_activity(guest, "check_in", {}, at=moment)
        return guest

    def test_half_past_one_belongs_to_the_night_before(
        self, storage: Storage, clock: FrozenClock
    ) -> None:
        """Sunday 01:30 is Saturday's night; Sunday 06:00 is Sunday."""
        crm = at_club(storage, clock)
        guest = self.came(crm, "2026-01-10T23:30:00Z", "2026-01-11T04:00:00Z")
        assert crm.insights.for_customer(guest).preferred_days == (
            DayShare("saturday", 1, 0.5), DayShare("sunday", 1, 0.5),
        )  # fmt: skip
        seen = crm.insights.heatmap(guest)
        assert (seen.counts[5][1], seen.counts[6][6], seen.total) == (1, 1, 2)
        assert [len(row) for row in seen.counts] == [24] * 7

    def test_midnight_does_not_part_arrivals(self, storage: Storage, clock: FrozenClock) -> None:
        """23:45, 00:15 and 00:20: in the middle is a quarter past midnight, not the evening."""
        crm = at_club(storage, clock)
        guest = self.came(
            crm, "2026-01-02T21:45:00Z", "2026-01-03T22:15:00Z", "2026-01-09T22:20:00Z"
        )
        found = crm.insights.for_customer(guest)
        assert (found.typical_arrival, found.arrival) == (time(0, 15), "medium")

    @pytest.mark.parametrize(
        ("moments", "hours"),
        [
            (("2025-03-30T00:30:00Z", "2025-03-30T01:30:00Z"), (2, 4)),  # 02:30, then 04:30
            (("2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"), (3, 3)),  # 03:30, twice
        ],
    )
    def test_the_clock_change(
        self,
        storage: Storage,
        clock: FrozenClock,
        moments: tuple[str, str],
        hours: tuple[int, int],
    ) -> None:
        """Both hours of the night belong to Saturday, as its clocks showed them."""
        crm = at_club(storage, clock)
        guest = self.came(crm, *moments)
        saturday = crm.insights.heatmap(guest).counts[5]
        expected = [0] * 24
        for hour in hours:
            expected[hour] += 1
        assert list(saturday) == expected
        assert [day.weekday for day in crm.insights.for_customer(guest).preferred_days] == [
            "saturday"
        ]


class TestView:
    def test_all_on_one_page(self, crm: CRMService, ana: str) -> None:
        crm.customers.tag(ana, "regular", "b-day")
        crm.customers.update(ana, {"preferences": {"seating": ["window"]}})
        crm.customers.add_note(ana, "Likes the back room", at="2026-01-01T00:00:00Z")
        crm.customers.add_note(ana, "Brings friends", at="2026-01-15T12:00:00Z")
        crm.add_to_segment(ana, "vip")
        crm.gdpr.consents.give(ana, "email", source="form")
        for kind in ("review", "message_delivered", "message_opened"):
            crm.track_activity(ana, kind, {})
        view = crm.insights.view(ana)
        assert view.insights == crm.insights.for_customer(ana)
        assert view.customer == crm.customers.get(ana)
        assert view.preferences.seating == ("window",)
        assert [n.text for n in view.notes] == ["Brings friends", "Likes the back room"]
        assert (view.tags, view.segments) == (("b-day", "regular"), ("vip",))
        assert view.loyalty == crm.loyalty.account(ana)
        assert view.consent == crm.gdpr.consents.state(ana)
        engaged = view.engagement
        assert (engaged.reviews, engaged.referrals, engaged.messages_opened) == (1, 0, 1)

    def test_reservations_and_orders_as_they_stand(self, crm: CRMService, ana: str) -> None:
        """Each once, the latest first, with what became of it and what is left of the money."""
        again = {"booking_id": "b1", "status": "confirmed"}
        crm.track_activity(ana, "booking", again, at="2025-11-01T10:00:00Z")
        view = crm.insights.view(ana)
        assert [(r.activity.reference, r.state, r.spent) for r in view.reservations] == [
            ("b4", "cancelled", euros(0)),
            ("b3", "no_show", euros(0)),
            ("b2", "completed", euros(100)),
            ("b1", "open", euros(80)),
        ]
        assert view.reservations[-1].activity.status == "confirmed"
        assert view.reservations[-1].activity.amount == euros(80)
        assert [(o.activity.reference, o.spent) for o in view.orders] == [("o1", euros(40.50))]

    def test_a_voided_order_is_not_there(self, crm: CRMService, ana: str) -> None:
        (order,) = crm.insights.view(ana).orders
        crm.activities.amend(order.activity.id, {"amount": "41.00"})
        assert crm.insights.view(ana).orders[0].spent == euros(41)
        crm.activities.void(order.activity.id)
        assert crm.insights.view(ana).orders == ()

    def test_ten_of_each_are_enough(self, crm: CRMService) -> None:
        bob = crm.find_or_create({"email": "bob@mail.com"}).id
        for n in range(12):
            crm.track_activity(bob, "purchase", {"order_id": n, "amount": n}, at=_january(n))
            crm.customers.add_note(bob, f"note {n}", at=_january(n))
        view = crm.insights.view(bob)
        assert [o.activity.reference for o in view.orders] == [str(n) for n in range(11, 1, -1)]
        assert len(view.notes) == 10

    def test_then(self, crm: CRMService, ana: str) -> None:
        """Orders, reservations, notes and numbers as of an instant."""
        crm.customers.add_note(ana, "Later", at="2026-01-01T00:00:00Z")
        view = crm.insights.view(ana, at="2025-12-02T00:00:00Z")
        assert [(r.activity.reference, r.state) for r in view.reservations] == [
            ("b3", "open"), ("b2", "completed"), ("b1", "open"),
        ]  # fmt: skip
        assert view.reservations[1].spent == euros(120)
        assert (view.orders, view.notes) == ((), ())
        assert view.insights.total_bookings == 3


def _january(n: int) -> str:
    return f"2026-01-{n + 1:02}T12:00:00Z"


ABOUT: dict[str, Callable[[CRMService, str], object]] = {
    "for_customer": lambda crm, c: crm.insights.for_customer(c),
    "for_customer then": lambda crm, c: crm.insights.for_customer(c, at="2020-01-01T00:00:00Z"),
    "view": lambda crm, c: crm.insights.view(c),
    "items": lambda crm, c: crm.insights.items(c),
    "venues": lambda crm, c: crm.insights.venues(c, known_at="2020-01-01T00:00:00Z"),
    "history": lambda crm, c: crm.insights.history(c),
    "heatmap": lambda crm, c: crm.insights.heatmap(c),
    "spend_series": lambda crm, c: crm.insights.spend_series(c),
    "visit_series": lambda crm, c: crm.insights.visit_series(c, "day"),
    "booking_series": lambda crm, c: crm.insights.booking_series(c),
}


@pytest.mark.parametrize("ask", ABOUT.values(), ids=ABOUT)
def test_nobody_and_the_erased(
    crm: CRMService, ana: str, ask: Callable[[CRMService, str], object]
) -> None:
    """Of an id that never was, of another tenant's and of an erased person there is no answer."""
    ask(crm, ana)
    for nobody in ("nobody", "", 7):
        with pytest.raises(NotFound):
            ask(crm, nobody)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        ask(crm.for_tenant("other"), ana)
    crm.gdpr.erase(ana)
    with pytest.raises(Erased):
        ask(crm, ana)


class TestCost:
    """On SQLite, by the statements that reach the driver."""

    def asked(self, tmp_path: Any, many: int) -> tuple[CRMService, str, list[str]]:
        engine = sa.create_engine(f"sqlite:///{tmp_path}/{many}.db")
        statements: list[str] = []

        @sa.event.listens_for(engine, "connect")
        def _(connection: sqlite3.Connection, _: object) -> None:
            connection.set_trace_callback(statements.append)

        migrate(engine)
        crm = CRMService(engine, clock=FrozenClock())
        guest = crm.find_or_create({"user_id": 1}).id
        crm.activities.track_many(
            {
                "customer_id": guest,
                "kind": "booking" if n % 2 else "visit",
                "payload": {"item": f"item {n}", "amount": 5} if n % 2 else {"venue": "V"},
                "at": datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=n),
            }
            for n in range(many)
        )
        statements.clear()
        return crm, guest, statements

    @pytest.mark.parametrize("many", [1, 1_000])
    def test_for_customer(self, tmp_path: Any, many: int) -> None:
        """Five queries at most, and none that reads activities, however many there are."""
        crm, guest, statements = self.asked(tmp_path, many)
        crm.insights.for_customer(guest)
        queries = [s for s in statements if s.startswith("SELECT")]
        assert 0 < len(queries) <= 5
        assert not [s for s in queries if "crm_activities" in s]

    def test_view_and_history(self, tmp_path: Any) -> None:
        """As many queries for a busy customer as for a quiet one; one of activities a page."""
        counts = []
        for many in (20, 1_000):
            crm, guest, statements = self.asked(tmp_path, many)
            crm.insights.view(guest)
            counts.append(sum(s.startswith("SELECT") for s in statements))
            statements.clear()
            crm.insights.history(guest, item="item 3", limit=5)
            assert sum("FROM crm_activities" in s for s in statements) == 1
        assert counts[0] == counts[1] <= 20
