"""The bands that customers fall into, as rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from crmkit.config import Settings
from crmkit.insights.bands import FREQUENCY_BANDS, LIFECYCLE_STAGES, SPENDING_BANDS
from crmkit.model.money import digits
from crmkit.model.rule import AllOf, AnyOf, Compare, Not, Rule
from crmkit.model.time import Duration

_FIRSTS = ("first_booking", "first_purchase", "first_visit")
_LASTS = ("last_booking", "last_purchase", "last_visit")


def bands(settings: Settings) -> Mapping[str, Mapping[str, Rule]]:
    """By band, the rule of each label; everybody has one label of each band."""
    return {
        "lifecycle": _lifecycle(settings),
        "spending": _spending(settings),
        "frequency": _frequency(),
    }


def _lifecycle(settings: Settings) -> dict[str, Rule]:
    bounds = settings.lifecycle
    came = AnyOf(tuple(Compare(name, "exists", True) for name in _FIRSTS))
    new = _days(bounds.new_days)
    before = AnyOf(tuple(Compare(name, "not_within", new) for name in _FIRSTS))
    active = _came_within(_days(bounds.active_days))
    # The last day is still one of risk: the limit itself counts.
    held = _came_within(Duration(_days(bounds.churned_days).count + 1, "us"))
    stages: tuple[Rule, ...] = (
        Not(came),
        AllOf((came, Not(before))),
        AllOf((before, active)),
        AllOf((before, Not(active), held)),
        AllOf((before, Not(held))),
    )
    return dict(zip(LIFECYCLE_STAGES, stages, strict=True))


def _came_within(length: Duration) -> Rule:
    return AnyOf(tuple(Compare(name, "within", length) for name in _LASTS))


def _days(days: int) -> Duration:
    return Duration(timedelta(days=days) // timedelta(microseconds=1), "us")


def _spending(settings: Settings) -> dict[str, Rule]:
    unit = 10 ** digits(settings.currency)
    of = settings.spending_bands
    medium, high, vip = of.medium * unit, of.high * unit, of.vip * unit
    rules: tuple[Rule, ...] = (
        Compare("total_spend", "<", medium),
        AllOf((Compare("total_spend", ">=", medium), Compare("total_spend", "<", high))),
        Compare("total_spend", "between", (high, vip)),
        Compare("total_spend", ">", vip),
    )
    return dict(zip(SPENDING_BANDS, rules, strict=True))


def _frequency() -> dict[str, Rule]:
    rules: tuple[Rule, ...] = (
        Compare("total_bookings", "<=", 0),
        Compare("total_bookings", "=", 1),
        Compare("total_bookings", "between", (2, 4)),
        Compare("total_bookings", "between", (5, 10)),
        Compare("total_bookings", ">", 10),
    )
    return dict(zip(FREQUENCY_BANDS, rules, strict=True))
