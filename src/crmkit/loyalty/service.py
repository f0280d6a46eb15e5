"""`crm.loyalty`: points follow from activities, the tier from what qualifies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import attrs

from crmkit.activities.drafts import draft
from crmkit.activities.recording import StoriesChanged
from crmkit.activities.stories import read
from crmkit.errors import InsufficientPoints, InvalidInput
from crmkit.loyalty import accounts
from crmkit.loyalty.granting import Fits, Granting
from crmkit.loyalty.periods import dates
from crmkit.loyalty.referrals import Referrals
from crmkit.loyalty.standing import Account, Expiring, expiring, history, standing
from crmkit.model import (
    Enrolment,
    Metrics,
    Page,
    PointsAccount,
    PointsEntry,
    PointsLot,
    ProgrammeVersion,
    TierPeriod,
)
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.money import digits
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import FOREVER, Duration, from_micros, to_micros
from crmkit.ports.events import CustomersMerged, MergeUndone, PointsChanged
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme

_LARGEST = 10**12
_DUE_AT_ONCE = 100


@attrs.frozen
class Earning:
    """What an activity would earn by one rule, and when the points could be used."""

    rule: str
    points: int
    on_completion: bool
    available_at: datetime
    expires_at: datetime | None


class Loyalty:
    """Points, tiers and rewards of one tenant's customers.

    `programme=` names one of several programmes; without it the first is meant.
    """

    def __init__(self, runtime: Runtime, fits: Fits) -> None:
        self._rt = runtime
        self._fits = fits

    @cached_property
    def referrals(self) -> Referrals:
        """Customers who bring customers."""
        return Referrals(self._rt, self._note_version)

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
        their own, which expires as the programme says. `actor` is who did it, as the host
        names them. Raises `InsufficientPoints` if the balance does not cover them.
        """
        _check_delta(delta)
        of, now = self._programme(programme), self._rt.now()
        why, when = _required(reason, "reason"), self._rt.at(at)
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
        """The entries of a customer's account, the latest first, with what expired (`expire`)."""
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
            account = uow.get(PointsAccount, whose.customer_id, of.name) or PointsAccount(
                tenant=self._rt.tenant, customer_id=whose.customer_id, programme=of.name
            )
            uow.put(evolved(account, enrols=True))
            return self._standing(uow, of, whose.customer_id, self._rt.now())

        return self._rt.write(work)

    # --- everybody ---

    def tiers(
        self, *, programme: str | None = None, at: datetime | str | None = None
    ) -> dict[str, int]:
        """How many customers each tier has, from the first tier up."""
        of, when = self._programme(programme), self._rt.at(at)
        ranks: Counter[int] = Counter()
        with self._rt.read() as uow:
            fields = ("since", "until", "rank")
            for since, until, rank in uow.stream_rows(TierPeriod, fields, programme=of.name):
                if since <= when < until:
                    ranks[min(rank, len(of.tiers) - 1)] += 1
            ranks[0] += uow.count(Metrics) - ranks.total()
        return {tier.name: ranks[rank] for rank, tier in enumerate(of.tiers)}

    def run_due(self, now: datetime, progress: Callable[[int], None] | None = None) -> int:
        """Settle the accounts in which points became available or expired; crmkit's own."""
        self._rt.write(self._note_versions)
        done = 0
        while True:
            settled = self._rt.write(lambda uow: self._settle_some(uow, now))
            done += settled
            if not settled:
                return done
            if progress:
                progress(done)

    def _settle_some(self, uow: UnitOfWork, now: datetime) -> int:
        due = uow.due(PointsAccount, "next_at", now, limit=_DUE_AT_ONCE)
        held = uow.hold(Metrics, {account.customer_id for account in due})
        for seen in due:
            account = uow.get(PointsAccount, seen.customer_id, seen.programme)
            if account is None or account.next_at is None or account.next_at > now:
                continue
            if account.customer_id in held:
                accounts.settle(uow, self._rt, account)
                self._rt.events.publish(uow, PointsChanged(account.customer_id, account.next_at))
        return len(due)

    # --- what happens elsewhere ---

    def on_stories(self, uow: UnitOfWork, event: StoriesChanged) -> None:
        """Post what changed stories earn; crmkit's own."""
        for programme in self._rt.settings.programmes:
            if Granting(uow, self._rt, programme, self._fits).post(event.changes):
                self._note_version(uow, programme)
        self.referrals.on_stories(uow, event)

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Make one account of two: their lots stay as they are; crmkit's own."""
        self._rebuild(uow, event.merge.kept_id)
        for kind in (PointsAccount, TierPeriod):
            uow.remove(kind, customer_id=event.merge.dropped_id)
        self.referrals.on_merged(uow, event)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Give the customer who is back an account, and the other what is left; crmkit's own."""
        for customer_id in (event.merge.customer_id, event.merge.dropped_id):
            self._rebuild(uow, customer_id)
        self.referrals.on_undone(uow, event)

    def _rebuild(self, uow: UnitOfWork, customer_id: str) -> None:
        uow.remove(PointsAccount, customer_id=customer_id)
        for programme in self._rt.settings.programmes:
            account = accounts.rebuilt(uow, self._rt, customer_id, programme.name)
            if account is not None:
                uow.add(account)

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
        account = self._up_to_now(uow, of, entry.customer_id or "")
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
        accounts.post(uow, self._rt, of.name, news, lots)
        self._note_version(uow, of)
        self._rt.foresee(uow, entry.occurred_at)
        self._rt.events.publish(uow, PointsChanged(entry.customer_id or "", entry.occurred_at))

    def _up_to_now(self, uow: UnitOfWork, of: Programme, customer_id: str) -> PointsAccount | None:
        """The account, settled where something was due."""
        account = uow.get(PointsAccount, customer_id, of.name)
        if account is None or account.next_at is None or account.next_at > self._rt.now():
            return account
        return accounts.settle(uow, self._rt, account)

    def _note_versions(self, uow: UnitOfWork) -> None:
        self._rt.memory.pop("programmes", None)
        for programme in self._rt.settings.programmes:
            self._note_version(uow, programme)

    def _note_version(self, uow: UnitOfWork, of: Programme) -> None:
        """Remember the configuration, the first time that something is posted by it."""
        known = self._rt.memory.setdefault("programmes", set())
        mark = (self._rt.tenant, of.name, of.version)
        if mark in known:
            return
        uow.add_if_absent(
            ProgrammeVersion(
                tenant=self._rt.tenant,
                programme=of.name,
                version=of.version,
                document=of.document(),
                since=self._rt.now(),
            )
        )
        known.add(mark)  # should this unit of work be undone, `run_due` notes it

    def _entry(
        self, of: Programme, kind: str, points: int, at: datetime, **told: Any
    ) -> PointsEntry:
        available, expires = dates(of, None, at, self._rt.settings.zone)
        qualifies = of.policy.by == "points" and points > 0
        return PointsEntry(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=None,
            programme=of.name,
            kind=kind,
            points=points,
            qualifying=points if qualifies else 0,
            available_at=at if points > 0 else available,
            expires_at=expires,
            version=of.version,
            occurred_at=at,
            recorded_at=self._rt.now(),
            **told,
        )


def _required(value: object, field: str) -> str:
    said = text(value, field=field, limit=500)
    if said is None:
        raise InvalidInput("expected some text", field=field)
    return said


def _actor(value: object) -> str | None:
    return None if value is None else text(value, field="actor", limit=100)


def _check_delta(delta: object) -> None:
    if isinstance(delta, bool) or not isinstance(delta, int) or not 0 < abs(delta) <= _LARGEST:
        raise InvalidInput("expected a whole number other than zero", field="delta")
