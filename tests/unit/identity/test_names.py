"""Whether two names may be one person's."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.customers.traits import Name, whole, words
from crmkit.identity import names as n
from crmkit.identity import nicknames
from crmkit.identity.names import Names, better, spoken

NAMES = Names(nicknames.related)


def named(text: str) -> Name:
    """A name as a test writes it: ``Ana/Pop`` in its parts, ``Ana Pop`` in one piece."""
    first, parted, last = text.partition("/")
    return (words(first), words(last)) if parted else whole(text)


def level(one: str, other: str) -> int:
    """The level of two names, of which the order must not matter."""
    found = NAMES.level(named(one), named(other))
    assert NAMES.level(named(other), named(one)) == found
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Ana/Pop", "ANA/POP", id="as it is"),
        pytest.param("Ana/Pop", "Pop/Ana", id="surname first"),
        pytest.param("Ana/Pop", "Ana Pop", id="in one piece"),
        pytest.param("Ana/Pop", "Pop Ana", id="in one piece, surname first"),
        pytest.param("Ana Pop", "Pop Ana", id="both in one piece"),
        pytest.param("Ana Maria/Pop", "Ana/Pop", id="a second given name"),
        pytest.param("Maria/Pop", "Ana Maria/Pop", id="called by the second given name"),
        pytest.param("Ana/Pop Rusu", "Ana/Rusu", id="one of two surnames"),
        pytest.param("Anamaria/Popa", "Ana Maria/Popa", id="two given names joined"),
        pytest.param("Đorđe/Pop", "Djordje/Pop", id="another alphabet"),
    ],
)
def test_the_same_name_is_equal_however_it_is_written(one: str, other: str) -> None:
    """Joined or parted, in either order, with a second name or without."""
    assert level(one, other) == n.EQUAL


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Ana/Popescu", "Ana/Popecsu", id="two letters swapped"),
        pytest.param("Ana/Popescu", "Ana/Popesc", id="a letter lost"),
        pytest.param("Brana/Popescu", "Branna/Popescu", id="a letter more"),
        pytest.param("Brana/Popescu", "Branq/Popescy", id="an error in each"),
        pytest.param("Ana/Constantinescu", "Ana/Konstantimescu", id="two in a long word"),
        pytest.param("Ana/Moldoveanu", "Ana/Moldovianou", id="vowels"),
        pytest.param("Popecsu Ana", "Ana/Popescu", id="and surname first"),
    ],
)
def test_an_error_of_typing(one: str, other: str) -> None:
    assert level(one, other) == n.TYPED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Bill/Pop", "William/Pop", id="a nickname"),
        pytest.param("A/Pop", "Ana/Pop", id="an initial"),
        pytest.param("Ana/P", "Ana/Pop", id="a surname's initial"),
        pytest.param("Konstantin/Pop", "Konst/Pop", id="a beginning"),
        pytest.param("Bill/Popescu", "William/Popecsu", id="a nickname and an error"),
    ],
)
def test_a_short_form(one: str, other: str) -> None:
    assert level(one, other) == n.SHORT


def test_a_missing_surname_leaves_the_given_name() -> None:
    assert level("Ana", "Ana/Pop") == n.GIVEN_ONLY
    assert level("Ana", "Ana Pop") == n.GIVEN_ONLY
    assert level("Bill", "William/Pop") == n.GIVEN_ONLY
    assert level("Ana", "Ana") == n.GIVEN_ONLY
    assert level("Ana", "Ion/Pop") == n.DIFFERENT


def test_a_missing_given_name_leaves_the_surname() -> None:
    assert level("/Popescu", "Ana/Popescu") == n.SURNAME_ONLY
    assert level("/Popescu", "Ana/Popecsu") == n.SURNAME_ONLY
    assert level("/Popescu", "Ana/Rusu") == n.DIFFERENT


def test_two_words_in_one_piece_may_be_two_given_names() -> None:
    """So another surname beside one of them says less than it would."""
    assert level("Ana Maria", "Ana/Pop") == n.GIVEN_ONLY
    assert level("Ana/Maria", "Ana/Pop") == n.SURNAME_DIFFERS


def test_relatives_and_strangers() -> None:
    assert level("Ana/Pop", "Ion/Pop") == n.GIVEN_DIFFERS
    assert level("Ana/Popescu", "Ion/Popecsu") == n.GIVEN_DIFFERS
    assert level("Ana/Pop", "Ana/Rusu") == n.SURNAME_DIFFERS
    assert level("Ana/Pop", "Ion/Rusu") == n.DIFFERENT


def test_errors_need_letters_around_them() -> None:
    """Of a word of two letters one error leaves nothing; two errors need a long word."""
    assert level("Bo/Popescu", "Li/Popescu") == n.GIVEN_DIFFERS
    assert level("Bo/Popescu", "By/Popescu") == n.GIVEN_DIFFERS
    assert level("Ana/Rotaru", "Ana/Bolaru") == n.SURNAME_DIFFERS


def test_a_number_is_no_error_of_typing_in_another() -> None:
    """Whom a form calls Guest 100 is not whom it calls Guest 1000."""
    assert level("Guest 100", "Guest 100") == n.EQUAL
    assert level("Guest/100", "Guest/1000") == n.SURNAME_DIFFERS
    assert level("Guest/100", "Guest/101") == n.SURNAME_DIFFERS


def test_where_there_is_no_name_nothing_is_said() -> None:
    assert NAMES.level(((), ()), named("Ana/Pop")) == 0
    assert NAMES.level(((), ()), ((), ())) == 0


def test_only_given_names_that_fit_make_two_names_compatible() -> None:
    """What contradicts is another given name, and not another surname: people marry."""
    assert {level("Ana/Pop", "Ion/Pop"), level("Ana/Pop", "Ion/Rusu")} == n.CONTRADICT
    assert level("Ana/Pop", "Ana/Rusu") not in n.CONTRADICT


def test_what_is_related_is_the_callers_to_say() -> None:
    """The same words without the table of nicknames are two names."""
    without = Names(lambda _, __: False)
    assert without.level(named("Bill/Pop"), named("William/Pop")) == n.GIVEN_DIFFERS
    assert without.given_differ("bill", "william")
    assert not NAMES.given_differ("bill", "william")


def test_words_that_are_near_and_surnames_that_are_the_same() -> None:
    assert NAMES.near("popescu", "popecsu")
    assert not NAMES.near("popescu", "popescu")
    assert not NAMES.near("bill", "william")
    assert NAMES.same_surname(("pop", "rusu"), ("rusu",))
    assert NAMES.same_surname(("popescu",), ("popecsu",))
    assert not NAMES.same_surname(("pop",), ("rusu",))
    assert not NAMES.same_surname((), ("rusu",))


def test_levels_are_ranked_by_what_they_say_for_one_person() -> None:
    """Nothing at all is the least; similar names are as good as an error until it is weighed."""
    best_first = [
        n.EQUAL, n.TYPED, n.SHORT, n.GIVEN_ONLY, n.SURNAME_ONLY,
        n.SURNAME_DIFFERS, n.GIVEN_DIFFERS, n.DIFFERENT, 0,
    ]  # fmt: skip
    for one, other in pairwise(best_first):
        assert better(one, other)
        assert not better(other, one)
        assert not better(one, one)
    assert not better(n.SIMILAR, n.TYPED)
    assert not better(n.TYPED, n.SIMILAR)


def test_the_names_that_stand_for_a_person_are_the_full_ones_given_often() -> None:
    """An initial or a slip among many must not let a stranger in."""
    full, other, initial = named("Ana/Pop"), named("Ana/Rusu"), named("A/Pop")
    assert spoken((initial, full)) == (full,)
    assert spoken((named("Ana"), full)) == (full,)
    assert spoken((full, other)) == (full, other)
    assert spoken((full, full, full, other)) == (full, other)
    assert spoken((full, full, full, full, other)) == (full,)


def test_names_stand_for_a_person_who_has_no_full_one() -> None:
    initial, single = named("A/Pop"), named("Ana")
    assert spoken((initial, single)) == (initial, single)
    assert spoken((initial,)) == (initial,)
    assert spoken(()) == ()


_WORDS = st.lists(st.text("abno", min_size=1, max_size=5), max_size=3).map(tuple)
_NAME = st.tuples(_WORDS, _WORDS)


@given(_NAME)
def test_a_name_is_equal_to_itself_both_ways_round(name: Name) -> None:
    """With both parts; with one, only as far as that goes."""
    first, last = name
    if first and last:
        assert NAMES.level(name, name) == NAMES.level(name, (last, first)) == n.EQUAL
    elif first or last:
        assert NAMES.level(name, name) in (n.EQUAL, n.GIVEN_ONLY, n.SURNAME_ONLY)


@given(_NAME, _NAME, st.lists(st.tuples(_NAME, _NAME), max_size=5))
def test_what_was_compared_before_changes_nothing(
    a: Name, b: Name, before: list[tuple[Name, Name]]
) -> None:
    """A comparison is remembered, not influenced."""
    used = Names(nicknames.related)
    for one, other in before:
        used.level(one, other)
    assert used.level(a, b) == used.level(a, b) == Names(nicknames.related).level(a, b)


@given(_NAME, _NAME)
def test_it_does_not_matter_which_name_comes_first(one: Name, other: Name) -> None:
    assert NAMES.level(one, other) == NAMES.level(other, one)


def test_two_given_names_are_no_error_of_typing() -> None:
    """One letter apart, Carlo and Carla are two persons; a word that is no name is a slip."""
    names = Names(nicknames.related, lambda word: word in {"carlo", "carla"})
    assert names.level(named("Carlo/Conti"), named("Carla/Conti")) == n.GIVEN_DIFFERS
    assert names.level(named("Carlo/Conti"), named("Carlp/Conti")) == n.TYPED


@pytest.mark.parametrize("pair", ["Ana Anna", "Sara Sarah", "Marco Marko", "Stefan Stephan"])
def test_spellings_of_one_given_name_are_near(pair: str) -> None:
    names = Names(lambda _, __: False, lambda _: True)
    one, other = pair.split()
    assert names.level(named(f"{one}/Brum"), named(f"{other}/Brum")) == n.TYPED
