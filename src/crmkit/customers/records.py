"""Writing a customer: profile, identifiers, search tokens and the fact of the change, together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

import attrs

from crmkit.customers import blocking, contacts, search, tokens, traits
from crmkit.customers.normalise import Given, Identifier
from crmkit.errors import AlreadyTaken
from crmkit.model import Customer, Identity, Metrics, Preferences, ProfileChange, Tag
from crmkit.model.catalogue import as_document, evolved
from crmkit.model.time import iso
from crmkit.ports.events import ProfileChanged
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

SHARED_KINDS = frozenset({"phone", "instagram"})
"""Families and agencies share these; every other identifier belongs to one customer only."""


def identity(runtime: Runtime, identifier: Identifier, customer_id: str) -> Identity:
    """The stored form of an identifier."""
    return Identity(
        tenant=runtime.tenant,
        kind=identifier.kind,
        fingerprint=runtime.index(identifier.kind, identifier.value),
        slot=customer_id if identifier.kind in SHARED_KINDS else "",
        customer_id=customer_id,
        value=identifier.value,
    )


def create(uow: UnitOfWork, runtime: Runtime, given: Given, at: datetime) -> Customer:
    """Store a new customer with their identifiers and empty metrics."""
    customer = Customer(
        tenant=runtime.tenant,
        id=runtime.new_id(),
        created_at=at,
        updated_at=at,
        **given.fields,
    )
    uow.add(customer)
    uow.add(Metrics(tenant=runtime.tenant, customer_id=customer.id))
    for identifier in given.identifiers:
        mine = identity(runtime, identifier, customer.id)
        taken = _by_former_hash(uow, runtime, identifier, mine.slot) is not None
        if (taken or not uow.add_if_absent(mine)) and identifier.kind == "email":
            # Two people may read one mailbox; whose it was first keeps the place of the owner.
            uow.add(evolved(mine, slot=customer.id))
    search.index(uow, runtime, customer)
    blocking.index(uow, runtime, customer)
    record_change(uow, runtime, customer.id, given.fields, at, created=True)
    return customer


def change(
    uow: UnitOfWork,
    runtime: Runtime,
    customer: Customer,
    fields: Mapping[str, Any],
    at: datetime,
    origin: str | None = None,
) -> Customer:
    """Store new values of fields, and the fact that they changed."""
    differing = {f: v for f, v in fields.items() if getattr(customer, f) != v}
    if not differing:
        return customer
    changed = evolved(customer, **differing, updated_at=max(at, customer.updated_at))
    uow.put(changed)
    if not tokens.FIELDS.isdisjoint(differing):
        search.reindex(uow, runtime, customer, changed)
    if not traits.COMPARED.isdisjoint(differing):
        blocking.reindex(uow, runtime, customer, changed)
    record_change(uow, runtime, customer.id, differing, at, origin)
    return changed


def record_change(
    uow: UnitOfWork,
    runtime: Runtime,
    customer_id: str,
    changes: Mapping[str, Any],
    at: datetime,
    origin: str | None = None,
    *,
    created: bool = False,
) -> None:
    """Store the fact that a profile changed, and tell it."""
    uow.add(
        ProfileChange(
            tenant=runtime.tenant,
            id=runtime.new_id(),
            customer_id=customer_id,
            changes=plain(changes),
            occurred_at=at,
            recorded_at=runtime.now(),
            origin=origin,
        )
    )
    runtime.foresee(uow, at)
    runtime.events.publish(uow, ProfileChanged(customer_id, at, created))


def plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields' values as a JSON document."""
    return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Preferences):
        return as_document(value)
    return list(value) if isinstance(value, tuple) else value


def tag(
    uow: UnitOfWork,
    runtime: Runtime,
    customer_id: str,
    tags: Iterable[str],
    at: datetime,
    origin: str | None = None,
) -> None:
    """Put tags on a customer; those that are there already stay as they are."""
    fresh = [t for t in tags if uow.add_if_absent(_tag(runtime, customer_id, t, at))]
    if fresh:
        search.index_tags(uow, runtime, customer_id, fresh)
        record_change(uow, runtime, customer_id, {"tags": {"added": fresh}}, at, origin)


def untag(
    uow: UnitOfWork,
    runtime: Runtime,
    customer_id: str,
    tags: Iterable[str],
    at: datetime,
    origin: str | None = None,
) -> None:
    """Take tags off a customer."""
    gone = []
    for t in tags:
        fingerprint = runtime.fingerprint("tag", t)
        if uow.remove(Tag, customer_id=customer_id, fingerprint=fingerprint):
            gone.append(t)
    if gone:
        search.unindex_tags(uow, runtime, customer_id, gone)
        record_change(uow, runtime, customer_id, {"tags": {"removed": gone}}, at, origin)


def _tag(runtime: Runtime, customer_id: str, tag: str, at: datetime) -> Tag:
    return Tag(
        tenant=runtime.tenant,
        customer_id=customer_id,
        fingerprint=runtime.fingerprint("tag", tag),
        tag=tag,
        tagged_at=at,
    )


