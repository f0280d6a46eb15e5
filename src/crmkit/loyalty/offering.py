"""`crm.loyalty.rewards`: what customers can have, what they had, and what is left."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import attrs

from crmkit.loyalty.claiming import Claimant, left_of, told
from crmkit.loyalty.granting import Fits
from crmkit.loyalty.redeeming import checked_party
from crmkit.loyalty.rewards import Offers, Redeemed, offer
from crmkit.model import Customer, Page, PointsAccount, Redemption
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import Duration, from_micros, next_anniversary, to_micros
from crmkit.ports.runtime import Runtime

_PAGE = 500


@attrs.frozen
class Stock:
    """How much of a reward there was, and how much is left."""

    reward: str
    stock: int
    left: int


@attrs.frozen
class Birthday:
    """A customer's next birthday."""

    customer_id: str
    date: date


class Rewards:
    """The rewards of one tenant's programmes; `programme=` names one, else it is the first."""

    def __init__(self, runtime: Runtime, fits: Fits) -> None:
        self._rt = runtime
        self._fits = fits

    def offers(
        self,
        customer_id: str,
        *,
        party_size: int | None = None,
        at: datetime | str | None = None,
        programme: str | None = None,
    ) -> Offers:
        """Every reward, whether the customer can have it, and why not; and the stamp cards.

        `party_size` is how many come along. Points, tier, dates and rules are those of the
        instant `at`; what was redeemed, stamps and stock are those of now.
        """
        of, party, when = self._rt.settings.programme_named(programme), party_size, self._rt.at(at)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            account = uow.get(PointsAccount, holder, of.name)
            who = Claimant(
                uow, self._rt, self._fits, of, holder, account, when, checked_party(party)
            )
            left = left_of(uow, of, of.rewards, self._rt.now())
            claims = [
                (reward, who.claim(reward, balance=who.balance, left=left.get(reward.name)))
                for reward in of.rewards
            ]
            cards = who.cards
        return Offers(tuple(offer(reward, of, claim) for reward, claim in claims), cards)

    def history(
        self,
        customer_id: str,
        *,
        limit: int = 100,
        after: str | None = None,
        programme: str | None = None,
    ) -> Page[Redeemed]:
        """What a customer redeemed, and what became of it, the latest first."""
        limit, start = checked_limit(limit), position(after, (int, str))
        of = self._rt.settings.programme_named(programme)
        with self._rt.read() as uow:
            found = uow.find(
                Redemption,
                customer_id=self._rt.customer(uow, customer_id).id,
                programme=of.name,
                order=("reserved_at", "id"),
                descending=True,
                after=(from_micros(start[0]), start[1]) if start else None,
                limit=limit + 1,
            )
        page = paged(found, limit, lambda r: (to_micros(r.reserved_at), r.id))
        return Page(tuple(told(self._rt, redemption) for redemption in page), page.next)

    def stock(self, *, programme: str | None = None) -> tuple[Stock, ...]:
        """What is left of the rewards that have a stock, in the programme's order."""
        of = self._rt.settings.programme_named(programme)
        with self._rt.read() as uow:
            left = left_of(uow, of, of.rewards, self._rt.now())
        return tuple(
            Stock(reward.name, reward.stock, left[reward.name])
            for reward in of.rewards
            if reward.stock is not None
        )

    def birthdays(
        self, *, within: str = "7d", at: datetime | str | None = None
    ) -> Iterator[Birthday]:
        """Customers whose birthday is today or comes within a time such as ``7d`` or ``1mo``.

        By the local calendar, in no particular order; read a page at a time.
        """
        now, zone = self._rt.at(at), self._rt.settings.zone
        until = Duration.parse(within, field="within").after(now, zone)
        return self._birthdays(now.astimezone(zone).date(), until.astimezone(zone).date())

    def _birthdays(self, today: date, last: date) -> Iterator[Birthday]:
        after: tuple[str] | None = None
        while True:
            with self._rt.read() as uow:
                found = uow.rows(Customer, ("id", "birth_date"), after=after, limit=_PAGE)
            for customer_id, born in found:
                coming = next_anniversary(born, today) if born else None
                if coming is not None and coming <= last:
                    yield Birthday(customer_id, coming)
            if len(found) < _PAGE:
                return
            after = (found[-1][0],)
