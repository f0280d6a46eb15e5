"""What a transaction keeps, and what it undoes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from crmkit.model import Counter, Note, PointsAccount
from crmkit.model.catalogue import evolved
from crmkit.model.loyalty import PROGRAMME
from crmkit.ports.storage import UnitOfWork
from crmkit.testing.contract.base import MOMENT, Contract, raised, refused


class _Stop(BaseException):
    """What ends a program, such as KeyboardInterrupt."""


class Transactions(Contract):
    """All of a unit of work, or nothing."""

    def _raises(self, error: BaseException, work: Callable[[UnitOfWork], object]) -> None:
        """The caller's error passes as the very object that it is."""

        def failing(uow: UnitOfWork) -> NoReturn:
            work(uow)
            raise error

        assert raised(lambda: self.write(failing)) is error

    def _everything(self, uow: UnitOfWork) -> None:
        """One call of every operation that writes."""
        uow.add(self.note("n5"))
        uow.add_if_absent(self.note("n6"))
        uow.add_many([self.note("n7"), self.note("n8")])
        uow.put(self.note("n1", text="other"))
        uow.remove(Note, id="n2")
        uow.change(Note, {"text": "other", "customer_id": "d"}, id="n3")
        account = PointsAccount(tenant=self.tenant, customer_id="c")
        uow.increase(account, {"balance": 5})
        uow.increase(account, {"balance": -1}, floor={"balance": 0})
        uow.increase(evolved(account, customer_id="new"), {"balance": 5})

    def _stored(self) -> list[Any]:
        with self.read() as uow:
            return [*uow.find(Note), *uow.find(PointsAccount)]

    def test_an_error_undoes_everything(self) -> None:
        """An exception in `work` leaves every record as it was, and passes unchanged."""
        account = PointsAccount(tenant=self.tenant, customer_id="c", balance=1)
        self.store(self.note("n1"), self.note("n2"), self.note("n3"), account)
        before = self._stored()
        for error in (ValueError("the caller's"), LookupError(), _Stop(), GeneratorExit()):
            self._raises(error, self._everything)
            assert self._stored() == before
        assert len(before) == 4

    def test_without_an_error_everything_is_kept(self) -> None:
        """What the operations did is there for the next unit of work."""
        account = PointsAccount(tenant=self.tenant, customer_id="c", balance=1)
        self.store(self.note("n1"), self.note("n2"), self.note("n3"), account)
        self.write(self._everything)
        assert self._stored() == [
            self.note("n1", text="other"),
            self.note("n3", text="other", customer_id="d"),
            *(self.note(f"n{i}") for i in (5, 6, 7, 8)),
            evolved(account, balance=5),
            evolved(account, customer_id="new", balance=5),
        ]

    def test_storing_goes_on_after_an_error(self) -> None:
        """A failed unit of work, or a refused one, does not harm the next."""
        self._raises(ValueError("the caller's"), lambda uow: uow.add(self.note("n1")))
        self.store(self.note("n1"))
        refused(lambda: self.store(self.note("n1")))
        self.store(self.note("n2"))
        assert self.ids() == ["n1", "n2"]

    def test_write_returns_what_work_returns(self) -> None:
        """The result is handed through as it is."""
        result = object()
        assert self.write(lambda _: result) is result

    def test_an_error_within_reading_passes_unchanged(self) -> None:
        """The caller's exception in a `read` block is the one that comes out."""
        error = ValueError("the caller's")

        def failing(uow: UnitOfWork) -> NoReturn:
            uow.count(Note)
            raise error

        assert raised(lambda: self._while_reading(failing)) is error
        self.store(self.note("n1"))

    def test_reading_units_refuse_to_write(self) -> None:
        """In a unit of work that only reads, whatever would write is a `StorageError`."""
        self.store(self.note("n1"))
        other, account = self.note("n2"), PointsAccount(tenant=self.tenant, customer_id="c")
        writes: list[Callable[[UnitOfWork], object]] = [
            lambda uow: uow.add(other),
            lambda uow: uow.add_if_absent(other),
            lambda uow: uow.add_many([other]),
            lambda uow: uow.put(other),
            lambda uow: uow.remove(Note, id="n1"),
            lambda uow: uow.change(Note, {"text": "x"}, id="n1"),
            lambda uow: uow.put_many([other]),
            lambda uow: uow.gather([account]),
            lambda uow: uow.increase(account, {"balance": 1}),
            lambda uow: uow.increase(account, {"balance": 1}, floor={"balance": 0}),
        ]
        for write in writes:
            refused(partial(self._while_reading, write))
        assert self._stored() == [self.note("n1")]

    def _while_reading(self, write: Callable[[UnitOfWork], object]) -> None:
        with self.read() as uow:
            write(uow)

    def test_locks_are_allowed_while_reading(self) -> None:
        """A reading unit may ask for a locked record; it gets the record."""
        self.store(self.note("n1"))
        with self.read() as uow:
            assert uow.get(Note, "n1", lock=True) == self.note("n1")

    def test_a_unit_of_work_knows_its_tenant(self) -> None:
        """`tenant` is the one that the unit of work was asked for."""
        with self.read() as uow:
            assert uow.tenant == self.tenant
        assert self.write(lambda uow: uow.tenant) == self.tenant

    def test_the_secret_is_stable_and_long(self) -> None:
        """The database's own key has at least 16 bytes and never changes."""
        secret = self.storage.secret()
        self.store(self.note("n1"))
        assert isinstance(secret, bytes)
        assert len(secret) >= 16
        assert self.storage.secret() == secret


