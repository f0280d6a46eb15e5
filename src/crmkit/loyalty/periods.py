"""Local days and periods that points, limits and tiers go by; pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from crmkit.model.time import FOREVER, Calendar, anniversary, midnight
from crmkit.programmes import EarnRule, Programme

EVER = (datetime.min.replace(tzinfo=UTC), FOREVER)


def period(per: str, at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The local day, week, month, quarter or year around an instant; all time for ``ever``."""
    if per == "ever":
        return EVER
    start, end = Calendar(per).span(at, zone)
    while end <= at:  # clocks were turned back over midnight: the day before comes once more
        start, end = end, Calendar(per).span(end, zone)[1]
    return start, end


def dates(
    programme: Programme, rule: EarnRule | None, since: datetime, zone: ZoneInfo
) -> tuple[datetime, datetime]:
    """From when on points can be used that were earned at an instant, and when they are over."""
    hold = rule.hold_days if rule and rule.hold_days is not None else programme.hold_days
    days = rule.expires_days if rule and rule.expires_days is not None else programme.expires_days
    available = since + timedelta(days=hold)
    return available, FOREVER if days is None else end_of_day(available, days, zone)


def end_of_day(at: datetime, days: int, zone: ZoneInfo) -> datetime:
    """When the local day ends that comes so many days after an instant."""
    return midnight(at.astimezone(zone).date() + timedelta(days=days + 1), zone)


def celebrates(born: date | None, during: str, at: datetime, zone: ZoneInfo) -> bool:
    """Whether it is the birthday, or the month of it, by the local calendar."""
    if born is None:
        return False
    today = at.astimezone(zone).date()
    if during == "birthday_month":
        return born.month == today.month
    return anniversary(born, today.year) == today
