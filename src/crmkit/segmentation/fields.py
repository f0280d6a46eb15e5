"""The fields a rule may ask about: their types, and where their values live."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

import attrs

from crmkit.errors import RuleError, unknown
from crmkit.model import Column, Customer, entry_of


class Type(enum.Enum):
    """How the values of a field compare."""

    TEXT = "text"
    NUMBER = "number"
    MONEY = "money"
    MOMENT = "moment"
    DATE = "date"
    FLAG = "flag"
    LIST = "list"
    TIER = "tier"  # text that is ordered by rank
    JSON = "json"  # a custom field: whatever the host put there


class Source(enum.Enum):
    """Which record a field is read from."""

    CUSTOMER = "customer"
    PREFERENCES = "preferences"
    CUSTOM = "custom"
    AGE = "age"
    METRICS = "metrics"
    AVERAGE = "average"  # the spend over the orders
    LOYALTY = "loyalty"
    TIER = "tier"
    TAGS = "tags"
    CONSENT = "consent"


@attrs.frozen
class Field:
    """A field of the rule language.

    `attribute` is the record's own field, the custom field's name, or
    ``<purpose>_<channel>`` for a consent. `default` is what the field holds when nothing
    was recorded; with None it is then missing.
    """

    name: str
    type: Type
    source: Source
    attribute: str
    default: bool | None = None

    @property
    def consent(self) -> tuple[str, str]:
        """Purpose and channel of a consent field."""
        purpose, _, channel = self.attribute.rpartition("_")
        return purpose, channel


_TYPES: Final[Mapping[type, Type]] = {
    str: Type.TEXT,
    bool: Type.FLAG,
    int: Type.NUMBER,
    datetime: Type.MOMENT,
    date: Type.DATE,
    tuple: Type.LIST,
}
_NOT_ASKED: Final = frozenset(
    "tenant id email_typed phone_typed instagram_typed latitude_micro longitude_micro".split()
)
_COUNTS: Final = {
    "activities": "activities",
    "total_bookings": "bookings",
    "completed_bookings": "completed_bookings",
    "total_orders": "orders",
    "total_visits": "visits",
    "events_attended": "events_attended",
    "cancellations": "cancellations",
    "no_shows": "no_shows",
    "refunds": "refunds",
    "reviews": "reviews",
    "referrals": "referrals",
}
_MOMENTS: Final = {
    "first_purchase": "first_order_at",
    "last_purchase": "last_order_at",
    "first_booking": "first_booking_at",
    "last_booking": "last_booking_at",
    "first_visit": "first_visit_at",
    "last_visit": "last_visit_at",
    "first_activity": "first_activity_at",
    "last_activity": "last_activity_at",
}
_ALIASES: Final = {
    "bookings": "total_bookings",
    "orders": "total_orders",
    "visits": "total_visits",
    "total_spent": "total_spend",
}
_MAX_NAME: Final = 200
_CONSENT: Final = re.compile(r"[a-z0-9][a-z0-9_]*_[a-z0-9]+", re.ASCII)


def _declared(columns: tuple[Column, ...], source: Source) -> Iterator[Field]:
    for column in columns:
        if column.type not in _TYPES or column.name in _NOT_ASKED:
            continue
        name, kind = column.name, _TYPES[column.type]
        if name.endswith("_minor"):
            name, kind = name.removesuffix("_minor"), Type.MONEY
        default = column.default if kind is Type.FLAG and not column.optional else None
        yield Field(name, kind, source, column.name, default)


def _built_in() -> Iterator[Field]:
    customer = entry_of(Customer)
    yield from _declared(customer.columns, Source.CUSTOMER)
    yield from _declared(customer.column("preferences").nested, Source.PREFERENCES)
    yield Field("age", Type.NUMBER, Source.AGE, "birth_date")
    for name, attribute in _COUNTS.items():
        yield Field(name, Type.NUMBER, Source.METRICS, attribute)
    for name, attribute in _MOMENTS.items():
        yield Field(name, Type.MOMENT, Source.METRICS, attribute)
    yield Field("total_spend", Type.MONEY, Source.METRICS, "spend_minor")
    yield Field("average_order_value", Type.MONEY, Source.AVERAGE, "spend_minor")
    yield Field("points", Type.NUMBER, Source.LOYALTY, "balance")
    yield Field("qualifying_points", Type.NUMBER, Source.LOYALTY, "qualifying")
    yield Field("tier", Type.TIER, Source.TIER, "qualifying")
    yield Field("tags", Type.LIST, Source.TAGS, "tag")


FIELDS: Final[Mapping[str, Field]] = MappingProxyType({f.name: f for f in _built_in()})
"""The fields with a fixed name; beside them come ``custom.<name>`` and consents."""

_KNOWN: Final[Mapping[str, Field]] = {
    **FIELDS,
    **{alias: FIELDS[name] for alias, name in _ALIASES.items()},
    **{f"preferences.{f.name}": f for f in FIELDS.values() if f.source is Source.PREFERENCES},
}


def find(name: str, *, path: str | None = None) -> Field:
    """The field of that name or alias.

    Raises `RuleError`, at `path` of the rule and with the nearest name, for an unknown one.
    """
    known = _KNOWN.get(name)
    if known is not None:
        return known
    prefix, dot, rest = name.partition(".")
    if dot and prefix == "custom":
        if not 0 < len(rest) <= _MAX_NAME:
            raise RuleError(f"expected custom.<name> of 1 to {_MAX_NAME} letters", field=path)
        return Field(name, Type.JSON, Source.CUSTOM, rest)
    if dot and prefix == "consent":
        if len(rest) > _MAX_NAME or not _CONSENT.fullmatch(rest):
            raise RuleError(
                "expected consent.<purpose>_<channel> such as consent.marketing_email", field=path
            )
        return Field(name, Type.FLAG, Source.CONSENT, rest, default=False)
    raise RuleError(unknown("field", name, _KNOWN), field=path)
