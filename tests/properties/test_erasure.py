"""Erasures after any history: the ids of the person are nowhere, and no sum is lost."""

from __future__ import annotations

import itertools
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import CRMService
from crmkit.ports.storage import Storage
from crmkit.testing.strategies import SETTINGS
from tests.merging import COMMANDS, PROFILES, do, merged, people, shuffled
from tests.populate import rows

# Each example is a whole history, and most of its time goes into telling it.
shared_storage = settings(
    max_examples=max(10, settings().max_examples // 4),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_tenants = (f"erasures {n}" for n in itertools.count())

FOUR = st.lists(PROFILES, min_size=4, max_size=4)
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4)


def books(crm: CRMService, storage: Storage) -> dict[str, Any]:
    """What no erasure changes: money and points, whoever they were of."""
    stored = rows(storage, crm.tenant)
    return {
        "revenue": crm.insights.revenue_by_month(),
        "activities": sum(row["amount_minor"] or 0 for row in stored["crm_activities"]),
        "points": sum(row["points"] for row in stored["crm_loyalty_entries"]),
        "issued": len(stored["crm_loyalty_entries"]),
    }


@shared_storage
@given(FOUR, COMMANDS, PAIRS, COMMANDS, COMMANDS, st.integers(0, 3), st.randoms())
def test_no_column_of_any_table_holds_an_id_of_the_erased(
    storage: Storage,
    profiles: Any,
    first: Any,
    pairs: Any,
    second: Any,
    third: Any,
    who: int,
    rng: random.Random,
) -> None:
    """Whatever was merged, parted, shared and recommended before; all ids of the person."""
    crm = CRMService(storage, settings=SETTINGS, tenant=next(_tenants))
    ids = people(crm, profiles)
    crm.loyalty.referrals.accept(ids[1], crm.loyalty.referrals.code(ids[0]))
    for host, friend in itertools.pairwise(ids):
        said = {"reference": "r", "referred_customer_id": friend}
        crm.track_activity(host, "referral", said)
    do(crm, ids, first)
    made = merged(crm, [(ids[a], ids[b]) for a, b in pairs])
    do(crm, ids, second)
    for merge in shuffled(made, rng.randrange(100))[: rng.randrange(len(made) + 1)]:
        crm.identity.unmerge(merge.id)
        do(crm, ids, third)
    before = books(crm, storage)
    receipt = crm.gdpr.erase(ids[who])
    for table, found in rows(storage, crm.tenant).items():
        for gone in receipt.ids:
            assert gone not in str(found), table
    assert books(crm, storage) == before
    assert crm.activities.verify() == ()
