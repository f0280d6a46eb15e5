"""Many at once: items by the thousand in one call, and many threads on the same few keys."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter as Counts
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings

from crmkit import CRMService, Erased, IdempotencyConflict, InvalidInput, NotFound
from crmkit.activities.bulk import CHUNK, REFUSALS_SHOWN, Tracked
from crmkit.model import Activity, Consent, Customer, Identity, PointsEntry, Tag
from crmkit.ports.storage import Storage
from crmkit.testing import together
from tests.fixtures import sqlite_url
from tests.hosts import empty, snapshot
from tests.populate import values

DEEP = settings().max_examples > 1_000
START = datetime(2026, 1, 1, 20, tzinfo=UTC)

both_databases = pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)

Item = dict[str, Any]


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def visits(customer_id: str, count: int) -> Iterator[Item]:
    for n in range(count):
        yield {"customer_id": customer_id, "kind": "visit", "at": at(n), "key": f"visit {n}"}


class TestItems:
    def test_one_call_leaves_what_single_calls_leave(self, crm: CRMService) -> None:
        """People typed in many ways: the same customers, identities, tags, consents and facts."""
        single = crm.for_tenant("single")
        items = list(_guests(random.Random(5), 60))
        for item in items:
            customer = single.find_or_create(item["customer"], at=item["at"])
            asked = {name: value for name, value in item.items() if name != "customer"}
            single.activities.track(customer.id, **asked)
        done = crm.activities.track_many(items)
        assert (done.recorded, done.repeated, done.refused) == (60, 0, 0)
        assert _people(crm) == _people(single)
        assert len(_people(crm)) < 60

    def test_the_last_word_on_consent_stands(self, crm: CRMService) -> None:
        """No, yes, and no again, about one person in one chunk: no."""
        said = (False, True, False)
        items = [
            {
                "customer": {
                    "email": "ana@mail.com",
                    "consent": {"marketing_email": given, "source": "form"},
                },
                "kind": "visit",
                "at": at(n),
            }
            for n, given in enumerate(said)
        ]
        assert crm.activities.track_many(items).recorded == 3
        ana = crm.find_or_create({"email": "ana@mail.com"})
        assert [c.granted for c in crm.gdpr.consents.history(ana.id)] == [False, True, False]
        assert not crm.gdpr.consents.state(ana.id).given("marketing", "email")

    def test_a_bad_item_is_refused_and_named(self, crm: CRMService) -> None:
        """By its position; whatever is wrong with it, all others are recorded."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        gone = crm.find_or_create({"email": "gone@mail.com"})
        crm.gdpr.erase(gone.id)
        crm.activities.track(ana.id, "visit", at=START, key="taken")
        good = {"customer_id": ana.id, "kind": "visit"}
        bad: list[tuple[Any, type[Exception], str | None]] = [
            (good | {"customer_id": "nobody"}, NotFound, None),
            ("a visit", InvalidInput, None),
            ({"kind": "visit"}, InvalidInput, "customer_id"),
            (good | {"customer": {"email": "ana@mail.com"}}, InvalidInput, "customer_id"),
            (good | {"kidn": "visit"}, InvalidInput, None),
            (good | {"kind": "vsiit"}, InvalidInput, "kind"),
            (good | {"kind": "void"}, InvalidInput, "kind"),
            (good | {"kind": "purchase"}, InvalidInput, "payload.amount"),
            (good | {"payload": {"party_size": 0}}, InvalidInput, "payload.party_size"),
            (good | {"at": "yesterday"}, InvalidInput, "at"),
            (good | {"key": ""}, InvalidInput, "key"),
            ({"kind": "visit", "customer": {}}, InvalidInput, "customer"),
            ({"kind": "visit", "customer": {"email": "broken"}}, InvalidInput, "email"),
            (good | {"customer_id": gone.id}, Erased, None),
            (good | {"kind": "check_in", "at": START, "key": "taken"}, IdempotencyConflict, None),
        ]
        items = [each for item, _, _ in bad for each in (good, item)]
        done = crm.activities.track_many(items)
        assert (done.recorded, done.refused, done.total) == (len(bad), len(bad), 2 * len(bad))
        found = [
            (r.position, type(r.error), getattr(r.error, "field", None)) for r in done.refusals
        ]
        assert found == [(2 * n + 1, error, field) for n, (_, error, field) in enumerate(bad)]
        assert crm.activities.metrics(ana.id).visits == 1 + len(bad)
        assert crm.activities.verify() == ()

    def test_a_refused_item_creates_nobody(self, crm: CRMService) -> None:
        """The customer of an item is kept only with its activity."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        crm.activities.track(ana.id, "visit", at=START, key="k")
        stranger = {"email": "stranger@mail.com"}
        item = {"customer": stranger, "kind": "check_in", "at": START, "key": "k"}
        done = crm.activities.track_many([item])
        assert done.refused == 1
        assert crm.identity.resolve(stranger, dry_run=True).created

    def test_only_the_first_thousand_refusals_are_named(self, crm: CRMService) -> None:
        done = crm.activities.track_many({"kind": "?"} for _ in range(REFUSALS_SHOWN + CHUNK // 2))
        assert done.refused == REFUSALS_SHOWN + CHUNK // 2
        assert [r.position for r in done.refusals] == list(range(REFUSALS_SHOWN))

    def test_a_key_that_comes_twice_counts_once(self, crm: CRMService) -> None:
        """In one chunk or in two; with other content it is refused the second time."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        item = {"customer_id": ana.id, "kind": "purchase", "at": START, "key": "k"}
        ten, twelve = item | {"payload": {"amount": 10}}, item | {"payload": {"amount": 12}}
        done = crm.activities.track_many([ten, ten, twelve, ten])
        assert (done.recorded, done.repeated) == (1, 2)
        [refusal] = done.refusals
        assert (refusal.position, type(refusal.error)) == (2, IdempotencyConflict)
        again = crm.activities.track_many([*visits(ana.id, CHUNK), ten])
        assert (again.recorded, again.repeated) == (CHUNK, 1)
        assert crm.activities.metrics(ana.id).spend_minor == 1_000

    def test_a_chunk_may_empty_a_counter_and_fill_it_again(self, crm: CRMService) -> None:
        """Of a table whose only booking is cancelled and booked again, the old price goes."""
        ana = crm.find_or_create({"email": "ana@mail.com"})

        def booked(number: int, item: str, minutes: int, amount: int) -> Item:
            payload = {"booking_id": number, "item": item, "amount": amount}
            return {
                "customer_id": ana.id, "kind": "booking", "payload": payload, "at": at(minutes),
            }  # fmt: skip

        others = [booked(0, "terrace", 0, 1), booked(9, "terrace", 90, 1)]
        crm.activities.track_many([*others, booked(1, "window", 10, 100)])
        cancelled = {"customer_id": ana.id, "kind": "cancellation", "at": at(20)}
        chunk = [cancelled | {"payload": {"booking_id": 1}}, booked(2, "window", 30, 50)]
        crm.activities.track_many(chunk)
        assert crm.activities.verify() == ()

    def test_a_key_of_another_customer_is_refused(self, crm: CRMService) -> None:
        """As in `track`: the second guest's purchase must not be lost in silence."""
        one, other = (crm.find_or_create({"user_id": n}).id for n in (1, 2))
        items = [{"customer_id": c, "kind": "visit", "at": START, "key": "k"} for c in (one, other)]
        for done in (crm.activities.track_many(items), crm.activities.track_many(items[1:])):
            assert [type(r.error) for r in done.refusals] == [IdempotencyConflict]
        with pytest.raises(IdempotencyConflict):
            crm.activities.track(other, "visit", at=START, key="k")

    def test_track_and_track_many_share_their_keys(self, crm: CRMService) -> None:
        """What one has recorded the other repeats."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        first, second = visits(ana.id, 2)
        crm.activities.track(**first)
        assert crm.activities.track_many([first, second]) == Tracked(recorded=1, repeated=1)
        crm.activities.track(**second)
        assert crm.activities.metrics(ana.id).visits == 2


def _guests(rng: random.Random, count: int) -> Iterator[Item]:
    """Bookings of a few people, each typed in one of many ways, some with news of them."""
    for n in range(count):
        person = rng.randrange(8)
        name = f"guest{person}"
        known: list[Item] = [
            {"email": rng.choice([f"{name}@mail.com", f" {name}@MAIL.com"])},
            {"phone": rng.choice([f"+39 347 123456{person}", f"347 123456{person}"])},
            {"email": f"{name}@mail.com", "phone": f"+39347123456{person}", "city": f"Roma {n}"},
            {"user_id": person, "email": f"{name}@mail.com", "name": name.title()},
            {"phone": f"+39347123456{person}", "birth_date": f"199{n % 2}-01-01"},
        ]
        data = rng.choice(known)
        if rng.random() < 0.3:
            data = data | {"tags": [rng.choice(["vip", "quiet"])]}
        if rng.random() < 0.3:
            data = data | {"consent": {"marketing_email": rng.random() < 0.7, "source": "form"}}
        booking = {"booking_id": n, "amount": n, "item": rng.choice("AB"), "line": n}
        yield {
            "customer": data, "kind": "booking", "payload": booking, "at": at(n), "key": f"b{n}",
        }  # fmt: skip


def _people(crm: CRMService) -> list[dict[str, Any]]:
    """Everybody, with all that is known of them, without the ids that name them."""
    everybody = []
    with crm._runtime.read() as uow:
        for customer in uow.find(Customer):
            theirs: Any = {"customer_id": customer.id}
            everybody.append(
                _nameless(customer)
                | {kind.__name__: sorted(map(repr, map(_nameless, uow.find(kind, **theirs))))
                   for kind in (Activity, Identity, Tag, Consent)}
                | {"metrics": _nameless(crm.activities.metrics(customer.id))}
            )  # fmt: skip
    return sorted(everybody, key=lambda c: c["Activity"])


_NAMES = {"tenant", "id", "customer_id", "story", "fingerprint", "slot"}


def _nameless(record: Any) -> dict[str, Any]:
    return {name: value for name, value in values(record).items() if name not in _NAMES}


class TestAnEndlessSource:
    def test_it_is_read_a_chunk_at_a_time(self, crm: CRMService) -> None:
        """Nothing is read before what came before is recorded and told."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        taken, heard = Counts[str](), list[tuple[int, int, int]]()

        def source() -> Iterator[Item]:
            for item in visits(ana.id, 2 * CHUNK + 1):
                taken["items"] += 1
                yield item

        def progress(done: Tracked) -> None:
            heard.append((done.total, taken["items"], crm.activities.metrics(ana.id).visits))

        crm.activities.track_many(source(), progress=progress)
        assert heard == [(n, n, n) for n in (CHUNK, 2 * CHUNK, 2 * CHUNK + 1)]

    def test_a_source_that_breaks_leaves_whole_chunks(self, crm: CRMService) -> None:
        """The host's error comes through; what was told of before is recorded."""
        ana = crm.find_or_create({"email": "ana@mail.com"})

        def source() -> Iterator[Item]:
            yield from visits(ana.id, CHUNK + 7)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            crm.activities.track_many(source())
        assert crm.activities.metrics(ana.id).visits == CHUNK

    def test_memory_does_not_grow_with_it(self, tmp_path: Path) -> None:
        """Three times as many items: less than 100 bytes for each more; one that stays has 500."""
        few = 20_000 if DEEP else 2_000
        peaks: dict[int, int] = {}

        def progress(done: Tracked) -> None:
            if done.total in (CHUNK, few, 3 * few):
                peaks[done.total] = tracemalloc.get_traced_memory()[1]
                tracemalloc.reset_peak()

        with CRMService(sqlite_url(tmp_path)) as crm:
            ana = crm.find_or_create({"email": "ana@mail.com"})
            tracemalloc.start()
            try:
                crm.activities.track_many(visits(ana.id, 3 * few), progress=progress)
            finally:
                tracemalloc.stop()
        assert peaks[3 * few] - peaks[few] < 100 * 2 * few


