"""`crm.loyalty`: points follow from activities, the tier from what qualifies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from crmkit.activities.drafts import draft
from crmkit.activities.stories import read
from crmkit.errors import InsufficientPoints, InvalidInput, unknown
from crmkit.loyalty import accounts, tiering
from crmkit.loyalty.granting import Fits, Granting
from crmkit.loyalty.keeping import Keeper
from crmkit.loyalty.offering import Rewards
from crmkit.loyalty.periods import dates
from crmkit.loyalty.redeeming import Redeeming, optional_text, wanted_of
from crmkit.loyalty.referrals import Referrals
from crmkit.loyalty.reports import LoyaltyReports
from crmkit.loyalty.rewards import Redeemed
from crmkit.loyalty.standing import Account, Earning, Expiring, expiring, history, standing
from crmkit.loyalty.tiers import Progress, progress
from crmkit.loyalty.upkeep import Ledger
from crmkit.model import (
    Enrolment,
    Page,
    PointsAccount,
    PointsEntry,
    PointsLot,
    TierGrant,
    TierPeriod,
)
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.money import digits
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import FOREVER, Duration, from_micros, instant, to_micros
from crmkit.ports.events import PointsChanged
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme

_LARGEST = 10**12


class Loyalty:
    """Points, tiers and rewards of one tenant's customers.

    `programme=` names one of several programmes; without it the first is meant.
    """

    def __init__(self, runtime: Runtime, fits: Fits) -> None:
        self._rt = runtime
        self._fits = fits
        self._redeeming = Redeeming(runtime, fits)

    @cached_property
    def rewards(self) -> Rewards:
        """What customers can have for their points, and what they had."""
        return Rewards(self._rt, self._fits)

    @cached_property
    def referrals(self) -> Referrals:
        """Customers who bring customers."""
        return Referrals(self._rt)

    @cached_property
    def keeper(self) -> Keeper:
        """What follows for points and tiers from what happens elsewhere; crmkit's own."""
        return Keeper(self._rt, self._fits)

    @cached_property
    def reports(self) -> LoyaltyReports:
        """What the programmes owe their customers, and how tiers are doing."""
        return LoyaltyReports(self._rt)

    @cached_property
    def ledger(self) -> Ledger:
        """Whether all that is kept is what the entries tell, and the programmes' versions."""
        return Ledger(self._rt)

    # --- points ---

    def account(
        self, customer_id: str, *, programme: str | None = None, at: datetime | str | None = None
    ) -> Account:
        """Balance, pending points and tier, now or at any instant.

        A customer without points has none of the first tier. What the answer is at an
        instant never depends on when `run_due` ran.
        """
        of = self._programme(programme)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            return self._standing(uow, of, holder, self._rt.at(at))

    def update_points(
        self,
        customer_id: str,
        delta: int,
        *,
        reason: str,
        key: str | None = None,
        at: datetime | str | None = None,
        actor: str | None = None,
        programme: str | None = None,
    ) -> Account:
        """Add points, or take them with a negative `delta`.

        Added points count for the tier; taking points never lowers it. They are a lot of
        their own, which expires as the programme says; with `at` in the future they are
        pending until then. `actor` is who did it, as the host names them. Raises
        `InsufficientPoints` if the balance does not cover them.
        """
        _check_delta(delta)
        of, why = self._programme(programme), _required(reason, "reason")
        now = self._rt.now()
        when = now if at is None else self._rt.at(at)
        if delta < 0 and when > now:
            raise InvalidInput("points cannot be taken ahead of time", field="at")
        content = canonical([delta, why, stated(at), of.name, actor])
        call = Call.of(self._rt, "loyalty.update_points", key, content)
        entry = self._entry(of, "adjust", delta, when, reason=why, actor=_actor(actor))

        def work(uow: UnitOfWork) -> Account:
            whose = self._held(uow, customer_id)
            mine = evolved(entry, customer_id=whose.customer_id, origin=whose.origin)
            if not (call and call.claim(
                uow, self._rt, customer_id=mine.customer_id or "", result_id=mine.id,
                origin=whose.origin,
            )):  # fmt: skip
                self._adjust(uow, of, mine)
            return self._standing(uow, of, whose.customer_id, self._rt.now())

        return self._rt.write(work)

    def history(
        self,
        customer_id: str,
        *,
        limit: int = 100,
        after: str | None = None,
        programme: str | None = None,
    ) -> Page[PointsEntry]:
        """The entries of a customer's account, the latest first, with what expired (`expire`).

        What was taken at once from several lots is one entry here, of no lot.
        """
        limit, start = checked_limit(limit), position(after, (int, str))
        of = self._programme(programme)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            account = uow.get(PointsAccount, holder, of.name)
            if account is None:
                return Page(())
            begin = (from_micros(start[0]), start[1]) if start else None
            found = history(uow, account, self._rt.now(), begin, limit + 1)
        return paged(found, limit, lambda e: (to_micros(e.occurred_at), e.id))

    def expiring(
        self,
        customer_id: str,
        *,
        within: str = "30d",
        at: datetime | str | None = None,
        programme: str | None = None,
    ) -> tuple[Expiring, ...]:
        """The points that expire within a time such as ``30d`` or ``3mo``, the soonest first."""
        of, since = self._programme(programme), self._rt.at(at)
        until = Duration.parse(within, field="within").after(since, self._rt.settings.zone)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            return expiring(uow, uow.get(PointsAccount, holder, of.name), since, until)

    def preview(
        self,
        customer_id: str,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        *,
        at: datetime | str | None = None,
        programme: str | None = None,
    ) -> tuple[Earning, ...]:
        """What an activity would earn, before caps; nothing is stored.

        Points that only a completed booking earns are told too, as `on_completion`.
        """
        of = self._programme(programme)
        asked = draft(self._rt, kind, payload, at, None)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            fact = asked.of(self._rt, Whose(holder, None, customer_id))
            fact = evolved(fact, recorded_at=fact.occurred_at)
            story = read([fact], self._rt.settings.kinds_by_name)
            granting = Granting(uow, self._rt, of, self._fits)
            found = granting.preview(story, holder)
        return tuple(
            Earning(
                rule.name,
                points,
                rule.completed and not story.completed,
                *self._usable(of, rule.name, fact.occurred_at),
            )
            for rule, points in found
        )

    def _usable(
        self, of: Programme, rule: str, since: datetime
    ) -> tuple[datetime, datetime | None]:
        available, expires = dates(of, of.rule(rule), since, self._rt.settings.zone)
        return available, None if expires == FOREVER else expires

    # --- tiers ---

    def progress(
        self, customer_id: str, *, programme: str | None = None, at: datetime | str | None = None
    ) -> Progress:
        """How far a customer is from the next tier, and from losing this one."""
        of, when = self._programme(programme), self._rt.at(at)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            mine: dict[str, Any] = {"customer_id": holder, "programme": of.name}
            steps = tiering.qualified(uow, mine)[holder]
            grants = uow.find(TierGrant, **mine)
        return progress(steps, grants, of, self._rt.settings, when)

    def tier_history(
        self, customer_id: str, *, programme: str | None = None
    ) -> tuple[TierPeriod, ...]:
        """A customer's tiers in their order, also ahead as they will be if nothing more comes.

        Empty for who never left the first tier.
        """
        of = self._programme(programme)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            return tuple(
                uow.find(TierPeriod, customer_id=holder, programme=of.name, order=("since",))
            )

    def set_tier(
        self,
        customer_id: str,
        tier: str | None,
        *,
        reason: str,
        until: datetime | str | None = None,
        at: datetime | str | None = None,
        actor: str | None = None,
        programme: str | None = None,
    ) -> Account:
        """Give a customer a tier by hand until an instant, or for good; None takes it again.

        It is a fact of its own, with who and why: what is earned goes on beside it, and
        nothing but this call takes it away. Who has earned a higher tier keeps that.
        """
        of, when = self._programme(programme), self._rt.at(at)
        if tier is not None and tier not in of.ranks:
            raise InvalidInput(unknown("tier", tier, of.ranks), field="tier")
        over = FOREVER if until is None else instant(until, field="until")
        if over <= when:
            raise InvalidInput("expected an instant after the tier begins", field="until")
        grant = TierGrant(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=checked_id(customer_id),
            programme=of.name,
            tier=tier,
            until=over,
            actor=_actor(actor),
            reason=_required(reason, "reason"),
            occurred_at=when,
            recorded_at=self._rt.now(),
        )

        def work(uow: UnitOfWork) -> Account:
            whose = self._held(uow, customer_id)
            self._grant_tier(
                uow, of, evolved(grant, customer_id=whose.customer_id, origin=whose.origin)
            )
            return self._standing(uow, of, whose.customer_id, self._rt.now())

        return self._rt.write(work)

    def _grant_tier(self, uow: UnitOfWork, of: Programme, grant: TierGrant) -> None:
        uow.add(grant)
        uow.add_if_absent(self._no_points(grant.customer_id, of))
        tiering.retier(uow, self._rt, of, [grant.customer_id])
        self._rt.foresee(uow, grant.occurred_at)
        self._rt.events.publish(uow, PointsChanged(grant.customer_id, grant.occurred_at))

    def _no_points(self, customer_id: str, of: Programme) -> PointsAccount:
        return PointsAccount(tenant=self._rt.tenant, customer_id=customer_id, programme=of.name)

    # --- rewards ---

    def redeem(
        self,
        customer_id: str,
        reward: str,
        *,
        party_size: int | None = None,
        key: str | None = None,
        actor: str | None = None,
        programme: str | None = None,
    ) -> Redeemed:
        """Reserve a reward; its points are taken at once, and `code` is what hands it out.

        What is not fulfilled before `until` comes back. `party_size` is how many come along,
        for rewards that ask. Raises `InsufficientPoints`, or `RewardRefused` with the reason
        why the customer cannot have it.
        """
        of = self._programme(programme)
        wanted = wanted_of(of, reward, party_size, _actor(actor))
        return self._redeeming.redeem(checked_id(customer_id), wanted, key)

    def fulfil(
        self,
        code: str | None = None,
        *,
        redemption_id: str | None = None,
        key: str | None = None,
        at: datetime | str | None = None,
        actor: str | None = None,
    ) -> Redeemed:
        """Hand a reward out, once: by the code that the customer shows, or by its id.

        How the code is written does not matter. Who asks again with the same `key` gets the
        same answer. Raises `RewardRefused` for what was handed out before (`used`), was
        cancelled, or was not fetched in time (`lapsed`), and `NotFound` for an unknown code.
        """
        if (code is None) == (redemption_id is None):
            raise InvalidInput("expected a code or a redemption_id", field="code")
        doing = self._redeeming
        find = doing.by_code(code) if redemption_id is None else doing.by_id(redemption_id)
        return doing.fulfil(find, key, at, _actor(actor))

    def cancel(
        self,
        redemption_id: str,
        *,
        reason: str | None = None,
        at: datetime | str | None = None,
        actor: str | None = None,
    ) -> Redeemed:
        """Give a reserved reward back; its points go to where they came from.

        They expire when they would have. Cancelling again changes nothing. Raises
        `RewardRefused` for what was handed out.
        """
        doing, why = self._redeeming, optional_text(reason, "reason", 500)
        return doing.cancel(doing.by_id(redemption_id), at, why, _actor(actor))

    # --- taking part ---

    def enrol(
        self,
        customer_id: str,
        *,
        programme: str | None = None,
        at: datetime | str | None = None,
        actor: str | None = None,
    ) -> Account:
        """Let a customer join a programme; activities since then earn."""
        return self._enrol(customer_id, programme, at, actor, joined=True)

    def leave(
        self,
        customer_id: str,
        *,
        programme: str | None = None,
        at: datetime | str | None = None,
        actor: str | None = None,
    ) -> Account:
        """Let a customer leave a programme.

        From then on nothing earns. Points stay as they are, and expire as they would, so
        that who comes back finds them.
        """
        return self._enrol(customer_id, programme, at, actor, joined=False)

    def _enrol(
        self,
        customer_id: str,
        programme: str | None,
        at: datetime | str | None,
        actor: str | None,
        *,
        joined: bool,
    ) -> Account:
        of = self._programme(programme)
        fact = Enrolment(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=checked_id(customer_id),
            programme=of.name,
            joined=joined,
            actor=_actor(actor),
            occurred_at=self._rt.at(at),
            recorded_at=self._rt.now(),
        )

        def work(uow: UnitOfWork) -> Account:
            whose = self._held(uow, customer_id)
            uow.add(evolved(fact, customer_id=whose.customer_id, origin=whose.origin))
            account = uow.get(PointsAccount, whose.customer_id, of.name)
            uow.put(evolved(account or self._no_points(whose.customer_id, of), enrols=True))
            return self._standing(uow, of, whose.customer_id, self._rt.now())

        return self._rt.write(work)

    # --- everybody ---

    def tiers(
        self, *, programme: str | None = None, at: datetime | str | None = None
    ) -> dict[str, int]:
        """How many customers each tier has, from the first tier up; see `reports.tiers`."""
        found = self.reports.tiers(at=at, programme=programme)
        return {share.tier: share.customers for share in found.tiers}

    def run_due(self, now: datetime, progress: Callable[[int], None] | None = None) -> int:
        """The part of `crm.run_due` that is about points and tiers; crmkit's own."""
        done = 0
        for work in self.keeper.due(now):
            while some := self._rt.write(work):
                done += some
                if progress:
                    progress(done)
        return done

    def standing(self, uow: UnitOfWork, customer_id: str) -> Account:
        """`account`, inside a unit of work that is under way; crmkit's own."""
        return self._standing(uow, self._programme(None), customer_id, self._rt.now())

    # --- parts ---

    def _programme(self, name: str | None) -> Programme:
        return self._rt.settings.programme_named(name)

    def _standing(
        self, uow: UnitOfWork, programme: Programme, customer_id: str, at: datetime
    ) -> Account:
        minor = int(10 ** digits(self._rt.settings.currency))
        return standing(uow, programme, customer_id, at, minor)

    def _held(self, uow: UnitOfWork, customer_id: str) -> Whose:
        """Whose account it is; nobody else posts to it before this unit of work ends."""
        holder = self._rt.metrics(uow, customer_id, lock=True).customer_id
        return self._rt.whose(uow, customer_id, holder)

    def _adjust(self, uow: UnitOfWork, of: Programme, entry: PointsEntry) -> None:
        account = accounts.up_to_now(uow, self._rt, entry.customer_id or "", of.name)
        if entry.points < 0:
            if account is None:
                raise InsufficientPoints("the balance does not cover these points")
            news, lots = accounts.pay(uow, self._rt, account, -entry.points, entry)
        else:
            lot = PointsLot(
                tenant=entry.tenant,
                id=entry.id,
                customer_id=entry.customer_id or "",
                programme=of.name,
                source="adjust",
                full=entry.points,
                left=entry.points,
                earned_at=entry.occurred_at,
                available_at=entry.available_at,
                expires_at=entry.expires_at,
                origin=entry.origin,
            )
            news, lots = [evolved(entry, lot_id=lot.id)], [lot]
        posted = accounts.post(uow, self._rt, of.name, news, lots)
        tiering.follow(uow, self._rt, of, posted)
        tiering.note_once(uow, self._rt, of)
        self._rt.foresee(uow, entry.occurred_at)
        self._rt.events.publish(uow, PointsChanged(entry.customer_id or "", entry.occurred_at))

    def _entry(
        self, of: Programme, kind: str, points: int, at: datetime, **told: Any
    ) -> PointsEntry:
        now = self._rt.now()
        _, expires = dates(of, None, at, self._rt.settings.zone)
        qualifies = of.policy.by == "points" and points > 0
        return PointsEntry(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=None,
            programme=of.name,
            kind=kind,
            points=points,
            qualifying=points if qualifies else 0,
            available_at=at,
            expires_at=expires,
            version=of.version,
            occurred_at=min(at, now),
            recorded_at=now,
            **told,
        )


def _required(value: object, field: str) -> str:
    said = text(value, field=field, limit=500)
    if said is None:
        raise InvalidInput("expected some text", field=field)
    return said


def _actor(value: object) -> str | None:
    return optional_text(value, "actor", 100)


def _check_delta(delta: object) -> None:
    if isinstance(delta, bool) or not isinstance(delta, int) or not 0 < abs(delta) <= _LARGEST:
        raise InvalidInput("expected a whole number other than zero", field="delta")
