"""A host's table of bookings: customers and numbers follow it, however often it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from crmkit import CRMService, Erased, InvalidInput, MemoryStorage, migrate
from crmkit.activities.bulk import CHUNK, Tracked
from crmkit.model import Activity, Counter, Customer, Metrics, PointsAccount, entry_of
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock, together
from tests.populate import rows as stored
from tests.populate import values

Row = dict[str, Any]

START = datetime(2026, 1, 1, 20, tzinfo=UTC)

MAPPING: dict[str, Any] = {
    "id": "number",
    "at": "booked",
    "customer": {"email": "mail", "user_id": "account"},
    "payload": {"amount": "price", "status": "state", "item": "room"},
}
DATED = MAPPING | {"changed_at": "changed"}

both_databases = pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)


def row(number: Any = 1, **cells: Any) -> Row:
    """A confirmed booking of Ana's for 80."""
    return {
        "number": number, "booked": START, "mail": "ana@mail.com", "account": None,
        "price": Decimal("80.00"), "state": "confirmed", "room": "Crypt", "changed": START,
    } | cells  # fmt: skip


def who(crm: CRMService, email: str = "ana@mail.com") -> str:
    found = crm.identity.resolve({"email": email}, dry_run=True)
    assert not found.created
    return found.customer.id


def numbers(crm: CRMService, email: str = "ana@mail.com") -> tuple[int, int, int]:
    """Bookings, cancellations and spend of a guest."""
    metrics = crm.activities.metrics(who(crm, email))
    return metrics.bookings, metrics.cancellations, metrics.spend_minor


def facts(crm: CRMService, email: str = "ana@mail.com") -> list[Activity]:
    """What is recorded of a guest, the first first."""
    return list(crm.activities.timeline(who(crm, email)))[::-1]


class TestOneRow:
    def test_a_new_row_is_recorded_as_of_its_booking(self, crm: CRMService) -> None:
        """The customer is created as of then too."""
        assert crm.activities.sync([row()], MAPPING) == Tracked(recorded=1)
        [fact] = facts(crm)
        assert (fact.kind, fact.reference, fact.occurred_at) == ("booking", "1", START)
        assert (fact.item, fact.status, numbers(crm)) == ("Crypt", "confirmed", (1, 0, 8_000))
        assert crm.customers.get(who(crm)).created_at == START

    def test_an_unchanged_row_changes_nothing(
        self, crm: CRMService, storage: Storage, clock: FrozenClock
    ) -> None:
        """No record of any kind, on any later day, with the columns in any order."""
        crm.activities.sync([row()], DATED)
        before = stored(storage, crm.tenant)
        clock.advance(days=1)
        again = dict(reversed(row(changed=START + timedelta(days=1)).items()))
        assert crm.activities.sync([again], DATED) == Tracked(repeated=1)
        assert stored(storage, crm.tenant) == before

    def test_a_change_counts_from_when_the_row_changed(self, crm: CRMService) -> None:
        changed = START + timedelta(days=2)
        crm.activities.sync([row()], DATED)
        assert crm.activities.sync([row(price=95, changed=changed)], DATED).recorded == 1
        assert [f.occurred_at for f in facts(crm)] == [START, changed]
        assert numbers(crm) == (1, 0, 9_500)

    def test_a_change_without_its_time_counts_from_the_run(
        self, crm: CRMService, clock: FrozenClock
    ) -> None:
        crm.activities.sync([row()], MAPPING)
        clock.advance(hours=3)
        assert crm.activities.sync([row(room="Manor")], MAPPING).recorded == 1
        assert [(f.item, f.occurred_at) for f in facts(crm)] == [
            ("Crypt", START), ("Manor", clock()),
        ]  # fmt: skip

    @pytest.mark.parametrize("mapping", [MAPPING, DATED], ids=["undated", "dated"])
    @pytest.mark.parametrize("booked", [START, START + timedelta(days=400)], ids=["past", "future"])
    def test_the_last_row_is_the_last_word(
        self, crm: CRMService, mapping: Mapping[str, Any], booked: datetime
    ) -> None:
        """80, 95 and 80 again: also at one instant, and where the booking's time is to come."""
        for price in (80, 95, 80):
            done = crm.activities.sync([row(price=price, booked=booked)], mapping)
            assert (done.recorded, numbers(crm)[2]) == (1, price * 100)
        assert crm.activities.verify() == ()

    def test_cancelled_and_back(self, crm: CRMService) -> None:
        """Bookings, spend and points go and return."""
        expected = {"completed": ((1, 0, 8_000), 100), "cancelled": ((0, 1, 0), 0)}
        for state in ("completed", "cancelled", "completed", "cancelled"):
            crm.activities.sync([row(state=state)], MAPPING)
            assert (numbers(crm), crm.loyalty.account(who(crm)).balance) == expected[state]

    def test_an_empty_cell_says_nothing(self, crm: CRMService) -> None:
        """What was said before stays; zero takes a price back."""
        crm.activities.sync([row()], MAPPING)
        assert crm.activities.sync([row(price=None, room="")], MAPPING).repeated == 1
        assert crm.activities.sync([row(price=0)], MAPPING).recorded == 1
        assert numbers(crm) == (1, 0, 0)

    def test_a_deleted_row_leaves_its_booking_until_it_is_voided(self, crm: CRMService) -> None:
        crm.activities.sync([row(1), row(2)], MAPPING)
        crm.activities.sync([row(1)], MAPPING)
        assert numbers(crm) == (2, 0, 16_000)
        [gone] = [f for f in facts(crm) if f.reference == "2"]
        crm.activities.void(gone.id, reason="deleted")
        crm.activities.sync([row(1)], MAPPING)
        assert numbers(crm) == (1, 0, 8_000)


