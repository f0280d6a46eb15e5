"""Merges after any history: nothing is lost, no permission is made, and all can be undone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import CRMService
from crmkit.model import Consent, Merge
from crmkit.ports.storage import Storage
from crmkit.testing.strategies import SETTINGS
from tests.merging import (
    COMMANDS,
    PROFILES,
    Command,
    do,
    is_sound,
    merged,
    people,
    shuffled,
    stored,
    sums,
)

shared_storage = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
_tenants = (f"merges {n}" for n in itertools.count())

FOUR = st.lists(PROFILES, min_size=4, max_size=4)
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=4)


def fresh(storage: Storage) -> CRMService:
    return CRMService(storage, settings=SETTINGS, tenant=next(_tenants))


def told(crm: CRMService, profiles: Sequence[Any], commands: Sequence[Command]) -> list[str]:
    ids = people(crm, profiles)
    do(crm, ids, commands)
    return ids


@shared_storage
@given(FOUR, COMMANDS, PAIRS, st.integers())
def test_merges_undone_in_any_order_leave_every_row_as_it_was(
    storage: Storage, profiles: Any, commands: Any, pairs: Any, seed: int
) -> None:
    """Chains and stars of merges, undone as chance has it."""
    crm = fresh(storage)
    ids = told(crm, profiles, commands)
    before = stored(crm, storage)
    for merge in shuffled(merged(crm, [(ids[a], ids[b]) for a, b in pairs]), seed):
        foreseen = crm.identity.unmerge(merge.id, dry_run=True)
        done = crm.identity.unmerge(merge.id)
        assert (foreseen.moved, foreseen.undecided) == (done.moved, done.undecided)
        assert done.conflicts == ()
        assert crm.activities.verify() == ()
    assert stored(crm, storage) == before


@shared_storage
@given(FOUR, COMMANDS, PAIRS)
def test_merges_conserve_sums_and_never_make_permission(
    storage: Storage, profiles: Any, commands: Any, pairs: Any
) -> None:
    crm = fresh(storage)
    ids = told(crm, profiles, commands)
    before = sums(crm, storage)
    refused = asked(crm, ids, lambda reason: reason in ("withdrawn", "objected", "restricted"))
    merged(crm, [(ids[a], ids[b]) for a, b in pairs])
    assert sums(crm, storage) == before
    is_sound(crm, storage)
    assert refused <= asked(crm, ids, lambda reason: reason != "consent")


def asked(
    crm: CRMService, ids: Sequence[str], wanted: Callable[[str], bool]
) -> set[tuple[str, str, str]]:
    """By id, channel and address, where may_contact gives a reason that is wanted."""
    places = [("email", "guest0@mail.com"), ("email", "guest1@mail.com"), ("sms", "+40722123456")]
    ask = crm.gdpr.consents.may_contact
    return {
        (c, channel, address)
        for c in ids
        for channel, address in places
        if wanted(ask(c, channel, address=address).reason)
    }


def granted(crm: CRMService, storage: Storage, words: set[str]) -> list[str]:
    """Those of these words on consent that are no refusal."""
    with storage.read(crm.tenant) as uow:
        return [c.id for c in uow.stream(Consent) if c.id in words and c.granted is not False]


@shared_storage
@given(FOUR, COMMANDS, PAIRS, COMMANDS, COMMANDS, st.integers())
def test_life_goes_on_between_merges(
    storage: Storage, profiles: Any, first: Any, pairs: Any, second: Any, third: Any, seed: int
) -> None:
    """Facts by old ids and new: all is sound after each step, and no sum is lost."""
    crm = fresh(storage)
    ids = told(crm, profiles, first)
    made: dict[str, Merge] = {}
    for a, b in pairs:
        made |= {m.id: m for m in merged(crm, [(ids[a], ids[b])])}
        do(crm, ids, second)
    is_sound(crm, storage)
    for merge in shuffled([*made.values()], seed):
        before = sums(crm, storage)
        done = crm.identity.unmerge(merge.id)
        after = sums(crm, storage)
        # What was refused while both were one goes for each of them; nothing else is added.
        added = after["words"] - before["words"]
        assert after == before | {"words": before["words"] | added}
        assert not granted(crm, storage, added)
        assert crm.activities.verify() == ()
        assert {c.id for c in crm.customers.list()} >= {merge.kept_id, merge.dropped_id} or (
            done.merge.customer_id != merge.kept_id
        )
        do(crm, ids, third)
    assert {c.id for c in crm.customers.list()} == set(ids)
    is_sound(crm, storage)