class TestThreads:
    @both_databases
    def test_two_imports_of_the_same_people_meet(self, crm: CRMService, storage: Storage) -> None:
        """Two halves of one list, the people in both and in another order: sums are exact."""
        people = [{"email": f"g{n}@mail.com", "phone": f"+39347123{n:04}"} for n in range(40)]
        halves: list[list[Item]] = []
        for half in (0, 1):
            rng, orders = random.Random(half), range(half, 3_000, 2)
            halves.append(
                [
                    {
                        "customer": {k: p[k] for k in rng.sample(sorted(p), rng.randint(1, 2))},
                        "kind": "purchase",
                        "payload": {"order_id": n, "amount": "1.01", "item": f"i{n % 7}"},
                        "key": f"order {n}",
                    }
                    for n in orders
                    for p in [rng.choice(people)]
                ]
            )
        for person in people:  # so that e-mail and phone are known to belong together
            crm.find_or_create(person)
        done = together(2, lambda n: crm.activities.track_many(halves[n]))
        assert [(d.recorded, d.refused) for d in done] == [(1_500, 0)] * 2
        with storage.read(crm.tenant) as uow:
            everybody = uow.find(Customer)
        assert len(everybody) == len(people)
        metrics = [crm.activities.metrics(c.id) for c in everybody]
        assert sum(m.orders for m in metrics) == 3_000
        assert sum(m.spend_minor for m in metrics) == 3_000 * 101
        assert crm.activities.verify() == ()

    @both_databases
    def test_two_imports_of_strangers_create_each_once(
        self, crm: CRMService, storage: Storage
    ) -> None:
        """Nobody was known before, and both lists name everybody."""

        def each(number: int) -> Tracked:
            people = random.Random(number).sample(range(300), 300)
            return crm.activities.track_many(
                {"customer": {"email": f"g{n}@mail.com"}, "kind": "visit", "key": f"{number} {n}"}
                for n in people
            )

        assert [d.recorded for d in together(4, each)] == [300] * 4
        with storage.read(crm.tenant) as uow:
            everybody = uow.find(Customer)
        assert len(everybody) == 300
        assert {crm.activities.metrics(c.id).visits for c in everybody} == {4}
        assert crm.activities.verify() == ()

    @both_databases
    def test_the_same_import_twice_at_once_counts_once(
        self, crm: CRMService, storage: Storage
    ) -> None:
        """Whoever is second repeats what the first recorded."""
        items = list(_guests(random.Random(1), 2 * CHUNK))
        done = together(3, lambda _: crm.activities.track_many(items))
        assert [d.refused for d in done] == [0, 0, 0]
        assert sum(d.recorded for d in done) == 2 * CHUNK
        with storage.read(crm.tenant) as uow:
            assert uow.count(Activity) == 2 * CHUNK
        assert crm.activities.verify() == ()

    @both_databases
    def test_64_threads_refund_each_key_once(self, crm: CRMService, storage: Storage) -> None:
        """50 keys, 50 refunds of a hundredth each: half of the price is left."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        paid = crm.track_activity(ana.id, "purchase", {"amount": 100})
        seen: list[set[str]] = [set() for _ in range(50)]

        def each(number: int) -> None:
            for n in random.Random(number).sample(range(50), 50):
                fact = crm.activities.refund(paid.id, amount=1, key=f"refund {n}")
                seen[n].add(fact.id)

        together(64, each)
        assert [len(ids) for ids in seen] == [1] * 50
        metrics = crm.activities.metrics(ana.id)
        assert (metrics.refunds, metrics.spend_minor) == (50, 5_000)
        with storage.read(crm.tenant) as uow:
            assert uow.count(Activity, kind="refund") == 50
        assert crm.activities.verify() == ()

    @both_databases
    def test_never_more_goes_back_than_was_paid(self, crm: CRMService, storage: Storage) -> None:
        """64 threads each want a third of it back: three get it, and points follow to the end."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        booking = {"booking_id": "b", "amount": 99, "status": "completed"}
        paid = crm.track_activity(ana.id, "booking", booking)
        outcomes = Counts[str]()

        def each(_: int) -> None:
            try:
                crm.activities.refund(paid.id, amount=33)
                outcomes["refunded"] += 1
            except InvalidInput:
                outcomes["nothing left"] += 1

        together(64, each)
        assert outcomes == {"refunded": 3, "nothing left": 61}
        assert crm.activities.metrics(ana.id).spend_minor == 0
        with storage.read(crm.tenant) as uow:
            refunds = uow.find(Activity, kind="refund")
            assert sum(r.amount_minor or 0 for r in refunds) == 9_900
            assert sum(e.points for e in uow.find(PointsEntry)) == 0
        assert crm.loyalty.account(ana.id).balance == 0

    @both_databases
    def test_an_activity_is_voided_once(self, crm: CRMService, storage: Storage) -> None:
        """Of 16 threads one records the void, the others hear that it was voided before."""
        ana = crm.find_or_create({"email": "ana@mail.com"})
        fact = crm.track_activity(ana.id, "purchase", {"amount": 5})
        errors: list[InvalidInput] = []

        def each(_: int) -> None:
            try:
                crm.activities.void(fact.id)
            except InvalidInput as error:
                errors.append(error)

        together(16, each)
        assert len(errors) == 15
        with storage.read(crm.tenant) as uow:
            assert uow.count(Activity, kind="void") == 1


