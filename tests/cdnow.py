"""The CDNOW sample, on which the models of value were published."""

from __future__ import annotations

import gzip
from collections import defaultdict
from datetime import date
from functools import cache
from pathlib import Path

from crmkit.insights.value.backtest import Case, parted
from crmkit.insights.value.summaries import Purchase, Summary

CUT = date(1997, 9, 30)
HORIZON_DAYS = 273

_FILE = Path(__file__).parent / "data" / "cdnow_sample.txt.gz"


@cache
def purchases() -> tuple[tuple[Purchase, ...], ...]:
    """The purchases of each customer."""
    found: defaultdict[str, list[Purchase]] = defaultdict(list)
    for line in gzip.decompress(_FILE.read_bytes()).decode().splitlines():
        _, customer, day, _, dollars = line.split()
        found[customer].append((date.fromisoformat(day), float(dollars)))
    return tuple(map(tuple, found.values()))


@cache
def cases() -> tuple[Case, ...]:
    """Each customer's first 39 weeks, and the 39 that follow."""
    found = (parted(bought, CUT, HORIZON_DAYS) for bought in purchases())
    return tuple(case for case in found if case)


def summaries() -> list[Summary]:
    """What was known of each customer after 39 weeks, in days."""
    return [case.summary for case in cases()]
