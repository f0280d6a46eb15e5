"""Pictures of a back-test: what was expected beside what came."""

from __future__ import annotations

from crmkit.insights.value.backtest import Backtest
from crmkit.reporting.lines import Line, line_chart
from crmkit.reporting.svg import Svg

_LAST_BIN = 7


def calibration_chart(found: Backtest) -> Svg:
    """Purchases after the cut by those before it, on average: as they came, and as predicted."""
    bins = found.calibration
    labels = [f"{b.frequency}+" if b.frequency == _LAST_BIN else str(b.frequency) for b in bins]
    return line_chart(
        f"Purchases in the {found.horizon_days} days after {found.cut}",
        labels,
        [
            Line("as they came", [round(b.purchases, 4) for b in bins]),
            Line("predicted", [round(b.predicted, 4) for b in bins]),
        ],
        unit="by repeat purchases before",
    )


def tracking_chart(found: Backtest) -> Svg:
    """Repeat purchases of all customers, week by week from the beginning on."""
    weeks = found.tracking
    return line_chart(
        f"Repeat purchases, fitted up to {found.cut}",
        [f"{week.until}" for week in weeks],
        [
            Line("as they came", [week.actual for week in weeks]),
            Line("expected", [round(week.expected, 1) for week in weeks]),
        ],
        unit="in all",
    )
