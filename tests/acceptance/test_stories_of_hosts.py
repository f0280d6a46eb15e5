"""What a booking app does with crmkit, told through the public interface, on every storage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crmkit import (
    AlreadyTaken,
    CRMService,
    Erased,
    IdempotencyConflict,
    InsufficientPoints,
    InvalidInput,
    MemoryStorage,
    Money,
    NotFound,
    Settings,
)
from crmkit.model.catalogue import owned
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.fixtures import sqlite_url
from tests.populate import rows, values


def euros(amount: int) -> Money:
    return Money(amount * 100, "EUR")


def booked(crm: CRMService, customer: str, booking: str, **more: Any) -> None:
    crm.track_activity(customer, "booking", {"booking_id": booking, **more}, key=booking)


class TestRestaurant:
    """Tables are booked, honoured, cancelled, paid back."""

    def test_a_completed_booking(self, crm: CRMService) -> None:
        """It counts as booking and as order, and earns its points once, when it took place."""
        ana = crm.find_or_create({"email": "ana@mail.com", "name": "Ana Pop"})
        booked(crm, ana.id, "b1", amount="120.50", party_size=4, venue="Centre")
        metrics = crm.activities.metrics(ana.id)
        assert (metrics.bookings, metrics.completed_bookings, metrics.orders) == (1, 0, 1)
        assert crm.loyalty.account(ana.id).balance == 0
        for _ in range(2):
            crm.track_activity(ana.id, "completion", {"booking_id": "b1"}, key="b1 done")
        metrics = crm.activities.metrics(ana.id)
        assert (metrics.bookings, metrics.completed_bookings, metrics.orders) == (1, 1, 1)
        assert crm.loyalty.account(ana.id).balance == 100
        assert crm.get_lifetime_value(ana.id).historic == Money(12_050, "EUR")

    def test_a_booking_restated(self, crm: CRMService) -> None:
        """The host sends the booking again when it changes: counted once, as it was last said."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        crm.track_activity(ana.id, "booking", {"booking_id": "b1", "status": "requested"})
        changed = {"booking_id": "b1", "status": "completed", "type": "party", "amount": 80}
        crm.track_activity(ana.id, "booking", changed, at="2026-02-01T20:00:00Z")
        metrics = crm.activities.metrics(ana.id)
        assert (metrics.bookings, metrics.completed_bookings) == (1, 1)
        assert metrics.spend_minor == 8_000
        assert crm.loyalty.account(ana.id).balance == 200

    def test_a_cancelled_booking(self, crm: CRMService) -> None:
        """Everything that it had added goes, dates and points too; the cancellation counts."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        untouched = crm.activities.metrics(ana.id)
        booked(crm, ana.id, "b1", amount=120, status="completed")
        assert crm.loyalty.account(ana.id).balance == 100
        crm.track_activity(ana.id, "cancellation", {"booking_id": "b1"})
        metrics = crm.activities.metrics(ana.id)
        assert (metrics.activities, metrics.cancellations) == (2, 1)
        kept = values(metrics) | {"activities": 0, "cancellations": 0}
        kept |= {"first_activity_at": None, "last_activity_at": None}
        assert kept == values(untouched)
        assert crm.loyalty.account(ana.id).balance == 0
        assert [e.points for e in crm.loyalty.history(ana.id)] == [-100, 100]

    def test_a_no_show(self, crm: CRMService) -> None:
        ana = crm.find_or_create({"email": "ana@mail.com"})
        booked(crm, ana.id, "b1", amount=120)
        crm.track_activity(ana.id, "no_show", {"booking_id": "b1"})
        metrics = crm.activities.metrics(ana.id)
        assert (metrics.bookings, metrics.no_shows, metrics.spend_minor) == (0, 1, 0)

    def test_refunds(self, crm: CRMService) -> None:
        """A part gives back its part of the points; without an amount all is given back."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        booked(crm, ana.id, "b1", amount=100, status="completed")
        crm.track_activity(ana.id, "refund", {"booking_id": "b1", "amount": 33})
        assert crm.get_lifetime_value(ana.id).historic == euros(67)
        assert crm.loyalty.account(ana.id).balance == 67
        crm.track_activity(ana.id, "refund", {"booking_id": "b1"})
        assert crm.get_lifetime_value(ana.id).historic == euros(0)
        assert crm.loyalty.account(ana.id).balance == 0
        assert crm.activities.metrics(ana.id).refunds == 2

    def test_facts_come_late_and_out_of_order(self, crm: CRMService) -> None:
        """The cancellation arrives before its booking: the end is the same."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        crm.track_activity(ana.id, "cancellation", {"booking_id": "b1"})
        booked(crm, ana.id, "b1", amount=100, status="completed")
        metrics = crm.activities.metrics(ana.id)
        assert (metrics.bookings, metrics.cancellations, metrics.spend_minor) == (0, 1, 0)
        assert crm.loyalty.account(ana.id).balance == 0

    def test_the_same_call_again(self, crm: CRMService) -> None:
        """Same key and content: the first activity; another content: a conflict."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        first = crm.track_activity(ana.id, "purchase", {"amount": 5}, key="k")
        assert crm.track_activity(ana.id, "purchase", {"amount": 5}, key="k") == first
        with pytest.raises(IdempotencyConflict):
            crm.track_activity(ana.id, "purchase", {"amount": 6}, key="k")
        bob = crm.find_or_create({"email": "bob@mail.com"})
        with pytest.raises(IdempotencyConflict):
            crm.track_activity(bob.id, "purchase", {"amount": 5}, key="k")
        assert crm.activities.metrics(bob.id).activities == 0


