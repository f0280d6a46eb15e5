"""Identifiers follow the profile: what an update takes away leads to nobody; on every storage."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import AlreadyTaken, CRMService
from crmkit.ports.storage import Storage
from tests.populate import rows

KNOWN: dict[str, Any] = {
    "name": "Ana",
    "user_id": "17",
    "external_ids": {"pos": "88", "till": "5"},
    "email": "ana@mail.com",
    "phone": "+40722123456",
    "instagram": "ana.pop",
}


def whose(crm: CRMService, **identifier: Any) -> str:
    """The id of the customer that an identifier leads to, or an empty one."""
    return crm.identity.resolve(identifier, dry_run=True).customer.id


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"external_ids": {"pos": None}}, {"external_ids": {"pos": "88"}}),
        ({"external_ids": {"pos": "89"}}, {"external_ids": {"pos": "88"}}),
        ({"external_ids": None}, {"external_ids": {"till": "5"}}),
        ({"user_id": None}, {"user_id": "17"}),
        ({"user_id": "18"}, {"user_id": "17"}),
        ({"email": None}, {"email": "ana@mail.com"}),
        ({"email": "new@mail.com"}, {"email": "ana@mail.com"}),
        ({"email": "no@email.com"}, {"email": "ana@mail.com"}),
        ({"phone": None}, {"phone": "+40722123456"}),
        ({"phone": "0000000000"}, {"phone": "+40722123456"}),
        ({"instagram": "new.handle"}, {"instagram": "ana.pop"}),
    ],
)
def test_what_was_taken_away_is_free(
    crm: CRMService, change: dict[str, Any], gone: dict[str, Any]
) -> None:
    """It no longer finds the customer, and another may have it."""
    ana = crm.find_or_create(KNOWN).id
    crm.customers.update(ana, change)
    assert whose(crm, **gone) == ""
    bob = crm.find_or_create({"name": "Bob"}).id
    crm.customers.update(bob, gone)
    assert whose(crm, **gone) == bob


@pytest.mark.parametrize(
    ("change", "second", "first"),
    [
        ({"email": "new@mail.com"}, {"email": "second@mail.com"}, {"email": "ana@mail.com"}),
        ({"phone": "+40733000000"}, {"phone": "+40744000000"}, {"phone": "+40722123456"}),
    ],
)
def test_a_second_one_goes_with_the_first(
    crm: CRMService, change: dict[str, Any], second: dict[str, Any], first: dict[str, Any]
) -> None:
    """An address that a later booking added is not left behind by the one that replaces it."""
    ana = crm.find_or_create(KNOWN).id
    assert crm.find_or_create({"user_id": "17", **second}).id == ana
    assert whose(crm, **second) == ana
    crm.customers.update(ana, change)
    assert (whose(crm, **first), whose(crm, **second), whose(crm, **change)) == ("", "", ana)


def test_what_did_not_change_still_leads_to_its_customer(crm: CRMService) -> None:
    """A second number too, and the other external ids."""
    ana = crm.find_or_create(KNOWN).id
    crm.find_or_create({"user_id": "17", "phone": "+40744000000"})
    crm.customers.update(
        ana, {"email": "new@mail.com", "external_ids": {"pos": None}, "phone": "+40722123456"}
    )
    for identifier in (
        {"user_id": "17"},
        {"external_ids": {"till": "5"}},
        {"email": "new@mail.com"},
        {"phone": "+40722123456"},
        {"phone": "+40744000000"},
        {"instagram": "ana.pop"},
    ):
        assert whose(crm, **identifier) == ana


@pytest.mark.parametrize(
    ("taken", "field"),
    [
        ({"user_id": "20"}, "user_id"),
        ({"external_ids": {"pos": "90"}}, "external_ids"),
        ({"email": "bob@mail.com"}, "email"),
    ],
)
def test_what_belongs_to_another_is_refused(
    crm: CRMService, storage: Storage, taken: dict[str, Any], field: str
) -> None:
    """Nothing of the update is done, and everybody keeps what they have."""
    ana = crm.find_or_create(KNOWN).id
    crm.find_or_create({"user_id": "20", "external_ids": {"pos": "90"}, "email": "bob@mail.com"})
    before = rows(storage, crm.tenant)
    with pytest.raises(AlreadyTaken) as caught:
        crm.customers.update(ana, {"city": "Roma", "phone": None, "instagram": "x.y", **taken})
    assert caught.value.field == field
    assert rows(storage, crm.tenant) == before


def test_a_national_number_is_read_where_the_customer_lives(crm: CRMService) -> None:
    """In the country of the profile as it is now, or of the same update, or of the tenant."""
    ana = crm.find_or_create({"name": "Ana", "country": "RO"}).id
    assert crm.customers.update(ana, {"phone": "0722 123 456"}).phone == "+40722123456"
    crm.customers.update(ana, {"country": "FR"})
    assert crm.customers.update(ana, {"phone": "06 12 34 56 78"}).phone == "+33612345678"
    moved = crm.customers.update(ana, {"phone": "0722 123 456", "country": "RO"})
    assert (moved.phone, moved.country) == ("+40722123456", "RO")
    home = crm.customers.update(ana, {"phone": "347 123 4567", "country": None})
    assert (home.phone, home.country) == ("+393471234567", None)
    assert whose(crm, phone="+393471234567") == ana
