from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crmkit.config import Kind, Settings
from crmkit.errors import RuleError
from crmkit.model.rule import AllOf, AnyOf, Between, Compare, Did, Not, Occurs, Rule, Then, Window
from crmkit.model.time import Calendar, Duration
from crmkit.programmes import Programme
from crmkit.segmentation.rules import MAX_DEPTH, MAX_NODES, parse

SETTINGS = Settings(timezone="Europe/Bucharest")
ITEM = {"field": "item", "operator": "=", "value": "X"}
OF_X = Compare("item", "=", "X")
PURCHASE = Occurs("purchase")


def read(document: object) -> Rule:
    return parse(document, SETTINGS)


def refused(document: object) -> RuleError:
    with pytest.raises(RuleError) as caught:
        read(document)
    return caught.value


def test_to_have_done_is_to_have_done_once() -> None:
    assert read({"did": "purchase"}) == Did(PURCHASE, "count", ">=", 1)


def test_not_to_have_done_is_its_negation() -> None:
    window = Duration(30, "d")
    expected = Not(Did(Occurs("ticket"), "count", ">=", 1, window))
    assert read({"did_not": "ticket", "within": "30d"}) == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, None),
        ({"within": "90d"}, Duration(90, "d")),
        ({"during": "last month"}, Calendar("month", 1)),
        ({"during": "today"}, Calendar("day", 0)),
        ({"since": "2026-06-01"}, Between(datetime(2026, 5, 31, 21, tzinfo=UTC))),
        ({"until": "2026-06-01T10:00:00+02:00"},
         Between(None, datetime(2026, 6, 1, 8, tzinfo=UTC))),
        ({"since": "2026-01-01", "until": "2026-01-02"},
         Between(datetime(2025, 12, 31, 22, tzinfo=UTC), datetime(2026, 1, 1, 22, tzinfo=UTC))),
    ],
)  # fmt: skip
def test_windows(keys: dict[str, Any], expected: Window | None) -> None:
    assert read({"did": "purchase", **keys}) == Did(PURCHASE, "count", ">=", 1, expected)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"count": 3}, ("count", ">=", 3)),
        ({"count": {"operator": "==", "value": 0}}, ("count", "=", 0)),
        ({"count": {"operator": "between", "value": [1, 2]}}, ("count", "between", (1, 2))),
        ({"count": 2, "per": "month"}, ("month", ">=", 2)),
        ({"count": {"operator": "<", "value": 2}, "per": "day"}, ("day", "<", 2)),
        ({"sum": 300}, ("sum", ">=", 30_000)),
        ({"sum": {"operator": "<", "value": "9.99"}}, ("sum", "<", 999)),
        ({"first": {"operator": "after", "value": "2026-06-01"}},
         ("first", ">", datetime(2026, 5, 31, 21, tzinfo=UTC))),
        ({"last": {"operator": "not_within", "value": "30d"}},
         ("last", "not_within", Duration(30, "d"))),
        ({"last": {"operator": "during", "value": "this week"}},
         ("last", "during", Calendar("week"))),
        ({"first": {"operator": "exists"}}, ("first", "exists", True)),
    ],
)  # fmt: skip
def test_measures(keys: dict[str, Any], expected: tuple[Any, Any, Any]) -> None:
    assert read({"did": "purchase", **keys}) == Did(PURCHASE, *expected)


def test_where_is_a_rule_over_an_occasions_fields() -> None:
    where = {
        "operator": "or",
        "conditions": [
            ITEM,
            {"operator": "not", "conditions": [
                {"field": "amount", "operator": "between", "value": [1, 2.5]},
            ]},
        ],
    }  # fmt: skip
    expected = AnyOf((OF_X, Not(Compare("amount", "between", (100, 250)))))
    assert read({"did": "purchase", "where": where}) == Did(
        Occurs("purchase", expected), "count", ">=", 1
    )


def test_a_list_of_conditions_holds_where_all_do() -> None:
    of_two = {"field": "party_size", "operator": ">=", "value": 2}
    assert read({"did": "booking", "where": [ITEM, of_two]}) == Did(
        Occurs("booking", AllOf((OF_X, Compare("party_size", ">=", 2)))), "count", ">=", 1
    )


@pytest.mark.parametrize(("key", "follows"), [("then", True), ("not_then", False)])
def test_what_followed(key: str, follows: bool) -> None:
    document = {
        "did": "booking",
        "within": "7d",
        key: {"did": "ticket", "where": ITEM, "within": "1h"},
    }
    ticket = Occurs("ticket", OF_X)
    expected = Then(Occurs("booking"), ticket, Duration(1, "h"), follows, Duration(7, "d"))
    assert read(document) == expected


def test_kinds_are_those_of_the_settings() -> None:
    settings = Settings(kinds=(Kind(name="form_start"),), programmes=(Programme(earn_rules=()),))
    assert parse({"did": "form_start"}, settings) == Did(Occurs("form_start"), "count", ">=", 1)
    with pytest.raises(RuleError, match="unknown kind of activity 'purchase'"):
        parse({"did": "purchase"}, settings)
    assert refused({"did": "amendment"}).field == "did"


