"""Rules made to do harm get a typed error, saved or only previewed, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from crmkit import CRMService, MemoryStorage, RuleError
from crmkit.testing import FrozenClock
from tests.populate import populate, rows

MEGABYTE = "x" * 1_000_000
NUL, LONE = "a\0b", "a\ud800"
NAN, INFINITY = float("nan"), float("inf")
SQL = "city'; DROP TABLE crm_customers; --"
CITY = {"field": "city", "operator": "=", "value": "x"}


def leaf(field: Any, operator: Any, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def group(operator: Any, *parts: Any) -> dict[str, Any]:
    return {"operator": operator, "conditions": [*parts]}


def deep(operator: str, levels: int) -> dict[str, Any]:
    made: dict[str, Any] = CITY
    for _ in range(levels):
        made = group(operator, made)
    return made


def within_itself(operator: str) -> dict[str, Any]:
    made: dict[str, Any] = group(operator, CITY)
    made["conditions"].append(made)
    return made if operator != "not" else group("not", made)


def list_within_itself() -> list[Any]:
    made: list[Any] = []
    made.append(group("or", CITY))
    made[0]["conditions"] = made
    return made


def place(**parts: Any) -> dict[str, Any]:
    return leaf("location", "near", {"latitude": 44.4, "longitude": 26.1, "km": 5, **parts})


def did(**more: Any) -> dict[str, Any]:
    return {"did": "visit", **more}


class Endless(Mapping[str, Any]):
    """An object that has itself for every value."""

    def __getitem__(self, key: str) -> Any:
        return "and" if key == "operator" else [self]

    def __iter__(self) -> Iterator[str]:
        return iter(("operator", "conditions"))

    def __len__(self) -> int:
        return 2


# What is given, and the path that the error names.
CASES: dict[str, tuple[Any, str]] = {
    "10,000 conditions": (group("or", *[CITY] * 10_000), "conditions[999]"),
    "10,000 conditions in groups": (
        group("and", *[group("or", *[CITY] * 100)] * 100), "conditions[9].conditions[89]",
    ),
    "10,000 conditions of a visit": (
        did(where=[leaf("item", "=", "x")] * 10_000), "where[999]",
    ),
    "500 deep in and": (deep("and", 500), "conditions[0]" + 15 * ".conditions[0]"),
    "500 deep in or": (deep("or", 500), "conditions[0]" + 15 * ".conditions[0]"),
    "500 deep in where": (did(where=deep("not", 500)), "where" + 15 * ".conditions[0]"),
    "a group within itself": (within_itself("and"), "conditions[1]"),
    "a negation within itself": (within_itself("not"), "conditions[0]"),
    "where within itself": (did(where=within_itself("or")), "where"),
    "a list within itself": (did(where=list_within_itself()), "where[0]"),
    "an endless object": (Endless(), "conditions[0]"),
    "NaN as an amount": (leaf("total_spend", ">=", NAN), "value"),
    "infinity as an amount": (leaf("total_spend", "<", INFINITY), "value"),
    "infinity as a number": (leaf("total_visits", "<", -INFINITY), "value"),
    "NaN in a pair": (leaf("total_visits", "between", [NAN, NAN]), "value[0]"),
    "infinity in a list": (leaf("custom.x", "in", [1, INFINITY]), "value[1]"),
    "NaN in percent": (leaf("total_spend", "top_percent", NAN), "value"),
    "infinity as a place": (leaf("total_spend", "top_count", INFINITY), "value"),
    "NaN as a distance": (place(km=NAN), "value.km"),
    "infinity as a latitude": (place(latitude=INFINITY), "value.latitude"),
    "NaN as a count": (did(count=NAN), "count"),
    "infinity as a sum": (did(sum={"operator": ">", "value": INFINITY}), "sum.value"),
    "NaN as days": (leaf("birth_date", "anniversary_within", NAN), "value"),
    "a monstrous number": (leaf("total_visits", ">", 10**5_000), "value"),
    "a megabyte of operator": (leaf("city", MEGABYTE, "x"), "operator"),
    "a megabyte of group": (group(MEGABYTE, CITY), "operator"),
    "a megabyte of kind": ({"did": MEGABYTE}, "did"),
    "a megabyte of key": ({**CITY, MEGABYTE: 1}, ""),
    "a megabyte of duration": (did(within=MEGABYTE), "within"),
    "a megabyte of digits": (leaf("last_visit", "within", "1" * 1_000_000 + "d"), "value"),
    "a megabyte of moment": (did(since=MEGABYTE), "since"),
    "a megabyte of calendar": (did(during=MEGABYTE), "during"),
    "a megabyte of days": (leaf("birth_date", "anniversary_within", "1" * 1_000_000), "value"),
    "a megabyte of custom field": (leaf(f"custom.{MEGABYTE}", "=", 1), "field"),
    "a megabyte of consent": (leaf(f"consent.{MEGABYTE}_email", "=", True), "field"),
    "a megabyte of segment": ({"in_segment": MEGABYTE}, "in_segment"),
    "a megabyte of tier": (leaf("tier", "=", MEGABYTE), "value"),
    "a megabyte in a list": (leaf("tags", "contains_any", ["a", MEGABYTE]), "value[1]"),
    "a megabyte as item": (did(where=leaf("item", "=", MEGABYTE)), "where.value"),
    "SQL as field": (leaf(SQL, "=", "x"), "field"),
    "SQL as field of a visit": (did(where=leaf(SQL, "=", "x")), "where.field"),
    "SQL as consent": (leaf(f"consent.{SQL}_email", "=", True), "field"),
    "SQL as operator": (leaf("city", "= '' OR 1=1 --", "x"), "operator"),
    "SQL as kind": ({"did": SQL}, "did"),
    "SQL as unit": (did(count=1, per=SQL), "per"),
    "SQL as key": ({**CITY, SQL: 1}, ""),
    "NUL as field": (leaf(NUL, "=", "x"), "field"),
    "NUL as custom field": (leaf(f"custom.{NUL}", "=", "x"), "field"),
    "NUL as consent": (leaf(f"consent.{NUL}_email", "=", True), "field"),
    "NUL as kind": ({"did": NUL}, "did"),
    "NUL in a list": (leaf("city", "in", ["a", NUL]), "value[1]"),
    "NUL as segment": ({"in_segment": NUL}, "in_segment"),
    "half a letter as custom field": (leaf(f"custom.{LONE}", "=", "x"), "field"),
    "half a letter as kind": ({"did": LONE}, "did"),
    "half a letter as operator": (leaf("city", LONE, "x"), "operator"),
    "half a letter as key": ({**CITY, LONE: 1}, ""),
    "half a letter as segment": (leaf("segment", "in", [LONE]), "value[0]"),
    "half a letter as item": (did(where=leaf("item", "starts_with", LONE)), "where.value"),
    "a number as key": ({**CITY, 7: 1}, ""),
    "an object as value": (leaf("city", "=", {"a": 1}), "value"),
    "bytes as value": (leaf("city", "=", b"x"), "value"),
    "a set as list": (leaf("city", "in", {"x"}), "value"),
}  # fmt: skip


@pytest.mark.parametrize("call", ["create", "preview"])
@pytest.mark.parametrize("case", CASES)
def test_a_hostile_rule_is_refused(case: str, call: str) -> None:
    """A `RuleError` whose path is short and begins where the harm is; nothing is written."""
    rule, path = CASES[case]
    storage = MemoryStorage()
    crm = CRMService(storage, clock=FrozenClock())
    populate(crm)
    before = rows(storage, crm.tenant)
    save = partial(crm.segments.create, "s") if call == "create" else crm.segments.preview
    with pytest.raises(RuleError) as caught:
        save(rule)
    assert (caught.value.field or "").startswith(path)
    assert len(str(caught.value)) < 700
    str(caught.value).encode()  # can be printed and logged
    assert rows(storage, crm.tenant) == before


@pytest.mark.parametrize(
    "name", [f"custom.{SQL}", 'custom."', "custom.$[*] ? (@ == 1)", "custom.\\"]
)
def test_sql_in_the_name_of_a_custom_field_is_a_name(crm: CRMService, name: str) -> None:
    """It finds whoever has a field of that name, and nobody else."""
    having = crm.find_or_create({"name": "a", "custom": {name.removeprefix("custom."): "x"}}).id
    crm.find_or_create({"name": "b", "custom": {"x": "x"}})
    assert [c.id for c in crm.segments.preview(leaf(name, "=", "x")).sample] == [having]
