"""People are told apart and found again as well with a key ring as without."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from crmkit import CRMService, KeyRing, MemoryStorage, Settings
from tests.acceptance.test_duplicates import record, rows

SETTINGS = Settings(region="IT")


def partition(ids: Sequence[str]) -> list[int]:
    """For each record the place of the first one of the same customer."""
    first: dict[str, int] = {}
    return [first.setdefault(customer_id, n) for n, customer_id in enumerate(ids)]


def told_apart(keys: KeyRing | None) -> tuple[list[int], set[tuple[int, ...]]]:
    """Who is who among records that come one after the other, and in a scan of them all."""
    crm = CRMService(MemoryStorage(), keys=keys, settings=SETTINGS)
    people = [record(crm, row) for row in islice(rows(), 800)]
    found = partition(crm.identity.resolve_many(people[:300]))
    other = crm.for_tenant("scanned")
    ids = other.identity.resolve_many(people, match=False)
    place = {customer_id: n for n, customer_id in enumerate(ids)}
    return found, {tuple(sorted(place[i] for i in c)) for c in other.identity.scan().clusters}


def test_fuzzy_matching_is_the_same_over_hashes() -> None:
    """Not only as good: the same records are one person, in both ways."""
    plain, sealed = told_apart(None), told_apart(KeyRing({"2026": bytes(32)}))
    assert plain == sealed
    assert len(set(plain[0])) < 300
    assert len(plain[1]) > 30
