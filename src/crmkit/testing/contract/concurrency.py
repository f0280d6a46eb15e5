"""What holds when many threads write at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import methodcaller

from crmkit.model import Metrics, Note, PointsAccount
from crmkit.model.catalogue import evolved
from crmkit.model.loyalty import PROGRAMME
from crmkit.ports.storage import UnitOfWork
from crmkit.testing.contract.base import Contract
from crmkit.testing.threads import together

_THREADS = 8
_TIMES = 20


class Concurrency(Contract):
    """Units of work in many threads; no error reaches the caller."""

    def _points(self, customer_id: str = "c", balance: int = 0) -> PointsAccount:
        return PointsAccount(tenant=self.tenant, customer_id=customer_id, balance=balance)

    def _balance(self, customer_id: str = "c") -> int:
        with self.read() as uow:
            account = uow.get(PointsAccount, customer_id, PROGRAMME)
        assert account is not None
        return account.balance

    def _in_threads(self, count: int, each: Callable[[int], None]) -> None:
        with self.read():
            pass  # storage and tenant are made before the threads ask for them
        together(count, each)

    def _together(self, work: Callable[[UnitOfWork], object], times: int = _TIMES) -> None:
        """Run work in many threads, many times in each."""

        def each(_: int) -> None:
            for _ in range(times):
                self.write(work)

        self._in_threads(_THREADS, each)

    def test_increases_are_not_lost(self) -> None:
        """Each of many concurrent increases counts, the first ones too."""
        self._together(lambda uow: uow.increase(self._points(), {"balance": 1}))
        assert self._balance() == _THREADS * _TIMES

    def test_a_floor_holds_for_all_together(self) -> None:
        """Concurrent increases take what is there, and never more."""
        self.store(self._points(balance=50))
        taken: list[bool] = []

        def take(uow: UnitOfWork) -> bool:
            return uow.increase(self._points(), {"balance": -1}, floor={"balance": 0})

        def each(_: int) -> None:
            taken.extend([self.write(take) for _ in range(_TIMES)])

        self._in_threads(_THREADS, each)
        assert (taken.count(True), self._balance()) == (50, 0)

    def test_a_locked_record_may_be_read_and_written(self) -> None:
        """Between `get(lock=True)` and the end nobody else changes the record."""
        self.store(self._points())

        def add_one(uow: UnitOfWork) -> None:
            account = uow.get(PointsAccount, "c", PROGRAMME, lock=True)
            assert account is not None
            uow.put(evolved(account, balance=account.balance + 1))

        self._together(add_one)
        assert self._balance() == _THREADS * _TIMES

    def test_found_or_held_records_may_be_read_and_written(self) -> None:
        """`find(lock=True)` and `hold` keep others away as `get(lock=True)` does."""
        self.store(*(Metrics(tenant=self.tenant, customer_id=c) for c in "cd"))

        def add_one(uow: UnitOfWork) -> None:
            uow.hold(Metrics, ["d", "c"])
            for metrics in uow.find(Metrics, customer_id=("d", "c"), lock=True):
                uow.put(evolved(metrics, visits=metrics.visits + 1))

        self._together(add_one)
        with self.read() as uow:
            assert [m.visits for m in uow.find(Metrics)] == [_THREADS * _TIMES] * 2

    def test_gathered_sums_are_not_lost(self) -> None:
        """Each of many concurrent additions counts, the first ones too."""
        self._together(lambda uow: uow.gather([self._points(balance=1)]))
        assert self._balance() == _THREADS * _TIMES

    def test_lock_makes_check_then_add_safe(self) -> None:
        """Who holds a name sees what its former holders stored."""
        numbers = iter(range(10_000))
        names = iter(str(i) for i in range(10_000))
        barrier = threading.Barrier(_THREADS)

        def each(_: int) -> None:
            for name in [f"person {i}" for i in range(_TIMES)]:
                barrier.wait()
                self.write(partial(add_once, name=name))

        def add_once(uow: UnitOfWork, name: str) -> None:
            uow.lock([f"other {next(numbers)}", name, name])
            if not uow.count(Note, text=name):
                uow.add(self.note(f"n{next(names)}", text=name))

        self._in_threads(_THREADS, each)
        with self.read() as uow:
            assert uow.count(Note) == _TIMES

    def test_who_shares_a_name_keeps_out_who_does_not(self) -> None:
        """Between a shared lock and the end no one takes the name alone, nor the other way."""
        inside: list[int] = []
        wrong: list[int] = []

        def count(uow: UnitOfWork, *, shared: bool) -> None:
            uow.lock(["counted"], shared=shared)
            before = uow.count(Note)
            if not shared:
                uow.add(self.note(f"n{len(inside):03}"))
                inside.append(before)
            elif uow.count(Note) != before:
                wrong.append(before)

        def each(number: int) -> None:
            for _ in range(_TIMES):
                self.write(partial(count, shared=bool(number % 2)))

        self._in_threads(_THREADS, each)
        assert not wrong
        assert inside == sorted(set(inside))

    def test_one_of_many_adds_if_absent(self) -> None:
        """Of many who add the same key at once, one stores it; the others hear that."""
        stored: list[bool] = []

        def each(number: int) -> None:
            for i in range(_TIMES):
                note = self.note(f"n{i:02}", text=f"by {number}")
                stored.append(self.write(methodcaller("add_if_absent", note)))

        self._in_threads(_THREADS, each)
        assert (len(stored), stored.count(True)) == (_THREADS * _TIMES, _TIMES)

    def test_concurrent_puts_leave_one_record(self) -> None:
        """Many who put the same new key at once leave one of their records."""
        self._together(lambda uow: uow.put(self.note("n1")))
        assert self.ids() == ["n1"]

    def test_locks_in_opposite_order_do_not_fail(self) -> None:
        """Two who lock records crosswise both succeed, if need be at a second attempt."""
        self.store(self._points("a"), self._points("b"))

        def add_one(uow: UnitOfWork, customer_id: str) -> None:
            account = uow.get(PointsAccount, customer_id, PROGRAMME, lock=True)
            assert account is not None
            uow.put(evolved(account, balance=account.balance + 1))

        self._crosswise(add_one, "a", "b")
        assert (self._balance("a"), self._balance("b")) == (2, 2)

    def test_names_in_opposite_order_do_not_fail(self) -> None:
        """The same holds for names."""
        self._crosswise(lambda uow, name: uow.lock([name]), "a", "b")
        self._crosswise(lambda uow, name: uow.lock([name, "a", "b"]), "a", "b")

    def _crosswise(self, lock: Callable[[UnitOfWork, str], None], one: str, two: str) -> None:
        """Two threads lock both, each another one first; they meet in between where they can."""
        between = threading.Barrier(2)

        def each(number: int) -> None:
            first, second = (one, two) if number else (two, one)

            def work(uow: UnitOfWork) -> None:
                lock(uow, first)
                # Broken where one writes at a time, and at a second attempt.
                with suppress(threading.BrokenBarrierError):
                    between.wait(timeout=0.2)
                lock(uow, second)

            self.write(work)

        self._in_threads(2, each)

    def test_readers_see_whole_transactions(self) -> None:
        """While points move between accounts, no list shows them twice or not at all."""
        self.store(*(self._points(i, 100) for i in "abcd"))
        sums: set[int] = set()

        def move(uow: UnitOfWork) -> None:
            for customer_id, points in (("a", -1), ("c", 1)):
                uow.increase(self._points(customer_id), {"balance": points})

        def each(number: int) -> None:
            for _ in range(_TIMES):
                if number % 2:
                    self.write(move)
                    continue
                with self.read() as uow:
                    sums.add(sum(account.balance for account in uow.find(PointsAccount)))

        self._in_threads(_THREADS, each)
        assert sums == {400}

    def test_an_error_in_one_thread_undoes_only_its_own(self) -> None:
        """Failing units of work do not harm those that run beside them."""
        numbers = iter(range(10_000))

        def work(uow: UnitOfWork) -> None:
            number = next(numbers)
            uow.add(self.note(f"n{number}", kind="odd" if number % 2 else "even"))
            if number % 2:
                raise _Failed

        def each(_: int) -> None:
            for _ in range(_TIMES):
                with suppress(_Failed):
                    self.write(work)

        self._in_threads(_THREADS, each)
        with self.read() as uow:
            assert uow.count(Note, kind="odd") == 0
            assert uow.count(Note) >= _THREADS * _TIMES // 2


class _Failed(Exception):
    pass
