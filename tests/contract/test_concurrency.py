"""Many threads at once: nobody is created twice, nothing is counted twice, no error surfaces."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from crmkit import (
    CRMError,
    CRMService,
    Erased,
    InsufficientPoints,
    RetentionPolicy,
    Settings,
)
from crmkit.model import Activity, Customer, Identity, PointsEntry, catalogue
from crmkit.model.catalogue import owned
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock, together
from tests.fixtures import sqlite_url

THREADS = 64
CALLS = 200
PEOPLE = 100

both_databases = pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)


def email(rng: random.Random, person: int) -> str:
    """One of the many ways to type a Gmail address."""
    name = f"guest{person}of{PEOPLE}"
    dotted = "".join(c + ("." if rng.random() < 0.2 else "") for c in name[:-1]) + name[-1]
    cased = "".join(c.upper() if rng.random() < 0.3 else c for c in dotted)
    suffix = rng.choice(["", "+news", "+a.b"])
    return f"{cased}{suffix}@{rng.choice(['gmail.com', 'GMail.com', 'googlemail.com'])}"


def phone(rng: random.Random, person: int) -> str:
    """One of the ways to type a mobile number."""
    last = f"{person:03}"
    return rng.choice(
        [f"347 123 4{last}", f"+39 347 1234{last}", f"0039 347-1234{last}", f"3471234{last}"]
    )


def storm(find_or_create: Callable[[dict[str, Any]], object], calls: int = CALLS) -> None:
    """The same people from all threads at once, each time typed in another way."""

    def each(number: int) -> None:
        rng = random.Random(number)
        for call in range(calls):
            find_or_create({"email": email(rng, call % PEOPLE), "name": "Ana"})

    together(THREADS, each)


@both_databases
def test_64_threads_find_or_create_each_person_once(crm: CRMService, storage: Storage) -> None:
    storm(crm.find_or_create)
    with storage.read(crm.tenant) as uow:
        assert uow.count(Customer) == PEOPLE
        assert uow.count(Identity, kind="email") == PEOPLE


_CALL = """
import sys
from crmkit import CRMService
crm = CRMService(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for n in range(200):
    customer = crm.find_or_create({"email": f"guest{n % 20}@mail.com"})
    crm.track_activity(customer.id, "visit", key=f"{n}")
"""


@both_databases
def test_processes_take_turns_as_threads_do(
    crm: CRMService, storage: Storage, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Four processes find or create the same people, and track the same keys."""
    local = request.node.callspec.params["storage"] == "sqlite"
    url = sqlite_url(tmp_path) if local else request.getfixturevalue("crm_database")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CALL, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    ended = together(4, lambda n: processes[n].communicate("go\n", timeout=60))
    assert [errors for _, errors in ended] == [""] * 4
    customers = crm.customers.list()
    assert len(customers) == 20
    assert {crm.activities.metrics(c.id).visits for c in customers} == {10}
    with storage.read(crm.tenant) as uow:
        assert uow.count(Activity) == 200


@pytest.fixture(params=["sqlite", "postgresql"])
def host_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An engine with a host's own table of people."""
    if request.param == "sqlite":
        engine = sa.create_engine(
            f"sqlite:///{tmp_path}/host.db",
            connect_args={"timeout": 60, "isolation_level": None},
        )
    else:
        engine = sa.create_engine(request.getfixturevalue("crm_database"))
    with engine.begin() as connection:
        if request.param == "sqlite":
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
        connection.exec_driver_sql("CREATE TABLE people (email TEXT)")
    yield engine
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE people")
    engine.dispose()


def test_the_naive_way_fails_the_same_test(host_engine: sa.Engine) -> None:
    """Look, and insert if nobody is there: what hosts write before they have crmkit."""
    find = sa.text("SELECT 1 FROM people WHERE email = :email")
    insert = sa.text("INSERT INTO people (email) VALUES (:email)")

    def naive(data: dict[str, Any]) -> None:
        local = data["email"].lower().split("@")[0].split("+")[0]
        canonical = {"email": local.replace(".", "")}
        with host_engine.begin() as connection:
            if connection.execute(find, canonical).first() is None:
                time.sleep(0.001)  # a host does this and that in between
                connection.execute(insert, canonical)

    storm(naive, calls=PEOPLE)
    with host_engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM people").scalar_one() > PEOPLE


@both_databases
def test_email_and_phone_in_mixed_presence_make_each_person_once(
    crm: CRMService, storage: Storage
) -> None:
    """Some know the e-mail, some both, and later some the phone only."""

    def known(number: int) -> None:
        rng = random.Random(number)
        for call in range(CALLS // 2):
            person = call % PEOPLE
            given = {"email": email(rng, person), "city": "Roma" if rng.random() < 0.5 else ""}
            # The first thread makes sure that every phone is linked in the end.
            if number == 0 or rng.random() < 0.5:
                given["phone"] = phone(rng, person)
            crm.find_or_create(given)

    def by_phone(number: int) -> None:
        rng = random.Random(number)
        for person in rng.sample(range(PEOPLE), 50):
            found = crm.identity.resolve({"phone": phone(rng, person)})
            assert not found.created

    together(THREADS, known)
    together(THREADS, by_phone)
    with storage.read(crm.tenant) as uow:
        assert uow.count(Customer) == PEOPLE
        assert uow.count(Identity, kind="phone") == PEOPLE


@both_databases
def test_identifiers_that_cross_over_do_not_deadlock(crm: CRMService, storage: Storage) -> None:
    """Each call takes two of a family's identifiers, in whatever order; it locks them in one."""

    def each(number: int) -> None:
        rng = random.Random(number)
        for _ in range(20):
            one, two = rng.sample(range(5), 2)
            crm.find_or_create({"email": email(rng, one), "phone": phone(rng, two)})

    together(THREADS, each)
    with storage.read(crm.tenant) as uow:
        assert 1 <= uow.count(Customer) <= 5
        assert uow.count(Identity, kind="email") == 5


@both_databases
def test_64_threads_track_each_key_once(crm: CRMService, storage: Storage) -> None:
    customer = crm.find_or_create({"email": "ana@mail.com"})
    seen: list[set[str]] = [set() for _ in range(50)]

    def each(number: int) -> None:
        for order in random.Random(number).sample(range(50), 50):
            payload = {"order_id": f"o{order}", "amount": 10}
            fact = crm.track_activity(customer.id, "purchase", payload, key=f"k{order}")
            seen[order].add(fact.id)

    together(THREADS, each)
    assert [len(ids) for ids in seen] == [1] * 50
    metrics = crm.activities.metrics(customer.id)
    assert (metrics.activities, metrics.orders, metrics.spend_minor) == (50, 50, 50_000)
    with storage.read(crm.tenant) as uow:
        assert uow.count(Activity) == 50
    assert crm.activities.rebuild() == 0


@both_databases
def test_points_are_taken_as_often_as_there_are_points(crm: CRMService, storage: Storage) -> None:
    customer = crm.find_or_create({"email": "ana@mail.com"})
    crm.loyalty.update_points(customer.id, 100, reason="gift")
    outcomes: Counter[bool] = Counter()

    def each(_: int) -> None:
        for _ in range(10):
            try:
                crm.loyalty.update_points(customer.id, -1, reason="drink")
                outcomes[True] += 1
            except InsufficientPoints:
                outcomes[False] += 1

    together(THREADS, each)
    assert outcomes == {True: 100, False: THREADS * 10 - 100}
    assert crm.loyalty.account(customer.id).balance == 0
    with storage.read(crm.tenant) as uow:
        assert sum(e.points for e in uow.find(PointsEntry)) == 0


def _calls(crm: CRMService, customer_id: str, n: int) -> list[Callable[[], object]]:
    """Everything that writes about a customer."""
    return [
        lambda: crm.track_activity(customer_id, "purchase", {"amount": 5}),
        lambda: crm.track_activity(customer_id, "booking", {"booking_id": "b", "city": "CANARY"}),
        lambda: crm.track_activity(customer_id, "visit", key=f"CANARY {n}"),
        lambda: crm.customers.add_note(customer_id, "CANARY", author="CANARY"),
        lambda: crm.customers.update(customer_id, {"city": f"CANARY {n}"}),
        lambda: crm.customers.tag(customer_id, f"CANARY {n}"),
        lambda: crm.add_to_segment(customer_id, f"segment {n}"),
        lambda: crm.loyalty.update_points(customer_id, 1, reason="CANARY", key=f"{n}"),
        lambda: crm.gdpr.consents.give(customer_id, "email", source="CANARY"),
        lambda: crm.activities.rebuild(customer_id),
    ]


@both_databases
def test_nothing_of_a_person_is_written_while_they_are_erased(
    crm: CRMService, storage: Storage, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Whoever comes too late hears `Erased`; whoever came in time is erased with the rest."""
    customers = [crm.find_or_create({"email": f"canary{n}@mail.com"}).id for n in range(10)]
    errors: list[CRMError] = []

    def each(number: int) -> None:
        for n, customer_id in enumerate(customers):
            if number == 0:
                time.sleep(0.02)
                crm.gdpr.erase(customer_id)
                continue
            calls = _calls(crm, customer_id, n)
            random.Random(number).shuffle(calls)
            for call in calls * 2:
                try:
                    call()
                except CRMError as error:
                    errors.append(error)

    together(9, each)
    assert {type(e) for e in errors} == {Erased}
    with storage.read(crm.tenant) as uow:
        for entry in owned():
            theirs = {entry.owner or "": tuple(customers)}
            assert uow.count(entry.record, **theirs) == 0, entry.table
    assert b"canary" not in _dump(request, tmp_path).lower()


def _dump(request: pytest.FixtureRequest, folder: Path) -> bytes:
    """All that the tables hold, as text."""
    if request.node.callspec.params["storage"] == "sqlite":
        engine = sa.create_engine(f"sqlite:///{folder}/crm.db")
    else:
        engine = sa.create_engine(request.getfixturevalue("crm_database"))
    with engine.connect() as connection:
        rows = [
            connection.exec_driver_sql(f"SELECT * FROM {entry.table}").all()
            for entry in catalogue()
        ]
    engine.dispose()
    return repr(rows).encode()


def test_the_naive_erasure_loses_the_same_race(host_engine: sa.Engine) -> None:
    """Look whether the person is there, and write about them: rows of the erased are left."""
    with host_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE events (email TEXT)")
        connection.exec_driver_sql("INSERT INTO people VALUES ('ana')")

    looked, erased = threading.Barrier(9), threading.Barrier(9)

    def each(number: int) -> None:
        with host_engine.begin() as connection:
            there = connection.exec_driver_sql("SELECT 1 FROM people").first()
        looked.wait()
        if number == 0:
            with host_engine.begin() as connection:
                connection.exec_driver_sql("DELETE FROM events")
                connection.exec_driver_sql("DELETE FROM people")
        erased.wait()
        if number and there:
            with host_engine.begin() as connection:
                connection.exec_driver_sql("INSERT INTO events VALUES ('ana')")

    together(9, each)
    with host_engine.begin() as connection:
        left = connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
        connection.exec_driver_sql("DROP TABLE events")
    assert left == 8


@both_databases
def test_creating_while_erasing_leaves_either_the_old_or_the_new(crm: CRMService) -> None:
    """Found before the erasure, or created after it: never half of both."""
    given = {"email": "ana@mail.com", "phone": "+39 347 1234567"}
    found: list[str] = []

    def each(number: int) -> None:
        for _ in range(40):
            if number:
                found.append(crm.find_or_create(given | {"city": f"c{number}"}).id)
            else:
                with suppress(IndexError):
                    crm.gdpr.erase(found[-1])

    together(8, each)
    last = crm.find_or_create(given)
    assert [c.id for c in crm.customers.list()] == [last.id]
    assert crm.activities.metrics(last.id).activities == 0


@both_databases
def test_a_segment_is_made_once(crm: CRMService) -> None:
    """Adding by hand makes the segment; many at once make one."""
    customers = [crm.find_or_create({"email": f"c{n}@mail.com"}).id for n in range(16)]

    def each(number: int) -> None:
        for n in range(10):
            crm.add_to_segment(customers[number], f"segment {n}")

    together(len(customers), each)
    assert len(crm.segments.list()) == 10
    assert crm.segments.count("segment 3") == len(customers)


@pytest.mark.parametrize("storage", ["memory", "sqlite", "postgresql"], indirect=True)
def test_many_threads_move_the_clock(crm: CRMService, clock: FrozenClock) -> None:
    """The test's clock may be shared by threads, as a service is."""
    together(8, lambda _: [clock.advance(seconds=1) for _ in range(100)])
    assert crm.run_due().at == FrozenClock().advance(seconds=800)


@both_databases
def test_numbers_hold_while_the_timeline_is_anonymised(storage: Storage) -> None:
    """Eight threads track, share bills and refund while policies are carried out."""
    clock = FrozenClock("2024-01-01T00:00:00Z")
    policy = RetentionPolicy(name="timeline", after="1d")
    crm = CRMService(storage, clock=clock, settings=Settings(retention=[policy]))
    guests = [crm.find_or_create({"email": f"c{n}@mail.com"}).id for n in range(4)]

    def each(number: int) -> None:
        rng = random.Random(number)
        for n in range(15):
            if number == 0:
                crm.gdpr.retention.run()
                continue
            payer, friend = rng.sample(guests, 2)
            bill: dict[str, Any] = {"order_id": f"o{rng.randrange(5)}", "amount": rng.randrange(99)}
            if rng.random() < 0.5:
                bill["participants"] = [{"customer_id": friend}]
            kind = rng.choice(["purchase", "purchase", "refund"])
            said = bill if kind == "purchase" else {"order_id": bill["order_id"]}
            with suppress(Erased):  # the story was anonymised
                crm.track_activity(payer, kind, said, at=clock() - timedelta(days=n % 3))

    together(9, each)
    crm.gdpr.retention.run()
    assert crm.activities.verify() == ()
    with storage.read(crm.tenant) as uow:
        assert uow.count(Activity, customer_id=None) > 0
