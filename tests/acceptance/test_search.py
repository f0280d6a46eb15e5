"""A host at the door types a fragment, and sees who it may be."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import CRMService, InvalidInput
from crmkit.model import Customer, SearchToken
from crmkit.ports.storage import Storage

GUESTS: dict[str, dict[str, Any]] = {
    "ion": {
        "name": "Ion Popescu",
        "email": "dj.ion84@venue-nord.ro",
        "phone": "+40722123456",
        "instagram": "@cool.dude",
        "user_id": "U-17",
        "external_ids": {"pos": "8812"},
        "tags": ["Birthday regular"],
    },
    "ana": {"name": "Ana-Maria Ștefănescu", "email": "ana@mail.ro", "phone": "+40744555666"},
    "djordje": {"name": "Ђорђе Петровић", "phone": "+381649870015", "tags": ["vip"]},
    "vip": {"name": "Vipin Rao", "email": "rao@cool.example.org"},
    "marco": {"first_name": "Marco", "last_name": "D'Angelo", "nickname": "Marcolino"},
    "john": {"email": "john.smith@mail.ro", "phone": "+393471112223"},
}


@pytest.fixture
def guests(crm: CRMService) -> dict[str, Customer]:
    return {name: crm.find_or_create(data) for name, data in GUESTS.items()}


def found(crm: CRMService, guests: dict[str, Customer], text: str) -> list[str]:
    """The names in `GUESTS` of those whom a search finds."""
    names = {c.id: name for name, c in guests.items()}
    return [names[hit.customer.id] for hit in crm.customers.search(text)]


BY_FRAGMENT = [
    ("popes", "ion", "name"),
    ("POPESCU", "ion", "name"),
    ("ion pop", "ion", "name"),
    ("pop ion", "ion", "name"),
    ("p ion", "ion", "name"),
    ("popescy", "ion", "name"),
    ("poepscu", "ion", "name"),
    ("ioan popescu", "ion", "name"),
    ("ion popsecu", "ion", "name"),
    ("ștef", "ana", "name"),
    ("stefanesc", "ana", "name"),
    ("maria ana stefanescu", "ana", "name"),
    ("djordje", "djordje", "name"),
    ("Đorđe Petrović", "djordje", "name"),
    ("d'ang", "marco", "name"),
    ("dangelo", "marco", "name"),
    ("marcol", "marco", "name"),
    ("3456", "ion", "phone"),
    ("2212", "ion", "phone"),
    ("0722 123 456", "ion", "phone"),
    ("+40 722.123.456", "ion", "phone"),
    ("0040722123456", "ion", "phone"),
    ("ion 3456", "ion", "phone"),
    ("+40 722", "ion", "phone"),
    ("0040722", "ion", "phone"),
    ("+4072212345", "ion", "phone"),
    ("+40 (0)722 123 456", "ion", "phone"),
    ("popescu 0722 123 456", "ion", "phone"),
    ("popescu 0722-123", "ion", "name"),
    ("ion venue", "ion", "email"),
    ("popescu cool.dude", "ion", "instagram"),
    ("dj.ion", "ion", "email"),
    ("DJ.Ion84@venue-nord.ro", "ion", "email"),
    ("@venue-n", "ion", "email"),
    ("venue-nord.ro", "ion", "email"),
    ("@cool.d", "ion", "instagram"),
    ("cool.dude", "ion", "instagram"),
    ("birthday reg", "ion", "tag"),
    ("8812", "ion", "id"),
    ("u-17", "ion", "id"),
    ("smith", "john", "email"),
]


@pytest.mark.parametrize(("text", "who", "field"), BY_FRAGMENT)
def test_a_fragment_finds_the_guest(
    crm: CRMService, guests: dict[str, Customer], text: str, who: str, field: str
) -> None:
    first = crm.customers.search(text)[0]
    assert (first.customer, first.matched) == (guests[who], field)
    assert 0 < first.score <= 1


def test_all_who_are_as_near_are_found(crm: CRMService) -> None:
    """One letter away, by whichever letter."""
    for name in ("Marina Krstic", "Goran Krstev"):
        crm.find_or_create({"name": name})
    hits = crm.customers.search("krstec")
    assert {h.customer.full_name for h in hits} == {"Marina Krstic", "Goran Krstev"}


def test_a_nickname_behind_a_long_name(crm: CRMService) -> None:
    crm.find_or_create({"name": "Maria Elena Ana Ioana Popescu Ionescu", "nickname": "Mimi"})
    assert [h.customer.nickname for h in crm.customers.search("mimi")] == ["Mimi"]


def test_accents_of_an_address_tell_two_apart(crm: CRMService) -> None:
    crm.find_or_create({"name": "Jose", "email": "jose@venue-club.ro"})
    crm.find_or_create({"name": "José", "email": "josé@venue-club.ro"})
    assert [h.customer.name for h in crm.customers.search("josé@venue-club.ro")] == ["José"]


def test_an_id_finds_its_customer(crm: CRMService, guests: dict[str, Customer]) -> None:
    for guest in guests.values():
        (hit,) = crm.customers.search(guest.id)
        assert (hit.customer, hit.score, hit.matched) == (guest, 1.0, "id")


def test_a_second_address_finds_its_customer(crm: CRMService) -> None:
    """A linked e-mail is not in the profile; the whole of it is known all the same."""
    ion = crm.find_or_create({"name": "Ion", "email": "ion@venue-a.ro", "phone": "+40722123456"})
    crm.find_or_create({"email": "second@venue-b.ro", "phone": "+40722123456"})
    assert [h.customer.id for h in crm.customers.search("second@venue-b.ro")] == [ion.id]


def test_the_best_comes_first(crm: CRMService, guests: dict[str, Customer]) -> None:
    """A name before a tag; among equals the newest guest."""
    assert found(crm, guests, "vip") == ["vip", "djordje"]
    older = crm.find_or_create({"name": "Dan Marin"})
    newer = crm.find_or_create({"name": "Dan Marin"})
    crm.find_or_create({"name": "Daniel Marin"})
    assert [h.customer.id for h in crm.customers.search("dan marin")][:2] == [newer.id, older.id]
    assert len(crm.customers.search("dan marin", limit=1)) == 1


@pytest.mark.parametrize("text", ["", "  ", "a", "@", "@a", "1", "xyzzy", "ion xyzzy", "99999"])
def test_nobody_is_found(crm: CRMService, guests: dict[str, Customer], text: str) -> None:
    """One letter is too little, and every word must fit."""
    assert found(crm, guests, text) == []


def test_what_is_no_text_is_refused(crm: CRMService) -> None:
    for wrong in ("a" * 201, 7, None, "a\0b"):
        with pytest.raises(InvalidInput, match=r"^text"):
            crm.customers.search(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^limit"):
        crm.customers.search("ana", limit=0)


def test_a_search_follows_the_profile(crm: CRMService, guests: dict[str, Customer]) -> None:
    """What an update takes away finds nobody, what it or a later booking adds does."""
    crm.customers.update(guests["ion"].id, {"name": "Ion Vasile", "phone": "+40733000111"})
    assert found(crm, guests, "popescu") == []
    assert found(crm, guests, "3456") == []
    assert found(crm, guests, "vasile") == ["ion"]
    assert found(crm, guests, "0111") == ["ion"]
    assert found(crm, guests, "dj.ion") == ["ion"]
    crm.find_or_create({"email": "john.smith@mail.ro", "name": "Giovanni"})
    assert found(crm, guests, "giovanni") == ["john"]


def test_a_search_follows_the_tags(crm: CRMService, guests: dict[str, Customer]) -> None:
    """Tags that differ in case alone stand for each other until both are gone."""
    crm.customers.tag(guests["ana"].id, "Pescar", "pescar")
    assert found(crm, guests, "pescar") == ["ana"]
    crm.customers.untag(guests["ana"].id, "Pescar")
    assert found(crm, guests, "pescar") == ["ana"]
    crm.customers.untag(guests["ana"].id, "pescar")
    assert found(crm, guests, "pescar") == []


def test_no_other_tenants_guest_is_found(crm: CRMService, guests: dict[str, Customer]) -> None:
    other = crm.for_tenant("other")
    other.find_or_create({"name": "Ion Popescu"})
    (hit,) = other.customers.search("popescu")
    assert hit.customer.tenant == "other"
    assert found(crm, guests, "popescu") == ["ion"]


def test_an_erased_guest_is_gone(
    crm: CRMService, guests: dict[str, Customer], storage: Storage
) -> None:
    """With every token."""
    ion = guests["ion"].id
    with storage.read(crm.tenant) as uow:
        assert uow.count(SearchToken, customer_id=ion) > 10
    assert crm.gdpr.erase(ion).deleted["crm_search_tokens"] > 10
    with storage.read(crm.tenant) as uow:
        assert uow.count(SearchToken, customer_id=ion) == 0
    for text, who, _ in BY_FRAGMENT:
        assert who != "ion" or "ion" not in found(crm, guests, text)


def test_an_undone_change_leaves_no_token(crm: CRMService, guests: dict[str, Customer]) -> None:
    """Tokens are written in the transaction of the profile."""
    crm.find_or_create({"name": "Radu", "email": "radu@mail.ro"})
    with pytest.raises(ValueError, match="belongs to another customer"):
        crm.customers.update(guests["ion"].id, {"name": "Zoltan", "email": "radu@mail.ro"})
    assert found(crm, guests, "zoltan") == []
    assert found(crm, guests, "popescu") == ["ion"]


def test_reindex_mends_what_rows_were_lost(
    crm: CRMService, guests: dict[str, Customer], storage: Storage
) -> None:
    """A database whose profiles are older than the search, or whose tokens are out of date."""
    ion, ana = guests["ion"].id, guests["ana"].id
    storage.write(crm.tenant, lambda uow: uow.remove(SearchToken, customer_id=ion))
    stale = SearchToken(tenant=crm.tenant, customer_id=ana, fingerprint="stale")
    storage.write(crm.tenant, lambda uow: uow.add(stale))
    assert found(crm, guests, "popescu") == []
    done: list[int] = []
    assert crm.customers.reindex(progress=done.append) == 2
    assert done == list(range(1, len(guests) + 1))
    assert found(crm, guests, "popescu") == ["ion"]
    assert found(crm, guests, "birthday reg") == ["ion"]
    assert crm.customers.reindex() == 0


def by_like(crm: CRMService, text: str) -> list[str]:
    """The naive search: `LIKE '%…%'` over the columns of the profile."""
    sought = text.lower()
    return [
        c.id
        for c in crm.customers.list()
        if any(sought in (v or "").lower() for v in (c.full_name, c.email, c.phone, c.instagram))
    ]


@pytest.mark.parametrize(
    "text", ["pop ion", "popescy", "stefanescu", "djordje", "0722 123 456", "@cool.d", "vip"]
)
def test_like_does_not_find_what_hosts_type(
    crm: CRMService, guests: dict[str, Customer], text: str
) -> None:
    """Order, errors, accents, alphabets and prefixes of numbers: the reason for tokens."""
    like = set(by_like(crm, text))
    ours = set(found(crm, guests, text))
    assert ours - {name for name, guest in guests.items() if guest.id in like}


def test_a_hit_does_not_show_the_person(crm: CRMService, guests: dict[str, Customer]) -> None:
    assert guests
    assert "opescu" not in repr(crm.customers.search("popescu"))


@pytest.mark.parametrize("storage", ["memory", "sqlite"], indirect=True)
def test_a_page_of_namesakes_does_not_hide_the_rare(crm: CRMService) -> None:
    """More Marias than a search reads do not stand in the way of a surname, or of `Mari`."""
    rare = crm.find_or_create({"name": "Mari Lindqvist"})
    for n in range(520):
        crm.find_or_create({"name": f"Maria Marin{n:03}"})
    for text in ("maria", "mari", "mari lind", "lindq", "lindqvits", "l mari"):
        hits = crm.customers.search(text)
        assert hits
        assert text == "maria" or hits[0].customer.id == rare.id, text
