"""Where customers stand: churn, RFM, cohorts, engagement, response and journey, worked by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from crmkit import CRMService, Erased, InvalidInput, NotFound, Settings, Valuation, presets
from crmkit.insights.standing import CustomerRisk
from crmkit.insights.value.churn import ChurnRisk
from crmkit.insights.value.cohorts import Cohort
from crmkit.insights.value.engagement import Contribution
from crmkit.insights.value.journey import JourneyStage
from crmkit.insights.value.response import Pattern, Response
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""Where the clock of the tests stands."""


def guest(crm: CRMService, name: str) -> str:
    return crm.find_or_create({"email": f"{name}@mail.com"}).id


def told(crm: CRMService, who: str, kind: str, *days_ago: float, **payload: Any) -> None:
    for days in days_ago:
        crm.track_activity(who, kind, payload, at=NOW - timedelta(days=days))


class TestChurn:
    def test_a_long_silence_has_churned(self, crm: CRMService) -> None:
        """After 180 days not yet; a visit without a purchase breaks the silence too."""
        gone, still, seen = (guest(crm, n) for n in ("gone", "still", "seen"))
        told(crm, gone, "purchase", 400, 182, amount=10)
        told(crm, still, "purchase", 400, 180, amount=10)
        told(crm, seen, "purchase", 400, 300, amount=10)
        told(crm, seen, "visit", 5)
        crm.insights.fit()
        found = {who: crm.insights.standing.churn(who) for who in (gone, still, seen)}
        assert found[gone] == ChurnRisk("churned", 1.0, "silent for 182 days, more than 180")
        assert [r and r.band for r in found.values()] == ["churned", "medium", "high"]

    def test_the_threshold_is_that_of_the_lifecycle(
        self, storage: Storage, clock: FrozenClock
    ) -> None:
        club = Settings(lifecycle=presets.nightclub().lifecycle)
        crm = CRMService(storage, clock=clock, settings=club)
        ana = guest(crm, "ana")
        told(crm, ana, "purchase", 91, amount=10)
        crm.insights.fit()
        found = crm.insights.standing.churn(ana)
        assert found is not None
        assert found.band == "churned"

    def test_each_line_is_the_customers_own(self, crm: CRMService) -> None:
        for n in range(12):
            told(crm, guest(crm, f"g{n}"), "purchase", 10 + 20 * n, 5 + 18 * n, amount=10)
        guest(crm, "lead")
        crm.insights.fit(at=NOW - timedelta(days=60))
        standing = crm.insights.standing
        for at in (None, NOW - timedelta(days=50)):
            lines = list(standing.churn_risks(at=at))
            assert lines
            for line in lines:
                own = standing.churn(line.customer_id, at=at)
                assert own is not None
                assert line == CustomerRisk(line.customer_id, own.band, own.risk)

    def test_who_never_bought_has_no_risk(self, crm: CRMService) -> None:
        crm.insights.fit()
        assert crm.insights.standing.churn(guest(crm, "lead")) is None

    def test_without_a_model_there_is_none(self, crm: CRMService) -> None:
        who = guest(crm, "ana")
        for ask in (crm.insights.standing.churn, crm.insights.standing.conversion):
            with pytest.raises(InvalidInput, match="no model was fitted"):
                ask(who)
        with pytest.raises(InvalidInput, match="no model was fitted"):
            crm.insights.standing.churn_risks()


class TestRfm:
    def test_five_who_differ(self, crm: CRMService) -> None:
        """Of five the best is 5, the worst 1, in each of the three."""
        for n in range(5):
            who = guest(crm, f"g{n}")
            told(crm, who, "purchase", *(100 - 10 * n + i for i in range(n + 1)), amount=10)
        found = list(crm.insights.standing.rfm())
        assert [r.code for r in found] == ["111", "222", "333", "444", "555"]
        assert [r.group for r in found][::4] == ["lost", "champions"]
        for line in found:
            assert crm.insights.standing.rfm_of(line.customer_id) == line

    def test_ties_score_equally(self, crm: CRMService) -> None:
        """Equals are in the middle, and two purchases on one day are one."""
        for n in range(4):
            told(crm, guest(crm, f"g{n}"), "purchase", 3, 3.1, amount=10)
        assert {r.code for r in crm.insights.standing.rfm()} == {"333"}

    def test_of_the_past_without_what_came_later(self, crm: CRMService) -> None:
        ana, bob = guest(crm, "ana"), guest(crm, "bob")
        told(crm, ana, "purchase", 90, amount=10)
        told(crm, bob, "purchase", 10, amount=10)
        then = NOW - timedelta(days=20)
        assert [r.customer_id for r in crm.insights.standing.rfm(at=then)] == [ana]
        assert crm.insights.standing.rfm_of(bob, at=then) is None


