from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import pytest

from crmkit.config import Settings
from crmkit.errors import InvalidInput, RuleError
from crmkit.model import Customer, Occasion, Preferences, catalogue, entry_of
from crmkit.model.rule import AllOf, AnyOf, Compare, InSegment, Near, Not, Rule, Top
from crmkit.model.time import Calendar, Duration
from crmkit.segmentation.fields import (
    FIELDS,
    OCCASION_FIELDS,
    OPERATORS,
    Source,
    Type,
    find,
    find_of_occasion,
)
from crmkit.segmentation.rules import MAX_DEPTH, MAX_NODES, parse
from crmkit.segmentation.values import MAX_LIST, MAX_LISTED, MAX_TEXT

SETTINGS = Settings(timezone="Europe/Bucharest")
LEAF = {"field": "total_spend", "operator": ">=", "value": 100}


def leaf(field: str, operator: str, value: Any = None) -> Compare:
    rule = parse({"field": field, "operator": operator, "value": value}, SETTINGS)
    assert isinstance(rule, Compare)
    return rule


def refused(document: object) -> RuleError:
    with pytest.raises(RuleError) as caught:
        parse(document, SETTINGS)
    return caught.value


def refused_leaf(field: str, operator: str, value: Any = None) -> RuleError:
    return refused({"field": field, "operator": operator, "value": value})


def test_the_nested_rule_of_the_sources() -> None:
    document = {
        "operator": "and",
        "conditions": [
            {"field": "total_spend", "operator": ">=", "value": 100},
            {
                "operator": "or",
                "conditions": [
                    {"field": "last_purchase", "operator": "within", "value": "90d"},
                    {"field": "events_attended", "operator": ">=", "value": 3},
                ],
            },
        ],
    }
    assert parse(document, SETTINGS) == AllOf(
        (
            Compare("total_spend", ">=", 10_000),
            AnyOf(
                (
                    Compare("last_purchase", "within", Duration(90, "d")),
                    Compare("events_attended", ">=", 3),
                )
            ),
        )
    )


def test_the_vip_rule_of_the_sources() -> None:
    document = {
        "operator": "and",
        "conditions": [
            {"field": "total_spend", "operator": ">=", "value": 500},
            {"field": "events_attended", "operator": ">=", "value": 5},
        ],
    }
    expected = (Compare("total_spend", ">=", 50_000), Compare("events_attended", ">=", 5))
    assert parse(document, SETTINGS) == AllOf(expected)


def test_not_takes_one_condition() -> None:
    assert parse({"operator": "not", "conditions": [LEAF]}, SETTINGS) == Not(
        Compare("total_spend", ">=", 10_000)
    )
    assert refused({"operator": "not", "conditions": [LEAF, LEAF]}).field == "conditions"


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("total_spent", "==", "99.99", Compare("total_spend", "=", 9_999)),
        ("total_spend", "between", [1, 2.5], Compare("total_spend", "between", (100, 250))),
        ("visits", ">", 3.0, Compare("total_visits", ">", 3)),
        ("orders", "in", [1, 2], Compare("total_orders", "in", (1, 2))),
        ("city", "contains_any", ["a", "b"], Compare("city", "contains_any", ("a", "b"))),
        ("birth_date", "before", "2000-01-01", Compare("birth_date", "<", date(2000, 1, 1))),
        ("preferences.music_genres", "contains", "rock",
         Compare("music_genres", "contains", "rock")),
        ("consent.marketing_email", "=", True, Compare("consent.marketing_email", "=", True)),
        ("tier", ">=", "GOLD", Compare("tier", ">=", "GOLD")),
        ("custom.shoe size", "not_in", [38, 39.5],
         Compare("custom.shoe size", "not_in", (38, 39.5))),
        ("last_visit", "not_within", "6mo", Compare("last_visit", "not_within", Duration(6, "mo"))),
        ("last_visit", "after", "2026-06-01",
         Compare("last_visit", ">", datetime(2026, 5, 31, 21, tzinfo=UTC))),
        ("last_visit", "<=", "2026-06-01T10:00:00+02:00",
         Compare("last_visit", "<=", datetime(2026, 6, 1, 8, tzinfo=UTC))),
    ],
)  # fmt: skip
def test_values_are_converted(field: str, operator: str, value: Any, expected: Rule) -> None:
    assert leaf(field, operator, value) == expected


