"""A story by dimension: which item, venue and category, on which day and at which hour; pure.

Each story counts once for each value it names, and as often as it was ordered for an item
of a list. What was paid goes to the values of the fact that says so, less its part of
what was given back and less what participants bear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeGuard

import attrs

from crmkit.activities.sharing import PAYER, divided, split
from crmkit.activities.stories import Story, order
from crmkit.config import Settings
from crmkit.errors import InvalidInput
from crmkit.model import Activity
from crmkit.model.time import instant

DIMENSIONS: Final = (
    "item", "venue", "category", "genre", "channel", "companions", "slot", "arrival",
)  # fmt: skip
"""`slot` is weekday and hour, such as ``5 21`` for Saturday, 9 to 10 p.m.; `arrival` the
quarter of an hour."""

_NAMED: Final = {
    "item": (("item_id", "game_id", "event_id"), ("item", "game", "event")),
    "venue": (("venue_id",), ("venue",)),
    "category": ((), ("category",)),
    "genre": ((), ("genre",)),
    "channel": ((), ("channel", "method", "referral_source")),
}
_LONGEST: Final = 200
_MOST_COUNTED: Final = 100_000
_DEAREST: Final = 10**12


@attrs.frozen
class Tally:
    """What a story adds to one counter."""

    count: int = 0
    spend_minor: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    label: str = ""

    @property
    def span(self) -> Any:
        """First and last; the name that was used last goes with the last."""
        return self.first_at, (self.last_at, self.label)


Place = tuple[str, str]
"""A dimension and a value."""

Tallies = Mapping[Place, Tally]


def tallies(story: Story, settings: Settings) -> Tallies:
    """What the story adds to its customer's counters."""
    kinds = settings.kinds_by_name
    facts = [f for f in story.said if kinds[f.kind].dates or kinds[f.kind].spends]
    if len(facts) > 1:
        facts.sort(key=order)  # what is left over in rounding never depends on who came first
    spent = split(story.left, [(f.amount_minor or 0) * kinds[f.kind].spends for f in facts])
    found: dict[Place, Tally] = {}
    for fact, spend in zip(facts, spent, strict=True):
        at = takes_place(fact)
        own = divided(spend, fact.shares)[PAYER] if fact.shares else spend
        for place, label, count, part in _named(fact, own):
            found[place] = _joined(found.get(place), Tally(count, part, at, at, label))
    for place, at in _moments(facts, settings):
        found[place] = _joined(found.get(place), Tally(1, 0, at, at, place[1]))
    return found


def _joined(one: Tally | None, other: Tally) -> Tally:
    """One story counts a value once, however many of its facts name it."""
    if one is None:
        return other
    first, (last, label) = one.span
    return Tally(
        max(one.count, other.count),
        one.spend_minor + other.spend_minor,
        min(first, other.first_at),
        *max((last, label), (other.last_at, other.label)),
    )


def takes_place(fact: Activity) -> datetime:
    """When what the fact speaks of takes place: `starts_at` if it is given."""
    start = fact.payload.get("starts_at")
    if not isinstance(start, str):
        return fact.occurred_at
    try:
        return instant(start)
    except InvalidInput:  # of a kind that gives the word another meaning
        return fact.occurred_at


def _named(fact: Activity, spend: int) -> Iterator[tuple[Place, str, int, int]]:
    """The values a fact names: place, name, how often, and what was paid for it."""
    payload = fact.payload
    for dimension, (ids, names) in _NAMED.items():
        name = _text(payload, names)
        value = (_text(payload, ids) if ids else "") or name
        if value:
            yield (dimension, value), name or value, 1, spend
    people = party_size(payload)
    if people:
        group = companions(people)
        yield ("companions", group), group, 1, spend
    yield from _ordered(_list(payload), spend)


def chosen(payload: Mapping[str, Any], dimension: str) -> str | None:
    """The value that a payload names of a dimension: an id where there is one, else a name."""
    ids, names = _NAMED[dimension]
    return (_text(payload, ids) if ids else "") or _text(payload, names) or None


