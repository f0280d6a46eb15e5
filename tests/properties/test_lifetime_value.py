"""Lifetime values after any history: the same in any order, and then as now."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import CRMService
from crmkit.insights.lifetime import LifetimeValue
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from crmkit.testing.strategies import INSTANTS, SETTINGS, histories

Call = dict[str, Any]

# A fresh tenant for each example: the fixture's storage may be shared by all of them.
shared_storage = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
_tenants = (f"valued {n}" for n in itertools.count())
NIGHTS = attrs.evolve(SETTINGS, day_ends="06:00")


def fresh(storage: Storage) -> CRMService:
    clock = FrozenClock(datetime(2026, 1, 15, 12, tzinfo=UTC))
    crm = CRMService(storage, settings=NIGHTS, clock=clock, tenant=next(_tenants))
    crm.insights.fit(at=INSTANTS[0] - timedelta(days=1))
    return crm


def track(crm: CRMService, customer: str, calls: Sequence[Call]) -> None:
    for call in calls:
        crm.activities.track(customer, **call)


def value(crm: CRMService, customer: str, **asked: Any) -> LifetimeValue:
    """The value, without whose it is."""
    found = crm.insights.lifetime_value(customer, **asked)
    return attrs.evolve(found, customer_id="", fitted=None)


@given(calls=histories(), data=st.data())
@shared_storage
def test_the_order_in_which_facts_come_in_is_of_no_consequence(
    storage: Storage, calls: list[Call], data: st.DataObject
) -> None:
    crm = fresh(storage)
    one, other = (crm.find_or_create({"user_id": n}).id for n in (1, 2))
    track(crm, one, calls)
    track(crm, other, data.draw(st.permutations(calls)))
    assert value(crm, one) == value(crm, other)


@given(calls=histories(), at=st.sampled_from(INSTANTS), ahead=st.sampled_from([0, 30]))
@shared_storage
def test_then_is_what_had_happened_by_then(
    storage: Storage, calls: list[Call], at: datetime, ahead: int
) -> None:
    """As of an instant, a customer is who did only what happened up to it; in a list too."""
    crm = fresh(storage)
    one, other = (crm.find_or_create({"user_id": n}).id for n in (1, 2))
    moment = at + timedelta(days=ahead)
    track(crm, one, calls)
    track(crm, other, [call for call in calls if call["at"] <= moment])
    found = value(crm, one, at=moment)
    assert found == value(crm, other, at=moment)
    lines = {line.customer_id: line for line in crm.insights.values(at=moment)}
    assert (one in lines) == (found.p_active is not None)
    for who in lines:
        line = attrs.evolve(lines[who], customer_id="")
        assert line.historic == found.historic
        assert line.predicted == found.predicted


@given(calls=histories(), at=st.sampled_from(INSTANTS))
@shared_storage
def test_chances_are_chances_and_bounds_are_in_order(
    storage: Storage, calls: list[Call], at: datetime
) -> None:
    crm = fresh(storage)
    customer = crm.find_or_create({"user_id": 1}).id
    track(crm, customer, calls)
    crm.insights.fit(at=at)
    found = value(crm, customer)
    assert found.p_active is None or 0 <= found.p_active <= 1
    assert found.expected_purchases is None or found.expected_purchases >= 0
    if found.interval is not None:
        low, high = found.interval
        assert 0 <= low.minor <= high.minor
