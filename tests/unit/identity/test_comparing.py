"""What two profiles say of each other, field by field."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from crmkit.customers.traits import Traits, of_fields, united
from crmkit.identity import comparing as c
from crmkit.identity import names as n
from crmkit.identity import nicknames
from crmkit.identity.comparing import Commonness, Comparator, Pattern, contradiction
from crmkit.identity.names import Names

PEOPLE = 1000
COUNTS = {"ana": 100, "ion": 100, "maria": 100, "marin": 100, "pop": 50}
"""How many bear these words; every other is borne by one."""


def comparator(**options: Any) -> Comparator:
    common = Commonness(lambda word: COUNTS.get(word, 1), PEOPLE)
    return Comparator(Names(nicknames.related), common, **options)


def traits(**fields: Any) -> Traits:
    return of_fields(fields)


def compared(field: int, one: Any, other: Any) -> int:
    """The level of one field, from two values of it or two profiles."""
    told = {c.EMAIL: "email", c.PHONE: "phone", c.BIRTH: "birth_date", c.CITY: "city",
            c.HANDLE: "instagram", c.NAME: "name"}  # fmt: skip
    a, b = (x if isinstance(x, Traits) else traits(**{told[field]: x}) for x in (one, other))
    found = comparator().pattern(a, b)
    assert comparator().pattern(b, a)[field] == found[field]
    return found[field]


def test_where_either_side_is_silent_the_level_is_zero() -> None:
    """Of each field, whichever side it is."""
    full = traits(
        name="Ana Pop", email="ana84@mail.it", phone="+40722123456", birth_date=date(1984, 3, 5),
        city="Roma", instagram="ana_p", gender="F",
    )  # fmt: skip
    compare = comparator(details=["gender"])
    nothing: Pattern = (0,) * (len(c.FIELDS) + 1)
    assert compare.pattern(full, Traits()) == compare.pattern(Traits(), full) == nothing
    assert compare.pattern(Traits(), Traits()) == nothing
    assert 0 not in compare.pattern(full, full)


# --- contacts ---


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("Ana.Pop@Gmail.com", "anapop+x@googlemail.com", c.EQUAL),
        ("ana.pop@mail.it", "anapop@mail.it", c.CLOSE),
        ("anapop@gmial.com", "ana.pop@gmail.com", c.CLOSE),
        ("anapop@mail.it", "anapap@mail.it", c.CLOSE),
        ("ana.pop@mail.it", "anapop@firma.it", c.LOCAL),
        ("anap@mail.it", "anap@firma.it", c.DIFFERS),
        ("anapop@mail.it", "anapap@firma.it", c.DIFFERS),
        ("anapop7@mail.it", "anapop8@mail.it", c.DIFFERS),
        ("anapop7@mail.it", "anapop@mail.it", c.DIFFERS),
        ("anapop7@mail.it", "anapap7@mail.it", c.CLOSE),
        ("anapop@mail.it", "ionpop@mail.it", c.DIFFERS),
        ("ana@mail.it", "ann@mail.it", c.DIFFERS),
    ],
)
def test_mailboxes(one: str, other: str, level: int) -> None:
    """Equal; but for dots or a slip; the same name at another provider; another."""
    assert compared(c.EMAIL, one, other) == level


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("+40722123456", "0722 123 456", c.EQUAL),
        ("+40722123456", "+40722123465", c.CLOSE),
        ("+40722123456", "+40722123450", c.CLOSE),
        ("+40722123456", "+4072212345", c.CLOSE),
        ("+40722123456", "+40733987651", c.DIFFERS),
    ],
)
def test_numbers(one: str, other: str, level: int) -> None:
    """Equal without a prefix; but for one digit; another."""
    assert compared(c.PHONE, one, other) == level


def test_handles() -> None:
    """Dots and underscores are often forgotten."""
    assert compared(c.HANDLE, "ana.pop", "ana_pop") == c.EQUAL
    assert compared(c.HANDLE, "ana.pop", "ana.pop1") == c.DIFFERS


def test_of_several_contacts_the_best_counts() -> None:
    a = of_fields({"phone": "+40722123456"}, {"phone": ["+40733987651"]})
    b = of_fields({"phone": "+40744555666"}, {"phone": ["+40733987651"]})
    near = of_fields({"phone": "+40744555666"}, {"phone": ["+40733987615"]})
    assert compared(c.PHONE, a, b) == c.EQUAL
    assert compared(c.PHONE, a, near) == c.CLOSE


def test_a_contact_that_many_use_says_less() -> None:
    """Unless the two share another, which is theirs."""
    one = of_fields({"phone": "+40722123456"}, {"phone": ["+40733987651"]})
    other = traits(phone="+40722123456")
    many = comparator(crowded=frozenset({"722123456"}))
    assert many.pattern(one, other)[c.PHONE] == c.CROWDED
    assert many.pattern(one, one)[c.PHONE] == c.EQUAL
    assert comparator().pattern(one, other)[c.PHONE] == c.EQUAL
    assert comparator().pattern(one, other, crowded={"722123456"})[c.PHONE] == c.CROWDED


# --- births, places and years ---


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        (date(1984, 3, 5), date(1984, 3, 5), c.EQUAL),
        (date(1984, 3, 5), date(1984, 5, 3), c.CLOSE),
        (date(1984, 1, 1), date(1984, 5, 3), c.LOCAL),
        (date(1984, 3, 5), date(1984, 3, 6), c.LOCAL),
        (date(1984, 3, 5), date(1984, 4, 5), c.LOCAL),
        (date(1984, 3, 5), date(1985, 3, 5), c.LOCAL),
        (date(1984, 3, 5), date(1948, 3, 5), c.LOCAL),
        (date(1984, 3, 5), date(1961, 3, 5), c.DIFFERS),
        (date(1984, 3, 5), date(1985, 5, 3), c.DIFFERS),
        (date(1984, 3, 5), date(1984, 4, 6), c.DIFFERS),
        (date(1984, 1, 1), date(1985, 1, 2), c.DIFFERS),
    ],
)
def test_births(one: date, other: date, level: int) -> None:
    """Equal; day and month swapped; one part wrong, or only the year known; another."""
    assert compared(c.BIRTH, one, other) == level


def test_of_several_births_those_given_most_often_count() -> None:
    """One slip among many records of a person must not let a stranger in."""
    right, slip = traits(birth_date=date(1984, 3, 5)), traits(birth_date=date(1961, 7, 9))
    person = united(united(right, right), slip)
    assert compared(c.BIRTH, person, right) == c.EQUAL
    assert compared(c.BIRTH, person, slip) == c.DIFFERS
    assert compared(c.BIRTH, united(right, slip), slip) == c.EQUAL


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("Cluj-Napoca", "CLUJ", c.EQUAL),
        ("Timișoara", "Temisoara", c.EQUAL),
        ("Rome", "Roma", c.EQUAL),
        ("Roma", "Milano", c.DIFFERS),
    ],
)
def test_places(one: str, other: str, level: int) -> None:
    assert compared(c.CITY, one, other) == level


def test_the_year_in_an_address_is_compared_with_the_other_sides_birth() -> None:
    """And with the year in the other's address, unless it is the same mailbox."""
    address, born = traits(email="ana84@mail.it"), traits(birth_date=date(1984, 3, 5))
    assert compared(c.YEAR, address, born) == c.EQUAL
    assert compared(c.YEAR, address, traits(birth_date=date(1985, 3, 5))) == c.DIFFERS
    assert compared(c.YEAR, address, traits(email="pop84@firma.it")) == c.EQUAL
    assert compared(c.YEAR, address, traits(email="pop85@firma.it")) == c.DIFFERS
    assert compared(c.YEAR, address, address) == 0
    assert compared(c.YEAR, address, traits(email="pop@firma.it")) == 0
    assert compared(c.YEAR, born, born) == 0


