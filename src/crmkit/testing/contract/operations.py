"""What each operation of a unit of work does."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from typing import Any

from crmkit.model import (
    Activity,
    Customer,
    Identity,
    Note,
    PointsAccount,
    PointsEntry,
    Segment,
    SegmentState,
    Tag,
    entry_of,
)
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import STREAM_PAGE, UnitOfWork
from crmkit.testing.contract.base import MOMENT, Contract, refused

_DAY = timedelta(days=1)


class KeyedOperations(Contract):
    """Operations on one record, by its key."""

    def test_get_returns_what_was_added(self) -> None:
        """An added record is got by its key."""
        self.store(self.note("n1"))
        with self.read() as uow:
            assert uow.get(Note, "n1") == self.note("n1")

    def test_get_of_an_unknown_key_is_none(self) -> None:
        """A key that was never stored gives None."""
        with self.read() as uow:
            assert uow.get(Note, "n1") is None

    def test_get_by_a_key_of_several_fields(self) -> None:
        """Every field of a composite key counts."""
        tags = [self._tag("c1", "f1"), self._tag("c1", "f2"), self._tag("c2", "f1")]
        self.store(*tags)
        with self.read() as uow:
            assert [uow.get(Tag, t.customer_id, t.fingerprint) for t in tags] == tags
            assert uow.get(Tag, "c2", "f2") is None

    def _tag(self, customer_id: str, fingerprint: str) -> Tag:
        return Tag(
            tenant=self.tenant,
            customer_id=customer_id,
            fingerprint=fingerprint,
            tag=f"{customer_id} {fingerprint}",
            tagged_at=MOMENT,
        )

    def test_a_unit_of_work_reads_its_own_writes(self) -> None:
        """Every operation sees what the same unit of work did before."""

        def work(uow: UnitOfWork) -> list[Any]:
            uow.add(self.note("n1"))
            seen: list[Any] = [uow.get(Note, "n1"), uow.get(Note, "n1", lock=True)]
            uow.put(self.note("n1", text="other"))
            seen += [uow.find(Note)[0].text, uow.count(Note, text="other")]
            return [*seen, uow.remove(Note, id="n1"), uow.get(Note, "n1"), uow.count(Note)]

        note = self.note("n1")
        assert self.write(work) == [note, note, "other", 1, 1, None, 0]

    def test_add_of_a_key_that_is_there_is_refused(self) -> None:
        """A second record with the same key is a `StorageError`; the first one stays."""
        self.store(self.note("n1"))
        refused(lambda: self.store(self.note("n1", text="other")))
        with self.read() as uow:
            assert uow.get(Note, "n1") == self.note("n1")

    def test_add_if_absent_tells_whether_it_stored(self) -> None:
        """The first record of a key is stored, the second leaves it as it is."""
        other = self.note("n1", text="other")
        assert self.write(lambda uow: uow.add_if_absent(self.note("n1"))) is True
        assert self.write(lambda uow: uow.add_if_absent(other)) is False
        with self.read() as uow:
            assert uow.get(Note, "n1") == self.note("n1")

    def test_add_if_absent_goes_on_after_a_clash(self) -> None:
        """A record that was not stored does not harm its unit of work."""

        def work(uow: UnitOfWork) -> list[bool]:
            return [uow.add_if_absent(self.note(i)) for i in ("n1", "n1", "n2")]

        assert self.write(work) == [True, False, True]
        assert self.ids() == ["n1", "n2"]

    def test_put_stores_or_replaces(self) -> None:
        """`put` needs no record to be there, and replaces every field of one that is."""
        self.write(lambda uow: uow.put(self.note("n1", text="before", author="a")))
        self.write(lambda uow: uow.put(self.note("n1", customer_id="d", text="after")))
        with self.read() as uow:
            assert uow.find(Note) == [self.note("n1", customer_id="d", text="after")]
            assert uow.count(Note, customer_id="c") == 0

    def test_add_many_takes_kinds_in_any_order(self) -> None:
        """Records of several kinds are stored together, from an iterator too."""
        records: list[Any] = []
        for i in range(5):
            records += [self.note(f"n{i}"), self._tag(f"c{i}", "f")]
        self.write(lambda uow: uow.add_many(iter(records)))
        self.write(lambda uow: uow.add_many([]))
        with self.read() as uow:
            assert uow.find(Note) == records[::2]
            assert uow.find(Tag) == records[1::2]

    def test_add_many_refuses_a_key_that_is_there(self) -> None:
        """One clash refuses all the records."""
        self.store(self.note("n1"))
        refused(lambda: self.store(self.note("n0"), self.note("n1"), self.note("n2")))
        assert self.ids() == ["n1"]

    def test_what_the_caller_changes_later_is_not_stored(self) -> None:
        """A document is stored as it was when it was given, and read as it was stored."""
        given: dict[str, Any] = {"inner": [1]}
        fact = self.filled(entry_of(Activity))
        self.store(evolved(fact, id="a", payload=given))
        given["inner"].append(2)
        for _ in range(2):
            with self.read() as uow:
                for found in (uow.get(Activity, "a"), *uow.find(Activity)):
                    assert found is not None
                    assert found.payload == {"inner": [1]}
                    found.payload["inner"].append(3)


class LinkedOperations(Contract):
    """Finding customers by their identifiers."""

    def _customer(self, id: str) -> Customer:
        return Customer(tenant=self.tenant, id=id, created_at=MOMENT, updated_at=MOMENT, name=id)

    def _identity(self, kind: str, fingerprint: str, customer_id: str) -> Identity:
        return Identity(
            tenant=self.tenant,
            kind=kind,
            fingerprint=fingerprint,
            slot=customer_id,
            customer_id=customer_id,
        )

    def _linked(self, kinds: list[str], fingerprints: list[str]) -> set[tuple[str, str, str]]:
        with self.read() as uow:
            rows = uow.linked(kinds, fingerprints)
        assert all(c == self._customer(i.customer_id) for i, c in rows)
        places = [(i.kind, i.fingerprint, i.slot) for i, _ in rows]
        assert places == sorted(places)
        found = {(i.kind, i.fingerprint, c.id) for i, c in rows}
        assert len(found) == len(rows)
        return found

    def test_linked_gives_each_identity_with_its_customer(self) -> None:
        """Identities of these kinds with any of these fingerprints, in the order of their key."""
        self.store(
            self._customer("c1"), self._customer("c2"), self._customer("c3"),
            self._identity("email", "f1", "c1"), self._identity("phone", "f2", "c1"),
            self._identity("phone", "f2", "c2"), self._identity("email", "f3", "c3"),
        )  # fmt: skip
        both = {("email", "f1", "c1"), ("phone", "f2", "c1"), ("phone", "f2", "c2")}
        assert self._linked(["email", "phone"], ["f1", "f2", "f9"]) == both
        assert self._linked(["phone"], ["f1", "f2", "f3"]) == {b for b in both if b[0] == "phone"}
        assert self._linked(["email"], ["f2"]) == set()

    def test_linked_of_nothing_is_empty(self) -> None:
        """Without kinds, fingerprints or a customer there is nothing to be found."""
        self.store(self._customer("c1"), self._identity("email", "f1", "c1"))
        self.store(self._identity("email", "f2", "gone"))
        assert self._linked([], ["f1"]) == self._linked(["email"], []) == set()
        assert self._linked(["email"], ["f2"]) == set()

    def test_linked_sees_one_tenant_only(self) -> None:
        """The same fingerprint at another tenant leads to nobody."""
        self.store(self._customer("c1"), self._identity("email", "f1", "c1"))
        with self.storage.read(f"{self.tenant} 2") as uow:
            assert uow.linked(["email"], ["f1"]) == []


class FilterOperations(Contract):
    """Operations on all the records that a filter fits."""

    def test_equal_fields_are_all_required(self) -> None:
        """Several fields narrow the selection down."""
        self.store(
            self.note("n1", kind="vip"),
            self.note("n2", customer_id="d", kind="vip"),
            self.note("n3"),
        )
        assert self.ids(kind="vip", customer_id="c") == ["n1"]
        assert self.ids(kind="vip") == ["n1", "n2"]
        assert self.ids(kind="vip", customer_id="e") == []

    def test_a_tuple_means_any_of_its_values(self) -> None:
        """A tuple of values fits a field that equals one of them, each record once."""
        self.store(*(self.note(f"n{i}", kind=k) for i, k in enumerate("abcab")))
        assert self.ids(kind=("a", "c", "a", "z")) == ["n0", "n2", "n3"]
        assert self.ids(kind=("b",), id=("n1", "n2")) == ["n1"]

    def test_an_empty_tuple_finds_nothing(self) -> None:
        """None of no values fits, in whatever operation."""
        self.store(self.note("n1"))
        assert self.ids(kind=()) == []
        assert self.write(lambda uow: uow.remove(Note, kind=())) == 0
        assert self.write(lambda uow: uow.change(Note, {"text": "x"}, kind=())) == 0
        with self.read() as uow:
            assert uow.count(Note, kind=()) == 0
            assert list(uow.stream(Note, kind=())) == []

    def test_what_is_due_comes_the_earliest_first(self) -> None:
        """Not later than the instant, some at a time; never what has no instant, nor another's."""

        def state(n: int, hours: int | None) -> SegmentState:
            return SegmentState(
                tenant=self.tenant,
                segment_id="s",
                customer_id=f"c{n}",
                member=True,
                since=MOMENT,
                next_change_at=None if hours is None else MOMENT + timedelta(hours=hours),
            )

        self.store(*(state(n, hours) for n, hours in enumerate((3, 1, None, 5, 2, 4))))
        by = MOMENT + timedelta(hours=4)
        with self.read() as uow:
            found = uow.due(SegmentState, "next_change_at", by, limit=3)
            assert [s.customer_id for s in found] == ["c1", "c4", "c0"]
            assert len(uow.due(SegmentState, "next_change_at", by, limit=9)) == 4
        with self.storage.read(f"{self.tenant} too") as uow:
            assert uow.due(SegmentState, "next_change_at", by, limit=9) == []

    def test_totals_are_sums_by_what_is_in_other_fields(self) -> None:
        """Of what fits, not later than some instants and later than others; one tenant's."""

        def entry(n: int, customer: str, points: int, hours: int) -> PointsEntry:
            return PointsEntry(
                tenant=self.tenant,
                id=f"e{n}",
                customer_id=customer,
                kind="earn",
                points=points,
                qualifying=0,
                available_at=MOMENT,
                expires_at=MOMENT + timedelta(hours=10 * hours),
                occurred_at=MOMENT + timedelta(hours=hours),
                recorded_at=MOMENT,
            )

        told = (("a", 5, 0), ("b", 7, 1), ("a", -3, 2), ("a", 2**40, 3))
        self.store(*(entry(n, *one) for n, one in enumerate(told)))
        by = {"occurred_at": MOMENT + timedelta(hours=2)}
        over = {"expires_at": MOMENT + timedelta(hours=10)}
        with self.read() as uow:
            assert uow.totals(PointsEntry, "points") == {(): 9 + 2**40}
            each = uow.totals(PointsEntry, "points", by=("customer_id",))
            assert each == {("a",): 2 + 2**40, ("b",): 7}
            assert uow.totals(PointsEntry, "points", upto=by, customer_id="a") == {(): 2}
            late = uow.totals(PointsEntry, "points", by=("occurred_at",), upto=by, beyond=over)
            assert late == {(by["occurred_at"],): -3}
            assert uow.totals(PointsEntry, "points", customer_id="z") == {}
        with self.storage.read(f"{self.tenant} too") as uow:
            assert uow.totals(PointsEntry, "points") == {}

    def test_none_fits_an_empty_field(self) -> None:
        """None means that the field is empty; an empty text is not."""
        self.store(self.note("n1"), self.note("n2", author="a"), self.note("n3", author=""))
        assert self.ids(author=None) == ["n1"]
        assert self.ids(author="") == ["n3"]
        assert self.ids(author=(None,)) == ["n1"]
        assert self.ids(author=("a", None)) == ["n1", "n2"]

    def test_thousands_of_values_fit_in_a_tuple(self) -> None:
        """A tuple may hold as many values as a page of ids, and several times that."""
        self.store(*(self.note(f"n{i:04}") for i in range(3)))
        many = tuple(f"n{i:04}" for i in range(1, 5_000))
        assert self.ids(id=many) == ["n0001", "n0002"]

    def test_values_of_every_type_can_be_found(self) -> None:
        """Times, whole numbers and flags are compared as themselves."""
        later = MOMENT + timedelta(microseconds=1)
        self.store(
            self.note("n1"), self.note("n2", occurred_at=later),
            PointsAccount(tenant=self.tenant, customer_id="c", balance=-(2**62)),
            Segment(tenant=self.tenant, id="s", name="s", auto_update=False, created_at=MOMENT),
        )  # fmt: skip
        assert self.ids(occurred_at=later) == ["n2"]
        with self.read() as uow:
            assert uow.count(PointsAccount, balance=-(2**62)) == 1
            assert uow.count(Segment, auto_update=False) == 1
            assert uow.count(Segment, auto_update=True) == 0

    def test_text_is_equal_only_to_itself(self) -> None:
        """Case, accents, normal forms and spaces all count."""
        texts = ["ana", "Ana", "ána", "a\u0301na", "ana ", " ana", ""]
        self.store(*(self.note(f"n{i}", text=t) for i, t in enumerate(texts)))
        for i, text in enumerate(texts):
            assert self.ids(text=text) == [f"n{i}"]

    def test_count_without_a_filter_counts_all(self) -> None:
        """Without a filter every record of the kind counts."""
        self.store(self.note("n1"), self.note("n2", kind="vip"))
        with self.read() as uow:
            assert uow.count(Note) == 2
            assert uow.count(Note, kind="vip") == 1
            assert uow.count(Segment) == 0

    def test_remove_deletes_what_fits_and_tells_how_many(self) -> None:
        """`remove` takes the records that fit, and no others."""
        self.store(*(self.note(f"n{i}", kind=k) for i, k in enumerate("aabc")))
        assert self.write(lambda uow: uow.remove(Note, kind=("a", "c"))) == 3
        assert self.write(lambda uow: uow.remove(Note, kind="a")) == 0
        assert self.ids() == ["n2"]

    def test_a_removed_key_is_free_again(self) -> None:
        """After `remove` a record with the same key can be added."""
        self.store(self.note("n1"))

        def work(uow: UnitOfWork) -> None:
            uow.remove(Note, id="n1")
            uow.add(self.note("n1", text="again"))

        self.write(work)
        assert self.ids(text="again") == ["n1"]

    def test_change_sets_fields_of_what_fits(self) -> None:
        """`change` sets the named fields, None included, and leaves the others."""
        self.store(
            self.note("n1", author="a"),
            self.note("n2", author="a", kind="vip"),
            self.note("n3", customer_id="d", author="a"),
        )
        values = {"author": None, "text": "new"}
        assert self.write(lambda uow: uow.change(Note, values, customer_id="c")) == 2
        assert self.write(lambda uow: uow.change(Note, values, customer_id="z")) == 0
        with self.read() as uow:
            assert uow.get(Note, "n2") == self.note("n2", text="new", kind="vip")
            assert uow.get(Note, "n3") == self.note("n3", customer_id="d", author="a")

    def test_change_sets_a_field_that_it_asks_for(self) -> None:
        """Also an empty one, among other values."""
        self.store(*(self.note(f"n{n}", author=a) for n, a in enumerate((None, "a", "b", "c"))))
        assert (
            self.write(lambda uow: uow.change(Note, {"author": "d"}, author=(None, "a", "b"))) == 3
        )
        assert self.ids(author="d") == ["n0", "n1", "n2"]
        assert self.write(lambda uow: uow.change(Note, {"author": None}, author="c")) == 1
        assert self.write(lambda uow: uow.change(Note, {"author": "e"}, author=None)) == 1
        assert self.ids(author="e") == ["n3"]

    def test_a_changed_field_is_found_by_its_new_value(self) -> None:
        """A record whose owner changed belongs to the new one only."""
        self.store(self.note("n1"), self.note("n2"))
        self.write(lambda uow: uow.change(Note, {"customer_id": "d"}, id="n1"))
        assert self.ids(customer_id="d") == ["n1"]
        assert self.ids(customer_id="c") == ["n2"]


