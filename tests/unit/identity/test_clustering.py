"""From pairs to persons: who joins whom, and who must not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.customers.traits import Traits, of_fields
from crmkit.identity import weights
from crmkit.identity.clustering import Link, cluster, components
from crmkit.identity.comparing import Commonness, Comparator
from crmkit.identity.names import Names
from crmkit.identity.nicknames import related
from crmkit.identity.scanning import scorer

Edge = tuple[float, int, int]
People = Callable[[int], Traits]


def person(number: int) -> Traits:
    """Somebody of whom no more is known than a number."""
    return Traits(emails=(str(number),))


def members(known: Traits) -> set[int]:
    """The numbers whose profiles were joined to this one."""
    return {int(e) for e in known.emails}


def persons(links: Iterable[Link]) -> set[frozenset[int]]:
    return {frozenset(group) for group in components((x.a, x.b) for x in links)}


def closure(edges: Iterable[Edge], join: float) -> set[frozenset[int]]:
    """What plain transitive closure makes of the same pairs: whoever is linked is one person."""
    groups: list[set[int]] = []
    for p, a, b in edges:
        if p >= join:
            touched = [g for g in groups if g & {a, b}]
            groups = [g for g in groups if not g & {a, b}] + [{a, b}.union(*touched)]
    return {frozenset(g) for g in groups}


def always(p: float) -> Callable[[Traits, Traits], float]:
    return lambda _, __: p


# --- parts that hang together ---


def test_numbers_that_hang_together() -> None:
    """Also by a pair that comes late."""
    pairs = [(1, 2), (3, 4), (5, 6), (2, 3), (7, 7)]
    assert sorted(map(sorted, components(pairs))) == [[1, 2, 3, 4], [5, 6], [7]]
    assert list(components([])) == []


_PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20)


@given(_PAIRS)
def test_components_part_all_numbers_and_no_pair(pairs: list[tuple[int, int]]) -> None:
    """Each number is in one; and each is as transitive closure has it."""
    found = [set(group) for group in components(pairs)]
    assert sorted(x for group in found for x in group) == sorted({x for p in pairs for x in p})
    assert {frozenset(g) for g in found} == closure([(1.0, a, b) for a, b in pairs], 1.0)


# --- the strongest first ---


def test_the_strongest_pair_joins_first() -> None:
    """In whatever order the pairs come."""
    edges = [(0.7, 0, 1), (0.9, 2, 3), (0.8, 4, 5)]
    expected = [Link(2, 3, 0.9), Link(4, 5, 0.8), Link(0, 1, 0.7)]
    for given_ in (edges, edges[::-1]):
        assert list(cluster(given_, person, always(0.0), join=0.5)) == expected


def test_a_record_goes_to_whom_it_fits_best() -> None:
    """Record 1 could be of either; what it is then forbids the other."""
    edges = [(0.8, 0, 1), (0.9, 1, 2)]
    assert list(cluster(edges, person, always(0.0), join=0.5)) == [Link(1, 2, 0.9)]


def test_a_pair_below_the_threshold_does_not_join() -> None:
    edges = [(0.5, 0, 1), (0.499, 2, 3)]
    assert list(cluster(edges, person, always(1.0), join=0.5)) == [Link(0, 1, 0.5)]


def test_a_whole_profile_is_compared_anew() -> None:
    """With all that its records know together; what is said then counts, not what was before."""
    asked: list[set[int]] = []

    def score(a: Traits, b: Traits) -> float:
        asked.append(members(a) | members(b))
        return 0.6

    edges = [(0.9, 0, 1), (0.8, 1, 2)]
    found = list(cluster(edges, person, score, join=0.5))
    assert found == [Link(0, 1, 0.9), Link(0, 2, 0.6)]
    assert asked == [{0, 1, 2}]


def test_together_two_may_know_enough_to_be_joined_by_a_third() -> None:
    """A pair that was too weak at first is looked at again when a side has grown."""
    edges = [(0.9, 0, 1), (0.2, 1, 2)]
    assert persons(cluster(edges, person, always(0.7), join=0.5)) == {frozenset({0, 1, 2})}
    assert persons(cluster(edges, person, always(0.5), join=0.5)) == {frozenset({0, 1, 2})}
    assert persons(cluster(edges, person, always(0.49), join=0.5)) == {frozenset({0, 1})}


# --- what forbids ---


def test_a_score_of_zero_forbids_whom_a_pair_alone_would_join() -> None:
    """Record 2 fits record 1, and contradicts what 0 and 1 know together."""
    edges = [(0.9, 0, 1), (0.8, 1, 2)]

    def score(a: Traits, b: Traits) -> float:
        return 0.0 if {0, 2} <= members(a) | members(b) else 0.8

    assert persons(cluster(edges, person, score, join=0.5)) == {frozenset({0, 1})}
    assert closure(edges, 0.5) == {frozenset({0, 1, 2})}


def test_who_must_not_meet_does_not_though_the_pair_is_the_strongest() -> None:
    found = cluster([(1.0, 0, 1)], person, always(1.0), join=0.5, apart={0: [1], 1: [0]})
    assert list(found) == []


@pytest.mark.parametrize(
    "edges",
    [
        pytest.param([(0.9, 0, 1), (0.8, 1, 2)], id="by a third"),
        pytest.param([(0.9, 0, 1), (0.9, 2, 3), (0.8, 1, 3)], id="by two others"),
        pytest.param([(0.9, 1, 3), (0.8, 0, 1), (0.7, 2, 3)], id="into what has grown"),
        pytest.param([(0.9, 3, 4), (0.8, 1, 3), (0.7, 0, 1), (0.6, 2, 4)], id="by many"),
    ],
)
def test_two_who_must_not_meet_do_not_however_they_come_together(edges: list[Edge]) -> None:
    """Records 0 and 2 are apart; without that all would be one."""
    everybody = frozenset(x for _, a, b in edges for x in (a, b))
    apart = {0: {2}, 2: {0}}
    free = persons(cluster(edges, person, always(0.75), join=0.5))
    assert free == {everybody}
    found = persons(cluster(edges, person, always(0.75), join=0.5, apart=apart))
    assert frozenset().union(*found) <= everybody
    assert not any({0, 2} <= group for group in found)
    assert len(found) + len(everybody - frozenset().union(*found)) == 2


def test_records_that_are_apart_from_nobody_here_are_free() -> None:
    """What is said of records that do not take part changes nothing."""
    apart = {0: [7], 7: [0, 8], 8: [7]}
    found = persons(cluster([(0.9, 0, 1)], person, always(0.9), join=0.5, apart=apart))
    assert found == {frozenset({0, 1})}


_NUMBERS = st.integers(0, 7)
_TWO = st.tuples(_NUMBERS, _NUMBERS).filter(lambda p: p[0] < p[1])
_EDGES = st.dictionaries(_TWO, st.sampled_from([0.3, 0.5, 0.6, 0.7, 0.8, 0.9]), max_size=14).map(
    lambda found: [(p, a, b) for (a, b), p in found.items()]
)


def symmetric(pairs: Collection[tuple[int, int]]) -> Mapping[int, set[int]]:
    out: dict[int, set[int]] = {}
    for a, b in pairs:
        out.setdefault(a, set()).add(b)
        out.setdefault(b, set()).add(a)
    return out


@given(_EDGES, st.sets(_TWO, max_size=5), st.sets(_TWO, max_size=5))
def test_no_person_is_more_than_closure_has_or_holds_who_must_not_meet(
    edges: list[Edge], apart: set[tuple[int, int]], veto: set[tuple[int, int]]
) -> None:
    """And no record joins twice, nor below the threshold, nor against a veto."""

    def score(a: Traits, b: Traits) -> float:
        both = members(a) | members(b)
        return 0.0 if any({x, y} <= both for x, y in veto) else 0.7

    allowed = [e for e in edges if (e[1], e[2]) not in veto]
    links = list(cluster(allowed, person, score, join=0.5, apart=symmetric(apart)))
    found = persons(links)
    whole = closure([(1.0, a, b) for _, a, b in allowed], 0.5)
    assert all(link.score >= 0.5 for link in links)
    assert sum(len(group) - 1 for group in found) == len(links)
    for group in found:
        assert any(group <= other for other in whole)
        assert not any({x, y} <= group for x, y in apart | veto)


@given(_EDGES)
def test_where_nothing_forbids_it_is_transitive_closure(edges: list[Edge]) -> None:
    """The two agree where every pair is strong enough and nothing contradicts."""
    strong = [e for e in edges if e[0] >= 0.5]
    assert persons(cluster(strong, person, always(1.0), join=0.5)) == closure(strong, 0.5)


@given(_EDGES, st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_changes_nothing(edges: list[Edge], random: Any) -> None:
    mixed = list(edges)
    random.shuffle(mixed)
    one = list(cluster(edges, person, always(0.6), join=0.5))
    assert list(cluster(mixed, person, always(0.6), join=0.5)) == one


# --- a family ---

FAMILY = (
    {"first_name": "Maria", "last_name": "Popescu", "phone": "+40722123456", "city": "Cluj",
     "email": "maria@popescu.ro", "birth_date": "1958-02-11"},
    {"first_name": "Maria", "last_name": "Popescu", "phone": "+40722123456", "city": "Cluj"},
    {"last_name": "Popescu", "phone": "+40722123456", "email": "ion.p@firma.ro"},
    {"first_name": "Ion", "last_name": "Popescu", "email": "ion.p@firma.ro", "city": "Cluj"},
    {"first_name": "Ion", "last_name": "Popescu", "email": "ion.p@firma.ro",
     "birth_date": "1986-09-30"},
)  # fmt: skip
"""A mother, twice; a booking without a given name, on her phone; and the son, twice."""


def test_a_family_chain_is_not_one_person() -> None:
    """Each link of it is plausible; closure makes mother and son one person, clustering does not.

    The booking in between goes to one of them, and what they know together parts them.
    """
    people = [
        of_fields({k: date.fromisoformat(v) if k == "birth_date" else v for k, v in f.items()})
        for f in FAMILY
    ]
    compare = Comparator(Names(related), Commonness(lambda _: 1, 1000))
    score = scorer(compare, weights.shipped())
    edges = [
        (score(people[a], people[b]), a, b)
        for a in range(len(people))
        for b in range(a + 1, len(people))
    ]
    edges = [e for e in edges if e[0] > 0]
    assert closure(edges, 0.5) == {frozenset(range(5))}
    found = persons(cluster(edges, people.__getitem__, score, join=0.5))
    assert not any(group & {0, 1} and group & {3, 4} for group in found)
    assert sorted(map(len, found)) == [2, 3]
