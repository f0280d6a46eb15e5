"""`crm.customers`: profiles, tags and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from typing import Any

import attrs

from crmkit.customers import blocking, contacts, normalise, records, search
from crmkit.customers.normalise import Given, Identifier
from crmkit.customers.profile import Profile, ProfileSources
from crmkit.customers.search import Hit
from crmkit.errors import InvalidInput
from crmkit.model import Customer, Identity, Metrics, Note, Page, Preferences, Tag
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.model.document import text as text_of
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import from_micros, to_micros
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

_ALIASED = {"first_name": "name", "last_name": "name"}
_NOTE_KINDS = ("general", "admin", "vip", "check_in")


class Customers:
    """Profiles of one tenant's customers."""

    def __init__(self, runtime: Runtime, sources: ProfileSources) -> None:
        self._rt = runtime
        self._sources = sources

    def get(self, customer_id: str) -> Customer:
        """The customer; raises `NotFound`, or `Erased` for one that was erased."""
        with self._rt.read() as uow:
            return self._rt.customer(uow, customer_id)

    def update(
        self,
        customer_id: str,
        changes: Mapping[str, Any],
        *,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Customer:
        """Set fields of a profile; None or an empty text clears one.

        Takes the fields of `find_or_create`. `custom`, `metadata`, `preferences`,
        `external_ids` and `social_handles` change only in the keys that are given; there,
        None removes a key. Raises `InvalidInput` and `AlreadyTaken`.
        """
        now = self._rt.at(at)
        if not isinstance(changes, Mapping):
            raise InvalidInput("expected a mapping of field names to values", field="changes")
        if "consent" in changes:
            raise InvalidInput("use crm.gdpr.consents.give and .withdraw", field="consent")
        settings = self._rt.settings
        if "phone" in changes and "country" not in changes:
            # A number in national form is read as dialled where the customer lives.
            home = self.get(customer_id).country
            settings = attrs.evolve(settings, region=home or settings.region)
        given = normalise.given(changes, settings, clear=True, today=self._today())
        content = canonical([_content(given), stated(at)])
        checked_id(customer_id)
        call = Call.of(self._rt, "customers.update", key, content)

        def work(uow: UnitOfWork) -> Customer:
            # The identifiers before the customer: in the order in which find-or-create locks.
            uow.lock(self._rt.fingerprint(i.kind, i.value) for i in given.identifiers)
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            if call and call.claim(
                uow, self._rt, customer_id=customer.id, result_id=customer.id, origin=whose.origin
            ):
                return customer
            fields = _merged(customer, given, changes)
            fields |= _without_former(customer, fields)
            changed = records.change(uow, self._rt, customer, fields, now, origin=whose.origin)
            self._relink(uow, customer, changed, whose.origin)
            if given.tags:
                records.tag(uow, self._rt, changed.id, given.tags, now, whose.origin)
            return changed

        return self._rt.write(work)

    def list(self, *, limit: int = 100, after: str | None = None) -> Page[Customer]:
        """Customers in the order of their creation, a page at a time."""
        limit, start = checked_limit(limit), position(after, (str,))
        with self._rt.read() as uow:
            found = uow.find(Customer, order=("id",), after=start, limit=limit + 1)
        return paged(found, limit, lambda c: (c.id,))

    def search(self, text: str, *, limit: int = 20) -> tuple[Hit, ...]:
        """The customers whom a fragment may mean, the best first.

        A name or its beginning, in any order, without accents and with one error a word; four
        or more digits of a phone number; the beginning of an e-mail address, of its domain or
        of an Instagram handle; a whole tag or id. Every word must fit. Text of one letter finds
        nobody. Raises `InvalidInput` for text of more than 200 characters.
        """
        limit = checked_limit(limit)
        sought = text_of(text, field="text", limit=200)
        if sought is None:
            return ()
        with self._rt.read() as uow:
            return search.search(uow, self._rt, sought, limit)

    def reindex(self, *, progress: Callable[[int], None] | None = None) -> int:
        """Work out anew what customers are found by, after an import of rows or an upgrade.

        Each customer is a transaction of its own. `progress` hears how many are done;
        returns how many were not up to date.
        """
        wrong = done = 0
        after: tuple[str, ...] | None = None
        while True:
            with self._rt.read() as uow:
                page = uow.find(Customer, after=after, limit=500)
            for customer in page:
                wrong += self._reindex(customer.id)
                done += 1
                if progress:
                    progress(done)
            if len(page) < 500:
                return wrong
            after = (page[-1].id,)

    def profile(self, customer_id: str, *, at: datetime | str | None = None) -> Profile:
        """One person at a glance: profile, metrics, segments, tags, consent."""
        moment = self._rt.at(at)
        meant = None if at is None else moment
        with self._rt.read() as uow:
            customer = self._rt.customer(uow, customer_id)
            metrics = uow.get(Metrics, customer.id)
            return Profile(
                customer=customer,
                metrics=metrics or Metrics(tenant=self._rt.tenant, customer_id=customer.id),
                lifetime_value=self._sources.lifetime_value(uow, customer.id, moment),
                segments=tuple(self._sources.segments(uow, customer.id, meant)),
                tags=_tags(uow, customer.id),
                consent=self._sources.consent(uow, customer.id),
            )

    def tags(self, customer_id: str) -> tuple[str, ...]:
        """The customer's tags, sorted."""
        with self._rt.read() as uow:
            return _tags(uow, self._rt.customer(uow, customer_id).id)

    def tag(self, customer_id: str, *tags: str, at: datetime | str | None = None) -> None:
        """Put tags on a customer; one that is there already stays."""
        moment, wanted = self._rt.at(at), normalise.tags(tags)

        def work(uow: UnitOfWork) -> None:
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            records.tag(uow, self._rt, customer.id, wanted, moment, whose.origin)

        self._rt.write(work)

    def untag(self, customer_id: str, *tags: str, at: datetime | str | None = None) -> None:
        """Take tags off a customer; one that is not there is no error."""
        moment, unwanted = self._rt.at(at), normalise.tags(tags)

        def work(uow: UnitOfWork) -> None:
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            records.untag(uow, self._rt, customer.id, unwanted, moment, whose.origin)

        self._rt.write(work)

    def add_note(
        self,
        customer_id: str,
        note: str,
        *,
        kind: str = "general",
        author: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Note:
        """Add a note; `kind` is general, admin, vip or check_in, `author` the host's user."""
        body = text_of(note, field="note", limit=10_000, multiline=True)
        if body is None:
            raise InvalidInput("expected some text", field="note")
        if kind not in _NOTE_KINDS:
            raise InvalidInput(f"expected one of {', '.join(_NOTE_KINDS)}", field="kind")
        made = Note(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=checked_id(customer_id),
            text=body,
            kind=kind,
            author=None if author is None else text_of(author, field="author", limit=200),
            occurred_at=self._rt.at(at),
            recorded_at=self._rt.now(),
        )
        content = canonical([body, kind, made.author, stated(at)])
        call = Call.of(self._rt, "customers.add_note", key, content)

        def work(uow: UnitOfWork) -> Note:
            holder = self._rt.customer(uow, customer_id, lock=True).id
            origin = self._rt.whose(uow, customer_id, holder).origin
            seen = call and call.claim(
                uow, self._rt, customer_id=holder, result_id=made.id, origin=origin
            )
            if seen and seen.result_id:
                return uow.get(Note, seen.result_id) or made
            note = evolved(made, customer_id=holder, origin=origin)
            uow.add(note)
            return note

        return self._rt.write(work)

    def notes(self, customer_id: str, *, limit: int = 100, after: str | None = None) -> Page[Note]:
        """A customer's notes, the latest first."""
        limit, start = checked_limit(limit), position(after, (int, str))
        with self._rt.read() as uow:
            customer = self._rt.customer(uow, customer_id)
            found = uow.find(
                Note,
                customer_id=customer.id,
                order=("occurred_at", "id"),
                descending=True,
                after=start and (from_micros(start[0]), start[1]),
                limit=limit + 1,
            )
        return paged(found, limit, lambda n: (to_micros(n.occurred_at), n.id))

    def _reindex(self, customer_id: str) -> bool:
        def work(uow: UnitOfWork) -> bool:
            customer = uow.get(Customer, customer_id, lock=True)
            if customer is None:
                return False
            repaired = search.repair(uow, self._rt, customer)
            return blocking.repair(uow, self._rt, customer) or repaired

        return self._rt.write(work)

    def _relink(
        self, uow: UnitOfWork, before: Customer, after: Customer, origin: str | None
    ) -> None:
        """Make the identifiers follow the profile: what it no longer says leads to nobody.

        What it tells as a further contact, as after a merge, leads to the customer still.
        """
        old, new = set(records.identifiers(before)), set(records.identifiers(after))
        for kind in sorted({i.kind for i in old ^ new}):
            told = [i for i in (*new, *_further(after)) if i.kind == kind]
            prints = {p for i in told for p in self._rt.indexes(kind, i.value)}
            stored = uow.find(Identity, kind=kind, customer_id=after.id)
            gone = tuple({i.fingerprint for i in stored} - prints)
            if gone:
                uow.remove(Identity, kind=kind, customer_id=after.id, fingerprint=gone)
            fresh = [i for i in new - old if i.kind == kind]
            records.claim(uow, self._rt, after.id, fresh, origin)

    def _today(self) -> date:
        return self._rt.now().astimezone(self._rt.settings.zone).date()


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


def _tags(uow: UnitOfWork, customer_id: str) -> tuple[str, ...]:
    return tuple(sorted(t.tag for t in uow.find(Tag, customer_id=customer_id)))


def _content(given: Given) -> str:
    """What an update asks for, as canonical text."""
    fields = dict(given.fields)
    if fields.get("phone_typed"):
        del fields["phone"]  # what a national number stands for depends on the country by now
    return canonical([records.plain(fields), list(given.tags)])