class TestManyRows:
    def test_two_rows_of_one_booking(self, crm: CRMService) -> None:
        """The later row is the last word, also where both are new."""
        done = crm.activities.sync([row(price=80), row(price=95), row(price=95)], MAPPING)
        assert (done.recorded, done.repeated) == (2, 1)
        assert numbers(crm) == (1, 0, 9_500)

    def test_two_rows_that_change_places(self, crm: CRMService) -> None:
        """In one run one leaves the room that the other takes: what was paid for it goes too."""
        crm.activities.sync([row(1), row(2, room="Manor", price=0)], MAPPING)
        crm.activities.sync([row(1, room="Manor"), row(2, price=0)], MAPPING)
        spent = {choice.value: choice.spent.minor for choice in crm.insights.items(who(crm))}
        assert spent == {"Manor": 8_000, "Crypt": 0}
        assert crm.activities.verify() == ()

    def test_an_id_is_one_of_its_kind(self, crm: CRMService) -> None:
        """Booking 1 and order 1 are two, and both are recognised."""
        for seen in (Tracked(recorded=1), Tracked(repeated=1)):
            for kind in ("booking", "purchase"):
                assert crm.activities.sync([row()], MAPPING | {"kind": kind}) == seen
        metrics = crm.activities.metrics(who(crm))
        assert (metrics.bookings, metrics.spend_minor) == (1, 16_000)

    def test_a_booking_that_was_tracked_is_recognised(self, crm: CRMService) -> None:
        """Tracked as it was made, by its id, and now read from the table."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        said = {"booking_id": 1, "amount": 80, "status": "confirmed"}
        crm.track_activity(ana.id, "booking", said, at=START)
        plain = MAPPING | {"payload": {"amount": "price", "status": "state"}}
        assert crm.activities.sync([row(price=80)], plain) == Tracked(repeated=1)
        assert crm.activities.sync([row(price=80, state="completed")], plain).recorded == 1
        assert crm.activities.metrics(ana.id).completed_bookings == 1

    def test_a_tracked_booking_stays_where_it_is(self, crm: CRMService) -> None:
        """Once it was recognised: whoever its row names, and when its guest is erased."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        crm.track_activity(ana.id, "booking", {"booking_id": 1, "amount": 80}, at=START)
        plain = MAPPING | {"payload": {"amount": "price"}}
        assert crm.activities.sync([row()], plain) == Tracked(repeated=1)
        assert crm.activities.sync([row(mail="bo@mail.com", price=90)], plain).recorded == 1
        assert numbers(crm) == (1, 0, 9_000)
        crm.gdpr.erase(ana.id)
        [refusal] = crm.activities.sync([row()], plain).refusals
        assert isinstance(refusal.error, Erased)
        assert crm.customers.list().items == ()

    def test_an_account_joins_what_e_mails_part(self, crm: CRMService) -> None:
        """Two addresses and one account are one customer, who is found by any of them."""
        rows = [row(1, account=7), row(2, account=7, mail="ana@work.com"), row(3)]
        crm.activities.sync(rows, MAPPING)
        assert crm.find_or_create({"user_id": 7}).id == who(crm)
        assert numbers(crm) == (3, 0, 24_000)

    def test_a_corrected_e_mail_moves_no_booking(self, crm: CRMService) -> None:
        """It stays with its customer and is said again there; nobody is created."""
        crm.activities.sync([row(account=7)], MAPPING)
        corrected = row(account=None, mail="anna@mail.com", price=95)
        assert crm.activities.sync([corrected], MAPPING).recorded == 1
        assert numbers(crm) == (1, 0, 9_500)
        assert crm.identity.resolve({"email": "anna@mail.com"}, dry_run=True).created

    def test_rows_are_read_as_they_are_needed(self, crm: CRMService) -> None:
        """At no time is more than a chunk of them out of the table and not yet stored."""
        read = 0

        def table() -> Iterator[Row]:
            nonlocal read
            for n in range(2 * CHUNK + 10):
                read += 1
                yield row(n)

        heard: list[tuple[int, int]] = []
        crm.activities.sync(table(), MAPPING, progress=lambda d: heard.append((d.total, read)))
        ends = (CHUNK, 2 * CHUNK, 2 * CHUNK + 10)
        assert heard == [(end, end) for end in ends]

    @both_databases
    def test_two_runs_at_once_count_once(self, crm: CRMService) -> None:
        rows = [row(n, mail=f"g{n % 9}@mail.com") for n in range(CHUNK + 50)]
        done = together(3, lambda _: crm.activities.sync(rows, MAPPING))
        assert sum(d.recorded for d in done) == len(rows)
        assert sum(d.repeated for d in done) == 2 * len(rows)
        assert sum(numbers(crm, f"g{n}@mail.com")[0] for n in range(9)) == len(rows)
        assert crm.activities.verify() == ()


