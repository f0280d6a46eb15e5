"""What the audit costs, and what chaining inside the transaction would: ``python -m benchmarks.audit``.

With ``Settings(audit="writes")`` against none of it, in turns on databases of one kind; then eight
threads at once in one tenant, where a chain that is written along has everybody wait for its end.
"""  # noqa: E501 - the command stays in one piece

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs

from benchmarks.harness import compare
from crmkit import CRMService, Settings, migrate
from crmkit.adapters.audited import AuditedStorage, AuditedUnitOfWork
from crmkit.gdpr.auditing import Scribe
from crmkit.gdpr.chaining import sealed, started
from crmkit.model import AuditChain, AuditRow
from crmkit.ports.storage import UnitOfWork
from tests.postgres import database, postgres

TENANT = "bench"
CUSTOMERS = 200
THREADS = 8
CALLS_OF_A_THREAD = 150


class ChainedAlong(AuditedStorage):
    """The naive twin: each transaction chains its own row, and so waits for the one before."""

    def _put_down(self, uow: UnitOfWork, watched: AuditedUnitOfWork) -> None:
        super()._put_down(uow, watched)
        if watched.written:
            scribe = self._scribe
            uow.lock(["audit"])
            now = scribe.clock()
            chain = uow.get(AuditChain, uow.tenant, lock=True)
            rows = uow.find(AuditRow, sequence=0, order=("id",))
            ended, chained = sealed(
                scribe.keys, chain or started(scribe.keys, uow.tenant, now), rows, now
            )
            uow.put_many(chained)
            uow.put(ended)


Make = Callable[[str], CRMService]


def unaudited(url: str) -> CRMService:
    return CRMService(url, tenant=TENANT)


def audited(url: str, level: str = "writes") -> CRMService:
    return CRMService(url, tenant=TENANT, settings=Settings(audit=level))


def chained(url: str) -> CRMService:
    crm = audited(url)
    rt = crm._runtime
    assert isinstance(rt.storage, AuditedStorage)
    along = ChainedAlong(rt.storage.unaudited, Scribe.of(rt), reads=False)
    crm._runtime = attrs.evolve(rt, storage=along)
    return crm


def _guests(crm: CRMService) -> list[str]:
    return [
        crm.find_or_create({"email": f"guest{n}@venue-guests.net", "name": "Guest"}).id
        for n in range(CUSTOMERS)
    ]


def _track(crm: CRMService, run: str) -> Callable[[int], object]:
    guests = _guests(crm)
    return lambda n: crm.track_activity(
        guests[n % CUSTOMERS],
        "booking",
        {"booking_id": f"{run}{n}", "amount": "150.00", "item": "Escape", "venue": "Old Mill"},
        key=f"{run}{n}",
    )


def _create(crm: CRMService, run: str) -> Callable[[int], object]:
    return lambda n: crm.find_or_create(
        {"email": f"{run}{n}@venue-guests.net", "name": "Guest New"}
    )


def _find(crm: CRMService, _: str) -> Callable[[int], object]:
    return lambda n: crm.find_or_create({"email": f"guest{n % CUSTOMERS}@venue-guests.net"})


def _get(crm: CRMService) -> Callable[[int], object]:
    guests = _guests(crm)
    return lambda n: crm.customers.get(guests[n % CUSTOMERS])


def one_by_one(label: str, url: Callable[[], str]) -> Iterator[str]:
    """Ratios of single calls."""
    with ExitStack() as stack:
        plain = stack.enter_context(unaudited(url()))
        others = {"audited": audited(url()), "chained along": chained(url())}
        names = {"track_activity": _track, "find_or_create, new": _create,
                 "find_or_create, there": _find}  # fmt: skip
        for name, make in names.items():
            for how, crm in others.items():
                run = how[0]  # what is new to both
                figure = compare(name, make(crm, run), make(plain, run), rounds=7, calls=100)
                rounds = figure.round_ratios
                yield (
                    f"{label:11} {name:22} {how:14} {figure.ratio:5.2f} of unaudited"
                    f" ({min(rounds):.2f}–{max(rounds):.2f}), {figure.crmkit.per_second:,.0f}/s"
                )
        thorough = audited(url(), "reads")
        figure = compare("customers.get", _get(thorough), _get(plain), rounds=7, calls=100)
        yield (
            f"{label:11} {'customers.get':22} {'reads audited':14} {figure.ratio:5.2f} of"
            f" unaudited, {figure.crmkit.per_second:,.0f}/s"
        )
        for crm in (*others.values(), thorough):
            crm.close()


def _crowd(crm: CRMService, run: int) -> float:
    """Calls a second of several threads that track at once."""
    guests, gate = _guests(crm), threading.Barrier(THREADS + 1)

    def track(number: int) -> None:
        gate.wait()
        for n in range(CALLS_OF_A_THREAD):
            who = guests[(n * THREADS + number) % CUSTOMERS]
            crm.track_activity(who, "visit", key=f"{run}-{number}-{n}")

    threads = [threading.Thread(target=track, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    gate.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return THREADS * CALLS_OF_A_THREAD / (time.perf_counter() - begun)


def at_once(label: str, url: Callable[[], str], rounds: int = 3) -> Iterator[str]:
    """Ratios of eight threads in one tenant, and how quickly what they left is sealed."""
    makes: Sequence[Make] = (unaudited, audited, chained)
    with ExitStack() as stack:
        crms = [stack.enter_context(make(url())) for make in makes]
        speeds: list[list[float]] = [[_crowd(crm, run) for crm in crms] for run in range(rounds)]
        for n, how in ((1, "audited"), (2, "chained along")):
            ratio = statistics.median(row[n] / row[0] for row in speeds)
            speed = statistics.median(row[n] for row in speeds)
            yield f"{label:11} 8 threads track         {how:14} {ratio:5.2f}, {speed:,.0f}/s"
        begun = time.perf_counter()
        rows = crms[1].gdpr.audit.seal()
        took = time.perf_counter() - begun
        yield f"{label:11} sealing {rows:,} rows: {rows / took:,.0f}/s"
        begun = time.perf_counter()
        report = crms[1].gdpr.audit.verify(crms[1].gdpr.audit.export_head())
        assert report.ok
        took = time.perf_counter() - begun
        yield f"{label:11} verifying {report.entries:,} rows: {report.entries / took:,.0f}/s"


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as folder:
        names = iter(range(100))

        def file() -> str:
            return f"sqlite:///{Path(folder)}/{next(names)}.db"

        for line in (*one_by_one("SQLite", file), *at_once("SQLite", file)):
            print(line, flush=True)
    with ExitStack() as stack:
        server = stack.enter_context(postgres(durable=True))

        def base() -> str:
            made: Any = stack.enter_context(database(server))
            migrate(made)
            return str(made)

        for line in (*one_by_one("PostgreSQL", base), *at_once("PostgreSQL", base)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
