"""Engagement, journey, churn and response: small scores with their reasons."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from crmkit.errors import InvalidInput
from crmkit.insights.value.churn import ChurnBounds, churn_risk
from crmkit.insights.value.engagement import Contribution, engagement_score
from crmkit.insights.value.journey import JourneyBounds, journey
from crmkit.insights.value.response import conversion_score, pattern, promo_response

AT = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_two_visits_today_are_half_way() -> None:
    found = engagement_score([("visit", AT)] * 2, AT)
    assert found.score == 50
    assert found.contributions == (Contribution("visit", 2, 20, 50),)


def test_half_of_it_is_left_after_a_half_life() -> None:
    """Two visits of 30 days ago and a review of 60: 10 points, and 1.5."""
    found = engagement_score([("visit", AT - 30 * DAY)] * 2 + [("review", AT - 60 * DAY)], AT)
    assert [(c.kind, c.points) for c in found.contributions] == [("visit", 10), ("review", 1.5)]
    assert found.score == pytest.approx(100 * 11.5 / 31.5)
    assert sum(c.score for c in found.contributions) == pytest.approx(found.score)


def test_an_opened_message_and_the_future_count_for_nothing() -> None:
    found = engagement_score([("message_opened", AT), ("visit", AT + DAY), ("juggling", AT)], AT)
    assert (found.score, found.contributions) == (0, ())


def test_never_more_than_a_hundred() -> None:
    assert 99 < engagement_score([("visit", AT)] * 1_000, AT).score < 100


@pytest.mark.parametrize(
    "given", [{"half_life": timedelta()}, {"half_way": 0}, {"weights": {"visit": -1}}]
)
def test_settings_of_no_sense_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        engagement_score([], AT, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("visits", "referrals", "rating", "stage"),
    [
        (0, 0, None, "discovery"), (0, 3, 5.0, "discovery"), (1, 3, 5.0, "first_visit"),
        (2, 0, None, "engagement"), (4, 0, 4.4, "engagement"), (5, 0, 4.4, "retention"),
        (2, 1, None, "advocacy"), (9, 0, 4.5, "advocacy"),
    ],
)  # fmt: skip
def test_the_stages(visits: int, referrals: int, rating: float | None, stage: str) -> None:
    assert journey(visits, referrals, rating).stage == stage


def test_the_bounds_of_the_stages_can_be_set() -> None:
    bounds = JourneyBounds(retained_visits=3, referrals=2)
    assert journey(3, 1, bounds=bounds).stage == "retention"
    assert journey(3, 2, bounds=bounds).reason == "3 visits and 2 referrals"


@pytest.mark.parametrize(
    ("p_active", "silent", "band"),
    [
        (1.0, 0, "low"), (0.67, 180, "low"), (0.66, 10, "medium"), (0.34, 10, "medium"),
        (0.33, 10, "high"), (0.0, 180, "high"), (0.9, 181, "churned"),
    ],
)  # fmt: skip
def test_the_bands_of_churn(p_active: float, silent: float, band: str) -> None:
    found = churn_risk(p_active, silent)
    assert found.band == band
    assert found.risk == 1 - p_active


def test_a_nightclub_gives_up_sooner() -> None:
    found = churn_risk(0.5, 31, ChurnBounds(threshold_days=30))
    assert (found.band, found.reason) == ("churned", "silent for 31 days, more than 30")


@pytest.mark.parametrize(
    "given", [{"medium": 0.0}, {"medium": 0.7}, {"high": 1.0}, {"threshold_days": 0}]
)
def test_bands_out_of_order_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        ChurnBounds(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("delivered", "answered", "level"),
    [
        (0, 0, None), (1, 1, "medium"), (2, 2, "high"), (10, 0, "low"), (10, 1, "medium"),
        (5, 9, "high"),
    ],
)  # fmt: skip
def test_responses(delivered: int, answered: int, level: str | None) -> None:
    """One answer to one message is no proof yet."""
    assert promo_response(delivered, answered).level == level


def test_the_conversion_score() -> None:
    """Neither a chance to buy nor a habit to answer makes up for the other."""
    keen, deaf = promo_response(1_000, 600), promo_response(1_000, 0)
    assert conversion_score(1.0, keen) == 100
    assert conversion_score(0.0, keen) == 0
    assert conversion_score(1.0, deaf) < 5
    assert conversion_score(0.25, keen) == 50


def days(*numbers: int) -> list[date]:
    return [date(2026, 1, 1) + timedelta(days=n) for n in numbers]


def test_the_rhythm_of_purchases() -> None:
    """Days that repeat, in any order, are one."""
    found = pattern(days(14, 0, 7, 7, 22))
    assert found.purchases == 4
    assert (found.typical_gap, found.regular, found.trend) == (7, True, None)
    assert found.next == date(2026, 1, 30)


def test_a_rhythm_that_changes() -> None:
    assert pattern(days(0, 7, 14, 34, 54)).trend == "slower"
    assert pattern(days(0, 20, 40, 47, 54)).trend == "faster"
    assert pattern(days(0, 7, 14, 21, 28)).trend == "steady"
    assert pattern(days(0, 1, 2, 60)).regular is False


def test_one_purchase_has_no_rhythm() -> None:
    assert pattern(days(3)).typical_gap is None
    assert pattern([]).next is None
