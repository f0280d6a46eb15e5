"""Finding all duplicates among many records; pure, and in memory of a known size.

Records are numbered; a pair is one integer. Pairs come from match tokens, are compared once,
and only those that could be one person are kept for clustering, component by component.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import attrs

from crmkit.customers.blocking import CONTACTS, LIMITS
from crmkit.customers.traits import Traits
from crmkit.identity import learning, weights
from crmkit.identity.clustering import Link, cluster, components
from crmkit.identity.comparing import Comparator, Pattern, contradiction, is_personal
from crmkit.identity.names import Names, Related
from crmkit.identity.weights import Weights

_DETAIL_MIN: Final = 5
_LEAST: Final = 0.05  # a pair less probable than this is not looked at again

Progress = Callable[[str, int, int], None]


@attrs.frozen(repr=False)
class Candidates:
    """Pairs who share a token; `contacts` are the first of them: those who share a contact."""

    people: Sequence[Traits]
    pairs: Sequence[int]
    contacts: int
    crowds: Sequence[Sequence[int]]
    """Who share one contact, where they are three or more."""

    def split(self, pair: int) -> tuple[int, int]:
        """The two numbers of a pair."""
        return divmod(pair, len(self.people))


def candidates(people: Sequence[Traits], tokens: Iterable[tuple[str, int]]) -> Candidates:
    """The pairs to compare; `tokens` come sorted, as stored form and number."""
    seen: set[int] = set()
    pairs = array("q")
    crowds: list[list[int]] = []
    contacts: int | None = None
    size = len(people)
    for token, rows in groupby(tokens, itemgetter(0)):
        family = token[0]
        numbers = [number for _, number in rows]
        if len(numbers) < 2:
            continue
        if family in CONTACTS:
            if len(numbers) > 2:
                crowds.append(numbers)
        elif contacts is None:
            contacts = len(pairs)
        if len(numbers) > LIMITS[family]:
            continue
        numbers.sort()
        for i, a in enumerate(numbers):
            start = a * size
            for b in numbers[i + 1 :]:
                pair = start + b
                if pair not in seen:
                    seen.add(pair)
                    pairs.append(pair)
    return Candidates(people, pairs, len(pairs) if contacts is None else contacts, crowds)


@attrs.frozen(repr=False)
class Lessons:
    """What the records themselves teach about comparing them."""

    comparator: Comparator
    words: Counter[str]
    """How many bear each word in their name."""
    short_forms: frozenset[tuple[str, str]]


def learned(
    found: Candidates, names_by: Callable[[Related], Names], fields: Sequence[str] | None
) -> Lessons:
    """How to compare these records; `names_by` compares names by what is known and more."""
    people = found.people
    first = (found.split(p) for p in found.pairs[: found.contacts])
    pairs = ((people[a], people[b]) for a, b in first)
    short = learning.short_forms(pairs, names_by(lambda _, __: False))
    names = names_by(lambda a, b: ((a, b) if a < b else (b, a)) in short)
    shared = (crowd for numbers in found.crowds for crowd in _contacts(people, numbers))
    common, words = learning.commonness(people)
    compare = Comparator(
        names,
        common,
        fields=fields,
        details=_details(people, fields),
        crowded=learning.crowded(shared, names),
    )
    return Lessons(compare, words, short)


def _contacts(
    people: Sequence[Traits], numbers: Sequence[int]
) -> Iterator[tuple[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]]:
    first, second = people[numbers[0]], people[numbers[1]]
    for kind in ("emails", "phones", "handles"):
        for value in getattr(first, kind):
            if value in getattr(second, kind):
                yield value, [people[x].names[0] for x in numbers if people[x].names]


def _details(people: Sequence[Traits], fields: Sequence[str] | None) -> tuple[str, ...]:
    """The details that several records have, in order: from one alone there is nothing to learn."""
    known = Counter(name for p in people for name in p.details)
    several = (name for name, count in known.items() if count >= _DETAIL_MIN)
    return tuple(sorted(n for n in several if fields is None or n in fields))


def patterns(
    found: Candidates, compare: Comparator, progress: Progress | None = None
) -> tuple[list[Pattern], array[int]]:
    """The distinct patterns, and for each pair which it has."""
    people, pattern = found.people, compare.pattern
    numbers: dict[Pattern, int] = {}
    of = array("l")
    size = len(people)
    total = len(found.pairs)
    for done, pair in enumerate(found.pairs):
        a, b = divmod(pair, size)
        key = pattern(people[a], people[b])
        of.append(numbers.setdefault(key, len(numbers)))
        if progress is not None and done % 50_000 == 0:
            progress("compare", done, total)
    return list(numbers), of


def fitted(kinds: Sequence[Pattern], of: Iterable[int], details: Sequence[str]) -> Weights:
    """The weights that make these pairs likeliest."""
    counts = Counter(of)
    start = weights.shipped(details)
    return weights.fit({kinds[k]: n for k, n in counts.items()}, start)


def scorer(
    compare: Comparator, model: Weights, *, by_name: float = 0.0
) -> Callable[[Traits, Traits], float]:
    """The probability that two profiles are one person; 0 where something forbids it.

    Where nothing but names and places speaks it must be `by_name` at least.
    """
    score = weights.scorer(model)

    def probability(a: Traits, b: Traits) -> float:
        pattern = compare.pattern(a, b)
        if contradiction(pattern, a, b):
            return 0.0
        found = score(pattern)
        return found if found >= by_name or is_personal(pattern) else 0.0

    return probability


def likely(
    found: Candidates, kinds: Sequence[Pattern], of: Sequence[int], model: Weights
) -> list[tuple[float, int]]:
    """The pairs that could be one person, with their probability."""
    score = weights.scorer(model)
    scores = [score(kind) for kind in kinds]
    return [
        (scores[k], pair) for k, pair in zip(of, found.pairs, strict=True) if scores[k] >= _LEAST
    ]


def links(
    found: Candidates,
    pairs: Iterable[tuple[float, int]],
    score: Callable[[Traits, Traits], float],
    *,
    join: float,
    apart: Mapping[int, Iterable[int]] | None = None,
    progress: Progress | None = None,
) -> Iterator[Link]:
    """The links by which records become persons, component by component."""
    edges: dict[int, list[tuple[float, int, int]]] = {}
    kept = []
    for p, pair in pairs:
        a, b = found.split(pair)
        # Those below only tell whom to look at again when one of the two has grown.
        if p < join or score(found.people[a], found.people[b]) > 0:
            kept.append((p, a, b))
    member: dict[int, int] = {}
    for number, group in enumerate(components((a, b) for _, a, b in kept)):
        for x in group:
            member[x] = number
    for edge in kept:
        edges.setdefault(member[edge[1]], []).append(edge)
    del kept
    for number, part in edges.items():
        yield from cluster(part, found.people.__getitem__, score, join=join, apart=apart)
        if progress is not None and number % 10_000 == 0:
            progress("cluster", number, len(edges))


def clusters(links_: Iterable[Link]) -> list[list[int]]:
    """The records of each person, where there is more than one."""
    return list(components((link.a, link.b) for link in links_))
