"""When a model answers, and when the rule of the hiatus does."""

from __future__ import annotations

import pytest

from crmkit.errors import InvalidInput
from crmkit.insights.value.choosing import fit_value, misfit
from crmkit.insights.value.hiatus import Hiatus, hiatus_rule
from crmkit.insights.value.purchasing import Purchasing
from crmkit.insights.value.spending import fit_spending
from crmkit.insights.value.summaries import Summary
from tests.cdnow import summaries


def test_the_model_answers_on_real_data() -> None:
    found = fit_value(summaries(), 180)
    assert isinstance(found.frequency, Purchasing)
    assert found.reason is None
    assert found.misfit is not None
    assert found.misfit < 0.02


def test_too_few_came_back() -> None:
    """Nineteen are too few, twenty are enough."""
    back = [s for s in summaries() if s.frequency]
    once = [s for s in summaries() if not s.frequency][:30]
    few = fit_value(once + back[:19], 180)
    assert isinstance(few.frequency, Hiatus)
    assert few.reason == "19 customers came back, a model needs 20"
    assert few.fit is None
    assert few.spend is not None
    assert isinstance(fit_value(once + back[:20], 180).frequency, Purchasing)


def test_a_model_that_does_not_fit_is_not_used() -> None:
    """Half come never again, half exactly five times: no such customers are in the model."""
    odd = [Summary(0, 0, 100)] * 200 + [Summary(5, 90, 100, 10.0)] * 200
    found = fit_value(odd, 180)
    assert isinstance(found.frequency, Hiatus)
    assert found.reason is not None
    assert "% of the customers where they are not" in found.reason
    assert found.fit is not None


@pytest.mark.parametrize(("five_times", "fits"), [(30, True), (40, False)])
def test_a_tenth_in_the_wrong_place_is_tolerated_and_what_chance_explains(
    five_times: int, fits: bool
) -> None:
    """Of 350 customers about a twentieth is chance: 14.8 % pass, 17 % of 360 do not."""
    some = [Summary(k, 90, 100, 10.0) for k in (1, 2, 3, 4, 6, 7) for _ in range(20)]
    odd = [Summary(5, 90, 100, 10.0)] * five_times
    found = fit_value([Summary(0, 0, 100)] * 200 + some + odd, 180)
    assert (found.reason is None) == fits


def test_the_misfit_is_the_share_in_the_wrong_place() -> None:
    """Where nobody is expected to come back, and a quarter did, a quarter is misplaced."""
    nobody = Purchasing("mbg", 1e-9, 1, 1, 1)
    seen = [Summary(0, 0, 9)] * 3 + [Summary(2, 5, 9)]
    assert misfit(nobody, seen) == pytest.approx(0.25, abs=1e-6)


def test_without_a_paid_repeat_there_is_no_model_of_spending() -> None:
    assert fit_value([Summary(0, 0, 9), Summary(1, 3, 9)], 30).spend is None


def test_where_the_best_model_of_spending_lies_nowhere_the_prior_helps() -> None:
    """One who paid: the likeliest is that all purchases of all customers cost the same."""
    paid = [Summary(2, 8, 9, 40.0), Summary(0, 0, 9)]
    assert not fit_spending(paid, None).converged
    assert fit_value(paid, 30, "mbg", None).spend == fit_spending(paid)


def test_nobody_at_all() -> None:
    """A place that opens today: the rule answers, with nothing but the hiatus to go by."""
    found = fit_value([], 90)
    assert found.frequency == Hiatus(90, 1 / 90, 90)
    assert found.reason == "0 customers came back, a model needs 20"


def test_the_rule_takes_silence_for_leaving() -> None:
    """On the last day of the hiatus the customer still counts, on the next no more."""
    rule = Hiatus(silence=60, rate=0.1, weight=20)
    assert rule.active(3, 40, 100) == 1
    assert rule.expected(3, 39, 100, 365) == rule.returning(3, 39, 100, 365) == 0
    assert rule.returning(0, 0, 61, 365) == 0


def test_the_rule_draws_a_short_history_to_the_rate_of_all() -> None:
    """A new customer goes on as all, one with a long history as they did before."""
    rule = Hiatus(silence=60, rate=0.1, weight=20)
    assert rule.expected(0, 0, 0, 100) == pytest.approx(10)
    assert rule.expected(5, 10, 20, 100) == pytest.approx(100 * (5 + 2) / (20 + 20))
    assert rule.expected(500, 2_000, 2_000, 100) == pytest.approx(25, rel=0.01)


def test_a_hiatus_takes_time() -> None:
    with pytest.raises(InvalidInput):
        hiatus_rule([], 0)
