"""What data about a known customer adds to the profile."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import Settings
from crmkit.customers.normalise import given
from crmkit.customers.records import filled
from crmkit.model import Customer
from crmkit.testing import FrozenClock

NOW = FrozenClock()()


def added(known: dict[str, Any], heard: dict[str, Any]) -> dict[str, Any]:
    settings = Settings(region="RO")
    fields = given(known, settings).fields
    customer = Customer(tenant="t", id="c", created_at=NOW, updated_at=NOW, **fields)
    return filled(customer, given(heard, settings).fields)


@pytest.mark.parametrize(
    ("field", "placeholder", "real", "stored"),
    [
        ("email", "no@email.com", "Ana@Mail.com", "Ana@mail.com"),
        ("phone", "0000000000", "0722 123 456", "+40722123456"),
        ("instagram", "n/a", "@Ana.Pop", "ana.pop"),
    ],
)
def test_a_contact_brings_its_typed_form(
    field: str, placeholder: str, real: str, stored: str
) -> None:
    """The one beside it is what was typed for it, not the placeholder of an earlier form."""
    assert added({field: placeholder}, {field: real}) == {field: stored, f"{field}_typed": real}
    assert added({"name": "Ana"}, {field: real}) == {field: stored, f"{field}_typed": real}


@pytest.mark.parametrize("heard", ["ANA@mail.com", "no@email.com"])
def test_a_contact_that_is_there_keeps_its_typed_form(heard: str) -> None:
    """Another way to type it, or a placeholder, adds nothing."""
    assert added({"email": "ana@mail.com"}, {"email": heard}) == {}


@pytest.mark.parametrize(
    ("first", "then", "alias"),
    [
        ({"email": "ana@mail.com"}, {"email": "other@mail.com"}, {"email": ["other@mail.com"]}),
        ({"phone": "0722123456"}, {"phone": "0744000000"}, {"phone": ["+40744000000"]}),
        ({"name": "Ana Pop"}, {"first_name": "Ana", "last_name": "Ionescu"},
         {"name": ["Ana Ionescu"]}),
        ({"birth_date": "1990-03-04"}, {"birth_date": "1990-04-03"},
         {"birth_date": ["1990-04-03"]}),
    ],
)  # fmt: skip
def test_what_differs_becomes_an_alias(
    first: dict[str, Any], then: dict[str, Any], alias: dict[str, Any]
) -> None:
    """The profile keeps what it had; nothing that a person gave is lost."""
    assert added(first, then)["aliases"] == alias