def identifiers(customer: Customer) -> list[Identifier]:
    """The identifiers that a stored profile stands for."""
    found = [Identifier(f"external:{s}", v) for s, v in customer.external_ids.items()]
    if customer.user_id:
        found.append(Identifier("user_id", customer.user_id))
    if customer.email:
        found.append(Identifier("email", contacts.canonical_email(customer.email)))
    if customer.phone:
        found.append(Identifier("phone", customer.phone))
    if customer.instagram:
        found.append(Identifier("instagram", customer.instagram))
    return found


def claim(
    uow: UnitOfWork,
    runtime: Runtime,
    customer_id: str,
    identifiers: Iterable[Identifier],
    origin: str | None = None,
) -> None:
    """Link identifiers to a customer; raises `AlreadyTaken` for one that is another's."""
    for identifier in identifiers:
        mine = evolved(identity(runtime, identifier, customer_id), origin=origin)
        held = _by_former_hash(uow, runtime, identifier, mine.slot)
        if held is None:
            if uow.add_if_absent(mine):
                continue
            held = uow.get(Identity, mine.kind, mine.fingerprint, mine.slot)
        if held is not None and held.customer_id != customer_id:
            field = "external_ids" if ":" in mine.kind else mine.kind
            raise AlreadyTaken("belongs to another customer", field=field)


def _by_former_hash(
    uow: UnitOfWork, runtime: Runtime, identifier: Identifier, slot: str
) -> Identity | None:
    """The identifier as it was stored before keys were changed."""
    former = runtime.indexes(identifier.kind, identifier.value)[1:]
    found = former and uow.find(Identity, kind=identifier.kind, fingerprint=former, slot=slot)
    return found[0] if found else None


def rehash(uow: UnitOfWork, runtime: Runtime, customer_id: str) -> bool:
    """Store a customer's identifiers by the hashes of now; tells whether some were not."""
    changed = False
    for stored in uow.find(Identity, customer_id=customer_id):
        index = runtime.index(stored.kind, stored.value)
        if index == stored.fingerprint:
            continue
        uow.remove(Identity, kind=stored.kind, fingerprint=stored.fingerprint, slot=stored.slot)
        changed, hashed = True, evolved(stored, fingerprint=index)
        if not uow.add_if_absent(hashed):  # theirs still, if no longer in the first place
            uow.add_if_absent(evolved(hashed, slot=customer_id))
    return changed


def filled(customer: Customer, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `given` adds: where the profile has nothing, and to what it is also known by."""
    added = _missing(customer, given)
    aliases = _also_known(customer, given)
    return added | {"aliases": aliases} if aliases else added


def _missing(customer: Customer, given: Mapping[str, Any]) -> dict[str, Any]:
    added: dict[str, Any] = {}
    for field, value in given.items():
        now = getattr(customer, field)
        if isinstance(value, Mapping):
            united = {**value, **now}
            if united != now:
                added[field] = united
        elif isinstance(value, Preferences):
            fresh = _filled_preferences(now, value)
            if fresh != now:
                added[field] = fresh
        elif now is None or now == ():
            added[field] = value
    # The typed form belongs to the canonical one beside it.
    for pair in ("email", "phone", "instagram"):
        typed = f"{pair}_typed"
        if pair in added:
            added[typed] = given[typed]
        elif getattr(customer, pair) is not None:
            added.pop(typed, None)
    return added


_ALIASES_MAX = 10


def _also_known(customer: Customer, given: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """The aliases with what is given and differs from the profile; None if that is nothing."""
    aliases = {field: list(values) for field, values in customer.aliases.items()}
    named = given.get("name") or " ".join(
        part for part in (given.get("first_name"), given.get("last_name")) if part
    )
    born = given.get("birth_date")
    told: dict[str, tuple[Any, Any, Callable[[str], object]]] = {
        "name": (named, customer.full_name, traits.words),
        "email": (given.get("email"), customer.email, traits.mailbox),
        "phone": (given.get("phone"), customer.phone, traits.dialled),
        "instagram": (given.get("instagram"), customer.instagram, str),
        "birth_date": (
            born and born.isoformat(), customer.birth_date and customer.birth_date.isoformat(), str
        ),
        "city": (given.get("city"), customer.city, traits.place),
    }  # fmt: skip
    fresh = False
    for field, (value, now, comparable) in told.items():
        if not value or now is None:
            continue
        here = aliases.setdefault(field, [])
        same = comparable(value)
        if len(here) < _ALIASES_MAX and all(same != comparable(v) for v in (now, *here)):
            here.append(value)
            fresh = True
    return {f: v for f, v in aliases.items() if v} if fresh else None


def _filled_preferences(now: Preferences, given: Preferences) -> Preferences:
    empty = Preferences()
    added = {
        a.name: getattr(given, a.name)
        for a in attrs.fields(Preferences)
        if getattr(now, a.name) == getattr(empty, a.name)
    }
    return attrs.evolve(now, **added)
