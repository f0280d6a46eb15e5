"""What stands after all that was said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from crmkit.gdpr.consent_state import revived, state
from crmkit.model import Consent

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)


def said(id: str, granted: bool, *, later: int = 0, channel: str = "email") -> Consent:
    return Consent(
        tenant="t",
        id=id,
        customer_id="c",
        purpose="marketing",
        channel=channel,
        granted=granted,
        event="given" if granted else "withdrawn",
        source="form",
        occurred_at=AT + timedelta(seconds=later),
        recorded_at=AT,
    )


@pytest.mark.parametrize(
    ("facts", "stands"),
    [
        ([said("1", True)], True),
        ([said("1", False)], False),
        ([said("1", False), said("2", True, later=1)], True),
        ([said("1", True), said("2", False, later=1)], False),
        ([said("1", False), said("2", True)], False),
        ([said("1", True), said("2", False)], False),
        ([said("1", True), said("2", False), said("3", True)], False),
        ([said("1", True), said("2", False), said("3", True, later=1)], True),
    ],
)
def test_the_latest_word_stands_and_at_one_instant_the_withdrawal(
    facts: list[Consent], stands: bool
) -> None:
    """In whichever order the facts were written."""
    for told in permutations(facts):
        assert state(told, AT).given("marketing", "email") == stands


def test_a_withdrawal_concerns_its_own_channel() -> None:
    found = state([said("1", True), said("2", False, channel="sms")], AT)
    assert found.given("marketing", "email")
    assert not found.given("marketing", "sms")


def test_without_a_word_nothing_is_consented() -> None:
    assert not state([], AT).given("marketing", "email")
    assert state([], AT).updated_at is None


@pytest.mark.parametrize(
    ("one", "other", "granted_again"),
    [
        ([(1, False)], [(2, True)], True),
        ([(2, True)], [(1, False)], True),
        ([(2, False)], [(1, True)], False),
        ([(1, False), (2, True)], [(3, True)], False),
        ([(1, True)], [], False),
    ],
)
def test_what_a_merge_would_grant_against_a_withdrawal(
    one: list[tuple[int, bool]], other: list[tuple[int, bool]], granted_again: bool
) -> None:
    """Where one side's last word is no, and the last word of both together yes."""
    sides = [
        [said(f"{day}", granted, later=day) for day, granted in words] for words in (one, other)
    ]
    assert bool(revived(*sides)) is granted_again
