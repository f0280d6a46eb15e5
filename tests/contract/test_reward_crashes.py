"""A redemption is there whole or not at all, and asking again with its key is safe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import sqlalchemy as sa

from crmkit import CRMService, Programme, RewardRefused, Settings, StorageError
from crmkit.model import Redemption
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.programmes import Reward
from crmkit.testing import FrozenClock
from tests.populate import rows

SETTINGS = Settings(
    programmes=[Programme(rewards=(Reward(name="shirt", cost=10, stock=1, hold_days=1),))]
)
_WRITES = ("add", "add_if_absent", "add_many", "put", "put_many", "increase")


class Failing:
    """A storage whose power fails at the write of that number, in every unit of work."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.left = 10**9

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def read(self, tenant: str) -> AbstractContextManager[UnitOfWork]:
        return self._storage.read(tenant)

    def write(self, tenant: str, work: Callable[[UnitOfWork], Any]) -> Any:
        def failing(uow: UnitOfWork) -> Any:
            for name in _WRITES:
                setattr(uow, name, self._failing(getattr(uow, name)))
            return work(uow)

        return self._storage.write(tenant, failing)

    def using(self, lent: Any) -> Any:
        return self._storage.using(lent)

    def secret(self) -> bytes:
        return self._storage.secret()

    def close(self) -> None:
        self._storage.close()

    def _failing(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*args: Any, **named: Any) -> Any:
            if self.left == 0:
                raise StorageError("the power failed")
            self.left -= 1
            return write(*args, **named)

        return fail


def test_wherever_it_fails_nothing_is_half_there(storage: Storage, clock: FrozenClock) -> None:
    """Reserving, cancelling, reserving again and handing out, each failing at every write."""
    failing = Failing(storage)
    crm = CRMService(failing, clock=clock, settings=SETTINGS)
    ana = crm.find_or_create({"name": "Ana"}).id
    crm.loyalty.update_points(ana, 20, reason="gift")
    made = [""]

    def redeem(key: str) -> None:
        made[0] = crm.loyalty.redeem(ana, "shirt", key=key).id

    calls: list[Callable[[], object]] = [
        lambda: redeem("one"),
        lambda: crm.loyalty.cancel(made[0]),
        lambda: redeem("two"),
        lambda: crm.loyalty.fulfil(redemption_id=made[0], key="scan"),
    ]
    failed = 0
    for call in calls:
        for writes in range(100):
            before, failing.left = rows(storage, crm.tenant), writes
            try:
                call()
            except StorageError:
                failed += 1
                assert rows(storage, crm.tenant) == before
            else:
                break
        failing.left = 10**9
        after = rows(storage, crm.tenant)
        call()  # the answer was lost, and the host asks again
        assert rows(storage, crm.tenant) == after
    assert failed > 15
    assert crm.loyalty.account(ana).balance == 10
    states = [r.state for r in crm.loyalty.rewards.history(ana)]
    assert states == ["fulfilled", "cancelled"]


def test_a_host_that_rolls_back_took_nothing(
    engine: sa.Engine, lend: Callable[[], Any], clock: FrozenClock
) -> None:
    """Neither points nor stock; and the key is free again."""
    crm = CRMService(engine, clock=clock, settings=SETTINGS)
    ana = crm.find_or_create({"name": "Ana"}).id
    crm.loyalty.update_points(ana, 20, reason="gift")
    with lend() as lent:
        with crm.using(lent) as tx:
            tx.loyalty.redeem(ana, "shirt", key="k")
            assert tx.loyalty.account(ana).balance == 10
        lent.rollback()
    assert crm.loyalty.account(ana).balance == 20
    assert [stock.left for stock in crm.loyalty.rewards.stock()] == [1]
    assert crm.loyalty.redeem(ana, "shirt", key="k").state == "reserved"


def test_what_lapsed_can_be_had_inside_the_hosts_transaction(
    engine: sa.Engine, lend: Callable[[], Any], clock: FrozenClock
) -> None:
    """And what is refused there leaves the host's transaction whole."""
    crm = CRMService(engine, clock=clock, settings=SETTINGS)
    ana, bob = (crm.find_or_create({"name": name}).id for name in ("Ana", "Bob"))
    for who in (ana, bob):
        crm.loyalty.update_points(who, 20, reason="gift")
    crm.loyalty.redeem(bob, "shirt")
    with lend() as lent:
        with crm.using(lent) as tx:
            with pytest.raises(RewardRefused):
                tx.loyalty.redeem(ana, "shirt")
            clock.advance(days=1)
            assert tx.loyalty.redeem(ana, "shirt").state == "reserved"
        lent.commit()
    assert [crm.loyalty.account(who).balance for who in (ana, bob)] == [10, 20]
    with crm._runtime.read() as uow:
        assert uow.count(Redemption, cancelled_at=None) == 1
