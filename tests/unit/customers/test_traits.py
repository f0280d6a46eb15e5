"""What of a profile is compared, whatever way it was written."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.customers import traits
from crmkit.customers.traits import Traits, of_fields, united, words
from crmkit.model import Customer

_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_empty_profile_says_nothing() -> None:
    assert of_fields({}) == Traits()
    assert of_fields(dict.fromkeys(traits.FIELDS)) == Traits()


def test_a_stored_profile_has_the_traits_of_its_fields_and_of_its_aliases() -> None:
    """The first value of each is the profile's own."""
    told: dict[str, Any] = {
        "name": "Ana Pop", "email": "ana@mail.com", "phone": "+40722123456", "city": "Roma",
        "instagram": "ana_p", "birth_date": date(1984, 3, 5), "user_id": "U1", "gender": "F",
    }  # fmt: skip
    also = {
        "name": ["Ana Rus"], "email": ["rus@mail.com"], "phone": ["+40733123456"],
        "city": ["Cluj"], "instagram": ["ana_r"], "birth_date": ["1985-03-05"], "user_id": ["U2"],
    }  # fmt: skip
    customer = Customer(tenant="t", id="1", created_at=_NOW, updated_at=_NOW, aliases=also, **told)
    assert traits.of_customer(customer) == Traits(
        names=(((), ("ana", "pop")), ((), ("ana", "rus"))),
        emails=("ana@mail.com", "rus@mail.com"),
        phones=("722123456", "733123456"),
        handles=("ana_p", "ana_r"),
        births=(date(1984, 3, 5), date(1985, 3, 5)),
        cities=("roma", "cluj"),
        details={"gender": ("f",)},
        accounts=("U1", "U2"),
    )


# --- names ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("Ștefan ĐORĐE", ("stefan", "djordje"), id="accents and case"),
        pytest.param("Александар Попов", ("aleksandar", "popov"), id="alphabets"),
        pytest.param("O'Brien-Smith", ("obrien", "smith"), id="apostrophes and hyphens"),
        pytest.param("Dr. Ana, Mme Pop jr", ("ana", "pop", "jr"), id="titles"),
        pytest.param("Juan de la Cruz", ("juan", "cruz"), id="particles"),
        pytest.param("Guest 70", ("guest", "70"), id="digits"),
        pytest.param("Dr", ("dr",), id="a title and nothing else"),
        pytest.param("De La", ("de", "la"), id="particles and nothing else"),
        pytest.param("Dr de", ("de",), id="a title and a particle"),
        pytest.param(" - ", (), id="nothing"),
    ],
)
def test_a_name_is_its_words(text: str, found: tuple[str, ...]) -> None:
    """Folded, without titles and particles, but never without any word at all."""
    assert words(text) == found


def test_a_long_name_is_cut() -> None:
    """What somebody pasted into the field costs no more than a name does."""
    assert words("q r s t u v w x") == ("q", "r", "s", "t", "u", "v")
    assert words("x" * 200) == ("x" * 40,)


def test_who_knows_which_of_two_words_is_the_surname() -> None:
    """A name in one piece is a given name only if it is one word."""
    assert traits.whole("Ana") == (("ana",), ())
    assert traits.whole("Ana Pop") == ((), ("ana", "pop"))
    assert traits.whole("") == ((), ())


def test_a_parted_name_goes_before_a_whole_one_and_that_before_a_nickname() -> None:
    everything = {"first_name": "Ana", "last_name": "Pop", "name": "X Y", "nickname": "Z"}
    assert of_fields(everything).names == ((("ana",), ("pop",)),)
    assert of_fields({"name": "X Y", "nickname": "Z"}).names == (((), ("x", "y")),)
    assert of_fields({"nickname": "Zet"}).names == ((("zet",), ()),)
    assert of_fields({"last_name": "Pop", "name": "X Y"}).names == (((), ("pop",)),)


