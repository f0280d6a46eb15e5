from __future__ import annotations

from typing import Any

import pytest

from crmkit.config import Kind, Settings
from crmkit.errors import RuleError
from crmkit.programmes import Programme, Tier
from crmkit.segmentation.rules import parse
from crmkit.segmentation.schema import json_schema
from tests.schemas import fits

SETTINGS = Settings()
SCHEMA = json_schema()
LEAF = {"field": "total_spend", "operator": ">=", "value": 100}
POINT = {"latitude": 44.43, "longitude": 26.1, "km": 5}


@pytest.mark.parametrize(
    "document",
    [
        LEAF | {"field": "total_spent", "operator": "==", "value": "99.99"},
        {"operator": "not", "conditions": [LEAF]},
        {"operator": "and", "conditions": [{"operator": "or", "conditions": [LEAF, LEAF]}]},
        {"field": "email", "operator": "exists"},
        {"field": "preferences.music_genres", "operator": "contains", "value": "rock"},
        {"field": "custom.shoe size", "operator": "between", "value": [38, 39.5]},
        {"field": "consent.third_party_sms", "operator": "=", "value": True},
        {"field": "last_visit", "operator": "within", "value": " 90 d "},
        {"field": "last_visit", "operator": ">", "value": "20260301T100000Z"},
        {"field": "last_visit", "operator": "during", "value": " this month "},
        {"field": "location", "operator": "near", "value": POINT},
        {"field": "segment", "operator": "in", "value": "vip"},
        {"in_segment": "vip"},
        {"did": "purchase", "count": 3, "per": "month", "since": "2026-01-01"},
        {"did": "purchase", "last": {"operator": "exists"}},
        {"did": "booking", "not_then": {"did": "ticket", "within": "1h"}},
        {"did_not": "ticket", "where": [{"field": "item", "operator": "=", "value": "X"}]},
    ],
)
def test_what_is_taken_fits(document: Any) -> None:
    parse(document, SETTINGS)
    assert fits(document, SCHEMA)


@pytest.mark.parametrize(
    "document",
    [
        [],
        "total_spend > 5",
        {},
        LEAF | {"field": "total_spnd"},
        LEAF | {"operator": "within"},
        LEAF | {"operator": "contains", "value": "a"},
        LEAF | {"value": [1]},
        LEAF | {"x": 1},
        {"field": "city", "operator": "=", "value": "x" * 1_001},
        {"field": "age", "operator": "top_percent", "value": 10},
        {"field": "total_spend", "operator": "top_percent", "value": 101},
        {"field": "total_spend", "operator": "top_count", "value": 0},
        {"field": "tier", "operator": "=", "value": "GOLDEN"},
        {"field": "custom.", "operator": "exists"},
        {"field": "age", "operator": "in", "value": []},
        {"field": "age", "operator": "between", "value": [1]},
        {"field": "location", "operator": "near", "value": POINT | {"km": 201}},
        {"operator": "xor", "conditions": [LEAF]},
        {"operator": "and", "conditions": []},
        {"operator": "not", "conditions": [LEAF, LEAF]},
        {"did": "purchas"},
        {"did": "amendment"},
        {"did": "purchase", "within": "1d", "until": "2026-01-01"},
        {"did": "purchase", "count": 1, "sum": 1},
        {"did": "purchase", "per": "month"},
        {"did": "purchase", "where": LEAF},
        {"did": "purchase", "where": {"did": "visit"}},
        {"did": "purchase", "count": {"operator": "exists"}},
        {"did": "booking", "then": {"did": "ticket"}},
        {"did_not": "ticket", "count": 1},
    ],
)
def test_what_is_refused_does_not_fit(document: Any) -> None:
    with pytest.raises(RuleError):
        parse(document, SETTINGS)
    assert not fits(document, SCHEMA)


def test_it_follows_the_settings() -> None:
    one = Programme(earn_rules=(), tiers=(Tier("ONE", 0),))
    own = Settings(kinds=(Kind(name="form_start"),), programmes=(one,))
    schema = json_schema(own)
    assert fits({"did": "form_start"}, schema)
    assert not fits({"did": "purchase"}, schema)
    assert fits({"field": "tier", "operator": "=", "value": "ONE"}, schema)
    assert not fits({"field": "tier", "operator": "=", "value": "GOLD"}, schema)
