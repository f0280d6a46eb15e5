"""What is known of a customer who asks for rewards, read inside a unit of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property

import attrs

from crmkit.loyalty import accounts
from crmkit.loyalty.codes import code_of, read_code
from crmkit.loyalty.granting import Fits
from crmkit.loyalty.membership import memberships
from crmkit.loyalty.periods import celebrates, period
from crmkit.loyalty.rewards import Claim, Redeemed, Stamps, stamps, stands, state_of
from crmkit.loyalty.standing import rank_at
from crmkit.model import PointsAccount, Redemption, RewardStock
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme, Reward


@attrs.frozen
class Claimant:
    """A customer who asks at an instant, in a group of a size; nothing is read but when asked."""

    uow: UnitOfWork
    rt: Runtime
    fits: Fits
    programme: Programme
    customer_id: str
    account: PointsAccount | None
    at: datetime
    party_size: int | None = None

    def claim(self, reward: Reward, *, balance: int, left: int | None) -> Claim:
        """What a reward asks, told of this customer; points and stock as they are given."""
        return Claim(
            at=self.at,
            balance=balance,
            left=left,
            takes_part=self.takes_part,
            rank=self.rank if reward.tier else 0,
            fits=not reward.when or self.fits(self.uow, reward.when, self.customer_id, self.at),
            celebrates=not reward.during or self._celebrates(reward.during),
            party_size=self.party_size,
            taken=self._taken(reward),
            ready=sum(card.ready for card in self.cards_for(reward)),
        )

    def cards_for(self, reward: Reward) -> list[Stamps]:
        """The cards that give a reward."""
        return [c for c in self.cards if c.reward == reward.name] if reward.by_card else []

    @cached_property
    def balance(self) -> int:
        """The points that can be used."""
        return accounts.balance(self.uow, self.account, self.at).balance

    @cached_property
    def takes_part(self) -> bool:
        """Whether the customer is in the programme."""
        of = self.programme
        theirs = self.account or accounts.empty(self.rt, self.customer_id, of.name)
        joined = memberships(self.uow, of, {self.customer_id: theirs})
        return self.customer_id not in joined or joined[self.customer_id](self.at)

    @cached_property
    def rank(self) -> int:
        """The place of the customer's tier."""
        return rank_at(self.uow, self.programme, self.customer_id, self.at)

    @cached_property
    def cards(self) -> tuple[Stamps, ...]:
        """The programme's stamp cards as this customer fills them."""
        if not self.programme.cards:
            return ()
        metrics = self.rt.metrics(self.uow, self.customer_id)
        used = Counter(r.card for r in self._standing)
        return tuple(
            stamps(card, getattr(metrics, card.counts), used[card.name])
            for card in self.programme.cards
        )

    @cached_property
    def _standing(self) -> list[Redemption]:
        """What the customer had of this programme and did not give back."""
        of, now = self.programme.name, self.rt.now()
        found = self.uow.find(Redemption, customer_id=self.customer_id, programme=of)
        return [r for r in found if stands(r, now)]

    def _celebrates(self, during: str) -> bool:
        born = self.rt.customer(self.uow, self.customer_id).birth_date
        return celebrates(born, during, self.at, self.rt.settings.zone)

    def _taken(self, reward: Reward) -> int:
        if reward.limit is None:
            return 0
        start, end = period(reward.limit.per, self.at, self.rt.settings.zone)
        mine = (r for r in self._standing if r.reward == reward.name)
        return sum(start <= r.reserved_at < end for r in mine)


def left_of(
    uow: UnitOfWork, programme: Programme, rewards: Iterable[Reward], now: datetime
) -> Mapping[str, int]:
    """What is left of the rewards that have a stock.

    What nobody fetched in time is back, whether or not a job settled it.
    """
    stocked = {reward.name: reward.stock for reward in rewards if reward.stock is not None}
    if not stocked:
        return {}
    names = tuple(stocked)
    rows = uow.find(RewardStock, programme=programme.name, reward=names)
    levels = {row.reward: row.level for row in rows}
    back = uow.totals(
        Redemption,
        "taken",
        by=("reward",),
        upto={"until": now},
        reward=names,
        programme=programme.name,
        fulfilled_at=None,
        cancelled_at=None,
    )
    return {
        name: max(0, stock + levels.get(name, 0) + back.get((name,), 0))
        for name, stock in stocked.items()
    }


def told(rt: Runtime, redemption: Redemption) -> Redeemed:
    """A redemption as hosts see it, by what has become of it by now."""
    known = {programme.name: programme for programme in rt.settings.programmes}
    of = known.get(redemption.programme)
    reward = of.reward(redemption.reward) if of else None
    state = state_of(redemption, rt.now())
    return Redeemed(
        id=redemption.id,
        customer_id=redemption.customer_id or "",
        programme=redemption.programme,
        reward=redemption.reward,
        type=reward.type if reward else None,
        cost=redemption.cost,
        card=redemption.card,
        code=code_for(rt, redemption.id),
        state=state,
        reserved_at=redemption.reserved_at,
        until=redemption.until,
        fulfilled_at=redemption.fulfilled_at,
        cancelled_at=redemption.until if state == "lapsed" else redemption.cancelled_at,
    )


def code_for(rt: Runtime, redemption_id: str) -> str:
    """The code of a redemption: always the same, and nobody without the key can tell it."""
    return code_of(rt.fingerprint("redemption", redemption_id))


def code_hash(rt: Runtime, typed: object) -> str | None:
    """What a code is found by; None for what can be no code."""
    digits = read_code(typed)
    return None if digits is None else rt.fingerprint("redemption code", digits)
