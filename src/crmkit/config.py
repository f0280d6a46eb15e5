"""What a host may set, in one place; the defaults are the ones the documentation states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from crmkit.errors import InvalidInput, shown, unknown
from crmkit.payload_fields import (
    ARRIVAL,
    BOOKING,
    COMMON,
    CONSUMPTION,
    FEEDBACK,
    FUNNEL_STEP,
    MESSAGE,
    PARTICIPANTS,
    POST_EVENT_REPORT,
    PREMIUM_CONVERSION,
    REASON,
    REFERRAL,
    REVIEW,
    SALE,
    SUPPORT,
    TICKET,
    TOPIC,
    PayloadField,
    declared,
    problem,
)
from crmkit.value_settings import Valuation

if TYPE_CHECKING:
    from crmkit.erasure_ledger import ErasureLedger
    from crmkit.privacy_settings import PrivacyNotice
    from crmkit.programmes import EarnRule, Programme
    from crmkit.retention import RetentionPolicy


@attrs.frozen(kw_only=True, cache_hash=True)
class Kind:
    """A kind of activity and what it does to a customer's metrics.

    `counts` names the counters of `Metrics` that rise by one and `dates` the pairs of
    first and last dates (``booking``, ``order``, ``visit``) that it moves. With `spends`
    its amount adds to the spend; with `paid_is_order` it counts as an order where it
    carries an amount. With `once`, saying it again with the same reference (another
    status, another amount) restates it: it counts once, as last said. `own_id` names the
    payload key that is its reference where no ``reference`` is given (``order_id`` for a
    purchase). `role` is what it does to the other facts with its reference: ``happens``
    (nothing), ``completes``, ``cancels`` or ``refunds`` them. ``voids`` and ``amends`` are
    crmkit's own corrections.

    `payload` are the keys of its payload that are checked, beside those of every kind; one
    of the same name takes the place of the common one.
    """

    name: str
    counts: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    spends: bool = False
    paid_is_order: bool = False
    needs_amount: bool = False
    once: bool = False
    own_id: str | None = None
    role: Literal["happens", "completes", "cancels", "refunds", "voids", "amends"] = "happens"
    payload: tuple[PayloadField, ...] = attrs.field(default=(), converter=declared, repr=False)

    @property
    def fields(self) -> Mapping[str, PayloadField]:
        """The keys that are understood, by their names: its own, and the common ones."""
        shared = (PARTICIPANTS,) if self.spends else ()
        return {field.name: field for field in (*COMMON, *shared, *self.payload)}

    @property
    def is_shared(self) -> bool:
        """Whether participants may bear parts of the amount."""
        return self.fields.get("participants") is PARTICIPANTS


DEFAULT_KINDS = (
    Kind(
        name="purchase",
        counts=("orders",),
        dates=("order",),
        spends=True,
        needs_amount=True,
        once=True,
        own_id="order_id",
        payload=SALE,
    ),
    Kind(
        name="order",
        counts=("orders",),
        dates=("order",),
        spends=True,
        needs_amount=True,
        once=True,
        own_id="order_id",
        payload=SALE,
    ),
    Kind(
        name="ticket",
        counts=("orders",),
        dates=("order",),
        spends=True,
        once=True,
        own_id="ticket_id",
        payload=TICKET,
    ),
    Kind(
        name="booking",
        counts=("bookings",),
        dates=("booking",),
        spends=True,
        paid_is_order=True,
        once=True,
        own_id="booking_id",
        payload=BOOKING,
    ),
    Kind(name="completion", role="completes"),
    Kind(name="cancellation", counts=("cancellations",), role="cancels", payload=REASON),
    Kind(name="no_show", counts=("no_shows",), role="cancels", payload=REASON),
    Kind(name="refund", counts=("refunds",), role="refunds", payload=REASON),
    Kind(name="visit", counts=("visits",), dates=("visit",), payload=ARRIVAL),
    Kind(name="check_in", counts=("visits",), dates=("visit",), payload=ARRIVAL),
    Kind(
        name="attendance", counts=("visits", "events_attended"), dates=("visit",), payload=ARRIVAL
    ),
    Kind(name="consumption", spends=True, payload=CONSUMPTION),
    Kind(name="review", counts=("reviews",), payload=REVIEW),
    Kind(name="feedback", counts=("feedbacks",), payload=FEEDBACK),
    Kind(name="referral", counts=("referrals",), payload=REFERRAL),
    Kind(name="support", counts=("support_requests",), payload=SUPPORT),
    Kind(name="interaction", payload=TOPIC),
    Kind(name="message_delivered", counts=("messages_delivered",), payload=MESSAGE),
    Kind(name="message_opened", counts=("messages_opened",), payload=MESSAGE),
    Kind(name="message_clicked", counts=("messages_clicked",), payload=MESSAGE),
    Kind(name="funnel_step", payload=FUNNEL_STEP),
    Kind(name="post_event_report", payload=POST_EVENT_REPORT),
    Kind(name="premium_conversion", payload=PREMIUM_CONVERSION),
)

CORRECTIONS = (
    Kind(name="void", role="voids", payload=REASON),
    Kind(name="amendment", role="amends"),
    Kind(name="refund", counts=("refunds",), role="refunds", payload=REASON),
)
"""The kinds that correct an activity; they are known whatever the settings name."""


@attrs.frozen(kw_only=True)
class Lifecycle:
    """Days that part new, active, at-risk and churned customers."""

    new_days: int = 30
    active_days: int = 90
    churned_days: int = 180


@attrs.frozen(kw_only=True)
class SpendingBands:
    """Where the spending bands begin, in major units: low below `medium`, vip above `vip`."""

    medium: int = 100
    high: int = 500
    vip: int = 1000


def _check_zone(_: object, __: object, value: str) -> None:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput("not a time zone of the IANA database", field="timezone") from error


def _check_currency(_: object, __: object, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{3}", value):
        raise InvalidInput("expected three capital letters (ISO 4217)", field="currency")


def _check_day_ends(_: object, __: object, value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch("(0[0-9]|1[01]):[0-5][0-9]", value):
        raise InvalidInput("expected a time before noon such as 06:00", field="day_ends")


def _check_region(_: object, __: object, value: str | None) -> None:
    if value is not None and not re.fullmatch("[A-Z]{2}", value):
        raise InvalidInput("expected two capital letters (ISO 3166-1)", field="region")


class _Kinds(dict[str, Kind]):
    def __missing__(self, name: str) -> Kind:
        raise InvalidInput(
            f"there are activities of kind {shown(name)}, which the settings no longer name",
            field="kinds",
        )


COUNTERS = frozenset(
    (
        "bookings orders visits events_attended cancellations no_shows refunds reviews referrals"
        " feedbacks support_requests messages_delivered messages_opened messages_clicked"
    ).split()
)
"""The counters of `Metrics` that a kind may raise."""

DATES = frozenset({"booking", "order", "visit"})
"""The pairs of first and last dates in `Metrics` that a kind may move."""


def _check_kind(kind: Kind) -> None:
    if kind.role in ("voids", "amends") or kind.name in ("void", "amendment"):
        raise InvalidInput("void and amendment are crmkit's own kinds", field="kinds")
    for name in kind.counts:
        if name not in COUNTERS:
            raise InvalidInput(unknown("counter", name, COUNTERS), field="kinds")
    for name in kind.dates:
        if name not in DATES:
            raise InvalidInput(unknown("date", name, DATES), field="kinds")
    if kind.own_id is not None and (not isinstance(kind.own_id, str) or not kind.own_id):
        raise InvalidInput("expected the name of a payload key as own_id", field="kinds")


def _check_kinds(_: object, __: object, value: tuple[Kind, ...]) -> None:
    if len({kind.name for kind in value}) != len(value):
        raise InvalidInput("names of kinds are unique", field="kinds")
    for kind in value:
        _check_kind(kind)
    _check_payloads(value)


def _check_payloads(kinds: tuple[Kind, ...]) -> None:
    own_ids = {kind.own_id for kind in kinds if kind.own_id}
    for kind in kinds:
        wrong = problem(kind.payload, own_ids)
        if wrong:
            raise InvalidInput(f"kind {shown(kind.name)}: {wrong}", field="kinds")


# What only some hosts set is imported when settings are made, not with crmkit.


def _one_programme() -> tuple[Programme, ...]:
    from crmkit.programmes import Programme

    return (Programme(),)


def _checked_programmes(value: Iterable[Programme]) -> tuple[Programme, ...]:
    from crmkit.programmes import checked

    return checked(value)


def _policies(value: Iterable[RetentionPolicy]) -> tuple[RetentionPolicy, ...]:
    from crmkit.retention import checked

    return checked(value)


def _no_notice() -> PrivacyNotice:
    from crmkit.privacy_settings import PrivacyNotice

    return PrivacyNotice()


def _holidays(value: Iterable[date | str]) -> tuple[date, ...]:
    from crmkit.privacy_settings import holidays

    return holidays(value)


def _check_programmes(settings: Settings, __: object, value: tuple[Programme, ...]) -> None:
    known = {kind.name: kind for kind in settings.kinds}
    for programme in value:
        for kind in (k for m in programme.multipliers for k in m.kinds or ()):
            if kind not in known:
                raise InvalidInput(
                    unknown("activity kind", kind, known), field="programmes.multipliers.kinds"
                )
        for rule in programme.earn_rules:
            _check_earn_rule(rule, known)


def _check_earn_rule(rule: EarnRule, known: Mapping[str, Kind]) -> None:
    if rule.kind not in known:
        raise InvalidInput(
            unknown("activity kind", rule.kind, known), field="programmes.earn_rules.kind"
        )
    if rule.per is not None and not known[rule.kind].spends:
        raise InvalidInput(
            f"{shown(rule.kind)} is no kind that spends", field="programmes.earn_rules.per"
        )
    for name, wanted in rule.where.items():
        asked = known[rule.kind].fields.get(name)
        if asked is not None and asked.choices and wanted not in asked.choices:
            raise InvalidInput(
                unknown(name, wanted, asked.choices), field="programmes.earn_rules.where"
            )


def _check_lifecycle(_: object, __: object, value: Lifecycle) -> None:
    if value.new_days <= 0 or not 0 < value.active_days < value.churned_days:
        raise InvalidInput("expected days that rise: active, churned", field="lifecycle")


def _check_bands(_: object, __: object, value: SpendingBands) -> None:
    if not 0 < value.medium < value.high < value.vip:
        raise InvalidInput("expected amounts that rise: medium, high, vip", field="spending_bands")


def _check_value(settings: Settings, __: object, value: Valuation) -> None:
    for name in value.purchase_kinds or ():
        if name not in settings.kinds_by_name:
            known = [kind.name for kind in settings.kinds]
            raise InvalidInput(unknown("activity kind", name, known), field="value.purchase_kinds")


def _check_retention(settings: Settings, __: object, value: tuple[RetentionPolicy, ...]) -> None:
    for name in (kind for policy in value for kind in policy.kinds or ()):
        if name not in settings.kinds_by_name:
            known = [kind.name for kind in settings.kinds]
            raise InvalidInput(unknown("activity kind", name, known), field="retention.kinds")


def _check_horizon(_: object, __: object, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 3_650:
        raise InvalidInput("expected 1 to 3650 days", field="lifetime_horizon_days")


# Each with its type: a checker sees what `Settings(...)` takes through its converters.


def _matched_fields(value: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(value, str):
        raise InvalidInput("expected a list of fields, not one text", field="identity.fields")
    return None if value is None else tuple(value)


def _nicknames(value: Mapping[str, Iterable[str]]) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or any(isinstance(s, str) for s in value.values()):
        raise InvalidInput(
            "expected a list of short forms for each name", field="identity.nicknames"
        )
    return {name: tuple(short) for name, short in value.items()}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_matched(_: object, __: object, value: tuple[str, ...] | None) -> None:
    for field in value or ():
        if field not in MATCHED_FIELDS and not field.startswith(("custom.", "social_handles.")):
            raise InvalidInput(unknown("field", field, MATCHED_FIELDS), field="identity.fields")


def _check_thresholds(matching: Matching, __: object, value: float) -> None:
    numbers = _is_number(matching.maybe) and _is_number(value)
    if not numbers or not 0 < matching.maybe <= value <= 1:
        raise InvalidInput("expected 0 < maybe <= same <= 1", field="identity.same")


def _check_merge_at(matching: Matching, __: object, value: float | None) -> None:
    if value is not None and not (_is_number(value) and matching.same <= value <= 1):
        raise InvalidInput("expected same <= merge_at <= 1, or None", field="identity.merge_at")


MATCHED_FIELDS = (
    "name", "email", "phone", "birth_date", "city", "instagram", "year", "gender", "postal_code",
    "address", "country", "language", "occupation", "anniversary",
)  # fmt: skip
"""What is compared of two profiles, beside fields of the host such as ``custom.member_no``.

