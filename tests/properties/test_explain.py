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
from crmkit.model.catalogue import evolved
from crmkit.model.rule import InSegment, Leaf, Rule, Top
from crmkit.model.time import FOREVER
from crmkit.segmentation.asking import Rank, alone, at_cutoff, replaced
from crmkit.segmentation.evaluate import compiled, lasting
from crmkit.segmentation.explain import explain
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.verdicts import Explanation, Kind, Verdict
from crmkit.testing.strategies import INSTANTS, MOMENTS, SETTINGS, instants, rules, subjects
from tests.balances import told_at

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


_flat = rules(fields=("total_spend", "last_purchase", "age", "tags", "custom.x", "tier", "points"))
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
        customer=evolved(drawn.customer, created_at=made),
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
            by_hand=draw(st.booleans()), created_at=INSTANTS[0],
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
_at = st.shared(instants(), key="at")
_who = st.builds(told_at, _people(), _at)
_cases = {"segments": _segments(), "who": _who, "at": _at, "cutoff": _cutoffs}


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


# --- the least that decides, against all sets of conditions ---


def _verdict(kind: Kind, holds: bool, *parts: Verdict) -> Verdict:
    return Verdict(kind=kind, words="", holds=holds, until=None, parts=parts)


def _of(kind: Kind, parts: list[Verdict]) -> Verdict:
    truths = [part.holds for part in parts]
    if kind == "not":
        return _verdict(kind, not truths[0], parts[0])
    return _verdict(kind, any(truths) if kind == "or" else all(truths), *parts)


_leaf = st.builds(_verdict, st.just("comparison"), st.booleans())


def _grown(levels: int) -> st.SearchStrategy[Verdict]:
    """Trees of at most two conditions or groups to a group."""
    if not levels:
        return _leaf
    inner = _grown(levels - 1)
    pairs = st.builds(_of, st.sampled_from(("and", "or")), st.lists(inner, min_size=2, max_size=2))
    one = st.lists(inner, min_size=1, max_size=1)
    return pairs | _leaf | pairs | st.builds(_of, st.sampled_from(("not", "segment")), one)


_trees = _grown(3)


def _every(levels: int) -> list[Verdict]:
    """All such trees, with all answers to their conditions."""
    leaves = [_verdict("comparison", truth) for truth in (True, False)]
    if not levels:
        return leaves
    inner = _every(levels - 1)
    pairs = [_of(kind, [*two]) for kind in ("and", "or") for two in product(inner, repeat=2)]
    return [*leaves, *pairs, *(_of("not", [one]) for one in inner)]


def _apart(verdict: Verdict) -> Verdict:
    """The same tree, no condition of which stands at two places of it."""
    return attrs.evolve(verdict, parts=tuple(map(_apart, verdict.parts)))


def _truth(verdict: Verdict, given: Iterator[bool]) -> bool:
    """What the tree would say if its conditions, in order, were so."""
    if verdict.kind == "comparison":
        return next(given)
    truths = [_truth(part, given) for part in verdict.parts]
    if verdict.kind == "not":
        return not truths[0]
    return True in truths if verdict.kind == "or" else False not in truths


def _found(root: Verdict) -> tuple[Explanation, list[Verdict]]:
    found = Explanation(customer_id="c", segment="s", at=INSTANTS[0], root=root, zone=SETTINGS.zone)
    return found, [*root.leaves()]


def _fewer(count: int, than: int) -> Iterator[frozenset[int]]:
    for size in range(than):
        yield from map(frozenset, combinations(range(count), size))


def _places(leaves: list[Verdict], chosen: tuple[Verdict, ...]) -> frozenset[int]:
    places = frozenset(n for n, leaf in enumerate(leaves) if any(leaf is one for one in chosen))
    assert len(places) == len(chosen)
    return places


def _check_why_not(root: Verdict) -> None:
    found, leaves = _found(root)

    def flipped(places: frozenset[int]) -> bool:
        return _truth(root, (leaf.holds is not (n in places) for n, leaf in enumerate(leaves)))

    assert flipped(frozenset()) is found.holds
    least = _places(leaves, found.why_not)
    assert flipped(least)
    assert not any(map(flipped, _fewer(len(leaves), len(least))))


def _check_why(root: Verdict) -> None:
    found, leaves = _found(root)

    def enough(places: frozenset[int]) -> bool:
        each = [(leaf.holds,) if n in places else (True, False) for n, leaf in enumerate(leaves)]
        return all(_truth(root, iter(given)) for given in product(*each))

    assert bool(found.why) is found.holds
    if found.holds:
        least = _places(leaves, found.why)
        assert enough(least)
        assert not any(map(enough, _fewer(len(leaves), len(least))))


@given(root=_trees)
def test_why_not_is_the_least_that_would_have_to_change(root: Verdict) -> None:
    """Changing exactly these makes it true, and changing fewer never does."""
    _check_why_not(_apart(root))


@given(root=_trees)
def test_why_is_the_least_that_makes_it_true(root: Verdict) -> None:
    """With these as they are it is true whatever the others are, and with fewer it is not."""
    _check_why(_apart(root))


def test_the_reasons_of_every_small_rule_are_the_least() -> None:
    """Of all rules of up to two levels and four conditions."""
    small = _every(2)
    assert {verdict.holds for verdict in small} == {True, False}
    for root in small:
        _check_why_not(_apart(root))
        _check_why(_apart(root))
