"""Loyalty programmes as data: how points are earned, what they buy, and which tiers they give.

A programme is checked as a whole when it is made; what only the other settings can tell
(kinds of activities, payload values) is checked by `Settings`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, TypeAlias

import attrs

from crmkit.errors import InvalidInput, shown, unknown

Period: TypeAlias = Literal["day", "week", "month", "quarter", "year"]
PERIODS: tuple[Period, ...] = ("day", "week", "month", "quarter", "year")

COUNTED = (
    "bookings", "completed_bookings", "orders", "visits", "events_attended", "reviews",
    "referrals", "spend",
)  # fmt: skip
"""What stamp cards and milestones may count: counters of `Metrics`, or the money spent."""

_MOST = 10**12
_NAME = re.compile(r"[^\W_][\w .:+&%'-]{0,99}")


def _wrong(what: str, field: str) -> InvalidInput:
    return InvalidInput(what, field=f"programmes.{field}")


def _check_name(field: str) -> Callable[[Any, Any, Any], None]:
    def check(_: Any, __: Any, value: object) -> None:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise _wrong("expected a name of 1 to 100 letters, digits, spaces, _ or -", field)

    return check


def _whole(
    field: str, least: int = 0, most: int = _MOST, *, optional: bool = False
) -> Callable[[Any, Any, Any], None]:
    def check(_: Any, __: Any, value: object) -> None:
        if optional and value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _wrong(f"expected a whole number from {least} to {most:,}", field)

    return check


def _one_of(field: str, choices: Sequence[str]) -> Callable[[Any, Any, Any], None]:
    def check(_: Any, __: Any, value: object) -> None:
        if value not in choices:
            raise _wrong(unknown(field.rpartition(".")[2], str(value), choices), field)

    return check


def _decimal(value: object, field: str) -> Decimal:
    try:
        number = Decimal(str(value))
    except ArithmeticError as error:
        raise _wrong("expected a number", field) from error
    if isinstance(value, bool) or not number.is_finite() or not 0 < number <= 10**9:
        raise _wrong("expected a number above 0", field)
    return number


def _per(value: Decimal | str | float | None) -> Decimal | None:
    return None if value is None else _decimal(value, "earn_rules.per")


def _times(value: Decimal | str | float) -> Decimal:
    return _decimal(value, "multipliers.times")


def _moment(_: Any, attribute: attrs.Attribute[Any], value: datetime | None) -> None:
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise _wrong("expected a datetime with a time zone", attribute.name)


# Each with its type: a checker sees what `Programme(...)` takes through its converters.


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


def _tiers(value: Iterable[Tier]) -> tuple[Tier, ...]:
    return tuple(value)


def _earn_rules(value: Iterable[EarnRule]) -> tuple[EarnRule, ...]:
    return tuple(value)


def _multipliers(value: Iterable[Multiplier]) -> tuple[Multiplier, ...]:
    return tuple(value)


def _rewards(value: Iterable[Reward]) -> tuple[Reward, ...]:
    return tuple(value)


def _cards(value: Iterable[StampCard]) -> tuple[StampCard, ...]:
    return tuple(value)


def _milestones(value: Iterable[Milestone]) -> tuple[Milestone, ...]:
    return tuple(value)


@attrs.frozen
class Tier:
    """A loyalty tier, and what one must have for it; None for a tier that is only given.

    The unit is that of the programme's `TierPolicy`: points, money in major units, or visits.
    """

    name: str = attrs.field(validator=_check_name("tiers.name"))
    from_points: int | None = attrs.field(
        default=None, validator=_whole("tiers.from_points", optional=True)
    )


@attrs.frozen(kw_only=True)
class TierPolicy:
    """By what a tier is reached, over which time, and when it is lost.

    `by` is what qualifies: points earned (never the balance), money spent, or visits; all
    that ever came, or of the last `window_days`, or of the current calendar unit `calendar`.
    A tier is reached at once, and held until `grace_days` after the first instant at which
    what qualifies no longer reaches; with a `review`, until `grace_days` after the end of
    the period which that instant lies in. Reached again by then, it is not lost. Each tier is
    held by itself, so that whoever qualifies for more never has a lower one. `notice_days`
    before it is lost `TierExpiring` tells of it.
    """

    by: Literal["points", "spend", "visits"] = attrs.field(
        default="points", validator=_one_of("policy.by", ("points", "spend", "visits"))
    )
    window_days: int | None = attrs.field(
        default=None, validator=_whole("policy.window_days", 1, 36_500, optional=True)
    )
    calendar: Literal["month", "quarter", "year"] | None = attrs.field(default=None)
    review: Literal["month", "quarter", "year"] | None = attrs.field(default=None)
    grace_days: int = attrs.field(default=0, validator=_whole("policy.grace_days", 0, 3_650))
    notice_days: int = attrs.field(default=14, validator=_whole("policy.notice_days", 0, 3_650))

    def __attrs_post_init__(self) -> None:
        for field, value in (("calendar", self.calendar), ("review", self.review)):
            if value is not None:
                _one_of(f"policy.{field}", ("month", "quarter", "year"))(None, None, value)
        if self.window_days is not None and self.calendar is not None:
            raise _wrong("expected window_days or calendar, not both", "policy")
        if self.calendar is not None and self.review not in (None, self.calendar):
            raise _wrong("expected the review at the end of the calendar unit", "policy.review")

    @property
    def reviewed(self) -> str | None:
        """The calendar unit at whose end a tier may be lost; that of the window if it has one."""
        return self.review or self.calendar


@attrs.frozen
class Cap:
    """At most so many points a customer and period of the local calendar, or ever."""

    points: int = attrs.field(validator=_whole("cap.points"))
    per: Period | Literal["ever"] = attrs.field(
        default="day", validator=_one_of("cap.per", (*PERIODS, "ever"))
    )


@attrs.frozen(kw_only=True)
class EarnRule:
    """Points for activities of one kind.

    `points` for each, or with `per` for each full so much money: ``points=1, per=10`` gives
    one for every 10.00. `where` names payload values that must be equal; `completed` asks
    that the booking took place, and with `pending` its points are shown as pending until
    then. `when` is a segmentation rule that the customer must fit at that instant; `starts`
    and `ends` bound when it must happen. Of several rules that fit one activity the best
    one pays, and those that `stacks` pay besides.

    Points can be used `hold_days` after they were earned, and until the end of the local day
    `expires_days` after they can be used; None takes the programme's. Without `qualifies`
    they do not count for the tier.
    """

    name: str = attrs.field(validator=_check_name("earn_rules.name"))
    kind: str
    points: int = attrs.field(validator=_whole("earn_rules.points"))
    per: Decimal | None = attrs.field(default=None, converter=_per)
    where: Mapping[str, Any] = attrs.field(factory=dict)
    completed: bool = False
    pending: bool = False
    when: Mapping[str, Any] | None = None
    starts: datetime | None = attrs.field(default=None, validator=_moment)
    ends: datetime | None = attrs.field(default=None, validator=_moment)
    stacks: bool = False
    cap: Cap | None = None
    qualifies: bool = True
    hold_days: int | None = attrs.field(
        default=None, validator=_whole("earn_rules.hold_days", 0, 3_650, optional=True)
    )
    expires_days: int | None = attrs.field(
        default=None, validator=_whole("earn_rules.expires_days", 1, 36_500, optional=True)
    )


@attrs.frozen(kw_only=True)
class Multiplier:
    """Multiplies what activities earn, rounded down.

    `during` is the customer's birthday or the month of it, by the local calendar; `when` a
    segmentation rule; `kinds` the activities it is for, all if None. The greatest that fits
    multiplies, and those that `stacks` multiply besides.
    """

    name: str = attrs.field(validator=_check_name("multipliers.name"))
    times: Decimal = attrs.field(converter=_times)
    during: Literal["birthday", "birthday_month"] | None = None
    when: Mapping[str, Any] | None = None
    kinds: tuple[str, ...] | None = attrs.field(
        default=None, converter=attrs.converters.optional(_names)
    )
    starts: datetime | None = attrs.field(default=None, validator=_moment)
    ends: datetime | None = attrs.field(default=None, validator=_moment)
    stacks: bool = False


@attrs.frozen
class Limit:
    """At most so often a customer and period of the local calendar, or ever."""

    times: int = attrs.field(validator=_whole("limit.times", 1, 1_000_000))
    per: Period | Literal["ever"] = attrs.field(
        default="ever", validator=_one_of("limit.per", (*PERIODS, "ever"))
    )


@attrs.frozen(kw_only=True)
class Reward:
    """Something a customer can redeem, for points or, at no cost, by right.

    `type` says what it is to the host (``DISCOUNT_10``). It can be had while `stock` lasts
    (None is any number), from `starts` until `ends`, from `tier` up, by customers who fit
    the segmentation rule `when`, on or in the month of their birthday (`during`), by groups of
    at least `party_size`, and as often as `limit` allows. A redemption that is not fulfilled
    within `hold_days` is cancelled, and its points come back. With `by_card` only a full
    stamp card gives it.
    """

    name: str = attrs.field(validator=_check_name("rewards.name"))
    cost: int = attrs.field(default=0, validator=_whole("rewards.cost"))
    type: str | None = None
    title: str | None = None
    stock: int | None = attrs.field(default=None, validator=_whole("rewards.stock", optional=True))
    starts: datetime | None = attrs.field(default=None, validator=_moment)
    ends: datetime | None = attrs.field(default=None, validator=_moment)
    tier: str | None = None
    when: Mapping[str, Any] | None = None
    during: Literal["birthday", "birthday_month"] | None = None
    party_size: int | None = attrs.field(
        default=None, validator=_whole("rewards.party_size", 1, 100_000, optional=True)
    )
    limit: Limit | None = None
    hold_days: int = attrs.field(default=30, validator=_whole("rewards.hold_days", 1, 3_650))
    by_card: bool = False


@attrs.frozen(kw_only=True)
class StampCard:
    """A stamp for each visit, booking or the like; every so many give a reward."""

    name: str = attrs.field(validator=_check_name("cards.name"))
    reward: str
    every: int = attrs.field(validator=_whole("cards.every", 1, 10_000))
    counts: str = attrs.field(default="visits", validator=_one_of("cards.counts", COUNTED[:-1]))


@attrs.frozen(kw_only=True)
class Milestone:
    """Something that is reached once in a customer's life, whatever is refunded later.

    Whoever has `reaches` of what `counts` names (money in major units) gets `points`, which
    do not count for the tier, and the tier, where these are given.
    """

    name: str = attrs.field(validator=_check_name("milestones.name"))
    counts: str = attrs.field(validator=_one_of("milestones.counts", COUNTED))
    reaches: int = attrs.field(validator=_whole("milestones.reaches", 1))
    points: int = attrs.field(default=0, validator=_whole("milestones.points"))
    tier: str | None = None


@attrs.frozen(kw_only=True)
class ReferralPolicy:
    """What both sides of a referral get, and when.

    The points of both are pending from the referred customer's first completed booking or
    visit, and can be used `window_days` later, unless that is called off before. They do not
    count for the tier. Beyond `limit` the referrer gets nothing. Whoever has an e-mail, phone
    or handle of the referrer's is refused; with ``shared_phone="flag"``, for families who share
    one, the same phone alone is only flagged.
    """

    referrer: int = attrs.field(default=50, validator=_whole("referral.referrer"))
    referee: int = attrs.field(default=50, validator=_whole("referral.referee"))
    window_days: int = attrs.field(default=14, validator=_whole("referral.window_days", 0, 3_650))
    limit: Limit | None = None
    shared_phone: Literal["refuse", "flag"] = attrs.field(
        default="refuse", validator=_one_of("referral.shared_phone", ("refuse", "flag"))
    )


DEFAULT_TIERS = (
    Tier("BRONZE", 0),
    Tier("SILVER", 1_000),
    Tier("GOLD", 3_000),
    Tier("PLATINUM", 6_000),
    Tier("VIP"),
)

DEFAULT_EARN_RULES = (
    EarnRule(name="booking_completed", kind="booking", points=100, completed=True),
    EarnRule(
        name="party_completed",
        kind="booking",
        points=200,
        where={"type": "party"},
        completed=True,
    ),
    EarnRule(name="referral", kind="referral", points=50),
    EarnRule(name="review", kind="review", points=25),
)

DEFAULT_MULTIPLIERS = (
    Multiplier(name="birthday_month", times=Decimal(2), during="birthday_month"),
)

DEFAULT_REWARDS = (
    Reward(name="free_beverage", cost=500, type="FREE_BEVERAGE"),
    Reward(name="discount_10", cost=1_000, type="DISCOUNT_10"),
    Reward(name="party_addon", cost=2_500, type="PARTY_ADDON"),
    Reward(name="private_hour", cost=5_000, type="PRIVATE_HOUR"),
)

DEFAULT_MILESTONES = (
    Milestone(name="tenth_booking", counts="bookings", reaches=10),
    Milestone(name="spent_1000", counts="spend", reaches=1_000),
)


def _check_tiers(_: Any, __: Any, value: tuple[Tier, ...]) -> None:
    starts = [tier.from_points for tier in value if tier.from_points is not None]
    if not starts or starts[0] != 0 or starts != sorted(set(starts)):
        raise _wrong("tiers begin at 0 and rise strictly", "tiers")
    if any(tier.from_points is None for tier in value[: len(starts)]):
        raise _wrong("tiers that are only given come last, the highest at the end", "tiers")


@attrs.frozen(kw_only=True)
class Programme:
    """A loyalty programme, whole.

    `tiers` rise from 0 without gaps; each begins where the one before it ends, and those that
    are only given stand above them. Points that were spent before their booking was called
    off become `debt` that later points pay, or are forgiven (`floor`), or calling it off is
    refused (`block`). Where `enrolment` is ``on_request``, only who enrolled earns.

    Raises `InvalidInput` for a configuration that does not hold together, with its place.
    """

    name: str = attrs.field(default="points", validator=_check_name("name"))
    enrolment: Literal["automatic", "on_request"] = attrs.field(
        default="automatic", validator=_one_of("enrolment", ("automatic", "on_request"))
    )
    tiers: tuple[Tier, ...] = attrs.field(
        default=DEFAULT_TIERS, converter=_tiers, validator=_check_tiers
    )
    policy: TierPolicy = TierPolicy()
    earn_rules: tuple[EarnRule, ...] = attrs.field(
        default=DEFAULT_EARN_RULES, converter=_earn_rules
    )
    multipliers: tuple[Multiplier, ...] = attrs.field(
        default=DEFAULT_MULTIPLIERS, converter=_multipliers
    )
    hold_days: int = attrs.field(default=0, validator=_whole("hold_days", 0, 3_650))
    expires_days: int | None = attrs.field(
        default=None, validator=_whole("expires_days", 1, 36_500, optional=True)
    )
    on_spent: Literal["debt", "floor", "block"] = attrs.field(
        default="debt", validator=_one_of("on_spent", ("debt", "floor", "block"))
    )
    rewards: tuple[Reward, ...] = attrs.field(default=DEFAULT_REWARDS, converter=_rewards)
    cards: tuple[StampCard, ...] = attrs.field(default=(), converter=_cards)
    milestones: tuple[Milestone, ...] = attrs.field(
        default=DEFAULT_MILESTONES, converter=_milestones
    )
    referral: ReferralPolicy | None = ReferralPolicy()

    def __attrs_post_init__(self) -> None:
        named: tuple[tuple[str, Sequence[Any]], ...] = (
            ("tiers", self.tiers),
            ("earn_rules", self.earn_rules),
            ("multipliers", self.multipliers),
            ("rewards", self.rewards),
            ("cards", self.cards),
            ("milestones", self.milestones),
        )
        for field, parts in named:
            names = [part.name for part in parts]
            if len(set(names)) != len(names):
                raise _wrong("names are unique", field)
        self._check_dates()
        self._check_tier_names()
        self._check_cards()

    def _check_dates(self) -> None:
        dated: Sequence[EarnRule | Multiplier | Reward] = (
            *self.earn_rules,
            *self.multipliers,
            *self.rewards,
        )
        for part in dated:
            if part.starts and part.ends and part.starts >= part.ends:
                raise _wrong(f"{shown(part.name)} ends before it starts", "ends")
        for rule in self.earn_rules:
            if rule.pending and not rule.completed:
                raise _wrong(
                    f"{shown(rule.name)}: points are pending until completed", "earn_rules.pending"
                )
        timed: Sequence[Multiplier | Reward] = (*self.multipliers, *self.rewards)
        for of in timed:
            if of.during not in (None, "birthday", "birthday_month"):
                choices = ("birthday", "birthday_month")
                raise _wrong(unknown("time", str(of.during), choices), "during")

    def _check_tier_names(self) -> None:
        names = [tier.name for tier in self.tiers]
        giving: Sequence[Reward | Milestone] = (*self.rewards, *self.milestones)
        for part in giving:
            if part.tier is not None and part.tier not in names:
                raise _wrong(unknown("tier", part.tier, names), "tier")

    def _check_cards(self) -> None:
        rewards = {reward.name: reward for reward in self.rewards}
        for card in self.cards:
            if card.reward not in rewards:
                raise _wrong(unknown("reward", card.reward, rewards), "cards.reward")
            if not rewards[card.reward].by_card or rewards[card.reward].cost:
                raise _wrong(
                    f"{shown(card.reward)} costs nothing and is given by_card", "cards.reward"
                )
        by_card = {card.reward for card in self.cards}
        for reward in self.rewards:
            if reward.by_card and reward.name not in by_card:
                raise _wrong(f"no card gives {shown(reward.name)}", "rewards.by_card")

    @property
    def conditions(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The segmentation rules of its parts, each with its place."""
        for place in ("earn_rules", "multipliers", "rewards"):
            for part in getattr(self, place):
                if part.when is not None:
                    yield place, part.when

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """From how much on each tier that is reached by qualifying begins."""
        return tuple(t.from_points for t in self.tiers if t.from_points is not None)

    @cached_property
    def ranks(self) -> Mapping[str, int]:
        """The tiers' places, the lowest is 0."""
        return {tier.name: rank for rank, tier in enumerate(self.tiers)}

    @cached_property
    def version(self) -> str:
        """A short mark that differs where any part of the programme does."""
        text = json.dumps(self.document(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def document(self) -> dict[str, Any]:
        """The programme as JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self), default=str))
        return plain

    def rule(self, name: str) -> EarnRule | None:
        """The earn rule of that name."""
        return next((rule for rule in self.earn_rules if rule.name == name), None)

    def reward(self, name: str) -> Reward | None:
        """The reward of that name."""
        return next((reward for reward in self.rewards if reward.name == name), None)


def checked(programmes: Iterable[Programme]) -> tuple[Programme, ...]:
    """Programmes of one tenant; raises `InvalidInput` for none, or two of one name."""
    found = tuple(programmes)
    if not found or not all(isinstance(programme, Programme) for programme in found):
        raise InvalidInput("expected at least one Programme", field="programmes")
    if len({programme.name for programme in found}) != len(found):
        raise InvalidInput("names of programmes are unique", field="programmes")
    return found
