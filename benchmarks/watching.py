"""Keeping who comes and goes: what a fact, a due instant and an hour's run cost.

``python -m benchmarks.watching [customers] [activities of each]``, on SQLite, in CPU time.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.generated import NOW, TENANT
from benchmarks.segments import SETTINGS, filled
from crmkit import CRMService
from crmkit.model import Customer
from crmkit.ports.runtime import Runtime
from crmkit.rules import did, f
from crmkit.segmentation.evaluate import compiled
from crmkit.segmentation.needs import needs
from crmkit.segmentation.rules import parse
from crmkit.segmentation.subjects import subjects
from crmkit.testing import FrozenClock

RULES: Final = (
    (f.total_spend >= 100) & (f.last_purchase.within("90d") | (f.events_attended >= 5)),
    f.last_purchase.not_within("60d") & f.last_purchase.within("180d"),
    f.created_at.within("30d"),
    f.last_purchase.not_within("180d") & (f.total_orders >= 1),
    f.last_visit.within("30d") & (f.total_visits >= 3),
    (f.city == "Roma") & f.birth_date.anniversary_within("7d"),
    f.last_visit.not_within("60d") & f.last_visit.within("365d"),
    f.last_purchase.within("7d") | f.last_visit.within("7d"),
    f.first_purchase.within("30d") & (f.total_orders >= 2),
    (f.city == "Milano") & f.last_visit.within("90d"),
    (f.total_orders >= 5) & f.last_purchase.not_within("90d"),
    ~f.last_purchase.within("90d") & ~f.last_visit.within("90d"),
    (f.total_spend >= 500) & f.last_purchase.not_within("30d"),
    f.created_at.within("90d") & ~(f.total_orders >= 1),
    f.last_purchase.within("365d") & (f.total_orders >= 10),
    did("purchase", f.item == "item 1", within="90d").count >= 3,
    did("visit", f.venue == "venue 2", within="60d").count >= 2,
    did("purchase", f.item == "item 5", within="180d").count >= 2,
    did("form_start", within="7d").not_then(did("ticket"), within="1h"),
    did("form_start", within="1d").not_then(did("ticket"), within="1h"),
)
"""Fifteen of metrics and profile, five of what was done."""


def _cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def _tracked(crm: CRMService, clock: FrozenClock, ids: list[str], calls: int) -> float:
    """Seconds of CPU a call, time let run each hour between."""
    chance, spent = random.Random(3), 0.0
    for n in range(calls):
        clock.advance(timedelta(minutes=2))
        if n % 30 == 0:
            crm.run_due()
        kind = chance.choice(["purchase", "visit", "form_start", "ticket"])
        told = {"item": f"item {chance.randrange(9)}", "venue": f"venue {chance.randrange(4)}"}
        payload = {**told, "amount": 25} if kind in ("purchase", "ticket") else told
        who = chance.choice(ids)
        spent += _cpu(lambda: crm.track_activity(who, kind, payload))[0]  # noqa: B023 - called at once
    return spent / calls


def report(folder: Path, customers: int, each: int) -> Iterator[str]:
    """One line for each figure."""
    plain = _opened(filled(folder / "plain.db", customers, each))
    watched = _opened(filled(folder / "watched.db", customers, each))
    for crm, _ in (plain, watched):
        crm.customers.list(limit=1)
    crm, clock = watched
    with crm._runtime.read() as uow:
        sample = uow.find(Customer, order=("id",), limit=2_000)
        yield from _in_memory(uow, crm._runtime, sample)
    ids = [c.id for c in sample]
    for n, rule in enumerate(RULES):
        crm.segments.create(f"segment {n}", rule)
    spent, _ = _cpu(crm.run_due)
    built = spent
    yield f"build of {len(RULES)} segments over {customers:,}: {spent:.1f} s"
    for hours in (1, 1, 24):
        clock.advance(timedelta(hours=hours))
        spent, run = _cpu(crm.run_due)
        each_us = spent / run.done * 1e6 if run.done else 0.0
        yield (
            f"run after {hours} h: {spent * 1e3:.0f} ms, {run.done:,} due, {each_us:.0f} us each;"
            f" the build costs {built / spent:.0f} times as much"
        )
    plain[1].set(clock())
    rounds = [(_tracked(*plain, ids, 300), _tracked(crm, clock, ids, 300)) for _ in range(4)]
    alone, beside = (min(r[n] for r in rounds) * 1e6 for n in (0, 1))
    yield (
        f"a fact beside {len(RULES)} segments: {beside:.0f} us, without {alone:.0f} us:"
        f" {beside - alone:.0f} us for them"
    )


def _opened(path: Path) -> tuple[CRMService, FrozenClock]:
    clock = FrozenClock(NOW)
    crm = CRMService(f"sqlite:///{path}", settings=SETTINGS, clock=clock, tenant=TENANT)
    return crm, clock


def _in_memory(uow: Any, rt: Runtime, sample: list[Customer]) -> Iterator[str]:
    for name, document in (("two comparisons", RULES[4]), ("and, or, within", RULES[0])):
        rule = parse(document, SETTINGS)
        people = subjects(uow, rt, sample, needs(rule), NOW) * 50
        holds = compiled(rule, SETTINGS)
        best = min(_cpu(lambda: sum(1 for s in people if holds(s, NOW)))[0] for _ in range(5))  # noqa: B023
        yield f"in memory, {name}: {len(people) / best / 1e6:.1f} M customers a second"


def main() -> None:
    """Print the report."""
    customers, each = (int(a) for a in (sys.argv[1:] or ["20000", "10"]))
    with tempfile.TemporaryDirectory() as folder:
        for line in report(Path(folder), customers, each):
            print(line, flush=True)


if __name__ == "__main__":
    main()
