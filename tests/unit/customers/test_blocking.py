"""What two records of one person share, and what the stored forms tell of nobody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit import MemoryStorage, Settings
from crmkit.customers import blocking
from crmkit.customers.blocking import CONTACTS, LIMITS, LOCAL, Hasher, of_traits, skeleton
from crmkit.customers.traits import of_customer, of_fields
from crmkit.model import Customer, MatchToken
from crmkit.ports.events import Events
from crmkit.ports.runtime import Runtime

_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_HASHER = Hasher("key")
_EVERY_FAMILY = "".join(sorted(LIMITS))
_LETTERS = "aeimnoprst"
_WORD = st.text(_LETTERS, min_size=3, max_size=9)
_DATES = st.dates(date(1940, 1, 1), date(2008, 1, 1))
_NUMBERS = st.integers(10**8, 10**9 - 1).map(str)

ION: dict[str, Any] = {
    "first_name": "Ion", "last_name": "Popescu", "email": "dj.ion84@venue.ro",
    "phone": "+40722123456", "instagram": "ion_pop", "birth_date": date(1984, 3, 5),
    "city": "Bucuresti", "address": "Str. Lunga 5",
}  # fmt: skip


def tokens(**fields: Any) -> frozenset[str]:
    return of_traits(of_fields(fields))


def families(found: Iterable[str]) -> str:
    return "".join(sorted({t[0] for t in found}))


def shared(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The families in which two profiles share a token."""
    return families(tokens(**one) & tokens(**other))


# --- what leads from one record to another ---


def test_a_full_profile_has_tokens_of_every_family() -> None:
    """And every family has a limit of its own."""
    assert families(tokens(**ION)) == _EVERY_FAMILY


def test_a_profile_without_anything_to_compare_has_no_tokens() -> None:
    assert tokens() == frozenset()
    assert tokens(city="Roma", gender="F", birth_date=date(1984, 3, 5)) == frozenset()


@pytest.mark.parametrize(
    ("one", "other", "family"),
    [
        pytest.param(
            {"email": "a.b+x@gmail.com"}, {"email": "AB@googlemail.com"}, blocking.MAILBOX,
            id="a mailbox",
        ),
        pytest.param(
            {"email": "a.b@gmial.com"}, {"email": "ab@gmail.com"}, blocking.MAILBOX,
            id="a slip in the domain",
        ),
        pytest.param(
            {"phone": "+40722123456"}, {"phone_typed": "0722 123 456"}, blocking.PHONE,
            id="a number",
        ),
        pytest.param({"instagram": "ion_pop"}, {"instagram": "ion_pop"}, "c", id="a handle"),
        pytest.param(
            {"email": "ion.pop84@a.it"}, {"email": "ionpop84@b.it"}, blocking.LOCAL,
            id="the same name at another provider",
        ),
        pytest.param(
            {"name": "Popescu Ion"}, {"first_name": "Ion", "last_name": "Popescu"}, blocking.NAME,
            id="a name in either order",
        ),
        pytest.param(
            {"name": "Jon Popescu"}, {"name": "Jane Popescu"}, blocking.INITIAL,
            id="a given name that begins the same",
        ),
        pytest.param(
            {"first_name": "I", "last_name": "Popescu"}, {"name": "Ion Popescu"}, blocking.INITIAL,
            id="an initial",
        ),
        pytest.param(
            {"name": "Ion Pop", "birth_date": date(1984, 3, 5)},
            {"name": "Iohan Rus", "birth_date": date(1984, 5, 3)}, blocking.BIRTH,
            id="a birth, day and month swapped",
        ),
        pytest.param(
            {"name": "Ion", "phone": "+40722123456"},
            {"name": "Ionel", "phone": "+40722993456"}, blocking.NAME_NUMBER,
            id="the end of a number",
        ),
        pytest.param(
            {"name": "Ion", "phone": "+40722123456"},
            {"name": "Ionel", "phone": "+40722129956"}, blocking.NAME_AREA,
            id="the beginning of a number",
        ),
        pytest.param(
            {"name": "Ion", "address": "Str. Lunga 5"},
            {"name": "Ionel", "address": "str lunga, 5"}, blocking.DETAIL,
            id="another field",
        ),
    ],
)  # fmt: skip
def test_records_of_one_person_meet(
    one: dict[str, Any], other: dict[str, Any], family: str
) -> None:
    """Each kind of resemblance leads from one to the other."""
    assert family in shared(one, other)


