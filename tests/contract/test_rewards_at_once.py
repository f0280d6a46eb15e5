"""Many threads redeem at once: no point is spent twice, and no more goes out than there is."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from crmkit import (
    CRMService,
    InsufficientPoints,
    Programme,
    RewardRefused,
    Settings,
)
from crmkit.model import PointsEntry, PointsLot, Redemption, RewardStock
from crmkit.ports.storage import Storage
from crmkit.programmes import Limit, Reward
from crmkit.testing import FrozenClock, together

THREADS = 64
PROGRAMME = Programme(
    rewards=(
        Reward(name="mint", cost=1),
        Reward(name="shirt", stock=10, hold_days=1),
        Reward(name="entry", limit=Limit(3)),
    )
)

both_databases = pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    return CRMService(storage, clock=clock, settings=Settings(programmes=[PROGRAMME]))


def storm(redeem: Callable[[int], object], times: int) -> Counter[bool]:
    """How often it was given, and how often refused, from all threads at once."""
    outcomes: Counter[bool] = Counter()

    def each(number: int) -> list[bool]:
        told: list[bool] = []
        for _ in range(times):
            try:
                redeem(number)
                told.append(True)
            except (InsufficientPoints, RewardRefused):
                told.append(False)
        return told

    for told in together(THREADS, each):
        outcomes.update(told)
    return outcomes


@both_databases
def test_640_redemptions_of_one_point_take_a_hundred_of_a_hundred(
    crm: CRMService, storage: Storage
) -> None:
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    for points in (30, 70):
        crm.loyalty.update_points(ana, points, reason="gift")
    assert storm(lambda _: crm.loyalty.redeem(ana, "mint"), 10) == {True: 100, False: 540}
    assert crm.loyalty.account(ana).balance == 0
    with storage.read(crm.tenant) as uow:
        assert uow.count(Redemption) == 100
        assert sum(entry.points for entry in uow.find(PointsEntry)) == 0
        assert {lot.left for lot in uow.find(PointsLot)} == {0}
        assert len({r.code for r in uow.find(Redemption)}) == 100


@both_databases
def test_ten_of_a_stock_of_ten_go_out_to_64_customers(crm: CRMService, storage: Storage) -> None:
    people = [crm.find_or_create({"email": f"guest{n}@mail.com"}).id for n in range(THREADS)]
    assert storm(lambda n: crm.loyalty.redeem(people[n], "shirt"), 1) == {True: 10, False: 54}
    assert [stock.left for stock in crm.loyalty.rewards.stock()] == [0]
    with storage.read(crm.tenant) as uow:
        assert [row.level for row in uow.find(RewardStock)] == [-10]


@both_databases
def test_what_lapsed_goes_out_once_more_whoever_puts_it_back(
    crm: CRMService, storage: Storage, clock: FrozenClock
) -> None:
    """All ten lapsed, some of customers who were erased; everybody asks, and a job runs too."""
    people = [crm.find_or_create({"email": f"guest{n}@mail.com"}).id for n in range(THREADS)]
    for n in range(10):
        crm.loyalty.redeem(people[n], "shirt")
    for n in range(3):
        crm.gdpr.erase(people[n])
    clock.advance(days=1)

    def each(number: int) -> bool:
        if number < 3:
            crm.run_due()
            return False
        try:
            return crm.loyalty.redeem(people[number], "shirt").state == "reserved"
        except RewardRefused:
            return False

    assert sum(together(THREADS, each)) == 10
    assert [stock.left for stock in crm.loyalty.rewards.stock()] == [0]
    with storage.read(crm.tenant) as uow:
        assert [row.level for row in uow.find(RewardStock)] == [-10]
        assert uow.count(Redemption, cancelled_at=None) == 10


@both_databases
def test_a_limit_holds_under_64_threads(crm: CRMService) -> None:
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    assert storm(lambda _: crm.loyalty.redeem(ana, "entry"), 2) == {True: 3, False: 125}


@both_databases
def test_a_code_is_used_once_by_64_tills(crm: CRMService) -> None:
    """Of those with one key all get the answer, of those without one one does."""
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    one, two = (crm.loyalty.redeem(ana, "entry").code for _ in range(2))
    assert storm(lambda _: crm.loyalty.fulfil(one), 1) == {True: 1, False: 63}
    assert storm(lambda _: crm.loyalty.fulfil(two, key="scan"), 1) == {True: 64}


@both_databases
def test_a_key_reserves_once_in_64_threads(crm: CRMService) -> None:
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.loyalty.update_points(ana, 100, reason="gift")
    made = together(THREADS, lambda _: crm.loyalty.redeem(ana, "mint", key="k").code)
    assert len(set(made)) == 1
    assert crm.loyalty.account(ana).balance == 99


@both_databases
def test_handing_out_and_cancelling_exclude_each_other(crm: CRMService) -> None:
    """Each redemption ends one way, and its points are back if it was cancelled."""
    ana = crm.find_or_create({"email": "ana@mail.com"}).id
    crm.loyalty.update_points(ana, 20, reason="gift")
    made = [crm.loyalty.redeem(ana, "mint") for _ in range(20)]

    def each(number: int) -> None:
        for redemption in made:
            try:
                if number % 2:
                    crm.loyalty.cancel(redemption.id)
                else:
                    crm.loyalty.fulfil(redemption.code)
            except RewardRefused:
                continue

    together(8, each)
    states = Counter(r.state for r in crm.loyalty.rewards.history(ana))
    assert states["fulfilled"] + states["cancelled"] == 20
    assert crm.loyalty.account(ana).balance == states["cancelled"]


# --- the naive way ---


@pytest.fixture(params=["sqlite", "postgresql"])
def host_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine with a host's own table of balances and stocks."""
    if request.param == "sqlite":
        engine = sa.create_engine(
            f"sqlite:///{tmp_path}/host.db", connect_args={"timeout": 60, "isolation_level": None}
        )
    else:
        engine = sa.create_engine(request.getfixturevalue("crm_database"))
    with engine.begin() as connection:
        if request.param == "sqlite":
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
        connection.exec_driver_sql("CREATE TABLE balances (points INTEGER)")
        connection.exec_driver_sql("INSERT INTO balances VALUES (100)")
    yield engine
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE balances")
    engine.dispose()


def test_the_naive_way_gives_more_than_there_is(host_engine: sa.Engine) -> None:
    """Look at the balance, and take a point if there is one: what hosts write first."""

    def naive(_: int) -> None:
        with host_engine.begin() as connection:
            points = connection.exec_driver_sql("SELECT points FROM balances").scalar_one()
            if points < 1:
                raise InsufficientPoints("none left")
            time.sleep(0.001)  # a host does this and that in between
            connection.exec_driver_sql(f"UPDATE balances SET points = {points - 1}")

    assert storm(naive, 10)[True] > 100