class TestCohorts:
    def test_by_month_of_the_first_visit(self, crm: CRMService) -> None:
        """Of two who first came in November, one came in December, and one in January."""
        ana, bob, eve = (guest(crm, n) for n in ("ana", "bob", "eve"))
        for who, *days in (
            (ana, "2025-11-02", "2025-12-05"),
            (bob, "2025-11-20", "2026-01-03"),
            (eve, "2025-12-31"),
        ):
            for day in days:
                crm.track_activity(who, "visit", at=f"{day}T12:00:00Z")
        assert crm.insights.standing.cohorts(months=2) == (
            Cohort("2025-11", 2, (0.5, None), (1.0, None)),
            Cohort("2025-12", 1, (None, None), (None, None)),
        )
        (only,) = crm.insights.standing.cohorts(at="2025-11-30T23:00:00Z", months=1)
        assert (only.customers, only.classic) == (2, (None,))

    def test_by_orders_a_booking_counts_where_it_was_paid(self, crm: CRMService) -> None:
        ana = guest(crm, "ana")
        told(crm, ana, "booking", 90)
        told(crm, ana, "booking", 40, amount=10)
        (booked,) = crm.insights.standing.cohorts(by="booking", months=1)
        (ordered,) = crm.insights.standing.cohorts(by="order", months=1)
        assert (booked.month, ordered.month) == ("2025-10", "2025-12")
        assert crm.insights.standing.cohorts() == ()

    def test_by_what_nobody_knows(self, crm: CRMService) -> None:
        with pytest.raises(InvalidInput, match="visit"):
            crm.insights.standing.cohorts(by="visits")