class TestRefused:
    BAD: tuple[tuple[Any, str], ...] = (
        ("a row", "expected a row as a mapping of columns to values"),
        (row(mail="broken"), "email: expected an address such as ana@mail.com"),
        (row(mail=None), "customer: nothing to tell a customer by"),
        (row(price="ten"), "payload.amount: expected an amount such as 150 or '150.00'"),
        (row(state="pendng"), "payload.status: unknown status; did you mean 'pending'?"),
        (row(booked=None), "at: expected when it was booked"),
        (row(booked=datetime(2026, 1, 1)), "at: the time has no zone; give an aware datetime"),
        (
            row(changed=datetime(2026, 1, 1)),
            "changed_at: the time has no zone; give an aware datetime",
        ),
        (row(number=None), "id: expected the booking's id"),
        (row(number=" "), "id: expected the booking's id"),
        (
            {"prize" if name == "price" else name: cell for name, cell in row().items()},
            "unknown column 'price'; did you mean 'prize'?",
        ),
        ({}, "unknown column 'number'"),
    )

    def test_a_bad_row_is_refused_and_named(self, crm: CRMService) -> None:
        """By its position, its field or its column; all others are recorded."""
        table = [each for n, (bad, _) in enumerate(self.BAD) for each in (row(100 + n), bad)]
        done = crm.activities.sync(table, DATED)
        assert [(r.position, str(r.error)) for r in done.refusals] == [
            (2 * n + 1, said) for n, (_, said) in enumerate(self.BAD)
        ]
        assert (done.recorded, numbers(crm)[0]) == (len(self.BAD), len(self.BAD))

    def test_a_kind_that_would_count_twice(self, crm: CRMService) -> None:
        """A visit that changes is another visit, so it is no kind to sync."""
        with pytest.raises(InvalidInput, match=r"mapping\.kind: expected a kind that counts once"):
            crm.activities.sync([row()], MAPPING | {"kind": "visit"})

    @pytest.mark.parametrize("number", [float("nan"), True, 1.5, None, ""])
    def test_an_id_that_is_none(self, crm: CRMService, number: object) -> None:
        """Such as an empty cell of a data frame, which would be one booking of all guests."""
        [refusal] = crm.activities.sync([row(number)], MAPPING).refusals
        assert str(refusal.error) == "id: expected the booking's id"

    def test_a_function_may_refuse_its_row(self, crm: CRMService) -> None:
        """Any other error of it ends the run; the chunks before it are recorded."""

        def price(cells: Mapping[str, Any]) -> Any:
            if cells["price"] is None:
                raise InvalidInput("expected a price", field="price")
            return cells["price"] / 1

        mapping = MAPPING | {"payload": {"amount": price}}
        done = crm.activities.sync([row(1), row(2, price=None)], mapping)
        assert [(r.position, str(r.error)) for r in done.refusals] == [
            (1, "price: expected a price")
        ]
        broken = [row(n) for n in range(CHUNK)] + [row(CHUNK, price="x")]
        with pytest.raises(TypeError):
            crm.activities.sync(broken, mapping)
        assert numbers(crm)[0] == CHUNK

    def test_an_erased_person_does_not_return(self, crm: CRMService, storage: Storage) -> None:
        """Neither by the row as it was nor by a changed one; the rows beside it are recorded."""
        crm.activities.sync([row()], MAPPING)
        crm.gdpr.erase(who(crm))
        before = stored(storage, crm.tenant)
        for again in (row(), row(price=95, state="completed")):
            done = crm.activities.sync([again], MAPPING)
            assert [type(r.error) for r in done.refusals] == [Erased]
            assert stored(storage, crm.tenant) == before
        beside = [row(2, mail="bo@mail.com"), row(), row(3, mail="bo@mail.com")]
        done = crm.activities.sync(beside, MAPPING)
        assert [(r.position, type(r.error)) for r in done.refusals] == [(1, Erased)]
        assert numbers(crm, "bo@mail.com") == (2, 0, 16_000)
        assert crm.identity.resolve({"email": "ana@mail.com"}, dry_run=True).created


