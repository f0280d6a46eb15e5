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
from crmkit.model.consent import way


class Type(enum.Enum):
    """How the values of a field compare."""

    TEXT = "text"
    NUMBER = "number"
    MONEY = "money"
    SHARE = "share"  # a chance or a part of a whole, from 0 to 1
    MOMENT = "moment"
    DATE = "date"
    FLAG = "flag"
    LIST = "list"
    TIER = "tier"  # text that is ordered by rank
    JSON = "json"  # a custom field: whatever the host put there
    PLACE = "place"
    SEGMENT = "segment"


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
    SCORE = "score"  # where a customer stood when scores were last refreshed
    CONSENT = "consent"
    PLACE = "place"  # latitude and longitude of the profile
    SEGMENT = "segment"
    OCCASION = "occasion"  # what a customer did, one row each
    MEASURE = "measure"  # of several occasions


_ORDERED: Final = ("=", "!=", "<", "<=", ">", ">=", "between")
_LISTED: Final = ("in", "not_in")
_CONTAINS: Final = ("contains", "contains_any", "contains_all")
_IN_TIME: Final = ("during", "anniversary_within")

OPERATORS: Final[Mapping[Type, tuple[str, ...]]] = {
    Type.TEXT: (*_ORDERED, *_LISTED, *_CONTAINS, "starts_with", "exists"),
    Type.NUMBER: (*_ORDERED, *_LISTED, "exists"),
    Type.MONEY: (*_ORDERED, *_LISTED, "exists"),
    Type.SHARE: (*_ORDERED, *_LISTED, "exists"),
    Type.MOMENT: (*_ORDERED, "before", "after", "within", "not_within", *_IN_TIME, "exists"),
    Type.DATE: (*_ORDERED, *_LISTED, "before", "after", *_IN_TIME, "exists"),
    Type.FLAG: ("=", "!=", "exists"),
    Type.LIST: (*_CONTAINS, "exists"),
    Type.TIER: (*_ORDERED, *_LISTED, "exists"),
    Type.JSON: (*_ORDERED, *_LISTED, *_CONTAINS, "starts_with", "exists"),
    Type.PLACE: ("near",),
    Type.SEGMENT: ("=", "in", "not_in"),
}
"""The operators that each type of field takes."""

RANKINGS: Final = ("top_percent", "bottom_percent", "top_count", "bottom_count")
"""The operators that compare a customer with all others; see `Field.ranked`."""


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
    def ranked(self) -> bool:
        """Whether a storage can rank customers by it: it holds a whole number of each."""
        return self.source in (Source.METRICS, Source.LOYALTY) and self.type in _WHOLE

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators that the field takes."""
        own = OPERATORS[self.type]
        if self.source is Source.MEASURE and self.type in _WHOLE:
            return tuple(name for name in own if name != "exists")  # there is always one
        return (*own, *RANKINGS) if self.ranked else own

    @property
    def consent(self) -> tuple[str, str]:
        """Purpose and channel of a consent field."""
        return way(self.attribute)


WHOLE_PPM: Final = 1_000_000
"""A share of 1, as shares are kept: in millionths."""

_WHOLE: Final = (Type.NUMBER, Type.MONEY)
_TYPES: Final[Mapping[type, Type]] = {
    str: Type.TEXT,
    bool: Type.FLAG,
    int: Type.NUMBER,
    datetime: Type.MOMENT,
    date: Type.DATE,
    tuple: Type.LIST,
}
_NOT_ASKED: Final = frozenset(
    "tenant id sealed email_typed phone_typed instagram_typed latitude_micro"
    " longitude_micro".split()
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
    yield Field("tier", Type.TIER, Source.TIER, "rank")
    yield Field("tags", Type.LIST, Source.TAGS, "tag")
    yield Field("lifetime_value", Type.MONEY, Source.SCORE, "lifetime_minor")
    yield Field("predicted_value", Type.MONEY, Source.SCORE, "predicted_minor")
    yield Field("p_active", Type.SHARE, Source.SCORE, "active_ppm")
    yield Field("churn_risk", Type.TEXT, Source.SCORE, "churn_band")
    yield Field("rfm_group", Type.TEXT, Source.SCORE, "rfm_group")
    yield Field("engagement", Type.NUMBER, Source.SCORE, "engagement")


FIELDS: Final[Mapping[str, Field]] = MappingProxyType({f.name: f for f in _built_in()})
"""The fields with a fixed name; beside them come ``custom.<name>`` and consents."""

BALANCE: Final = FIELDS["points"]
"""The points that can be used; time alone changes them."""

QUALIFYING: Final = FIELDS["qualifying_points"]
"""What ever counted for the tier."""

PSEUDO_FIELDS: Final[Mapping[str, Field]] = MappingProxyType(
    {
        "location": Field("location", Type.PLACE, Source.PLACE, ""),
        "segment": Field("segment", Type.SEGMENT, Source.SEGMENT, ""),
    }
)
"""Names that conditions of another form than a comparison are written with."""

OCCASION_FIELDS: Final[Mapping[str, Field]] = MappingProxyType(
    {
        f.name: f
        for f in (
            *(
                Field(name, Type.TEXT, Source.OCCASION, name)
                for name in ("item", "venue", "category", "channel", "status")
            ),
            Field("amount", Type.MONEY, Source.OCCASION, "amount_minor"),
            Field("party_size", Type.NUMBER, Source.OCCASION, "party_size"),
        )
    }
)
"""What a `where` may ask about each thing a customer did."""

MEASURES: Final[Mapping[str, Field]] = MappingProxyType(
    {
        "count": Field("count", Type.NUMBER, Source.MEASURE, ""),
        "sum": Field("sum", Type.MONEY, Source.MEASURE, ""),
        "first": Field("first", Type.MOMENT, Source.MEASURE, ""),
        "last": Field("last", Type.MOMENT, Source.MEASURE, ""),
    }
)
"""What may be asked about all that a customer did, together."""

ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **_ALIASES,
        **{
            f"preferences.{f.name}": f.name
            for f in FIELDS.values()
            if f.source is Source.PREFERENCES
        },
    }
)
"""Other names of fields."""

_KNOWN: Final[Mapping[str, Field]] = {
    **FIELDS,
    **PSEUDO_FIELDS,
    **{alias: FIELDS[name] for alias, name in ALIASES.items()},
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


def find_of_occasion(name: str, *, path: str | None = None) -> Field:
    """The field of an occasion of that name; raises `RuleError` as `find` does."""
    if name not in OCCASION_FIELDS:
        raise RuleError(unknown("field of an activity", name, OCCASION_FIELDS), field=path)
    return OCCASION_FIELDS[name]