class Sums(Contract):
    """`increase`: adding in one step."""

    def _sums(self, **fields: Any) -> PointsAccount:
        return PointsAccount(tenant=self.tenant, customer_id="c", **fields)

    def _increase(
        self, record: PointsAccount, floor: dict[str, int] | None = None, **by: int
    ) -> PointsAccount | None:
        done = self.write(lambda uow: uow.increase(record, by, floor=floor))
        return self._now() if done else None

    def _now(self) -> PointsAccount | None:
        with self.read() as uow:
            return uow.get(PointsAccount, "c", PROGRAMME)

    def test_increase_creates_the_record(self) -> None:
        """Where there is no record yet, the given one is stored with the sum added."""
        made = self._increase(self._sums(qualifying=7), balance=5)
        assert made == self._now() == self._sums(balance=5, qualifying=7)

    def test_increase_adds_to_what_is_stored(self) -> None:
        """Only `by` is added; the given record's own values do not count then."""
        self.store(self._sums(balance=100, qualifying=7))
        given = self._sums(balance=9_000, qualifying=9_000)
        assert self._increase(given, balance=-30) == self._sums(balance=70, qualifying=7)
        assert self._now() == self._sums(balance=70, qualifying=7)
        again = self._increase(given, {"balance": 0}, balance=5)
        assert again == self._now() == self._sums(balance=75, qualifying=7)

    def test_increase_adds_to_several_fields(self) -> None:
        """Every named field moves by its own amount."""
        self._increase(self._sums(), balance=5, qualifying=1)
        assert self._increase(self._sums(), balance=-5, qualifying=0) == self._now()
        assert self._now() == self._sums(balance=0, qualifying=1)

    def test_increase_may_go_down_to_the_floor(self) -> None:
        """A field may reach its floor, and not one less; then nothing changes."""
        self.store(self._sums(balance=10))
        assert self._increase(self._sums(), {"balance": 3}, balance=-7) is not None
        assert self._increase(self._sums(), {"balance": 3}, balance=-1, qualifying=5) is None
        assert self._now() == self._sums(balance=3)

    def test_a_floor_may_be_for_another_field(self) -> None:
        """A floor holds for its own field, moved or not."""
        self.store(self._sums(balance=10, qualifying=-1))
        assert self._increase(self._sums(), {"qualifying": 0}, balance=1) is None
        assert self._now() == self._sums(balance=10, qualifying=-1)

    def test_a_refused_increase_creates_nothing(self) -> None:
        """Where there is no record, one below its floor is not stored either."""
        assert self._increase(self._sums(), {"balance": 0}, balance=-1) is None
        assert self._now() is None

    def test_an_increase_creates_the_record_above_its_floor(self) -> None:
        """Where there is no record, the given one is what the floor is held against."""
        made = self._increase(self._sums(balance=10), {"balance": 0}, balance=-4)
        assert made == self._now() == self._sums(balance=6)

    def test_without_a_floor_a_sum_may_fall_below_zero(self) -> None:
        """Debt is allowed where no floor forbids it."""
        assert self._increase(self._sums(), balance=-4) == self._sums(balance=-4)
        assert self._increase(self._sums(), {}, balance=-4) == self._sums(balance=-8)


