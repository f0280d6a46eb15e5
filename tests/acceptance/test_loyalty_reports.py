"""What programmes owe their customers, and how tiers are doing: told at any instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from crmkit import CRMService, InvalidInput, Settings
from crmkit.loyalty.figures import Due
from crmkit.ports.storage import Storage
from crmkit.programmes import EarnRule, Programme, Reward, Tier, TierPolicy
from crmkit.testing import FrozenClock

MARCH = datetime(2026, 3, 10, 12, tzinfo=UTC)
PROGRAMME = Programme(
    tiers=(Tier("BRONZE", 0), Tier("SILVER", 100), Tier("GOLD", 300)),
    policy=TierPolicy(window_days=60),
    earn_rules=(
        EarnRule(name="visit", kind="visit", points=100, expires_days=20),
        EarnRule(name="review", kind="review", points=10, hold_days=5),
        EarnRule(name="order", kind="order", points=300, completed=False),
    ),
    multipliers=(),
    milestones=(),
    rewards=(Reward(name="cake", cost=40, hold_days=2),),
)


@pytest.fixture
def club(storage: Storage, clock: FrozenClock) -> CRMService:
    clock.set(MARCH)
    settings = Settings(
        timezone="Europe/Bucharest", programmes=[PROGRAMME, Programme(name="other", earn_rules=())]
    )
    return CRMService(storage, clock=clock, settings=settings)


def guest(crm: CRMService, name: str) -> str:
    return crm.find_or_create({"user_id": name}, at=crm._runtime.now()).id


# --- liability ---


def test_nobody_holds_anything_yet(club: CRMService) -> None:
    found = club.loyalty.reports.liability()
    assert (found.outstanding, found.debt, found.customers, found.owing) == (0, 0, 0, 0)
    assert (found.months, found.never) == ((), 0)


def test_points_are_told_by_the_month_in_which_they_expire(
    club: CRMService, clock: FrozenClock
) -> None:
    """The local month of the last day on which they can be used."""
    ana, ion = guest(club, "ana"), guest(club, "ion")
    club.track_activity(ana, "visit")  # can be used until 30 March
    clock.set("2026-03-11T12:00:00Z")
    club.track_activity(ion, "visit")  # until 31 March, at whose end it is 21:00 in UTC
    clock.set("2026-03-12T12:00:00Z")
    club.track_activity(ion, "visit")  # until 1 April
    club.track_activity(ion, "review")
    club.loyalty.update_points(ana, -30, reason="cake")
    found = club.loyalty.reports.liability()
    assert found.months == (Due(date(2026, 3, 1), 170), Due(date(2026, 4, 1), 100))
    assert (found.never, found.usable, found.pending) == (10, 270, 10)
    assert (found.customers, found.owing, found.programme) == (2, 0, "points")
    assert club.loyalty.reports.liability(programme="other").outstanding == 0


def test_a_liability_is_told_as_of_any_instant(club: CRMService, clock: FrozenClock) -> None:
    """Also ahead; and whether or not anything was settled."""
    ana = guest(club, "ana")
    club.track_activity(ana, "visit")
    club.track_activity(ana, "review")
    clock.advance(days=90)
    for run in (False, True):
        if run:
            club.run_due()
        told = [
            club.loyalty.reports.liability(at=MARCH + timedelta(days=day))
            for day in (-1, 0, 6, 19, 21, 200)
        ]
        assert [(t.usable, t.pending) for t in told] == [
            (0, 0), (100, 10), (110, 0), (110, 0), (10, 0), (10, 0),
        ]  # fmt: skip
        assert [t.customers for t in told] == [0, 1, 1, 1, 1, 1]


def test_debt_is_told_beside_the_points_of_others(club: CRMService) -> None:
    ana, ion = guest(club, "ana"), guest(club, "ion")
    visit = club.track_activity(ana, "visit")
    club.track_activity(ion, "visit")
    club.loyalty.update_points(ana, -70, reason="cake")
    club.activities.void(visit.id)
    found = club.loyalty.reports.liability()
    assert (found.usable, found.debt, found.customers, found.owing) == (100, 70, 1, 1)
    assert club.loyalty.account(ana).balance == -70


@pytest.mark.parametrize("owes", [False, True])
def test_what_nobody_fetched_is_outstanding_again(
    club: CRMService, clock: FrozenClock, *, owes: bool
) -> None:
    """From the instant on at which the reservation ends, whenever that is settled."""
    ana = guest(club, "ana")
    club.track_activity(ana, "visit")
    if owes:
        visit = club.track_activity(ana, "visit")
        club.loyalty.update_points(ana, -110, reason="cake")
        club.activities.void(visit.id)
        club.track_activity(ana, "visit")
    club.loyalty.redeem(ana, "cake")
    before = club.loyalty.account(ana).balance
    clock.advance(days=1)
    assert club.loyalty.reports.liability().usable == before
    clock.advance(days=2)
    assert club.loyalty.reports.liability().usable == before + 40
    assert club.loyalty.account(ana).balance == before + 40
    assert club.loyalty.reports.liability(at=MARCH + timedelta(days=1)).usable == before


def test_the_erased_hold_nothing(club: CRMService) -> None:
    ana, ion = guest(club, "ana"), guest(club, "ion")
    for one in (ana, ion):
        club.track_activity(one, "visit")
    club.gdpr.erase(ana)
    found = club.loyalty.reports.liability()
    assert (found.usable, found.customers) == (100, 1)


def test_merging_moves_nothing(club: CRMService) -> None:
    ana, ion = guest(club, "ana"), guest(club, "ion")
    for one in (ana, ion):
        club.track_activity(one, "visit")
    club.identity.merge(ana, ion, reason="one person")
    found = club.loyalty.reports.liability()
    assert (found.usable, found.customers) == (200, 1)


# --- points ---


def test_points_are_told_by_quantile_and_band(club: CRMService) -> None:
    for n, points in enumerate((10, 10, 30, 400)):
        club.loyalty.update_points(guest(club, f"guest{n}"), points, reason="gift")
    guest(club, "without")
    found = club.loyalty.reports.points()
    assert (found.customers, found.points) == (4, 450)
    assert (found.quantiles[50], found.quantiles[75], found.quantiles[99]) == (10, 30, 400)
    assert {b.label: b.customers for b in found.bands if b.customers} == {"1–99": 3, "250–499": 1}


# --- tiers ---


def test_tiers_are_of_those_who_are_there(club: CRMService, clock: FrozenClock) -> None:
    ana, ion = guest(club, "ana"), guest(club, "ion")
    clock.advance(days=10)
    guest(club, "eva")
    club.track_activity(ana, "visit")
    club.track_activity(ion, "order", {"amount": 5})
    found = club.loyalty.reports.tiers()
    assert [(t.tier, t.customers) for t in found.tiers] == [
        ("BRONZE", 1), ("SILVER", 1), ("GOLD", 1),
    ]  # fmt: skip
    assert [t.share for t in found.tiers] == [1 / 3] * 3
    assert club.loyalty.tiers() == {"BRONZE": 1, "SILVER": 1, "GOLD": 1}
    before = club.loyalty.reports.tiers(at=MARCH + timedelta(days=9))
    assert (before.customers, [t.customers for t in before.tiers]) == (2, [2, 0, 0])
    never = club.loyalty.reports.tiers(at=MARCH - timedelta(days=1))
    assert (never.customers, [t.share for t in never.tiers]) == (0, [0, 0, 0])


def test_a_flow_tells_who_came_rose_and_fell(club: CRMService, clock: FrozenClock) -> None:
    ana, ion, eva = (guest(club, name) for name in ("ana", "ion", "eva"))
    club.track_activity(ana, "order", {"amount": 5})
    club.track_activity(ion, "visit")
    clock.advance(days=30)
    start = clock()
    club.track_activity(guest(club, "dan"), "visit", at=start + timedelta(seconds=1))
    later = guest(club, "later")
    clock.advance(days=30, seconds=1)
    club.track_activity(ion, "order", {"amount": 5})
    club.track_activity(eva, "visit")
    club.track_activity(later, "visit")
    found = club.loyalty.reports.flow(start - timedelta(days=1))
    assert found.tiers == ("BRONZE", "SILVER", "GOLD")
    assert found.counts == ((0, 1, 0), (0, 0, 1), (1, 0, 0))
    assert found.came == (0, 2, 0)
    assert (found.rose, found.fell, found.stayed) == (2, 1, 0)
    same = club.loyalty.reports.flow(start, start + timedelta(hours=1))
    assert (same.rose, same.fell, same.stayed) == (0, 0, 5)


def test_a_timeline_counts_at_the_end_of_each_step(club: CRMService, clock: FrozenClock) -> None:
    """Of the local calendar; the last ends where it is asked to."""
    ana = guest(club, "ana")
    club.track_activity(ana, "visit")
    clock.set("2026-06-15T12:00:00Z")
    guest(club, "ion")
    found = club.loyalty.reports.timeline(MARCH)
    assert [f"{moment:%m-%d %H}" for moment in found.moments] == [
        "03-31 21", "04-30 21", "05-31 21", "06-15 12",
    ]  # fmt: skip
    assert found.counts == ((0, 0, 1, 2), (1, 1, 0, 0), (0, 0, 0, 0))
    days = club.loyalty.reports.timeline(MARCH, MARCH + timedelta(days=2), step="day")
    assert len(days.moments) == 3


@pytest.mark.parametrize(
    ("since", "until", "step", "message"),
    [
        ("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z", "month", "since"),
        ("1950-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "day", "1,000 steps"),
        ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "hour", "step"),
        ("tomorrow", None, "day", "since"),
    ],
)
def test_what_is_no_timeline(
    club: CRMService, since: str, until: str | None, step: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        club.loyalty.reports.timeline(since, until, step=step)


def test_a_flow_needs_some_time(club: CRMService) -> None:
    with pytest.raises(InvalidInput, match="since"):
        club.loyalty.reports.flow(MARCH, MARCH)
    with pytest.raises(InvalidInput, match="programme"):
        club.loyalty.reports.flow(MARCH, programme="none")
