"""What customers are worth: fitted, told, explained and tried, on every storage."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crmkit import (
    CRMService,
    InvalidInput,
    Kind,
    MemoryStorage,
    Money,
    Settings,
    Valuation,
    migrate,
)
from crmkit.config import DEFAULT_KINDS
from crmkit.insights.value.choosing import fit_value
from crmkit.insights.value.predicting import predict
from crmkit.insights.value.stored import frequency_of, spending_of
from crmkit.insights.value.summaries import Summary, summarise
from crmkit.model import ValueModel
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.cdnow import CUT, HORIZON_DAYS, purchases

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""Where the clock of the tests stands."""


def euros(amount: float) -> Money:
    return Money(round(amount * 100), "EUR")


def visits_of(seed: int, people: int = 60) -> Iterator[dict[str, Any]]:
    """Purchases of people of whom some come often, some once, and some have gone."""
    rng = random.Random(seed)
    for n in range(people):
        day, often = NOW - timedelta(days=rng.randrange(30, 400)), rng.expovariate(1 / 40) + 3
        while day < NOW:
            yield {
                "customer": {"email": f"guest{n}@mail.com"},
                "kind": "purchase",
                "payload": {"amount": rng.randrange(10, 90)},
                "at": day,
            }
            if rng.random() < 0.2:
                break
            day += timedelta(days=1 + rng.expovariate(1 / often))


@pytest.fixture
def venue(crm: CRMService) -> CRMService:
    """A place with sixty customers."""
    done = crm.activities.track_many(visits_of(1))
    assert done.recorded > 150
    return crm


def buys(crm: CRMService, name: str, *days_ago: float, amount: float = 40.0) -> str:
    who = crm.find_or_create({"email": f"{name}@mail.com"}).id
    for days in days_ago:
        crm.track_activity(who, "purchase", {"amount": amount}, at=NOW - timedelta(days=days))
    return who


