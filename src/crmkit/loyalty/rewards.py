"""Whether a reward may be had, and why not; what a stamp card holds; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeAlias

import attrs

from crmkit.errors import shown
from crmkit.model import Redemption
from crmkit.programmes import Programme, Reward, StampCard

State: TypeAlias = Literal["reserved", "fulfilled", "cancelled", "lapsed"]


@attrs.frozen(kw_only=True)
class Redeemed:
    """A reward that a customer reserved, and what became of it.

    `type` is the reward's, for the host to act on. `code` is what the customer shows; who
    knows it gets the reward. `state` is ``reserved`` until it is ``fulfilled`` or
    ``cancelled``; what nobody fetched before `until` has ``lapsed``.
    """

    id: str
    customer_id: str
    programme: str
    reward: str
    type: str | None
    cost: int
    card: str | None
    code: str = attrs.field(repr=False)
    state: State
    reserved_at: datetime
    until: datetime
    fulfilled_at: datetime | None
    cancelled_at: datetime | None


@attrs.frozen
class Refusal:
    """Why a reward cannot be had: a short word, and a sentence."""

    reason: str
    text: str


@attrs.frozen(kw_only=True)
class Offer:
    """A reward, whether the customer can have it, and if not, all that stands against it.

    `missing` is how many points are missing, `left` what is left of the stock (None is any
    number).
    """

    reward: str
    type: str | None
    title: str | None
    cost: int
    left: int | None
    available: bool
    missing: int
    why_not: tuple[Refusal, ...]


@attrs.frozen
class Stamps:
    """A stamp card: `stamps` of `every` towards the next reward, and `ready` ones to redeem."""

    card: str
    reward: str
    stamps: int
    every: int
    ready: int


@attrs.frozen
class Offers:
    """What a customer can have: rewards in the programme's order, and stamp cards."""

    rewards: tuple[Offer, ...]
    cards: tuple[Stamps, ...]

    def __getitem__(self, reward: str) -> Offer:
        for offer in self.rewards:
            if offer.reward == reward:
                return offer
        raise KeyError(reward)


@attrs.frozen(kw_only=True)
class Claim:
    """What is known of who asks for a reward, as far as the reward asks.

    `taken` is how often it was taken in the limit's period, `ready` how many full cards give
    it, `left` what is left of its stock.
    """

    at: datetime
    balance: int = 0
    takes_part: bool = True
    rank: int = 0
    fits: bool = True
    celebrates: bool = True
    party_size: int | None = None
    taken: int = 0
    ready: int = 0
    left: int | None = None


def refusals(reward: Reward, programme: Programme, claim: Claim) -> list[Refusal]:
    """All that stands against a reward, what the customer can do least about first."""
    return [
        *_of_time(reward, claim),
        *_of_person(reward, programme, claim),
        *_of_supply(reward, claim),
    ]


def _of_time(reward: Reward, claim: Claim) -> Iterable[Refusal]:
    if reward.starts is not None and claim.at < reward.starts:
        yield Refusal("not_yet", "this reward cannot be had yet")
    if reward.ends is not None and claim.at >= reward.ends:
        yield Refusal("over", "this reward is over")


def _of_person(reward: Reward, programme: Programme, claim: Claim) -> Iterable[Refusal]:
    if not claim.takes_part:
        yield Refusal("not_enrolled", "only who takes part in the programme gets rewards")
    if reward.tier is not None and claim.rank < programme.ranks[reward.tier]:
        yield Refusal("tier", f"this reward is for tier {shown(reward.tier)} and above")
    if not claim.fits:
        yield Refusal("rule", "this reward is for customers whom its rule fits")
    if not claim.celebrates:
        when = "in the month of it" if reward.during == "birthday_month" else "on the day"
        yield Refusal("birthday", f"this reward is for a birthday, {when}")
    if reward.party_size is not None and (claim.party_size or 0) < reward.party_size:
        yield Refusal("party_size", f"this reward is for groups of {reward.party_size} and more")


def _of_supply(reward: Reward, claim: Claim) -> Iterable[Refusal]:
    if reward.limit is not None and claim.taken >= reward.limit.times:
        per = "" if reward.limit.per == "ever" else f" a {reward.limit.per}"
        yield Refusal("limit", f"this reward can be had {_times(reward.limit.times)}{per}")
    if reward.by_card and not claim.ready:
        yield Refusal("card", "this reward is for a full stamp card")
    if claim.left is not None and claim.left <= 0:
        yield Refusal("sold_out", "nothing is left of this reward")
    if claim.balance < reward.cost:
        yield Refusal("points", "the balance does not cover this reward")


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def offer(reward: Reward, programme: Programme, claim: Claim) -> Offer:
    """A reward as a customer sees it."""
    against = refusals(reward, programme, claim)
    return Offer(
        reward=reward.name,
        type=reward.type,
        title=reward.title,
        cost=reward.cost,
        left=claim.left,
        available=not against,
        missing=max(0, reward.cost - claim.balance),
        why_not=tuple(against),
    )


def stamps(card: StampCard, counted: int, used: int) -> Stamps:
    """A card after so many stamps, of which so many rewards were taken.

    Where stamps were taken back of which a reward was had, they come first again.
    """
    full = max(counted // card.every, used)
    return Stamps(
        card.name, card.reward, max(0, counted - full * card.every), card.every, full - used
    )


def state_of(redemption: Redemption, at: datetime) -> State:
    """What has become of a redemption by now, whether or not a job settled it."""
    if redemption.fulfilled_at is not None:
        return "fulfilled"
    if redemption.cancelled_at is not None and redemption.cancelled_at < redemption.until:
        return "cancelled"
    return "lapsed" if redemption.until <= at else "reserved"


def stands(redemption: Redemption, at: datetime) -> bool:
    """Whether a redemption was fulfilled, or is still waited for."""
    return state_of(redemption, at) in ("reserved", "fulfilled")
