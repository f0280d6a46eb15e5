"""Finding duplicates among many customers, and one person among them: quality, time and memory.

    python -m benchmarks.matching PEOPLE.csv[.gz] TRUTH.csv[.gz] DATABASE.db

The records become customers as they are, one each; then all are scanned (the weights are fitted on
the way), and some are looked for one at a time as if they came anew.
"""

from __future__ import annotations

import csv
import gzip
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import quantiles
from typing import Any

from crmkit import CRMService, InvalidInput, Settings
from crmkit.customers import blocking, normalise, records, traits
from crmkit.model import Customer, Identity, MatchToken
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_FIELDS = ("first_name", "last_name", "email", "phone", "birth_date", "city", "instagram")
_CHUNK = 5_000
_LOOKED_FOR = 2_000


def rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table, packed or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def person(row: Mapping[str, str]) -> dict[str, Any]:
    """What a record says of a person."""
    return {field: row[field] for field in _FIELDS} | {
        "country": row["venue_country"],
        "external_ids": {"record": row["record_id"]},
    }


def understood(row: Mapping[str, str], settings: Settings) -> normalise.Given:
    """The record as crmkit takes it, without the fields that it refuses."""
    data = person(row)
    while True:
        try:
            return normalise.given(data, settings)
        except InvalidInput as error:
            del data[(error.field or "").split(".")[0]]


def load(crm: CRMService, people: Iterable[Mapping[str, str]]) -> int:
    """Store the records as customers, with what matching needs, in chunks."""
    rt = crm._runtime
    number, rest = 0, iter(people)
    while chunk := list(islice(rest, _CHUNK)):
        made = [_made(rt, understood(row, rt.settings)) for row in chunk]

        def work(uow: UnitOfWork, made: list[list[object]] = made) -> None:
            for kind in (Customer, Identity, MatchToken):
                uow.add_many([r for of in made for r in of if isinstance(r, kind)])

        rt.write(work)
        number += len(made)
    return number


def _made(rt: Runtime, given: normalise.Given) -> list[object]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    customer = Customer(
        tenant=rt.tenant, id=rt.new_id(), created_at=at, updated_at=at, **given.fields
    )
    tokens = blocking.hashes(rt, blocking.of_traits(traits.of_customer(customer)))
    identities: dict[tuple[str, str], object] = {}
    for identifier in given.identifiers:
        mine = records.identity(rt, identifier, customer.id)
        if mine.slot:  # who a mailbox belongs to does not matter here
            identities[mine.kind, mine.fingerprint] = mine
    stored = [
        MatchToken(tenant=rt.tenant, fingerprint=token, customer_id=customer.id) for token in tokens
    ]
    return [customer, *identities.values(), *stored]


def quality(predicted: list[object], truth: list[str], households: list[str]) -> str:
    """Pairwise precision, recall and F1; and false pairs within a household, of all pairs."""
    both = Counter(zip(predicted, truth, strict=True))
    right, together, belonging = (
        sum(n * (n - 1) // 2 for n in counts.values())
        for counts in (both, Counter(predicted), Counter(truth))
    )
    homes = Counter((p, h) for p, h in zip(predicted, households, strict=True) if h)
    same = Counter(x for x in zip(predicted, households, truth, strict=True) if x[1])
    false = sum(n * (n - 1) // 2 for n in homes.values()) - sum(
        n * (n - 1) // 2 for n in same.values()
    )
    precision, recall = right / together, right / belonging
    f1 = 2 * precision * recall / (precision + recall)
    return (
        f"precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}, "
        f"false pairs within households {false / together:.2%}, "
        f"{len(set(predicted)):,} persons of {len(set(truth)):,}"
    )


def timed(calls: Iterable[Callable[[], object]]) -> str:
    """Milliseconds of calls: the middle, and what 95 and 99 of a hundred stay below."""
    took = []
    for call in calls:
        start = time.perf_counter()
        call()
        took.append((time.perf_counter() - start) * 1000)
    cuts = quantiles(took, n=100)
    return f"p50 {cuts[49]:.2f} ms, p95 {cuts[94]:.2f} ms, p99 {cuts[98]:.2f} ms"


def looked_for(crm: CRMService, people: Path) -> Iterator[str]:
    """One record at a time: its candidates, and the whole resolution."""
    rt = crm._runtime
    some = list(islice(rows(people), 0, None, 53))[:_LOOKED_FOR]
    asked = []
    for row in some:
        given = understood({**row, "record_id": "new"}, rt.settings)
        tokens = blocking.hashes(rt, blocking.of_traits(traits.of_fields(given.fields)))
        asked.append({t: blocking.LIMITS[t[0]] + 1 for t in sorted(tokens)})
    sizes = []

    def candidates(tokens: Mapping[str, int]) -> None:
        with rt.read() as uow:
            found = uow.sharing(tokens)
        sizes.append(len({c for ids in found.values() for c in ids}))

    yield f"look-up of candidates: {timed(lambda t=t: candidates(t) for t in asked)}"  # type: ignore[misc]
    cuts = quantiles(sizes, n=100)
    yield f"candidates: p50 {cuts[49]:.0f}, p99 {cuts[98]:.0f}"
    yield f"resolve, dry run: {timed(lambda r=r: _resolved(crm, r) for r in some)}"  # type: ignore[misc]


def _resolved(crm: CRMService, row: Mapping[str, str]) -> None:
    data = {f: v for f, v in person(row).items() if f != "external_ids"}
    while True:
        try:
            crm.identity.resolve(data, dry_run=True)
        except InvalidInput as error:
            del data[(error.field or "").split(".")[0]]
        else:
            return


def main(people: Path, truth: Path, database: str) -> None:
    """Print every figure."""
    url = database if "://" in database else f"sqlite:///{database}"
    with CRMService(url, settings=Settings(region="IT")) as crm:
        start = time.process_time()
        number = load(crm, rows(people)) if not crm.customers.list(limit=1).items else 0
        print(f"{number:,} customers stored in {time.process_time() - start:.0f} CPU s", flush=True)
        start = time.process_time()
        found = crm.identity.scan()
        took = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"scan, fit included: {took:.1f} CPU s, at most {memory:.0f} MB; {found}", flush=True)
        for line in looked_for(crm, people):
            print(line, flush=True)
        with crm._runtime.read() as uow:
            record = {
                customer: ids["record"]
                for customer, ids in uow.stream_rows(Customer, ("id", "external_ids"), page=2_000)
            }
    known = {r["record_id"]: r for r in rows(truth)}
    cluster: dict[str, object] = {r: r for r in known}
    for number, members in enumerate(found.clusters):
        cluster |= dict.fromkeys((record[m] for m in members), number)
    order = list(known)
    print(
        quality(
            [cluster[r] for r in order],
            [known[r]["cluster_id"] for r in order],
            [known[r]["household_id"] for r in order],
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
