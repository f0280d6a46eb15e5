"""Every kind of record comes back as it was stored, and no tenant meets another's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from operator import methodcaller
from typing import Any

import attrs

from crmkit.model import Entry, Note, Segment, catalogue
from crmkit.model.catalogue import evolved
from crmkit.model.time import EARLIEST
from crmkit.ports.storage import UnitOfWork
from crmkit.testing.contract.base import MOMENT, Contract, refused
from crmkit.testing.contract.samples import same


def _key(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, k) for k in _entry(record).key[1:])


def _entry(record: object) -> Entry:
    return next(e for e in catalogue() if e.record is type(record))


def _by_key(record: object) -> dict[str, Any]:
    return dict(zip(_entry(record).key[1:], _key(record), strict=True))


def _before_all(record: object) -> list[Any]:
    """A position before every key of the record's kind."""
    least = {str: "", int: -1, datetime: EARLIEST}
    return [least[type(k)] for k in _key(record)]


def _swapped(work: Callable[[UnitOfWork, Any], object], record: Any, uow: UnitOfWork) -> None:
    work(uow, record)


class RoundTrips(Contract):
    """What is read is what was written, for every kind of the catalogue."""

    def _comes_back(self, add: str) -> None:
        for entry in self.kinds():
            for record in self.samples(entry):
                self.write(methodcaller(add, record))
                with self.read() as uow:
                    found = uow.get(entry.record, *_key(record))
                    assert same(found, record), (entry.table, found, record)
                    assert same(uow.find(entry.record, **_by_key(record))[0], record)
                self.write(methodcaller("remove", entry.record, **_by_key(record)))

    def test_added_records_come_back(self) -> None:
        """`add` keeps every type to its last digit, microsecond and letter."""
        self._comes_back("add")

    def test_added_if_absent_records_come_back(self) -> None:
        """`add_if_absent` keeps them too."""
        self._comes_back("add_if_absent")

    def test_put_records_come_back(self) -> None:
        """`put` keeps them, whatever record it replaces."""
        for entry in self.kinds():
            for old in self.samples(entry):
                for other in self.samples(entry):
                    new = evolved(other, **_by_key(old))
                    self.store(old)
                    self.write(methodcaller("put", new))
                    with self.read() as uow:
                        found = uow.get(entry.record, *_key(old))
                    assert same(found, new), (entry.table, found, new)
                    self.write(methodcaller("remove", entry.record))

    def test_records_added_together_come_back(self) -> None:
        """`add_many` keeps them, and streams and lists hand them out alike."""
        for entry in self.kinds():
            records = sorted(self.samples(entry), key=_key)
            self.store(*records)
            with self.read() as uow:
                listed: list[Any] = uow.find(entry.record)
                for found in (listed, list(uow.stream(entry.record))):
                    assert len(found) == len(records)
                    assert all(map(same, found, records)), entry.table

    def test_changed_fields_come_back(self) -> None:
        """`change` keeps every type as `put` does."""
        for entry in self.kinds():
            first, *rest = self.samples(entry)
            self.store(first)
            for other in rest:
                values = {c: getattr(other, c) for c in entry.names if c not in entry.key}
                if not values:
                    continue  # all of it is key
                self.write(methodcaller("change", entry.record, values, **_by_key(first)))
                with self.read() as uow:
                    found = uow.get(entry.record, *_key(first))
                assert same(found, evolved(other, **_by_key(first))), entry.table

    def test_instants_come_back_in_utc(self) -> None:
        """An instant is the same wherever it was written down; it is read in UTC."""
        self.store(self.note("n1"))
        with self.read() as uow:
            (found,) = uow.find(Note)
        assert found.occurred_at.utcoffset() == timedelta()


