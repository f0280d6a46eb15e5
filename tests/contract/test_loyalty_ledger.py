"""`crm.loyalty.ledger`: what is kept is what the entries tell, and can be put right."""

from __future__ import annotations

from typing import Any

import pytest

from crmkit import CRMService, Programme, Settings, Tier
from crmkit.model import PointsAccount, PointsLot, TierPeriod
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock

TIERS = [Tier("GUEST", 0), Tier("FRIEND", 100), Tier("FAMILY")]
SETTINGS = Settings(programmes=[Programme(tiers=TIERS, expires_days=30)])


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    return CRMService(storage, settings=SETTINGS, clock=clock)


def guest(crm: CRMService) -> str:
    """With 120 points of two lots, of which 30 were used."""
    who = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.track_activity(who, "booking", {"booking_id": "b", "status": "completed"})
    crm.loyalty.update_points(who, 20, reason="gift")
    crm.loyalty.update_points(who, -30, reason="tea")
    return who


def test_what_was_posted_is_right(crm: CRMService, clock: FrozenClock) -> None:
    """Before and after points expire, with and without a run."""
    who = guest(crm)
    assert crm.loyalty.ledger.verify() == ()
    clock.advance(days=40)
    assert crm.loyalty.ledger.verify(who) == ()
    crm.run_due()
    assert crm.loyalty.ledger.verify() == ()
    assert crm.loyalty.ledger.rebuild() == 0


@pytest.mark.parametrize(
    ("kind", "change", "name"),
    [
        (PointsAccount, {"balance": 900}, "balance"),
        (PointsAccount, {"pending": 1}, "pending"),
        (PointsAccount, {"qualifying": 0}, "qualifying"),
        (PointsAccount, {"indebted": True}, "indebted"),
        (PointsLot, {"left": 7}, "lot left"),
        (PointsLot, {"used": 1}, "lot used"),
        (TierPeriod, {"rank": 2}, "tiers"),
    ],
)
def test_what_is_wrong_is_named_and_put_right(
    crm: CRMService, kind: type, change: dict[str, Any], name: str
) -> None:
    """The entries tell what is right."""
    who = guest(crm)
    crm._runtime.write(lambda uow: uow.put(evolved(uow.find(kind)[0], **change)))
    wrong = crm.loyalty.ledger.verify()
    assert {(w.customer_id, w.name) for w in wrong} == {(who, name)}
    assert crm.loyalty.ledger.rebuild(who) == 1
    assert crm.loyalty.ledger.verify() == ()
    assert (crm.loyalty.account(who).balance, crm.loyalty.account(who).tier) == (90, "FRIEND")


def test_versions_of_a_programme_are_remembered(
    crm: CRMService, storage: Storage, clock: FrozenClock
) -> None:
    """Each with the instant since when it was in use; tiers follow the last."""
    who = guest(crm)
    assert crm.loyalty.account(who).tier == "FRIEND"
    begun = clock()
    clock.advance(days=1)
    higher = Programme(tiers=[Tier("GUEST", 0), Tier("FRIEND", 500)], expires_days=30)
    later = CRMService(storage, settings=Settings(programmes=[higher]), clock=clock)
    later.run_due()
    first, second = later.loyalty.ledger.versions()
    assert (first.since, second.since) == (begun, clock())
    assert first.document["tiers"][1]["from_points"] == 100
    assert (second.version, second.recounted_at) == (higher.version, clock())
    assert later.loyalty.account(who).tier == "GUEST"
    assert later.loyalty.ledger.verify() == ()
    crm.run_due()
    assert crm.loyalty.account(who).tier == "FRIEND"
