"""Finding all duplicates among many records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from functools import partial
from itertools import combinations
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import Matching
from crmkit.customers.blocking import CONTACTS, INITIAL, LIMITS, MAILBOX, PHONE, of_traits
from crmkit.customers.traits import Traits, of_fields
from crmkit.identity import nicknames, scanning, weights
from crmkit.identity.comparing import FIELDS, Commonness, Comparator
from crmkit.identity.matcher import given_names
from crmkit.identity.names import Names
from crmkit.identity.scanning import Candidates, candidates

ANA: dict[str, Any] = {
    "first_name": "Ana", "last_name": "Brum", "email": "ana.brum@mail.it", "city": "Cluj",
    "phone": "+40722123456", "birth_date": date(1984, 3, 5), "user_id": "U1",
}  # fmt: skip
ION: dict[str, Any] = {
    "first_name": "Ion", "last_name": "Felk", "email": "ion.felk@mail.it", "city": "Iasi",
    "phone": "+40733987651", "birth_date": date(1961, 7, 9),
}  # fmt: skip


def only(fields: dict[str, Any], names: str, **also: Any) -> Traits:
    """Some fields of a profile."""
    return of_fields({k: fields[k] for k in names.split()} | also)


PEOPLE = [
    of_fields(ANA),
    of_fields(ION),
    only(ANA, "first_name last_name phone birth_date"),
    only(ION, "first_name email", last_name="Fekl"),
    only(ANA, "last_name phone", first_name="Dan", birth_date=date(1990, 8, 2)),
    of_fields({"first_name": "Mia", "last_name": "Zorn", "email": "mia@zorn.it"}),
]
"""Two persons twice each, a relative of the first on her phone, and somebody else."""


def rows(people: Sequence[Traits]) -> list[tuple[str, int]]:
    """The tokens of these, as a storage returns them."""
    return sorted((token, n) for n, known in enumerate(people) for token in of_traits(known))


def nobodies(count: int) -> list[Traits]:
    return [Traits()] * count


def split(found: Candidates) -> list[tuple[int, int]]:
    return [found.split(pair) for pair in found.pairs]


# --- pairs ---


def test_who_share_a_token_are_compared_once() -> None:
    """However many tokens they share; the lower number first."""
    tokens = [(MAILBOX + "x", 2), (MAILBOX + "x", 0), (PHONE + "y", 0), (PHONE + "y", 2)]
    assert split(candidates(nobodies(3), tokens)) == [(0, 2)]
    assert split(candidates(nobodies(3), [(MAILBOX + "x", 0), (PHONE + "y", 1)])) == []
    assert split(candidates([], [])) == []


def test_pairs_of_contacts_come_first_and_are_counted() -> None:
    tokens = [
        (MAILBOX + "x", 0), (MAILBOX + "x", 1), (PHONE + "y", 1), (PHONE + "y", 2),
        ("ename", 0), ("ename", 2), ("ename", 3),
    ]  # fmt: skip
    found = candidates(nobodies(4), tokens)
    assert split(found)[: found.contacts] == [(0, 1), (1, 2)]
    assert sorted(split(found)[found.contacts :]) == [(0, 2), (0, 3), (2, 3)]


def test_where_contacts_are_all_there_is_all_pairs_are_of_them() -> None:
    found = candidates(nobodies(3), [(MAILBOX + "x", n) for n in range(3)])
    assert found.contacts == len(found.pairs) == 3


@pytest.mark.parametrize("family", [MAILBOX, INITIAL])
def test_a_token_that_too_many_share_leads_nowhere(family: str) -> None:
    """Each family has its own limit."""
    limit = LIMITS[family]
    for count, pairs in ((limit, limit * (limit - 1) // 2), (limit + 1, 0)):
        found = candidates(nobodies(count), [(family + "x", n) for n in range(count)])
        assert len(found.pairs) == pairs


def test_three_on_one_contact_are_a_crowd_to_look_at() -> None:
    """Also where they are too many to compare; what is no contact has no crowds."""
    many = LIMITS[PHONE] + 1
    tokens = [
        *((MAILBOX + "x", n) for n in range(3)),
        *((MAILBOX + "y", n) for n in range(2)),
        *((PHONE + "z", n) for n in range(many)),
        *(("ename", n) for n in range(5)),
    ]
    crowds = candidates(nobodies(many), tokens).crowds
    assert [sorted(crowd) for crowd in crowds] == [[0, 1, 2], list(range(many))]


_TOKENS = st.sets(
    st.tuples(st.sampled_from(["ax", "ay", "bx", "ex", "ey", "jx"]), st.integers(0, 14)),
    max_size=50,
)


@given(_TOKENS)
def test_candidates_are_all_pairs_under_the_limits(tokens: set[tuple[str, int]]) -> None:
    """As one would find them by comparing everybody's tokens with everybody's."""
    sharing = {t: {n for token, n in tokens if token == t} for t, _ in tokens}
    expected = {
        pair
        for token, numbers in sharing.items()
        if len(numbers) <= LIMITS[token[0]]
        for pair in combinations(sorted(numbers), 2)
    }
    found = candidates(nobodies(15), sorted(tokens))
    assert set(split(found)) == expected
    assert len(found.pairs) == len(expected)


# --- lessons ---


def lessons(people: Sequence[Traits], fields: Sequence[str] | None = None) -> scanning.Lessons:
    names_by = partial(given_names, Matching())
    return scanning.learned(candidates(people, rows(people)), names_by, fields)


def test_the_records_teach_how_common_words_are() -> None:
    found = lessons(PEOPLE)
    assert (found.words["brum"], found.words["ana"], found.words["zorn"]) == (3, 2, 1)
    assert found.comparator.commonness.people == len(PEOPLE)


def test_the_records_teach_short_forms() -> None:
    """They are compared by what was learned at once."""
    letters = "bdfgklmnprst"
    surnames = [a + "o" + b * 2 + "a" + c for a, b, c in zip(letters, letters[3:], letters[5:],
                                                             strict=False)]  # fmt: skip
    given_ = ["Ana", "Ion", "Vlad", "Radu", "Elena", "Sorin", "Paul"]
    people = [
        of_fields({"first_name": first, "last_name": last, "email": f"{last}{n}@mail.it"})
        for n, last in enumerate(surnames[:3])
        for first in ("Zvezdana", "Cica")
    ]
    people += [
        of_fields({"first_name": first, "last_name": last, "email": f"{last}{n}@home.it"})
        for n, pair in enumerate([*combinations(given_, 2)] * 4)
        for last in [surnames[n % len(surnames)]]
        for first in pair
    ]
    found = lessons(people)
    assert found.short_forms == {("cica", "zvezdana")}
    assert not found.comparator.names.given_differ("cica", "zvezdana")


def test_the_records_teach_which_contacts_are_an_agencys() -> None:
    """Three of incompatible names; the contact of a family is none."""
    strangers = [("Ana", "Brum"), ("Ion", "Felk"), ("Mia", "Zorn")]
    people = [
        of_fields({"first_name": a, "last_name": b, "email": "desk@agency.it"})
        for a, b in strangers
    ]
    people += [
        of_fields({"first_name": a, "last_name": "Pop", "phone": "+40722123456"})
        for a in ("Ana", "Ion", "Mia")
    ]
    assert set(lessons(people).comparator.crowded) == {"desk@agency.it"}


def test_details_are_compared_that_several_records_have() -> None:
    """In the order of the alphabet; of one record alone there is nothing to learn."""
    people = [of_fields({"gender": "F", "address": f"Via Roma {n}"}) for n in range(8)]
    people.append(of_fields({"occupation": "cook"}))
    assert lessons(people).comparator.details == ("address", "gender")
    assert lessons(people, ["name", "gender"]).comparator.details == ("gender",)


def test_a_field_that_takes_no_part_is_not_compared() -> None:
    compare = lessons(PEOPLE, ["email"]).comparator
    assert {n for n, level in enumerate(compare.pattern(PEOPLE[0], PEOPLE[0])) if level} == {
        FIELDS.index("email")
    }


# --- patterns and scores ---


def everything() -> tuple[Candidates, Comparator]:
    """The pairs of `PEOPLE`, and a comparator that was taught nothing."""
    compare = Comparator(Names(nicknames.related), Commonness(lambda _: 1, 1000))
    return candidates(PEOPLE, rows(PEOPLE)), compare


def test_each_pair_has_its_pattern_and_each_pattern_is_kept_once() -> None:
    found, compare = everything()
    kinds, of = scanning.patterns(found, compare)
    assert len(kinds) == len(set(kinds))
    assert [kinds[k] for k in of] == [
        compare.pattern(PEOPLE[a], PEOPLE[b]) for a, b in split(found)
    ]
    twice = attrs.evolve(found, pairs=[*found.pairs, *found.pairs])
    again, of_twice = scanning.patterns(twice, compare)
    assert again == kinds
    assert list(of_twice) == [*of, *of]


def test_progress_is_told_from_the_start() -> None:
    found, compare = everything()
    said: list[tuple[str, int, int]] = []
    scanning.patterns(found, compare, lambda *step: said.append(step))
    assert said == [("compare", 0, len(found.pairs))]


def test_weights_are_fitted_to_how_often_each_pattern_was_seen() -> None:
    """Of the details that were compared, from the shipped ones."""
    found, _ = everything()
    compare = Comparator(
        Names(nicknames.related), Commonness(lambda _: 1, 1000), details=["gender"]
    )
    kinds, of = scanning.patterns(found, compare)
    counts = {kind: list(of).count(k) for k, kind in enumerate(kinds)}
    expected = weights.fit(counts, weights.shipped(["gender"]))
    fitted = scanning.fitted(kinds, of, ["gender"])
    assert fitted.details == ("gender",)
    assert fitted.document() == expected.document() != weights.shipped(["gender"]).document()


def test_only_pairs_that_could_be_one_person_are_looked_at_again() -> None:
    """With the probability of their pattern, in the order in which they were."""
    found, compare = everything()
    kinds, of = scanning.patterns(found, compare)
    model = weights.shipped()
    score = weights.scorer(model)
    told = [(score(kinds[k]), pair) for k, pair in zip(of, found.pairs, strict=True)]
    likely = scanning.likely(found, kinds, of, model)
    assert likely == [(p, pair) for p, pair in told if p >= 0.05]
    assert 0 < len(likely) < len(told)


def test_what_contradicts_has_no_probability() -> None:
    """However probable its pattern is."""
    score = scanning.scorer(everything()[1], weights.shipped())
    ana = of_fields(ANA)
    assert score(ana, ana) > 0.99
    assert score(ana, of_fields(ANA | {"user_id": "U2"})) == 0
    assert score(ana, of_fields(ANA | {"birth_date": date(1961, 7, 9)})) == 0
    assert score(ana, of_fields(ANA | {"first_name": "Mia"})) == 0


# --- persons ---


def joined(apart: dict[int, Iterable[int]] | None = None, join: float = 0.5) -> list[list[int]]:
    found, compare = everything()
    model = weights.shipped()
    likely = scanning.likely(found, *scanning.patterns(found, compare), model)
    links = scanning.links(found, likely, scanning.scorer(compare, model), join=join, apart=apart)
    return sorted(map(sorted, scanning.clusters(links)))


def test_records_become_persons() -> None:
    """Both of each, and neither the relative on one phone nor the stranger."""
    assert joined() == [[0, 2], [1, 3]]


def test_who_was_said_to_be_apart_stays_apart() -> None:
    assert joined({0: [2], 2: [0]}) == [[1, 3]]


def test_nobody_joins_below_the_threshold() -> None:
    assert joined(join=1.01) == []


def test_a_pair_that_contradicts_is_no_link_whatever_its_probability() -> None:
    """The score is asked before anybody joins."""
    found = candidates(nobodies(2), [(MAILBOX + "x", 0), (MAILBOX + "x", 1)])
    pair = [(0.99, found.pairs[0])]
    assert list(scanning.links(found, pair, lambda _, __: 0.0, join=0.5)) == []
    links = list(scanning.links(found, pair, lambda _, __: 0.4, join=0.5))
    assert [(x.a, x.b, x.score) for x in links] == [(0, 1, 0.99)]


def test_progress_is_told_of_the_parts_that_hang_together() -> None:
    found = candidates(nobodies(4), [("ax", 0), ("ax", 1), ("ay", 2), ("ay", 3)])
    said: list[tuple[str, int, int]] = []
    pairs = [(0.9, pair) for pair in found.pairs]
    links = scanning.links(
        found, pairs, lambda _, __: 1.0, join=0.5, progress=lambda *step: said.append(step)
    )
    assert scanning.clusters(links) == [[0, 1], [2, 3]]
    assert said == [("cluster", 0, 2)]


def test_every_family_of_contacts_is_before_every_other() -> None:
    """So that tokens in order bring the pairs of contacts first."""
    assert max(CONTACTS) < min(set(LIMITS) - set(CONTACTS))