class Tenants(Contract):
    """No operation of one tenant sees, changes or is stopped by what is another's."""

    def _theirs(self) -> list[Any]:
        """A record of every kind, stored by this test's tenant."""
        records = [self.filled(entry) for entry in self.kinds()]
        self.store(*records)
        return records

    def _untouched(self, records: list[Any]) -> None:
        with self.read() as uow:
            for record in records:
                assert same(uow.get(type(record), *_key(record)), record), type(record)
                assert uow.count(type(record)) == 1

    def _other(self, work: Callable[[UnitOfWork, Any], object]) -> None:
        """Run work as another tenant, on records that this test's tenant has stored."""
        records = self._theirs()
        for record in records:
            self.storage.write(f"{self.tenant} 2", partial(_swapped, work, record))
        self._untouched(records)

    def test_nothing_of_another_tenant_is_read(self) -> None:
        """get, find, count and stream show nothing of another tenant, filtered or not."""

        def work(uow: UnitOfWork, record: Any) -> None:
            kind, own = type(record), attrs.asdict(record, recurse=False)
            plain = {k: v for k, v in own.items() if type(v) in (str, int, bool) and k != "tenant"}
            assert uow.get(kind, *_key(record)) is None
            assert uow.get(kind, *_key(record), lock=True) is None
            for equal in ({}, plain, {k: (v,) for k, v in plain.items()}):
                assert uow.find(kind, **equal) == []
                assert uow.find(kind, limit=1, descending=True, **equal) == []
                assert uow.find(kind, after=_before_all(record), **equal) == []
                assert uow.count(kind, **equal) == 0
                assert list(uow.stream(kind, **equal)) == []

        self._other(work)

    def test_nothing_of_another_tenant_is_removed_or_changed(self) -> None:
        """What removes or changes does not reach another tenant's records."""

        def work(uow: UnitOfWork, record: Any) -> None:
            names = [c for c in _entry(record).names if c not in _entry(record).key]
            values = {c: getattr(record, c) for c in names}
            for equal in ({}, _by_key(record)):
                assert uow.remove(type(record), **equal) == 0
                if values:
                    assert uow.change(type(record), values, **equal) == 0

        self._other(work)

    def test_two_tenants_may_hold_the_same_keys(self) -> None:
        """Keys and unique values of one tenant are free for another."""

        def work(uow: UnitOfWork, record: Any) -> None:
            mine = evolved(record, tenant=uow.tenant)
            assert uow.add_if_absent(mine)
            uow.put(mine)
            assert uow.remove(type(record), **_by_key(record)) == 1
            uow.add(mine)
            assert uow.find(type(record)) == [mine]

        self._other(work)

    def test_sums_of_another_tenant_are_not_increased(self) -> None:
        """`increase` meets the own record only."""

        def work(uow: UnitOfWork, record: Any) -> None:
            for column in _entry(record).columns:
                counted = column.type is int and column.name not in _entry(record).key
                if counted and not column.optional:
                    mine = evolved(record, tenant=uow.tenant, **{column.name: 1})
                    uow.increase(mine, {column.name: 1})
                    uow.increase(mine, {column.name: 1}, floor={column.name: 0})
                    uow.remove(type(record))

        self._other(work)

    def test_a_record_of_another_tenant_is_refused(self) -> None:
        """A record is stored by a unit of work of its own tenant, or not at all."""
        stranger = evolved(self.note("n1"), tenant=f"{self.tenant} 2")
        for write in ("add", "add_if_absent", "put"):
            refused(partial(self.write, methodcaller(write, stranger)))
        for write in ("add_many", "put_many", "gather"):
            refused(partial(self.write, methodcaller(write, [stranger])))
        refused(lambda: self.store(self.note("n0"), stranger))
        with self.storage.read(stranger.tenant) as uow:
            assert uow.count(Note) == 0
        assert self.ids() == []

    def test_unique_values_hold_within_a_tenant(self) -> None:
        """A value that a unique index holds is refused to a second record, and nothing stays."""
        one = Segment(tenant=self.tenant, id="s1", name="vip", created_at=MOMENT)
        two = evolved(one, id="s2")
        self.store(one)
        for write in ("add", "put", "add_if_absent"):

            def work(uow: UnitOfWork, write: str = write) -> None:
                uow.add(self.note("n1"))
                getattr(uow, write)(two)

            refused(partial(self.write, work))
        with self.read() as uow:
            assert uow.find(Segment) == [one]
            assert uow.count(Note) == 0

    def test_a_unique_value_may_be_passed_on(self) -> None:
        """The record that holds a unique value may be put again, and give it up."""
        one = Segment(tenant=self.tenant, id="s1", name="vip", created_at=MOMENT)

        def work(uow: UnitOfWork) -> None:
            uow.add(one)
            uow.put(evolved(one, description="again"))
            uow.put(evolved(one, name="gold"))
            uow.add(evolved(one, id="s2"))

        self.write(work)
        with self.read() as uow:
            assert {s.id: s.name for s in uow.find(Segment)} == {"s1": "gold", "s2": "vip"}