class Gathering(Contract):
    """Cached values take in what further facts add, field by field as the catalogue says."""

    def _counter(self, day: int | None, label: str = "", **fields: Any) -> Counter:
        at = None if day is None else MOMENT + timedelta(days=day)
        given: dict[str, Any] = {"first_at": at, "last_at": at, "label": label, "value": "v"}
        return Counter(
            tenant=self.tenant, customer_id="c", dimension="item", fingerprint="f",
            **given | fields,
        )  # fmt: skip

    def _gathered(self, *counters: Counter) -> Counter:
        for counter in counters:
            self.write(lambda uow, one=counter: uow.gather([one]))  # type: ignore[misc]
        with self.read() as uow:
            (found,) = uow.find(Counter)
        return found

    def test_gathering_adds_and_widens(self) -> None:
        """Sums are added, the first date and the last date move apart, the last name stands."""
        found = self._gathered(
            self._counter(2, "b", count=1, spend_minor=50),
            self._counter(5, "a", count=2, spend_minor=-20),
            self._counter(1, "c", count=3),
        )
        first, last = MOMENT + timedelta(days=1), MOMENT + timedelta(days=5)
        assert found == self._counter(
            None, "a", count=6, spend_minor=30, first_at=first, last_at=last
        )

    def test_gathering_in_any_order_gives_the_same(self) -> None:
        """At one instant the greater name stands, whichever came first."""
        one, other = self._counter(3, "x", count=1), self._counter(3, "y", count=1)
        none = self._counter(None, count=1)
        there = self._gathered(one, none, other)
        self.write(lambda uow: uow.remove(Counter))
        assert self._gathered(other, one, none) == there
        assert (there.label, there.count) == ("y", 3)

    def test_many_are_gathered_at_once(self) -> None:
        """Several of one key in a batch count like one after the other."""
        self.write(lambda uow: uow.gather(self._counter(n, count=1) for n in range(1_200)))
        with self.read() as uow:
            (found,) = uow.find(Counter)
        assert found.count == 1_200
        assert found.last_at == MOMENT + timedelta(days=1_199)

    def test_put_many_replaces(self) -> None:
        """Records with keys that are there take their place, the others are added."""
        self.store(self.note("n1"))
        self.write(lambda uow: uow.put_many(self.note(f"n{n}", text="new") for n in range(1_200)))
        with self.read() as uow:
            assert {n.text for n in uow.find(Note)} == {"new"}
            assert uow.count(Note) == 1_200

    def test_what_follows_a_batch_is_its_own_answer(self) -> None:
        """A read right after many writes sees them, and nothing of their answers."""

        def work(uow: UnitOfWork) -> tuple[int, list[str]]:
            uow.add_many(self.note(f"n{n:03}") for n in range(700))
            found = uow.find(Note, limit=2)
            uow.put_many(self.note(f"m{n}") for n in range(3))
            return uow.remove(Note, id="n001"), [n.id for n in found]

        assert self.write(work) == (1, ["n000", "n001"])

    def test_hold_tells_what_is_there(self) -> None:
        """Of the keys asked for, those that exist, each once."""
        self.store(self.note("n1"), self.note("n2"))
        held = self.write(lambda uow: uow.hold(Note, ["n2", "n3", "n1", "n2", "n4"]))
        assert held == {"n1", "n2"}
        assert self.write(lambda uow: uow.hold(Note, [])) == frozenset()
