"""The keys of a payload that crmkit understands, as data; `activities.payload` reads by them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, TypeAlias, get_args

import attrs

from crmkit.errors import shown, unknown

PayloadType: TypeAlias = Literal[
    "text", "long_text", "id", "choice", "integer", "number", "money", "currency",
    "instant", "flag", "object", "list",
]  # fmt: skip


# Each with its type: a checker sees what `PayloadField(...)` takes through its converters.


def _words(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


def declared(value: Iterable[PayloadField]) -> tuple[PayloadField, ...]:
    """Fields from any iterable of them."""
    return tuple(value)


@attrs.frozen(cache_hash=True)
class PayloadField:
    """A key of a payload, and what its value may be.

    A ``choice`` is stored in the spelling of `choices`; `aliases` are other words for them.
    `least` and `most` bound an integer, a number or an amount of money. `fields` are the
    keys of an ``object``, and of each object in a ``list``. `default` is what a missing
    value means. It is not stored: a booking that is said again without it would take back
    what was said.
    """

    name: str
    type: PayloadType = "text"
    doc: str = ""
    choices: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=_words)
    aliases: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, hash=False)
    least: int | None = attrs.field(default=None, kw_only=True)
    most: int | None = attrs.field(default=None, kw_only=True)
    fields: tuple[PayloadField, ...] = attrs.field(default=(), kw_only=True, converter=declared)
    default: str | int | None = attrs.field(default=None, kw_only=True)

    @property
    def bounds(self) -> str:
        """``from 1 to 10``, ``from 1``, ``up to 10`` or nothing."""
        if self.least is None:
            return "" if self.most is None else f"up to {self.most:,}"
        return f"from {self.least:,}" + ("" if self.most is None else f" to {self.most:,}")


_PEOPLE = 100_000

STATUSES = (
    "requested", "pending", "approved", "confirmed", "completed", "cancelled", "no_show",
)  # fmt: skip
"""How far a booking has come, in this order."""

COMMON = (
    PayloadField("amount", "money", "what it cost; what was given back is a `refund`", least=0),
    PayloadField("currency", "currency"),
    PayloadField(
        "status",
        "choice",
        "how far it has come",
        choices=STATUSES,
        aliases={"canceled": "cancelled", "no-show": "no_show", "noshow": "no_show"},
    ),
    PayloadField("reference", "id", "your id of what it is about"),
    PayloadField("booking_id", "id", "your id of the booking it is about"),
    PayloadField("order_id", "id", "your id of the order"),
    PayloadField("ticket_id", "id", "your id of the ticket"),
    PayloadField("item", "id", "what it was, by name"),
    PayloadField("game", "id", "the same, of a game"),
    PayloadField("event", "id", "the same, of an event"),
    PayloadField("item_id", "id", "what it was, by your id"),
    PayloadField("game_id", "id", "the same, of a game"),
    PayloadField("event_id", "id", "the same, of an event"),
    PayloadField("venue", "id", "where it was, by name"),
    PayloadField("venue_id", "id", "where it was, by your id"),
    PayloadField("category", "text", "what sort of thing it was"),
    PayloadField("genre", "text", "such as house or comedy"),
    PayloadField("channel", "text", "the way it came, such as app or door"),
    PayloadField("party_size", "integer", "people, the guest included", least=1, most=_PEOPLE),
    PayloadField("staff_note", "long_text", "what staff noticed"),
)
"""What is understood in the payload of every kind."""

PARTICIPANTS = PayloadField(
    "participants",
    "list",
    "customers who bear parts of the amount",
    fields=(
        PayloadField("customer_id", "id", "who"),
        PayloadField("share", "number", "which part of the amount", least=0, most=1),
        PayloadField("amount", "money", "or how much of it", least=0),
    ),
)
"""Understood in the payload of every kind that spends."""

_SOURCE = (
    PayloadField("referral_source", "text", "such as instagram_dm, whatsapp or website"),
    PayloadField("promoter", "text", "the promoter who brought the guest"),
    PayloadField("invite_link", "text", "the invite link that was used"),
    PayloadField("utm_source", "text", "from the link"),
    PayloadField("utm_medium", "text", "from the link"),
    PayloadField("utm_campaign", "text", "from the link"),
)
_ITEMS = PayloadField(
    "items",
    "list",
    "what was ordered, line by line",
    fields=(
        PayloadField("name", "id", "what it is called"),
        PayloadField("id", "id", "your id of it"),
        PayloadField("quantity", "integer", "how many", least=1, most=_PEOPLE, default=1),
        PayloadField("price", "money", "of one; below zero for a discount"),
        PayloadField("category", "text", "what sort of thing it is"),
    ),
)
_TEXT = PayloadField("text", "long_text", "what was said")

SALE = (
    _ITEMS,
    PayloadField("package", "text", "the package that was chosen"),
    PayloadField("expected_amount", "money", "what it was expected to cost", least=0),
    PayloadField("upsell_accepted", "flag", "whether more was sold than was asked for"),
    *_SOURCE,
)
BOOKING = (
    PayloadField("type", "text", "such as party; the default earn rules know that one"),
    PayloadField(
        "method",
        "choice",
        "how it was booked",
        choices="INSTAGRAM WHATSAPP WEBSITE APP PHONE MANUAL".split(),
        default="MANUAL",
    ),
    PayloadField("starts_at", "instant", "when it begins"),
    PayloadField("ends_at", "instant", "when it ends"),
    PayloadField("special_requests", "long_text", "what the guest asked for"),
    PayloadField("deposit", "money", "what was paid in advance", least=0),
    *SALE,
)
TICKET = (
    PayloadField("type", "choice", "how it was come by", choices=("FREE", "LIST", "PAID")),
    PayloadField("price", "money", "the price on it", least=0),
    PayloadField("qr_code", "text", "what its QR code says"),
    PayloadField("group_size", "integer", "people it lets in", least=1, most=_PEOPLE, default=1),
    *SALE,
)
ARRIVAL = (
    PayloadField("gate", "text", "the gate that was used"),
    PayloadField("entered_at", "instant", "when the guest came in"),
    PayloadField("companions", "integer", "people who came along", least=0, most=_PEOPLE),
    PayloadField("waiting_minutes", "number", "how long the guest waited", least=0),
    PayloadField("means_of_arrival", "text", "such as taxi or tram"),
    PayloadField("entry_channel", "text", "such as list or door"),
)
CONSUMPTION = (
    PayloadField(
        "category",
        "choice",
        "what sort of thing it was",
        choices=("drink", "bottle", "table", "food"),
    ),
    _ITEMS,
)
REASON = (PayloadField("reason", "long_text", "why"),)
MESSAGE = (
    PayloadField("message_id", "id", "your id of the message"),
    PayloadField("campaign", "id", "the campaign it belongs to"),
    PayloadField("link", "text", "the link that was followed"),
)
REVIEW = (
    PayloadField("rating", "number", "stars", least=1, most=5),
    _TEXT,
    PayloadField("platform", "text", "where it was posted, such as Google"),
)
FEEDBACK = (
    PayloadField("score", "integer", "how likely the guest is to recommend you", least=0, most=10),
    _TEXT,
)
REFERRAL = (
    PayloadField("referred_customer_id", "id", "the customer who came"),
    PayloadField("code", "id", "the code that was used"),
)
TOPIC = (
    PayloadField("topic", "text", "what it was about"),
    PayloadField("outcome", "text", "how it ended"),
)
SUPPORT = (*TOPIC, PayloadField("ticket", "id", "your id of the support ticket"))
FUNNEL_STEP = (
    PayloadField("funnel", "id", "which funnel"),
    PayloadField("step", "id", "such as view, form_start or ticket_issued"),
    PayloadField("position", "integer", "which step of the funnel it is", least=1),
    PayloadField("session_id", "id", "your id of the visit to your site"),
    *_SOURCE,
)
POST_EVENT_REPORT = (
    *TOPIC,
    _TEXT,
    PayloadField("complaint", "flag", "whether the guest complained"),
)
PREMIUM_CONVERSION = (
    PayloadField("package", "text", "what the guest moved up to"),
    PayloadField("from_package", "text", "what the guest had before"),
)

_COMMON_TYPES: Mapping[str, PayloadType] = {field.name: field.type for field in COMMON}


def problem(fields: Iterable[PayloadField], own_ids: Collection[str]) -> str | None:
    """What is wrong with a kind's payload, if anything; `own_ids` are those of all kinds."""
    for field in fields:
        wrong = _problem(field)
        if wrong:
            return wrong
        # What crmkit itself looks at keeps its type; a choice will do for any text.
        read_as = "id" if field.name in own_ids else _COMMON_TYPES.get(field.name, field.type)
        if field.type != read_as and (field.type != "choice" or read_as not in ("text", "id")):
            return f"crmkit reads payload key {shown(field.name)} as {read_as}"
    return _repeated(fields)