def test_vowels_that_were_mistyped_do_not_part_a_name() -> None:
    assert blocking.NAME in shared({"name": "Marian Popescu"}, {"name": "Marien Popoescu"})


def test_a_common_name_leads_on_with_a_city_or_a_year() -> None:
    """The name alone may be over its limit; its companions are rarer."""
    one = {"name": "Ion Popescu", "city": "Bucuresti", "birth_date": date(1984, 3, 5)}
    other = {"name": "Ion Popescu", "city": "Bucharest Sector 1", "birth_date": date(1984, 9, 9)}
    assert blocking.NAME_CITY in shared(one, one | {"birth_date": None})
    assert blocking.NAME_CITY not in shared(one, other)
    assert blocking.NAME_YEAR in shared(one, other)
    assert blocking.NAME_YEAR not in shared(one, one | {"birth_date": date(1985, 3, 5)})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"email": "ionel@a.it"}, {"email": "ionel@b.it"}, id="a short local part"),
        pytest.param({"name": "Ion Pop", "gender": "F"}, {"name": "Iov Rus", "gender": "F"},
                     id="a short detail"),
        pytest.param({"name": "Ion Pop", "city": "Roma"}, {"name": "Ana Rus", "city": "Roma"},
                     id="a city"),
        pytest.param({"birth_date": date(1984, 3, 5), "name": "Ion"},
                     {"birth_date": date(1984, 3, 5), "name": "Ana"}, id="a birthday"),
        pytest.param({"phone": "+40722123456", "name": "Ion"},
                     {"phone": "+40722993456", "name": "Ana"}, id="the end of a number"),
    ],
)  # fmt: skip
def test_what_many_strangers_share_leads_nowhere(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert shared(one, other) == ""


def test_contacts_come_before_whatever_else_there_is_too_much_of() -> None:
    """A record has few tokens, each a row to write; none of a contact is lost."""
    fields = ION | {"custom": {f"c{n}": f"value {n}" for n in range(50)}}
    names = [f"Name{a} Sur{a} Other{a}" for a in _LETTERS]
    known = of_fields(fields, {"name": names, "phone": ["+40733111222"]})
    found = of_traits(known)
    assert len(found) == blocking.TOKENS_MAX
    assert {t for t in found if t[0] in CONTACTS} == {
        "adj.ion84@venue.ro", "b722123456", "b733111222", "cion_pop",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "bones"),
    [("popescu", "psc"), ("ana", "an"), ("anna", "an"), ("io", "i"), ("whyte", "wt"), ("", "")],
)
def test_a_skeleton_is_a_first_letter_and_consonants(word: str, bones: str) -> None:
    assert skeleton(word) == bones


# --- what the tokens give away ---


def bare(word: str) -> Iterator[str]:
    """Every token that would stand for one word of a name alone."""
    for form in {word, skeleton(word), word[:1], word[:2], word[:3], word[:4]}:
        yield from (family + form for family in _EVERY_FAMILY if family not in CONTACTS + LOCAL)


_NAMED = st.fixed_dictionaries(
    {"first_name": _WORD, "last_name": _WORD},
    optional={
        "phone": _NUMBERS,
        "birth_date": _DATES,
        "city": _WORD,
        "address": _WORD,
        "occupation": _WORD,
    },
)


@given(_NAMED)
def test_no_stored_token_is_the_hash_of_a_single_word_of_a_name(fields: dict[str, Any]) -> None:
    """Frequencies of bare surnames would give the surnames away."""
    stored = set(map(_HASHER, tokens(**fields)))
    for word in (fields["first_name"], fields["last_name"]):
        assert stored.isdisjoint(map(_HASHER, bare(word)))


@given(st.sampled_from(["first_name", "last_name", "name", "nickname"]), _WORD)
def test_one_word_is_no_token(field: str, word: str) -> None:
    assert tokens(**{field: word}) == frozenset()


