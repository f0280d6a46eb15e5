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


@pytest.mark.parametrize("heard", ["ANA@mail.com", "other@mail.com", "no@email.com"])
def test_a_contact_that_is_there_keeps_its_typed_form(heard: str) -> None:
    assert added({"email": "ana@mail.com"}, {"email": heard}) == {}
