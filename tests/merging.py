"""Histories of a few people, and what must be the same before and after merges."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from hypothesis import strategies as st

from crmkit import CRMError, CRMService
from crmkit.model import Activity, Consent, DataKey, Merge, PointsEntry, catalogue
from crmkit.model.catalogue import owned
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.testing.strategies import INSTANTS, activities
from tests.populate import rows

Command: TypeAlias = tuple[str, int, Any]
"""What is done, about which of the people, and with what."""

NAMES = ("Ana", "Ana Pop", "A. Pop", "Ana Maria Pop", "Ion")
PROFILES = st.fixed_dictionaries(
    {"name": st.sampled_from(NAMES)},
    optional={
        "first_name": st.sampled_from(["Ana", "Ion"]),
        "phone": st.sampled_from(["+40722123456", "+40733123456"]),
        "instagram": st.sampled_from(["@ana", "@ion"]),
        "city": st.sampled_from(["Roma", "Iași"]),
        "country": st.sampled_from(["RO", "IT"]),
        "birth_date": st.just("1990-05-17"),
        "external_ids": st.dictionaries(
            st.sampled_from(["pos", "web"]), st.text("123", min_size=1, max_size=2), max_size=2
        ),
        "custom": st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
        "preferences": st.sampled_from(
            [{"drinks": ["gin"]}, {"drinks": ["rum", "gin"], "prefers_table": True}]
        ),
    },
)
_DONE = {
    "track": activities(),
    "share": st.tuples(st.integers(0, 3), st.integers(1, 50)),
    "update": PROFILES,
    "tag": st.sampled_from(["vip", "VIP", "regular"]),
    "untag": st.sampled_from(["vip", "regular"]),
    "note": st.sampled_from(["one", "two"]),
    "consent": st.tuples(
        st.sampled_from(["email", "sms"]),
        st.booleans(),
        st.sampled_from(INSTANTS[:3]),
        st.sampled_from([None, None, "guest0@mail.com", "guest1@mail.com"]),
    ),
    "object": st.sampled_from(["email", "sms"]),
    "restrict": st.sampled_from(["accuracy", "a lawsuit"]),
    "points": st.integers(-20, 50).filter(bool),
    "segment": st.sampled_from(["fans", "guests"]),
    "leave": st.sampled_from(["fans", "guests"]),
}
COMMANDS: st.SearchStrategy[list[Command]] = st.lists(
    st.sampled_from(sorted(_DONE)).flatmap(
        lambda name: st.tuples(st.just(name), st.integers(0, 3), _DONE[name])
    ),
    max_size=12,
)


def people(crm: CRMService, profiles: Sequence[Mapping[str, Any]]) -> list[str]:
    """Customers with these profiles, nobody found to be another."""
    made = [crm.find_or_create({"email": f"guest{n}@mail.com"}).id for n in range(len(profiles))]
    for customer, profile in zip(made, profiles, strict=True):
        with suppress(CRMError):  # an id of another's
            crm.customers.update(customer, profile)
    return made


def do(crm: CRMService, ids: Sequence[str], commands: Sequence[Command]) -> None:
    """Do these; what a command asks in vain is no matter."""
    for name, who, told in commands:
        with suppress(CRMError):
            _COMMANDS[name](crm, ids[who % len(ids)], told, ids)


def _track(crm: CRMService, c: str, told: Any, _: Sequence[str]) -> None:
    crm.activities.track(c, **told)


def _share(crm: CRMService, c: str, told: Any, ids: Sequence[str]) -> None:
    who, amount = told
    bill = {"order_id": f"bill {amount}", "amount": amount}
    part = {"customer_id": ids[who % len(ids)], "share": 0.3}
    crm.activities.track(c, "purchase", bill | {"participants": [part]})


def _consent(crm: CRMService, c: str, told: Any, _: Sequence[str]) -> None:
    channel, granted, at, address = told
    say = crm.gdpr.consents.give if granted else crm.gdpr.consents.withdraw
    say(c, channel, source="form", at=at, address=address if channel == "email" else None)


_COMMANDS: Mapping[str, Callable[[CRMService, str, Any, Sequence[str]], object]] = {
    "track": _track,
    "share": _share,
    "update": lambda crm, c, told, _: crm.customers.update(c, told),
    "tag": lambda crm, c, told, _: crm.customers.tag(c, told),
    "untag": lambda crm, c, told, _: crm.customers.untag(c, told),
    "note": lambda crm, c, told, _: crm.customers.add_note(c, told),
    "consent": _consent,
    "object": lambda crm, c, told, _: crm.gdpr.object(c, channel=told),
    "restrict": lambda crm, c, told, _: crm.gdpr.restrict(c, reason=told),
    "points": lambda crm, c, told, _: crm.loyalty.update_points(c, told, reason="why"),
    "segment": lambda crm, c, told, _: crm.segments.add(c, told),
    "leave": lambda crm, c, told, _: crm.segments.remove(c, told),
}


def stored(crm: CRMService, storage: Storage) -> dict[str, Counter[str]]:
    """All rows by table but the merges themselves and what the audit says of them, in no order."""
    found = rows(storage, crm.tenant)
    for table in ("crm_merges", "crm_audit", "crm_audit_subjects"):
        del found[table]
    return {
        table: Counter(repr(sorted(row.items())) for row in told) for table, told in found.items()
    }


def merged(crm: CRMService, pairs: Sequence[tuple[str, str]]) -> list[Merge]:
    """Merge these pairs, but for those that are one already."""
    made: list[Merge] = []
    for keep, drop in pairs:
        with suppress(CRMError):
            fact = crm.identity.merge(keep, drop, reason="same person")
            if fact.id not in {m.id for m in made}:
                made.append(fact)
    return made


def is_sound(crm: CRMService, storage: Storage, *, some_are_anonymous: bool = False) -> None:
    """No row of nobody, no id that leads nowhere, and what is cached is what the facts tell.

    Rows of nobody are there where some were made anonymous.
    """
    assert crm.activities.verify() == ()
    assert crm.loyalty.ledger.verify() == ()
    there = {c.id for c in crm.customers.list(limit=1_000)}
    known: set[str | None] = {*there, None} if some_are_anonymous else {*there}
    with storage.read(crm.tenant) as uow:
        for entry in (e for e in owned() if e.record is not DataKey):
            assert {r.__getattribute__(entry.owner or "") for r in _all(uow, entry.record)} <= known
        points: Counter[str] = Counter()
        for entry_ in uow.stream(PointsEntry):
            points[entry_.customer_id or ""] += entry_.points
        owners: dict[str, set[str | None]] = {}
        for fact in uow.stream(Activity):
            owners.setdefault(fact.story, set()).add(fact.customer_id)
    assert all(len(who) == 1 for who in owners.values())
    for customer in there:
        assert crm.loyalty.account(customer).balance == points[customer]
        assert crm.customers.get(customer).id == customer
    assert crm.customers.reindex() == 0


def _all(uow: UnitOfWork, kind: type) -> list[Any]:
    return list(uow.stream(kind))


def sums(crm: CRMService, storage: Storage) -> dict[str, Any]:
    """What no merge may change: amounts, points, how many facts, every word on consent."""
    with storage.read(crm.tenant) as uow:
        facts = {e.table: uow.count(e.record) for e in catalogue() if "id" in e.names}
        words = {c.id for c in uow.stream(Consent) if not c.source.startswith("merge ")}
    metrics = [crm.activities.metrics(c.id) for c in crm.customers.list(limit=1_000)]
    accounts = [crm.loyalty.account(m.customer_id) for m in metrics]
    kept = ("crm_activities", "crm_loyalty_entries", "crm_notes", "crm_profile_changes")
    return {
        "facts": {table: facts[table] for table in kept},
        "words": words,
        "spend": sum(m.spend_minor for m in metrics),
        "activities": sum(m.activities for m in metrics),
        "bookings": sum(m.bookings for m in metrics),
        "points": sum(a.balance for a in accounts),
        "revenue": crm.insights.revenue_by_month(),
    }


def shuffled(merges: Sequence[Merge], seed: int) -> list[Merge]:
    """These in some order."""
    return random.Random(seed).sample(merges, len(merges))
