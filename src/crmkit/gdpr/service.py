"""`crm.gdpr`: export and erasure, driven by the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from crmkit.errors import Erased
from crmkit.gdpr.audit import Audit
from crmkit.gdpr.consents import Consents
from crmkit.gdpr.documents import ErasureReceipt, Export, blanks, exported, tells
from crmkit.gdpr.holders import Holders
from crmkit.gdpr.processing import ProcessingRecord, processing_record
from crmkit.model import Erasure, MatchPair, Merge, Metrics, OnErase, Rank, Redirect, entry_of
from crmkit.model.catalogue import owned
from crmkit.ports.events import CustomerErased
from crmkit.ports.holders import Holder
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


class Privacy:
    """The rights of one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self.consents = Consents(runtime)
        self.audit = Audit(runtime)
        self.holders = Holders(runtime)

    def register(self, holder: Holder) -> None:
        """Let a holder answer for tables of the host's own; see `crmkit.ports.holders`.

        From then on they are part of exports, erasures and the record of processing, for
        all tenants of this service. Registered once for each service, when the app starts.
        """
        self.holders.add(holder)

    def processing_record(self) -> ProcessingRecord:
        """The record of processing activities (GDPR Art. 30), as far as crmkit knows it.

        From the catalogue of records, the settings and the holders; what crmkit cannot know is
        listed as to be stated. `markdown()` gives it as a page.
        """
        rt = self._rt
        return processing_record(
            rt.settings, self.holders.all(), tenant=rt.tenant, at=rt.now(), encrypted=False
        )

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
            records |= self.holders.export(uow, customer_id)
        self.audit.record("export", customer_id)
        return Export(customer_id, self._rt.now(), erased.erased_at if erased else None, records)

    def erase(self, customer_id: str) -> ErasureReceipt:
        """Erase a customer (GDPR Art. 17) in one transaction.

        Amounts, points and dates stay, linked to nobody. The id, and every `key=` that
        led to this customer, raise `Erased` from then on; so do the ids that were merged into
        it, and no merge of theirs can be undone any more. Erasing again erases what has
        appeared since. Raises `NotFound` for an id that never was.
        """
        return self._rt.write(lambda uow: self._erase(uow, checked_id(customer_id)))

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
        deleted.update(self.holders.erase(uow, ids))
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
