from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.customers.contacts import (
    COUNTRIES,
    Contact,
    canonical_email,
    email,
    instagram,
    phone,
    region,
)
from crmkit.errors import InvalidInput

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def typed_only(contact: Contact | None) -> bool:
    return contact is not None and contact.stored is None and contact.identifier is None


class TestEmail:
    def test_forms(self) -> None:
        """Kept as typed, stored with a lower-case domain, compared canonically."""
        found = email("  Ana.Pop+vip@GMail.com ")
        assert found == Contact(
            "Ana.Pop+vip@GMail.com", "Ana.Pop+vip@gmail.com", "anapop@gmail.com"
        )

    def test_repr(self) -> None:
        """The address does not show."""
        assert repr(email("ana@mail.ro")) == "Contact()"

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("ANA@Mail.ro", "ana@mail.ro"),
            ("a.n.a@gmail.com", "ana+club@googlemail.com"),
            ("STRASSE@mail.de", "straße@mail.de"),
            ("jose\u0301@mail.es", "JOS\u00c9@mail.es"),
            ("c.\u0327a@gmail.com", "\u00e7a@gmail.com"),
        ],
    )
    def test_same_mailbox(self, one: str, other: str) -> None:
        """Case never counts; at Gmail neither dots nor what follows a plus."""
        assert canonical_email(one) == canonical_email(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a.na@mail.ro", "ana@mail.ro"),
            ("ana+x@mail.ro", "ana@mail.ro"),
            ("ana@gmail.ro", "ana@gmail.com"),
            ("+a@gmail.com", "+b@gmail.com"),
        ],
    )
    def test_other_mailbox(self, one: str, other: str) -> None:
        """Elsewhere dots and pluses may be other people's."""
        assert canonical_email(one) != canonical_email(other)

    @given(ANY_TEXT, st.sampled_from(["@gmail.com", "@mail.ro", "@É.com", ""]))
    def test_canonical_is_idempotent(self, local: str, domain: str) -> None:
        """The canonical form of a canonical form is itself."""
        once = canonical_email(local + domain)
        assert canonical_email(once) == once

    @pytest.mark.parametrize(
        "address", ["ana@example.com", "a@b.com", "user@test.com", "x@app.test"]
    )
    def test_developers_addresses(self, address: str) -> None:
        """What developers write in their tests names somebody: find-or-create works with it."""
        found = email(address)
        assert found is not None
        assert found.identifier == address

    @pytest.mark.parametrize(
        "placeholder",
        [
            "no@email.com", "none@none.com", "TEST@test.com", "noemail@anything.ro", "n/a", "N/A",
            "no-reply@gmail.com", "no.reply@hotel.it", "a@a.com", "nomail@nomail.com", "-", "none",
            "test@localhost", "asdf@asdf.com", "name@domain.com", "x@host.invalid",
        ],
    )  # fmt: skip
    def test_placeholder(self, placeholder: str) -> None:
        """What people type to get past the field is kept, but names nobody."""
        assert typed_only(email(placeholder))

    @pytest.mark.parametrize(
        "real",
        [
            "client@exemplu.com", "test@exemplu.com", "info@hotelbella.it", "me@anapop.ro",
            "no.one@gmail.com", "testa.rossa@gmail.com", "ana@examples.com", "nona@email.com",
        ],
    )  # fmt: skip
    def test_no_placeholder(self, real: str) -> None:
        """Addresses that only remind of placeholders are addresses."""
        found = email(real)
        assert found is not None
        assert found.identifier

    @pytest.mark.parametrize(
        "alike",
        ["\u0430na@mail.ro", "ana@\u0440\u0430ypal.com", "\uff41na@mail.ro", "\u03b1na@mail.ro"],
    )
    def test_look_alike(self, alike: str) -> None:
        """Mixed look-alike alphabets are kept as typed and name nobody."""
        assert typed_only(email(alike))

    @pytest.mark.parametrize("whole", ["иван@почта.com", "josé@mañana.es", "田中tanaka@mail.jp"])
    def test_other_scripts(self, whole: str) -> None:
        """Addresses in one alphabet, or in scripts that look like no other, are addresses."""
        found = email(whole)
        assert found is not None
        assert found.identifier

    @pytest.mark.parametrize(
        "bad",
        ["ana", "ana@", "@mail.ro", "ana b@mail.ro", "ana@mail", "a@b@c.ro", "ana@mail..ro",
         "Ana <ana@mail.ro>", '"ana b"@mail.ro', "ana@[1.2.3.4]", "ana@mail.ro, b@mail.ro"],
    )  # fmt: skip
    def test_malformed(self, bad: str) -> None:
        """What is no address is refused, without repeating it."""
        with pytest.raises(InvalidInput) as caught:
            email(bad)
        assert str(caught.value) == "email: expected an address such as ana@mail.com"

    def test_hides_the_validator(self) -> None:
        """The validator's own error, which may quote the address, is not shown."""
        with pytest.raises(InvalidInput) as caught:
            email("secret name@mail.ro")
        assert caught.value.__suppress_context__