def test_the_year_of_the_own_birth_says_nothing_of_the_other() -> None:
    one = traits(email="ana84@mail.it", birth_date=date(1984, 3, 5))
    assert compared(c.YEAR, one, traits(name="Ana")) == 0


# --- details ---


def test_details_are_those_that_were_asked_for_in_that_order() -> None:
    a = of_fields({"gender": "F", "custom": {"card": "AB-12345"}, "occupation": "cook"})
    b = of_fields({"gender": "M", "custom": {"card": "AB-12346"}, "occupation": "cook"})
    compare = comparator(details=["custom.card", "gender", "language"])
    assert compare.pattern(a, b)[len(c.FIELDS) :] == (c.CLOSE, c.DIFFERS, 0)
    assert comparator(details=["occupation"]).pattern(a, b)[len(c.FIELDS) :] == (c.EQUAL,)
    assert comparator().pattern(a, b) == (0,) * len(c.FIELDS)


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("abcd", "abce", c.DIFFERS),
        ("abcde", "abcdf", c.CLOSE),
        ("abcde", "abcfg", c.DIFFERS),
        ("abcdefghij", "abcdefghxy", c.CLOSE),
        ("abcdefghij", "abcdefgxyz", c.DIFFERS),
    ],
)
def test_a_text_may_have_one_error_in_five_letters(one: str, other: str, level: int) -> None:
    compare = comparator(details=["occupation"])
    assert compare.pattern(traits(occupation=one), traits(occupation=other))[-1] == level


def test_a_field_that_takes_no_part_is_silent() -> None:
    full = traits(name="Ana Pop", email="ana84@mail.it", phone="+40722123456", city="Roma")
    found = comparator(fields=["email", "city"]).pattern(full, full)
    assert {field for field, level in enumerate(found) if level} == {c.EMAIL, c.CITY}


# --- names and how rare they are ---


