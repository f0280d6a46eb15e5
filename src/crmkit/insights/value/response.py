"""How customers answer promotions, how ready they are to buy, and the rhythm of their purchases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Final

import attrs

RESPONSES: Final = ("low", "medium", "high")

_PRIOR_DELIVERED: Final = 10.0
_PRIOR_ANSWERED: Final = 1.0
_MEDIUM: Final = 0.1
_HIGH: Final = 0.25
_STEADY: Final = 0.5
_TREND: Final = 1.5


@attrs.frozen
class Response:
    """How often somebody answers what is sent to them.

    `rate` is drawn to one in ten as long as little was sent; `level` is low below 10 %, high
    from 25 % on, and None if nothing was sent yet.
    """

    rate: float
    level: str | None
    delivered: int
    answered: int


def promo_response(delivered: int, answered: int) -> Response:
    """The response to promotions: clicks, bookings and replies, an open alone is none."""
    answered = min(answered, delivered)
    rate = (answered + _PRIOR_ANSWERED) / (delivered + _PRIOR_DELIVERED)
    if not delivered:
        return Response(rate, None, 0, 0)
    level = "high" if rate >= _HIGH else "medium" if rate >= _MEDIUM else "low"
    return Response(rate, level, delivered, answered)


def conversion_score(p_active: float, response: Response) -> int:
    """How likely a promotion leads to a purchase, from 0 to 100.

    The geometric mean of the chance to buy within the horizon and the response rate, where
    a response to half of everything counts as full: neither makes up for the other.
    """
    return round(100 * sqrt(p_active * min(1.0, 2 * response.rate)))


@attrs.frozen
class Pattern:
    """The rhythm of a customer's purchases, in days.

    `regular` says that gaps vary by less than half of their mean; `trend` is ``faster``,
    ``slower`` or ``steady``, by the later half of the gaps against the earlier; `next` is the
    day on which the next purchase would follow the typical gap. None with too few purchases
    to tell: one gap for `typical_gap` and `next`, three for `regular`, four for `trend`.
    """

    purchases: int
    typical_gap: float | None
    regular: bool | None
    trend: str | None
    next: date | None


def pattern(days: Iterable[date]) -> Pattern:
    """The rhythm of purchases on these days; those of one day are one."""
    ordered = sorted(set(days))
    gaps = [(later - earlier).days for earlier, later in pairwise(ordered)]
    if not gaps:
        return Pattern(len(ordered), None, None, None, None)
    typical = float(median(gaps))
    mean = sum(gaps) / len(gaps)
    spread = sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    return Pattern(
        purchases=len(ordered),
        typical_gap=typical,
        regular=spread < _STEADY * mean if len(gaps) >= 3 else None,
        trend=_trend(gaps) if len(gaps) >= 4 else None,
        next=date.fromordinal(ordered[-1].toordinal() + round(typical)),
    )


def _trend(gaps: list[int]) -> str:
    half = len(gaps) // 2
    change = median(gaps[-half:]) / median(gaps[:half])
    if change >= _TREND:
        return "slower"
    return "faster" if change <= 1 / _TREND else "steady"
