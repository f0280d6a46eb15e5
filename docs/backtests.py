"""The back-tests that docs/explanation/lifetime-value.md shows: on CDNOW and on the bookings."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from functools import cache
from typing import Final

from crmkit.demo import bookings
from crmkit.insights.value.backtest import Backtest, Case, backtest, parted
from crmkit.insights.value.summaries import Purchase
from tests import cdnow

CUT: Final = date(2011, 6, 30)
HORIZON_DAYS: Final = 162
"""Of the bookings: seven months to learn from, and all the rest to predict."""

SILENCE_DAYS: Final = 180


@cache
def of_cdnow() -> Backtest:
    """39 weeks of 2,357 customers, held to the 39 that follow."""
    return backtest(cdnow.cases(), cdnow.CUT, cdnow.HORIZON_DAYS, SILENCE_DAYS)


@cache
def of_bookings() -> Backtest:
    """The bookings that come with crmkit, by the true persons; what was called off is none."""
    beside = bookings.truth_beside(bookings.PACKAGED)
    assert beside is not None  # noqa: S101 - it is packaged with them
    person = dict(bookings.truth(beside))
    bought: defaultdict[str, list[Purchase]] = defaultdict(list)
    for row in bookings.rows(bookings.PACKAGED):
        made = row.booking()
        if made.kind == "booking":
            day = made.at.astimezone(bookings.ZONE).date()
            bought[person[made.id]].append((day, float(made.payload["amount"])))
    cases: list[Case | None] = [parted(of, CUT, HORIZON_DAYS) for of in bought.values()]
    known = [case for case in cases if case is not None]
    return backtest(known, CUT, HORIZON_DAYS, SILENCE_DAYS)
