"""Changing a profile, inside a unit of work: what was asked, read once, and put into place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from crmkit.customers import contacts, normalise, records
from crmkit.customers.normalise import Given, Identifier
from crmkit.errors import InvalidInput
from crmkit.model import Customer, Identity, Preferences
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

_ALIASED = {"first_name": "name", "last_name": "name"}


@attrs.frozen(repr=False)
class Change:
    """What a host asks of a profile, checked."""

    given: Given
    asked: Mapping[str, Any]

    @property
    def content(self) -> str:
        """What is asked, as canonical text."""
        fields = dict(self.given.fields)
        if fields.get("phone_typed"):
            del fields["phone"]  # what a national number stands for depends on the country by now
        return canonical([records.plain(fields), list(self.given.tags)])

    def lock(self, uow: UnitOfWork, rt: Runtime) -> None:
        """Hold the identifiers; before the customer, in the order in which find-or-create locks."""
        uow.lock(rt.fingerprint(i.kind, i.value) for i in self.given.identifiers)

    def apply(
        self, uow: UnitOfWork, rt: Runtime, customer: Customer, at: datetime, origin: str | None
    ) -> Customer:
        """The customer, who is held, as changed; raises `AlreadyTaken`."""
        fields = _merged(customer, self.given, self.asked)
        fields |= _without_former(customer, fields)
        changed = records.change(uow, rt, customer, fields, at, origin=origin)
        _relink(uow, rt, customer, changed, origin)
        if self.given.tags:
            records.tag(uow, rt, changed.id, self.given.tags, at, origin)
        return changed


def read(rt: Runtime, customer_id: str, changes: Mapping[str, Any]) -> Change:
    """Check what is asked; raises `InvalidInput` naming the field."""
    if not isinstance(changes, Mapping):
        raise InvalidInput("expected a mapping of field names to values", field="changes")
    if "consent" in changes:
        raise InvalidInput("use crm.gdpr.consents.give and .withdraw", field="consent")
    settings = rt.settings
    if "phone" in changes and "country" not in changes:
        # A number in national form is read as dialled where the customer lives.
        with rt.read() as uow:
            home = rt.customer(uow, customer_id).country
        settings = attrs.evolve(settings, region=home or settings.region)
    today = rt.now().astimezone(rt.settings.zone).date()
    given = normalise.given(changes, settings, clear=True, today=today)
    checked_id(customer_id)
    return Change(given, changes)


def _relink(
    uow: UnitOfWork, rt: Runtime, before: Customer, after: Customer, origin: str | None
) -> None:
    """Make the identifiers follow the profile: what it no longer says leads to nobody.

    What it tells as a further contact, as after a merge, leads to the customer still.
    """
    old, new = set(records.identifiers(before)), set(records.identifiers(after))
    for kind in sorted({i.kind for i in old ^ new}):
        told = [i for i in (*new, *_further(after)) if i.kind == kind]
        prints = {p for i in told for p in rt.indexes(kind, i.value)}
        stored = uow.find(Identity, kind=kind, customer_id=after.id)
        gone = tuple({i.fingerprint for i in stored} - prints)
        if gone:
            uow.remove(Identity, kind=kind, customer_id=after.id, fingerprint=gone)
        fresh = [i for i in new - old if i.kind == kind]
        records.claim(uow, rt, after.id, fresh, origin)


def _further(customer: Customer) -> Iterator[Identifier]:
    """The identifiers that a stored profile tells as further ones."""
    for kind, values in customer.aliases.items():
        for value in values:
            yield Identifier(kind, contacts.canonical_email(value) if kind == "email" else value)


def _without_former(customer: Customer, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The aliases without those of what is set anew: whoever sets it, sets it right."""
    anew = {_ALIASED.get(f, f) for f, v in fields.items() if getattr(customer, f) != v}
    left = {f: v for f, v in customer.aliases.items() if f not in anew}
    return {} if len(left) == len(customer.aliases) else {"aliases": left}


def _merged(customer: Customer, given: Given, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The new values of an update: mappings and preferences change by key, None empties."""
    out: dict[str, Any] = {}
    for field, value in given.fields.items():
        now = getattr(customer, field)
        if isinstance(value, Mapping) and changes.get(field) is not None:
            united = {**now, **value}
            out[field] = {k: v for k, v in united.items() if v is not None}
        elif isinstance(value, Preferences) and changes.get(field) is not None:
            out[field] = evolved(now, **given.preferences)
        else:
            out[field] = value
    return out
