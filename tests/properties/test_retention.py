"""Anonymising what is past: whatever happened before and after, the numbers stay."""

from __future__ import annotations

import itertools
import random
from datetime import datetime
from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import CRMService, RetentionPolicy
from crmkit.model import Activity, Occasion, Participation
from crmkit.ports.storage import Storage
from crmkit.testing import FrozenClock
from crmkit.testing.strategies import INSTANTS, SETTINGS
from tests.merging import COMMANDS, PROFILES, do, is_sound, merged, people, shuffled
from tests.populate import rows

# Each example is a whole history, and most of its time goes into telling it.
shared_storage = settings(
    max_examples=max(10, settings().max_examples // 4),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_tenants = (f"retention {n}" for n in itertools.count())

POLICY = RetentionPolicy(name="timeline", after="1d")
FOUR = st.lists(PROFILES, min_size=4, max_size=4)
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3)


def numbers(crm: CRMService, storage: Storage) -> dict[str, Any]:
    """What no anonymising changes."""
    stored = rows(storage, crm.tenant)
    counters = [r | {"fingerprint": ""} for r in stored["crm_counters"]]
    return {
        "metrics": stored["crm_metrics"],
        "counters": sorted(map(repr, counters)),
        "points": [crm.loyalty.account(c.id) for c in crm.customers.list(limit=100)],
        "entries": len(stored["crm_loyalty_entries"]),
        "revenue": crm.insights.revenue_by_month(),
    }


@shared_storage
@given(
    FOUR, COMMANDS, PAIRS, COMMANDS, st.sampled_from(INSTANTS), st.randoms(use_true_random=False)
)
def test_numbers_stay_when_the_timeline_goes(
    storage: Storage,
    profiles: Any,
    first: Any,
    pairs: Any,
    second: Any,
    edge: datetime,
    rng: random.Random,
) -> None:
    """Cached numbers are still what facts and what is carried on tell, also through merges."""
    clock = FrozenClock()
    crm = CRMService(
        storage,
        settings=attrs.evolve(SETTINGS, retention=(POLICY,)),
        clock=clock,
        tenant=next(_tenants),
    )
    ids = people(crm, profiles)
    do(crm, ids, first)
    made = merged(crm, [(ids[a], ids[b]) for a, b in pairs])
    do(crm, ids, second)
    before = numbers(crm, storage)
    for at in (edge, clock.advance(hours=rng.choice((1, 30)))):
        crm.gdpr.retention.run(at)
        assert numbers(crm, storage) == before
        is_sound(crm, storage, some_are_anonymous=True)
    do(crm, ids, second)
    for merge in shuffled(made, rng.randrange(100)):
        crm.identity.unmerge(merge.id)
        do(crm, ids, second)
    is_sound(crm, storage, some_are_anonymous=True)
    with storage.read(crm.tenant) as uow:
        told = uow.find(Activity, customer_id=None)
        stories = {fact.story for fact in told}
        assert not stories & {o.story for o in uow.find(Occasion)}
        assert not stories & {p.story for p in uow.find(Participation)}
        assert all(fact.payload == {} and fact.reference is None for fact in told)
