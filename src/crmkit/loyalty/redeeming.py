"""Reserving rewards, handing them out, and giving them back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from crmkit.errors import Erased, InvalidInput, NotFound, RewardRefused, unknown
from crmkit.loyalty import accounts, tiering
from crmkit.loyalty.claiming import Claimant, code_for, code_hash, left_of, told
from crmkit.loyalty.granting import Fits
from crmkit.loyalty.rewards import Redeemed, refusals
from crmkit.model import Metrics, PointsAccount, PointsEntry, Redemption, RewardStock
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.time import instant
from crmkit.ports.events import PointsChanged
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme, Reward

_TRIES: Final = 20
_SOLD_OUT: Final = "sold_out"


@attrs.frozen
class Wanted:
    """What is asked for."""

    programme: Programme
    reward: Reward
    party_size: int | None
    actor: str | None


@attrs.frozen
class Redeeming:
    """Redemptions of one tenant."""

    _rt: Runtime
    _fits: Fits

    def redeem(self, customer_id: str, wanted: Wanted, key: str | None) -> Redeemed:
        """Reserve a reward; see `Loyalty.redeem`."""
        of, actor = wanted.programme.name, wanted.actor
        content = canonical([wanted.reward.name, wanted.party_size, of, actor])
        call = Call.of(self._rt, "loyalty.redeem", key, content)
        redemption_id = self._rt.new_id()

        def work(uow: UnitOfWork) -> Redeemed:
            whose = self._rt.metrics(uow, customer_id, lock=True).customer_id
            origin = self._rt.whose(uow, customer_id, whose).origin
            seen = call and call.claim(
                uow, self._rt, customer_id=whose, result_id=redemption_id, origin=origin
            )
            if seen:
                return told(self._rt, _known(uow, seen.result_id or ""))
            return told(self._rt, self._reserve(uow, wanted, whose, redemption_id, origin))

        try:
            return self._rt.write(work)
        except RewardRefused as refused:
            if refused.reason != _SOLD_OUT or not self._release(wanted):
                raise
        return self._rt.write(work)

    def fulfil(
        self,
        find: Callable[[UnitOfWork], Redemption],
        key: str | None,
        at: datetime | str | None,
        actor: str | None,
    ) -> Redeemed:
        """Hand a reward out; see `Loyalty.fulfil`."""

        def work(uow: UnitOfWork) -> Redeemed:
            redemption = self._held(uow, find)
            content = canonical([redemption.id, stated(at), actor])
            call = Call.of(self._rt, "loyalty.fulfil", key, content)
            if call and call.claim(
                uow,
                self._rt,
                customer_id=redemption.customer_id or "",
                result_id=redemption.id,
                origin=redemption.origin,
            ):
                return told(self._rt, redemption)
            self._check_waiting(redemption)
            when = self._when(redemption, at)
            redemption = evolved(redemption, fulfilled_at=when, ended_by=actor)
            uow.put(redemption)
            return told(self._rt, redemption)

        return self._rt.write(work)

    def cancel(
        self,
        find: Callable[[UnitOfWork], Redemption],
        at: datetime | str | None,
        reason: str | None,
        actor: str | None,
    ) -> Redeemed:
        """Give a reward back; see `Loyalty.cancel`."""

        def work(uow: UnitOfWork) -> Redeemed:
            redemption = self._held(uow, find)
            state = told(self._rt, redemption).state
            if state == "fulfilled":
                self._check_waiting(redemption)
            if state == "reserved":
                when = self._when(redemption, at)
                said = evolved(redemption, ended_by=actor, reason=reason)
                self._give_back(uow, said, when)
                redemption = evolved(said, cancelled_at=when)
            return told(self._rt, redemption)

        return self._rt.write(work)

    def by_code(self, typed: object) -> Callable[[UnitOfWork], Redemption]:
        """Finds a redemption by its code as it was typed; raises `NotFound`."""
        code = code_hash(self._rt, typed)

        def find(uow: UnitOfWork) -> Redemption:
            found = uow.find(Redemption, code=code) if code else []
            if not found:
                raise NotFound("no such code")
            return found[0]

        return find

    def by_id(self, redemption_id: str) -> Callable[[UnitOfWork], Redemption]:
        """Finds a redemption by its id; raises `NotFound`."""
        return lambda uow: _known(uow, redemption_id)

    def on_undone(self, uow: UnitOfWork, customers: tuple[str, str]) -> None:
        """Cancel what was reserved with points of both, now that they are two again.

        So what comes back later comes back to who waits for it. What was handed out stays.
        """
        waiting = uow.find(Redemption, customer_id=customers, fulfilled_at=None, cancelled_at=None)
        for redemption in waiting:
            burns = uow.find(PointsEntry, redemption_id=redemption.id, kind="burn")
            if any(entry.customer_id != redemption.customer_id for entry in burns):
                at = min(redemption.until, self._rt.now())
                accounts.give_back(uow, self._rt, redemption, at)

    # --- parts ---

    def _reserve(
        self, uow: UnitOfWork, wanted: Wanted, customer_id: str, new_id: str, origin: str | None
    ) -> Redemption:
        of, reward, now = wanted.programme, wanted.reward, self._rt.now()
        account = accounts.up_to_now(uow, self._rt, customer_id, of.name)
        claimant = Claimant(
            uow, self._rt, self._fits, of, customer_id, account, now, wanted.party_size
        )
        # Points and stock are not looked at but taken: that tells at once if there are any.
        for refusal in refusals(reward, of, claimant.claim(reward, balance=reward.cost, left=None)):
            raise RewardRefused(refusal.text, reason=refusal.reason)
        full = [card.card for card in claimant.cards_for(reward) if card.ready]
        redemption = Redemption(
            tenant=self._rt.tenant,
            id=new_id,
            customer_id=customer_id,
            programme=of.name,
            reward=reward.name,
            cost=reward.cost,
            card=full[0] if full else None,
            taken=int(reward.stock is not None),
            code=code_hash(self._rt, code_for(self._rt, new_id)),
            actor=wanted.actor,
            reserved_at=now,
            until=now + timedelta(days=reward.hold_days),
            origin=origin,
        )
        uow.add(redemption)
        account = account or accounts.empty(self._rt, customer_id, of.name)
        if reward.cost:
            account = self._paid(uow, of, account, redemption)
        accounts.look_again(uow, account, redemption.until)
        self._rt.events.publish(uow, PointsChanged(customer_id, now))
        self._take(uow, reward, redemption)
        return redemption

    def _paid(
        self, uow: UnitOfWork, of: Programme, account: PointsAccount, redemption: Redemption
    ) -> PointsAccount:
        """The account once the points are taken."""
        holder, now = account.customer_id, redemption.reserved_at
        like = PointsEntry(
            tenant=self._rt.tenant,
            id=redemption.id,
            customer_id=holder,
            programme=of.name,
            kind="burn",
            points=-redemption.cost,
            qualifying=0,
            available_at=now,
            expires_at=redemption.until,
            redemption_id=redemption.id,
            actor=redemption.actor,
            version=of.version,
            occurred_at=now,
            recorded_at=now,
        )
        burns, lots = accounts.pay(uow, self._rt, account, redemption.cost, like)
        known = {holder: account}
        posted = accounts.post(uow, self._rt, of.name, burns, lots, known=known)
        tiering.note_once(uow, self._rt, of)
        return posted[holder].after

    def _take(self, uow: UnitOfWork, reward: Reward, redemption: Redemption) -> None:
        """Take one from the stock; last, for others wait for it until this unit ends."""
        if reward.stock is None:
            return
        of = redemption.programme
        stock = RewardStock(tenant=self._rt.tenant, programme=of, reward=reward.name)
        if not uow.increase(stock, {"level": -1}, floor={"level": -reward.stock}):
            raise RewardRefused("nothing is left of this reward", reason=_SOLD_OUT)

    def _release(self, wanted: Wanted) -> bool:
        """Put back what nobody fetched in time; whether there is something now."""
        now = self._rt.now()
        with self._rt.read() as uow:
            left = left_of(uow, wanted.programme, [wanted.reward], now)
        if not left.get(wanted.reward.name):
            return False
        self._rt.write(lambda uow: self._settle(uow, wanted, now))
        return True

    def _settle(self, uow: UnitOfWork, wanted: Wanted, now: datetime) -> None:
        of, name = wanted.programme.name, wanted.reward.name
        open_ones: dict[str, Any] = {
            "programme": of,
            "reward": name,
            "fulfilled_at": None,
            "cancelled_at": None,
        }
        lapsed = [r for r in uow.find(Redemption, **open_ones) if r.until <= now]
        for holder in sorted(uow.hold(Metrics, {r.customer_id for r in lapsed if r.customer_id})):
            account = uow.get(PointsAccount, holder, of)
            if account is not None:
                accounts.settle(uow, self._rt, account)
                self._rt.events.publish(uow, PointsChanged(holder, now))
        for seen in lapsed:
            if seen.customer_id is None:  # they were erased, and nobody is left to be held
                found = uow.get(Redemption, seen.id, lock=True)
                if found is not None and found.cancelled_at is None:
                    accounts.give_back(uow, self._rt, found, found.until)

    def _held(self, uow: UnitOfWork, find: Callable[[UnitOfWork], Redemption]) -> Redemption:
        """A redemption whose customer nobody else changes before this unit of work ends."""
        for _ in range(_TRIES):  # its customer may be merged while they are waited for
            redemption = find(uow)
            if redemption.customer_id is None:
                raise Erased("whose reward this was, was erased")
            uow.hold(Metrics, [redemption.customer_id])
            again = _known(uow, redemption.id)
            if again.customer_id == redemption.customer_id:
                return again
        raise NotFound("no such redemption")

    def _check_waiting(self, redemption: Redemption) -> None:
        match told(self._rt, redemption).state:
            case "fulfilled":
                raise RewardRefused("this reward was handed out before", reason="used")
            case "cancelled":
                raise RewardRefused("this redemption was cancelled", reason="cancelled")
            case "lapsed":
                raise RewardRefused("this reward was not fetched in time", reason="lapsed")

    def _when(self, redemption: Redemption, at: datetime | str | None) -> datetime:
        """The instant asked for, or now; raises `InvalidInput` for one that cannot be."""
        if at is None:  # clocks of two machines differ
            return max(self._rt.now(), redemption.reserved_at)
        when = instant(at)
        if not redemption.reserved_at <= when <= self._rt.now():
            raise InvalidInput("expected a time since the reward was reserved", field="at")
        return when

    def _give_back(self, uow: UnitOfWork, redemption: Redemption, at: datetime) -> None:
        accounts.give_back(uow, self._rt, redemption, at)
        holder = redemption.customer_id or ""
        account = uow.get(PointsAccount, holder, redemption.programme)
        if account is not None:
            accounts.settle(uow, self._rt, account)
        self._rt.events.publish(uow, PointsChanged(holder, at))


def wanted_of(
    programme: Programme, reward: object, party_size: object, actor: str | None
) -> Wanted:
    """What is asked for; raises `InvalidInput` for a reward that the programme does not have."""
    found = programme.reward(reward) if isinstance(reward, str) else None
    if found is None:
        names = [known.name for known in programme.rewards]
        raise InvalidInput(unknown("reward", reward, names), field="reward")
    return Wanted(programme, found, checked_party(party_size), actor)


def checked_party(value: object) -> int | None:
    """How many come along, or None; raises `InvalidInput`."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000:
        raise InvalidInput("expected a whole number from 1 to 100,000", field="party_size")
    return value


def optional_text(value: object, field: str, limit: int) -> str | None:
    """A text that may be missing; raises `InvalidInput`."""
    return None if value is None else text(value, field=field, limit=limit)


def _known(uow: UnitOfWork, redemption_id: str) -> Redemption:
    found = uow.get(Redemption, _checked(redemption_id))
    if found is None:
        raise NotFound("no such redemption")
    return found


def _checked(redemption_id: object) -> str:
    try:
        return checked_id(redemption_id)
    except NotFound as error:
        raise NotFound("no such redemption: expected the `id` of a redemption") from error
