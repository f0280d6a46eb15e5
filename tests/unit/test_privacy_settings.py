"""What a host states about personal data is checked when it is stated."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import attrs
import pytest

from crmkit import InvalidInput, PrivacyNotice, Purpose, Settings


def test_nothing_is_stated_by_default() -> None:
    """So that an export can tell what is missing from what there is none of."""
    stated = attrs.asdict(PrivacyNotice())
    assert stated.pop("forget_contacts_days") == 365
    assert set(stated.values()) == {None}
    assert Settings().privacy == PrivacyNotice()


def test_lists_become_tuples() -> None:
    notice = PrivacyNotice(recipients=["a"], transfers=[], purposes=[Purpose(name="b", tables=[])])
    assert (notice.recipients, notice.transfers) == (("a",), ())
    assert notice.purposes == (Purpose(name="b"),)


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        ({"controller": " "}, "privacy.controller"),
        ({"dpo": 5}, "privacy.dpo"),
        ({"contact": "x" * 2_001}, "privacy.contact"),
        ({"recipients": "the mailer"}, "privacy"),
        ({"recipients": ["the mailer", ""]}, "privacy.recipients"),
        ({"transfers": [None]}, "privacy.transfers"),
        ({"purposes": ["newsletters"]}, "privacy.purposes"),
        ({"purposes": 5}, "privacy.purposes"),
        ({"forget_contacts_days": -1}, "privacy.forget_contacts_days"),
        ({"forget_contacts_days": True}, "privacy.forget_contacts_days"),
        ({"forget_contacts_days": 3_651}, "privacy.forget_contacts_days"),
    ],
)
def test_a_notice_that_cannot_be(stated: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PrivacyNotice(**stated)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "stated", [{"name": ""}, {"name": "x", "tables": "crm_notes"}, {"name": "x", "retention": 3}]
)
def test_a_purpose_that_cannot_be(stated: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Purpose(**stated)


def test_holidays_are_days_in_order() -> None:
    """Dates or text, each once."""
    given: list[date | str] = ["2026-12-26", date(2026, 12, 25), "2026-12-25"]
    assert Settings(holidays=given).holidays == (date(2026, 12, 25), date(2026, 12, 26))


@pytest.mark.parametrize(
    "wrong", ["2026-12-25", ["Christmas"], ["2026-02-30"], [datetime(2026, 1, 1)], [5], 7, {}]
)
def test_holidays_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        Settings(holidays=wrong)
    assert refused.value.field == "holidays"