class OrderedOperations(Contract):
    """Order, pages and streams."""

    def test_without_an_order_records_come_by_their_key(self) -> None:
        """The key orders what no order is named for."""
        self.store(*(self.note(i) for i in ("b", "d", "a", "c")))
        assert self.ids() == ["a", "b", "c", "d"]

    def test_several_fields_order_one_after_the_other(self) -> None:
        """The second field decides where the first one is equal."""
        times = {"a": 2, "b": 1, "c": 2, "d": 0}
        self.store(*(self.note(i, occurred_at=MOMENT + n * _DAY) for i, n in times.items()))
        assert self._ordered() == ["d", "b", "a", "c"]
        assert self._ordered(descending=True) == ["c", "a", "b", "d"]

    def _ordered(self, **asked: Any) -> list[str]:
        with self.read() as uow:
            found = uow.find(Note, order=("occurred_at", "id"), **asked)
        return [note.id for note in found]

    def test_limit_takes_the_first_in_order(self) -> None:
        """A limit cuts after ordering, and may be more than there is."""
        self.store(*(self.note(i, occurred_at=MOMENT - n * _DAY) for n, i in enumerate("abc")))
        assert self._ordered(limit=2) == ["c", "b"]
        assert self._ordered(limit=2, descending=True) == ["a", "b"]
        assert self._ordered(limit=9) == ["c", "b", "a"]

    def test_after_begins_behind_a_position(self) -> None:
        """The position itself is left out, whether or not a record is there."""
        self.store(*(self.note(i, occurred_at=MOMENT + n * _DAY) for n, i in enumerate("abc")))
        at_b = (MOMENT + _DAY, "b")
        assert self._ordered(after=at_b) == ["c"]
        assert self._ordered(after=at_b, descending=True) == ["a"]
        assert self._ordered(after=(MOMENT + _DAY, "a")) == ["b", "c"]
        assert self._ordered(after=(MOMENT + _DAY, "c"), descending=True) == ["b", "a"]
        assert self._ordered(after=(MOMENT + 9 * _DAY, "a")) == []

    def test_pages_hold_every_record_once(self) -> None:
        """Going from page to page meets every record once, equal times included."""
        times = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]
        self.store(
            *(self.note(f"n{i}", occurred_at=MOMENT + n * _DAY) for i, n in enumerate(times))
        )
        for descending in (False, True):
            assert self._paged(descending) == self._ordered(descending=descending)

    def _paged(self, descending: bool) -> list[str]:
        met: list[Note] = []
        for _ in range(9):
            after = (met[-1].occurred_at, met[-1].id) if met else None
            with self.read() as uow:
                met += uow.find(
                    Note, order=("occurred_at", "id"), descending=descending, after=after, limit=3
                )
        return [note.id for note in met]

    def test_text_is_ordered_by_code_point(self) -> None:
        """Capitals come before small letters, accents after, beyond the first plane last."""
        texts = [
            "Z",
            "a",
            "é",
            "\U0001f600",
            "",
            " ",
            "z",
            "\uffff",
            "a\u0301",
            "B",
            "aa",
            "_",
            "~",
        ]
        self.store(*(self.note(f"n{i}", text=t) for i, t in enumerate(texts)))
        with self.read() as uow:
            found = uow.find(Note, order=("text", "id"))
            behind = uow.find(Note, order=("text", "id"), after=("z", "n6"))
            before = uow.find(Note, order=("text", "id"), after=("Z", "n0"), descending=True)
        assert [n.text for n in found] == sorted(texts)
        assert [n.text for n in behind] == sorted(t for t in texts if t > "z")
        assert [n.text for n in before] == sorted((t for t in texts if t < "Z"), reverse=True)

    def test_a_stream_yields_everything_in_the_order_of_the_key(self) -> None:
        """More records than a page are all met, once, in order."""
        count = 2 * STREAM_PAGE + 1
        self.store(*(self.note(f"n{i:05}") for i in reversed(range(count))))
        with self.read() as uow:
            met = [note.id for note in uow.stream(Note)]
            some = sum(1 for _ in uow.stream(Note, id=tuple(met[:3]), customer_id="c"))
        assert met == [f"n{i:05}" for i in range(count)]
        assert some == 3

    def test_a_stream_follows_an_order(self) -> None:
        """A stream may be in another order than the key's, across its pages too."""
        count = STREAM_PAGE + 3
        self.store(*(self.note(f"n{i:05}", text=f"{i % 7}") for i in range(count)))
        with self.read() as uow:
            met = [(note.text, note.id) for note in uow.stream(Note, order=("text", "id"))]
        assert len(met) == count
        assert met == sorted(met)

    def test_a_stream_of_exactly_one_page_ends(self) -> None:
        """The edge of a page is met neither twice nor never."""
        self.store(*(self.note(f"n{i:05}") for i in range(STREAM_PAGE)))
        with self.read() as uow:
            assert sum(1 for _ in uow.stream(Note)) == STREAM_PAGE

    def test_other_operations_may_run_within_a_stream(self) -> None:
        """A stream goes on while its unit of work reads and writes."""
        self.store(*(self.note(f"n{i:05}") for i in range(STREAM_PAGE + 10)))

        def work(uow: UnitOfWork) -> int:
            met = 0
            for note in uow.stream(Note):
                assert uow.get(Note, note.id) == note
                uow.put(evolved(note, text="seen"))
                met += uow.count(Note, id=note.id)
            return met

        assert self.write(work) == STREAM_PAGE + 10
        with self.read() as uow:
            assert uow.count(Note, text="seen") == STREAM_PAGE + 10

    def test_a_stream_holds_a_page_in_memory(self) -> None:
        """Streaming takes the memory of a page, not of all the records."""
        count, size = 10 * STREAM_PAGE, 1_000
        self.store(*(self.note(f"n{i:05}", text="x" * size) for i in range(count)))
        tracemalloc.start()
        try:
            with self.read() as uow:
                assert sum(1 for _ in uow.stream(Note)) == count
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < count * size / 2