@pytest.mark.parametrize(
    "own",
    [
        pytest.param({"email": "ana.pop@mail.com"}, id="in order"),
        pytest.param({"email": "pop_ana84@mail.com"}, id="the other way round"),
        pytest.param({"instagram": "ana.pop"}, id="a handle"),
    ],
)
def test_an_address_tells_a_surname_that_is_missing(own: dict[str, str]) -> None:
    assert of_fields({"name": "Ana", **own}).names == ((("ana",), ("pop",)),)


def test_a_joined_address_tells_a_surname_only_if_that_is_long_enough() -> None:
    """What remains beside the given name may be an ending of it."""
    assert of_fields({"name": "Ana", "email": "anapopescu@m.it"}).names[0][1] == ("popescu",)
    assert of_fields({"name": "Ana", "email": "anapop@m.it"}).names[0][1] == ()
    assert of_fields({"name": "Al", "email": "alpopescu@m.it"}).names[0][1] == ()


def test_an_address_spells_out_an_initial_beside_the_same_surname() -> None:
    fields = {"first_name": "A", "last_name": "Pop"}
    assert of_fields(fields | {"email": "ana.pop@m.it"}).names == ((("ana",), ("pop",)),)
    assert of_fields(fields | {"email": "pop.ana@m.it"}).names == ((("ana",), ("pop",)),)


@pytest.mark.parametrize(
    ("fields", "email"),
    [
        pytest.param({"first_name": "A", "last_name": "Pop"}, "ion.pop@m.it", id="initial"),
        pytest.param({"first_name": "A", "last_name": "Pop"}, "ana.rus@m.it", id="surname"),
        pytest.param({"first_name": "Ana", "last_name": "Pop"}, "ana.rus@m.it", id="full name"),
        pytest.param({"first_name": "Ana", "last_name": "Pop"}, "andra.pop@m.it", id="sister"),
        pytest.param({"name": "Ana"}, "ion.pop@m.it", id="given name"),
        pytest.param({"last_name": "Pop"}, "ana.pop@m.it", id="no given name"),
        pytest.param({"name": "Ana Maria"}, "ana.pop@m.it", id="two words"),
    ],
)
def test_the_address_of_a_relative_renames_nobody(fields: dict[str, str], email: str) -> None:
    assert of_fields(fields | {"email": email}).names == of_fields(fields).names


# --- contacts, places and the rest ---


def test_a_mailbox_is_one_however_it_is_labelled() -> None:
    """What follows a plus is the owner's label; at Gmail dots are nothing either."""
    assert traits.mailbox("Ana+news@Mail.it") == "ana@mail.it"
    assert traits.mailbox("Ana.Pop+x@GoogleMail.com") == "anapop@gmail.com"
    assert traits.mailbox("a.b@mail.it") == "a.b@mail.it"
    assert traits.mailbox("+x@mail.it") == "+x@mail.it"
    assert traits.mailbox(None) is None


@pytest.mark.parametrize("slip", ["gmial.com", "gmai.com", "gnail.com", "gmail.con", "gmaill.com"])
def test_a_slip_in_the_domain_of_a_large_provider_is_mended(slip: str) -> None:
    """With all that follows from the right domain: Gmail's dots."""
    assert traits.mended(f"ana.pop@{slip}") == "anapop@gmail.com"


@pytest.mark.parametrize("domain", ["gmail.com", "mail.com", "gmx.net", "firma.ro", "gm.co"])
def test_a_domain_that_is_right_or_unknown_stays(domain: str) -> None:
    assert traits.mended(f"ana@{domain}") == f"ana@{domain}"


def test_a_national_number_is_the_same_as_an_international_one() -> None:
    assert traits.dialled("0722 123 456") == traits.dialled("+40722123456") == "722123456"


@pytest.mark.parametrize("typed", [None, "", "123 45", "0000000", "+40 111 222 111", "1234567"])
def test_too_few_digits_and_fillers_are_no_number(typed: str | None) -> None:
    assert traits.dialled(typed) is None


