"""With `key=` calling twice is calling once, and `at` is part of what was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crmkit import CRMService, IdempotencyConflict
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from tests.populate import rows

Call = Callable[..., Any]

CALLS: dict[str, Call] = {
    "find_or_create": lambda crm, _, **how: crm.find_or_create({"email": "new@mail.com"}, **how),
    "track": lambda crm, c, **how: crm.track_activity(c, "visit", **how),
    "update": lambda crm, c, **how: crm.customers.update(c, {"city": "Roma"}, **how),
    "add_note": lambda crm, c, **how: crm.customers.add_note(c, "Likes the patio", **how),
    "update_points": lambda crm, c, **how: crm.loyalty.update_points(c, 5, reason="gift", **how),
    "give": lambda crm, c, **how: crm.gdpr.consents.give(c, "email", source="form", **how),
    "withdraw": lambda crm, c, **how: crm.gdpr.consents.withdraw(c, "email", **how),
}

NOON, SAME, LATER = "2026-01-10T12:00:00Z", "2026-01-10T13:00:00+01:00", "2026-01-10T12:00:01Z"

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


@pytest.fixture
def ana(crm: CRMService) -> str:
    return crm.find_or_create({"email": "ana@mail.com"}).id


@every_call
@pytest.mark.parametrize(("first", "again"), [(NOON, NOON), (NOON, SAME), (None, None)])
def test_the_same_moment_is_the_same_call(
    crm: CRMService,
    ana: str,
    clock: FrozenClock,
    storage: Storage,
    call: Call,
    first: str | None,
    again: str | None,
) -> None:
    """However it is written; left to the clock, it may come at any time."""
    result = call(crm, ana, at=first, key="k")
    before = rows(storage, crm.tenant)
    clock.advance(days=1)
    assert call(crm, ana, at=again, key="k") == result
    assert rows(storage, crm.tenant) == before


@every_call
@pytest.mark.parametrize(("first", "again"), [(NOON, LATER), (NOON, None), (None, NOON)])
def test_another_moment_is_another_call(
    crm: CRMService,
    ana: str,
    storage: Storage,
    call: Call,
    first: str | None,
    again: str | None,
) -> None:
    """Under a used key it is a conflict, and nothing is written."""
    call(crm, ana, at=first, key="k")
    before = rows(storage, crm.tenant)
    with pytest.raises(IdempotencyConflict):
        call(crm, ana, at=again, key="k")
    assert rows(storage, crm.tenant) == before


def test_an_update_is_the_same_wherever_the_customer_lives_by_now(
    crm: CRMService, ana: str
) -> None:
    """The number with its prefix is what was asked; the country was not."""
    crm.customers.update(ana, {"phone": "+40722123456"}, key="k")
    crm.customers.update(ana, {"country": "FR"})
    again = crm.customers.update(ana, {"phone": "+40722123456"}, key="k")
    assert (again.phone, again.country) == ("+40722123456", "FR")


def test_a_national_number_is_the_same_wherever_the_customer_lives_by_now(
    crm: CRMService, ana: str
) -> None:
    """Retried after a move, the call stands for what it did the first time."""
    crm.customers.update(ana, {"phone": "347 123 4567"}, key="k")
    crm.customers.update(ana, {"country": "FR"})
    assert crm.customers.update(ana, {"phone": "347 123 4567"}, key="k").phone == "+393471234567"
