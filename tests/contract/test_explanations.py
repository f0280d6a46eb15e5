"""Every storage gives the explanation that memory gives, and it is the answer that is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmkit import CRMService, MemoryStorage, Settings
from crmkit.ports.storage import Storage
from crmkit.testing import CountingIds, FrozenClock

_BEGIN = datetime(2026, 1, 1, 12, tzinfo=UTC)
_ASKED = [_BEGIN + timedelta(days=n) for n in (-1, 0, 20, 59, 60, 90)]

SEGMENTS: dict[str, dict[str, Any]] = {
    "money": {"field": "total_spend", "operator": "between", "value": [100, 300]},
    "regular": {"did": "purchase", "within": "60d", "count": 2},
    "crypt": {
        "did": "purchase",
        "where": {"field": "item", "operator": "=", "value": "Crypt"},
        "sum": 150,
    },
    "lately": {"field": "last_purchase", "operator": "within", "value": "1mo"},
    "top": {"field": "total_spend", "operator": "top_percent", "value": 50},
    "bottom": {"field": "points", "operator": "bottom_count", "value": 1},
    "cart": {"did": "interaction", "not_then": {"did": "purchase", "within": "2d"}},
    "near": {
        "field": "location",
        "operator": "near",
        "value": {"latitude": 44.43, "longitude": 26.1, "km": 5},
    },
    "born": {"field": "birth_date", "operator": "anniversary_within", "value": "30d"},
    "nested": {
        "operator": "and",
        "conditions": [
            {"field": "segment", "operator": "not_in", "value": ["lately", "hand"]},
            {"operator": "or", "conditions": [{"in_segment": "top"}, {"in_segment": "crypt"}]},
        ],
    },
}


def _filled(storage: Storage) -> tuple[CRMService, list[str]]:
    clock = FrozenClock(_BEGIN)
    romanian = Settings(region="RO", timezone="Europe/Bucharest", currency="RON")
    crm = CRMService(storage, clock=clock, ids=CountingIds(), settings=romanian)
    people = [
        crm.find_or_create(
            {
                "email": f"guest{n}@mail.com",
                "location": (44.42 + n / 50, 26.1),
                "birth_date": f"1990-02-0{n + 1}",
            }
        ).id
        for n in range(4)
    ]
    crm.segments.create("hand")
    for name, rules in SEGMENTS.items():
        crm.segments.create(name, rules)
    orders: list[str] = []
    for n, (who, day, amount, item) in enumerate(
        ((0, 1, 90, "Crypt"), (1, 5, 100, "Lab"), (0, 30, 120, "Crypt"), (2, 40, 120, "Crypt"))
    ):
        clock.set(_BEGIN + timedelta(days=day))
        crm.track_activity(people[who], "interaction")
        clock.advance(hours=n * 20)
        paid = {"amount": amount, "item": item, "order_id": f"o{n}"}
        orders.append(crm.track_activity(people[who], "purchase", paid).id)
    clock.set(_BEGIN + timedelta(days=50))
    crm.activities.refund(orders[2], amount=50)
    crm.activities.void(orders[1])
    crm.segments.add(people[3], "hand")
    crm.segments.keep_out(people[0], "top")
    clock.set(_BEGIN + timedelta(days=70))
    return crm, people


def _told(crm: CRMService, people: list[str]) -> Iterator[dict[str, Any]]:
    for name in (*SEGMENTS, "hand"):
        for at in _ASKED:
            for customer_id in people:
                yield crm.segments.explain(customer_id, name, at=at).to_dict()


@pytest.fixture
def filled(storage: Storage) -> tuple[CRMService, list[str]]:
    return _filled(storage)


def test_each_storage_explains_alike(filled: tuple[CRMService, list[str]]) -> None:
    """Values, activities, ranks and ends are those that memory tells, then and now."""
    expected = [*_told(*_filled(MemoryStorage()))]
    assert [*_told(*filled)] == expected
    assert {told["holds"] for told in expected} == {True, False}


def test_the_explanation_is_the_answer(filled: tuple[CRMService, list[str]]) -> None:
    """Of each customer and segment, at instants past, present and to come."""
    crm, people = filled
    for told in _told(crm, people):
        answer = crm.segments.is_member(told["customer_id"], told["segment"], at=told["at"])
        assert told["holds"] is answer, (told["segment"], told["at"])
    for name in SEGMENTS:
        members = {c.id for c in crm.segments.members(name)}
        assert members == {c for c in people if crm.segments.explain(c, name).holds}
