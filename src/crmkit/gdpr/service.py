"""`crm.gdpr`: objection, restriction, export and erasure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from crmkit.errors import Erased, InvalidInput
from crmkit.gdpr import objections, restriction
from crmkit.gdpr.addresses import address_of, checked_channel, kind_of, purpose_key
from crmkit.gdpr.consents import Consents
from crmkit.gdpr.documents import ErasureReceipt, Export, blanks, exported, tells
from crmkit.gdpr.permission import covers
from crmkit.gdpr.rotation import Rotation, rotate
from crmkit.gdpr.statements import check_past, checked_purpose
from crmkit.model import (
    Erasure,
    MatchPair,
    Merge,
    Metrics,
    Objection,
    OnErase,
    Rank,
    Redirect,
    Restriction,
    Suppression,
    entry_of,
)
from crmkit.model.catalogue import owned
from crmkit.model.document import text
from crmkit.ports.events import CustomerErased
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

_KIND = re.compile(r"[a-z][a-z_]{0,29}", re.ASCII)


class Privacy:
    """The rights of one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self.consents = Consents(runtime)

    def object(
        self,
        customer_id: str,
        purpose: str = "marketing",
        *,
        channel: str | None = None,
        source: str = "unknown",
        at: datetime | str | None = None,
    ) -> tuple[Objection, ...]:
        """Record that a customer objects to a purpose (GDPR Art. 21), on one channel or on all.

        It stands until they themselves agree anew. Their consents for it are withdrawn, and
        their addresses suppressed by keyed hashes, which stay when they are erased. Objecting
        again is no matter. The objections, one for each channel.
        """
        meant = checked_purpose(purpose)
        if channel is not None:
            checked_channel(channel)
        where = text(source, field="source", limit=200) or "unknown"
        moment = self._rt.at(at)
        check_past(moment, self._rt.now(), "at")

        def work(uow: UnitOfWork) -> tuple[Objection, ...]:
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            made = objections.object_to(
                uow, self._rt, customer, whose, meant, channel, where, moment
            )
            self.consents.withdraw_all(uow, whose, made, moment)
            return made

        return self._rt.write(work)

    def suppress(
        self,
        address: str,
        channel: str,
        *,
        kind: str,
        purpose: str | None = None,
        at: datetime | str | None = None,
    ) -> Suppression:
        """Never write to an address again, whoever has it; for a mail provider's lists.

        `kind` says why in one word, such as ``bounced`` or ``complained``. Without a purpose it
        is for all of them. Only a keyed hash is kept. It ends when the person agrees anew.
        """
        found = address_of(self._rt, checked_channel(channel), address)
        if kind_of(channel) is None:
            raise InvalidInput("expected email, sms, whatsapp or phone", field="channel")
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):  # it is kept for good
            raise InvalidInput("expected a word such as bounced", field="kind")
        meant = None if purpose is None else checked_purpose(purpose)
        moment = self._rt.at(at)
        check_past(moment, self._rt.now(), "at")
        return self._rt.write(
            lambda uow: objections.suppress(uow, self._rt, found.key, channel, meant, kind, moment)
        )

    def suppressed(
        self, address: str, channel: str, *, purpose: str = "marketing"
    ) -> Suppression | None:
        """What keeps an address from being written to, the first of them; None if nothing does."""
        key = address_of(self._rt, checked_channel(channel), address).key
        meant = purpose_key(self._rt, checked_purpose(purpose))
        with self._rt.read() as uow:
            found = uow.find(Suppression, address_key=key, ended_at=None)
        standing = [row for row in found if covers(row, meant, channel)]
        return min(standing, key=lambda row: (row.occurred_at, row.id), default=None)

    def restrict(
        self,
        customer_id: str,
        *,
        reason: str,
        actor: str | None = None,
        at: datetime | str | None = None,
    ) -> Restriction:
        """Only store a customer's data from now on (GDPR Art. 18), until `lift`.

        They may not be contacted, are scored and exported with segments no more, and are not
        merged by `merge_all`. Restricting again for the same reason is no matter.
        """
        why, who = _reason(reason), _actor(actor)
        moment = self._rt.at(at)
        check_past(moment, self._rt.now(), "at")

        def work(uow: UnitOfWork) -> Restriction:
            customer = self._rt.customer(uow, customer_id, lock=True)
            whose = self._rt.whose(uow, customer_id, customer.id)
            return restriction.restrict(uow, self._rt, whose, why, who, moment)

        return self._rt.write(work)

    def lift(
        self, customer_id: str, *, reason: str, actor: str | None = None
    ) -> tuple[Restriction, ...]:
        """Lift all restrictions of a customer; those that were lifted.

        The person must be told before (GDPR Art. 18(3)).
        """
        why, who = _reason(reason), _actor(actor)

        def work(uow: UnitOfWork) -> tuple[Restriction, ...]:
            customer = self._rt.customer(uow, customer_id, lock=True)
            return restriction.lift(uow, self._rt, customer.id, why, who)

        return self._rt.write(work)

    def export(self, customer_id: str) -> Export:
        """Everything held about a customer (GDPR Art. 15); empty for an erased one.

        Raises `NotFound` for an id that never was.
        """
        records: dict[str, tuple[Mapping[str, Any], ...]] = {}
        with self._rt.read() as uow:
            customer_id = self._rt.led(uow, customer_id)
            erased = self._erasure(uow, customer_id)
            for entry in filter(tells, owned()):
                theirs: dict[str, Any] = {entry.owner or "": customer_id}
                rows: list[object] = uow.find(entry.record, **theirs)
                if rows:
                    records[entry.table] = tuple(exported(entry, row) for row in rows)
            if not records and erased is None:
                raise self._rt.missing(uow, customer_id)
        return Export(customer_id, self._rt.now(), erased.erased_at if erased else None, records)

    def erase(self, customer_id: str) -> ErasureReceipt:
        """Erase a customer (GDPR Art. 17) in one transaction.

        Amounts, points and dates stay, linked to nobody. The id, and every `key=` that
        led to this customer, raise `Erased` from then on; so do the ids that were merged into
        it, and no merge of theirs can be undone any more. Erasing again erases what has
        appeared since. Raises `NotFound` for an id that never was.
        """
        return self._rt.write(lambda uow: self._erase(uow, checked_id(customer_id)))

    def rotate(self, *, progress: Callable[[int], None] | None = None) -> Rotation:
        """Bring all of this tenant that is sealed and hashed to the key ring's current key.

        Calls go on meanwhile: what is not rotated yet is found by its former hashes. It goes
        customer by customer, can be stopped at any time, and goes on where it was. Run for the
        first time on a database that was filled without a key ring, it seals what is there.
        `progress` hears how many customers are done. Raises `InvalidInput` without a key ring,
        and `DecryptionError` for what is sealed with a key that the ring does not have.
        """
        return rotate(self._rt, progress)

    def _erase(self, uow: UnitOfWork, customer_id: str) -> ErasureReceipt:
        customer_id = self._held(uow, customer_id)
        earlier = self._erasure(uow, customer_id)  # a restored backup may bring a profile back
        ids = [customer_id, *(r.id for r in uow.find(Redirect, customer_id=customer_id))]
        # A merge that was undone is told by the one who was kept, and speaks of both.
        merges = uow.find(Merge, customer_id=customer_id) + uow.find(Merge, dropped_id=tuple(ids))
        deleted: Counter[str] = Counter()
        # Their ranks go first, so that others move up.
        deleted[entry_of(Rank).table] += uow.count(Rank, customer_id=customer_id)
        self._rt.events.publish(uow, CustomerErased(customer_id, self._rt.now()))
        deleted[entry_of(Rank).table] -= uow.count(Rank, customer_id=customer_id)
        anonymised: Counter[str] = Counter()
        for entry in owned():
            theirs: dict[str, Any] = {entry.owner or "": customer_id}
            if entry.erase is OnErase.ANONYMISE:
                anonymised[entry.table] += uow.change(entry.record, blanks(entry), **theirs)
            else:
                deleted[entry.table] += uow.remove(entry.record, **theirs)
        deleted[entry_of(Merge).table] += uow.remove(Merge, dropped_id=tuple(ids))
        for side in ("one_id", "other_id"):
            compared: dict[str, Any] = {side: tuple(ids)}
            deleted[entry_of(MatchPair).table] += uow.remove(MatchPair, **compared)
        at = earlier.erased_at if earlier else self._rt.now()
        for gone in (*ids, *(m.id for m in merges)):
            subject = self._rt.fingerprint("erased", gone)
            uow.add_if_absent(Erasure(tenant=self._rt.tenant, subject=subject, erased_at=at))
        return ErasureReceipt(customer_id, at, dict(+deleted), dict(+anonymised))

    def _held(self, uow: UnitOfWork, customer_id: str) -> str:
        """The customer an id stands for, held; an erased one's own id."""
        try:
            found = self._rt.customer(uow, customer_id, lock=True).id
        except Erased:
            found = customer_id
        uow.get(Metrics, found, lock=True)  # activities under way come first
        return found

    def _erasure(self, uow: UnitOfWork, customer_id: str) -> Erasure | None:
        return uow.get(Erasure, self._rt.fingerprint("erased", checked_id(customer_id)))


def _reason(reason: object) -> str:
    told = text(reason, field="reason", limit=1_000)
    if told is None:
        raise InvalidInput("expected some text", field="reason")
    return told


def _actor(actor: object) -> str | None:
    return None if actor is None else text(actor, field="actor", limit=200)