def test_who_bears_words_by_chance_is_their_product() -> None:
    """Of more than two words the rarest two count: the others may be left out."""
    common = Commonness(lambda word: COUNTS.get(word, 1), PEOPLE)
    assert common.namesakes(["ana", "pop"]) == pytest.approx(PEOPLE * 0.1 * 0.05)
    assert common.namesakes(["ana", "pop", "maria"]) == common.namesakes(["ana", "pop"])
    assert common.namesakes(["ana"]) == pytest.approx(100)
    assert Commonness(lambda _: 0, 0).namesakes(["ana"]) == 0


def rarity(name: str, **options: Any) -> int:
    kind, rare = divmod(
        comparator().pattern(traits(name=name), traits(name=name), **options)[0], 10
    )
    assert kind == n.EQUAL
    return rare


def test_equal_names_are_told_by_how_rare_they_are() -> None:
    """The level rises with the persons of that name who are to be expected."""
    assert rarity("Xenia Zorn") == 0
    assert rarity("Xenia Zorn") < rarity("Xenia Pop") < rarity("Ana Pop") < rarity("Ana Ion")


def test_namesakes_who_are_known_of_make_a_name_common() -> None:
    """Never rarer: the expectation stands where it is greater."""
    assert rarity("Xenia Zorn", namesakes=5) == 6
    assert rarity("Ana Ion", namesakes=1) == rarity("Ana Ion")


def test_names_that_contradict_are_one_level_each() -> None:
    for one, other, kind in (
        ("Ana/Pop", "Ana/Zorn", n.SURNAME_DIFFERS),
        ("Ana/Pop", "Ion/Pop", n.GIVEN_DIFFERS),
        ("Ana/Pop", "Ion/Zorn", n.DIFFERENT),
    ):
        (a, x), (b, y) = one.split("/"), other.split("/")
        pattern = comparator().pattern(
            traits(first_name=a, last_name=x), traits(first_name=b, last_name=y), namesakes=50
        )
        assert pattern[c.NAME] == kind * 10
        assert c.kind_of_name(pattern[c.NAME]) == kind


def test_what_looks_like_an_error_is_none_if_both_spellings_are_names() -> None:
    """Errors are rare: a spelling that several bear is a name of its own."""

    def kind(one: str, other: str) -> int:
        return c.kind_of_name(comparator().pattern(traits(name=one), traits(name=other))[c.NAME])

    assert kind("Maria Zorn", "Marin Zorn") == n.SIMILAR
    assert kind("Maria Zorn", "Maria Zorm") == n.TYPED
    assert kind("Maria Zorn", "Marai Zorn") == n.TYPED


def test_of_several_names_the_pair_that_fits_best_counts() -> None:
    """Also beside one that differs."""
    a = of_fields({"name": "Xenia Zorn"}, {"name": ["Xenia Brum"]})
    b = traits(first_name="Xenia", last_name="Brum")
    assert c.kind_of_name(compared(c.NAME, a, b)) == n.EQUAL


def test_all_levels_of_names_are_listed_once() -> None:
    """Nine kinds, each with nine rarities; three that differ come in one."""
    levels = c.levels_of_names()
    assert len(levels) == len(set(levels)) == 6 * c.RARITIES + 3
    assert 0 not in levels
    assert {c.kind_of_name(level) for level in levels} == set(range(n.EQUAL, n.SIMILAR + 1))


# --- what forbids ---


def forbidden(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    a, b = of_fields(one), of_fields(other)
    return contradiction(comparator().pattern(a, b), a, b)


def test_what_contradicts_is_named() -> None:
    """Another birth, another given name, another account."""
    ana = {"first_name": "Ana", "last_name": "Pop", "birth_date": date(1984, 3, 5), "user_id": "1"}
    assert forbidden(ana, ana | {"birth_date": date(1961, 7, 9)}) == "birth_date"
    assert forbidden(ana, ana | {"first_name": "Ion"}) == "name"
    assert forbidden(ana, ana | {"user_id": "2"}) == "user_id"


@pytest.mark.parametrize(
    "told",
    [
        {}, {"birth_date": date(1984, 5, 3)}, {"birth_date": None}, {"last_name": "Zorn"},
        {"first_name": None, "last_name": None}, {"user_id": None}, {"email": "x@other.it"},
    ],
)  # fmt: skip
def test_what_is_silent_or_partly_equal_forbids_nothing(told: dict[str, Any]) -> None:
    ana = {"first_name": "Ana", "last_name": "Pop", "birth_date": date(1984, 3, 5), "user_id": "1",
           "email": "ana@mail.it"}  # fmt: skip
    assert forbidden(ana, ana | told) is None


def test_one_account_of_several_in_common_forbids_nothing() -> None:
    a = of_fields({"user_id": "1"}, {"user_id": ["2"]})
    b, other = of_fields({"user_id": "2"}), of_fields({"user_id": "3"})
    nothing: Pattern = (0,) * len(c.FIELDS)
    assert contradiction(nothing, a, b) is None
    assert contradiction(nothing, a, other) == "user_id"