``year`` is that in which an e-mail address ends, with the year of birth.
"""


@attrs.frozen(kw_only=True)
class Matching:
    """How it is told whether two records are one person.

    `fields` are those that take part, all if it is None; accounts and external ids always
    do. Without `fuzzy_match` only identifiers that are equal in canonical form lead to a
    customer. A mailbox that no crowd uses finds its owner where nothing contradicts, and any
    other profile does with a probability of at least `same`; from `maybe` on the pair
    is shown for review. Two customers whom what comes in shows to be one, with at least
    `merge_at`, are merged at once, which can be undone; None leaves them to review.
    `nicknames` adds short forms to given names, beside those that
    crmkit knows: ``{"svetlana": ["ceca"]}``.
    """

    fields: tuple[str, ...] | None = attrs.field(
        default=None, converter=_matched_fields, validator=_check_matched
    )
    fuzzy_match: bool = True
    maybe: float = 0.2
    same: float = attrs.field(default=0.55, validator=_check_thresholds)
    merge_at: float | None = attrs.field(default=0.9, validator=_check_merge_at)
    nicknames: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict, converter=_nicknames, hash=False
    )


def _kinds(value: Iterable[Kind]) -> tuple[Kind, ...]:
    return tuple(value)


CRITERIA = ("verified", "fuller", "newer")
"""By what the value that survives a merge may be chosen."""


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


def _orders(value: Mapping[str, Iterable[str]]) -> Mapping[str, tuple[str, ...]]:
    return {field: tuple(order) for field, order in value.items()}


def _check_order(_: object, __: object, value: tuple[str, ...]) -> None:
    for name in value:
        if name not in CRITERIA:
            raise InvalidInput(unknown("criterion", name, CRITERIA), field="survivorship")


def _check_orders(_: object, __: object, value: Mapping[str, tuple[str, ...]]) -> None:
    for order in value.values():
        _check_order(None, None, order)


@attrs.frozen(kw_only=True)
class Survivorship:
    """Whose value a profile shows after a merge where both have one.

    The criteria are asked in their order, the first that tells decides; where none does, the
    kept customer's value stays. `fields` gives fields an order of their own, and with them those
    that they go together with, such as a city with its address; with ``()`` the kept customer's
    value always stays.
    """

    order: tuple[str, ...] = attrs.field(default=CRITERIA, converter=_names, validator=_check_order)
    fields: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict, converter=_orders, validator=_check_orders
    )


AUDITED = ("acts", "writes", "reads")
"""What the audit holds: acts of privacy and identity; all writes too; reads as well."""


def _check_audit(_: object, __: object, value: object) -> None:
    if value not in AUDITED:
        raise InvalidInput(unknown("kind of audit", str(value), AUDITED), field="audit")


@attrs.frozen(kw_only=True)
class Settings:
    """Settings of one tenant.

    `region` is the country whose national phone format is understood; without it
    phone numbers must carry their ``+`` prefix. `day_ends` is when a business day ends: with
    ``06:00``, who comes to a club at 01:30 comes on the day before. `holidays` are the public
    ones: beside Saturdays and Sundays they are no working days where the law counts those.
    `audit` is one of `AUDITED`.
    """

    currency: str = attrs.field(default="EUR", validator=_check_currency)
    timezone: str = attrs.field(default="UTC", validator=_check_zone)
    day_ends: str = attrs.field(default="00:00", validator=_check_day_ends)
    region: str | None = attrs.field(default=None, validator=_check_region)
    kinds: tuple[Kind, ...] = attrs.field(
        default=DEFAULT_KINDS, converter=_kinds, validator=_check_kinds
    )
    programmes: tuple[Programme, ...] = attrs.field(
        factory=_one_programme, converter=_checked_programmes, validator=_check_programmes
    )
    lifecycle: Lifecycle = attrs.field(factory=Lifecycle, validator=_check_lifecycle)
    spending_bands: SpendingBands = attrs.field(factory=SpendingBands, validator=_check_bands)
    survivorship: Survivorship = Survivorship()
    lifetime_horizon_days: int = attrs.field(default=365, validator=_check_horizon)
    identity: Matching = attrs.field(factory=Matching)
    value: Valuation = attrs.field(factory=Valuation, validator=_check_value)
    retention: tuple[RetentionPolicy, ...] = attrs.field(
        default=(), converter=_policies, validator=_check_retention
    )
    erasure_ledger: ErasureLedger | None = None
    privacy: PrivacyNotice = attrs.field(factory=_no_notice)
    holidays: tuple[date, ...] = attrs.field(default=(), converter=_holidays)
    audit: str = attrs.field(default="acts", validator=_check_audit)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The tenant's time zone."""
        return ZoneInfo(self.timezone)

    @cached_property
    def day_end(self) -> timedelta:
        """How long after midnight a business day ends."""
        hours, minutes = map(int, self.day_ends.split(":"))
        return timedelta(hours=hours, minutes=minutes)

    @cached_property
    def kinds_by_name(self) -> Mapping[str, Kind]:
        """The kinds of activity, by their names."""
        return _Kinds({kind.name: kind for kind in (*CORRECTIONS, *self.kinds)})

    @cached_property
    def reference_names(self) -> tuple[str, ...]:
        """The payload keys that name a story, the first that is given counts.

        Of several ids the most particular one: a ticket's, an order's, a booking's.
        """
        own = {kind.own_id for kind in self.kinds if kind.own_id}
        usual = ("reference", "ticket_id", "order_id", "booking_id")
        return (*usual, *sorted(own - {*usual}))

    @property
    def programme(self) -> Programme:
        """The first of the programmes: the one that is meant where none is named."""
        return self.programmes[0]

    def programme_named(self, name: str | None) -> Programme:
        """The programme of that name, the first for None; raises `InvalidInput`."""
        if name is None:
            return self.programme
        for programme in self.programmes:
            if programme.name == name:
                return programme
        known = [programme.name for programme in self.programmes]
        raise InvalidInput(unknown("programme", str(name), known), field="programme")
