"""From pairs to persons: the strongest first, and never by transitive closure; pure.

After each joining the whole profile is compared anew with its neighbours: what A and B know
together may speak against C, though B alone did not. A contradiction forbids; so a family
is not one person, however its phones and addresses chain together (agglomerative clustering
with a veto).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import attrs

from crmkit.customers.traits import Traits, united

Score = Callable[[Traits, Traits], float]
"""The probability that two profiles are one person; 0 where something forbids it."""


@attrs.frozen
class Link:
    """Two records that joined what is one person, and how probable that was then."""

    a: int
    b: int
    score: float


def components(pairs: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """The numbers that hang together, for each such set to be clustered by itself."""
    parent: dict[int, int] = {}

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs:
        parent.setdefault(a, a)
        parent.setdefault(b, b)
        parent[root(a)] = root(b)
    grouped: dict[int, list[int]] = defaultdict(list)
    for x in parent:
        grouped[root(x)].append(x)
    return iter(grouped.values())


def cluster(
    edges: Iterable[tuple[float, int, int]],
    profile: Callable[[int], Traits],
    score: Score,
    *,
    join: float,
    apart: Mapping[int, Iterable[int]] | None = None,
) -> Iterator[Link]:
    """The links by which records join, the strongest first; each is at least `join`.

    `apart` names for a record the others that it must not meet, however they come together.
    """
    heap = [(-p, a, b, 0, 0) for p, a, b in edges]
    known = {x: profile(x) for _, a, b, _, _ in heap for x in (a, b)}
    near: dict[int, set[int]] = defaultdict(set)
    for _, a, b, _, _ in heap:
        near[a].add(b)
        near[b].add(a)
    foes = _foes(known, apart or {})
    age = dict.fromkeys(known, 0)
    size = dict.fromkeys(known, 1)
    heapq.heapify(heap)
    while heap and -heap[0][0] >= join:
        p, a, b, age_a, age_b = heapq.heappop(heap)
        if age.get(a) != age_a or age.get(b) != age_b:
            continue  # one of them has changed since, or is gone
        if b in foes[a]:
            continue
        yield Link(a, b, -p)
        if size[a] < size[b]:
            a, b = b, a
        known[a] = united(known[a], known.pop(b))
        size[a] += size.pop(b)
        age[a] += 1
        del age[b]
        foes[a] |= foes.pop(b)
        for x in foes[a]:
            foes[x].discard(b)
            foes[x].add(a)
        near[a] |= near.pop(b)
        near[a] -= {a, b}
        for x in sorted(near[a]):
            near[x].discard(b)
            near[x].add(a)
            again = score(known[a], known[x])
            if again >= join:
                low, high = (a, x) if a < x else (x, a)
                heapq.heappush(heap, (-again, low, high, age[low], age[high]))


def _foes(among: Collection[int], apart: Mapping[int, Iterable[int]]) -> dict[int, set[int]]:
    """Who must not meet whom, told from both sides."""
    foes: dict[int, set[int]] = {x: set() for x in among}
    for x, others in apart.items():
        for y in foes.keys() & set(others) if x in foes else ():
            foes[x].add(y)
            foes[y].add(x)
    return foes
