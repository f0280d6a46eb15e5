"""Insights after any history: cached or folded, now or then, the answer is the same."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from crmkit import CRMService, MemoryStorage, Money
from crmkit.insights.reading import Asked
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from crmkit.testing.strategies import INSTANTS, SETTINGS, histories

Call = dict[str, Any]

# A fresh tenant for each example: the fixture's storage may be shared by all of them.
shared_storage = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Any counter-example will do; making it small takes long.
unshrunk = settings(phases=[Phase.generate], max_examples=10_000, database=None)
_tenants = (f"tenant {n}" for n in itertools.count())
NIGHTS = attrs.evolve(SETTINGS, day_ends="06:00")
# Before, between and after the moments of the histories.
_STARTS = st.sampled_from([INSTANTS[0] - timedelta(days=1), datetime(2024, 6, 1, tzinfo=UTC)])


def fresh(storage: Storage, start: datetime) -> tuple[CRMService, FrozenClock]:
    clock = FrozenClock(start)
    return CRMService(storage, settings=NIGHTS, clock=clock, tenant=next(_tenants)), clock


def answers(crm: CRMService, customer: str, **asked: Any) -> list[Any]:
    """What insights say, without whose it is."""
    found = crm.insights.for_customer(customer, **asked)
    return [
        {k: v for k, v in attrs.asdict(found, recurse=False).items() if k != "customer"},
        crm.insights.items(customer, **asked),
        crm.insights.venues(customer, **asked),
        crm.insights.heatmap(customer, **asked).counts,
    ]


def track(crm: CRMService, customer: str, calls: Sequence[Call]) -> None:
    for call in calls:
        crm.activities.track(customer, **call)


@given(calls=histories())
@shared_storage
def test_the_cached_answer_is_the_folded_one(storage: Storage, calls: list[Call]) -> None:
    crm, clock = fresh(storage, datetime(2026, 1, 15, 12, tzinfo=UTC))
    customer = crm.find_or_create({"user_id": 1}).id
    track(crm, customer, calls)
    # Asked what was known, the facts answer; else the cached rows do.
    assert answers(crm, customer, at=clock()) == answers(crm, customer, known_at=clock())
    assert answers(crm, customer) == answers(crm, customer, known_at=clock())


@given(calls=histories(), start=_STARTS)
@shared_storage
def test_an_answer_can_be_given_again(storage: Storage, calls: list[Call], start: datetime) -> None:
    """After each fact, late, early or dated ahead, the answer is the one that is given later."""
    crm, clock = fresh(storage, start)
    customer = crm.find_or_create({"user_id": 1}).id
    then = {}
    for call in calls:
        track(crm, customer, [call])
        then[clock()] = answers(crm, customer)
        clock.advance(days=100)
    for moment, answer in then.items():
        assert answers(crm, customer, known_at=moment) == answer


@given(calls=histories(), at=st.sampled_from(INSTANTS), ahead=st.sampled_from([0, 30]))
@shared_storage
def test_then_is_what_had_happened_by_then(
    storage: Storage, calls: list[Call], at: datetime, ahead: int
) -> None:
    """As of an instant, a customer is who did only what happened up to it."""
    crm, _ = fresh(storage, datetime(2026, 1, 15, 12, tzinfo=UTC))
    one, other = (crm.find_or_create({"user_id": n}).id for n in (1, 2))
    moment = at + timedelta(days=ahead)
    track(crm, one, calls)
    track(crm, other, [call for call in calls if call["at"] <= moment])
    assert answers(crm, one, at=moment) == answers(crm, other, at=moment)


@given(calls=histories(), by=st.sampled_from(["day", "week", "month"]))
@shared_storage
def test_series_are_whole(storage: Storage, calls: list[Call], by: str) -> None:
    """They sum up to the totals, without a gap, and begin and end with a value."""
    crm, _ = fresh(storage, datetime(2026, 1, 15, 12, tzinfo=UTC))
    customer = crm.find_or_create({"user_id": 1}).id
    track(crm, customer, calls)
    found = crm.insights.for_customer(customer)
    spend = crm.insights.spend_series(customer, by)
    visits = crm.insights.visit_series(customer, by)
    bookings = crm.insights.booking_series(customer, by)
    assert sum(p.value.minor for p in spend) == found.total_spent.minor
    assert sum(p.value for p in visits) == found.total_visits
    assert sum(p.value for p in bookings) == found.total_bookings
    for counted in (visits, bookings):
        assert not counted or (counted[0].value and counted[-1].value)
    assert not spend or (spend[0].value.minor and spend[-1].value.minor)
    longest = {"day": 1, "week": 7, "month": 31}[by]
    for series in ([p.start for p in spend], [p.start for p in visits]):
        steps = [later - start for start, later in itertools.pairwise(series)]
        assert all(timedelta() < step <= timedelta(days=longest) for step in steps)


@given(calls=histories())
@shared_storage
def test_revenue_is_the_sum_of_the_series(storage: Storage, calls: list[Call]) -> None:
    crm, _ = fresh(storage, datetime(2026, 1, 15, 12, tzinfo=UTC))
    customer = crm.find_or_create({"user_id": 1}).id
    track(crm, customer, calls)
    months = {p.name: p.value for p in crm.insights.spend_series(customer)}
    revenue = crm.insights.revenue_by_month()
    assert _with_value(months) == _with_value(revenue)


def _with_value(months: dict[str, Money]) -> dict[str, Money]:
    return {month: spent for month, spent in months.items() if spent.minor}


@pytest.mark.parametrize("naive", ["always", "by the clock"])
def test_the_naive_way_fails_the_same_property(naive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cached rows about the past, or about now whatever is dated ahead, give what was not yet."""
    clock = FrozenClock(INSTANTS[1])
    ways = {"always": lambda *_: True, "by the clock": lambda asked, _: asked.at >= clock()}
    monkeypatch.setattr(Asked, "is_cached", ways[naive])

    def wrong(calls: list[Call]) -> bool:
        crm = CRMService(MemoryStorage(), settings=NIGHTS, clock=clock)
        one, other = (crm.find_or_create({"user_id": n}).id for n in (1, 2))
        track(crm, one, calls)
        track(crm, other, [call for call in calls if call["at"] <= clock()])
        return answers(crm, one) != answers(crm, other)

    assert find(histories(), wrong, settings=unshrunk)
