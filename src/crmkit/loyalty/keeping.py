"""What follows for points and tiers from what happens elsewhere, and from time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

from crmkit.activities.recording import StoriesChanged
from crmkit.loyalty import accounts, milestones, tiering
from crmkit.loyalty.granting import Fits, Granting
from crmkit.loyalty.redeeming import Redeeming
from crmkit.loyalty.referrals import Referrals
from crmkit.model import Metrics, PointsAccount, TierPeriod
from crmkit.ports.events import (
    ActivitiesAnonymised,
    CustomersMerged,
    MergeUndone,
    PointsChanged,
)
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_DUE_AT_ONCE = 100
_RECOUNTED_AT_ONCE = 500


class Keeper:
    """Keeps accounts, tiers, milestones and referrals in step; crmkit calls it by events."""

    def __init__(self, runtime: Runtime, fits: Fits) -> None:
        self._rt = runtime
        self._fits = fits
        self._redeeming = Redeeming(runtime, fits)
        self._referrals = Referrals(runtime)

    # --- what happens ---

    def on_stories(self, uow: UnitOfWork, event: StoriesChanged) -> None:
        """Post what changed stories earn."""
        for programme in self._rt.settings.programmes:
            posted = Granting(uow, self._rt, programme, self._fits).post(event.changes)
            if posted:
                tiering.follow(uow, self._rt, programme, posted)
            if milestones.reach(uow, self._rt, programme, event) or posted:
                tiering.note_once(uow, self._rt, programme)
        self._referrals.on_stories(uow, event)

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Make one account of two: their lots stay as they are."""
        both = event.merge.kept_id, event.merge.dropped_id
        programmes = _programmes_of(uow, both)
        for kind in (PointsAccount, TierPeriod):
            uow.remove(kind, customer_id=event.merge.dropped_id)
        self._rebuild(uow, event.merge.kept_id, programmes)
        self._referrals.on_merged(uow, event)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Give the customer who is back an account, and the other what is left."""
        both = event.merge.customer_id, event.merge.dropped_id
        for programme in self._rt.settings.programmes:
            granting = Granting(uow, self._rt, programme, self._fits)
            granting.share_again(both, event.merge.recorded_at)
        self._redeeming.on_undone(uow, both)
        programmes = _programmes_of(uow, both)
        for customer_id in both:
            self._rebuild(uow, customer_id, programmes)
        self._referrals.on_undone(uow, event)

    def on_anonymised(self, uow: UnitOfWork, event: ActivitiesAnonymised) -> None:
        """Let stand what followed from activities that were anonymised."""
        self._referrals.on_anonymised(uow, event)

    def _rebuild(self, uow: UnitOfWork, customer_id: str, programmes: set[str]) -> None:
        uow.remove(PointsAccount, customer_id=customer_id)
        for name in sorted(programmes):
            account = accounts.rebuilt(uow, self._rt, customer_id, name)
            if account is not None:
                uow.add(account)
        for programme in self._rt.settings.programmes:
            if programme.name in programmes:
                tiering.retier(uow, self._rt, programme, [customer_id])

    # --- what time brings ---

    def due(self, now: datetime) -> Iterator[Callable[[UnitOfWork], int]]:
        """What there is to do, each to be called in a transaction until it did nothing more."""
        for programme in self._rt.settings.programmes:
            yield partial(
                tiering.recount_some,
                rt=self._rt,
                programme=programme,
                limit=_RECOUNTED_AT_ONCE,
            )
        yield partial(self._settle_some, now)
        yield partial(tiering.tell_due, rt=self._rt, now=now, limit=_DUE_AT_ONCE)

    def _settle_some(self, now: datetime, uow: UnitOfWork) -> int:
        """Settle accounts in which points became available, expired or came back."""
        due = uow.due(PointsAccount, "next_at", now, limit=_DUE_AT_ONCE)
        uow.hold(Metrics, {account.customer_id for account in due})
        for seen in due:
            account = uow.get(PointsAccount, seen.customer_id, seen.programme)
            if account is None or account.next_at is None or account.next_at > now:
                continue
            accounts.settle(uow, self._rt, account)
            self._rt.events.publish(uow, PointsChanged(account.customer_id, account.next_at))
        return len(due)


def _programmes_of(uow: UnitOfWork, customers: tuple[str, ...]) -> set[str]:
    """The programmes in which these have accounts, be they configured here or not."""
    return {account.programme for account in uow.find(PointsAccount, customer_id=customers)}
