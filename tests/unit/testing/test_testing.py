"""The clock, ids and threads that ship for hosts' tests."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

import crmkit.testing
from crmkit import CRMService, InvalidInput, MemoryStorage
from crmkit.testing import CountingIds, FrozenClock, together


class TestFrozenClock:
    def test_it_stands_still(self) -> None:
        clock = FrozenClock()
        assert clock() == clock() == datetime(2026, 1, 15, 12, tzinfo=UTC)

    def test_it_starts_where_it_is_told_to(self) -> None:
        rome = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=1)))
        assert FrozenClock(rome)() == datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
        assert FrozenClock("2026-03-01T01:30:00+01:00")() == rome

    def test_it_is_in_utc(self) -> None:
        assert FrozenClock("2026-03-01T01:30:00+01:00")().tzinfo is UTC

    def test_it_advances_by_a_timedelta_or_its_parts(self) -> None:
        clock = FrozenClock()
        start = clock()
        assert clock.advance(timedelta(days=1)) == clock() == start + timedelta(days=1)
        assert clock.advance(hours=1, minutes=30) == start + timedelta(days=1, hours=1.5)
        assert clock.advance(days=-1) == start + timedelta(hours=1.5)
        assert clock.advance() == start + timedelta(hours=1.5)

    def test_it_can_be_set(self) -> None:
        clock = FrozenClock()
        to = datetime(2020, 2, 29, tzinfo=UTC)
        assert clock.set(to) == clock() == to

    def test_naive_times_are_refused(self) -> None:
        with pytest.raises(InvalidInput, match="start: the time has no zone"):
            FrozenClock(datetime(2026, 1, 1))
        with pytest.raises(InvalidInput, match="to: the time has no zone"):
            FrozenClock().set(datetime(2026, 1, 1))

    def test_it_tells_the_service_the_time(self) -> None:
        clock = FrozenClock()
        crm = CRMService(MemoryStorage(), clock=clock)
        customer = crm.find_or_create({"email": "ana@mail.com"})
        clock.advance(days=31)
        assert crm.track_activity(customer.id, "visit").occurred_at == clock()
        assert customer.created_at == clock() - timedelta(days=31)


def test_ids_count_up_from_the_same_number_in_every_run() -> None:
    ids = CountingIds()
    assert ids() == "00000000-0000-7000-8000-000000000001"
    assert ids() < ids()
    crm = CRMService(MemoryStorage(), ids=CountingIds())
    assert (
        crm.find_or_create({"email": "ana@mail.com"}).id == "00000000-0000-7000-8000-000000000001"
    )


def test_ids_are_taken_once_by_threads() -> None:
    ids = CountingIds()
    taken = together(8, lambda _: [ids() for _ in range(500)])
    assert len({i for some in taken for i in some}) == 4_000


class TestTogether:
    def test_every_thread_has_its_number(self) -> None:
        assert together(5, lambda number: number * 2) == [0, 2, 4, 6, 8]

    def test_nobody_begins_before_all_are_there(self) -> None:
        inside = threading.Barrier(5)
        assert len(together(5, lambda _: inside.wait(timeout=5))) == 5

    def test_an_error_is_raised_when_all_have_ended(self) -> None:
        ended: list[int] = []

        def work(number: int) -> None:
            if number == 0:
                raise LookupError
            ended.append(number)

        with pytest.raises(LookupError):
            together(4, work)
        assert sorted(ended) == [1, 2, 3]


def test_all_names_are_there() -> None:
    for name in crmkit.testing.__all__:
        assert getattr(crmkit.testing, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        getattr(crmkit.testing, "other")  # noqa: B009 - type checkers know it is not there


def test_only_the_strategies_need_hypothesis() -> None:
    code = """
import sys
sys.modules["hypothesis"] = sys.modules["pytest"] = None
from crmkit.testing import CountingIds, FrozenClock, StorageContract, together
try:
    from crmkit.testing import customers
except ImportError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