def test_exists_asks_for_presence_unless_told_otherwise() -> None:
    assert parse({"field": "email", "operator": "exists"}, SETTINGS) == Compare(
        "email", "exists", True
    )
    assert leaf("email", "exists", False) == Compare("email", "exists", False)


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        ("total_visits", ">", "3"),
        ("total_visits", ">", True),
        ("total_visits", ">", None),
        ("total_visits", ">", math.nan),
        ("total_visits", ">", math.inf),
        ("total_visits", ">", 10**400),
        ("total_visits", "in", 3),
        ("total_visits", "in", []),
        ("total_visits", "in", list(range(MAX_LIST + 1))),
        ("total_visits", "between", [1]),
        ("total_visits", "between", [2, 1]),
        ("total_spend", ">", math.nan),
        ("total_spend", ">", "1.234"),
        ("total_spend", ">", "a lot"),
        ("total_spend", ">", [100]),
        ("city", "=", 5),
        ("city", "=", "x" * (MAX_TEXT + 1)),
        ("city", "=", "a\0"),
        ("city", "in", ["a", "\ud800"]),
        ("birth_date", "=", "17.05.1990"),
        ("birth_date", "=", "1" * 1_000_000),
        ("last_visit", ">", "2026-06-01T10:00:00"),
        ("last_visit", ">", "2026-02-30"),
        ("last_visit", ">", "0001-01-01"),
        ("last_visit", "within", 90),
        ("last_visit", "within", "ninety days"),
        ("last_visit", "within", "0d"),
        ("last_visit", "within", "99999y"),
        ("prefers_table", "=", "yes"),
        ("consent.marketing_email", "=", 1),
        ("email", "exists", "yes"),
        ("tier", "=", "GOLDEN"),
        ("tier", "between", ["GOLD", "SILVER"]),
        ("custom.x", "=", None),
        ("custom.x", "=", {"a": 1}),
        ("custom.x", "<", True),
        ("custom.x", "in", [1, "a"]),
        ("custom.x", "in", [True, False]),
        ("custom.x", "between", ["a", 1]),
        ("custom.x", "contains", 1),
    ],
)
def test_values_of_the_wrong_type_are_refused(field: str, operator: str, value: Any) -> None:
    error = refused_leaf(field, operator, value)
    assert isinstance(error, InvalidInput)
    assert (error.field or "").startswith("value")


def test_a_refused_value_is_not_repeated() -> None:
    error = refused_leaf("birth_date", "=", "ion@exemplu.com")
    assert "ion@" not in str(error)
    assert "ion@" not in repr(leaf("email", "=", "ion@exemplu.com"))


def test_errors_carry_the_path_and_the_nearest_name() -> None:
    inner = {"operator": "or", "conditions": [LEAF | {"value": "much"}]}
    error = refused({"operator": "and", "conditions": [LEAF, inner]})
    assert error.field == "conditions[1].conditions[0].value"
    assert str(error).startswith("conditions[1].conditions[0].value: expected an amount")

    assert "did you mean 'total_spend'?" in str(refused_leaf("total_spnd", ">", 1))
    assert "did you mean 'not_within'?" in str(refused_leaf("last_visit", "notwithin", "1d"))
    assert "did you mean 'conditions'?" in str(refused({"operator": "and", "condition": [LEAF]}))
    assert "did you mean 'GOLD'?" in str(refused_leaf("tier", "=", "GOLDD"))
    assert "use contains" in str(refused_leaf("tags", "=", "vip"))


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], None),
        ("total_spend > 5", None),
        (None, None),
        ({}, "field"),
        ({"field": 5, "operator": "="}, "field"),
        ({"field": "city"}, "operator"),
        ({"field": "city", "operator": 5}, "operator"),
        ({"field": "city", "operator": "~", "value": "a"}, "operator"),
        ({"field": "city", "operator": "within", "value": "90d"}, "operator"),
        ({"field": "city", "operator": "="}, "value"),
        ({"field": "custom.", "operator": "exists"}, "field"),
        ({"field": "custom." + "x" * 201, "operator": "exists"}, "field"),
        ({"field": "consent.marketing", "operator": "exists"}, "field"),
        ({"field": "consent.marketing-email", "operator": "exists"}, "field"),
        ({"field": "id; DROP TABLE crm_customers", "operator": "exists"}, "field"),
        ({"field": "x" * 1_000_000, "operator": "exists"}, "field"),
        (LEAF | {5: 6}, None),
        (LEAF | {"conditions": [LEAF]}, None),
        ({"conditions": [LEAF]}, "operator"),
        ({"operator": "xor", "conditions": [LEAF]}, "operator"),
        ({"operator": "and", "conditions": []}, "conditions"),
        ({"operator": "and", "conditions": LEAF}, "conditions"),
        ({"operator": "and", "conditions": ["x"]}, "conditions[0]"),
    ],
)
def test_malformed_documents_are_refused(document: object, path: str | None) -> None:
    assert refused(document).field == path


