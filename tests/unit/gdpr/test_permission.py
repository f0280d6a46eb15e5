"""Which reason is told where several speak against it, or for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest

from crmkit.gdpr.addresses import Address
from crmkit.gdpr.permission import REASONS, Known, Permission, Question, decided
from crmkit.model import Consent, Customer, Objection, Restriction, Suppression
from crmkit.model.catalogue import evolved

AT = datetime(2026, 1, 15, 23, 30, tzinfo=UTC)
DAY = timedelta(days=1)
MAIN = Address("ana@mail.com", "key")
ASKED = Question(
    channel="email", purpose="marketing", purpose_key="p", at=None, now=AT, zone=UTC
)  # fmt: skip


def word(event: str, granted: bool | None = None, *, day: int = 1, **also: Any) -> Consent:
    told: dict[str, Any] = {"basis": "consent", "purpose": "marketing", "channel": "email"} | also
    return Consent(
        tenant="t", id=f"{event}{day}", customer_id="c", source="form", event=event,
        granted=granted, occurred_at=AT - (10 - day) * DAY, recorded_at=AT, **told,
    )  # fmt: skip


KNOWN = Known(
    customer=Customer(tenant="t", id="c", created_at=AT, updated_at=AT),
    addresses=[MAIN],
    consents=[word("given", True)],
)
RESTRICTED = Restriction(
    tenant="t", id="r", customer_id="c", reason="x", occurred_at=AT, recorded_at=AT
)
OBJECTED = Objection(
    tenant="t", id="o", customer_id="c", purpose="marketing", channel="email", source="x",
    occurred_at=AT, recorded_at=AT,
)  # fmt: skip
SUPPRESSED = Suppression(
    tenant="t", id="s", address_key="key", channel="email", kind="bounced", occurred_at=AT,
    recorded_at=AT,
)  # fmt: skip
REFUSED: list[dict[str, Any]] = [
    {"restrictions": [RESTRICTED]},
    {"objections": [OBJECTED]},
    {"suppressions": [SUPPRESSED]},
    {"consents": [word("withdrawn", False)]},
]
NAMES = ["restricted", "objected", "suppressed", "withdrawn"]


def asked(**changes: Any) -> Permission:
    return decided(ASKED, "c", attrs.evolve(KNOWN, **changes))


def test_the_graver_reason_is_told() -> None:
    """Each with all that come after it."""
    for n, reason in enumerate(NAMES):
        together = {name: rows for said in REFUSED[n:] for name, rows in said.items()}
        assert asked(**together).reason == reason
        assert asked(**REFUSED[n]).reason == reason


def test_every_reason_has_its_sentence() -> None:
    """With the day where one is meant, and no place left open."""
    assert "{" not in asked().sentence
    assert all(asked(**said).sentence == REASONS[r].format(day="2026-01-15")
               for said, r in zip(REFUSED[:3], NAMES, strict=False))  # fmt: skip


def test_what_ended_speaks_no_more() -> None:
    assert asked(restrictions=[evolved(RESTRICTED, lifted_at=AT)])
    assert asked(objections=[evolved(OBJECTED, ended_at=AT)])
    assert asked(suppressions=[evolved(SUPPRESSED, ended_at=AT)])


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"objections": [evolved(OBJECTED, channel="sms")]}, True),
        ({"objections": [evolved(OBJECTED, purpose="reminders")]}, True),
        ({"suppressions": [evolved(SUPPRESSED, address_key="other")]}, True),
        ({"suppressions": [evolved(SUPPRESSED, channel="sms")]}, True),
        ({"suppressions": [evolved(SUPPRESSED, purpose_key="other")]}, True),
        ({"suppressions": [evolved(SUPPRESSED, purpose_key="p")]}, False),
        ({"consents": [word("given", True, purpose="reminders")]}, False),
        ({"consents": [word("given", True, channel="sms")]}, False),
        ({"consents": [word("given", True, address_key="other")]}, False),
        ({"consents": [word("given", True, expires_at=AT)]}, False),
        ({"consents": [word("given", True, expires_at=AT + DAY)]}, True),
        ({"consents": [word("requested")]}, False),
        ({"addresses": []}, False),
    ],
)
def test_what_is_about_something_else_does_not_count(
    changes: dict[str, Any], allowed: bool
) -> None:
    assert bool(asked(**changes)) is allowed


def test_a_consent_that_ran_out_leaves_another_basis() -> None:
    """The host's claim stands until it runs out too, or the person says no."""
    ended = word("given", True, expires_at=AT)
    claim = word("claimed", basis="soft_opt_in", day=0)
    assert asked(consents=[ended, claim]).basis == "soft_opt_in"
    assert asked(consents=[ended, evolved(claim, expires_at=AT)]).reason == "expired"
    assert asked(consents=[claim, word("withdrawn", False, day=2)]).reason == "withdrawn"


def test_days_are_those_of_the_tenant() -> None:
    there = attrs.evolve(ASKED, zone=ZoneInfo("Europe/Bucharest"))
    told = decided(there, "c", attrs.evolve(KNOWN, restrictions=[RESTRICTED]))
    assert told.sentence.endswith("2026-01-16")
