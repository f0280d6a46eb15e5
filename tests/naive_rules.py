"""The rule language once more, as slowly and plainly as can be: straight from the JSON.

It shares no code with the evaluators, so that what both say is what the language means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import attrs

from crmkit.model import Occasion
from crmkit.segmentation.subject import Subject

Document: TypeAlias = Mapping[str, Any]

MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

METRICS = {
    "activities": "activities",
    "total_bookings": "bookings",
    "bookings": "bookings",
    "completed_bookings": "completed_bookings",
    "total_orders": "orders",
    "orders": "orders",
    "total_visits": "visits",
    "visits": "visits",
    "events_attended": "events_attended",
    "cancellations": "cancellations",
    "no_shows": "no_shows",
    "refunds": "refunds",
    "reviews": "reviews",
    "referrals": "referrals",
    "first_purchase": "first_order_at",
    "last_purchase": "last_order_at",
    "first_booking": "first_booking_at",
    "last_booking": "last_booking_at",
    "first_visit": "first_visit_at",
    "last_visit": "last_visit_at",
    "first_activity": "first_activity_at",
    "last_activity": "last_activity_at",
    "total_spend": "spend_minor",
    "total_spent": "spend_minor",
}
SCORES = {
    "lifetime_value": "lifetime_minor",
    "predicted_value": "predicted_minor",
    "p_active": "active_ppm",
    "churn_risk": "churn_band",
    "rfm_group": "rfm_group",
    "engagement": "engagement",
}
MONEY = (
    "lifetime_value",
    "predicted_value",
    "total_spend",
    "total_spent",
    "average_order_value",
    "average_spending",
    "preferences.average_spending",
    "amount",
    "sum",
)


# --- clocks and calendars ---


def wall(at: datetime, zone: ZoneInfo) -> datetime:
    """The latest time that clocks have shown by then; an hour's second run shows no later one."""
    local = at.astimezone(zone)
    if not local.fold:
        return local.replace(tzinfo=None)
    turned = at.replace(second=0, microsecond=0)
    while (turned - MICROSECOND).astimezone(zone).fold:
        turned -= MINUTE
    return (turned - MICROSECOND).astimezone(zone).replace(tzinfo=None) + MICROSECOND