def item_parts(payload: Mapping[str, Any], spend: int) -> Mapping[str, int]:
    """The items that a payload names, and what of the money was paid for each.

    What it is about itself costs all of it, a line of a list its part of the list's price.
    """
    own = chosen(payload, "item")
    parts = {own: spend} if own else {}
    if "items" in payload:
        listed = {place[1]: part for place, _, _, part in _ordered(_list(payload), spend)}
        parts = listed | parts
    return parts


def _list(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    told = payload.get("items")
    return [i for i in told if isinstance(i, dict)] if isinstance(told, list) else ()


def _ordered(
    items: Sequence[Mapping[str, Any]], spend: int
) -> Iterator[tuple[Place, str, int, int]]:
    """The items of a list: a line's part of the money is its part of the list's price."""
    totals: dict[str, list[Any]] = {}
    prices = [_price(i) for i in items]
    for item, part in zip(items, split(spend, prices) if any(prices) else prices, strict=True):
        name = _text(item, ("name",))
        value = _text(item, ("id",)) or name
        if not value:
            continue
        line = totals.setdefault(value, [name or value, 0, 0])
        line[0] = max(line[0], name or value)
        line[1] += _quantity(item)
        line[2] += part
    for value, (name, quantity, part) in totals.items():
        yield ("item", value), name, quantity, part


def party_size(payload: Mapping[str, Any]) -> int:
    """How many came, the customer among them; 0 if nobody says."""
    size, others = payload.get("party_size"), payload.get("companions")
    if _is_number(size) and size > 0:
        return int(size)
    return int(others) + 1 if _is_number(others) and others >= 0 else 0


def _is_number(value: object) -> TypeGuard[int]:
    """Whether it is a number that can be counted, also of a kind that checks nothing."""
    return type(value) is int and -_MOST_COUNTED <= value <= _MOST_COUNTED


def companions(people: int) -> str:
    """The group somebody comes in: alone, a pair, up to five, or more."""
    if people <= 2:
        return "alone" if people == 1 else "pair"
    return "small group" if people <= 5 else "large group"


def _moments(facts: Sequence[Activity], settings: Settings) -> Iterator[tuple[Place, datetime]]:
    """When they came; where no visit is told, when they were to come."""
    kinds = settings.kinds_by_name
    visits = [takes_place(f) for f in facts if "visit" in kinds[f.kind].dates]
    moments = visits or [takes_place(f) for f in facts]
    if moments:
        first = min(moments)
        day, clock = local(first, settings)
        yield ("slot", f"{day.weekday()} {clock.hour:02}"), first
    for moment in visits:
        _, clock = local(moment, settings)
        yield ("arrival", f"{clock.hour:02}:{clock.minute // 15 * 15:02}"), moment


def local(moment: datetime, settings: Settings) -> tuple[date, time]:
    """The business day and the time of day where the tenant is.

    At 01:30 a night that ends at 06:00 still belongs to the day on which it began.
    """
    there = moment.astimezone(settings.zone).replace(tzinfo=None)
    return (there - settings.day_end).date(), there.time()


def _text(payload: Mapping[str, Any], names: Sequence[str]) -> str:
    """The first of these values that is there, as text."""
    for name in names:
        value = payload.get(name)
        if value is None:
            continue
        if isinstance(value, str) and value.strip():
            return value.strip()[:_LONGEST]
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def _quantity(item: Mapping[str, Any]) -> int:
    quantity = item.get("quantity")
    return quantity if _is_number(quantity) and quantity > 0 else 1


def _price(item: Mapping[str, Any]) -> int:
    """What a line weighs: its price, in thousandths, as often as it was ordered."""
    try:
        price = Decimal(str(item.get("price") or 0))
    except InvalidOperation:
        return 0
    sound = price.is_finite() and 0 < price < _DEAREST
    return int(price * 1000) * _quantity(item) if sound else 0