def nested(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = LEAF
    for _ in range(depth - 1):
        document = {"operator": "not", "conditions": [document]}
    return document


def test_limits() -> None:
    parse(nested(MAX_DEPTH), SETTINGS)
    parse({"operator": "and", "conditions": [LEAF] * (MAX_NODES - 1)}, SETTINGS)
    some = {"field": "city", "operator": "in", "value": ["a"] * MAX_LIST}
    parse({"operator": "or", "conditions": [some] * (MAX_LISTED // MAX_LIST)}, SETTINGS)

    assert "16 levels" in str(refused(nested(MAX_DEPTH + 1)))
    assert "1,000 conditions" in str(refused({"operator": "and", "conditions": [LEAF] * MAX_NODES}))
    many = {"operator": "or", "conditions": [some] * (MAX_LISTED // MAX_LIST + 1)}
    assert "5,000 values" in str(refused(many))


def test_hostile_documents_are_refused() -> None:
    deep = nested(100_000)
    loop: dict[str, Any] = {"operator": "and"}
    loop["conditions"] = [loop, loop]
    inside: Any = []
    for _ in range(100_000):
        inside = [inside]
    refused(deep)
    refused(loop)
    refused({"operator": "and", "conditions": [LEAF] * 1_000_000})
    refused(LEAF | {"value": inside})
    refused_leaf("city", "in", [inside])
    refused_leaf("last_visit", "within", "1" * 1_000_000)
    while deep is not LEAF:  # taken apart here: dropping it whole would recurse in C
        deep = deep["conditions"].pop()
    while inside:
        inside = inside.pop()


def test_every_scalar_of_the_profile_is_a_field() -> None:
    left_out = {"tenant", "id", "email_typed", "phone_typed", "instagram_typed",
                "latitude_micro", "longitude_micro", "sealed"}  # fmt: skip
    mappings = {c.name for c in entry_of(Customer).columns if c.type is dict}
    profile = {f.attribute for f in FIELDS.values() if f.source is Source.CUSTOMER}
    assert profile == set(entry_of(Customer).names) - left_out - mappings - {"preferences"}
    liked = {f.attribute for f in FIELDS.values() if f.source is Source.PREFERENCES}
    assert liked == {c.name for c in entry_of(Customer).column("preferences").nested}
    assert find("average_spending").type is Type.MONEY
    assert find("prefers_table").default is Preferences().prefers_table
    assert all(FIELDS[name].name == name for name in FIELDS)
    assert len(catalogue()) > 0


def test_a_consent_names_purpose_and_channel() -> None:
    assert find("consent.marketing_email").consent == ("marketing", "email")
    assert find("consent.third_party_sms").consent == ("third_party", "sms")


def test_every_type_has_operators() -> None:
    assert set(OPERATORS) == set(Type)


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("last_purchase", "during", "this month",
         Compare("last_purchase", "during", Calendar("month"))),
        ("birth_date", "during", "yesterday", Compare("birth_date", "during", Calendar("day", 1))),
        ("birth_date", "anniversary_within", "7d", Compare("birth_date", "anniversary_within", 7)),
        ("first_visit", "anniversary_within", 0, Compare("first_visit", "anniversary_within", 0)),
        ("total_spent", "top_percent", 12.5, Top("total_spend", percent=12_500)),
        ("points", "bottom_percent", 0.001, Top("points", percent=1, bottom=True)),
        ("visits", "top_count", 3.0, Top("total_visits", count=3)),
        ("qualifying_points", "bottom_count", 1, Top("qualifying_points", count=1, bottom=True)),
        ("location", "near", {"latitude": 44.43, "longitude": -180, "km": 0.5},
         Near(44_430_000, -180_000_000, 500)),
        ("segment", "=", " vip ", InSegment("vip")),
        ("segment", "in", "vip", InSegment("vip")),
        ("segment", "in", ["a", "b"], AnyOf((InSegment("a"), InSegment("b")))),
        ("segment", "not_in", ["a", "b"], Not(AnyOf((InSegment("a"), InSegment("b"))))),
        ("segment", "not_in", "a", Not(InSegment("a"))),
    ],
)  # fmt: skip
def test_conditions_beyond_a_comparison(
    field: str, operator: str, value: Any, expected: Rule
) -> None:
    document = {"field": field, "operator": operator, "value": value}
    assert parse(document, SETTINGS) == expected


def test_a_segment_has_a_short_form() -> None:
    assert parse({"in_segment": "vip"}, SETTINGS) == InSegment("vip")


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"in_segment": ""}, "in_segment"),
        ({"in_segment": "x" * 101}, "in_segment"),
        ({"in_segment": ["a"]}, "in_segment"),
        ({"in_segment": "a", "operator": "="}, None),
        ({"field": "segment", "operator": "!=", "value": "a"}, "operator"),
        ({"field": "segment", "operator": "in", "value": []}, "value"),
        ({"field": "segment", "operator": "in", "value": ["a", "\0"]}, "value[1]"),
        ({"field": "segment", "operator": "="}, "value"),
        ({"field": "location", "operator": "=", "value": 1}, "operator"),
        ({"field": "location", "operator": "near"}, "value"),
        ({"field": "location", "operator": "near", "value": [44, 26]}, "value"),
        ({"field": "location", "operator": "near", "value": {"latitude": 44, "km": 1}},
         "value.longitude"),
        ({"field": "location", "operator": "near",
          "value": {"latitude": 91, "longitude": 26, "km": 1}}, "value.latitude"),
        ({"field": "location", "operator": "near",
          "value": {"latitude": 44, "longitude": math.nan, "km": 1}}, "value.longitude"),
        ({"field": "location", "operator": "near",
          "value": {"latitude": 44, "longitude": 26, "km": 201}}, "value.km"),
        ({"field": "location", "operator": "near",
          "value": {"latitude": 44, "longitude": 26, "km": 0}}, "value.km"),
        ({"field": "location", "operator": "near",
          "value": {"latitude": 44, "longitude": 26, "km": 1, "lat": 1}}, "value"),
    ],
)  # fmt: skip
def test_segments_and_places_are_checked(document: object, path: str | None) -> None:
    assert refused(document).field == path


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        ("total_spend", "top_percent", 0),
        ("total_spend", "top_percent", 100.001),
        ("total_spend", "top_percent", 0.0001),
        ("total_spend", "top_percent", "10"),
        ("total_spend", "top_percent", math.inf),
        ("total_spend", "top_count", 0),
        ("total_spend", "top_count", 1.5),
        ("total_spend", "top_count", True),
        ("birth_date", "anniversary_within", "1w"),
        ("birth_date", "anniversary_within", "367d"),
        ("birth_date", "anniversary_within", -1),
        ("birth_date", "anniversary_within", True),
        ("birth_date", "anniversary_within", 1.5),
        ("birth_date", "anniversary_within", "1" * 1_000_000),
        ("last_visit", "during", "this fortnight"),
        ("last_visit", "during", 5),
        ("last_visit", "during", "x" * 1_000_000),
    ],
)
def test_ranks_and_calendars_are_checked(field: str, operator: str, value: Any) -> None:
    assert refused_leaf(field, operator, value).field == "value"


def test_only_stored_whole_numbers_are_ranked() -> None:
    for name, field in FIELDS.items():
        whole = {"total_spend", "points", "qualifying_points"}
        counts = field.source is Source.METRICS and field.type is Type.NUMBER
        assert ("top_percent" in field.operators) is (name in whole or counts), name
    for name in ("age", "average_order_value", "average_group_size", "custom.x"):
        assert refused_leaf(name, "top_percent", 10).field == "operator"


def test_every_field_of_an_occasion_is_stored() -> None:
    stored = {column.name for column in entry_of(Occasion).columns}
    assert {field.attribute for field in OCCASION_FIELDS.values()} <= stored
    assert find_of_occasion("amount").type is Type.MONEY
    with pytest.raises(RuleError, match="did you mean 'venue'"):
        find_of_occasion("venu", path="where.field")
