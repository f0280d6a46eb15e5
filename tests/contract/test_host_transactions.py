"""crmkit inside the host's transaction: it commits with the host, and rolls back with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crmkit import CRMService, InsufficientPoints, InvalidInput, NotFound, StorageError
from crmkit.adapters.sql.unit import SqlUnitOfWork
from tests.hosts import Booking, Lent, book, empty, known_customer, refused, snapshot

CALLS: dict[str, Callable[[CRMService, str], object]] = {
    "find_or_create": lambda tx, _: tx.find_or_create({"email": "bo@mail.com"}, key="b1"),
    "find_and_fill": lambda tx, _: tx.find_or_create({"email": "ana@mail.com", "city": "Roma"}),
    "track_activity": lambda tx, c: tx.track_activity(c, "purchase", {"amount": 5}, key="o2"),
    "add_to_segment": lambda tx, c: tx.add_to_segment(c, "second"),
    "update_points": lambda tx, c: tx.loyalty.update_points(c, -1, reason="drink", key="p1"),
    "erase": lambda tx, c: tx.gdpr.erase(c),
    "add_note": lambda tx, c: tx.customers.add_note(c, "likes the window", key="n1"),
    "update": lambda tx, c: tx.customers.update(c, {"phone": None, "email": "ana@work.com"}),
    "segment": lambda tx, _: tx.segments.create("third"),
}


every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
BEFORE: dict[str, Callable[[Lent], object]] = {
    "nothing": lambda _: None,
    "a_read": lambda lent: lent.execute(sa.select(Booking)).all(),
    "a_write": lambda lent: book(lent, 7),
}
after_the_host_did = pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())


class TestTheHostRollsBack:
    @every_call
    @after_the_host_did
    def test_every_row_is_as_it_was(
        self,
        engine: sa.Engine,
        service: CRMService,
        lend: Callable[[], Any],
        call: Callable[[CRMService, str], object],
        before: Callable[[Lent], object],
    ) -> None:
        """Also when crmkit's call is the very first statement of the host's transaction."""
        customer_id = known_customer(service)
        shot = snapshot(engine)
        with lend() as lent:
            before(lent)
            with service.using(lent) as tx:
                call(tx, customer_id)
            book(lent)
            lent.rollback()
        assert snapshot(engine) == shot

    def test_nothing_remains_in_an_empty_database(
        self, engine: sa.Engine, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent:
            with service.using(lent) as tx:
                customer_id = known_customer(tx)
                for call in CALLS.values():
                    if call is not CALLS["erase"]:
                        call(tx, customer_id)
            lent.rollback()
        assert empty(snapshot(engine))

    def test_leaving_without_a_commit_is_a_rollback(
        self, engine: sa.Engine, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent, service.using(lent) as tx:
            known_customer(tx)
        assert empty(snapshot(engine))

    def test_an_error_of_the_host_undoes_both(self, engine: sa.Engine, service: CRMService) -> None:
        error = ZeroDivisionError()

        def failing() -> NoReturn:
            with engine.begin() as connection:
                book(connection)
                with service.using(connection) as tx:
                    known_customer(tx)
                    raise error

        with pytest.raises(ZeroDivisionError) as caught:
            failing()
        assert caught.value is error
        assert empty(snapshot(engine))

    def test_what_was_rolled_back_can_be_done_again(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        """Keys and identifiers that were rolled back are free."""
        with lend() as lent:
            for _ in range(3):
                with service.using(lent) as tx:
                    known_customer(tx)
                lent.rollback()
            with service.using(lent) as tx:
                customer_id = known_customer(tx)
            lent.commit()
        assert service.activities.metrics(customer_id).orders == 1


class TestTheHostCommits:
    @after_the_host_did
    def test_both_are_kept(
        self,
        engine: sa.Engine,
        service: CRMService,
        lend: Callable[[], Any],
        before: Callable[[Lent], object],
    ) -> None:
        with lend() as lent:
            before(lent)
            with service.using(lent) as tx:
                customer_id = known_customer(tx)
            book(lent)
            lent.commit()
        assert service.customers.get(customer_id).email == "ana@mail.com"
        assert service.loyalty.account(customer_id).balance == 10
        assert len(service.activities.timeline(customer_id)) == 1
        with engine.connect() as connection:
            assert 1 in connection.scalars(sa.select(Booking.id)).all()

    @every_call
    def test_the_result_is_that_of_an_own_transaction(
        self,
        service: CRMService,
        lend: Callable[[], Any],
        call: Callable[[CRMService, str], object],
    ) -> None:
        """The same call by the service itself returns the same type and leaves as much."""
        customer_id = known_customer(service)
        with lend() as lent, service.using(lent) as tx:
            inside = call(tx, customer_id)
            lent.rollback()
        assert type(call(service, customer_id)) is type(inside)

    def test_the_transaction_is_still_the_hosts(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        """It is neither committed nor ended by crmkit."""
        with lend() as lent, service.using(lent) as tx:
            customer_id = known_customer(tx)
            assert lent.in_transaction()
            with pytest.raises(NotFound):
                service.customers.get(customer_id)

    def test_the_host_may_commit_within_the_block(
        self, engine: sa.Engine, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        """The next call then belongs to the host's next transaction."""
        with lend() as lent, service.using(lent) as tx:
            customer_id = known_customer(tx)
            lent.commit()
            shot = snapshot(engine)
            tx.track_activity(customer_id, "visit")
            lent.rollback()
            assert snapshot(engine) == shot
            tx.track_activity(customer_id, "visit")
            lent.commit()
        assert service.activities.metrics(customer_id).visits == 1

    def test_a_service_may_be_used_inside_and_outside(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        for n in range(3):
            service.find_or_create({"email": f"outside{n}@mail.com"})
            with lend() as lent:
                with service.using(lent) as tx:
                    tx.find_or_create({"email": f"inside{n}@mail.com"})
                lent.commit()
        assert len(service.customers.list()) == 6


FAILURES: dict[str, tuple[type[Exception], Callable[[CRMService, str], object]]] = {
    "bad_input": (InvalidInput, lambda tx, _: tx.find_or_create({"email": "no address"})),
    "nobody": (NotFound, lambda tx, _: tx.track_activity("nobody", "visit")),
    "points": (
        InsufficientPoints,
        lambda tx, c: tx.loyalty.update_points(c, -1_000, reason="too much", key="p9"),
    ),
}


class TestACallFails:
    def _goes_on(
        self,
        engine: sa.Engine,
        service: CRMService,
        lend: Callable[[], Any],
        fail: Callable[[CRMService, str], None],
    ) -> None:
        """The host catches the error and goes on: its rows are intact, earlier calls too."""
        customer_id = known_customer(service)
        with lend() as lent:
            book(lent, 1)
            with service.using(lent) as tx:
                tx.customers.add_note(customer_id, "before")
                fail(tx, customer_id)
                tx.customers.add_note(customer_id, "after")
            book(lent, 2)
            lent.commit()
        assert {n.text for n in service.customers.notes(customer_id)} == {"before", "after"}
        with engine.connect() as connection:
            assert connection.scalars(sa.select(Booking.id).order_by(Booking.id)).all() == [1, 2]

    @pytest.mark.parametrize(("error", "call"), FAILURES.values(), ids=FAILURES.keys())
    def test_with_an_error_of_its_own(
        self,
        engine: sa.Engine,
        service: CRMService,
        lend: Callable[[], Any],
        error: type[Exception],
        call: Callable[[CRMService, str], object],
    ) -> None:
        def fail(tx: CRMService, customer_id: str) -> None:
            with pytest.raises(error):
                call(tx, customer_id)

        self._goes_on(engine, service, lend, fail)

    @pytest.mark.parametrize(
        "statement",
        ["SELECT nothing FROM nowhere", "INSERT INTO crm_secrets VALUES ('fingerprint', 'x')", "("],
    )
    def test_in_the_driver(
        self,
        engine: sa.Engine,
        service: CRMService,
        lend: Callable[[], Any],
        monkeypatch: pytest.MonkeyPatch,
        statement: str,
    ) -> None:
        """Half of the call's rows were written already; they are undone, the rest is not."""

        def broken(uow: SqlUnitOfWork, _: object) -> None:
            uow._cursor.execute(statement)

        def fail(tx: CRMService, customer_id: str) -> None:
            monkeypatch.setattr(SqlUnitOfWork, "gather", broken)
            with pytest.raises(StorageError) as caught:
                tx.track_activity(customer_id, "purchase", {"amount": 5}, key="lost")
            monkeypatch.undo()
            assert type(caught.value.__cause__).__module__.split(".")[0] in ("sqlite3", "psycopg")

        self._goes_on(engine, service, lend, fail)
        customer_id = service.customers.list().items[0].id
        assert len(service.activities.timeline(customer_id)) == 1
        service.track_activity(customer_id, "purchase", {"amount": 6}, key="lost")

    def test_within_its_work(
        self,
        engine: sa.Engine,
        service: CRMService,
        lend: Callable[[], Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whatever is raised in the middle of a call, an interruption too, undoes that call."""

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        def fail(tx: CRMService, customer_id: str) -> None:
            monkeypatch.setattr(SqlUnitOfWork, "gather", interrupted)
            with pytest.raises(KeyboardInterrupt):
                tx.track_activity(customer_id, "purchase", {"amount": 5})
            monkeypatch.undo()

        self._goes_on(engine, service, lend, fail)
        assert len(service.activities.timeline(service.customers.list().items[0].id)) == 1


class TestReading:
    def test_reads_see_what_the_host_has_not_committed_yet(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent, service.using(lent) as tx:
            customer_id = known_customer(tx)
            assert tx.customers.get(customer_id).email == "ana@mail.com"
            assert tx.find_or_create({"email": "Ana@mail.com"}).id == customer_id
            assert tx.activities.metrics(customer_id).orders == 1
            assert tx.get_lifetime_value(customer_id).historic.minor == 1_000
            assert [c.id for c in tx.segments.members("first")] == [customer_id]
            assert tx.customers.profile(customer_id).segments == ("first",)
            assert not tx.gdpr.export(customer_id).is_empty

    def test_a_second_block_sees_the_first(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent:
            with service.using(lent) as tx:
                customer_id = known_customer(tx)
            with service.using(lent) as tx:
                assert tx.customers.get(customer_id).id == customer_id

    def test_reading_as_the_first_statement_harms_nothing(
        self, engine: sa.Engine, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent:
            with service.using(lent) as tx:
                assert len(tx.customers.list()) == 0
            book(lent)
            lent.rollback()
        assert empty(snapshot(engine))

    def test_tenants_are_apart_inside_too(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent, service.using(lent) as tx:
            customer_id = known_customer(tx)
            with pytest.raises(NotFound):
                tx.for_tenant("other").customers.get(customer_id)
            other = tx.for_tenant("other").find_or_create({"email": "ana@mail.com"})
            assert other.id != customer_id


class TestNestedTransactions:
    def test_rolling_back_a_savepoint_of_the_host_undoes_what_is_in_it(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent:
            with service.using(lent) as tx:
                kept = tx.find_or_create({"email": "kept@mail.com"})
                nested = lent.begin_nested()
                lost = tx.find_or_create({"email": "lost@mail.com"})
                nested.rollback()
                with pytest.raises(NotFound):
                    tx.customers.get(lost.id)
                tx.track_activity(kept.id, "visit")
            book(lent)
            lent.commit()
        assert [c.id for c in service.customers.list()] == [kept.id]
        assert service.activities.metrics(kept.id).visits == 1

    def test_a_block_within_a_savepoint_of_the_host(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent:
            with lent.begin_nested(), service.using(lent) as tx:
                kept = tx.find_or_create({"email": "kept@mail.com"})
            nested = lent.begin_nested()
            with service.using(lent) as tx:
                tx.find_or_create({"email": "lost@mail.com"})
            nested.rollback()
            lent.commit()
        assert [c.id for c in service.customers.list()] == [kept.id]

    def test_a_failing_call_within_a_savepoint_of_the_host(
        self, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        with lend() as lent:
            with lent.begin_nested(), service.using(lent) as tx:
                kept = tx.find_or_create({"email": "kept@mail.com"})
                with pytest.raises(InsufficientPoints):
                    tx.loyalty.update_points(kept.id, -1, reason="drink")
            lent.commit()
        assert [c.id for c in service.customers.list()] == [kept.id]


class TestSessions:
    def test_pending_rows_of_the_session_are_written_first(
        self, engine: sa.Engine, service: CRMService
    ) -> None:
        """Each call flushes what the host has added to the session."""
        with Session(engine) as session:
            with service.using(session) as tx:
                booking = Booking(guest="ana")
                session.add(booking)
                tx.find_or_create({"email": "ana@mail.com"})
                assert sa.inspect(booking).persistent
            session.commit()
        assert len(snapshot(engine)["bookings"]) == 1

    def test_a_session_bound_to_a_connection(self, engine: sa.Engine, service: CRMService) -> None:
        """The set-up of many hosts' tests: an outer transaction that is rolled back."""
        with engine.connect() as connection:
            outer = connection.begin()
            # Python's SQLite driver begins at the first write, and not at a savepoint: where
            # that comes first, releasing it commits, with crmkit or without.
            book(connection, 9)
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                with service.using(session) as tx:
                    known_customer(tx)
                session.commit()
            outer.rollback()
        assert empty(snapshot(engine))

    def test_the_sessions_own_block(self, engine: sa.Engine, service: CRMService) -> None:
        with Session(engine) as session, session.begin(), service.using(session) as tx:
            customer_id = known_customer(tx)
        assert service.customers.get(customer_id).id == customer_id


class TestRefused:
    def test_a_connection_that_commits_by_itself(
        self, engine: sa.Engine, service: CRMService, request: pytest.FixtureRequest
    ) -> None:
        """However the host made it so; then its own rows stay without a commit."""
        ways: list[Callable[[], Any]] = [
            lambda: engine.connect().execution_options(isolation_level="AUTOCOMMIT"),
            lambda: Session(engine.execution_options(isolation_level="AUTOCOMMIT")),
        ]
        for number, lend in enumerate(ways):
            with lend() as lent:
                book(lent, number)
            if len(snapshot(engine)["bookings"]) <= number:
                # The recipes for SQLite begin a transaction all the same.
                assert request.node.callspec.params["engine"] in ("sqlite recipe", "sqlite new")
                return
            with lend() as lent:
                refused(service, lent, InvalidInput, "commits by itself")

    @pytest.mark.parametrize("lent", [None, "sqlite:///crm.db", object()])
    def test_what_is_no_session_or_connection(self, service: CRMService, lent: Any) -> None:
        refused(service, lent, InvalidInput, "Session or Connection")

    def test_a_connection_to_another_kind_of_database(
        self, engine: sa.Engine, service: CRMService, postgres_engine: sa.Engine
    ) -> None:
        local = sa.create_engine("sqlite://")
        stranger = postgres_engine if engine.dialect.name == "sqlite" else local
        with stranger.connect() as connection:
            refused(service, connection, InvalidInput, "another kind")
        local.dispose()
