from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, MemoryStorage
from crmkit.model.time import Duration
from crmkit.rules import Condition, did, did_not, f, in_segment

SPEND = {"field": "total_spend", "operator": ">=", "value": 100}
VIP = {"field": "tags", "operator": "contains", "value": "vip"}
LATE = {"field": "last_purchase", "operator": "within", "value": "90d"}


def test_comparisons_are_written_as_in_python() -> None:
    assert (f.total_spend >= 100).to_dict() == SPEND
    assert (f["custom.club"] == "gold").to_dict() == {
        "field": "custom.club",
        "operator": "=",
        "value": "gold",
    }
    assert f.email.missing().to_dict() == {"field": "email", "operator": "exists", "value": False}


def test_chains_of_and_stay_flat() -> None:
    said = (f.total_spend >= 100) & f.tags.contains("vip") & f.last_purchase.within("90d")
    assert said.to_dict() == {"operator": "and", "conditions": [SPEND, VIP, LATE]}


def test_or_and_not_nest() -> None:
    said = (f.total_spend >= 100) | ~(f.tags.contains("vip") & f.last_purchase.within("90d"))
    both = {"operator": "and", "conditions": [VIP, LATE]}
    assert said.to_dict() == {
        "operator": "or",
        "conditions": [SPEND, {"operator": "not", "conditions": [both]}],
    }


def test_json_and_python_join() -> None:
    expected = {"operator": "and", "conditions": [SPEND, VIP]}
    assert (SPEND & f.tags.contains("vip")).to_dict() == expected
    assert ((f.total_spend >= 100) & VIP).to_dict() == expected
    assert Condition(SPEND).to_dict() == SPEND


def test_what_customers_did() -> None:
    bought = did("purchase", f.item == "X", within="90d")
    document = {
        "did": "purchase",
        "where": [{"field": "item", "operator": "=", "value": "X"}],
        "within": "90d",
    }
    assert bought.to_dict() == document
    assert (bought.count >= 3).to_dict() == document | {"count": {"operator": ">=", "value": 3}}
    assert (bought.sum < 300).to_dict() == document | {"sum": {"operator": "<", "value": 300}}
    last = bought.last.not_within("7d").to_dict()
    assert last == document | {"last": {"operator": "not_within", "value": "7d"}}
    first = bought.first.exists().to_dict()
    assert first == document | {"first": {"operator": "exists", "value": True}}
    most = bought.count_per("month") == 2
    assert most == document | {"count": {"operator": "=", "value": 2}, "per": "month"}
    assert bought.to_dict() == document


def test_what_customers_did_not() -> None:
    assert did_not("ticket", within="30d").to_dict() == {"did_not": "ticket", "within": "30d"}


def test_what_followed() -> None:
    document = {
        "did": "form_start",
        "within": "7d",
        "not_then": {"did": "ticket", "within": "1h"},
    }
    said = did("form_start", within="7d").not_then(did("ticket"), within="1h")
    assert said.to_dict() == document
    with pytest.raises(TypeError, match="within="):
        did("visit").then(did("ticket", within="1d"), within="1h")


def test_segments_and_places() -> None:
    assert in_segment("vip").to_dict() == {"in_segment": "vip"}
    point = {"latitude": 44.43, "longitude": 26.1, "km": 5}
    assert f.location.near(44.43, 26.1, km=5).to_dict()["value"] == point


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (date(2026, 3, 1), "2026-03-01"),
        (datetime(2026, 3, 1, 20, tzinfo=UTC), "2026-03-01T20:00:00Z"),
        (Decimal("9.99"), "9.99"),
        (Duration(90, "d"), "90d"),
        ((1, 2), [1, 2]),
    ],
)
def test_values_become_json(value: Any, written: Any) -> None:
    document = (f.x == value).to_dict()
    assert document["value"] == written
    json.dumps(document)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no zone"):
        f.last_visit.before(datetime(2026, 3, 1))


def test_conditions_are_neither_true_nor_false() -> None:
    with pytest.raises(TypeError, match="between"):
        _ = 1 <= f.total_visits <= 3
    with pytest.raises(TypeError, match="&"):
        _ = (f.total_visits > 1) and (f.total_visits < 3)
    with pytest.raises(TypeError, match="&"):
        _ = not did("visit")
    with pytest.raises(TypeError, match="exists"):
        bool(f.email)
    with pytest.raises(TypeError, match="exists"):
        bool(did("visit").count)


def test_mistakes_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="a list of values"):
        f.city.is_in("Cluj")
    with pytest.raises(TypeError, match="expected a condition"):
        (f.total_spend >= 100) & 5  # type: ignore[operator] # the mistake
    with pytest.raises(TypeError, match="name of a field"):
        list(f)  # type: ignore[call-overload] # the mistake
    with pytest.raises(TypeError, match="unhashable"):
        {f.city}  # noqa: B018 - it is refused
    assert not hasattr(f, "_city")
    copy.copy(f)


def test_values_stay_out_of_repr() -> None:
    assert "ana@" not in repr(f.email == "ana@pop.ro")
    assert repr(f.email) == "f['email']"


def test_a_copy_is_the_callers_own() -> None:
    said = f.city.is_in(["Cluj"])
    said.to_dict()["value"].append("Iași")
    assert said.to_dict()["value"] == ["Cluj"]


def test_a_segment_is_made_of_it() -> None:
    with CRMService(MemoryStorage()) as crm:
        crm.find_or_create({"name": "Ana", "tags": ["vip"]})
        made = crm.segments.create("vips", f.tags.contains("vip") & (f.total_spend < 1))
        assert made.rules is not None
        assert json.loads(json.dumps(made.rules))["operator"] == "and"
        assert crm.segments.count("vips") == 1