def _problem(field: PayloadField) -> str | None:
    if not isinstance(field, PayloadField) or not isinstance(field.name, str) or not field.name:
        return "expected a payload of PayloadField, each with a name"
    said = f"payload key {shown(field.name)}"
    if field.type not in get_args(PayloadType):
        return f"{said}: {unknown('type', field.type, get_args(PayloadType))}"
    if (field.type == "choice") != bool(field.choices):
        return f"{said}: a choice, and nothing else, has choices"
    words = [*field.choices, *field.aliases]
    if not all(isinstance(word, str) and word.strip() for word in words):
        return f"{said}: expected choices that are words"
    if len({word.casefold() for word in words}) != len(words):
        return f"{said}: two words differ by large and small letters alone"
    if not {*field.aliases.values()} <= {*field.choices}:
        return f"{said}: an alias stands for one of the choices"
    if field.fields and field.type not in ("object", "list"):
        return f"{said}: only an object or a list has fields"
    bounds = [bound for bound in (field.least, field.most) if bound is not None]
    if not all(type(bound) is int for bound in bounds) or bounds != sorted(bounds):
        return f"{said}: expected bounds that are whole numbers and rise"
    if bounds and field.type not in ("integer", "number", "money"):
        return f"{said}: only an integer, a number or money has bounds"
    nested = (_problem(inner) for inner in field.fields)
    return next(filter(None, nested), None) or _repeated(field.fields)


def _repeated(fields: Iterable[PayloadField]) -> str | None:
    names = [field.name for field in fields]
    return None if len(names) == len(set(names)) else "names of payload keys are unique"
