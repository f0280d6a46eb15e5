"""What a host's own records teach before any weight is estimated; pure.

Which words of names are common, which contacts are an agency's, and which given names stand
for each other: two that keep turning up on one contact with one surname, far more often than
their frequencies explain, are a name and its short form. Relatives share contacts too, but
their names are independent of each other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from crmkit.customers.traits import Name, Traits
from crmkit.identity.comparing import CROWD, Commonness
from crmkit.identity.names import DIFFERENT, Names

_TIMES_MIN: Final = 3  # contacts on which two given names must meet
_LIFT_MIN: Final = 25.0  # how much more often than by chance
_SHARE_MIN: Final = 0.15  # of all meetings of the rarer one
_NAME_MIN: Final = 3


def commonness(people: Iterable[Traits]) -> tuple[Commonness, Counter[str]]:
    """How many of these bear each word in their name, and the counts themselves."""
    counts: Counter[str] = Counter()
    number = 0
    for known in people:
        number += 1
        counts.update({w for first, last in known.names for w in (*first, *last)})
    return Commonness(lambda word: counts.get(word, 1), number), counts


def crowded(sharing: Iterable[tuple[str, Sequence[Name]]], names: Names) -> frozenset[str]:
    """The contacts that three or more incompatible names use."""
    found = set()
    for contact, bearers in sharing:
        apart: list[Name] = []
        for name in bearers:
            full = len(name[0]) + len(name[1]) > 1
            if full and all(names.level(name, other) == DIFFERENT for other in apart):
                apart.append(name)
                if len(apart) == CROWD:
                    found.add(contact)
                    break
    return frozenset(found)


def short_forms(pairs: Iterable[tuple[Traits, Traits]], names: Names) -> frozenset[tuple[str, str]]:
    """Given names that stand for each other, in order, from pairs who share a contact."""
    met: dict[tuple[str, str], set[str]] = defaultdict(set)
    for a, b in pairs:
        mine, theirs = _given(a), _given(b)
        contact = next((v for v in a.emails if v in b.emails), None) or next(
            (v for v in a.phones if v in b.phones), None
        )
        if contact is None or mine is None or theirs is None:
            continue
        (one, last), (other, other_last) = mine, theirs
        if names.given_differ(one, other) and names.same_surname(last, other_last):
            met[(one, other) if one < other else (other, one)].add(contact)
    return frozenset(_more_than_chance(met))


def _given(known: Traits) -> tuple[str, tuple[str, ...]] | None:
    if not known.names:
        return None
    first, last = known.names[0]
    return (first[0], last) if len(first) == 1 and last and len(first[0]) >= _NAME_MIN else None


def _more_than_chance(met: Mapping[tuple[str, str], set[str]]) -> Iterable[tuple[str, str]]:
    meetings: Counter[str] = Counter()
    for (one, other), contacts in met.items():
        meetings[one] += len(contacts)
        meetings[other] += len(contacts)
    total = meetings.total()
    for (one, other), contacts in met.items():
        times = len(contacts)
        lift = times * total / (meetings[one] * meetings[other])
        rarer = min(meetings[one], meetings[other])
        if times >= _TIMES_MIN and lift >= _LIFT_MIN and times >= _SHARE_MIN * rarer:
            yield one, other
