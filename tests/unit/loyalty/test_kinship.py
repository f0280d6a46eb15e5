"""Contacts and households of two customers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crmkit.loyalty.kinship import household, reached
from crmkit.model import Customer

AT = datetime(2026, 1, 1, tzinfo=UTC)


def customer(**fields: Any) -> Customer:
    return Customer(tenant="t", id="c", created_at=AT, updated_at=AT, **fields)


def test_contacts_are_compared_in_their_canonical_form() -> None:
    one = customer(email="Ana.Pop+x@googlemail.com", phone="+40722123456", instagram="ana")
    assert reached(one) == {
        ("email", "anapop@gmail.com"),
        ("phone", "+40722123456"),
        ("instagram", "ana"),
    }


def test_further_and_former_contacts_count() -> None:
    one = customer(email="new@mail.com", aliases={"email": ["Also@mail.com"], "phone": ["+401"]})
    told: list[dict[str, Any]] = [
        {"email": "Old@mail.com", "city": "Roma"},
        {"email": None, "phone": "+402"},
    ]
    assert reached(one, told) == {
        ("email", "new@mail.com"),
        ("email", "also@mail.com"),
        ("email", "old@mail.com"),
        ("phone", "+401"),
        ("phone", "+402"),
    }


def test_changes_of_aliases_count() -> None:
    assert reached(customer(), [{"aliases": {"email": ["a@mail.com"]}}]) == {
        ("email", "a@mail.com")
    }


def test_nothing_is_no_contact() -> None:
    assert reached(customer(name="Ana", email_typed="-"), [{"phone": None}]) == set()


HOME = {"address": "Str. Lunga 5", "postal_code": "500123", "city": "Brașov"}


@pytest.mark.parametrize(
    ("one", "other", "flags"),
    [
        (HOME, HOME, ("same_address",)),
        (HOME, {**HOME, "postal_code": None}, ("same_address",)),
        (HOME, {**HOME, "city": None}, ("same_address",)),
        (HOME, {"address": HOME["address"]}, ()),
        (HOME, {**HOME, "city": "Cluj", "postal_code": "400000"}, ()),
        (HOME, {**HOME, "address": "Str. Lunga 7"}, ()),
        (
            {"last_name": "Pop", "city": "Brașov"},
            {"name": "Ion Pop", "city": "brasov"},
            ("same_family",),
        ),
        ({"name": "Ana Pop", "city": "Roma"}, {"name": "Ana Ion", "city": "Roma"}, ()),
        ({"name": "Ana Pop", "city": "Roma"}, {"name": "Ion Pop", "city": "Milano"}, ()),
        ({"name": "Ana Pop"}, {"name": "Ion Pop"}, ()),
        ({"name": "Ana", "city": "Roma"}, {"name": "Ana", "city": "Roma"}, ()),
        (
            {"first_name": "Ana", "last_name": "Pop Ion", **HOME},
            {"first_name": "Dan", "last_name": "Pop Ion", **HOME},
            ("same_address", "same_family"),
        ),
    ],
)
def test_what_speaks_for_one_household(
    one: dict[str, Any], other: dict[str, Any], flags: tuple[str, ...]
) -> None:
    assert household(customer(**one), customer(**other)) == flags
    assert household(customer(**other), customer(**one)) == flags
