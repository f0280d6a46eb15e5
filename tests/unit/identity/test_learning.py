"""What a host's own records teach before any weight is estimated."""

from __future__ import annotations

import pytest

from crmkit.customers.traits import Name, Traits, of_fields, whole
from crmkit.identity import learning
from crmkit.identity.names import Names
from crmkit.identity.nicknames import related

NAMES = Names(related)
GIVEN = "ana ion dana vlad radu mihai elena sorin irina paul".split()
"""Names that have nothing to do with each other."""
STEMS = "brum dorg felk glav hust jirp kosm lund mork nepz pirg quast rolf sturz tamb".split()


def surname(number: int) -> str:
    """A surname that no error of typing makes of another."""
    number %= len(STEMS) ** 2
    return STEMS[number // len(STEMS)] + STEMS[number % len(STEMS)]


def traits(first: str, last: str, **fields: str) -> Traits:
    return of_fields({"first_name": first, "last_name": last, **fields})


# --- words ---


def test_a_word_is_counted_once_for_each_person_who_bears_it() -> None:
    """Also one who bears it twice, or by another name."""
    people = [
        traits("Ana", "Pop"),
        of_fields({"name": "Ana Ana"}, {"name": ["Ana Rusu", "Ana Pop"]}),
        Traits(),
    ]
    common, words = learning.commonness(people)
    assert words == {"ana": 2, "pop": 2, "rusu": 1}
    assert common.people == 3
    assert (common.count("ana"), common.count("pop")) == (2, 2)


def test_a_word_that_nobody_bears_counts_as_one() -> None:
    """Who is compared bears it."""
    common, _ = learning.commonness(iter([traits("Ana", "Pop")]))
    assert common.count("zorn") == 1


def test_nobody_teaches_nothing() -> None:
    common, words = learning.commonness([])
    assert (common.people, len(words)) == (1, 0)


# --- crowds ---

ANA, ION, DAN, MIA = ((("ana",), ("pop",)), (("ion",), ("rusu",)), (("dan",), ("lup",)),
                      (("mia",), ("zorn",)))  # fmt: skip


@pytest.mark.parametrize(
    ("bearers", "is_crowd"),
    [
        pytest.param([ANA, ION, DAN], True, id="three strangers"),
        pytest.param([ANA, ANA, ION, ION, DAN], True, id="some of them twice"),
        pytest.param([ANA, ION], False, id="two"),
        pytest.param([ANA, ION, ANA, ION], False, id="two, twice"),
        pytest.param([ANA, ION, (("iom",), ("rusu",))], False, id="two and a slip"),
        pytest.param([ANA, (("ion",), ("pop",)), (("mia",), ("pop",)), (("dan",), ("pop",))],
                     False, id="a family"),
        pytest.param([ANA, ION, (("dan",), ())], False, id="who told no surname"),
        pytest.param([], False, id="nobody"),
    ],
)  # fmt: skip
def test_three_incompatible_names_make_a_crowd(bearers: list[Name], is_crowd: bool) -> None:
    """Relatives, slips and whoever comes again do not."""
    found = learning.crowded([("722123456", bearers)], NAMES)
    assert found == ({"722123456"} if is_crowd else frozenset())


def test_of_many_contacts_those_of_crowds_are_told() -> None:
    sharing = [("a", [ANA, ION, DAN, MIA]), ("b", [ANA, ION]), ("c", [MIA, DAN, ION])]
    assert learning.crowded(sharing, NAMES) == {"a", "c"}


# --- short forms ---

Pair = tuple[Traits, Traits]


def meeting(one: str, other: str, number: int, field: str = "email") -> Pair:
    """Two of one surname on one contact."""
    contact = f"family{number}@mail.it" if field == "email" else f"+40722{123456 + number}"
    return (
        traits(one, surname(number), **{field: contact}),
        traits(other, surname(number), **{field: contact}),
    )


def families(count: int) -> list[Pair]:
    """Relatives on one contact, of names that are independent of each other."""
    return [
        meeting(GIVEN[n % len(GIVEN)], GIVEN[(n + 1 + n // len(GIVEN)) % len(GIVEN)], n + 100)
        for n in range(count)
        if GIVEN[n % len(GIVEN)] != GIVEN[(n + 1 + n // len(GIVEN)) % len(GIVEN)]
    ]


def test_two_names_that_keep_meeting_are_one_name() -> None:
    """Far more often than by chance, and on as many contacts; the pair is in order."""
    told = [meeting("Zvezdana", "Cica", n) for n in range(3)]
    assert learning.short_forms([*told, *families(80)], NAMES) == {("cica", "zvezdana")}


@pytest.mark.parametrize("field", ["email", "phone"])
def test_a_mailbox_and_a_number_are_contacts_alike(field: str) -> None:
    told = [meeting("Zvezdana", "Cica", n, field) for n in range(3)]
    assert learning.short_forms([*told, *families(80)], NAMES) == {("cica", "zvezdana")}


def test_either_of_two_may_come_first() -> None:
    told = [meeting("Zvezdana", "Cica", 0), meeting("Cica", "Zvezdana", 1),
            meeting("Cica", "Zvezdana", 2)]  # fmt: skip
    assert learning.short_forms([*told, *families(80)], NAMES) == {("cica", "zvezdana")}


def test_relatives_teach_nothing() -> None:
    """Their names meet about as often as their frequencies explain."""
    assert learning.short_forms(families(80), NAMES) == frozenset()


def test_one_contact_is_one_meeting_however_many_pairs_share_it() -> None:
    """A single couple with many records is no evidence."""
    told = [meeting("Zvezdana", "Cica", 0)] * 10
    assert learning.short_forms([*told, *families(80)], NAMES) == frozenset()


def test_names_that_meet_by_chance_among_few_are_no_short_forms() -> None:
    """Without others to compare with, nothing is rare."""
    assert learning.short_forms([meeting("Zvezdana", "Cica", n) for n in range(5)], NAMES) == set()


@pytest.mark.parametrize(("others", "learned"), [(16, True), (18, False)])
def test_of_names_that_meet_many_others_few_meetings_are_no_evidence(
    others: int, learned: bool
) -> None:
    """Three are too few where they are less than three in twenty, however rare both names are."""
    told = [meeting("Zvezdana", "Cica", n) for n in range(3)]
    more = [
        meeting(name, surname(40 + n), 5000 + 2 * n + k)
        for n in range(others)
        for k, name in enumerate(("Zvezdana", "Cica"))
    ]
    found = learning.short_forms([*told, *more, *families(2500)], NAMES)
    assert found == ({("cica", "zvezdana")} if learned else frozenset())


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([(traits("Zvezdana", surname(n), email=f"a{n}@m.it"),
                       traits("Cica", surname(n), email=f"b{n}@m.it")) for n in range(3)],
                     id="no contact"),
        pytest.param([(traits("Zvezdana", surname(n), email=f"a{n}@m.it"),
                       traits("Cica", surname(n + 50), email=f"a{n}@m.it")) for n in range(3)],
                     id="another surname"),
        pytest.param([(traits("Zvezdana Ana", surname(n), email=f"a{n}@m.it"),
                       traits("Cica", surname(n), email=f"a{n}@m.it")) for n in range(3)],
                     id="two given names"),
        pytest.param([(traits("Zvezdana", surname(n), email=f"a{n}@m.it"),
                       traits("Ci", surname(n), email=f"a{n}@m.it")) for n in range(3)],
                     id="too short"),
        pytest.param([meeting("William", "Bill", n) for n in range(3)], id="known already"),
        pytest.param([meeting("Cristian", "Kristian", n) for n in range(3)], id="a slip"),
        pytest.param([(traits("Zvezdana", surname(n), email=f"a{n}@m.it"),
                       of_fields({"email": f"a{n}@m.it"})) for n in range(3)], id="no name"),
    ],
)  # fmt: skip
def test_what_teaches_nothing(told: list[Pair]) -> None:
    assert learning.short_forms([*told, *families(80)], NAMES) == frozenset()


def test_a_name_in_one_piece_has_no_given_name_to_learn_from() -> None:
    """Nobody knows which of its words that is."""
    told = [
        (Traits(names=(whole(f"Zvezdana {surname(n)}"),), emails=(f"a{n}@m.it",)),
         traits("Cica", surname(n), email=f"a{n}@m.it"))
        for n in range(3)
    ]  # fmt: skip
    assert learning.short_forms([*told, *families(80)], NAMES) == frozenset()
