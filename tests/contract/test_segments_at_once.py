"""Many threads change the same customers: what is kept of segments is right all the same."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from crmkit import CRMService
from crmkit.ports.storage import Storage
from crmkit.rules import did, f
from crmkit.segmentation.service import Verified
from crmkit.testing import together

THREADS = 8
CALLS = 40
RULES = {
    "local buyers": (f.total_spend >= 100) & (f.city == "Cluj"),
    "reachable guests": (f["consent.marketing_email"] == True) & (f.total_visits >= 2),  # noqa: E712
    "tagged": f.tags.contains("vip") & (did("visit", within="30d").count >= 1),
    "neither": ~(f.city == "Cluj") & (f.total_orders == 0),
}

both_databases = pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)


def change(crm: CRMService, rng: random.Random, who: str, order: str) -> None:
    """Something happens to a customer."""

    def buy() -> None:
        told = {"order_id": order, "amount": rng.choice([40, 80])}
        bought = crm.track_activity(who, "purchase", told)
        if rng.random() < 0.5:
            crm.activities.void(bought.id)

    changes: list[Callable[[], object]] = [
        buy,
        lambda: crm.track_activity(who, "visit"),
        lambda: crm.customers.update(who, {"city": rng.choice(["Cluj", "Roma"])}),
        lambda: crm.customers.tag(who, "vip"),
        lambda: crm.customers.untag(who, "vip"),
        lambda: crm.gdpr.consents.give(who, "email", source="form"),
        lambda: crm.gdpr.consents.withdraw(who, "email"),
        crm.run_due,
    ]
    rng.choice(changes)()


@both_databases
def test_profiles_and_activities_at_once(storage: Storage) -> None:
    """Each change sees the other, whichever comes first."""
    crm = CRMService(storage)
    people = [crm.find_or_create({"user_id": str(n)}).id for n in range(4)]
    for name, rule in RULES.items():
        crm.segments.create(name, rule)

    def each(number: int) -> None:
        rng = random.Random(number)
        for call in range(CALLS):
            change(crm, rng, rng.choice(people), f"{number}-{call}")

    together(THREADS, each)
    for name in RULES:
        assert crm.segments.verify(name).exact, name


@both_databases
def test_two_halves_of_a_rule_come_at_once(storage: Storage) -> None:
    """Each alone lets nobody in; whichever is stored first, the second sees it."""
    crm = CRMService(storage)
    crm.segments.create("local buyers", RULES["local buyers"])
    people = [crm.find_or_create({"user_id": str(n)}).id for n in range(40)]
    for who in people:
        order = {"order_id": who, "amount": 100}
        halves: list[Callable[[], object]] = [
            lambda: crm.customers.update(who, {"city": "Cluj"}),  # noqa: B023 - called at once
            lambda: crm.track_activity(who, "purchase", order),  # noqa: B023
        ]
        together(2, lambda n: halves[n]())  # noqa: B023
    assert crm.segments.verify("local buyers") == Verified(40, 0, (), ())


@both_databases
def test_a_segment_made_while_customers_act(storage: Storage) -> None:
    """Who changes while everybody is asked is asked after that."""
    crm = CRMService(storage)
    people = [crm.find_or_create({"user_id": str(n)}).id for n in range(30)]

    def each(number: int) -> None:
        if number == 0:
            for n, rule in enumerate(RULES.values()):
                crm.segments.create(f"segment {n}", rule)
            return
        rng = random.Random(number)
        for call in range(CALLS):
            who = rng.choice(people)
            if call % 3:
                told = {"order_id": f"{number}-{call}", "amount": 120}
                crm.track_activity(who, "purchase", told)
            else:
                crm.customers.update(who, {"city": rng.choice(["Cluj", "Roma"])})

    together(4, each)
    for segment in crm.segments.list():
        assert segment.watched
        assert crm.segments.verify(segment.name).exact, segment.name