class TestInTheHostsTransaction:
    def items(self) -> list[Item]:
        wrong = {"customer_id": "nobody", "kind": "visit"}  # one that is undone on the way
        return [*_guests(random.Random(2), CHUNK + 20), wrong]

    def test_nothing_remains_of_many_if_the_host_rolls_back(
        self, engine: sa.Engine, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        """Customers, facts, points and keys go; the same import can be run again."""
        with lend() as lent:
            with service.using(lent) as tx:
                assert tx.activities.track_many(self.items()).recorded == CHUNK + 20
            lent.rollback()
        assert empty(snapshot(engine))
        with lend() as lent:
            with service.using(lent) as tx:
                done = tx.activities.track_many(self.items())
            lent.commit()
        assert (done.recorded, done.repeated, done.refused) == (CHUNK + 20, 0, 1)
        assert service.activities.verify() == ()

    def test_a_correction_goes_with_the_host(
        self, engine: sa.Engine, service: CRMService, lend: Callable[[], Any]
    ) -> None:
        """Rolled back, the activity stands as it was, and may be corrected again."""
        ana = service.find_or_create({"email": "ana@mail.com"})
        fact = service.track_activity(ana.id, "purchase", {"amount": 50})
        before = snapshot(engine)
        with lend() as lent:
            with service.using(lent) as tx:
                tx.activities.refund(fact.id, amount=20, key="r")
                tx.activities.amend(fact.id, {"amount": 40}, key="a")
                tx.activities.void(fact.id, key="v")
            lent.rollback()
        assert snapshot(engine) == before
        service.activities.refund(fact.id, amount=50, key="r")
        assert service.activities.metrics(ana.id).spend_minor == 0
