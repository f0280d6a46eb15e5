"""Who refers whom, for tests of referrals."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs

from crmkit import CRMService, Settings
from crmkit.loyalty.referrals import Referral
from crmkit.ports.storage import Storage
from crmkit.programmes import Programme, ReferralPolicy
from crmkit.testing import FrozenClock

WINDOW = timedelta(days=14)


@attrs.frozen
class Pair:
    """Who hands out a code, and who comes by it."""

    crm: CRMService
    clock: FrozenClock
    ana: str
    ion: str

    def accept(self, **more: Any) -> Referral:
        referrals = self.crm.loyalty.referrals
        return referrals.accept(self.ion, referrals.code(self.ana), **more)

    def come(self, kind: str = "visit", **payload: Any) -> str:
        return self.crm.track_activity(self.ion, kind, payload or None).id

    def points(self) -> list[tuple[int, int]]:
        """Balance and pending points of both."""
        accounts = [self.crm.loyalty.account(customer) for customer in (self.ana, self.ion)]
        return [(account.balance, account.pending) for account in accounts]

    @property
    def now(self) -> Referral:
        (found,) = self.crm.loyalty.referrals.of(self.ana)
        return found


def service(
    storage: Storage, clock: FrozenClock, policy: ReferralPolicy | None, **more: Any
) -> CRMService:
    programme = Programme(referral=policy, earn_rules=(), multipliers=(), milestones=(), **more)
    return CRMService(storage, clock=clock, settings=Settings(region="RO", programmes=[programme]))


def guest(crm: CRMService, name: str, **more: Any) -> str:
    return crm.find_or_create({"name": name, "email": f"{name.lower()}@mail.com", **more}).id


def paired(crm: CRMService, clock: FrozenClock) -> Pair:
    return Pair(crm, clock, guest(crm, "Ana"), guest(crm, "Ion"))
