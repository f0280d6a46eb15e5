"""What a key ring costs: the same work with one and without, in turns.

``python -m benchmarks.encryption [rounds]``. Customers have a name, two contacts, a city and a
birth date; all are new, then all are read, and some looked up by the mailbox. In the end keys are
rotated.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from benchmarks.harness import Comparison, compare
from crmkit import CRMService, KeyRing, Settings, migrate
from crmkit.model import Customer
from tests.postgres import database, postgres

CALLS = 200
OLD, NEW = b"o" * 32, b"n" * 32
SETTINGS = Settings(region="RO")


def profile(n: int) -> dict[str, Any]:
    """A person of that number, whom hardly anybody resembles."""
    chance = random.Random(n)
    first, last = ("".join(chance.choices(ascii_lowercase, k=8)).title() for _ in range(2))
    return {
        "name": f"{first} {last}",
        "email": f"guest{n}@example.org",
        "phone": f"+407{chance.randrange(20_000_000, 80_000_000)}",
        "city": f"Town {n % 50}",
        "birth_date": f"{1950 + n % 55}-{n % 12 + 1:02}-{n % 28 + 1:02}",
    }


def read_all(crm: CRMService) -> None:
    """Read every profile, a page at a time."""
    with crm._runtime.read() as uow:
        assert all(c.email for c in uow.stream(Customer))


def look_up(crm: CRMService, email: str) -> None:
    """The customer with that mailbox, by its keyed hash alone."""
    with crm._runtime.read() as uow:
        assert len(uow.linked(("email",), crm._runtime.indexes("email", email))) == 1


def comparisons(plain: CRMService, sealed: CRMService, rounds: int) -> Iterator[Comparison]:
    """Each kind of work with the key ring, and without."""

    def both(name: str, work: Callable[[CRMService, int], object], calls: int) -> Comparison:
        return compare(
            name, lambda n: work(sealed, n), lambda n: work(plain, n), rounds=rounds, calls=calls
        )

    there = CALLS * (rounds + 1)
    yield both("insert: find_or_create, new", lambda crm, n: crm.find_or_create(profile(n)), CALLS)
    yield both("bulk read of all profiles", lambda crm, _: read_all(crm), 1)
    yield both("exact look-up", lambda crm, n: look_up(crm, f"guest{n % there}@example.org"), CALLS)
    yield both(
        "find_or_create, known",
        lambda crm, n: crm.find_or_create({"email": f"guest{n % there}@example.org"}),
        CALLS,
    )


def told(found: Comparison) -> str:
    """The times with a key ring as multiples of those without."""
    low, high = (1 / r for r in (max(found.round_ratios), min(found.round_ratios)))
    cpu = found.crmkit.cpu / found.by_hand.cpu
    return (
        f"  {found.name:30} {1 / found.ratio:.2f} times plaintext ({low:.2f}–{high:.2f}), CPU"
        f" {cpu:.2f} times; {found.crmkit.percentile(0.5):,.0f} µs for"
        f" {found.by_hand.percentile(0.5):,.0f} µs"
    )


def rotated(url: str) -> str:
    """Bring all customers to another master key."""
    with CRMService(url, keys=KeyRing({"2026": OLD, "2027": NEW}), settings=SETTINGS) as crm:
        since, cpu = time.perf_counter(), time.process_time()
        done = crm.gdpr.rotate()
        took, used = time.perf_counter() - since, time.process_time() - cpu
    assert done.left == 0
    return f"  rotation: {done.customers:,} customers in {took:.1f} s, {used:.1f} s of CPU"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres(durable=True))
        for name in ("sqlite", "postgresql"):
            urls = [f"sqlite:///{folder}/{which}.db" for which in ("plain", "sealed")]
            if name == "postgresql":
                urls = [stack.enter_context(database(server)) for _ in urls]
                for url in urls:
                    migrate(url)
            plain = stack.enter_context(CRMService(urls[0], settings=SETTINGS))
            ring = KeyRing({"2026": OLD})
            sealed = stack.enter_context(CRMService(urls[1], keys=ring, settings=SETTINGS))
            print(f"{name}, {CALLS * (rounds + 1):,} customers")
            for found in comparisons(plain, sealed, rounds):
                print(told(found), flush=True)
            print(rotated(urls[1]), flush=True)


if __name__ == "__main__":
    main()
