"""`crm.loyalty`: points follow from activities; the tier follows from qualifying points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from crmkit.activities.recording import StoriesChanged, StoryChange
from crmkit.config import Settings
from crmkit.errors import InsufficientPoints, InvalidInput
from crmkit.loyalty.earning import Worth, regranted, worth
from crmkit.model import Activity, Metrics, Page, PointsAccount, PointsEntry
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import from_micros, to_micros
from crmkit.ports.events import CustomersMerged, MergeUndone, PointsChanged
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

_LARGEST = 10**12


@attrs.frozen
class Account:
    """A customer's points: what can be used, what counts for the tier, and the tier.

    `to_next_tier` is None at the top. A balance below zero is debt: points that were
    used before their booking was cancelled.
    """

    customer_id: str
    balance: int
    qualifying: int
    tier: str
    next_tier: str | None
    to_next_tier: int | None


def standing(customer_id: str, account: PointsAccount | None, settings: Settings) -> Account:
    """The account as its owner sees it."""
    balance = account.balance if account else 0
    qualifying = account.qualifying if account else 0
    ahead = next((t for t in settings.tiers if t.from_points > max(qualifying, 0)), None)
    return Account(
        customer_id=customer_id,
        balance=balance,
        qualifying=qualifying,
        tier=settings.tier(qualifying),
        next_tier=ahead.name if ahead else None,
        to_next_tier=ahead.from_points - qualifying if ahead else None,
    )


class Loyalty:
    """Points and tiers of one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def account(self, customer_id: str) -> Account:
        """Balance and tier; a customer without points has none of the first tier."""
        with self._rt.read() as uow:
            account = uow.get(PointsAccount, checked_id(customer_id))
            if account is not None:
                return standing(customer_id, account, self._rt.settings)
            holder = self._rt.customer(uow, customer_id).id
            if holder != customer_id:
                return self._standing(uow, holder)
            return standing(holder, None, self._rt.settings)

    def update_points(
        self,
        customer_id: str,
        delta: int,
        *,
        reason: str,
        key: str | None = None,
        at: datetime | str | None = None,
    ) -> Account:
        """Add points, or take them with a negative `delta`.

        Added points count for the tier; taking points never lowers it. Raises
        `InsufficientPoints` if the balance does not cover them.
        """
        _check_delta(delta)
        why = text(reason, field="reason", limit=500)
        if why is None:
            raise InvalidInput("expected some text", field="reason")
        entry = PointsEntry(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=checked_id(customer_id),
            kind="adjust",
            points=delta,
            qualifying=max(delta, 0),
            reason=why,
            occurred_at=self._rt.at(at),
            recorded_at=self._rt.now(),
        )
        call = Call.of(self._rt, "loyalty.update_points", key, canonical([delta, why, stated(at)]))

        def work(uow: UnitOfWork) -> Account:
            holder = self._rt.metrics(uow, customer_id, lock=True).customer_id
            origin = self._rt.whose(uow, customer_id, holder).origin
            seen = call and call.claim(
                uow, self._rt, customer_id=holder, result_id=entry.id, origin=origin
            )
            if not seen:
                mine = evolved(entry, customer_id=holder, origin=origin)
                self._post(uow, mine, floor={"balance": 0} if delta < 0 else None)
                self._rt.foresee(uow, mine.occurred_at)
                self._rt.events.publish(uow, PointsChanged(holder, mine.occurred_at))
            return self._standing(uow, holder)

        return self._rt.write(work)

    def _standing(self, uow: UnitOfWork, customer_id: str) -> Account:
        return standing(customer_id, uow.get(PointsAccount, customer_id), self._rt.settings)

    def history(
        self, customer_id: str, *, limit: int = 100, after: str | None = None
    ) -> Page[PointsEntry]:
        """The entries of a customer's account, the latest first."""
        limit, start = checked_limit(limit), position(after, (int, str))
        with self._rt.read() as uow:
            found = uow.find(
                PointsEntry,
                customer_id=self._rt.customer(uow, customer_id).id,
                order=("occurred_at", "id"),
                descending=True,
                after=start and (from_micros(start[0]), start[1]),
                limit=limit + 1,
            )
        return paged(found, limit, lambda e: (to_micros(e.occurred_at), e.id))

    def tiers(self) -> dict[str, int]:
        """How many customers each tier has, from the first tier up."""
        with self._rt.read() as uow:
            counts = Counter(
                self._rt.settings.tier(a.qualifying) for a in uow.stream(PointsAccount)
            )
            without = uow.count(Metrics) - counts.total()
        counts[self._rt.settings.tiers[0].name] += without
        return {tier.name: counts[tier.name] for tier in self._rt.settings.tiers}

    def on_stories(self, uow: UnitOfWork, event: StoriesChanged) -> None:
        """Post the differences between what stories are worth now and what they have earned."""
        given = self._given(uow, event.changes)
        entries = [
            self._entry(change.fact, points)
            for change in event.changes
            if (points := self._owed(change, given[change.fact.story]))
        ]
        owed: Counter[str] = Counter()
        for entry in entries:
            owed[entry.customer_id or ""] += entry.points
        tenant = self._rt.tenant
        uow.gather(
            PointsAccount(tenant=tenant, customer_id=c, balance=owed[c], qualifying=owed[c])
            for c in sorted(owed)
        )
        uow.add_many(entries)

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Add the dropped customer's account to the kept one's."""
        kept, dropped = event.merge.kept_id, event.merge.dropped_id
        account = uow.get(PointsAccount, dropped)
        if account is not None:
            uow.gather([evolved(account, customer_id=kept)])
            uow.remove(PointsAccount, customer_id=dropped)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Give the customer who is back the sum of their entries, and take it from the other."""
        holder, back = event.merge.customer_id, event.merge.dropped_id
        account = PointsAccount(tenant=self._rt.tenant, customer_id=back)
        entries = 0
        for entry in uow.stream(PointsEntry, customer_id=back, order=("occurred_at", "id")):
            entries += 1
            account = evolved(
                account,
                balance=account.balance + entry.points,
                qualifying=account.qualifying + entry.qualifying,
            )
        if not entries:
            return
        uow.add(account)
        if uow.find(PointsEntry, customer_id=holder, limit=1):
            gone = {"balance": -account.balance, "qualifying": -account.qualifying}
            uow.gather([evolved(account, customer_id=holder, **gone)])
        else:
            uow.remove(PointsAccount, customer_id=holder)

    def _given(self, uow: UnitOfWork, changes: Sequence[StoryChange]) -> Mapping[str, int]:
        """What stories that go on were given before."""
        given: Counter[str] = Counter()
        going_on = tuple(c.fact.story for c in changes if c.before)
        if going_on:
            for entry in uow.find(PointsEntry, story=going_on):
                given[entry.story or ""] += entry.points
        return given

    def _owed(self, change: StoryChange, given: int) -> int:
        rules = self._rt.settings.earn_rules
        after = worth(change.after, rules)
        before = worth(change.before, rules) if change.before else Worth(0)
        if given == before.kept:
            return after.kept - given
        # Granted under other rules: those points stay granted.
        return (0 if change.after.off else regranted(given, before, after)) - given

    def _entry(self, fact: Activity, points: int) -> PointsEntry:
        return PointsEntry(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=fact.customer_id,
            kind="earn" if points > 0 else "reverse",
            points=points,
            qualifying=points,
            story=fact.story,
            occurred_at=fact.occurred_at,
            recorded_at=fact.recorded_at,
            origin=fact.origin,
        )

    def _post(
        self, uow: UnitOfWork, entry: PointsEntry, *, floor: Mapping[str, int] | None = None
    ) -> None:
        """Store an entry and move the account by it; raises `InsufficientPoints`."""
        account = PointsAccount(tenant=entry.tenant, customer_id=entry.customer_id or "")
        by = {"balance": entry.points, "qualifying": entry.qualifying}
        if not uow.increase(account, by, floor=floor):
            raise InsufficientPoints("the balance does not cover these points")
        uow.add(entry)


def _check_delta(delta: object) -> None:
    if isinstance(delta, bool) or not isinstance(delta, int) or not 0 < abs(delta) <= _LARGEST:
        raise InvalidInput("expected a whole number other than zero", field="delta")
