"""Predictions held to what came after."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from crmkit.errors import InvalidInput
from crmkit.insights.value.backtest import Score, Scores, backtest, parted, score, verdict
from crmkit.insights.value.likelihood import fit_purchasing
from crmkit.insights.value.predicting import forecasts
from crmkit.insights.value.summaries import Summary
from tests.cdnow import CUT, HORIZON_DAYS, cases, purchases

DAY = date(2026, 3, 1)


def after(*days: int) -> list[tuple[date, float]]:
    return [(DAY + timedelta(days=n), 10.0 + n) for n in days]


def test_a_history_is_parted_by_the_end_of_the_day() -> None:
    """The day of the cut is known, the last of the horizon is still predicted, all later not."""
    found = parted(after(0, 5, 10, 11, 11, 20, 21), DAY + timedelta(days=10), 10)
    assert found is not None
    assert found.summary == Summary(2, 10, 10, 17.5)
    assert found.purchases == 2
    assert found.spend == 21 + 21 + 30
    assert [(day - DAY).days for day in found.repeats] == [5, 10, 11, 20]


def test_who_was_not_yet_known_is_no_case() -> None:
    assert parted(after(11, 12), DAY + timedelta(days=10), 10) is None


def test_the_errors_by_hand() -> None:
    found = score([1.0, 2.0, 0.0], [0, 2, 3])
    assert (found.mae, found.predicted, found.actual) == (4 / 3, 3, 5)
    assert found.rmse == pytest.approx((10 / 3) ** 0.5)
    assert found.total_error == pytest.approx(-0.4)
    assert score([1.0], [0]).total_error is None


def test_the_published_comparison() -> None:
    """Weeks 40 to 78 of CDNOW: the model errs by 0.765 or less, going on as before by 1.024."""
    found = backtest(cases(), CUT, HORIZON_DAYS, 180)
    assert found.purchases.model.mae <= 0.765
    assert round(found.purchases.naive.mae, 3) == 1.024
    assert found.purchases.model.rmse < found.purchases.recency.rmse < found.purchases.naive.rmse
    assert found.spend is not None
    assert found.spend.model.mae < found.spend.recency.mae < found.spend.naive.mae
    assert found.verdict == (
        "Over 273 days the mean error in purchases was: the model 0.76, going on as before 1.02, "
        "going on as before unless silent for too long 0.94; the model predicts best."
    )


def test_the_curves_of_the_published_data() -> None:
    found = backtest(cases(), CUT, HORIZON_DAYS, 180)
    assert [b.frequency for b in found.calibration] == list(range(8))
    assert sum(b.customers for b in found.calibration) == found.customers == 2357
    predicted = [b.predicted for b in found.calibration]
    assert predicted == sorted(predicted)
    assert all(abs(b.returned - b.p_active) < 0.23 for b in found.calibration)
    assert len(found.tracking) == 78
    cut, end = found.tracking[38], found.tracking[-1]
    assert (cut.until, end.until) == (CUT, CUT + timedelta(days=HORIZON_DAYS))
    assert cut.actual == sum(case.summary.frequency for case in cases())
    assert end.actual - cut.actual == found.purchases.model.actual == 1882
    assert cut.expected == pytest.approx(cut.actual, rel=0.02)
    assert end.expected == pytest.approx(end.actual, rel=0.08)


def test_thirty_customers_never_fail() -> None:
    """Forty draws of 30: each fit ends, and predicts all customers far better than going on."""
    errors = []
    sample = cases()[::5]
    for draw in range(40):
        few = [case.summary for case in random.Random(draw).sample(cases(), 30)]
        fit = fit_purchasing(few)
        assert fit.converged
        told = forecasts(fit.model, None, (case.summary for case in sample), HORIZON_DAYS)
        predicted = [f.expected_purchases for f in told]
        errors.append(score(predicted, [case.purchases for case in sample]).mae)
    naive = [s.frequency / s.age * HORIZON_DAYS for s in (case.summary for case in sample)]
    assert sum(errors) / 40 <= 0.81
    assert score(naive, [case.purchases for case in sample]).mae > 0.95


def test_weeks_as_the_time_unit_change_little() -> None:
    """The same purchases, but for those of one week that are one."""
    weekly = [c for c in (parted(p, CUT, HORIZON_DAYS, 7) for p in purchases()) if c]
    found = backtest(weekly, CUT, HORIZON_DAYS, 180, unit_days=7)
    assert sum(c.purchases for c in weekly) < sum(c.purchases for c in cases())
    assert found.purchases.model.mae == pytest.approx(0.74, abs=0.03)
    assert found.tracking[-1].expected == pytest.approx(found.tracking[-1].actual, rel=0.1)


def test_the_bg_model_can_be_asked_instead() -> None:
    found = backtest(cases(), CUT, HORIZON_DAYS, 180, "bg", None)
    assert round(found.purchases.model.mae, 3) == 0.785


def test_who_was_first_seen_on_the_day_of_the_cut_is_not_divided_by_nothing() -> None:
    found = backtest([case for case in (parted(after(0, 3), DAY, 9),) if case], DAY, 9, 90)
    assert found.purchases.naive.predicted == 0
    assert found.customers == 1
    assert found.spend is None


def test_the_sentence_says_who_predicts_better() -> None:
    good, bad = (Score(mae, mae, 0, 0, None) for mae in (0.5, 1.0))
    assert verdict(Scores(bad, good, bad), None, 90, None) == (
        "Over 90 days the mean error in purchases was: the model 1.00, going on as before 0.50, "
        "going on as before unless silent for too long 1.00; "
        "going on as before predicts better here, trust it more."
    )
    assert verdict(Scores(good, bad, bad), None, 90, "nobody came back").endswith(
        "the hiatus rule predicts best. The hiatus rule answered: nobody came back."
    )


def test_the_sentence_says_where_the_spend_is_another_s() -> None:
    """Whoever errs least in purchases is named again only if somebody else does in spend."""
    good, bad = (Score(mae, mae, 0, 0, None) for mae in (0.75, 1.0))
    mixed = verdict(Scores(good, bad, bad), Scores(bad, good, bad), 90, None)
    assert mixed.endswith("best. For the spend going on as before errs less, by 25%.")
    assert "spend" not in verdict(Scores(good, bad, bad), Scores(good, bad, bad), 90, None)


def test_nothing_to_test() -> None:
    with pytest.raises(InvalidInput) as refused:
        backtest([], DAY, 30, 90)
    assert refused.value.field == "cut"
