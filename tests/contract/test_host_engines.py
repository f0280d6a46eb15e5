"""On the host's own engine: migrating, and crmkit's own transactions beside the host's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crmkit import CRMService, SchemaOutdated, StorageBusy, StorageError, migrate
from crmkit.adapters.sql.unit import SqlUnitOfWork
from crmkit.testing import together
from tests.hosts import Base, book, known_customer, refused, snapshot


class TestMigrating:
    def test_a_lent_connections_rollback_undoes_the_schema(self, empty_engine: sa.Engine) -> None:
        with empty_engine.connect() as connection:
            connection.execute(sa.text("CREATE TABLE hosts_own (id INTEGER)"))
            migrate(connection)
            assert connection.in_transaction()
            connection.rollback()
        found = sa.inspect(empty_engine).get_table_names()
        # Python's SQLite driver begins no transaction for the host's own CREATE TABLE.
        assert found in ([], ["hosts_own"])

    def test_a_lent_connections_commit_keeps_the_schema(self, empty_engine: sa.Engine) -> None:
        with empty_engine.begin() as connection:
            migrate(connection)
            Base.metadata.create_all(connection)
            book(connection)
        assert snapshot(empty_engine)["bookings"]
        CRMService(empty_engine).find_or_create({"email": "ana@mail.com"})

    def test_the_schema_may_be_made_and_used_in_one_transaction(
        self, empty_engine: sa.Engine
    ) -> None:
        """As in a host's test that makes everything in a transaction and rolls it back."""
        crm = CRMService(empty_engine)
        for _ in range(2):
            with empty_engine.connect() as connection:
                migrate(connection)
                with crm.using(connection) as tx:
                    first = tx.find_or_create({"email": "ana@mail.com"}, key="k")
                    assert tx.find_or_create({"email": "ana@mail.com"}, key="k") == first
                connection.rollback()

    def test_a_rolled_back_schema_leaves_no_key_behind(self, empty_engine: sa.Engine) -> None:
        """Keyed hashes are made with the key of the schema that stayed."""
        crm = CRMService(empty_engine)
        with empty_engine.connect() as connection:
            migrate(connection)
            with crm.using(connection) as tx:
                tx.find_or_create({"email": "ana@mail.com"})
            connection.rollback()
        migrate(empty_engine)
        first = crm.find_or_create({"email": "ana@mail.com"})
        assert CRMService(empty_engine).find_or_create({"email": "ana@mail.com"}).id == first.id

    def test_a_database_without_the_schema_is_refused(self, empty_engine: sa.Engine) -> None:
        with empty_engine.connect() as connection:
            refused(CRMService(empty_engine), connection, SchemaOutdated, "no crmkit schema")