SHAPE: dict[str, Any] = {
    "id": str,
    "email": str,
    "name": str,
    "phone": str,
    "created_at": str,
    "metrics": {
        "total_orders": int,
        "total_spend": float,
        "events_attended": int,
        "average_order_value": float,
        "lifetime_value": float,
        "last_purchase": str,
    },
    "segments": list,
    "tags": list,
    "preferences": dict,
    "consent": {"marketing_email": bool, "marketing_sms": bool, "updated_at": str},
}


def shape(document: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {
        key: shape(value, like[key]) if isinstance(like.get(key), dict) else type(value)
        for key, value in document.items()
    }


class TestProfile:
    def test_it_has_exactly_the_documented_shape(self, crm: CRMService) -> None:
        """P-41: every key, no other, each of its type."""
        ana = crm.find_or_create(
            {
                "email": "Ana@Mail.com",
                "name": "Ana Pop",
                "phone": "+40 722 123 456",
                "tags": ["newsletter", "early-adopter"],
                "preferences": {"music_genres": ["rock", "jazz"]},
                "communication": ["email"],
                "consent": {"marketing_email": True, "source": "form"},
            }
        )
        crm.track_activity(ana.id, "purchase", {"order_id": "ord_1", "amount": 150.0})
        crm.track_activity(ana.id, "purchase", {"order_id": "ord_2", "amount": "50.50"})
        crm.track_activity(ana.id, "attendance", {"event": "Opening"})
        crm.add_to_segment(ana.id, "vip")
        document = crm.customers.profile(ana.id).to_dict()
        assert shape(document, SHAPE) == SHAPE
        assert list(document) == list(SHAPE)
        assert document == {
            "id": ana.id,
            "email": "Ana@mail.com",
            "name": "Ana Pop",
            "phone": "+40722123456",
            "created_at": "2026-01-15T12:00:00Z",
            "metrics": {
                "total_orders": 2,
                "total_spend": 200.5,
                "events_attended": 1,
                "average_order_value": 100.25,
                "lifetime_value": 200.5,
                "last_purchase": "2026-01-15T12:00:00Z",
            },
            "segments": ["vip"],
            "tags": ["early-adopter", "newsletter"],
            "preferences": {"music_genres": ["rock", "jazz"], "communication": ["email"]},
            "consent": {
                "marketing_email": True,
                "marketing_sms": False,
                "updated_at": "2026-01-15T12:00:00Z",
            },
        }

    def test_of_somebody_of_whom_little_is_known(self, crm: CRMService) -> None:
        """The same keys; what is not known is None, zero or empty, and nothing is consented."""
        document = crm.customers.profile(crm.find_or_create({"first_name": "Ana"}).id).to_dict()
        assert list(document) == list(SHAPE)
        assert list(document["metrics"]) == list(SHAPE["metrics"])
        assert document["metrics"]["average_order_value"] is None
        assert document["metrics"]["last_purchase"] is None
        assert document["consent"] == {
            "marketing_email": False, "marketing_sms": False, "updated_at": None,
        }  # fmt: skip
        assert (document["email"], document["name"]) == (None, "Ana")

    def test_tags_and_notes(self, crm: CRMService, clock: FrozenClock) -> None:
        """Tags are a set; notes are a list, the latest first."""
        ana = crm.find_or_create({"email": "ana@mail.com", "tags": ["vip"]})
        crm.customers.tag(ana.id, "vip", " birthday-regular ")
        crm.customers.untag(ana.id, "never there")
        assert crm.customers.tags(ana.id) == ("birthday-regular", "vip")
        crm.customers.untag(ana.id, "vip")
        assert crm.customers.tags(ana.id) == ("birthday-regular",)
        crm.customers.add_note(ana.id, "Prefers the patio", kind="vip", author="maitre")
        clock.advance(hours=1)
        for _ in range(2):
            crm.customers.add_note(ana.id, "Left early", key="n2")
        notes = crm.customers.notes(ana.id)
        assert [(n.text, n.kind, n.author) for n in notes] == [
            ("Left early", "general", None), ("Prefers the patio", "vip", "maitre"),
        ]  # fmt: skip

    def test_lifetime_value(self, crm: CRMService) -> None:
        """What was spent; what is expected is honestly None."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        crm.track_activity(ana.id, "purchase", {"amount": 150.00, "order_id": "ord_123"})
        value = crm.get_lifetime_value(ana.id)
        assert value.historic == euros(150)
        assert (value.predicted, value.model, value.horizon_days) == (None, None, 365)
        assert crm.get_lifetime_value(ana.id, horizon_days=30).horizon_days == 30


class TestPeople:
    def test_a_guest_becomes_a_user(self, crm: CRMService) -> None:
        """First a booking by e-mail, then an account: one person, with the account's number."""
        guest = crm.find_or_create({"email": "ana@mail.com", "name": "Ana"})
        user = crm.find_or_create({"user_id": 17, "email": "ANA@mail.com", "phone": "+40722123456"})
        assert user.id == guest.id
        assert (user.user_id, user.phone, user.name) == ("17", "+40722123456", "Ana")
        found = crm.identity.resolve({"user_id": "17"})
        assert (found.customer, found.created, found.matched_by) == (user, False, "user_id")

    def test_an_account_belongs_to_one(self, crm: CRMService) -> None:
        crm.find_or_create({"user_id": "17"})
        other = crm.find_or_create({"email": "b@mail.com"})
        with pytest.raises(AlreadyTaken) as caught:
            crm.customers.update(other.id, {"user_id": "17"})
        assert caught.value.field == "user_id"
        crm.customers.update(other.id, {"email": "c@mail.com"})
        assert crm.identity.resolve({"email": "b@mail.com"}, dry_run=True).created
        assert crm.find_or_create({"email": "c@mail.com"}).id == other.id

    def test_updates(self, crm: CRMService) -> None:
        """What is given changes, None clears, keys of mappings change one by one."""
        ana = crm.find_or_create(
            {"email": "ana@mail.com", "city": "Roma", "custom": {"a": 1, "b": 2},
             "preferences": {"drinks": ["gin"], "dress_style": "black"}}
        )  # fmt: skip
        crm.customers.update(ana.id, {"city": None, "custom": {"a": None, "c": 3}})
        crm.customers.update(ana.id, {"preferences": {"dress_style": "red"}})
        now = crm.customers.get(ana.id)
        assert (now.city, now.custom, now.email) == (None, {"b": 2, "c": 3}, "ana@mail.com")
        assert now.preferences.drinks == ("gin",)
        assert now.preferences.dress_style == "red"

    def test_the_list_walks_all_exactly_once(self, crm: CRMService) -> None:
        """In the order of their creation, whatever the page's size, also while some are added."""
        made = [crm.find_or_create({"user_id": n}).id for n in range(25)]
        for limit in (1, 7, 25, 26, 1_000):
            seen, after = list[str](), None
            while True:
                page = crm.customers.list(limit=limit, after=after)
                assert len(page) <= limit
                seen += [c.id for c in page]
                if page.next is None:
                    break
                after = page.next
            assert seen == made
        page = crm.customers.list(limit=20)
        made.append(crm.find_or_create({"user_id": 99}).id)
        crm.gdpr.erase(made[0])
        assert [c.id for c in crm.customers.list(after=page.next)] == made[20:]

    def test_the_timeline(self, crm: CRMService) -> None:
        """The latest first, page by page, each fact once; of some kinds if they are named."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        start = datetime(2025, 6, 1, tzinfo=UTC)
        made = []
        for n in range(12):
            kind = ("visit", "purchase", "review")[n % 3]
            at = start + timedelta(days=n // 2)  # two of each instant
            made.append(crm.track_activity(ana.id, kind, {"amount": n}, at=at))
        made.sort(key=lambda a: (a.occurred_at, a.id), reverse=True)
        for limit in (1, 5, 12):
            seen, after = list[Any](), None
            while True:
                page = crm.activities.timeline(ana.id, limit=limit, after=after)
                seen += page
                if page.next is None:
                    break
                after = page.next
            assert seen == made
        of_kinds = crm.activities.timeline(ana.id, kinds=["visit", "review"])
        assert list(of_kinds) == [a for a in made if a.kind != "purchase"]
        assert list(crm.activities.timeline(ana.id, kinds=[])) == []


class TestLoyalty:
    def test_points_and_tiers(self, crm: CRMService) -> None:
        """The tier rises with the points that were earned, and using points keeps it."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        account = crm.loyalty.account(ana.id)
        assert (account.balance, account.tier, account.to_next_tier) == (0, "BRONZE", 1_000)
        assert crm.loyalty.update_points(ana.id, 999, reason="gift").tier == "BRONZE"
        account = crm.loyalty.update_points(ana.id, 1, reason="gift")
        assert (account.tier, account.next_tier, account.to_next_tier) == ("SILVER", "GOLD", 2_000)
        account = crm.loyalty.update_points(ana.id, -1_000, reason="a free drink")
        assert (account.balance, account.tier) == (0, "SILVER")
        with pytest.raises(InsufficientPoints):
            crm.loyalty.update_points(ana.id, -1, reason="another")
        assert crm.loyalty.account(ana.id) == account
        assert crm.loyalty.update_points(ana.id, 5_000, reason="gift").tier == "PLATINUM"
        assert crm.loyalty.account(ana.id).next_tier is None
        assert [e.points for e in crm.loyalty.history(ana.id)] == [5_000, -1_000, 1, 999]
        tiers = {"BRONZE": 0, "SILVER": 0, "GOLD": 0, "PLATINUM": 1, "VIP": 0}
        assert crm.loyalty.tiers() == tiers

    def test_points_once_for_a_key(self, crm: CRMService) -> None:
        ana = crm.find_or_create({"email": "ana@mail.com"})
        for _ in range(3):
            crm.loyalty.update_points(ana.id, 100, reason="gift", key="g1")
        assert crm.loyalty.account(ana.id).balance == 100
        with pytest.raises(IdempotencyConflict):
            crm.loyalty.update_points(ana.id, 200, reason="gift", key="g1")

    def test_a_failed_taking_leaves_its_key_free(self, crm: CRMService) -> None:
        """The host may try the same call again once there are points."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        with pytest.raises(InsufficientPoints):
            crm.loyalty.update_points(ana.id, -10, reason="drink", key="d1")
        crm.loyalty.update_points(ana.id, 10, reason="gift")
        assert crm.loyalty.update_points(ana.id, -10, reason="drink", key="d1").balance == 0


class TestSegments:
    def test_by_hand(self, crm: CRMService) -> None:
        """The front door makes the segment that is not there yet."""
        ana, bob = (crm.find_or_create({"user_id": n}) for n in (1, 2))
        crm.add_to_segment(ana.id, "vip")
        crm.add_to_segment(ana.id, "vip")
        assert list(crm.segments.members("vip")) == [ana]
        assert crm.segments.count("vip") == 1
        assert not crm.segments.is_member(bob.id, "vip")
        crm.segments.remove(ana.id, "vip")
        assert crm.segments.segments_of(ana.id) == ()
        assert crm.segments.get("vip").rules is None

    def test_by_rule(self, crm: CRMService, clock: FrozenClock) -> None:
        """Membership follows the facts, and time alone, in both directions."""
        rule = {
            "operator": "and",
            "conditions": [
                {"field": "total_spend", "operator": ">=", "value": 100},
                {"field": "last_purchase", "operator": "within", "value": "90d"},
            ],
        }
        crm.segments.create("good", rule)
        ana = crm.find_or_create({"user_id": 1})
        assert not crm.segments.is_member(ana.id, "good")
        crm.track_activity(ana.id, "purchase", {"amount": 100})
        assert [c.id for c in crm.segments.members("good")] == [ana.id]
        assert crm.segments.segments_of(ana.id) == ("good",)
        clock.advance(days=90)
        assert not crm.segments.is_member(ana.id, "good")
        assert crm.segments.count("good") == 0
        assert crm.segments.count("good", at=clock() - timedelta(microseconds=1)) == 1

    def test_asked_once(self, crm: CRMService) -> None:
        """With `auto_update=False` whoever fits when it is made stays, and nobody joins."""
        rule = {"field": "bookings", "operator": "=", "value": 0}
        ana = crm.find_or_create({"user_id": 1})
        crm.segments.create("fixed", rule, auto_update=False)
        crm.find_or_create({"user_id": 2})
        crm.track_activity(ana.id, "booking", {})
        assert [c.id for c in crm.segments.members("fixed")] == [ana.id]
        assert not crm.segments.get("fixed").auto_update

    def test_by_rule_and_by_hand(self, crm: CRMService) -> None:
        """Who was put in by hand is in, whatever the rule says."""
        crm.segments.create("vip", {"field": "tier", "operator": ">=", "value": "GOLD"})
        ana = crm.find_or_create({"user_id": 1})
        crm.add_to_segment(ana.id, "vip")
        assert crm.segments.is_member(ana.id, "vip")
        crm.segments.remove(ana.id, "vip")
        assert not crm.segments.is_member(ana.id, "vip")


class TestPrivacy:
    def test_consents(self, crm: CRMService, clock: FrozenClock) -> None:
        """None until given; the latest word in time stands, also when it is heard late."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        assert not crm.gdpr.consents.state(ana.id).given("marketing", "email")
        crm.gdpr.consents.give(ana.id, "email", source="booking form")
        clock.advance(days=1)
        crm.gdpr.consents.withdraw(ana.id, "email")
        crm.gdpr.consents.give(ana.id, "email", source="old list", at="2020-01-01T00:00:00Z")
        state = crm.gdpr.consents.state(ana.id)
        assert not state.given("marketing", "email")
        assert state.updated_at == clock()
        said = [(c.granted, c.source) for c in crm.gdpr.consents.history(ana.id)]
        assert said == [(True, "old list"), (True, "booking form"), (False, "unknown")]

    def test_every_word_on_consent_is_kept(self, crm: CRMService, clock: FrozenClock) -> None:
        """A yes that is repeated is a fact of its own; the same word of one moment is one fact."""
        said = {"marketing_email": True, "source": "form"}
        ana = crm.find_or_create({"email": "ana@mail.com", "consent": said})
        crm.find_or_create({"email": "ana@mail.com", "consent": said})
        assert len(crm.gdpr.consents.history(ana.id)) == 1
        clock.advance(days=1)
        crm.find_or_create({"email": "ana@mail.com", "consent": said | {"source": "till"}})
        crm.find_or_create({"email": "ana@mail.com", "consent": said | {"marketing_sms": True}})
        kept = [(c.channel, c.source) for c in crm.gdpr.consents.history(ana.id)]
        assert kept == [("email", "form"), ("email", "till"), ("sms", "form")]

    def test_an_old_word_comes_between(self, crm: CRMService) -> None:
        """A repeated yes outlives a withdrawal from before it, whenever that is heard."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        for year in (2023, 2025):
            said = {"marketing_email": True, "source": "form", "at": f"{year}-01-01T00:00:00Z"}
            crm.find_or_create({"email": "ana@mail.com", "consent": said})
        crm.gdpr.consents.withdraw(ana.id, "email", at="2024-01-01T00:00:00Z")
        assert crm.gdpr.consents.state(ana.id).given("marketing", "email")

    @pytest.mark.parametrize("first", ["give", "withdraw"])
    def test_of_two_words_at_one_instant_the_withdrawal_stands(
        self, crm: CRMService, first: str
    ) -> None:
        """In the state, in the profile, and in the rule of a segment."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        agrees = {"field": "consent.marketing_email", "operator": "=", "value": True}
        crm.segments.create("newsletter", agrees)
        words: dict[str, Callable[[], object]] = {
            "give": lambda: crm.gdpr.consents.give(ana.id, "email", source="form"),
            "withdraw": lambda: crm.gdpr.consents.withdraw(ana.id, "email"),
        }
        words.pop(first)()
        for word in words.values():
            word()
        assert not crm.gdpr.consents.state(ana.id).given("marketing", "email")
        assert not crm.customers.profile(ana.id).to_dict()["consent"]["marketing_email"]
        assert crm.segments.count("newsletter") == 0
        assert not crm.segments.is_member(ana.id, "newsletter")

    def test_a_word_from_a_clock_that_is_a_little_ahead(
        self, crm: CRMService, clock: FrozenClock
    ) -> None:
        """Five minutes ahead it is taken; later it is refused, a withdrawal too."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        ahead = clock() + timedelta(minutes=5)
        crm.gdpr.consents.give(ana.id, "email", source="form", at=ahead)
        with pytest.raises(InvalidInput) as caught:
            crm.gdpr.consents.withdraw(ana.id, "email", at=ahead + timedelta(microseconds=1))
        assert caught.value.field == "consent.at"
        assert crm.gdpr.consents.state(ana.id).given("marketing", "email")

    def test_export_and_erase(self, crm: CRMService) -> None:
        """Everything is in the export; after erasure it is empty, and the id is known as erased."""
        ana = crm.find_or_create({"email": "ana@mail.com", "name": "Ana", "tags": ["vip"]})
        booked(crm, ana.id, "b1", amount=50, status="completed")
        crm.customers.add_note(ana.id, "Likes the patio")
        crm.add_to_segment(ana.id, "vip")
        export = crm.gdpr.export(ana.id)
        assert set(export.records) == {
            "crm_activities", "crm_counters", "crm_customers", "crm_idempotency", "crm_identities",
            "crm_loyalty_accounts", "crm_loyalty_entries", "crm_loyalty_lots", "crm_metrics",
            "crm_notes", "crm_occasions", "crm_profile_changes", "crm_segment_customers",
            "crm_segment_states", "crm_tags",
        }  # fmt: skip
        assert export.to_dict()["records"]["crm_customers"][0]["email"] == "ana@mail.com"
        receipt = crm.gdpr.erase(ana.id)
        assert receipt.deleted["crm_customers"] == receipt.anonymised["crm_activities"] == 1
        assert crm.gdpr.export(ana.id).is_empty
        assert crm.gdpr.export(ana.id).erased_at == receipt.erased_at
        with pytest.raises(Erased):
            crm.track_activity(ana.id, "visit")
        again = crm.gdpr.erase(ana.id)
        assert (again.erased_at, again.deleted) == (receipt.erased_at, {})
        assert crm.segments.count("vip") == 0

    def test_who_comes_back_is_somebody_new(self, crm: CRMService) -> None:
        ana = crm.find_or_create({"email": "ana@mail.com"})
        crm.gdpr.erase(ana.id)
        back = crm.find_or_create({"email": "ana@mail.com"})
        assert back.id != ana.id
        assert crm.activities.metrics(back.id).activities == 0


class TestService:
    def test_run_due_changes_nothing_when_nothing_is_due(
        self, crm: CRMService, storage: Storage
    ) -> None:
        """It may be called as often as one likes; of a customer every row stays as it is."""
        crm.find_or_create({"email": "ana@mail.com"})
        before = rows(storage, crm.tenant)
        theirs = {entry.table for entry in owned()} & before.keys()
        assert [crm.run_due().done for _ in range(3)] == [0, 0, 0]
        assert crm.run_due("2020-01-01T00:00:00Z").at == datetime(2020, 1, 1, tzinfo=UTC)
        after = rows(storage, crm.tenant)
        assert {t: after[t] for t in theirs} == {t: before[t] for t in theirs}

    def test_tenants(self, crm: CRMService) -> None:
        """One storage, two houses, each with its own people and settings."""
        other = crm.for_tenant("other", settings=Settings(currency="RON"))
        ana = crm.find_or_create({"email": "ana@mail.com"})
        theirs = other.find_or_create({"email": "ana@mail.com"})
        assert theirs.id != ana.id
        assert (crm.tenant, other.tenant) == ("default", "other")
        assert other.get_lifetime_value(theirs.id).historic.currency == "RON"
        with pytest.raises(NotFound):
            other.customers.get(ana.id)
        assert other.for_tenant("default").customers.get(ana.id) == ana

    def test_closing_the_service_of_one_tenant(self, crm: CRMService) -> None:
        """The storage belongs to the service that opened it, and goes on."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        with crm.for_tenant("other") as other:
            theirs = other.find_or_create({"email": "ana@mail.com"})
            other.for_tenant("third").close()
        assert crm.customers.get(ana.id) == ana
        assert crm.for_tenant("other").customers.get(theirs.id) == theirs

    def test_a_closed_file_opens_again_with_all_that_was_in_it(self, tmp_path: Path) -> None:
        with CRMService(sqlite_url(tmp_path)) as crm:
            ana = crm.find_or_create({"email": "ana@mail.com"})
            crm.track_activity(ana.id, "purchase", {"amount": 5}, key="k")
        with CRMService(sqlite_url(tmp_path)) as again:
            assert again.find_or_create({"email": "ANA@mail.com"}) == ana
            again.track_activity(ana.id, "purchase", {"amount": 5}, key="k")
            assert again.get_lifetime_value(ana.id).historic == euros(5)

    def test_the_clock_and_the_ids_are_the_hosts(self, clock: FrozenClock) -> None:
        ids = iter(["first", "second", "third"])
        crm = CRMService(MemoryStorage(), clock=clock, ids=lambda: next(ids))
        ana = crm.find_or_create({"email": "ana@mail.com"})
        assert (ana.id, ana.created_at) == ("first", clock())

    def test_in_the_repr_there_is_nobody(self, crm: CRMService) -> None:
        ana = crm.find_or_create({"email": "ana@mail.com", "name": "Ana Pop"})
        assert "default" in repr(crm)
        assert "Ana" not in repr(ana)
        assert "ana@" not in repr(crm.customers.profile(ana.id))