@pytest.mark.parametrize(
    ("document", "path", "hint"),
    [
        ({"did": "purchas"}, "did", "did you mean 'purchase'?"),
        ({"did": 5}, "did", "expected a name"),
        ({"did": "purchase", "did_not": "visit"}, None, "unknown key 'did_not'"),
        ({"did": "purchase", "field": "city"}, None, "unknown key 'field'"),
        ({"did": "purchase", "withn": "1d"}, None, "did you mean 'within'?"),
        ({"did": "purchase", "within": "1d", "during": "today"}, "during", "'within'"),
        ({"did": "purchase", "during": "today", "until": "2026-01-01"}, "until", "'during'"),
        ({"did": "purchase", "within": 90}, "within", "expected text"),
        ({"did": "purchase", "during": "next month"}, "during", "'this' or 'last'"),
        ({"did": "purchase", "since": "2026-01-02", "until": "2026-01-02"}, "until", "after"),
        ({"did": "purchase", "since": "2026-01-02T10:00:00"}, "since", "no zone"),
        ({"did": "purchase", "count": 1, "sum": 1}, "sum", "does not go with 'count'"),
        ({"did": "purchase", "count": None}, "count", "expected a number"),
        ({"did": "purchase", "count": float("nan")}, "count", "finite"),
        ({"did": "purchase", "count": {"operator": ">="}}, "count.value", "missing"),
        ({"did": "purchase", "count": {"operator": "exists"}}, "count.operator", "use ="),
        ({"did": "purchase", "count": {"operator": "=", "value": 1, "x": 1}}, "count", "key 'x'"),
        ({"did": "purchase", "sum": {"operator": ">", "value": "1.234"}}, "sum.value", "decimal"),
        ({"did": "purchase", "last": "2026-01-01"}, "last", "expected an object"),
        ({"did": "purchase", "last": {"operator": "in", "value": []}}, "last.operator", "use"),
        ({"did": "purchase", "per": "month"}, "per", "'count'"),
        ({"did": "purchase", "per": "mnth", "count": 1}, "per", "did you mean 'month'?"),
        ({"did": "purchase", "per": "month", "sum": 1}, "per", "'count'"),
        ({"did_not": "purchase", "count": 1}, None, "unknown key 'count'"),
        ({"did": "purchase", "where": None}, "where", "expected an object"),
        ({"did": "purchase", "where": []}, "where", "at least one"),
        ({"did": "purchase", "where": ITEM | {"field": "itm"}}, "where.field", "mean 'item'?"),
        ({"did": "purchase", "where": ITEM | {"field": "city"}}, "where.field", "unknown field"),
        ({"did": "purchase", "where": {"did": "visit"}}, "where", "unknown key 'did'"),
        ({"did": "purchase", "where": [ITEM, ITEM | {"operator": "within"}]},
         "where[1].operator", "does not work"),
        ({"did": "booking", "then": {"did": "ticket"}}, "then.within", "missing"),
        ({"did": "booking", "then": "ticket"}, "then", "expected an object"),
        ({"did": "booking", "then": {"did": "tickt", "within": "1h"}}, "then.did", "'ticket'?"),
        ({"did": "booking", "count": 2, "then": {"did": "ticket", "within": "1h"}},
         "count", "does not go with 'then'"),
        ({"did": "booking", "then": {"did": "ticket", "within": "1h", "count": 1}},
         "then", "unknown key 'count'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(document: object, path: str | None, hint: str) -> None:
    error = refused(document)
    assert error.field == path
    assert hint in str(error)


def test_the_path_leads_through_groups_and_where() -> None:
    where = {"operator": "or", "conditions": [{"field": "amount", "operator": "=", "value": "x"}]}
    document = {
        "operator": "and",
        "conditions": [{"did": "purchase"}, {"did": "purchase", "where": where}],
    }
    assert refused(document).field == "conditions[1].where.conditions[0].value"


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = ITEM
    for _ in range(levels - 1):
        document = {"operator": "not", "conditions": [document]}
    return document


def test_limits_hold_across_where() -> None:
    read({"did": "purchase", "where": nested(MAX_DEPTH - 1)})
    assert "16 levels" in str(refused({"did": "purchase", "where": nested(MAX_DEPTH)}))
    read({"did": "purchase", "where": [ITEM] * (MAX_NODES - 1)})
    assert "1,000 conditions" in str(refused({"did": "purchase", "where": [ITEM] * MAX_NODES}))


@pytest.mark.parametrize("hostile", ["x" * 1_000_000, "a\0b", "\ud800" * 9, "'; DROP TABLE x--"])
def test_hostile_names_are_refused(hostile: str) -> None:
    for document in (
        {"did": hostile},
        {"did": "purchase", hostile: 1},
        {"did": "purchase", "within": hostile},
        {"did": "purchase", "during": hostile},
        {"did": "purchase", "since": hostile},
        {"did": "purchase", "count": 1, "per": hostile},
        {"did": "purchase", "where": ITEM | {"field": hostile}},
    ):
        assert len(str(refused(document)).encode()) < 1_000


def test_hostile_nesting_is_refused() -> None:
    refused({"did": "purchase", "where": nested(500)})
    refused({"did": "purchase", "where": [ITEM] * 1_000_000})
    loop: dict[str, Any] = {"did": "purchase"}
    loop["then"] = loop
    refused(loop)
