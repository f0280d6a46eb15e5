"""Objections and suppressions inside a unit of work: what stands against contacting somebody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from crmkit.gdpr.addresses import Address, addresses, kind_of, purpose_key
from crmkit.gdpr.consent_state import latest
from crmkit.gdpr.permission import covers, stands_against
from crmkit.model import Consent, Customer, Objection, Suppression
from crmkit.model.catalogue import evolved
from crmkit.model.consent import CHANNELS
from crmkit.ports.events import CustomerErased
from crmkit.ports.runtime import Runtime, Whose
from crmkit.ports.storage import UnitOfWork


def object_to(
    uow: UnitOfWork,
    rt: Runtime,
    customer: Customer,
    whose: Whose,
    purpose: str,
    channel: str | None,
    source: str,
    at: datetime,
) -> tuple[Objection, ...]:
    """Record an objection on a channel, or on each; what stands since then is told again.

    One that is repeated later is recorded with its day: a yes from in between is older. Each
    address of the person that such a channel reaches is suppressed.
    """
    channels = [channel] if channel else _concerned(purpose)
    told = uow.find(Objection, customer_id=customer.id, ended_at=None)
    standing = {
        o.channel: o
        for o in sorted(told, key=lambda o: (o.occurred_at, o.id))
        if o.purpose == purpose
    }
    made = {
        name: Objection(
            tenant=rt.tenant,
            id=rt.new_id(),
            customer_id=customer.id,
            purpose=purpose,
            channel=name,
            source=source,
            occurred_at=at,
            recorded_at=rt.now(),
            origin=whose.origin,
        )
        for name in channels
        if name not in standing or standing[name].occurred_at < at
    }
    uow.add_many(made.values())
    for name in channels:
        for key in _keys(uow, rt, customer, name):
            suppress(uow, rt, key, name, purpose, "objected", at)
    return tuple(made.get(name) or standing[name] for name in channels)


def _concerned(purpose: str) -> Sequence[str]:
    return ("profiling",) if purpose == "profiling" else CHANNELS


def _keys(uow: UnitOfWork, rt: Runtime, customer: Customer, channel: str) -> list[str]:
    """The addresses of a person on a channel, those that only their consents name among them."""
    found = {a.key for a in addresses(rt, customer, channel)}
    for fact in uow.find(Consent, customer_id=customer.id):
        if fact.address_key and (fact.channel == channel or _shares(fact.channel, channel)):
            found.add(fact.address_key)
    return sorted(found)


def _shares(one: str, other: str) -> bool:
    kind = kind_of(one)
    return kind is not None and kind == kind_of(other)


def suppress(
    uow: UnitOfWork,
    rt: Runtime,
    address_key: str,
    channel: str,
    purpose: str | None,
    kind: str,
    at: datetime,
) -> Suppression:
    """Suppress an address; what stands since then or later is told again."""
    meant = None if purpose is None else purpose_key(rt, purpose)
    same: dict[str, Any] = {"address_key": address_key, "channel": channel, "ended_at": None}
    for row in uow.find(Suppression, **same):
        if row.purpose_key == meant and row.kind == kind and row.occurred_at >= at:
            return row
    made = Suppression(
        tenant=rt.tenant,
        id=rt.new_id(),
        address_key=address_key,
        purpose_key=meant,
        channel=channel,
        kind=kind,
        occurred_at=at,
        recorded_at=rt.now(),
    )
    uow.add(made)
    return made


def agreed_anew(
    uow: UnitOfWork,
    rt: Runtime,
    customer: Customer,
    purpose: str,
    channel: str,
    address: Address | None,
    at: datetime,
) -> None:
    """Let what stood against it end, for the person themselves has agreed since."""
    for said in uow.find(Objection, customer_id=customer.id, ended_at=None):
        if stands_against(said, purpose, channel) and said.occurred_at <= at:
            uow.put(evolved(said, ended_at=at))
    for row in _suppressions(uow, rt, customer, purpose, channel, address):
        if row.occurred_at <= at:
            uow.put(evolved(row, ended_at=at))


def suppressed_since(
    uow: UnitOfWork, rt: Runtime, customer: Customer, asked: Consent, address: Address | None
) -> bool:
    """Whether what was asked for was suppressed after it was: a complaint is a no."""
    rows = _suppressions(uow, rt, customer, asked.purpose, asked.channel, address)
    return any(row.occurred_at >= asked.occurred_at for row in rows)


def _suppressions(
    uow: UnitOfWork,
    rt: Runtime,
    customer: Customer,
    purpose: str,
    channel: str,
    address: Address | None,
) -> list[Suppression]:
    """What stands about that, at the address or (without) at all that the profile has."""
    meant = purpose_key(rt, purpose)
    keys = [address.key] if address else [a.key for a in addresses(rt, customer, channel)]
    rows = uow.find(Suppression, address_key=tuple(keys), ended_at=None) if keys else []
    return [row for row in rows if covers(row, meant, channel)]


def on_erased(uow: UnitOfWork, rt: Runtime, event: CustomerErased) -> None:
    """Let objections and withdrawals be heeded at the addresses that the person has by now."""
    customer = uow.get(Customer, event.customer_id)
    if customer is None:
        return
    for said in uow.find(Objection, customer_id=event.customer_id, ended_at=None):
        for key in _keys(uow, rt, customer, said.channel):
            suppress(uow, rt, key, said.channel, said.purpose, "objected", said.occurred_at)
    remember(uow, rt, customer, uow.find(Consent, customer_id=customer.id))


def remember(uow: UnitOfWork, rt: Runtime, customer: Customer, facts: Sequence[Consent]) -> None:
    """Suppress what these facts, which are about to go, withdraw: no old list is to revive it."""
    for (purpose, channel, key), word in latest(facts).items():
        if word.granted or kind_of(channel) is None:
            continue
        keys = [key] if key else [a.key for a in addresses(rt, customer, channel)]
        for each in keys:
            suppress(uow, rt, each, channel, purpose, "unsubscribed", word.occurred_at)
