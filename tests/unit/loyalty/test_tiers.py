"""Tiers as customers live them: reached at once, lost late, given by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmkit.config import Settings
from crmkit.loyalty.tiers import Progress, Step, periods, progress, rank_at
from crmkit.model import TierGrant, TierPeriod
from crmkit.model.time import FOREVER
from crmkit.programmes import Programme, Tier, TierPolicy

SETTINGS = Settings(timezone="Europe/Bucharest")
TIERS = (Tier("BRONZE", 0), Tier("SILVER", 100), Tier("GOLD", 300), Tier("VIP"))
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SETTINGS.zone).astimezone(UTC)


def step(at: str, amount: int, earned_at: str | None = None) -> Step:
    return Step(day(at), amount, day(earned_at) if earned_at else None)


def grant(at: str, tier: str | None, until: str | None = None, id: str = "g") -> TierGrant:
    moment = day(at)
    return TierGrant(
        tenant="t",
        id=id,
        customer_id="c",
        tier=tier,
        until=day(until) if until else FOREVER,
        occurred_at=moment,
        recorded_at=moment,
    )


def programme(**policy: Any) -> Programme:
    return Programme(tiers=TIERS, policy=TierPolicy(**policy), rewards=(), milestones=())


def told(
    steps: list[Step], *grants: TierGrant, settings: Settings = SETTINGS, **policy: Any
) -> list[tuple[datetime, str, str]]:
    found = periods(steps, grants, programme(**policy), settings, tenant="t", customer_id="c")
    assert [p.until for p in found] == [*(p.since for p in found[1:]), *[FOREVER] * bool(found)]
    assert all(p.tier == TIERS[p.rank].name for p in found)
    return [(p.since, p.tier, p.cause) for p in found]


def test_a_tier_is_reached_at_once_and_for_life_by_all_that_ever_qualified() -> None:
    steps = [step("2025-03-01", 250), step("2025-01-01", 60), step("2025-02-01", 40)]
    assert told(steps) == [
        (day("2025-02-01"), "SILVER", "reached"),
        (day("2025-03-01"), "GOLD", "reached"),
    ]


@pytest.mark.parametrize("steps", [[], [step("2025-01-01", 99)], [step("2025-01-01", -400)]])
def test_who_never_leaves_the_first_tier_has_no_periods(steps: list[Step]) -> None:
    assert told(steps) == []


def test_what_comes_and_goes_at_one_instant_never_was() -> None:
    steps = [step("2025-01-01", 500), step("2025-01-01", -450)]
    assert told(steps) == []


def test_all_of_a_period_is_kept() -> None:
    settings, of = Settings(), programme()
    (found,) = periods([step("2025-01-01", 100)], (), of, settings, tenant="t", customer_id="c")
    assert found == TierPeriod(
        tenant="t",
        customer_id="c",
        programme="points",
        since=day("2025-01-01"),
        until=FOREVER,
        rank=1,
        tier="SILVER",
        cause="reached",
    )


def test_money_counts_in_minor_units_of_the_currency() -> None:
    thousandths = Settings(currency="KWD")
    steps = [step("2025-01-01", 99_999), step("2025-01-02", 1)]
    assert told(steps, by="spend", settings=thousandths) == [
        (day("2025-01-02"), "SILVER", "reached")
    ]
    assert told(steps, by="visits")[-1] == (day("2025-01-01"), "GOLD", "reached")


def test_a_tier_that_is_only_given_is_not_reached() -> None:
    assert told([step("2025-01-01", 10**12)])[-1][1] == "GOLD"


# --- windows ---


def test_what_is_older_than_the_window_counts_no_more() -> None:
    steps = [step("2025-01-01", 100), step("2025-01-20", 300)]
    assert told(steps, window_days=30) == [
        (day("2025-01-01"), "SILVER", "reached"),
        (day("2025-01-20"), "GOLD", "reached"),
        (day("2025-02-19"), "BRONZE", "lowered"),
    ]


def test_grace_delays_the_fall_and_what_is_reached_again_by_then_was_never_lost() -> None:
    policy: dict[str, Any] = {"window_days": 30, "grace_days": 10}
    once = step("2025-01-01", 100)
    lost = day("2025-01-31") + 10 * DAY
    assert told([once], **policy)[1:] == [(lost, "BRONZE", "lowered")]
    at_last = Step(lost, 100)
    assert [tier for _, tier, _ in told([once, at_last], **policy)] == ["SILVER", "BRONZE"]
    too_late = Step(lost + MICROSECOND, 100)
    assert told([once, too_late], **policy)[1:3] == [
        (lost, "BRONZE", "lowered"),
        (lost + MICROSECOND, "SILVER", "reached"),
    ]


def test_each_tier_has_a_grace_of_its_own() -> None:
    steps = [step("2025-01-01", 200), step("2025-01-06", 100)]
    assert told(steps, window_days=30, grace_days=10) == [
        (day("2025-01-01"), "SILVER", "reached"),
        (day("2025-01-06"), "GOLD", "reached"),
        (day("2025-02-10"), "SILVER", "lowered"),  # 300 until 31 January, 100 until 5 February
        (day("2025-02-15"), "BRONZE", "lowered"),
    ]


def test_what_is_taken_back_late_leaves_the_window_with_what_it_takes_back() -> None:
    earned, taken = step("2025-01-01", 100), step("2025-01-25", -100, "2025-01-01")
    again = step("2025-02-10", 100)
    assert told([earned, taken, again], window_days=30)[2] == (again.at, "SILVER", "reached")
    gone = step("2025-03-01", -100, "2025-01-01")
    assert told([earned, gone, again], window_days=30) == told([earned, again], window_days=30)


# --- reviews ---


def test_a_tier_of_a_calendar_year_is_kept_until_the_end_of_the_next() -> None:
    assert told([step("2024-05-01", 300)], calendar="year") == [
        (day("2024-05-01"), "GOLD", "reached"),
        (local("2026-01-01"), "BRONZE", "lowered"),
    ]


def test_the_year_that_ended_says_which_tier_is_kept() -> None:
    steps = [step("2024-05-01", 300), step("2025-12-31", 100)]
    assert told(steps, calendar="year") == [
        (day("2024-05-01"), "GOLD", "reached"),
        (local("2026-01-01"), "SILVER", "lowered"),
        (local("2027-01-01"), "BRONZE", "lowered"),
    ]


def test_in_the_grace_after_a_review_the_new_year_may_save_the_tier() -> None:
    first, again = step("2024-05-01", 100), step("2026-01-30", 100)
    assert told([first, again], calendar="year", grace_days=30) == [
        (day("2024-05-01"), "SILVER", "reached"),
        (local("2028-01-01") + 30 * DAY, "BRONZE", "lowered"),
    ]


@pytest.mark.parametrize(
    ("unit", "ends"), [("month", "2025-06-01"), ("quarter", "2025-07-01"), ("year", "2026-01-01")]
)
def test_a_review_at_the_end_of_a_unit_looks_at_the_window_then(unit: str, ends: str) -> None:
    found = told([step("2025-04-10", 100)], window_days=30, review=unit)
    assert found[1:] == [(local(ends), "BRONZE", "lowered")]


def test_without_a_window_only_what_is_taken_back_can_lower_a_tier() -> None:
    steps = [step("2025-04-10", 300), step("2025-05-10", -250)]
    assert told(steps)[-1] == (day("2025-05-10"), "BRONZE", "lowered")
    assert told(steps, review="year")[-1] == (local("2026-01-01"), "BRONZE", "lowered")


def test_units_end_though_clocks_are_turned_back_over_that_midnight() -> None:
    there = Settings(timezone="America/St_Johns")  # at 00:01 on 1 November 2009 it was 23:01 again
    earned = datetime(2009, 11, 1, 3, tzinfo=UTC)  # 23:30 on 31 October, for the second time
    found = told([Step(earned, 100)], settings=there, calendar="month")
    assert [at for at, _, _ in found] == [earned, datetime(2010, 1, 1, 3, 30, tzinfo=UTC)]


# --- tiers that are given ---


def test_a_given_tier_ends_in_what_is_earned_by_then() -> None:
    steps = [step("2025-02-01", 100)]
    assert told(steps, grant("2025-01-01", "VIP", "2025-03-01")) == [
        (day("2025-01-01"), "VIP", "given"),
        (day("2025-03-01"), "SILVER", "returned"),
    ]


def test_nobody_is_lowered_by_a_gift() -> None:
    steps = [step("2025-01-01", 300)]
    assert told(steps, grant("2025-02-01", "SILVER", "2025-03-01")) == told(steps)


def test_recalculation_leaves_a_given_tier_alone() -> None:
    steps = [step("2025-02-01", 300), step("2025-03-01", -300), step("2025-04-01", 50)]
    assert told(steps, grant("2025-01-01", "VIP")) == [(day("2025-01-01"), "VIP", "given")]


def test_a_gift_that_decides_once_what_is_earned_falls_below_it() -> None:
    steps = [step("2025-01-01", 300)]
    gift = grant("2025-01-15", "SILVER", "2025-06-01")
    assert told(steps, gift, window_days=30) == [
        (day("2025-01-01"), "GOLD", "reached"),
        (day("2025-01-31"), "SILVER", "given"),
        (day("2025-06-01"), "BRONZE", "returned"),
    ]


def test_what_is_earned_above_a_gift_is_reached() -> None:
    gift = grant("2025-01-01", "SILVER", "2025-06-01")
    assert told([step("2025-02-01", 300)], gift) == [
        (day("2025-01-01"), "SILVER", "given"),
        (day("2025-02-01"), "GOLD", "reached"),
    ]


def test_the_last_word_on_a_gift_counts() -> None:
    vip, gold = grant("2025-01-01", "VIP"), grant("2025-02-01", "GOLD", "2025-04-01", id="h")
    taken = grant("2025-03-01", None, id="i")
    assert told([], taken, gold, vip) == [
        (day("2025-01-01"), "VIP", "given"),
        (day("2025-02-01"), "GOLD", "given"),
        (day("2025-03-01"), "BRONZE", "returned"),
    ]
    # Once it ended, the one before does not come back.
    assert told([], gold, vip)[-1] == (day("2025-04-01"), "BRONZE", "returned")


def test_of_two_words_at_one_instant_the_one_with_the_greater_id_counts() -> None:
    gold, vip = grant("2025-01-01", "GOLD", id="2"), grant("2025-01-01", "VIP", id="1")
    assert told([], gold, vip) == [(day("2025-01-01"), "GOLD", "given")]


@pytest.mark.parametrize(
    "gift",
    [
        grant("2025-02-01", "PLATINUM"),  # no tier of the programme
        grant("2025-02-01", "GOLD", "2025-02-01"),  # over before it begins
        grant("2025-02-01", "GOLD", "2025-01-15"),
    ],
)
def test_a_gift_of_nothing_ends_the_one_before(gift: TierGrant) -> None:
    assert told([], grant("2025-01-01", "VIP", id="a"), gift) == [
        (day("2025-01-01"), "VIP", "given"),
        (day("2025-02-01"), "BRONZE", "returned"),
    ]


# --- the tier at an instant ---


def test_the_tier_of_an_instant_is_that_of_the_period_it_lies_in() -> None:
    found = periods(
        [step("2025-01-01", 100), step("2025-02-01", 200)],
        (),
        programme(),
        SETTINGS,
        tenant="t",
        customer_id="c",
    )
    first, second = day("2025-01-01"), day("2025-02-01")
    assert rank_at(found, first - MICROSECOND) == (0, first)
    assert rank_at(found, first) == rank_at(found, second - MICROSECOND) == (1, second)
    assert rank_at(found, second) == (2, FOREVER)
    assert rank_at([], first) == (0, FOREVER)


# --- progress ---


def seen(at: str, steps: list[Step], *grants: TierGrant, **policy: Any) -> Progress:
    return progress(steps, grants, programme(**policy), SETTINGS, local(at))


def test_progress_of_who_has_nothing_yet() -> None:
    assert seen("2025-01-01", []) == Progress(
        tier="BRONZE",
        qualifying=0,
        next_tier="SILVER",
        to_next=100,
        keep_by=None,
        to_keep=0,
        given=None,
        given_until=None,
    )


def test_progress_leaves_out_what_came_later() -> None:
    steps = [step("2025-01-01", 130), step("2025-02-01", 300)]
    vip = grant("2025-02-01", "VIP")
    found = seen("2025-01-15", steps, vip)
    assert (found.tier, found.qualifying, found.next_tier, found.to_next) == (
        "SILVER",
        130,
        "GOLD",
        170,
    )


def test_at_the_top_there_is_no_next_tier() -> None:
    gold = seen("2025-01-15", [step("2025-01-01", 300)])
    vip = seen("2025-01-15", [], grant("2025-01-01", "VIP"))
    assert [(p.tier, p.next_tier, p.to_next) for p in (gold, vip)] == [
        ("GOLD", None, None),
        ("VIP", None, None),
    ]


def test_progress_says_what_keeps_the_tier_and_by_when() -> None:
    steps = [step("2025-01-01", 60), step("2025-01-11", 50)]
    now = seen("2025-01-20", steps, window_days=30)
    assert (now.keep_by, now.to_keep) == (day("2025-01-31"), 50)
    in_grace = seen("2025-02-05", steps, window_days=30, grace_days=20)
    # By 20 February the fifty of 11 January count no more.
    assert (in_grace.keep_by, in_grace.to_keep) == (day("2025-02-20"), 100)


def test_a_review_asks_for_what_qualifies_in_its_own_year() -> None:
    steps = [step("2024-05-01", 100), step("2025-03-01", 30)]
    policy: dict[str, Any] = {"calendar": "year", "grace_days": 30}
    ends = local("2026-01-01") + 30 * DAY
    this_year = seen("2024-06-01", steps, **policy)
    assert (this_year.keep_by, this_year.to_keep) == (ends, 100)
    next_year = seen("2025-06-01", steps, **policy)
    assert (next_year.keep_by, next_year.to_keep) == (ends, 70)
    in_grace = seen("2026-01-15", steps, **policy)
    assert (in_grace.tier, in_grace.keep_by, in_grace.to_keep) == ("SILVER", ends, 100)


def test_progress_names_a_tier_that_is_given_and_its_end() -> None:
    steps = [step("2025-01-01", 100)]
    vip = seen("2025-02-01", steps, grant("2025-01-10", "VIP", "2025-03-01"))
    assert (vip.tier, vip.given, vip.given_until) == ("VIP", "VIP", day("2025-03-01"))
    assert (vip.keep_by, vip.to_keep) == (day("2025-03-01"), None)
    gold = seen("2025-02-01", steps, grant("2025-01-10", "GOLD", "2025-03-01"))
    assert (gold.keep_by, gold.to_keep) == (day("2025-03-01"), 200)
    for_good = seen("2025-02-01", steps, grant("2025-01-10", "GOLD"))
    assert (for_good.given, for_good.given_until, for_good.keep_by) == ("GOLD", None, None)
    lower = seen("2025-02-01", steps, grant("2025-01-10", "SILVER", "2025-03-01"))
    assert (lower.given, lower.given_until, lower.keep_by) == (None, None, None)
