"""An explanation and the answer never differ, and the reasons it gives are the shortest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import combinations, product
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from crmkit.model import Occasion, Segment
from crmkit.model.rule import AllOf, AnyOf, InSegment, Leaf, Not, Rule, Top
from crmkit.model.time import FOREVER
from crmkit.segmentation.asking import Rank, alone, at_cutoff, replaced
from crmkit.segmentation.evaluate import compiled, lasting
from crmkit.segmentation.explain import explain
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.verdicts import Explanation, Verdict
from crmkit.testing.strategies import INSTANTS, MOMENTS, SETTINGS, instants, rules, subjects

_TOP = Top("total_spend", count=2)
_NAMES = ("s1", "s2", "fixed")
_ITEM = {"field": "item", "operator": "=", "value": "a"}
_DOINGS: tuple[dict[str, Any], ...] = (
    {"did": "purchase"},
    {"did": "purchase", "within": "90d", "count": 2},
    {"did": "purchase", "where": _ITEM, "during": "this month", "sum": 1},
    {"did": "purchase", "last": {"operator": "not_within", "value": "1mo"}},
    {"did": "visit", "per": "week", "count": 2},
    {"did_not": "visit", "within": "1y"},
    {"did": "visit", "within": "1y", "then": {"did": "purchase", "within": "90d"}},
    {"did": "visit", "not_then": {"did": "purchase", "where": _ITEM, "within": "1h"}},
)
_OTHERS: tuple[dict[str, Any], ...] = (
    {"field": "total_spend", "operator": "top_count", "value": 2},
    {"field": "birth_date", "operator": "anniversary_within", "value": 3},
    {"field": "last_purchase", "operator": "during", "value": "last month"},
    {"in_segment": "s2"},
    {"field": "segment", "operator": "not_in", "value": ["s2", "fixed"]},
)


def _group(operator: str, conditions: list[Any]) -> dict[str, Any]:
    return {"operator": operator, "conditions": conditions}


def _nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        several = st.lists(inner, min_size=1, max_size=3)
        one = st.lists(inner, min_size=1, max_size=1)
        return st.one_of(
            st.builds(_group, st.sampled_from(("and", "or")), several),
            st.builds(_group, st.just("not"), one),
        )

    return st.recursive(leaves, deeper, max_leaves=6)


_flat = rules(fields=("total_spend", "last_purchase", "age", "tags", "custom.x", "tier"))
_rules = _nested(st.sampled_from(_DOINGS) | st.sampled_from(_OTHERS) | _flat)
_of_others = _nested(st.sampled_from(_DOINGS) | _flat)


@st.composite
def _occasion(draw: st.DrawFn, fact: int) -> Occasion:
    at = draw(st.sampled_from(MOMENTS)) - draw(st.integers(0, 40)) * timedelta(hours=9)
    ended = draw(st.none() | st.sampled_from(INSTANTS))
    return Occasion(
        tenant="t",
        story=f"f{fact}",
        fact=f"f{fact}",
        since=at,
        until=None if ended is None or ended <= at else ended,
        customer_id="c",
        kind=draw(st.sampled_from(("purchase", "visit"))),
        happened_at=at,
        item=draw(st.sampled_from(("a", None))),
        venue=None,
        category=None,
        channel=None,
        status=None,
        amount_minor=draw(st.sampled_from((None, 50, 100))),
        party_size=None,
    )


@st.composite
def _people(draw: st.DrawFn) -> Subject:
    drawn = draw(subjects())
    done = draw(st.tuples(*(_occasion(n) for n in range(4))))
    told = {
        kind: sorted(
            (o for o in done if o.kind == kind), key=lambda o: (o.happened_at, o.fact, o.since)
        )
        for kind in ("purchase", "visit")
    }
    # So that most of them are known at the instant.
    made = draw(st.sampled_from((INSTANTS[0] - timedelta(days=900), INSTANTS[1])))
    return attrs.evolve(
        drawn,
        customer=attrs.evolve(drawn.customer, created_at=made),
        occasions=told,
        memberships=draw(st.frozensets(st.sampled_from(_NAMES), max_size=1)),
        kept_out=draw(st.frozensets(st.sampled_from(_NAMES), max_size=1)),
    )


@st.composite
def _segments(draw: st.DrawFn) -> Mapping[str, Segment]:
    documents = {"s1": draw(_rules), "s2": draw(st.none() | _of_others), "fixed": _DOINGS[0]}
    return {
        name: Segment(
            tenant="t", id=name, name=name, rules=document, auto_update=name != "fixed",
            created_at=INSTANTS[0],
        )
        for name, document in documents.items()
    }  # fmt: skip


def _whole(segments: Mapping[str, Segment], name: str, cutoff: int | None) -> Rule:
    def put_in(leaf: Leaf) -> Rule:
        if isinstance(leaf, InSegment):
            return _whole(segments, leaf.name, cutoff)
        return at_cutoff(leaf, cutoff) if isinstance(leaf, Top) else leaf

    return replaced(alone(segments[name], SETTINGS), put_in)


_cutoffs = st.sampled_from((None, 1, 33_330))
_cases = {"segments": _segments(), "who": _people(), "at": instants(), "cutoff": _cutoffs}


def _explained(
    segments: Mapping[str, Segment], who: Subject, at: datetime, cutoff: int | None
) -> Explanation:
    return explain("s1", who, at, SETTINGS, segments, {_TOP: Rank(cutoff, 9, 3)})


def _all(verdict: Verdict) -> Iterator[Verdict]:
    yield verdict
    for part in verdict.parts:
        yield from _all(part)


@given(**_cases)
def test_the_verdict_is_the_answer(
    segments: Mapping[str, Segment], who: Subject, at: datetime, cutoff: int | None
) -> None:
    """Both kinds of closures and the explanation agree, and so does until when it holds."""
    whole = _whole(segments, "s1", cutoff)
    found = _explained(segments, who, at, cutoff)
    holds, until = lasting(whole, SETTINGS)(who, at)
    assert (found.holds, found.until or FOREVER) == (holds, until)
    assert found.holds is (at >= who.begins_at and compiled(whole, SETTINGS)(who, at))


@given(**_cases)
def test_parts_make_up_the_whole(
    segments: Mapping[str, Segment], who: Subject, at: datetime, cutoff: int | None
) -> None:
    """Of each group, the verdicts below say the same as its own."""
    for verdict in _all(_explained(segments, who, at, cutoff).root):
        holds = [part.holds for part in verdict.parts]
        match verdict.kind:
            case "and":
                assert verdict.holds is all(holds)
            case "or":
                assert verdict.holds is any(holds)
            case "not":
                assert [verdict.holds] == [not part for part in holds]
            case "segment":
                assert [verdict.holds] == holds
            case _:
                assert not holds


@given(**_cases)
def test_until_is_never_late(
    segments: Mapping[str, Segment], who: Subject, at: datetime, cutoff: int | None
) -> None:
    """A microsecond before it, the same facts give the same verdict."""
    for verdict in _all(_explained(segments, who, at, cutoff).root):
        assert verdict.until is None or verdict.until > at
    found = _explained(segments, who, at, cutoff)
    if found.until is not None:
        before = found.until - timedelta(microseconds=1)
        assert _explained(segments, who, before, cutoff).holds is found.holds


# --- the least that decides, against all sets of leaves ---


def _shape(verdict: Verdict) -> Rule:
    """The tree as a rule whose leaves are its conditions, in order."""
    parts = tuple(map(_shape, verdict.parts))
    match verdict.kind:
        case "and" | "segment":
            return AllOf(parts)
        case "or":
            return AnyOf(parts)
        case "not":
            return Not(parts[0])
    return InSegment("leaf")


def _truth(rule: Rule, given: Iterator[bool]) -> bool:
    match rule:
        case AllOf(parts):
            return False not in [_truth(part, given) for part in parts]
        case AnyOf(parts):
            return True in [_truth(part, given) for part in parts]
        case Not(part):
            return not _truth(part, given)
    return next(given)


def _sets(verdict: Verdict, at_most: int) -> Iterator[frozenset[int]]:
    count = len([*verdict.leaves()])
    for size in range(at_most):
        yield from map(frozenset, combinations(range(count), size))


def _places(verdict: Verdict, chosen: tuple[Verdict, ...]) -> frozenset[int]:
    places = frozenset(
        n for n, leaf in enumerate(verdict.leaves()) if any(leaf is one for one in chosen)
    )
    assert len(places) == len(chosen)
    return places


@given(**_cases)
def test_why_not_is_the_least_that_would_have_to_change(
    segments: Mapping[str, Segment], who: Subject, at: datetime, cutoff: int | None
) -> None:
    found = _explained(segments, who, at, cutoff)
    shape, held = _shape(found.root), [leaf.holds for leaf in found.root.leaves()]

    def flipped(places: frozenset[int]) -> bool:
        return _truth(shape, (truth is not (n in places) for n, truth in enumerate(held)))

    assert flipped(frozenset()) is found.holds
    least = _places(found.root, found.why_not)
    assert flipped(least)
    if len(held) <= 10:
        assert not any(map(flipped, _sets(found.root, len(least))))


@given(**_cases)
def test_why_is_the_least_that_makes_it_true(
    segments: Mapping[str, Segment], who: Subject, at: datetime, cutoff: int | None
) -> None:
    found = _explained(segments, who, at, cutoff)
    shape, held = _shape(found.root), [leaf.holds for leaf in found.root.leaves()]
    if not found.holds:
        assert found.why == ()
        return
    if len(held) > 8:
        return

    def enough(places: frozenset[int]) -> bool:
        """Whether these alone make it true, whatever the others are."""
        free = [n for n in range(len(held)) if n not in places]
        for others in product((True, False), repeat=len(free)):
            given = dict(enumerate(held)) | dict(zip(free, others, strict=True))
            if not _truth(shape, iter([given[n] for n in range(len(held))])):
                return False
        return True

    least = _places(found.root, found.why)
    assert enough(least)
    assert not any(map(enough, _sets(found.root, len(least))))
