"""Who came in which month, counted by hand."""

from __future__ import annotations

from datetime import date

import pytest

from crmkit.errors import InvalidInput
from crmkit.reporting.coming import Coming, months_up_to

TODAY = date(2026, 3, 10)


def test_the_names_of_months() -> None:
    assert months_up_to(date(2026, 2, 1), 4) == ("2025-11", "2025-12", "2026-01", "2026-02")
    for wrong in (0, 121, True, 1.0):
        with pytest.raises(InvalidInput):
            months_up_to(TODAY, wrong)


def test_the_edges_of_the_windows() -> None:
    """Of ten days: the later begins on the first of the month, the earlier ten days before it."""
    coming = Coming(TODAY, 10)
    first = {date(2026, 2, 18)}  # the day before the earlier window
    edge = {date(2026, 2, 19), date(2026, 3, 1)}
    last = {date(2026, 2, 28)}
    tomorrow = {date(2026, 2, 25), date(2026, 3, 11)}
    coming.take([first, edge, last, tomorrow])
    assert (coming.earlier, coming.kept_on) == (3, 1)
    assert coming.retention == 1 / 3
    assert coming.repeat == 1 / 4


def test_the_month_before_may_be_last_year() -> None:
    coming = Coming(date(2026, 1, 31), 30)
    coming.take([{date(2025, 12, 3), date(2026, 1, 5)}, {date(2025, 12, 30)}, set()])
    assert coming.kept("2026-01") == 0.5
    assert coming.kept("2025-12") is None
    assert (coming.came["2025-12"], coming.new["2025-12"], coming.customers) == (2, 2, 2)
