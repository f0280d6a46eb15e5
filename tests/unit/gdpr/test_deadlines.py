"""By when the law wants an answer: known dates, and what the laws do not know."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from crmkit import InvalidInput
from crmkit.gdpr.deadlines import CLOCKS, Term, clock

MONTH = Term(1, "months")
BUCHAREST = ZoneInfo("Europe/Bucharest")


@pytest.mark.parametrize(
    ("received", "last"),
    [
        ("2025-03-05", "2025-04-07"),  # 5 April is a Saturday
        ("2024-08-31", "2024-09-30"),  # no 31 September; a Monday
        ("2024-01-31", "2024-02-29"),
        ("2023-01-31", "2023-02-28"),
        ("2026-11-21", "2026-12-21"),
        ("2025-11-25", "2025-12-29"),  # Christmas, the day after, a weekend
    ],
)
def test_a_month_ends_on_the_same_date_or_the_next_working_day(received: str, last: str) -> None:
    """Regulation 1182/71: the date of the next month, or its last day, moved to a working day."""
    christmas = {date(2025, 12, 25), date(2025, 12, 26)}
    found = MONTH.last_day(date.fromisoformat(received), christmas)
    assert found.isoformat() == last


def test_two_further_months_count_from_the_receipt() -> None:
    """Three months in all, not a month that was moved to a Monday and two after it."""
    extended = clock("gdpr", "access").extended
    assert extended is not None
    assert extended.last_day(date(2025, 3, 5), ()) == date(2025, 6, 5)


def test_the_term_ends_with_the_last_hour_where_the_business_is() -> None:
    """Received late in the evening UTC it is the next day in Bucharest, and ends at midnight."""
    end = MONTH.end(datetime.fromisoformat("2026-02-26T22:30:00+00:00"), BUCHAREST, ())
    assert end.isoformat() == "2026-03-27T22:00:00+00:00"


def test_the_last_day_may_be_23_hours_long() -> None:
    """Where clocks go forward on the last day, it ends an hour earlier by UTC."""
    end = Term(45, "days").end(datetime.fromisoformat("2026-02-12T10:00:00+00:00"), BUCHAREST, ())
    assert end.isoformat() == "2026-03-29T21:00:00+00:00"


def test_business_days_leave_out_weekends_holidays_and_the_day_itself() -> None:
    """Ten business days from a Friday with a holiday after it."""
    assert Term(10, "business days").last_day(date(2025, 11, 21), {date(2025, 11, 27)}) == date(
        2025, 12, 8
    )


def test_calendar_days_are_not_moved() -> None:
    """The CCPA's 45 days may end on a Sunday; later would be a risk."""
    assert Term(45, "days").last_day(date(2025, 10, 1), ()) == date(2025, 11, 15)


@pytest.mark.parametrize(
    ("law", "kind", "answer", "extended", "confirm"),
    [
        ("gdpr", "access", Term(1, "months"), Term(3, "months"), None),
        ("gdpr", "consent_withdrawal", Term(1, "months"), Term(3, "months"), None),
        ("ccpa", "erasure", Term(45, "days"), Term(90, "days"), Term(10, "business days")),
        ("ccpa", "opt_out", Term(15, "business days"), None, None),
        ("can_spam", "opt_out", Term(10, "business days"), None, None),
        ("tcpa", "consent_withdrawal", Term(10, "business days"), None, None),
    ],
)
def test_each_law_has_its_own_clock(
    law: str, kind: str, answer: Term, extended: Term | None, confirm: Term | None
) -> None:
    found = clock(law, kind)
    assert (found.answer, found.extended, found.confirm) == (answer, extended, confirm)


@pytest.mark.parametrize(
    ("law", "kind", "field"),
    [
        ("gdpr", "opt_out", "kind"),
        ("ccpa", "objection", "kind"),
        ("can_spam", "access", "kind"),
        ("hipaa", "access", "jurisdiction"),
        (None, "access", "jurisdiction"),
        ("gdpr", ["access"], "kind"),
    ],
)
def test_what_a_law_does_not_know_is_refused(law: str, kind: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        clock(law, kind)
    assert refused.value.field == field


def test_what_must_stop_at_once_says_so() -> None:
    """An objection or a withdrawal takes effect at once; the month is for telling so."""
    at_once = {kind for kind, found in CLOCKS["gdpr"].items() if found.at_once}
    assert at_once == {"objection", "consent_withdrawal"}
