"""How likely a customer is to stay away, in bands."""

from __future__ import annotations

from typing import Final

import attrs

from crmkit.errors import InvalidInput

CHURN_BANDS: Final = ("low", "medium", "high", "churned")


@attrs.frozen(kw_only=True)
class ChurnBounds:
    """Where the bands begin: the risk is medium from `medium` on, high from `high` on.

    Whoever has been silent for more than `threshold_days` has churned, as in the lifecycle.
    """

    medium: float = 1 / 3
    high: float = 2 / 3
    threshold_days: int = 180

    def __attrs_post_init__(self) -> None:
        if not 0 < self.medium < self.high < 1 or self.threshold_days <= 0:
            raise InvalidInput("expected 0 < medium < high < 1 and a threshold above 0")


@attrs.frozen
class ChurnRisk:
    """The band, the risk from 0 to 1 of no purchase within the horizon, and why."""

    band: str
    risk: float
    reason: str


DEFAULT_BOUNDS: Final = ChurnBounds()


def churn_risk(
    p_active: float, days_silent: float, bounds: ChurnBounds = DEFAULT_BOUNDS
) -> ChurnRisk:
    """The risk of a customer who buys again with the chance `p_active`.

    A long silence makes the band ``churned``, and leaves the risk as it is: of those who
    churned some come back.
    """
    risk = 1 - p_active
    if days_silent > bounds.threshold_days:
        reason = f"silent for {days_silent:.0f} days, more than {bounds.threshold_days}"
        return ChurnRisk("churned", risk, reason)
    band = "low" if risk < bounds.medium else "medium" if risk < bounds.high else "high"
    return ChurnRisk(band, risk, f"buys again with a chance of {p_active:.0%}")