prices = st.sampled_from([0, 80, Decimal("95.50")])
states = st.sampled_from(["pending", "confirmed", "completed", "cancelled", "no_show"])
rooms = st.sampled_from(["Crypt", "Manor"])
tables = st.lists(
    st.lists(st.tuples(prices, states, rooms), min_size=4, max_size=4), min_size=2, max_size=4
)
_OF_FACTS = {"customer_id", "fingerprint", "activities", "first_activity_at", "last_activity_at"}


def _told(crm: CRMService) -> list[Any]:
    """All numbers of all customers, but for those that count how often something was said."""
    told = []
    with crm._runtime.read() as uow:
        for customer in uow.find(Customer):
            theirs: Row = {"customer_id": customer.id}
            [metrics] = uow.find(Metrics, **theirs)
            counters = [
                {n: v for n, v in values(c).items() if n not in _OF_FACTS}
                for c in uow.find(Counter, **theirs)
            ]
            accounts = uow.find(PointsAccount, **theirs)
            told.append(
                (
                    customer.email,
                    {n: v for n, v in values(metrics).items() if n not in _OF_FACTS},
                    sorted(counters, key=lambda c: (c["dimension"], c["value"])),
                    sum(a.balance for a in accounts),
                )
            )
    return sorted(told, key=lambda t: t[0])


@given(tables, st.booleans())
def test_numbers_are_those_of_the_table_as_it_is(tables: list[Any], dated: bool) -> None:
    """Whatever the rows said before, at any run: as if the last table were the only one."""
    mapping = DATED if dated else MAPPING
    followed, fresh = (CRMService(MemoryStorage(), clock=FrozenClock()) for _ in range(2))
    table: list[Row] = []
    for version in tables:
        table = [
            row(n, mail=f"g{n % 2}@mail.com", price=price, state=state, room=room)
            for n, (price, state, room) in enumerate(version)
        ]
        followed.activities.sync(table, mapping)
    fresh.activities.sync(table, mapping)
    assert _told(followed) == _told(fresh)
    assert followed.activities.verify() == ()


# --- in the host's transaction ---


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A host's engine, with crmkit's schema and a table of bookings of two chunks."""
    if request.param == "postgresql":
        engine = request.getfixturevalue("postgres_engine")
    else:
        engine = sa.create_engine(f"sqlite:///{tmp_path}/host.db")
        migrate(engine)
    HOST.metadata.create_all(engine)
    with engine.begin() as connection:
        bookings = [{"number": n, "mail": f"g{n % 9}@mail.com"} for n in range(CHUNK + 20)]
        connection.execute(sa.insert(HOST), bookings)
    yield engine
    HOST.metadata.drop_all(engine)
    if request.param == "sqlite":
        engine.dispose()


HOST = sa.Table(
    "host_bookings",
    sa.MetaData(),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("mail", sa.String),
)
SMALL: dict[str, Any] = {"id": "number", "at": lambda _: START, "customer": {"email": "mail"}}


def test_it_reads_and_writes_in_the_hosts_transaction(engine: sa.Engine) -> None:
    """Rolled back, nothing remains and the run can be repeated; committed, all is there."""
    service = CRMService(engine)
    for end in ("rollback", "commit"):
        with Session(engine) as session:
            with service.using(session) as tx:
                rows = session.execute(sa.select(HOST)).mappings()
                assert tx.activities.sync(rows, SMALL) == Tracked(recorded=CHUNK + 20)
            getattr(session, end)()
        with engine.connect() as connection:
            count = sum(
                connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
                for table in (entry_of(kind).table for kind in (Activity, Customer, Metrics))
            )
        assert count == (0 if end == "rollback" else CHUNK + 20 + 9 + 9)


def test_a_table_is_read_beside_the_writing(engine: sa.Engine) -> None:
    """The host's own connection streams the rows, of the same database, while crmkit commits."""
    service = CRMService(engine)
    with engine.connect() as connection:
        if engine.name == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        streamed = connection.execution_options(yield_per=50).execute(sa.select(HOST))
        assert service.activities.sync(streamed.mappings(), SMALL).recorded == CHUNK + 20
