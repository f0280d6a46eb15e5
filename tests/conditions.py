"""Conditions of every form, each written in Python and as the JSON that says the same."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias

from hypothesis import strategies as st

from crmkit.rules import did, did_not, f, in_segment
from crmkit.segmentation.builder import Condition, Doing, Measured

Document: TypeAlias = dict[str, Any]
Pair: TypeAlias = tuple[Condition, Document]

_PYTHON: dict[str, Callable[[Any, Any], Condition]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_METHODS = {
    "in": "is_in", "not_in": "not_in", "contains": "contains", "contains_any": "contains_any",
    "contains_all": "contains_all", "starts_with": "starts_with", "within": "within",
    "not_within": "not_within", "during": "during", "before": "before", "after": "after",
    "anniversary_within": "anniversary_within", "top_percent": "top_percent",
    "bottom_percent": "bottom_percent", "top_count": "top_count", "bottom_count": "bottom_count",
}  # fmt: skip
_ORDERED = (*_PYTHON, "between")
_TEXTS = st.sampled_from(["", "X", "a b", 'q"', "\u202e", "\U0001f600"])
_NUMBERS = st.sampled_from([-1, 0, 1, 2.5, 1_000])
_AMOUNTS = st.sampled_from([0, 1, 33.33, 150.0])
_WHENS = st.sampled_from(["2026-03-01", "2026-03-01T20:00:00+02:00", "2026-12-31T23:59:59.5Z"])
_DAYS = st.sampled_from(["1990-05-17", "2004-02-29"])
_LENGTHS = st.sampled_from(["1h", "90d", "2w", "6mo", "1y"])
_CALENDARS = st.sampled_from(["today", "yesterday", "this month", "last year"])
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "within": _LENGTHS,
    "not_within": _LENGTHS,
    "during": _CALENDARS,
    "anniversary_within": st.sampled_from([0, 366, "1d", "7d"]),
    "top_percent": st.sampled_from([0.001, 10, 12.5, 100]),
    "bottom_percent": st.just(10),
    "top_count": st.sampled_from([1, 5_000]),
    "bottom_count": st.just(3),
}
_TEXTUAL = (*_ORDERED, "in", "not_in", "contains", "contains_any", "starts_with", "exists")
_TIMED = (*_ORDERED, "before", "after", "within", "not_within", "during", "anniversary_within",
          "exists")  # fmt: skip
_RANKED = ("top_percent", "bottom_percent", "top_count", "bottom_count")
_NUMERIC = (*_ORDERED, "in", "not_in")
_FIELDS: dict[str, tuple[tuple[str, ...], st.SearchStrategy[Any]]] = {
    "city": (_TEXTUAL, _TEXTS),
    "custom.club": (_TEXTUAL, _TEXTS),
    "age": ((*_NUMERIC, "exists"), _NUMBERS),
    "total_visits": ((*_NUMERIC, *_RANKED), _NUMBERS),
    "total_spend": ((*_NUMERIC, *_RANKED), _AMOUNTS),
    "points": ((*_NUMERIC, *_RANKED), _NUMBERS),
    "last_purchase": (_TIMED, _WHENS),
    "birth_date": (("=", "between", "in", "during", "anniversary_within", "exists"), _DAYS),
    "tags": (("contains", "contains_any", "contains_all", "exists"), _TEXTS),
    "tier": (("=", ">=", "in", "not_in", "exists"), st.sampled_from(["SILVER", "GOLD"])),
    "consent.marketing_email": (("=", "!=", "exists"), st.booleans()),
}
_OCCASIONS: dict[str, tuple[tuple[str, ...], st.SearchStrategy[Any]]] = {
    "item": (_TEXTUAL, _TEXTS),
    "venue": (_TEXTUAL, _TEXTS),
    "amount": (_NUMERIC, _AMOUNTS),
    "party_size": ((*_NUMERIC, "exists"), _NUMBERS),
}
_KINDS = st.sampled_from(["purchase", "booking", "message_opened", "no_show"])


def _said(compared: Any, name: str, value: Any) -> Condition:
    if name in _PYTHON:
        return _PYTHON[name](compared, value)
    if name == "exists":
        found: Condition = compared.exists() if value else compared.missing()
        return found
    said: Condition
    if name == "between":
        said = compared.between(*value)
    else:
        said = getattr(compared, _METHODS[name])(value)
    return said


def _value(name: str, one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if name == "exists":
        return st.booleans()
    if name == "between":
        return one.map(lambda value: [value, value])
    if name in ("in", "not_in", "contains_any", "contains_all"):
        return st.lists(one, min_size=1, max_size=12)
    return _VALUES.get(name, one)


@st.composite
def _compared(
    draw: st.DrawFn, fields: dict[str, tuple[tuple[str, ...], st.SearchStrategy[Any]]]
) -> Pair:
    field = draw(st.sampled_from(sorted(fields)))
    operators, one = fields[field]
    name = draw(st.sampled_from(operators))
    value = draw(_value(name, one))
    return _said(f[field], name, value), {"field": field, "operator": name, "value": value}


@st.composite
def _others(draw: st.DrawFn) -> Pair:
    if draw(st.booleans()):
        point = {"latitude": 44.43, "longitude": draw(st.sampled_from([-180, 26.1])), "km": 0.5}
        said = f.location.near(point["latitude"], point["longitude"], km=0.5)
        return said, {"field": "location", "operator": "near", "value": point}
    names = draw(st.lists(st.sampled_from(["vip", "a b"]), min_size=1, max_size=2))
    not_in = {"field": "segment", "operator": "not_in", "value": names}
    pairs: list[Pair] = [
        (in_segment("vip"), {"in_segment": "vip"}),
        (f.segment == "vip", {"field": "segment", "operator": "=", "value": "vip"}),
        (f.segment.not_in(names), not_in),
    ]
    return draw(st.sampled_from(pairs))


def _windows() -> st.SearchStrategy[Document]:
    return st.one_of(
        st.just({}),
        st.builds(lambda v: {"within": v}, _LENGTHS),
        st.builds(lambda v: {"during": v}, _CALENDARS),
        st.just({"since": "2026-01-01"}),
        st.just({"until": "2026-02-01"}),
        st.just({"since": "2026-01-01", "until": "2026-02-01T20:00:00Z"}),
    )


@st.composite
def _occurring(draw: st.DrawFn) -> tuple[str, list[Pair]]:
    return draw(_KINDS), draw(st.lists(_grouped(_compared(_OCCASIONS), 3), max_size=2))


def _documents(kind: str, where: list[Pair], key: str = "did") -> Document:
    return {key: kind, **({"where": [document for _, document in where]} if where else {})}


@st.composite
def _doings(draw: st.DrawFn) -> Pair:
    kind, where = draw(_occurring())
    window = draw(_windows())
    said = did(kind, *(c for c, _ in where), **window)
    document = _documents(kind, where) | window
    form = draw(st.sampled_from(["plain", "not", "count", "sum", "last", "per", "then"]))
    if form == "plain":
        return said, document
    if form == "not":
        not_done = did_not(kind, *(c for c, _ in where), **window)
        return not_done, _documents(kind, where, "did_not") | window
    if form == "then":
        return draw(_following(said, document))
    return draw(_measuring(said, document, form))


@st.composite
def _following(draw: st.DrawFn, said: Doing, document: Document) -> Pair:
    kind, where = draw(_occurring())
    second, within = did(kind, *(c for c, _ in where)), draw(_LENGTHS)
    asked = _documents(kind, where) | {"within": within}
    if draw(st.booleans()):
        return said.then(second, within=within), document | {"then": asked}
    return said.not_then(second, within=within), document | {"not_then": asked}


@st.composite
def _measuring(draw: st.DrawFn, said: Doing, document: Document, form: str) -> Pair:
    if form == "per":
        unit = draw(st.sampled_from(["day", "week", "month", "year"]))
        measured, document = said.count_per(unit), document | {"per": unit}
        form = "count"
    else:
        measured = getattr(said, form)
    assert isinstance(measured, Measured)
    operators, one = {
        "count": (_NUMERIC, _NUMBERS),
        "sum": (_NUMERIC, _AMOUNTS),
        "last": (_TIMED, _WHENS),
    }[form]
    name = draw(st.sampled_from(operators))
    value = draw(_value(name, one))
    return _said(measured, name, value), document | {form: {"operator": name, "value": value}}


def _grouped(leaves: st.SearchStrategy[Pair], size: int) -> st.SearchStrategy[Pair]:
    def nested(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
        several = st.lists(inner, min_size=2, max_size=3)
        return st.one_of(
            several.map(lambda pairs: _group("and", operator.and_, pairs)),
            several.map(lambda pairs: _group("or", operator.or_, pairs)),
            inner.map(lambda p: (~p[0], {"operator": "not", "conditions": [p[1]]})),
        )

    return st.recursive(leaves, nested, max_leaves=size)


def _group(name: str, join: Callable[[Condition, Condition], Condition], pairs: list[Pair]) -> Pair:
    said = reduce(join, [condition for condition, _ in pairs])
    return said, {"operator": name, "conditions": [document for _, document in pairs]}


def conditions() -> st.SearchStrategy[Pair]:
    """Rules of every form, nested: as Python writes them, and as JSON."""
    return _grouped(st.one_of(_compared(_FIELDS), _others(), _doings(), _doings()), 8)
