"""What the statistics of value hold to, whatever the customers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmkit.insights.value.choosing import fit_value
from crmkit.insights.value.cohorts import cohorts
from crmkit.insights.value.engagement import engagement_score
from crmkit.insights.value.hiatus import Hiatus
from crmkit.insights.value.likelihood import PriorName, fit_purchasing
from crmkit.insights.value.predicting import predict
from crmkit.insights.value.purchasing import Purchasing
from crmkit.insights.value.rfm import Buyer, rfm
from crmkit.insights.value.spending import Spending
from crmkit.insights.value.summaries import Summary, summarise
from crmkit.value_settings import ENGAGEMENT_WEIGHTS

DAY = date(2026, 1, 1)
AT = datetime(2026, 1, 1, tzinfo=UTC)

parameters = st.floats(-6, 6).map(lambda x: float(2.718281828**x))
models = st.builds(
    Purchasing, st.sampled_from(["mbg", "bg"]), r=parameters, alpha=parameters, a=parameters,
    b=parameters,
)  # fmt: skip
spendings = st.builds(Spending, p=st.floats(0.1, 20), q=st.floats(1.1, 20), v=st.floats(0.1, 1_000))
hiatuses = st.builds(
    Hiatus, silence=st.floats(1, 400), rate=st.floats(1e-6, 2), weight=st.floats(0.1, 500)
)
horizons = st.floats(0.1, 1_000)


@st.composite
def seen(draw: st.DrawFn) -> Summary:
    """A customer as they may be: no purchases without time for them."""
    age = draw(st.integers(0, 800))
    frequency = draw(st.integers(0, min(age, 120)))
    recency = draw(st.integers(frequency, age)) if frequency else 0
    monetary = draw(st.floats(0, 1_000)) if frequency else 0.0
    return Summary(frequency, recency, age, monetary)


purchases = st.lists(
    st.tuples(st.integers(0, 400).map(lambda n: DAY + timedelta(days=n)), st.floats(0, 1_000)),
    min_size=1, max_size=30,
)  # fmt: skip


@given(models | hiatuses, seen(), horizons)
def test_chances_are_chances(model: Purchasing | Hiatus, s: Summary, horizon: float) -> None:
    """And purchases are expected no fewer than a return is likely."""
    known = (s.frequency, s.recency, s.age)
    active, returning = model.active(*known), model.returning(*known, horizon)
    expected = model.expected(*known, horizon)
    assert 0 <= returning <= active <= 1
    assert isfinite(expected)
    assert returning <= expected * (1 + 1e-9)


@given(models, seen(), horizons, st.data())
def test_the_later_the_last_purchase_the_likelier_the_next(
    model: Purchasing, s: Summary, horizon: float, data: st.DataObject
) -> None:
    """Of as many purchases in as long a time."""
    later = data.draw(st.integers(int(s.recency), int(s.age))) if s.frequency else 0
    before = model.returning(s.frequency, s.recency, s.age, horizon)
    assert model.returning(s.frequency, later, s.age, horizon) >= before * (1 - 1e-12)


@given(models, seen(), horizons)
def test_of_those_who_have_just_bought_who_bought_more_returns_likelier(
    model: Purchasing, s: Summary, horizon: float
) -> None:
    """From the first repeat purchase on; after a silence it is the other way round."""
    x = s.frequency + 1
    less, more = (model.returning(n, s.age, s.age, horizon) for n in (x, x + 1))
    assert less <= more * (1 + 1e-12)


@given(models, seen(), horizons, st.floats(1, 3))
def test_more_time_brings_more_purchases_and_more_silence_fewer(
    model: Purchasing, s: Summary, horizon: float, by: float
) -> None:
    known = (s.frequency, s.recency, s.age)
    longer = model.expected(*known, horizon * by)
    assert longer >= model.expected(*known, horizon) * (1 - 1e-9)
    silent = model.returning(s.frequency, s.recency, s.age * by, horizon)
    assert silent <= model.returning(*known, horizon) * (1 + 1e-12)


@settings(max_examples=40)
@given(models | hiatuses, spendings, seen(), st.floats(1, 400))
def test_the_bounds_are_in_order(
    model: Purchasing | Hiatus, spend: Spending, s: Summary, horizon: float
) -> None:
    found = predict(model, spend, s, horizon)
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.high
    assert isfinite(found.high)


@given(purchases, st.integers(0, 400), st.sampled_from([1, 7, 30]), st.randoms())
def test_the_order_of_purchases_is_of_no_consequence(
    bought: list[tuple[date, float]], day: int, unit: int, rng: object
) -> None:
    at = DAY + timedelta(days=day)
    shuffled = list(bought)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    found = summarise(bought, at, unit)
    assert summarise(shuffled, at, unit) == found
    if found:
        assert found.frequency <= found.recency <= found.age


@settings(max_examples=30, deadline=None)
@given(
    st.lists(seen(), min_size=1, max_size=60),
    st.sampled_from(["mbg", "bg"]),
    st.sampled_from([None, "default"]),
)
def test_no_customers_make_a_fit_fail(
    customers: list[Summary], kind: str, prior: PriorName | None
) -> None:
    """And everybody gets a finite prediction; whoever comes first."""
    found = fit_value(customers, 180, kind, prior)  # type: ignore[arg-type]
    assert fit_value(customers[::-1], 180, kind, prior) == found  # type: ignore[arg-type]
    for s in customers[:3]:
        told = predict(found.frequency, found.spend.model if found.spend else None, s, 365)
        assert isfinite(told.expected_purchases)
        assert 0 <= told.p_active <= 1
        assert told.value is None or isfinite(told.value)


@settings(max_examples=20, deadline=None)
@given(st.lists(seen(), min_size=20, max_size=60), st.sampled_from([7.0, 30.4375, 1 / 24]))
def test_the_time_unit_is_of_no_consequence(customers: list[Summary], unit: float) -> None:
    """With the prior, the same customers in other units are expected to buy the same."""
    if not any(s.age for s in customers):
        return
    other = [Summary(s.frequency, s.recency / unit, s.age / unit) for s in customers]
    mine, theirs = fit_purchasing(customers), fit_purchasing(other)
    for s, o in zip(customers[:3], other, strict=False):
        expected = mine.model.expected(s.frequency, s.recency, s.age, 90)
        same = theirs.model.expected(o.frequency, o.recency, o.age, 90 / unit)
        assert same == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(0, 9)), max_size=30))
def test_rfm_scores_follow_the_values(values: list[tuple[int, int, int]]) -> None:
    """Equal ones equally, better ones no worse, in any order of the customers."""
    buyers = [Buyer(str(i), *each) for i, each in enumerate(values)]
    found = rfm(buyers)
    assert set(rfm(buyers[::-1])) == set(found)
    for a, one in zip(buyers, found, strict=True):
        assert {one.recency, one.frequency, one.monetary} <= set(range(1, 6))
        for b, other in zip(buyers, found, strict=True):
            assert (a.spent <= b.spent) <= (one.monetary <= other.monetary)
            assert (a.days_since >= b.days_since) <= (one.recency <= other.recency)


@given(st.lists(st.lists(st.integers(0, 400).map(lambda n: DAY + timedelta(days=n)), max_size=6)))
def test_rolling_retention_falls_and_is_never_below_classic(histories: list[list[date]]) -> None:
    found = cohorts(histories, DAY + timedelta(days=300))
    came = [h for h in histories if h and min(h) <= DAY + timedelta(days=300)]
    assert sum(cohort.customers for cohort in found) == len(came)
    for cohort in found:
        rolling = [share for share in cohort.rolling if share is not None]
        assert rolling == sorted(rolling, reverse=True)
        for classic, at_least in zip(cohort.classic, cohort.rolling, strict=True):
            assert (classic is None) == (at_least is None)
            if classic is not None and at_least is not None:
                assert 0 <= classic <= at_least <= 1


events = st.lists(
    st.tuples(
        st.sampled_from(sorted(ENGAGEMENT_WEIGHTS)),
        st.integers(0, 1_000).map(lambda hours: AT - timedelta(hours=hours)),
    ),
    max_size=40,
)


@given(events, events)
def test_engagement_rises_with_events_and_falls_with_time(
    some: list[tuple[str, datetime]], more: list[tuple[str, datetime]]
) -> None:
    found = engagement_score(some + more, AT)
    assert engagement_score((some + more)[::-1], AT) == found
    assert 0 <= engagement_score(some, AT).score <= found.score <= 100
    assert engagement_score(some + more, AT + timedelta(days=9)).score <= found.score
    assert sum(c.score for c in found.contributions) == pytest.approx(found.score)