class TestFitting:
    def test_the_published_table_through_the_front_door(self) -> None:
        """CDNOW in weeks with a flat prior: what `fit` stores is what was published."""
        crm = CRMService(MemoryStorage(), settings=Settings(currency="USD"))
        done = crm.activities.track_many(
            {
                "customer": {"external_ids": {"cdnow": str(n)}},
                "kind": "purchase",
                "payload": {"amount": paid},
                "at": f"{day}T12:00:00Z",
            }
            for n, bought in enumerate(purchases())
            for day, paid in bought
        )
        assert not done.refused
        at = f"{CUT}T23:00:00Z"
        model = crm.insights.fit(at=at, prior=None)
        expected = fit_value([s for b in purchases() if (s := summarise(b, CUT))], 180, prior=None)
        assert expected.fit is not None
        assert model.frequency is not None
        assert model.frequency["r"] == pytest.approx(expected.fit.model.r, rel=1e-9)
        assert (model.customers, model.answers, model.reason) == (2_357, "mbg", None)
        assert model.spend is not None
        assert (model.spend["p"], model.spend["q"], model.spend["v"]) == pytest.approx(
            (6.25, 3.74, 15.44), rel=0.02
        )
        tried = crm.insights.backtest(CUT, HORIZON_DAYS)
        assert tried.purchases.model.mae <= 0.765
        assert sum(1 for _ in crm.insights.values(at=at)) == 2_357

    def test_versions_count_up_and_stay(self, venue: CRMService, storage: Storage) -> None:
        first, second = venue.insights.fit(), venue.insights.fit(model="bg", prior=None)
        assert (first.version, first.kind, first.prior, first.at) == (1, "mbg", "default", NOW)
        assert (second.version, second.kind, second.prior) == (2, "bg", None)
        assert first.customers == 60
        assert first.log_likelihood is not None
        with storage.read(venue.tenant) as uow:
            assert uow.find(ValueModel) == [first, second]

    def test_the_latest_that_was_known_answers(self, venue: CRMService) -> None:
        """A model of the past does not take the place of today's, and answers of its own time."""
        then = NOW - timedelta(days=60)
        who = buys(venue, "guest1")
        venue.insights.fit()
        venue.insights.fit(at=then)
        assert venue.get_lifetime_value(who).version == 1
        assert venue.get_lifetime_value(who, at=then + timedelta(days=1)).version == 2
        assert venue.get_lifetime_value(who, at=then - timedelta(days=1)).version is None

    def test_few_customers_get_the_rule_and_the_reason(self, crm: CRMService) -> None:
        buys(crm, "ana", 30, 10)
        model = crm.insights.fit()
        assert (model.answers, model.frequency) == ("hiatus", None)
        assert model.reason == "1 customer came back, a model needs 20"
        assert model.hiatus["silence"] == 180

    def test_a_place_without_customers_can_be_fitted(self, crm: CRMService) -> None:
        model = crm.insights.fit()
        assert (model.customers, model.repeating, model.answers) == (0, 0, "hiatus")
        assert list(crm.insights.values()) == []

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"model": "pareto"}, "model"),
            ({"prior": "flat"}, "prior"),
            ({"time_unit_days": 0}, "time_unit_days"),
            ({"time_unit_days": True}, "time_unit_days"),
            ({"at": NOW + timedelta(seconds=1)}, "at"),
        ],
    )
    def test_what_cannot_be_fitted(
        self, crm: CRMService, asked: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidInput) as caught:
            crm.insights.fit(**asked)
        assert caught.value.field == field

    def test_run_due_fits_anew_once_a_period(self, venue: CRMService, clock: FrozenClock) -> None:
        """Not before a first fit, not before a week, once, and with the same choices."""
        clock.advance(days=30)
        assert venue.run_due().done == 0
        venue.insights.fit(model="bg", time_unit_days=7)
        clock.advance(days=6)
        assert venue.run_due().done == 0
        clock.advance(days=1)
        assert [venue.run_due().done for _ in range(2)] == [1, 0]
        who = buys(venue, "guest1")
        found = venue.get_lifetime_value(who).explain().model
        assert found is not None
        assert (found.version, found.kind, found.time_unit_days) == (2, "bg", 7)
        assert found.at == clock()


