"""A rule pushed down to a database fits exactly the customers that it fits in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import attrs
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from crmkit.adapters.sql.codec import codec
from crmkit.adapters.sql.rules import matching
from crmkit.adapters.sql.statements import add, rendered
from crmkit.adapters.sql.tables import all_tables
from crmkit.model import Customer, Metrics, Occasion, PointsAccount, Preferences
from crmkit.model.catalogue import evolved
from crmkit.model.rule import AllOf, Member, Not, Rule
from crmkit.model.time import FOREVER
from crmkit.segmentation.evaluate import compiled
from crmkit.segmentation.fields import OPERATORS, Source, Type, find
from crmkit.segmentation.rules import MAX_DEPTH, MAX_NODES, parse
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.values import MAX_LIST, MAX_LISTED
from crmkit.testing.contract.rules import check, records
from crmkit.testing.strategies import (
    DAYS,
    DURATIONS,
    INSTANTS,
    JSON_SCALARS,
    MOMENTS,
    SETTINGS,
    TEXTS,
    instants,
    rules,
    subjects,
    values,
)
from tests.tiers import held

_IDS = tuple(f"c{n}" for n in range(8))
_EARLIER = timedelta(days=1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    local = request.param == "sqlite"
    engine = sa.create_engine(
        "sqlite://" if local else request.getfixturevalue("postgres_database")
    )
    all_tables().drop_all(engine)
    all_tables().create_all(engine)
    with engine.connect() as opened:
        yield opened
    all_tables().drop_all(engine)
    engine.dispose()


@contextmanager
def stored(connection: sa.Connection, people: Iterable[Subject]) -> Iterator[None]:
    name = connection.dialect.name
    try:
        for subject in people:
            for record in records(subject):
                kind: Any = type(record)
                row = tuple(codec(kind).encode(record))
                connection.exec_driver_sql(add(name, kind).sql, row)
        yield
    finally:
        connection.rollback()


def told(connection: sa.Connection, rule: Rule, at: datetime) -> dict[str, bool]:
    name = connection.dialect.name
    sql, parameters = rendered(matching(rule, SETTINGS, at, "t", name), name)
    rows = connection.exec_driver_sql(sql, parameters).fetchall()
    return {row[0]: bool(row[1]) for row in rows}


def found(connection: sa.Connection, rule: Rule, at: datetime) -> list[str]:
    return sorted(told(connection, rule, at))


_people = st.tuples(*(subjects(id=i) for i in _IDS)).map(list)
# Under the same ids, so that a condition without its tenant would find them.
_strangers = st.tuples(*(subjects(tenant="other", id=i) for i in _IDS[:2])).map(list)


# Asked more often than chance would: what other tables than the customer's own hold.
_ELSEWHERE = rules(
    fields=(
        "average_order_value",
        "points",
        "qualifying_points",
        "tier",
        "tags",
        "consent.marketing_email",
        "consent.third_party_email",
    )
)


@given(
    documents=st.lists(rules() | _ELSEWHERE, min_size=1, max_size=6),
    people=_people,
    strangers=_strangers,
    at=instants(),
)
def test_sql_and_memory_agree(
    connection: sa.Connection,
    documents: list[dict[str, Any]],
    people: list[Subject],
    strangers: list[Subject],
    at: datetime,
) -> None:
    with stored(connection, [*people, *strangers]):
        for document in documents:
            rule = parse(document, SETTINGS)
            check(rule, people, at, told(connection, rule, at))


@given(people=_people, strangers=_strangers)
def test_membership_by_hand_agrees(
    connection: sa.Connection, people: list[Subject], strangers: list[Subject]
) -> None:
    rule = AllOf((Member("s1"), Not(Member("s2"))))
    at = INSTANTS[0]
    expected = [s.customer.id for s in people if s.memberships == {"s1"} and s.begins_at <= at]
    with stored(connection, [*people, *strangers]):
        assert found(connection, rule, INSTANTS[0]) == expected


def person(n: int, field: str, value: Any) -> Subject:
    """Somebody with one field set."""
    one, owner, moment = find(field), f"c{n:03}", INSTANTS[0]
    customer: Any = Customer(tenant="t", id=owner, created_at=moment, updated_at=moment)
    metrics: Any = Metrics(tenant="t", customer_id=owner)
    blank = Subject(customer=customer, metrics=metrics)
    match one.source:
        case Source.METRICS:
            changed: Any = {"metrics": attrs.evolve(metrics, **{one.attribute: value})}
        case Source.CUSTOM:
            changed = {"customer": attrs.evolve(customer, custom={one.attribute: value})}
        case Source.PREFERENCES:
            liked = Preferences(**{one.attribute: value})
            changed = {"customer": attrs.evolve(customer, preferences=liked)}
        case _:
            changed = {"customer": attrs.evolve(customer, **{one.attribute: value})}
    return attrs.evolve(blank, **changed)


def every_document(field: str) -> Iterator[dict[str, Any]]:
    """Each operator of the field with each value of its pool."""
    kind = find(field).type
    pools = [TEXTS, _NUMBERS] if kind is Type.JSON else [values(field)]
    for operator in OPERATORS[kind]:
        if operator in ("during", "anniversary_within"):
            continue
        for pool in pools:
            given: Any = pool
            if operator == "exists":
                given = [True, False]
            elif operator in ("within", "not_within"):
                given = DURATIONS
            elif operator == "between":
                given = [[v, pool[-2]] for v in pool[:-1]]
            elif operator in ("in", "not_in", "contains_any", "contains_all"):
                given = [[v, pool[1]] for v in pool]
            if operator in ("contains", "contains_any", "contains_all", "starts_with"):
                given = [g for g in given if pool is TEXTS]
            for value in given:
                yield {"field": field, "operator": operator, "value": value}


_NUMBERS = [-1, 0, 0.1, 1, 2.5, 3, 2**53]


@pytest.mark.parametrize(
    ("field", "stored_values"),
    [
        ("last_visit", [None, *MOMENTS]),
        ("age", [None, *DAYS]),
        ("birth_date", [None, *DAYS]),
        ("city", [None, *TEXTS]),
        ("dress_style", [None, *TEXTS]),
        ("average_group_size", [None, -1, 0, 1, 2, 3]),
        ("instagram_followers", [None, -1, 0, 1, 2, 3, 1_000]),
        ("custom.x", [*JSON_SCALARS, [], ["a"], ["a", 1], {}, {"a": "a"}]),
    ],
)
def test_every_edge_agrees(connection: sa.Connection, field: str, stored_values: list[Any]) -> None:
    ats = INSTANTS if field in ("last_visit", "age") else INSTANTS[:1]
    people = [person(n, field, value) for n, value in enumerate(stored_values)]
    with stored(connection, people):
        for document, at in product(every_document(field), ats):
            rule = parse(document, SETTINGS)
            for asked in (rule, Not(rule)):
                holds = compiled(asked, SETTINGS)
                expected = [s.customer.id for s in people if holds(s, at)]
                assert found(connection, asked, at) == expected, document


@pytest.mark.parametrize("group", ["and", "or"])
@pytest.mark.parametrize("field", ["city", "consent.marketing_email"])
def test_the_largest_rules_run(connection: sa.Connection, group: str, field: str) -> None:
    text = {"field": field, "operator": "=", "value": "a"}
    leaf = text | {"value": True} if field.startswith("consent") else text
    wide: Any = {"operator": group, "conditions": [leaf] * (MAX_NODES - 1)}
    deep: Any = leaf
    for level in range(MAX_DEPTH - 1):
        operator = ("not", "or", "and")[level % 3]
        fillers = [] if operator == "not" else [leaf] * 60
        deep = {"operator": operator, "conditions": [deep, *fillers]}
    other = {"operator": group, "conditions": [leaf] * 90}
    nested: Any = {"operator": group, "conditions": [other] * 10}
    for document in (wide, deep, nested):
        assert found(connection, parse(document, SETTINGS), INSTANTS[0]) == []


@pytest.mark.parametrize("operator", ["in", "not_in", "contains_any", "contains_all"])
@pytest.mark.parametrize(("field", "count"), [("custom.x", MAX_LIST), ("city", 50)])
def test_the_longest_lists_run(
    connection: sa.Connection, operator: str, field: str, count: int
) -> None:
    leaf = {"field": field, "operator": operator, "value": [f"v{n}" for n in range(count)]}
    for group in ("and", "or"):
        rule = parse({"operator": group, "conditions": [leaf] * (MAX_LISTED // count)}, SETTINGS)
        assert found(connection, rule, INSTANTS[0]) == []


def test_text_within_json_compares_by_code_point() -> None:
    # Said by the SQL: the test server's own locale compares so anyway.
    rule = parse({"field": "custom.x", "operator": "<", "value": "a"}, SETTINGS)
    sql, _ = rendered(matching(rule, SETTINGS, INSTANTS[0], "t", "postgresql"), "postgresql")
    assert 'jsonb_extract_path_text(crm_customers.custom, %s::VARCHAR) COLLATE "C"' in sql


def owning(tenant: str, *, consent: bool, tags: frozenset[str], tier: str) -> Subject:
    at = INSTANTS[0]
    return Subject(
        customer=Customer(tenant=tenant, id="c", created_at=at, updated_at=at),
        metrics=Metrics(tenant=tenant, customer_id="c"),
        account=PointsAccount(tenant=tenant, customer_id="c", qualifying=1 if tags else 0),
        tiers=held((at, tier), tenant=tenant) if tier != "BRONZE" else (),
        tags=tags,
        consents={("marketing", "email"): FOREVER if consent else None},
        memberships=frozenset({"s1"}) if tags == {"a", "b"} else frozenset(),
    )


@pytest.mark.parametrize("mine", [True, False])
def test_what_another_tenant_owns_does_not_count(connection: sa.Connection, mine: bool) -> None:
    rich = {"consent": True, "tags": frozenset({"a", "b"}), "tier": "PLATINUM"}
    poor = {"consent": False, "tags": frozenset({"a"}), "tier": "BRONZE"}
    own: Any = rich if mine else poor
    other: Any = poor if mine else rich
    documents: list[dict[str, Any]] = [
        {"field": "consent.marketing_email", "operator": "=", "value": True},
        {"field": "tags", "operator": "contains", "value": "b"},
        {"field": "tags", "operator": "contains_all", "value": ["a", "b"]},
        {"field": "tier", "operator": "=", "value": "PLATINUM"},
    ]
    asked = [parse(document, SETTINGS) for document in documents] + [Member("s1")]
    with stored(connection, [owning("t", **own), owning("other", **other)]):
        for rule in asked:
            assert found(connection, rule, INSTANTS[0]) == (["c"] if mine else []), rule


LATER = INSTANTS[2]


def returning(tenant: str = "t") -> Subject:
    """Somebody who came at the first instant, and once more at the last."""
    blank = owning(tenant, consent=False, tags=frozenset(), tier="BRONZE")
    visits = tuple(
        Occasion(
            tenant=tenant, story=f"{tenant}{n}", fact=f"{tenant}{n}", since=at, until=None,
            customer_id="c", kind="visit", happened_at=at,
        )
        for n, at in enumerate((INSTANTS[0], LATER))
    )  # fmt: skip
    dates = {"first_activity_at": INSTANTS[0], "last_activity_at": LATER}
    metrics: Any = blank.metrics
    metrics = attrs.evolve(metrics, visits=2, last_visit_at=LATER, **dates)
    return attrs.evolve(blank, metrics=metrics, occasions={"visit": visits})


_RECENT = {"field": "last_visit", "operator": "within", "value": "90d"}


@pytest.mark.parametrize(
    ("document", "sure"),
    [
        (_RECENT, False),
        ({"operator": "not", "conditions": [_RECENT]}, False),
        ({"did": "visit", "within": "90d"}, True),
        ({"did": "visit", "within": "90d", "count": 2}, None),
        ({"did": "visit", "count": 1, "per": "month"}, True),
        ({"did": "visit", "count": 1, "per": "day"}, False),
        ({"did": "visit", "not_then": {"did": "visit", "within": "5d"}}, None),
        ({"did": "visit", "not_then": {"did": "visit", "within": "1mo"}}, False),
        ({"operator": "and", "conditions": [_RECENT, {"did": "purchase"}]}, None),
        ({"operator": "or", "conditions": [_RECENT, {"did": "visit"}]}, False),
        ({"field": "total_visits", "operator": "top_count", "value": 1}, True),
    ],
)
def test_who_did_more_since_is_left_in_doubt_where_the_rule_looks_at_totals(
    connection: sa.Connection, document: dict[str, Any], sure: bool | None
) -> None:
    with stored(connection, [returning(), returning("other")]):
        asked = told(connection, parse(document, SETTINGS), INSTANTS[0])
    assert asked == ({} if sure is None else {"c": sure})


def test_nobody_is_found_before_the_first_fact_about_them(connection: sa.Connection) -> None:
    rule = parse({"field": "total_visits", "operator": ">=", "value": 0}, SETTINGS)
    with stored(connection, [returning()]):
        assert told(connection, rule, INSTANTS[0] - timedelta(microseconds=1)) == {}


@pytest.mark.parametrize("programme", ["points", "other"])
def test_the_tier_is_that_of_the_instant_in_the_first_programme(
    connection: sa.Connection, programme: str
) -> None:
    at, tick = INSTANTS[1], timedelta(microseconds=1)
    names = [tier.name for tier in SETTINGS.programme.tiers]
    people = []
    for n, name in enumerate(names[1:]):
        for m, since in enumerate((at - tick, at, at + tick)):
            for k, then in enumerate([(), ((at, names[0]),), ((at + tick, names[0]),)]):
                one = person(100 * n + 10 * m + k, "city", None)
                periods = held(
                    (since, name), *(t for t in then if t[0] > since), id=one.customer.id
                )
                other = tuple(evolved(p, programme=programme) for p in periods)
                people.append(attrs.evolve(one, tiers=other))
    people.sort(key=lambda one: one.customer.id)
    with stored(connection, people):
        for document in every_document("tier"):
            rule = parse(document, SETTINGS)
            for asked, moment in product((rule, Not(rule)), (at - tick, at, at + tick)):
                mine = [
                    one if programme == SETTINGS.programme.name else attrs.evolve(one, tiers=())
                    for one in people
                ]
                holds = compiled(asked, SETTINGS)
                expected = {s.customer.id: True for s in mine if holds(s, moment)}
                assert told(connection, asked, moment) == expected, (document, moment)
