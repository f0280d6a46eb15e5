"""Where a customer stands on the way from hearing of the place to recommending it."""

from __future__ import annotations

from typing import Final

import attrs

JOURNEY_STAGES: Final = ("discovery", "first_visit", "engagement", "retention", "advocacy")


@attrs.frozen(kw_only=True)
class JourneyBounds:
    """From how many visits on a customer is retained, and what makes an advocate.

    An advocate came at least twice and recommended the place to `referrals` others, or rated
    it at least `rating` on average.
    """

    retained_visits: int = 5
    referrals: int = 1
    rating: float = 4.5


@attrs.frozen
class JourneyStage:
    """The stage and the plain reason for it."""

    stage: str
    reason: str


DEFAULT_BOUNDS: Final = JourneyBounds()


def journey(
    visits: int,
    referrals: int = 0,
    rating: float | None = None,
    bounds: JourneyBounds = DEFAULT_BOUNDS,
) -> JourneyStage:
    """The furthest stage that a customer has reached.

    Discovery before the first visit, first visit after one, engagement from the second,
    retention from `retained_visits` on, advocacy for those who recommend. `rating` is the
    mean of the customer's reviews, None without any.
    """
    if not visits:
        return JourneyStage("discovery", "no visit yet")
    if visits == 1:
        return JourneyStage("first_visit", "one visit")
    if referrals >= bounds.referrals:
        return JourneyStage("advocacy", f"{visits} visits and {referrals} referrals")
    if rating is not None and rating >= bounds.rating:
        return JourneyStage("advocacy", f"{visits} visits and a rating of {rating:.1f}")
    stage = "retention" if visits >= bounds.retained_visits else "engagement"
    return JourneyStage(stage, f"{visits} visits")