def test_a_number_that_could_not_be_checked_is_compared_too() -> None:
    """Only the typed form is kept of it; a checked number goes before."""
    assert of_fields({"phone_typed": "722 123 456"}).phones == ("722123456",)
    both = {"phone": "+40722123456", "phone_typed": "0733 999 888"}
    assert of_fields(both).phones == ("722123456",)


def test_a_place_is_its_letters_and_digits() -> None:
    assert traits.place("Cluj-Napoca ") == traits.place("CLUJ NAPOCA") == "clujnapoca"
    assert traits.place("--") is None
    assert of_fields({"city": "--"}).cities == ()


def test_days_that_systems_fill_in_are_nobodys_birthday() -> None:
    for day in (date(1900, 1, 1), date(1970, 1, 1), date(2000, 1, 1)):
        assert of_fields({"birth_date": day}, {"birth_date": [day.isoformat()]}).births == ()
    assert of_fields({"birth_date": date(1970, 1, 2)}).births == (date(1970, 1, 2),)


@pytest.mark.parametrize(
    ("local", "years"),
    [
        ("ana84", ("84",)), ("ana1984", ("84",)), ("ana_84", ("84",)), ("ana2004", ("04",)),
        ("84ana", ()), ("ana123", ()), ("ana3084", ()), ("ana1", ()), ("ana", ()),
    ],
)  # fmt: skip
def test_the_year_that_an_address_ends_in(local: str, years: tuple[str, ...]) -> None:
    """Two digits, or four of a year in which somebody alive may be born."""
    assert of_fields({"email": f"{local}@mail.it"}).years == years
    assert of_fields({"instagram": local}).years == years


def test_details_are_folded_texts_by_name() -> None:
    """Those of the host by their group and key; lists and what is empty say nothing."""
    known = of_fields(
        {
            "gender": "F", "language": "", "anniversary": date(2010, 6, 1),
            "address": "Str. Žute  Kuće 5", "social_handles": {"tiktok": "@Ana"},
            "custom": {"card": "AB-1", "seat": 7, "tags": ["x"], "more": {"a": 1}, "none": None},
        }
    )  # fmt: skip
    assert known.details == {
        "gender": ("f",), "address": ("str zute kuce 5",), "anniversary": ("2010-06-01",),
        "social_handles.tiktok": ("ana",), "custom.card": ("ab 1",), "custom.seat": ("7",),
    }  # fmt: skip


# --- together ---


def test_what_two_know_is_known_together_as_often_as_it_was_given() -> None:
    a = of_fields({"name": "Ana Pop", "email": "a@m.it", "user_id": "U1", "gender": "F"})
    b = of_fields({"name": "Ana Pop", "phone": "+40722123456", "gender": "F", "language": "ro"})
    both = united(a, b)
    assert both.names == (((), ("ana", "pop")),) * 2
    assert (both.emails, both.phones, both.accounts) == (("a@m.it",), ("722123456",), ("U1",))
    assert both.details == {"gender": ("f", "f"), "language": ("ro",)}


_SOME = st.builds(
    Traits,
    emails=st.lists(st.sampled_from("abcdefghijklmnop"), max_size=8).map(tuple),
    details=st.dictionaries(
        st.sampled_from(["gender", "city"]), st.just(("x",)) | st.just(("y", "z")), max_size=2
    ),
)


@given(_SOME)
def test_nothing_beside_it_changes_no_profile(known: Traits) -> None:
    assert united(known, Traits()) == known == united(Traits(), known)


@given(st.lists(_SOME, min_size=2, max_size=30))
def test_a_profile_of_many_stays_small_and_forgets_what_came_last(many: list[Traits]) -> None:
    """However many join; each value that is told stays told while there is room."""
    whole = many[0]
    for known in many[1:]:
        whole = united(whole, known)
    told = list(dict.fromkeys(e for known in many for e in known.emails))
    assert len(whole.emails) <= 12
    assert list(dict.fromkeys(whole.emails)) == told[:12]