class TestValue:
    def test_without_a_model_only_the_past_is_told(self, crm: CRMService) -> None:
        who = buys(crm, "ana", 10, 5)
        found = crm.get_lifetime_value(who)
        assert found.historic == euros(80)
        assert (found.predicted, found.model, found.p_active, found.total) == (None,) * 4
        assert "call crm.insights.fit()" in found.explain().text()

    def test_the_numbers_are_those_of_the_model(self, venue: CRMService) -> None:
        """By hand: the customer's summary, asked of what was fitted."""
        who = buys(venue, "ana", 90, 50.5, 50.4, 20, amount=30)
        model = venue.insights.fit()
        found = venue.get_lifetime_value(who)
        told = found.explain()
        assert told.summary == Summary(2, 70, 90, 45.0)
        assert model.frequency is not None
        assert model.spend is not None
        by_hand = predict(frequency_of(model), spending_of(model), Summary(2, 70, 90, 45.0), 365)
        assert (found.expected_purchases, found.p_active) == (
            by_hand.expected_purchases,
            by_hand.p_active,
        )
        assert found.predicted == euros(by_hand.value or 0)
        assert found.interval == (euros(by_hand.low or 0), euros(by_hand.high or 0))
        assert (found.model, found.version, found.horizon_days) == ("mbg", 1, 365)
        assert found.total == found.historic + euros(by_hand.value or 0)

    def test_it_changes_with_each_activity(self, venue: CRMService) -> None:
        """Without a new fit: another purchase counts at once, and so does its refund."""
        who = buys(venue, "ana", 90)
        venue.insights.fit()
        before = venue.get_lifetime_value(who)
        bought = venue.track_activity(who, "purchase", {"amount": 50, "order_id": "o"})
        after = venue.get_lifetime_value(who)
        assert after.historic == before.historic + euros(50)
        assert (after.p_active or 0) > (before.p_active or 0)
        venue.activities.void(bought.id)
        assert venue.get_lifetime_value(who) == before

    def test_of_the_past_with_what_was_known_of_it(self, venue: CRMService) -> None:
        """As of an instant it is what it was then, whatever came after."""
        who = buys(venue, "ana", 90, 50)
        venue.insights.fit(at=NOW - timedelta(days=40))
        then = venue.get_lifetime_value(who, at=NOW - timedelta(days=30))
        venue.track_activity(who, "purchase", {"amount": 50}, at=NOW - timedelta(days=29))
        assert venue.get_lifetime_value(who, at=NOW - timedelta(days=30)) == then
        assert then.historic == euros(80)

    def test_before_the_first_purchase_nothing_is_predicted(self, venue: CRMService) -> None:
        lead = venue.find_or_create({"email": "lead@mail.com"}).id
        venue.track_activity(lead, "visit")
        venue.insights.fit()
        found = venue.get_lifetime_value(lead)
        assert (found.historic, found.predicted, found.p_active) == (euros(0), None, None)
        assert found.model == "mbg"
        assert found.explain().reason == "no purchase yet"

    def test_the_rule_says_so(self, crm: CRMService) -> None:
        who = buys(crm, "ana", 30, 10)
        crm.insights.fit()
        found = crm.get_lifetime_value(who)
        assert found.model == "hiatus"
        assert found.predicted is not None
        assert "because 1 customer came back, a model needs 20" in found.explain().text()

    def test_a_discount_makes_it_less(self, venue: CRMService) -> None:
        """By less than the rate of the whole year, for purchases are spread over it."""
        who = buys(venue, "ana", 90, 50, 20)
        venue.insights.fit()
        plain = venue.get_lifetime_value(who)
        less = venue.get_lifetime_value(who, discount_rate=0.10)
        assert plain.predicted is not None
        assert less.predicted is not None
        assert plain.predicted.minor / 1.1 < less.predicted.minor < plain.predicted.minor
        assert less.expected_purchases == plain.expected_purchases

    def test_a_longer_horizon_holds_more(self, venue: CRMService) -> None:
        who = buys(venue, "ana", 90, 50, 20)
        venue.insights.fit()
        found = [venue.get_lifetime_value(who, horizon_days=d) for d in (1, 30, 365, 3_650)]
        chances = [f.p_active or 0 for f in found]
        assert chances == sorted(chances)
        assert 0 < chances[0] < chances[-1] < 1

    @pytest.mark.parametrize(
        ("asked", "field"),
        [
            ({"horizon_days": 0}, "horizon_days"),
            ({"horizon_days": 1.5}, "horizon_days"),
            ({"discount_rate": -0.1}, "discount_rate"),
            ({"discount_rate": float("nan")}, "discount_rate"),
            ({"level": 1}, "level"),
            ({"level": "0.8"}, "level"),
        ],
    )
    def test_what_cannot_be_asked(self, crm: CRMService, asked: dict[str, Any], field: str) -> None:
        who = buys(crm, "ana", 1)
        with pytest.raises(InvalidInput) as caught:
            crm.insights.lifetime_value(who, **asked)
        assert caught.value.field == field

    def test_the_explanation_in_words(self, venue: CRMService) -> None:
        who = buys(venue, "ana", 90, 20)
        venue.insights.fit()
        lines = venue.get_lifetime_value(who).explain().text().splitlines()
        assert (
            lines[0] == "Spent so far, net: 80.00 EUR; bought on 2 days, 2025-10-17 to 2025-12-26."
        )
        assert lines[1] == (
            "Answered by version 1, the MBG/NBD, fitted to 61 customers as of 2026-01-15."
        )
        assert lines[2].startswith("Still a customer: ")
        assert "with a chance of 80% between" in lines[3]


