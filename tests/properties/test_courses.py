"""How a balance goes through time is what it is at each instant, and until when it lasts."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from crmkit.loyalty import accounts
from crmkit.loyalty.courses import Course
from crmkit.loyalty.ledger import is_overdrawn, replay, summed
from crmkit.model import PointsAccount, PointsEntry
from crmkit.model.catalogue import evolved
from tests.properties.test_ledger import END, anything, by_lot, many, minute, sound

TICK = timedelta(microseconds=1)


def course_of(entries: list[PointsEntry], *, indebted: bool) -> Course:
    stored = PointsAccount(tenant="t", customer_id="c", balance=77, indebted=indebted)
    return Course.of(stored, entries)


@given(anything())
@many
def test_a_course_is_the_replay_of_every_instant(entries: list[PointsEntry]) -> None:
    """And from each instant on the balance stays until it says, but no longer."""
    course = course_of(entries, indebted=True)
    told = {n: replay(entries, minute(n)).balance for n in range(-1, END + 9)}
    for number, balance in told.items():
        at = minute(number)
        account = course.at(at)
        assert account.balance == balance
        assert accounts.holds(account, at)
        since, until = account.since or minute(-1), account.next_at or minute(END + 9)
        assert {told[n] for n in told if since <= minute(n) < until} == {balance}
        for edge in {account.since, account.next_at} - {None}:
            before = course.at((edge or at) - TICK).balance
            assert before != course.at(edge or at).balance


@given(sound())
@many
def test_without_debt_a_course_is_a_running_sum(entries: list[PointsEntry]) -> None:
    """The same as a replay, which costs more."""
    drawn = {lot for lot, mine in by_lot(entries).items() if is_overdrawn(mine)}
    some = [e for e in entries if e.lot_id and e.lot_id not in drawn]
    summing, replaying = (course_of(some, indebted=indebted) for indebted in (False, True))
    assert summing.balances == replaying.balances
    for number in range(-1, END + 9):
        assert summing.at(minute(number)).balance == summed(some, minute(number))[0]


@given(anything(), st.lists(st.integers(-9, 9), min_size=14, max_size=14))
def test_what_qualifies_counts_from_when_it_happened(
    entries: list[PointsEntry], amounts: list[int]
) -> None:
    """Whenever the points can be used."""
    told = [evolved(e, qualifying=n) for e, n in zip(entries, amounts, strict=False)]
    course = course_of(told, indebted=False)
    for number in range(-1, END + 9):
        at = minute(number)
        assert course.at(at).qualifying == sum(e.qualifying for e in told if e.occurred_at <= at)
    assert {e.occurred_at for e in told if e.qualifying} >= {m for m, _ in course.qualifying}
    assert course.instants == {m for m, _ in (*course.balances, *course.qualifying)}


def test_an_account_without_entries_is_empty_for_ever() -> None:
    account = course_of([], indebted=False).at(minute(0))
    assert (account.balance, account.since, account.next_at) == (0, None, None)