class TestEngagement:
    def test_what_counts_and_what_it_adds(self, crm: CRMService) -> None:
        """A visit now, a review of a half-life ago; what was called off or opened adds nothing."""
        ana = guest(crm, "ana")
        told(crm, ana, "visit", 0)
        told(crm, ana, "review", 30, rating=4)
        told(crm, ana, "message_opened", 1)
        told(crm, ana, "booking", 2, booking_id="b")
        told(crm, ana, "cancellation", 1, booking_id="b")
        found = crm.insights.standing.engagement(ana)
        assert found.score == pytest.approx(100 * 13 / 33)
        assert [(c.kind, c.count, c.points) for c in found.contributions] == [
            ("visit", 1, 10),
            ("review", 1, 3),
        ]
        # Before it was called off the booking did count.
        then = crm.insights.standing.engagement(ana, at=NOW - timedelta(days=1.5))
        assert [c.kind for c in then.contributions] == ["booking", "review"]

    def test_weights_are_the_hosts(self, storage: Storage, clock: FrozenClock) -> None:
        told_by = Valuation(engagement_weights={"support": 20, "gone": 3}, half_life_days=1)
        crm = CRMService(storage, clock=clock, settings=Settings(value=told_by))
        ana = guest(crm, "ana")
        told(crm, ana, "support", 1)
        told(crm, ana, "visit", 0)
        found = crm.insights.standing.engagement(ana)
        assert found.contributions == (Contribution("support", 1, 10.0, 10 * (100 / 30)),)

    def test_each_line_is_the_customers_own(
        self, crm: CRMService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also of who did nothing, and whatever fits on a page."""
        for n in range(5):
            told(crm, guest(crm, f"g{n}"), "visit", *range(n))
        whole = list(crm.insights.standing.engagements())
        assert [line.score > 0 for line in whole] == [False, True, True, True, True]
        for line in whole:
            assert crm.insights.standing.engagement(line.customer_id).score == line.score
        monkeypatch.setattr("crmkit.insights.standing.PAGE", 2)
        assert list(crm.insights.standing.engagements()) == whole


class TestResponse:
    def test_clicks_of_what_was_delivered(self, crm: CRMService) -> None:
        """Three of five: (3 + 1) of (5 + 10); an open is no answer."""
        ana = guest(crm, "ana")
        told(crm, ana, "message_delivered", 9, 8, 7, 6, 5)
        told(crm, ana, "message_opened", 9, 8, 7, 6, 5)
        told(crm, ana, "message_clicked", 7, 6, 5)
        standing = crm.insights.standing
        assert standing.response(ana) == Response(4 / 15, "high", 5, 3)
        then = standing.response(ana, at=NOW - timedelta(days=7.5))
        assert (then.delivered, then.answered, then.level) == (2, 0, "low")

    def test_the_conversion_score_needs_both(self, crm: CRMService) -> None:
        keen, deaf, lead = (guest(crm, n) for n in ("keen", "deaf", "lead"))
        for who in (keen, deaf):
            told(crm, who, "purchase", *range(0, 90, 3), amount=10)
            told(crm, who, "message_delivered", *range(20))
        told(crm, keen, "message_clicked", *range(20))
        crm.insights.fit()
        conversion = crm.insights.standing.conversion
        scores = conversion(keen), conversion(deaf)
        assert scores == (100, round(100 * (2 / 30) ** 0.5))
        assert conversion(lead) is None


def test_the_rhythm_of_purchases(crm: CRMService) -> None:
    ana = guest(crm, "ana")
    told(crm, ana, "purchase", 31, 24, 17, 17.1, 10, amount=10)
    assert crm.insights.standing.pattern(ana) == Pattern(4, 7.0, True, None, date(2026, 1, 12))


class TestJourney:
    def test_the_stages_on_the_way(self, crm: CRMService) -> None:
        """A booking that took place is a visit; a review that stands makes an advocate."""
        ana = guest(crm, "ana")
        standing = crm.insights.standing
        assert standing.journey(ana) == JourneyStage("discovery", "no visit yet")
        told(crm, ana, "booking", 40, booking_id="b", status="completed")
        assert standing.journey(ana).stage == "first_visit"
        told(crm, ana, "visit", 30, 20)
        assert standing.journey(ana).stage == "engagement"
        review = crm.track_activity(ana, "review", {"rating": 5}, at=NOW - timedelta(days=10))
        assert standing.journey(ana) == JourneyStage("advocacy", "2 visits and a rating of 5.0")
        crm.track_activity(ana, "review", {"rating": 3}, at=NOW - timedelta(days=9))
        assert standing.journey(ana).stage == "engagement"
        assert standing.journey(ana, at=NOW - timedelta(days=9.5)).stage == "advocacy"
        crm.activities.void(review.id)
        assert standing.journey(ana, at=NOW - timedelta(days=9.5)).stage == "engagement"

    def test_each_line_is_the_customers_own(self, crm: CRMService) -> None:
        for n in range(6):
            told(crm, who := guest(crm, f"g{n}"), "visit", *range(n))
            if n == 3:
                told(crm, who, "review", 1, rating=5)
            if n == 4:
                told(crm, who, "referral", 1)
        for at in (None, NOW - timedelta(days=2)):
            lines = list(crm.insights.standing.journeys(at=at))
            assert len(lines) == 6
            for line in lines:
                own = crm.insights.standing.journey(line.customer_id, at=at)
                assert own.stage == line.stage
        assert {line.stage for line in crm.insights.standing.journeys()} == {
            "discovery", "first_visit", "engagement", "advocacy", "retention",
        }  # fmt: skip


def test_models_are_listed_the_last_first(crm: CRMService) -> None:
    made = [crm.insights.fit() for _ in range(3)]
    first = crm.insights.standing.models(limit=2)
    rest = crm.insights.standing.models(limit=2, after=first.next)
    assert [*first, *rest] == made[::-1]


ABOUT: dict[str, Callable[[CRMService, str], object]] = {
    "lifetime_value": lambda crm, c: crm.insights.lifetime_value(c),
    "churn": lambda crm, c: crm.insights.standing.churn(c),
    "rfm_of": lambda crm, c: crm.insights.standing.rfm_of(c),
    "engagement": lambda crm, c: crm.insights.standing.engagement(c),
    "response": lambda crm, c: crm.insights.standing.response(c),
    "conversion": lambda crm, c: crm.insights.standing.conversion(c),
    "pattern": lambda crm, c: crm.insights.standing.pattern(c),
    "journey": lambda crm, c: crm.insights.standing.journey(c),
}


@pytest.mark.parametrize("ask", ABOUT.values(), ids=ABOUT)
def test_nobody_and_the_erased(crm: CRMService, ask: Callable[[CRMService, str], object]) -> None:
    """Of an id that never was, of another tenant's and of an erased person there is no answer."""
    ana = guest(crm, "ana")
    told(crm, ana, "purchase", 3, amount=10)
    crm.insights.fit()
    ask(crm, ana)
    for nobody in ("nobody", "", 7):
        with pytest.raises(NotFound):
            ask(crm, nobody)  # type: ignore[arg-type]
    other = crm.for_tenant("other")
    other.insights.fit()
    with pytest.raises(NotFound):
        ask(other, ana)
    crm.gdpr.erase(ana)
    with pytest.raises(Erased):
        ask(crm, ana)


@pytest.mark.parametrize("days", [0, 4_000, 1.5, True, "30"])
def test_a_horizon_is_a_number_of_days(crm: CRMService, days: Any) -> None:
    who = guest(crm, "ana")
    crm.insights.fit()
    for ask in (crm.insights.standing.churn, crm.insights.standing.conversion):
        with pytest.raises(InvalidInput) as caught:
            ask(who, horizon_days=days)
        assert caught.value.field == "horizon_days"