class TestWhatIsAPurchase:
    def test_a_night_is_one_business_day(self, storage: Storage, clock: FrozenClock) -> None:
        """Drinks before and after midnight are one purchase where the day ends at six."""
        club = Settings(timezone="Europe/Bucharest", day_ends="06:00")
        crm = CRMService(storage, clock=clock, settings=club)
        ana = crm.find_or_create({"email": "ana@mail.com"}).id
        for at in ("2026-01-02T20:00:00Z", "2026-01-02T23:30:00Z", "2026-01-03T02:30:00Z"):
            crm.track_activity(ana, "consumption", {"amount": 10}, at=at)
        crm.insights.fit()
        told = crm.get_lifetime_value(ana).explain()
        assert told.summary == Summary(0, 0, 13, 0.0)
        assert {str(day) for day, _ in told.purchases} == {"2026-01-02"}

    def test_what_is_called_off_is_none(self, crm: CRMService) -> None:
        ana = buys(crm, "ana", 30)
        paid = {"booking_id": "b", "amount": 70}
        crm.track_activity(ana, "booking", paid, at=NOW - timedelta(days=5))
        crm.insights.fit()
        assert crm.get_lifetime_value(ana).explain().summary == Summary(1, 25, 30, 70.0)
        crm.track_activity(ana, "no_show", {"booking_id": "b"})
        assert crm.get_lifetime_value(ana).explain().summary == Summary(0, 0, 30, 0.0)

    def test_a_refund_lowers_what_was_paid(self, crm: CRMService) -> None:
        ana = buys(crm, "ana", 30)
        crm.track_activity(
            ana, "purchase", {"order_id": "o", "amount": 70}, at=NOW - timedelta(days=5)
        )
        crm.track_activity(ana, "refund", {"order_id": "o", "amount": 20})
        crm.insights.fit()
        found = crm.get_lifetime_value(ana)
        assert found.explain().summary == Summary(1, 25, 30, 50.0)
        assert found.historic == euros(90)

    def test_without_an_amount_it_is_none_unless_its_kind_is_named(
        self, storage: Storage, clock: FrozenClock
    ) -> None:
        """A restaurant that only takes bookings may name them."""
        plain = CRMService(storage, clock=clock)
        ana = plain.find_or_create({"email": "ana@mail.com"}).id
        for days in (30, 10):
            plain.track_activity(ana, "booking", at=NOW - timedelta(days=days))
        plain.insights.fit()
        assert plain.get_lifetime_value(ana).explain().summary is None
        named = Settings(value=Valuation(purchase_kinds=["booking"]))
        crm = CRMService(storage, clock=clock, settings=named)
        crm.insights.fit()
        assert crm.get_lifetime_value(ana).explain().summary == Summary(1, 20, 30, 0.0)
        assert [v.customer_id for v in crm.insights.values()] == [ana]

    def test_a_share_of_a_bill_is_a_purchase_of_who_bears_it(self, crm: CRMService) -> None:
        """The payer's part is theirs, the friend's the friend's; in all both are the bill."""
        ana, bob = (crm.find_or_create({"email": f"{n}@mail.com"}).id for n in ("ana", "bob"))
        bill = {"amount": 90, "participants": [{"customer_id": bob, "amount": 30}]}
        crm.track_activity(ana, "purchase", bill, at=NOW - timedelta(days=3))
        crm.insights.fit()
        for who, paid in ((ana, 60), (bob, 30)):
            found = crm.get_lifetime_value(who)
            assert found.historic == euros(paid)
            assert [amount for _, amount in found.explain().purchases] == [euros(paid)]
        assert [v.historic for v in crm.insights.values()] == [euros(60), euros(30)]

    def test_kinds_of_the_host_count_where_they_spend(
        self, storage: Storage, clock: FrozenClock
    ) -> None:
        kinds = (*DEFAULT_KINDS, Kind(name="locker", spends=True))
        crm = CRMService(storage, clock=clock, settings=Settings(kinds=kinds))
        ana = crm.find_or_create({"email": "ana@mail.com"}).id
        crm.track_activity(ana, "locker", {"amount": 4}, at=NOW - timedelta(days=3))
        crm.insights.fit()
        assert crm.get_lifetime_value(ana).explain().summary == Summary(0, 0, 3, 0.0)

    def test_a_kind_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            Settings(value=Valuation(purchase_kinds=["bokking"]))
        assert caught.value.field == "value.purchase_kinds"