class TestPhone:
    @pytest.mark.parametrize(
        ("typed", "country"),
        [
            ("+40722123456", None),
            ("0722 123 456", "RO"),
            ("0040722123456", "RO"),
            ("(+40) (0)722-123-456", "IT"),
            ("\uff10\uff17\uff12\uff12123456", "RO"),
            ("40722123456", "RO"),
        ],
    )
    def test_e164(self, typed: str, country: str | None) -> None:
        """National and international spellings of a number are one number."""
        assert phone(typed, country) == Contact(typed, "+40722123456", "+40722123456")

    def test_italian_zero(self) -> None:
        """The zero of an Italian land line belongs to the number."""
        found = phone("06 698 12345", "IT")
        assert found is not None
        assert found.stored == "+390669812345"

    def test_needs_region(self) -> None:
        """A national number without a region is refused with the advice to give one."""
        with pytest.raises(InvalidInput, match=r"give `country`, or set Settings\.region"):
            phone("0722123456", None)

    @pytest.mark.parametrize(
        "bad", ["12", "+40 722", "0722CALLME", "+4072212345678901", "+", "tel"]
    )
    def test_no_number(self, bad: str) -> None:
        """Too short, too long or with letters: refused, without repeating it."""
        with pytest.raises(InvalidInput) as caught:
            phone(bad, "RO")
        assert bad == "+" or bad not in str(caught.value)

    def test_possible_but_in_no_plan(self) -> None:
        """A number of the right length that no operator has is kept as typed only."""
        assert typed_only(phone("0690988337", "RO"))

    @pytest.mark.parametrize(
        "filler",
        ["0000000000", "999999999", "123456789", "1234567890", "0123456789", "9876543210", "0",
         "+390000000000", "000 000", "n/a", "-", "+40 111 111 111", "1" * 40],
    )  # fmt: skip
    def test_filler(self, filler: str) -> None:
        """One digit over and over, or counting, is kept as typed and is never an error."""
        assert typed_only(phone(filler, "RO"))
        assert typed_only(phone(filler, None))

    def test_bounded(self) -> None:
        """More than forty characters are refused before they are read."""
        with pytest.raises(InvalidInput, match="longer than 40"):
            phone("+40722123456" + " " * 29, "RO")

    def test_region(self) -> None:
        """The given country's format applies if it has one, else the settings'."""
        assert region(" it ", "RO") == "IT"
        assert [region(c, "RO") for c in (None, "Italy", "AQ", "", 7, "x" * 10**6)] == ["RO"] * 6

    def test_regions_have_plans(self) -> None:
        """Each country is one that the phone library knows, or has no phones of its own."""
        import phonenumbers

        assert {region(c, None) for c in COUNTRIES} - {None} == (
            phonenumbers.SUPPORTED_REGIONS & COUNTRIES
        )


class TestInstagram:
    @pytest.mark.parametrize(
        "typed",
        ["Ana.Pop_1", "@ana.pop_1", "https://instagram.com/ana.pop_1", "instagram.com/Ana.Pop_1/",
         "https://www.instagram.com/ana.pop_1/?igsh=abc==", "HTTP://m.instagram.com/@ana.pop_1#x"],
    )  # fmt: skip
    def test_handle(self, typed: str) -> None:
        """A handle and the addresses of its profile are one handle."""
        assert instagram(typed) == Contact(typed, "ana.pop_1", "ana.pop_1")

    @pytest.mark.parametrize(
        "bad",
        ["ana pop", "ana-pop", "a" * 31, "@", "https://facebook.com/ana", "instagram.com",
         "https://instagram.com/p/abc123/", "instagram.com/explore", "ană", "....", "@@ana"],
    )  # fmt: skip
    def test_no_handle(self, bad: str) -> None:
        """Posts, other sites and other characters are refused."""
        with pytest.raises(InvalidInput, match="instagram: expected a handle"):
            instagram(bad)

    @pytest.mark.parametrize("nothing", ["none", "@none", "N/A", "-"])
    def test_placeholder(self, nothing: str) -> None:
        """A way to say "none" is no handle."""
        assert typed_only(instagram(nothing))


READERS: dict[str, Callable[[object], Contact | None]] = {
    "email": email,
    "phone": lambda value: phone(value, "RO"),
    "instagram": instagram,
}


@pytest.mark.parametrize("reader", READERS)
class TestAll:
    def test_empty(self, reader: str) -> None:
        """Nothing typed is nothing."""
        assert READERS[reader](" ") is None

    @pytest.mark.parametrize(
        "hostile",
        ["x" * 10**6, "@" * 320, "a\u0301" * 160, "0" * 10**6, "+" * 40, "\ud800", "a\0b",
         "a@" + "xn--a." * 50, "'" * 300, "a@" + "é" * 300, "\u202e" * 40, "👩‍👩‍👧" * 8],
    )  # fmt: skip
    def test_hostile(self, reader: str, hostile: str) -> None:
        """Hostile text is read, or refused with InvalidInput."""
        with contextlib.suppress(InvalidInput):
            READERS[reader](hostile)

    @given(value=ANY_TEXT | st.text("0123456789+-() /.", max_size=40) | st.emails())
    def test_idempotent(self, reader: str, value: str) -> None:
        """The stored form reads as itself, and no error but InvalidInput is raised."""
        try:
            found = READERS[reader](value)
        except InvalidInput:
            return
        if found is not None and found.stored is not None:
            again = READERS[reader](found.stored)
            assert again is not None
            assert (again.stored, again.identifier) == (found.stored, found.identifier)
