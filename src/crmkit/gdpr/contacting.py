"""Reading what bears on contacting people: a fixed number of queries for up to a page of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from crmkit.gdpr.addresses import Address, addresses
from crmkit.gdpr.permission import Known, Permission, Question, decided
from crmkit.model import (
    Consent,
    Customer,
    Erasure,
    Objection,
    Redirect,
    Restriction,
    Suppression,
)
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

PAGE: Final = 200
R = TypeVar("R", Consent, Objection, Restriction)


def pages(customer_ids: Iterable[str]) -> Iterator[Sequence[str]]:
    """The ids in their order, as many at a time as are read together."""
    page: list[str] = []
    for customer_id in customer_ids:
        page.append(checked_id(customer_id))
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def permissions(
    uow: UnitOfWork, rt: Runtime, page: Sequence[str], question: Question
) -> list[Permission]:
    """The answers about a page of customers, in their order; ids nobody knows among them."""
    held = known(uow, rt, page, question)
    return [decided(question, customer_id, held[customer_id]) for customer_id in page]


def known(
    uow: UnitOfWork, rt: Runtime, asked: Sequence[str], question: Question
) -> Mapping[str, Known]:
    """What is known of customers, by the id that was asked about."""
    people = _people(uow, asked)
    ids = tuple({c.id for c in people.values()})
    channel = question.channel
    told: dict[str, Any] = {"customer_id": ids, "channel": channel}
    consents = _by_customer(uow.find(Consent, purpose=question.purpose, **told) if ids else [])
    objections = _by_customer(uow.find(Objection, **told) if ids else [])
    restrictions = _by_customer(uow.find(Restriction, customer_id=ids) if ids else [])
    theirs = {c.id: addresses(rt, c, channel) for c in people.values()}
    rows = suppressions(uow, _relevant(theirs, question), channel)
    gone = _erased(uow, rt, [c for c in asked if c not in people])
    return {
        c: Known(customer=None, erased=c in gone)
        if (person := people.get(c)) is None
        else Known(
            customer=person,
            addresses=theirs[person.id],
            consents=consents[person.id],
            objections=objections[person.id],
            restrictions=restrictions[person.id],
            suppressions=rows,
        )
        for c in asked
    }


def suppressions(uow: UnitOfWork, keys: Iterable[str], channel: str) -> list[Suppression]:
    """What is suppressed of these addresses on a channel, and what was."""
    wanted = tuple(sorted(set(keys)))
    return uow.find(Suppression, address_key=wanted, channel=channel) if wanted else []


def _relevant(theirs: Mapping[str, Sequence[Address]], question: Question) -> list[str]:
    if question.address is not None:
        return [question.address.key]
    return [found[0].key for found in theirs.values() if found]


def _people(uow: UnitOfWork, asked: Sequence[str]) -> dict[str, Customer]:
    """The customers by the ids asked about, those merged away by whom they lead to."""
    found = {c.id: c for c in uow.find(Customer, id=tuple(asked))}
    missing = tuple(c for c in asked if c not in found)
    if missing:
        led = {r.id: r.customer_id for r in uow.find(Redirect, id=missing)}
        if led:
            kept = {c.id: c for c in uow.find(Customer, id=tuple(set(led.values())))}
            found |= {old: kept[now] for old, now in led.items() if now in kept}
    return found


def _erased(uow: UnitOfWork, rt: Runtime, missing: Sequence[str]) -> frozenset[str]:
    if not missing:
        return frozenset()
    subjects = {rt.fingerprint("erased", c): c for c in missing}
    return frozenset(subjects[e.subject] for e in uow.find(Erasure, subject=tuple(subjects)))


def _by_customer(facts: Iterable[R]) -> defaultdict[str, list[R]]:
    by: defaultdict[str, list[R]] = defaultdict(list)
    for fact in facts:
        by[fact.customer_id].append(fact)
    return by
