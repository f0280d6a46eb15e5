"""Tiers against a twin that walks from instant to instant and adds up what counts at each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.config import Settings
from crmkit.loyalty.tiers import Step, periods, progress, rank_at
from crmkit.model import TierGrant, TierPeriod
from crmkit.model.time import FOREVER
from crmkit.programmes import Programme, Tier, TierPolicy
from tests.naive_rules import midnight

MICROSECOND = timedelta(microseconds=1)
SETTINGS = Settings(timezone="Europe/Bucharest")
TIERS = (Tier("BRONZE", 0), Tier("SILVER", 100), Tier("GOLD", 300), Tier("TOP", 301), Tier("VIP"))
STARTS = [tier.from_points or 0 for tier in TIERS[:-1]]
MONTHS = {"month": 1, "quarter": 3, "year": 12}

POLICIES = st.builds(
    lambda window, review, grace: TierPolicy(
        window_days=window if isinstance(window, int) else None,
        calendar=window if isinstance(window, str) else None,  # type: ignore[arg-type]
        review=None if isinstance(window, str) else review,
        grace_days=grace,
    ),
    st.sampled_from([None, 1, 30, 365, "month", "quarter", "year"]),
    st.sampled_from([None, None, "month", "quarter", "year"]),
    st.sampled_from([0, 0, 1, 30, 45, 400]),
)

# Around the ends of units: a microsecond off, and days that windows and graces reach.
MOMENTS = sorted(
    midnight(day, SETTINGS.zone) + timedelta(days=days) + n * MICROSECOND
    for day in (date(2024, 1, 1), date(2024, 4, 1), date(2024, 6, 1), date(2024, 12, 1))
    for days in (0, 1, 29, 30, 31)
    for n in (-1, 0, 1)
)
ATS = st.sampled_from(MOMENTS)
GAINS = st.builds(Step, ATS, st.sampled_from([1, 50, 99, 100, 200, 300]))
LOSSES = st.builds(
    lambda ends, amount, known: Step(ends[1], -amount, ends[0] if known else None),
    st.tuples(ATS, ATS).map(sorted),
    st.sampled_from([1, 50, 100, 300]),
    st.booleans(),
)
GAINED = st.lists(GAINS, max_size=6)
STEPS = st.lists(st.one_of(GAINS, GAINS, LOSSES), max_size=7)
GRANTS = st.lists(
    st.builds(
        lambda at, id, tier, until: TierGrant(
            tenant="t", id=id, customer_id="c", tier=tier, until=until,
            occurred_at=at, recorded_at=at,
        ),
        ATS,
        st.sampled_from("abc"),
        st.sampled_from([None, "SILVER", "GOLD", "VIP", "of old"]),
        ATS | st.just(FOREVER),
    ),
    max_size=3,
    unique_by=lambda grant: grant.id,
)  # fmt: skip


def programme(policy: TierPolicy) -> Programme:
    return Programme(tiers=TIERS, policy=policy, rewards=(), milestones=())


def told(
    steps: Sequence[Step], grants: Sequence[TierGrant], policy: TierPolicy
) -> list[TierPeriod]:
    of = programme(policy)
    return periods(steps, grants, of, SETTINGS, tenant="t", customer_id="c")


# --- the twin ---


@cache
def begins(unit: str) -> list[datetime]:
    """When each unit of these years begins."""
    return [
        midnight(date(year, month, 1), SETTINGS.zone)
        for year in range(2023, 2030)
        for month in range(1, 13, MONTHS[unit])
    ]


def counts(step: Step, at: datetime, policy: TierPolicy) -> bool:
    earned_at = step.earned_at or step.at
    if step.at > at:
        return False
    if policy.window_days is not None:
        return at - timedelta(days=policy.window_days) < earned_at
    if policy.calendar is not None:
        return earned_at >= max(start for start in begins(policy.calendar) if start <= at)
    return True


def reached(steps: Sequence[Step], at: datetime, policy: TierPolicy) -> int:
    total = sum(step.amount for step in steps if counts(step, at, policy))
    return max((rank for rank, start in enumerate(STARTS) if start <= total), default=0)


def gift(grants: Sequence[TierGrant], at: datetime) -> int:
    ranks = {tier.name: rank for rank, tier in enumerate(TIERS)}
    said = [grant for grant in grants if grant.occurred_at <= at]
    if not said:
        return 0
    last = max(said, key=lambda grant: (grant.occurred_at, grant.id))
    return ranks.get(last.tier or "", 0) if at < last.until else 0


def grid(steps: Sequence[Step], grants: Sequence[TierGrant], policy: TierPolicy) -> list[datetime]:
    """Each instant at which anything may change, and the last microsecond before it."""
    found = {g.occurred_at for g in grants} | {g.until for g in grants if g.until < FOREVER}
    found |= {MOMENTS[0]}
    for step in steps:
        window = timedelta(days=policy.window_days or 0)
        found |= {step.at, step.at + window, (step.earned_at or step.at) + window}
    if policy.reviewed:
        found |= {*begins(policy.reviewed)}
    found |= {at + timedelta(days=policy.grace_days) for at in found}
    return sorted({at - n * MICROSECOND for at in found for n in (0, 1)})


def walked(
    steps: Sequence[Step],
    grants: Sequence[TierGrant],
    policy: TierPolicy,
    ats: Sequence[datetime],
) -> list[int]:
    """The tier of each of these instants, as one comes to them one after the other."""
    grace = timedelta(days=policy.grace_days)
    reviews = {*begins(policy.reviewed)} if policy.reviewed else set()
    held = dict.fromkeys(range(1, len(STARTS)), False)
    deadlines: dict[int, list[datetime]] = {rank: [] for rank in held}
    found = []
    for at in ats:
        level = reached(steps, at, policy)
        before = reached(steps, at - MICROSECOND, policy)
        for rank, deadline in deadlines.items():
            if held[rank] and level < rank:
                missed = before < rank if at in reviews else not reviews and not deadline
                if missed:
                    deadline.append(at + grace)
            if level >= rank:
                held[rank] = True
                deadline.clear()
            elif any(ends <= at for ends in deadline):
                held[rank] = False
                deadline.clear()
        own = max((rank for rank in held if held[rank]), default=0)
        found.append(max(own, gift(grants, at)))
    return found


@given(steps=STEPS, grants=GRANTS, policy=POLICIES)
def test_tiers_are_those_of_who_walks_through_time(
    steps: list[Step], grants: list[TierGrant], policy: TierPolicy
) -> None:
    found = told(steps, grants, policy)
    ats = sorted({*grid(steps, grants, policy), *(p.since for p in found)})
    ats = [at for at in ats if at < begins("month")[-1]]
    assert [rank_at(found, at)[0] for at in ats] == walked(steps, grants, policy, ats)


@pytest.mark.parametrize("worse", ["window", "grace", "review", "unpaired", "gift"])
def test_the_twin_tells_other_tiers_apart(worse: str) -> None:
    """What the twin is there to find, it finds."""
    earned, again = Step(MOMENTS[0], 300), Step(MOMENTS[-10], 300)
    steps = [earned, again, Step(MOMENTS[-8], -300, earned.at)]
    policy = TierPolicy(window_days=30, review="quarter", grace_days=30)
    vip = TierGrant(
        tenant="t", id="g", customer_id="c", tier="VIP", until=MOMENTS[20],
        occurred_at=MOMENTS[5], recorded_at=MOMENTS[5],
    )  # fmt: skip
    grants = [vip]
    other = {
        "window": (steps, grants, attrs.evolve(policy, window_days=365)),
        "grace": (steps, grants, attrs.evolve(policy, grace_days=29)),
        "review": (steps, grants, attrs.evolve(policy, review="month")),
        "unpaired": ([*steps[:2], Step(MOMENTS[-8], -300)], grants, policy),
        "gift": (steps, [], policy),
    }[worse]
    ats = [at for at in grid(steps, grants, policy) if at < begins("month")[-1]]
    found = told(*other)
    assert [rank_at(found, at)[0] for at in ats] != walked(steps, grants, policy, ats)


# --- what holds of them ---


@given(steps=STEPS, grants=GRANTS, policy=POLICIES, data=st.data())
def test_periods_follow_each_other_without_gaps(
    steps: list[Step], grants: list[TierGrant], policy: TierPolicy, data: st.DataObject
) -> None:
    found = told(steps, grants, policy)
    for one, following in pairwise(found):
        assert one.until == following.since
        assert one.since < one.until
        assert one.rank != following.rank
    if found:
        assert found[-1].until == FOREVER
        assert found[0].rank > 0
    # In whichever order the facts come.
    assert told(data.draw(st.permutations(steps)), grants[::-1], policy) == found


@given(steps=STEPS, more=GAINED, grants=GRANTS, policy=POLICIES)
def test_whoever_qualifies_for_more_never_has_a_lower_tier(
    steps: list[Step], more: list[Step], grants: list[TierGrant], policy: TierPolicy
) -> None:
    fewer, all_of_them = told(steps, grants, policy), told([*steps, *more], grants, policy)
    for at in grid([*steps, *more], grants, policy):
        assert rank_at(all_of_them, at)[0] >= rank_at(fewer, at)[0]


@given(steps=STEPS, policy=POLICIES, ends=st.tuples(ATS, ATS).map(sorted))
def test_whatever_is_recalculated_leaves_a_given_tier_alone(
    steps: list[Step], policy: TierPolicy, ends: list[datetime]
) -> None:
    since, until = ends
    vip = TierGrant(
        tenant="t", id="g", customer_id="c", tier="VIP", until=until,
        occurred_at=since, recorded_at=since,
    )  # fmt: skip
    earned, found = told(steps, [], policy), told(steps, [vip], policy)
    for at in grid(steps, [vip], policy):
        expected = TIERS.index(TIERS[-1]) if since <= at < until else rank_at(earned, at)[0]
        assert rank_at(found, at)[0] == expected


@given(steps=STEPS, grants=GRANTS, policy=POLICIES, at=ATS)
def test_what_comes_later_changes_no_tier_before(
    steps: list[Step], grants: list[TierGrant], policy: TierPolicy, at: datetime
) -> None:
    earlier = told(
        [s for s in steps if s.at <= at], [g for g in grants if g.occurred_at <= at], policy
    )
    found = told(steps, grants, policy)
    for then in grid(steps, grants, policy):
        if then <= at:
            assert rank_at(earlier, then)[0] == rank_at(found, then)[0]


@given(steps=STEPS, grants=GRANTS, policy=POLICIES, at=ATS)
def test_progress_says_the_tier_and_when_it_is_lost(
    steps: list[Step], grants: list[TierGrant], policy: TierPolicy, at: datetime
) -> None:
    known = [s for s in steps if s.at <= at], [g for g in grants if g.occurred_at <= at]
    found, seen = told(*known, policy), progress(steps, grants, programme(policy), SETTINGS, at)
    rank = rank_at(found, at)[0]
    assert seen.tier == TIERS[rank].name
    assert seen.qualifying == sum(s.amount for s in steps if counts(s, at, policy))
    lost = next((p.since for p in found if p.since > at and p.rank < rank), None)
    assert seen.keep_by == lost
    if rank + 1 < len(STARTS):
        assert seen.next_tier == TIERS[rank + 1].name
        assert seen.to_next == STARTS[rank + 1] - seen.qualifying > 0
    else:
        assert (seen.next_tier, seen.to_next) == (None, None)


@given(steps=GAINED, policy=POLICIES, at=ATS)
def test_progress_says_the_least_that_keeps_the_tier(
    steps: list[Step], policy: TierPolicy, at: datetime
) -> None:
    seen = progress(steps, [], programme(policy), SETTINGS, at)
    if seen.keep_by is None or seen.to_keep is None:
        assert (seen.keep_by, seen.to_keep) == (None, 0)
        return
    lost = looked_at = seen.keep_by
    grace = timedelta(days=policy.grace_days)
    if policy.reviewed and lost - grace > at:
        looked_at = lost - grace
    known, last = [s for s in steps if s.at <= at], looked_at - MICROSECOND
    rank = rank_at(told(known, [], policy), at)[0]

    def then(amount: int) -> int:
        return rank_at(told([*known, Step(last, amount)], [], policy), lost)[0]

    assert then(seen.to_keep) >= rank > then(seen.to_keep - 1)
