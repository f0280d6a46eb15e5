"""The evaluator in memory says what the plainest reading of each rule says, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.config import Settings
from crmkit.model import Customer, Metrics, Occasion, Segment
from crmkit.model.rule import Leaf, Rule, Top
from crmkit.model.time import FOREVER
from crmkit.segmentation.asking import among, asked, at_cutoff, replaced
from crmkit.segmentation.evaluate import compiled, getter, lasting
from crmkit.segmentation.fields import FIELDS, Type, find
from crmkit.segmentation.rules import parse
from crmkit.segmentation.subject import Subject
from crmkit.testing.strategies import (
    ANNIVERSARIES,
    CALENDARS,
    DURATIONS,
    INSTANTS,
    KINDS,
    MOMENTS,
    SETTINGS,
    rules,
    subjects,
)
from tests.balances import kept_for_ever, told_at
from tests.naive_rules import Naive

MICROSECOND = timedelta(microseconds=1)
HORIZON = timedelta(days=5 * 366)


# The ends of months, the hour that comes twice, and the one that is left out.
EDGES = (
    datetime(2023, 3, 31, 10, tzinfo=UTC),
    datetime(2024, 3, 31, 20, 59, 59, 999_999, tzinfo=UTC),
    datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
    datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
    datetime(2024, 11, 27, 1, 30, tzinfo=UTC),
    datetime(2025, 4, 30, 0, 30, tzinfo=UTC),
)
ATS = st.sampled_from((*INSTANTS, *EDGES)) | st.sampled_from(MOMENTS)

IN_TIME = [f.name for f in FIELDS.values() if f.type in (Type.MOMENT, Type.DATE)]


def _compared(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


IN_CALENDAR = st.builds(
    _compared, st.sampled_from(IN_TIME), st.just("during"), st.sampled_from(CALENDARS)
) | st.builds(
    _compared,
    st.sampled_from(IN_TIME),
    st.just("anniversary_within"),
    st.sampled_from(ANNIVERSARIES),
)
NAMED = ("one", "two")
SEGMENTS = st.one_of(
    st.builds(lambda name: {"in_segment": name}, st.sampled_from(NAMED)),
    st.builds(_compared, st.just("segment"), st.just("="), st.sampled_from(NAMED)),
    st.builds(
        _compared,
        st.just("segment"),
        st.sampled_from(["in", "not_in"]),
        st.lists(st.sampled_from(NAMED), min_size=1, max_size=2),
    ),
)


@st.composite
def _followed(draw: st.DrawFn) -> dict[str, Any]:
    """One thing that follows another: what chance alone seldom makes."""
    follower = {"did": draw(st.sampled_from(KINDS)), "within": draw(st.sampled_from(DURATIONS))}
    key = draw(st.sampled_from(["then", "not_then"]))
    return {"did": draw(st.sampled_from(KINDS)), key: follower}


LEAVES = st.one_of(
    rules(),
    rules(),
    IN_CALENDAR,
    SEGMENTS,
    _followed(),
    st.builds(lambda kind: {"did_not": kind, "within": "1mo"}, st.sampled_from(KINDS)),
)
DOCUMENTS = LEAVES | st.builds(
    lambda operator, parts: {"operator": operator, "conditions": parts},
    st.sampled_from(["and", "or"]),
    st.lists(LEAVES, min_size=2, max_size=3),
)
PEOPLE = st.tuples(*(subjects(id=f"c{n}") for n in range(4)))
NAMED_RULES = st.fixed_dictionaries({name: rules() for name in NAMED})


def read(
    document: Mapping[str, Any],
    segments: Mapping[str, Mapping[str, Any]],
    people: Sequence[Subject],
    settings: Settings = SETTINGS,
) -> Rule:
    """The rule with the segments and the cut-offs in it put in, as the service does."""
    at = INSTANTS[0]
    named = {
        name: Segment(tenant="t", id=name, name=name, rules=dict(rule), created_at=at)
        for name, rule in segments.items()
    }
    whole = asked(parse(document, settings), named, cast(Any, SimpleNamespace(settings=settings)))

    def by_value(leaf: Leaf) -> Rule:
        if not isinstance(leaf, Top):
            return leaf
        return at_cutoff(leaf, among(leaf, map(getter(find(leaf.field)), people)))

    return replaced(whole, by_value)


def naive(subject: Subject, at: datetime, **more: Any) -> Naive:
    settings: Settings = more.pop("settings", SETTINGS)
    tiers = [tier.name for tier in settings.programme.tiers]
    return Naive(subject, at, settings.zone, tiers, **more)


@given(document=DOCUMENTS, segments=NAMED_RULES, people=PEOPLE, at=ATS)
def test_a_rule_holds_for_whom_it_says(
    document: Mapping[str, Any],
    segments: Mapping[str, Any],
    people: Sequence[Subject],
    at: datetime,
) -> None:
    people = [told_at(subject, at) for subject in people]
    rule = read(document, segments, people)
    holds, lasts = compiled(rule, SETTINGS), lasting(rule, SETTINGS)
    for subject in people:
        plain = naive(subject, at, people=people, segments=segments)
        assert holds(subject, at) is plain.fits(document), (document, subject, at)
        assert lasts(subject, at)[0] is plain.is_in(document), (document, subject, at)


@given(document=DOCUMENTS, segments=NAMED_RULES, people=PEOPLE, at=ATS, data=st.data())
def test_an_answer_lasts_as_long_as_it_says(
    document: Mapping[str, Any],
    segments: Mapping[str, Any],
    people: Sequence[Subject],
    at: datetime,
    data: st.DataObject,
) -> None:
    told = [told_at(subject, at) for subject in people]
    lasts = lasting(read(document, segments, told), SETTINGS)
    people = [kept_for_ever(subject) for subject in told]  # where a top begins is that of then
    for subject in told:
        truth, until = lasts(subject, at)
        assert until > at
        end = at + HORIZON if until == FOREVER else until
        parts = data.draw(st.lists(st.integers(0, 999), min_size=1, max_size=3))
        later = {at + (end - at) * n // 1_000 for n in parts}
        edges = [m for m in (*MOMENTS, *EDGES) if at <= m < end]
        if edges:
            later.add(data.draw(st.sampled_from(edges)))
        for then in sorted({at, end - MICROSECOND, *later}):
            plain = naive(subject, then, people=people, segments=segments)
            assert plain.is_in(document) is truth, (document, subject, at, until, then)


# Clocks that leave out midnight, that turn by half an hour, and that left out a day.
ZONES = ("America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Cairo")
TURNS = {
    "America/Sao_Paulo": datetime(2018, 11, 4, 3, tzinfo=UTC),
    "Australia/Lord_Howe": datetime(2025, 4, 5, 15, tzinfo=UTC),
    "Pacific/Apia": datetime(2011, 12, 30, 10, tzinfo=UTC),
    "Africa/Cairo": datetime(2024, 10, 31, 21, tzinfo=UTC),
}
STEPS = [timedelta(minutes=n) for n in (-60, -30, -1, 0, 1, 29, 30, 59, 60)]


@st.composite
def turned(draw: st.DrawFn, zone: str) -> datetime:
    """An instant near the one at which clocks are turned, or some days or months from it."""
    away = draw(st.sampled_from([0, 0, 1, -1, 30, 31, 61, -30, -31, 365]))
    moment = TURNS[zone] + timedelta(days=away) + draw(st.sampled_from(STEPS))
    return moment + draw(st.sampled_from([-1, 0, 0, 1])) * MICROSECOND


TIMED = st.one_of(
    st.builds(lambda w: {"did": "visit", "within": w}, st.sampled_from(["1d", "1mo", "2mo", "1y"])),
    st.builds(lambda w: {"did": "visit", "during": w, "count": 2}, st.sampled_from(CALENDARS)),
    st.builds(
        lambda per: {"did": "visit", "count": 2, "per": per},
        st.sampled_from(["day", "week", "month", "year"]),
    ),
    st.builds(
        lambda key, w: {"did": "visit", key: {"did": "purchase", "within": w}},
        st.sampled_from(["then", "not_then"]),
        st.sampled_from(["1h", "1d", "1mo"]),
    ),
    st.builds(
        lambda w: {"did": "visit", "last": {"operator": "not_within", "value": w}},
        st.sampled_from(["1d", "1mo"]),
    ),
    st.builds(
        lambda n: {"did": "visit", "first": {"operator": "anniversary_within", "value": n}},
        st.sampled_from([0, 1, 30]),
    ),
)


def came(moments: Sequence[tuple[str, datetime]]) -> Subject:
    """Somebody who did these things, and of whom nothing else is known."""
    first = min(at for _, at in moments)
    customer = Customer(tenant="t", id="c", created_at=first, updated_at=first)
    every = [
        Occasion(
            tenant="t", story=str(n), fact=str(n), since=at, until=None, customer_id="c",
            kind=kind, happened_at=at,
        )
        for n, (kind, at) in enumerate(sorted(moments, key=lambda m: m[1]))
    ]  # fmt: skip
    done = {kind: tuple(o for o in every if o.kind == kind) for kind in KINDS}
    metrics = Metrics(tenant="t", customer_id="c", first_activity_at=first)
    return Subject(customer=customer, metrics=metrics, occasions=done)


@pytest.mark.parametrize("zone", ZONES)
@given(document=TIMED, data=st.data())
def test_wherever_clocks_are_turned(zone: str, document: Mapping[str, Any], data: Any) -> None:
    settings = attrs.evolve(SETTINGS, timezone=zone)
    fact = st.tuples(st.sampled_from(["visit", "visit", "purchase"]), turned(zone))
    subject = came(data.draw(st.lists(fact, min_size=1, max_size=4)))
    at = data.draw(turned(zone))
    rule = parse(document, settings)
    truth, until = lasting(rule, settings)(subject, at)
    end = at + timedelta(days=400) if until == FOREVER else until
    assert end > at
    middle = at + (end - at) * data.draw(st.integers(0, 999)) // 1_000
    for then in (at, middle, end - MICROSECOND):
        plain = naive(subject, then, settings=settings).is_in(document)
        assert plain is truth, (document, subject, at, until, then)


# Instants that are a microsecond, an hour, a day and a month apart, midnights among them.
NOON = datetime(2025, 1, 30, 10, tzinfo=UTC)
GRID = [
    start + n * MICROSECOND
    for start in (
        NOON,
        NOON + timedelta(hours=1),
        NOON + timedelta(days=1),
        datetime(2025, 1, 31, 22, tzinfo=UTC),
        datetime(2025, 2, 27, 22, tzinfo=UTC),
        datetime(2025, 2, 28, 22, tzinfo=UTC),
    )
    for n in (-1, 0, 1)
]
WHERES: list[dict[str, Any]] = [
    {},
    {"where": _compared("item", "=", "a")},
    {"where": {"operator": "not", "conditions": [_compared("item", "=", "a")]}},
    {"where": [_compared("amount", ">=", 1)]},
]
WINDOWS: list[dict[str, Any]] = [
    {},
    {"within": "1h"},
    {"within": "1mo"},
    *({"during": calendar} for calendar in CALENDARS),
    {"since": GRID[1].isoformat(), "until": GRID[7].isoformat()},
]
MEASURES: list[dict[str, Any]] = [
    {},
    {"count": 2},
    {"count": {"operator": "<", "value": 2}},
    {"sum": {"operator": ">", "value": 1}},
    *({"count": 2, "per": unit} for unit in ("day", "week", "month", "year")),
    {"first": {"operator": "within", "value": "1d"}},
    {"last": {"operator": "during", "value": "last month"}},
    *(
        {key: {"did": kind, "within": length}}
        for key in ("then", "not_then")
        for kind in KINDS
        for length in ("1h", "1d", "1mo")
    ),
]


@st.composite
def doers(draw: st.DrawFn) -> Subject:
    """Somebody whose doings meet each other, and the ends of the windows."""
    moments = st.tuples(st.sampled_from(["visit", "visit", "purchase"]), st.sampled_from(GRID))
    subject = came(draw(st.lists(moments, min_size=1, max_size=4)))

    def parted(occasion: Any) -> list[Occasion]:
        ends = draw(st.none() | st.sampled_from(GRID))
        until = ends if ends and ends > occasion.since else None
        items = draw(st.sampled_from([(None,), ("a",), (None, "a", "b"), (None, "b", "c")]))
        amounts = st.sampled_from([None, 50, 100, 101])
        return [
            attrs.evolve(occasion, until=until, part=n, item=item, amount_minor=draw(amounts))
            for n, item in enumerate(items)
        ]

    done = {k: tuple(p for o in of for p in parted(o)) for k, of in subject.occasions.items()}
    return attrs.evolve(subject, occasions=done)


@given(subject=doers(), where=st.sampled_from(WHERES), data=st.data())
def test_what_was_done_at_the_edges_of_every_window(
    subject: Subject, where: dict[str, Any], data: st.DataObject
) -> None:
    windows = data.draw(st.lists(st.sampled_from(WINDOWS), min_size=3, max_size=3))
    for window, measure in product(windows, MEASURES):
        document = {"did": "visit", **where, **window, **measure}
        lasts = lasting(parse(document, SETTINGS), SETTINGS)
        told = {at: naive(subject, at).is_in(document) for at in GRID}
        for at in GRID:
            truth, until = lasts(subject, at)
            assert {told[then] for then in GRID if at <= then < until} == {truth}, (document, at)


@given(value=st.sampled_from(GRID), at=st.sampled_from(GRID), people=PEOPLE)
def test_calendars_at_the_edges(value: datetime, at: datetime, people: Sequence[Subject]) -> None:
    metrics: Any = people[0].metrics
    metrics = attrs.evolve(metrics, last_visit_at=value)
    subject = attrs.evolve(people[0], metrics=metrics)
    for operator, asked_for in (("during", CALENDARS), ("anniversary_within", ANNIVERSARIES)):
        for expected in asked_for:
            document = _compared("last_visit", operator, expected)
            lasts = lasting(parse(document, SETTINGS), SETTINGS)
            assert lasts(subject, at)[0] is naive(subject, at).is_in(document), document


def test_the_plain_reading_of_months() -> None:
    """What the naive model itself says at the ends of months."""
    at = datetime(2023, 3, 31, 9, tzinfo=UTC)
    last = datetime(2023, 2, 28, 21, 59, 59, 999_999, tzinfo=UTC)  # midnight in Bucharest is at 22
    told = [
        naive(came([("visit", moment)]), at).is_in({"did": "visit", "within": "1mo"})
        for moment in (last, last + MICROSECOND)
    ]
    assert told == [False, True]