class TestEverybody:
    def test_each_line_is_the_customers_own_value(self, venue: CRMService) -> None:
        """In the order of the ids, also at an instant before the last activities."""
        venue.insights.fit(at=NOW - timedelta(days=100))
        for at in (None, NOW - timedelta(days=90)):
            lines = list(venue.insights.values(at=at))
            assert len(lines) > 30
            assert [v.customer_id for v in lines] == sorted({v.customer_id for v in lines})
            for told in lines:
                alone = venue.get_lifetime_value(told.customer_id, at=at)
                assert told.historic == alone.historic
                assert told.predicted == alone.predicted
                assert told.p_active == pytest.approx(alone.p_active, rel=1e-9)

    def test_without_a_model_there_are_no_values(self, crm: CRMService) -> None:
        with pytest.raises(InvalidInput, match="no model was fitted"):
            crm.insights.values()

    def test_pages_of_customers_leave_out_nobody(
        self, venue: CRMService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = (venue.insights.fit(), list(venue.insights.values()))[1]
        monkeypatch.setattr("crmkit.insights.buying.PAGE", 7)
        assert list(venue.insights.values()) == whole

    def test_merged_customers_are_one(self, venue: CRMService) -> None:
        ana, ann = buys(venue, "ana", 90, 40), buys(venue, "ann", 70, 10)
        venue.insights.fit()
        before = venue.get_lifetime_value(ana), venue.get_lifetime_value(ann)
        merge = venue.identity.merge(ana, ann, reason="one person")
        one = venue.get_lifetime_value(ann)
        assert one.customer_id == ana
        assert one.explain().summary == Summary(3, 80, 90, 40.0)
        venue.identity.unmerge(merge.id)
        assert (venue.get_lifetime_value(ana), venue.get_lifetime_value(ann)) == before


class TestBacktest:
    def test_predictions_are_held_to_what_came(self, venue: CRMService) -> None:
        found = venue.insights.backtest("2025-10-01", 90)
        assert (str(found.cut), found.horizon_days) == ("2025-10-01", 90)
        known = [b for b in visits_of(1) if b["at"].date().isoformat() <= "2025-10-01"]
        assert found.customers == len({b["customer"]["email"] for b in known})
        assert found.purchases.model.mae < found.purchases.naive.mae
        assert "predicts" in found.verdict

    def test_the_horizon_must_have_passed(self, venue: CRMService) -> None:
        with pytest.raises(InvalidInput) as caught:
            venue.insights.backtest("2025-12-01", 45)
        assert caught.value.field == "cut"

    def test_there_must_have_been_somebody(self, venue: CRMService) -> None:
        with pytest.raises(InvalidInput) as caught:
            venue.insights.backtest("2001-12-01", 45)
        assert caught.value.field == "cut"


@pytest.mark.parametrize("many", [2, 1_000])
def test_a_value_costs_four_queries(tmp_path: Path, many: int) -> None:
    """However much the customer bought, and none that reads activities."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/crm.db")
    statements: list[str] = []

    @sa.event.listens_for(engine, "connect")
    def _(connection: sqlite3.Connection, _: object) -> None:
        connection.set_trace_callback(statements.append)

    migrate(engine)
    crm = CRMService(engine, clock=FrozenClock())
    who = crm.find_or_create({"user_id": 1}).id
    crm.activities.track_many(
        {
            "customer_id": who,
            "kind": "purchase",
            "payload": {"amount": 5},
            "at": NOW - timedelta(hours=25 * n),
        }
        for n in range(many)
    )
    crm.insights.fit()
    statements.clear()
    assert crm.get_lifetime_value(who).predicted is not None
    queries = [s for s in statements if s.startswith("SELECT")]
    assert 0 < len(queries) <= 4
    assert not [s for s in queries if "crm_activities" in s]
    engine.dispose()
