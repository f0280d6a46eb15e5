"""`crm.customers`: profiles, tags and notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from crmkit.customers import blocking, changing, normalise, records, search
from crmkit.customers.profile import Profile, ProfileSources
from crmkit.customers.search import Hit
from crmkit.errors import InvalidInput
from crmkit.model import Customer, Metrics, Note, Page, Tag
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.model.document import text as text_of
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import from_micros, to_micros
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

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
        asked = changing.read(self._rt, customer_id, changes)
        content = canonical([asked.content, stated(at)])
        call = Call.of(self._rt, "customers.update", key, content)

        def work(uow: UnitOfWork) -> Customer:
            asked.lock(uow, self._rt)
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            if call and call.claim(
                uow, self._rt, customer_id=customer.id, result_id=customer.id, origin=whose.origin
            ):
                return customer
            return asked.apply(uow, self._rt, customer, now, whose.origin)

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


def _tags(uow: UnitOfWork, customer_id: str) -> tuple[str, ...]:
    return tuple(sorted(t.tag for t in uow.find(Tag, customer_id=customer_id)))