def first_shown(wanted: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which clocks show that time, or a later one."""
    guess = wanted.replace(tzinfo=UTC)
    offsets = [(guess + n * DAY).astimezone(zone).utcoffset() or timedelta() for n in (-1, 1)]
    shown = [
        guess - o for o in offsets if (guess - o).astimezone(zone).replace(tzinfo=None) == wanted
    ]
    if shown:
        return min(shown)
    # Left out: clocks jump over it at the beginning of some minute.
    jump = (guess - max(offsets)).replace(second=0, microsecond=0)
    while jump.astimezone(zone).replace(tzinfo=None) < wanted:
        jump += MINUTE
    return jump


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return first_shown(datetime.combine(day, time()), zone)


def days_in(year: int, month: int) -> int:
    return max(n for n in range(28, 32) if is_day(year, month, n))


def is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def ago(length: str, at: datetime, zone: ZoneInfo) -> datetime:
    """That long before; a month before a day that month lacks is its last microsecond."""
    number = int("".join(c for c in length if c.isdigit()))
    unit = "".join(c for c in length if c.isalpha())
    if unit in ("h", "d", "w"):
        return at - number * {"h": timedelta(hours=1), "d": DAY, "w": 7 * DAY}[unit]
    shown = wall(at, zone)
    year, month = shown.year, shown.month
    for _ in range(number * (12 if unit == "y" else 1)):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    if is_day(year, month, shown.day):
        return first_shown(shown.replace(year=year, month=month), zone)
    last = datetime(year, month, days_in(year, month), 23, 59, 59, 999_999)
    return first_shown(last, zone)


def within(length: str, moment: datetime, at: datetime, zone: ZoneInfo) -> bool:
    return ago(length, at, zone) < moment <= at


def days_of(calendar: str, at: datetime, zone: ZoneInfo) -> list[date]:
    """Each day of “this month”, “last week” and so on."""
    calendar = {"today": "this day", "yesterday": "last day"}.get(calendar, calendar)
    return days_around(calendar, at.astimezone(zone).date())


@cache
def days_around(calendar: str, today: date) -> list[date]:
    which, unit = calendar.split()

    def name(day: date) -> tuple[int, ...]:
        return unit_of(day, unit)

    near = [today + n * DAY for n in range(-800, 400)]
    wanted = name(today)
    if which == "last":
        wanted = name(max(day for day in near if day <= today and name(day) != name(today)))
    return [day for day in near if name(day) == wanted]


def unit_of(day: date, unit: str) -> tuple[int, ...]:
    if unit == "week":
        return tuple(day.isocalendar())[:2]
    return {"day": (day.year, day.month, day.day), "month": (day.year, day.month)}.get(
        unit, (day.year,)
    )


def in_calendar(calendar: str, moment: datetime, at: datetime, zone: ZoneInfo) -> bool:
    days = days_of(calendar, at, zone)
    return midnight(days[0], zone) <= moment < midnight(days[-1] + DAY, zone)


def falls_on(day: date, year: int) -> date:
    return day.replace(year=year) if is_day(year, day.month, day.day) else date(year, 2, 28)


def comes_round(day: date, days: int, at: datetime, zone: ZoneInfo) -> bool:
    """Whether one of today and the coming days is its anniversary, in a later year."""
    today = at.astimezone(zone).date()
    coming = [today + n * DAY for n in range(days + 1)]
    return any(c.year > day.year and falls_on(day, c.year) == c for c in coming)


def years_old(born: date, at: datetime, zone: ZoneInfo) -> int | None:
    today = at.astimezone(zone).date()
    if born > today:
        return None
    return sum(1 for year in range(born.year + 1, today.year + 1) if falls_on(born, year) <= today)


# --- comparisons ---


ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda value, expected: value == expected,
    "==": lambda value, expected: value == expected,
    "!=": lambda value, expected: value != expected,
    "<": lambda value, expected: value < expected,
    "before": lambda value, expected: value < expected,
    "<=": lambda value, expected: value < expected or value == expected,
    ">": lambda value, expected: value > expected,
    "after": lambda value, expected: value > expected,
    ">=": lambda value, expected: value > expected or value == expected,
    "between": lambda value, expected: expected[0] <= value <= expected[1],
    "in": lambda value, expected: any(value == e for e in expected),
    "not_in": lambda value, expected: all(value != e for e in expected),
    "contains": lambda value, expected: expected in value,
    "contains_any": lambda value, expected: any(e in value for e in expected),
    "contains_all": lambda value, expected: all(e in value for e in expected),
    "starts_with": lambda value, expected: value[: len(expected)] == expected,
}


def compare(operator: str, value: Any, expected: Any) -> bool:
    """A value that is there with what the rule says, both of one kind."""
    return ORDER[operator](value, expected)


def each(raw: Any, read: Any) -> Any:
    return [read(item) for item in raw] if isinstance(raw, (list, tuple)) else read(raw)


def cents(raw: Any) -> Fraction:
    return Fraction(Decimal(str(raw))) * 100


def millionths(raw: Any) -> int:
    return round(Fraction(Decimal(str(raw))) * 1_000_000)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def custom(operator: str, value: Any, expected: Any) -> bool:
    """A value of any JSON type: what is of another type than is asked for does not compare."""
    if operator in ("contains", "contains_any", "contains_all"):
        return isinstance(value, (str, list, tuple)) and compare(operator, value, expected)
    sample = expected[0] if isinstance(expected, (list, tuple)) else expected
    if isinstance(sample, bool):
        alike = isinstance(value, bool)
    elif isinstance(sample, str):
        alike = isinstance(value, str)
    else:
        alike = is_number(value)
    return alike and compare(operator, value, expected)


# --- rules ---


@attrs.frozen
class Naive:
    """What rules say of one customer.

    `people` are all customers, for ranks; `segments` the rules of the segments, by name;
    `tiers` the names of the tiers, ascending.
    """

    subject: Subject
    at: datetime
    zone: ZoneInfo
    tiers: Sequence[str]
    people: Sequence[Subject] = ()
    segments: Mapping[str, Document] = attrs.field(factory=dict)

    def is_in(self, document: Document) -> bool:
        """Whether the customer is in a segment of that rule: in none before the first fact."""
        first = self.subject.metrics.first_activity_at
        known = self.subject.customer.created_at <= self.at
        return (known or (first is not None and first <= self.at)) and self.fits(document)

    def fits(self, document: Document) -> bool:
        """Whether the rule holds."""
        if "conditions" in document:
            told = [self.fits(part) for part in document["conditions"]]
            return joined(document["operator"], told)
        if "did_not" in document:
            return not self.inside(document, document["did_not"])
        if "did" in document:
            return self.did(document)
        if "in_segment" in document:
            return self.fits(self.segments[document["in_segment"]])
        return self.compared(document["field"], document["operator"], document.get("value", True))

    def compared(self, field: str, operator: str, expected: Any) -> bool:
        if operator.startswith(("top_", "bottom_")):
            return self.ranked(field, operator, expected)
        if field == "location":
            return self.near(expected)
        if field == "segment":
            names = [expected] if isinstance(expected, str) else expected
            anywhere = any(self.fits(self.segments[name]) for name in names)
            return not anywhere if operator == "not_in" else anywhere
        return self.holds(field, operator, self.value(field), expected)

    def holds(self, field: str, operator: str, value: Any, expected: Any) -> bool:
        if operator == "exists":
            nothing = value in ((), frozenset()) and not field.startswith("custom.")
            return (value is not None and not nothing) is expected
        if value is None:
            return False
        if field.startswith("custom."):
            return custom(operator, value, expected)
        if field in MONEY:
            return compare(operator, Fraction(value), each(expected, cents))
        if field == "p_active":
            return compare(operator, value, each(expected, millionths))
        if field == "tier":
            place = self.tiers.index
            return compare(operator, place(value), each(expected, place))
        if isinstance(value, datetime):
            return self.timed(operator, value, expected)
        if isinstance(value, date):
            return self.dated(operator, value, expected)
        return compare(operator, value, expected)

    def timed(self, operator: str, value: datetime, expected: Any) -> bool:
        match operator:
            case "within":
                return within(expected, value, self.at, self.zone)
            case "not_within":
                return not within(expected, value, self.at, self.zone)
            case "during":
                return in_calendar(expected, value, self.at, self.zone)
            case "anniversary_within":
                return self.dated(operator, value.astimezone(self.zone).date(), expected)
        return compare(operator, value, each(expected, self.moment))

    def dated(self, operator: str, value: date, expected: Any) -> bool:
        match operator:
            case "during":
                return value in days_of(expected, self.at, self.zone)
            case "anniversary_within":
                days = int(str(expected).rstrip("d"))
                return comes_round(value, days, self.at, self.zone)
        return compare(operator, value, each(expected, date.fromisoformat))

    def moment(self, text: str) -> datetime:
        if len(text) == len("2026-01-01"):
            return midnight(date.fromisoformat(text), self.zone)
        return datetime.fromisoformat(text).astimezone(UTC)

    def value(self, field: str) -> Any:
        """What is known of the customer; None where nothing is."""
        customer, metrics = self.subject.customer, self.subject.metrics
        prefix, _, name = field.partition(".")
        if prefix == "custom":
            return customer.custom.get(name)
        if prefix == "consent":
            purpose, _, channel = name.rpartition("_")
            until = self.subject.consents.get((purpose, channel))
            return until is not None and until > self.at
        if field == "tags":
            return self.subject.tags
        if field == "age":
            return customer.birth_date and years_old(customer.birth_date, self.at, self.zone)
        if field == "average_order_value":
            return Fraction(metrics.spend_minor, metrics.orders) if metrics.orders > 0 else None
        if field in SCORES:
            return self.subject.score and getattr(self.subject.score, SCORES[field])
        if field in ("points", "qualifying_points", "tier"):
            return self.of_programme(field)
        if field in METRICS:
            return getattr(metrics, METRICS[field])
        liked = name if prefix == "preferences" else field
        liked = "average_spending_minor" if liked == "average_spending" else liked
        if hasattr(customer.preferences, liked):
            return getattr(customer.preferences, liked)
        return getattr(customer, field)

    def of_programme(self, field: str) -> Any:
        """Who has no account yet has no points; what is pending can be used in the end."""
        if field == "tier":
            held = [p.rank for p in self.subject.tiers if p.since <= self.at < p.until]
            return self.tiers[sum(held)]
        account = self.subject.account
        if account is None:
            return 0
        if field == "qualifying_points":
            return account.qualifying
        turned = account.next_at is not None and account.next_at <= self.at
        return account.balance + (account.pending if turned else 0)

    def near(self, place: Document) -> bool:
        customer = self.subject.customer
        if customer.latitude_micro is None or customer.longitude_micro is None:
            return False
        north = customer.latitude_micro - micro(place["latitude"])
        east = customer.longitude_micro - micro(place["longitude"])
        while east > 180_000_000:
            east -= 360_000_000
        while east <= -180_000_000:
            east += 360_000_000
        shorter = round(math.cos(math.radians(float(place["latitude"]))) ** 2 * 1_000_000)
        reach = round(round(Decimal(str(place["km"])) * 1_000) / 0.111195)
        return north**2 * 1_000_000 + east**2 * shorter <= reach**2 * 1_000_000

    def ranked(self, field: str, operator: str, asked: Any) -> bool:
        own: int = self.value(field)
        every = [attrs.evolve(self, subject=person).value(field) for person in self.people]
        taking_part = [value for value in every if value > 0]
        if own <= 0:
            return False
        end, how = operator.split("_")
        ahead = [v for v in taking_part if (v > own if end == "top" else v < own)]
        if how == "count":
            return len(ahead) < int(asked)
        places = math.ceil(len(taking_part) * Fraction(Decimal(str(asked))) / 100)
        return len(ahead) < places

    # --- what was done ---

    def done(self, kind: str, where: Any) -> list[tuple[datetime, str, int]]:
        """When, by which fact and for how much it was done by now, in order."""
        holding = [
            o
            for o in self.subject.occasions.get(kind, ())
            if o.since <= self.at and (o.until is None or self.at < o.until)
            if o.happened_at <= self.at
        ]
        if isinstance(where, (list, tuple)):
            where = {"operator": "and", "conditions": where}
        found = []
        for fact in sorted({o.fact for o in holding}):
            parts = [o for o in holding if o.fact == fact]
            if names_item(where):
                items = [o for o in parts if o.part > 0]
                parts = items or parts
            else:
                parts = [o for o in parts if o.part == 0]
            fitting = [o for o in parts if where is None or self.occasion_fits(where, o)]
            if fitting:
                amount = sum(o.amount_minor or 0 for o in fitting)
                found.append((fitting[0].happened_at, fact, amount))
        return sorted(found)

    def occasion_fits(self, where: Document, occasion: Occasion) -> bool:
        if "conditions" in where:
            told = [self.occasion_fits(part, occasion) for part in where["conditions"]]
            return joined(where["operator"], told)
        field = where["field"]
        value = getattr(occasion, "amount_minor" if field == "amount" else field)
        return self.holds(field, where["operator"], value, where.get("value", True))

    def inside(self, document: Document, kind: str) -> list[tuple[datetime, str, int]]:
        """What was done in the window."""
        done = self.done(kind, document.get("where"))
        if "within" in document:
            return [d for d in done if within(document["within"], d[0], self.at, self.zone)]
        if "during" in document:
            return [d for d in done if in_calendar(document["during"], d[0], self.at, self.zone)]
        if "since" in document:
            done = [d for d in done if self.moment(document["since"]) <= d[0]]
        if "until" in document:
            done = [d for d in done if d[0] < self.moment(document["until"])]
        return done

    def did(self, document: Document) -> bool:
        inside = self.inside(document, document["did"])
        if "then" in document or "not_then" in document:
            return self.followed(document, inside)
        values: dict[str, Any] = {
            "count": len(inside),
            "sum": sum(amount for _, _, amount in inside),
            "first": inside[0][0] if inside else None,
            "last": inside[-1][0] if inside else None,
        }
        if "per" in document:
            days = [d[0].astimezone(self.zone).date() for d in inside]
            units = [unit_of(day, document["per"]) for day in days]
            values["count"] = max((units.count(unit) for unit in units), default=0)
        for name, value in values.items():
            if name in document:
                asked = document[name]
                if not isinstance(asked, Mapping):
                    asked = {"operator": ">=", "value": asked}
                return self.holds(name, asked["operator"], value, asked.get("value", True))
        return len(inside) >= 1

    def followed(self, document: Document, begun: Sequence[tuple[datetime, str, int]]) -> bool:
        asked = document["then" if "then" in document else "not_then"]
        came = self.done(asked["did"], asked.get("where"))

        def over(begins: datetime, moment: datetime) -> bool:
            # In time is also the very instant at which the beginning is not within any more.
            return ago(asked["within"], moment - MICROSECOND, self.zone) >= begins

        for begins, fact, _ in begun:
            in_time = [
                second for second, other, _ in came
                if other != fact and begins <= second and not over(begins, second)
            ]  # fmt: skip
            if "then" in document and in_time:
                return True
            if "not_then" in document and not in_time and over(begins, self.at):
                return True
        return False


def joined(operator: str, told: Sequence[bool]) -> bool:
    if operator == "not":
        return not told[0]
    return all(told) if operator == "and" else any(told)


def names_item(where: Any) -> bool:
    if where is None:
        return False
    if "conditions" in where:
        return any(names_item(part) for part in where["conditions"])
    return bool(where["field"] == "item")


def micro(degrees: float) -> int:
    return round(Decimal(str(degrees)) * 1_000_000)
