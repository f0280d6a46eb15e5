"""What it costs to keep who is among the top 10 % exactly with each change of a number.

``python -m benchmarks.ranking [customers] [updates]``, on one SQLite file: the bare change of
the number, what the ranks cost beside it, whole calls, and a full recompute.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

from benchmarks.generated import NOW, customer_id
from crmkit import CRMService, SqlStorage
from crmkit.model import Customer, Metrics
from crmkit.model.rule import Top
from crmkit.ports.storage import RulePushdown, UnitOfWork
from crmkit.rules import f
from crmkit.segmentation import asking, ranks

TOP: Final = Top("total_spend", percent=10_000)


def fill(crm: CRMService, customers: int) -> None:
    """Make so many customers who have spent something."""
    chance = random.Random(3)

    def work(uow: UnitOfWork) -> None:
        ids = [customer_id(n) for n in range(customers)]
        uow.add_many(Customer(tenant=crm.tenant, id=i, created_at=NOW, updated_at=NOW) for i in ids)
        uow.add_many(
            Metrics(
                tenant=crm.tenant,
                customer_id=i,
                orders=1,
                spend_minor=int(chance.paretovariate(1.2) * 5_000) // 10 * 10,
            )
            for i in ids
        )

    crm._runtime.write(work)


def stream(crm: CRMService, customers: int, updates: int) -> tuple[float, float, int, int]:
    """Microseconds of CPU of the bare change and of the ranks; moves, and whom they passed."""
    chance, rt = random.Random(5), crm._runtime

    def work(uow: UnitOfWork) -> tuple[float, float, int, int]:
        bare = kept = moves = turned = 0
        cutoff = ranks.followed(uow, rt, [TOP]).cutoffs[TOP]
        for _ in range(updates):
            who = customer_id(chance.randrange(customers))
            by = chance.randrange(500, 30_000) if chance.random() < 0.95 else -100
            begun = time.process_time_ns()
            metrics = uow.get(Metrics, who, lock=True)
            uow.increase(cast(Metrics, metrics), {"spend_minor": by})
            changed = time.process_time_ns()
            standing = ranks.followed(uow, rt, [TOP], [who])
            for edges in standing.passed.values():
                turned += sum(map(len, ranks.between(uow, TOP, edges)))
            done = time.process_time_ns()
            bare, kept = bare + changed - begun, kept + done - changed
            moves += standing.cutoffs[TOP] != cutoff
            cutoff = standing.cutoffs[TOP]
        pushed = cast(RulePushdown, uow)
        if cutoff != pushed.cutoff(TOP, rt.settings):
            raise AssertionError("the cut-off is not that of a full recompute")
        return bare / updates / 1e3, kept / updates / 1e3, moves, turned

    return rt.write(work)


def recomputed(crm: CRMService) -> tuple[float, int]:
    """Milliseconds of CPU to ask for all members, and how many they are."""
    when = asking.When(crm._runtime.now(), live=True)
    begun = time.process_time()
    with crm._runtime.read() as uow:
        found = len(list(asking.ids(uow, crm._runtime, TOP, when)))
    return (time.process_time() - begun) * 1e3, found


def calls(crm: CRMService, customers: int, number: int) -> float:
    """Microseconds of CPU of a call that records a purchase."""
    chance, told = random.Random(9), list[tuple[str, dict[str, Any]]]()
    for _ in range(number):
        who = customer_id(chance.randrange(customers))
        told.append((who, {"amount": chance.randrange(5, 300)}))
    begun = time.process_time()
    for who, payload in told:
        crm.track_activity(who, "purchase", payload)
    return (time.process_time() - begun) / number * 1e6


def report(folder: Path, customers: int, updates: int) -> Iterator[str]:
    """A line for each figure."""
    storage = SqlStorage.open(f"sqlite:///{folder}/ranking.db?synchronous=OFF")
    ticks = itertools.count()
    crm = CRMService(storage, clock=lambda: NOW + timedelta(milliseconds=next(ticks)))
    fill(crm, customers)
    few = min(updates, 2_000)
    calls(crm, customers, few)
    crm.segments.create("nobody", f.total_spend >= 10**9)
    crm.run_due()
    plain = calls(crm, customers, few)
    crm.segments.create("best", f.total_spend.top_percent(10))
    begun = time.process_time()
    crm.run_due()
    yield f"build for {customers:,} customers: {time.process_time() - begun:.1f} s CPU"
    kept = calls(crm, customers, few)
    yield f"a call: {plain:.0f} µs CPU with a plain segment, {kept:.0f} µs with one that ranks too"
    if not crm.segments.verify("best").exact:
        raise AssertionError("who is kept is not who a full recompute finds")
    bare, ours, moves, turned = stream(crm, customers, updates)
    yield f"the bare change of a number: {bare:.1f} µs CPU; its ranks: {ours:.1f} µs"
    yield f"{updates:,} updates: the cut-off moved {moves:,} times and passed {turned:,} customers"
    milliseconds, found = recomputed(crm)
    yield f"a full recompute of {found:,} members: {milliseconds:.1f} ms CPU"
    storage.close()


def main() -> None:
    """Print the figures."""
    customers = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    updates = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        for line in report(Path(folder), customers, updates):
            print(line, flush=True)


if __name__ == "__main__":
    main()