class TestOwnTransactionsOnTheHostsEngine:
    def test_sixteen_threads_write_without_waiting_in_vain(self, service: CRMService) -> None:
        """The host's SQLite engine has none of crmkit's settings; nothing is locked out."""

        def each(number: int) -> None:
            for n in range(10):
                customer = service.find_or_create({"email": f"guest{n}@mail.com"})
                service.track_activity(customer.id, "visit", key=f"{number} {n}")
                service.activities.timeline(customer.id)

        together(16, each)
        customers = service.customers.list()
        assert len(customers) == 10
        assert {service.activities.metrics(c.id).visits for c in customers} == {16}

    def test_threads_that_lend_and_threads_that_do_not(
        self, engine: sa.Engine, service: CRMService
    ) -> None:
        """Writers of both ways take turns."""

        def each(number: int) -> None:
            for n in range(10):
                if number % 2:
                    service.find_or_create({"email": f"guest{n}@mail.com"})
                    continue
                with engine.begin() as connection, service.using(connection) as tx:
                    tx.find_or_create({"email": f"guest{n}@mail.com"})
                    book(connection, number * 100 + n)

        together(8, each)
        assert len(service.customers.list()) == 10
        assert len(snapshot(engine)["bookings"]) == 40

    def test_the_engine_is_left_open(self, engine: sa.Engine, service: CRMService) -> None:
        """Closing the service closes nothing of the host's."""
        service.find_or_create({"email": "ana@mail.com"})
        service.close()
        with engine.connect() as connection:
            book(connection)

    def test_connections_go_back_as_they_came(self, engine: sa.Engine, service: CRMService) -> None:
        """After crmkit's own transactions the host's commit and roll back as before."""
        service.find_or_create({"email": "ana@mail.com"})
        service.customers.list()
        for _ in range(6):
            with engine.connect() as connection:
                book(connection)
        assert snapshot(engine)["bookings"] == []

    def test_one_connection_is_enough(self, engine: sa.Engine) -> None:
        """Not even a key is looked up on a second connection while one is lent."""
        small = sa.create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=1)
        with small.begin() as connection, CRMService(small).using(connection) as tx:
            tx.find_or_create({"email": "ana@mail.com"}, key="k")
            known_customer(tx)
        small.dispose()

    def test_a_pool_without_a_free_connection_is_busy(self, engine: sa.Engine) -> None:
        small = sa.create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
        with small.connect(), pytest.raises(StorageBusy, match="no connection"):
            CRMService(small).find_or_create({"email": "ana@mail.com"})
        small.dispose()

    def test_an_engine_whose_connections_commit_by_themselves(
        self, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Own transactions are transactions there too, and the engine stays as it was."""
        careless = sa.create_engine(engine.url, isolation_level="AUTOCOMMIT")
        crm = CRMService(careless)
        customer_id = known_customer(crm)
        monkeypatch.setattr(SqlUnitOfWork, "gather", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            crm.track_activity(customer_id, "purchase", {"amount": 5})
        monkeypatch.undo()
        assert len(crm.activities.timeline(customer_id)) == 1
        with careless.connect() as connection:
            book(connection)
        assert len(snapshot(engine)["bookings"]) == 1
        careless.dispose()


@pytest.fixture
def shared() -> Iterator[sa.Engine]:
    """One connection to a database in memory: what many hosts' tests run on."""
    engine = sa.create_engine(
        "sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
    )
    migrate(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


class TestOneSharedConnection:
    def test_own_transactions_and_the_hosts_take_turns(self, shared: sa.Engine) -> None:
        crm = CRMService(shared)
        customer_id = known_customer(crm)
        with Session(shared) as session:
            book(session)
            with crm.using(session) as tx:
                tx.track_activity(customer_id, "visit")
            session.rollback()
        assert crm.activities.metrics(customer_id).visits == 0
        assert snapshot(shared)["bookings"] == []

    def test_an_own_transaction_within_the_hosts_is_refused(self, shared: sa.Engine) -> None:
        """It could only commit or undo what is the host's; `using` is the way."""
        crm = CRMService(shared)
        with shared.connect() as connection:
            book(connection)
            with pytest.raises(StorageError, match=r"use crm\.using"):
                crm.find_or_create({"email": "ana@mail.com"})


class TestIsolation:
    """PostgreSQL's levels: who waits for a name must then see what its holder did."""

    @pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE"])
    def test_known_to_be_safe(self, postgres_engine: sa.Engine, level: str) -> None:
        strict = sa.create_engine(postgres_engine.url, isolation_level=level)
        crm = CRMService(strict)
        made = together(8, lambda _: crm.find_or_create({"phone": "+390612345678"}).id)
        assert len(set(made)) == 1
        strict.dispose()

    def test_repeatable_read_is_refused(self, postgres_engine: sa.Engine) -> None:
        """It would see the time before it waited, and make the same customer twice."""
        careless = sa.create_engine(postgres_engine.url, isolation_level="REPEATABLE READ")
        crm = CRMService(careless)
        with pytest.raises(StorageError, match="REPEATABLE READ"):
            crm.find_or_create({"phone": "+390612345678"})
        with (
            careless.connect() as connection,
            crm.using(connection) as tx,
            pytest.raises(StorageError, match="REPEATABLE READ"),
        ):
            tx.find_or_create({"phone": "+390612345678"})
        careless.dispose()