@pytest.mark.parametrize("same", ["first_name", "last_name"])
def test_two_with_one_word_of_their_names_in_common_share_no_token(same: str) -> None:
    """However much else is known of the two, if it is not the same."""
    other = {
        "first_name": "Maria", "last_name": "Rusu", "email": "mara.rusu@hotel.it",
        "phone": "+393331987604", "instagram": "mara_r", "birth_date": date(1991, 11, 20),
        "city": "Torino", "address": "Via Nuova 17",
    }  # fmt: skip
    assert shared(ION, other) == ""
    assert shared(ION, other | {same: ION[same]}) == ""


def test_a_name_of_one_word_said_twice_is_one_word() -> None:
    """The pair of a word with itself is as frequent as the word."""
    assert blocking.NAME not in families(tokens(name="Pop Pop"))


def test_a_stored_form_is_a_family_and_a_keyed_hash() -> None:
    """The same for the same token and key; nothing else of the token is in it."""
    token = blocking.NAME + "n psc"
    assert _HASHER(token) == Hasher("key")(token)
    assert _HASHER(token) != Hasher("other")(token)
    assert _HASHER(token) != _HASHER(token + "u")
    assert _HASHER(token)[1:] != _HASHER(blocking.MAILBOX + token[1:])[1:]
    assert _HASHER(token)[0] == blocking.NAME
    assert len(_HASHER(token)) == 13


# --- stored ---


class _Keys:
    def fingerprint(self, tenant: str, purpose: str, value: str) -> str:
        return f"{tenant}/{purpose}/{value}"

    def indexes(self, tenant: str, purpose: str, value: str) -> tuple[str, ...]:
        return (self.fingerprint(tenant, purpose, value),)


def runtime(storage: MemoryStorage, tenant: str = "t") -> Runtime:
    return Runtime(storage, tenant, Settings(), lambda: _NOW, lambda: "id", _Keys(), Events())


def customer(**fields: Any) -> Customer:
    return Customer(tenant="t", id="1", created_at=_NOW, updated_at=_NOW, **fields)


def stored(rt: Runtime) -> set[str]:
    with rt.read() as uow:
        return {row.fingerprint for row in uow.find(MatchToken, customer_id="1")}


def expected(rt: Runtime, profile: Customer) -> set[str]:
    return blocking.hashes(rt, of_traits(of_customer(profile)))


def test_hashes_of_two_tenants_have_nothing_in_common() -> None:
    storage = MemoryStorage()
    one, other = runtime(storage), runtime(storage, "other")
    found = tokens(**ION)
    assert len(blocking.hashes(one, found)) == len(found)
    assert blocking.hashes(one, found).isdisjoint(blocking.hashes(other, found))


def test_a_change_of_a_profile_changes_its_stored_tokens() -> None:
    """What it no longer has goes, what is new comes; and nothing is left of a name that left."""
    rt = runtime(MemoryStorage())
    before, after = customer(**ION), customer(**ION | {"last_name": "Rus", "email": None})
    rt.write(lambda uow: blocking.index(uow, rt, before))
    assert stored(rt) == expected(rt, before)
    rt.write(lambda uow: blocking.reindex(uow, rt, before, after))
    assert stored(rt) == expected(rt, after) != expected(rt, before)


def test_tokens_that_an_older_version_left_are_no_obstacle_to_a_change() -> None:
    rt = runtime(MemoryStorage())
    before, after = customer(name="Ion Pop"), customer(name="Ion Rus")
    rt.write(lambda uow: blocking.index(uow, rt, after))
    rt.write(lambda uow: blocking.reindex(uow, rt, before, after))
    assert stored(rt) == expected(rt, after)


def test_repair_tells_whether_there_was_something_to_do() -> None:
    """Missing and left-over tokens alike; the second time there is nothing."""
    rt = runtime(MemoryStorage())
    was, is_now = customer(name="Ion Pop"), customer(name="Ana Rus")
    rt.write(lambda uow: blocking.index(uow, rt, was))
    assert rt.write(lambda uow: blocking.repair(uow, rt, is_now))
    assert stored(rt) == expected(rt, is_now)
    assert not rt.write(lambda uow: blocking.repair(uow, rt, is_now))
    assert rt.write(lambda uow: blocking.repair(uow, rt, customer()))
    assert stored(rt) == set()
