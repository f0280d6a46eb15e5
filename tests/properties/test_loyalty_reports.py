"""Reports of programmes are the sums of what each account tells, after any history."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import CRMError, CRMService, MemoryStorage, Settings, SqlStorage
from crmkit.loyalty import holdings
from crmkit.ports.storage import Storage
from crmkit.programmes import EarnRule, Programme, Reward, Tier, TierPolicy
from crmkit.testing import FrozenClock
from tests.fixtures import sqlite_url

shared_storages = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
_tenants = (f"reports {n}" for n in itertools.count())

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
PEOPLE = 3
PROGRAMME = Programme(
    tiers=(Tier("BRONZE", 0), Tier("SILVER", 100), Tier("GOLD", 200)),
    policy=TierPolicy(window_days=12),
    earn_rules=(
        EarnRule(name="visit", kind="visit", points=60, expires_days=9),
        EarnRule(name="review", kind="review", points=25, hold_days=4),
        EarnRule(name="booking", kind="booking", points=80, completed=True, pending=True),
    ),
    multipliers=(),
    milestones=(),
    rewards=(Reward(name="cake", cost=40, hold_days=3),),
)
SETTINGS = Settings(timezone="Europe/Bucharest", programmes=[PROGRAMME])

Command = tuple[str, int, int]
COMMANDS: st.SearchStrategy[list[Command]] = st.lists(
    st.tuples(
        st.sampled_from(
            "visit visit visit booking completion review void take redeem wait".split()
        ),
        st.integers(0, PEOPLE - 1),
        st.integers(0, 5),
    ),
    max_size=16,
)


@pytest.fixture(scope="module")
def storages(
    _postgres_storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[Storage]]:
    folder: Path = tmp_path_factory.mktemp("reports")
    sqlite = SqlStorage.open(sqlite_url(folder))
    yield MemoryStorage(), sqlite, _postgres_storage
    sqlite.close()


def do(crm: CRMService, clock: FrozenClock, ids: Sequence[str], commands: list[Command]) -> None:
    """What is asked in vain is no matter."""
    made: list[str] = []
    for name, who, n in commands:
        with suppress(CRMError):
            _do(crm, clock, name, ids[who], n, made)


def _do(
    crm: CRMService, clock: FrozenClock, name: str, customer: str, n: int, made: list[str]
) -> None:
    match name:
        case "visit" | "review":
            made.append(crm.track_activity(customer, name).id)
        case "booking" | "completion":
            crm.track_activity(customer, name, {"booking_id": n % 2})
        case "void":
            crm.activities.void(made[n % len(made)] if made else "nothing")
        case "take":
            crm.loyalty.update_points(customer, -20 * n - 15, reason="gift")
        case "redeem":
            crm.loyalty.redeem(customer, "cake")
        case "wait":
            clock.advance(days=n)


@shared_storages
@given(commands=COMMANDS, due=st.booleans())
def test_reports_are_sums_over_accounts(
    storages: Sequence[Storage], commands: list[Command], *, due: bool
) -> None:
    """At any instant, past or ahead; whatever was settled."""
    for storage in storages:
        clock = FrozenClock(START)
        crm = CRMService(storage, clock=clock, settings=SETTINGS, tenant=next(_tenants))
        ids = [crm.find_or_create({"user_id": n}).id for n in range(PEOPLE)]
        do(crm, clock, ids, commands)
        if due:
            crm.run_due()
        for day in (-1, 0, 2, 4, 5, 9, 10, 13, 25):
            are_sums(crm, ids, START + timedelta(days=day, hours=1))


def are_sums(crm: CRMService, ids: Sequence[str], at: datetime) -> None:
    reports = crm.loyalty.reports
    accounts = [crm.loyalty.account(c, at=at) for c in ids]
    liability, points = reports.liability(at=at), reports.points(at=at)
    assert liability.usable - liability.debt == sum(a.balance for a in accounts) == points.points
    assert liability.debt == -sum(min(a.balance, 0) for a in accounts)
    assert liability.pending == sum(a.pending for a in accounts)
    assert liability.customers == sum(a.balance > 0 or a.pending > 0 for a in accounts)
    assert liability.owing == sum(a.balance < 0 for a in accounts)
    told = sum(due.points for due in liability.months) + liability.never
    assert told == liability.outstanding
    assert all(due.points > 0 for due in liability.months)
    if not liability.owing:
        expiring = [e for c in ids for e in crm.loyalty.expiring(c, within="10y", at=at)]
        assert sum(e.points for e in expiring) == sum(due.points for due in liability.months)
    if at > START:
        tiers = Counter(a.tier for a in accounts)
        assert {t.tier: t.customers for t in reports.tiers(at=at).tiers if t.customers} == tiers


@shared_storages
@given(COMMANDS, st.integers(0, 20), st.integers(1, 20))
def test_a_flow_leads_from_one_distribution_to_the_other(
    storages: Sequence[Storage], commands: list[Command], since: int, days: int
) -> None:
    """Its rows are the tiers before, its columns those after; a timeline tells the same."""
    for storage in storages:
        clock = FrozenClock(START)
        crm = CRMService(storage, clock=clock, settings=SETTINGS, tenant=next(_tenants))
        ids = [crm.find_or_create({"user_id": n}).id for n in range(PEOPLE)]
        do(crm, clock, ids, commands)
        crm.find_or_create({"user_id": "late"}, at=START + timedelta(days=10))
        start = START + timedelta(days=since, hours=1)
        leads_on(crm, start, start + timedelta(days=days))


def leads_on(crm: CRMService, start: datetime, end: datetime) -> None:
    flow = crm.loyalty.reports.flow(start, end)
    before, after = (
        [share.customers for share in crm.loyalty.reports.tiers(at=at).tiers] for at in (start, end)
    )
    assert [sum(row) for row in flow.counts] == before
    columns = [sum(column) for column in zip(*flow.counts, flow.came, strict=True)]
    assert columns == after
    assert flow.rose + flow.fell + flow.stayed == sum(before)
    line = crm.loyalty.reports.timeline(start, end, step="day")
    assert [row[-1] for row in line.counts] == after


def test_a_page_of_accounts_is_not_all_of_them(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many accounts each is told once."""
    monkeypatch.setattr(holdings, "_PAGE", 3)
    crm = CRMService(storage, settings=SETTINGS, tenant=next(_tenants))
    for n in range(9):
        one = crm.find_or_create({"user_id": n}).id
        crm.loyalty.update_points(one, n + 1, reason="gift")
    found = crm.loyalty.reports.liability()
    assert (found.usable, found.customers) == (45, 9)
