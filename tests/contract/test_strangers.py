"""People who look alike, and whose points must not meet."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import CRMService, Settings
from crmkit.ports.storage import Storage

PHONE = "+40722123456"


@pytest.fixture
def crm(storage: Storage) -> CRMService:
    return CRMService(storage, settings=Settings(region="RO"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SC Alfa SRL", "SC Beta SRL"),
        ("Hotel Ibis Cluj", "Hotel Ibis Timisoara"),
        ("Nguyen Thi Hoa", "Nguyen Thi Lan"),
        ("Maria Ana Pop", "Maria Elena Pop"),
        ("Ion Pop Sr", "Ion Pop Jr"),
        ("Wang Wei", "Wang Fei"),
        ("Carlo Conti", "Carla Conti"),
        ("Guest 1", "Guest 2"),
    ],
)
@pytest.mark.parametrize("shared", [{"phone": PHONE}, {"email": "family@mail.ro"}])
def test_two_on_one_contact_stay_two(
    crm: CRMService, one: str, other: str, shared: dict[str, Any]
) -> None:
    first = crm.find_or_create({"name": one} | shared).id
    second = crm.find_or_create({"name": other} | shared).id
    assert first != second
    assert crm.find_or_create({"name": one} | shared).id == first
    assert crm.find_or_create({"name": other} | shared).id == second


def test_a_short_form_does_not_bring_husband_and_wife_together(crm: CRMService) -> None:
    """Gabi may be Gabriela, but not where he is Gabriel."""
    his: dict[str, Any] = {"name": "Gabriel Pop", "email": "gabriel@mail.ro", "phone": PHONE}
    hers: dict[str, Any] = {"name": "Gabriela Pop", "email": "gabriela@mail.ro", "phone": PHONE}
    husband, wife = crm.find_or_create(his).id, crm.find_or_create(hers).id
    crm.find_or_create({"name": "Gabi Pop", "email": "gabriel@mail.ro"})
    crm.find_or_create({"name": "Gabi Pop", "phone": PHONE, "city": "Cluj"})
    assert crm.customers.get(wife).id == wife != husband == crm.customers.get(husband).id


def test_namesakes_of_one_agency_are_not_merged(crm: CRMService) -> None:
    """Its number tells nothing, be it the only thing that the two have in common."""
    for name in ("Ana Pop", "Mihai Ionescu", "Radu Georgescu", "Elena Dumitru"):
        crm.find_or_create({"name": name, "phone": PHONE})
    people = [
        crm.find_or_create({"name": "Maria Popescu", "email": email, "city": city}).id
        for email, city in (("abcdef@mail.ro", "Cluj"), ("zzqqww@post.ro", "Iasi"))
    ]
    for email in ("abcdef@mail.ro", "zzqqww@post.ro"):
        crm.find_or_create({"name": "Maria Popescu", "email": email, "phone": PHONE})
    assert [crm.customers.get(c).id for c in people] == people


def test_father_and_son_whose_addresses_differ_are_not_merged_unasked(crm: CRMService) -> None:
    """One name and one phone are not enough where something differs."""
    father = crm.find_or_create({"name": "Ion Popescu", "email": "ion1955@mail.ro"}).id
    son = crm.find_or_create({"name": "Ion Popescu", "email": "ionut1985@post.ro"}).id
    for email in ("ion1955@mail.ro", "ionut1985@post.ro"):
        crm.find_or_create({"name": "Ion Popescu", "email": email, "phone": PHONE})
    assert crm.customers.get(father).id == father != son == crm.customers.get(son).id


def test_a_mailbox_that_is_anothers_too_is_linked_later_as_well(crm: CRMService) -> None:
    """Whichever order the bookings come in, nobody's address is lost."""
    crm.find_or_create({"name": "Ana Pop", "email": "family@mail.ro"})
    ion = crm.find_or_create({"name": "Ion Pop", "phone": PHONE}).id
    assert (
        crm.find_or_create({"name": "Ion Pop", "phone": PHONE, "email": "family@mail.ro"}).id == ion
    )
    assert crm.customers.get(ion).email == "family@mail.ro"
    assert crm.find_or_create({"name": "Ion Pop", "email": "family@mail.ro"}).id == ion


def test_who_is_on_a_crowded_contact_is_found_by_the_same_words(crm: CRMService) -> None:
    """A whole name that is equal leads to its customer; nobody is made anew each time."""
    names = ("Ana Pop", "Mihai Ionescu", "Radu Georgescu", "Elena Dumitru")
    first = [crm.find_or_create({"name": n, "email": "desk@agency.ro"}).id for n in names]
    assert [crm.find_or_create({"name": n, "email": "desk@agency.ro"}).id for n in names] == first
