"""`crm.gdpr`: what people may ask about their data, driven by the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from crmkit.errors import Erased
from crmkit.gdpr.consents import Consents
from crmkit.gdpr.documents import ErasureReceipt, blanks
from crmkit.gdpr.export import ACCESS, Export
from crmkit.gdpr.exporting import Exporter, ExportSources
from crmkit.gdpr.importing import Imported, Importer
from crmkit.gdpr.rectifying import Rectified, Rectifying
from crmkit.gdpr.requests import Requests
from crmkit.model import (
    Erasure,
    MatchPair,
    Merge,
    Metrics,
    OnErase,
    Rank,
    Rectification,
    Redirect,
    entry_of,
)
from crmkit.model.catalogue import owned
from crmkit.ports.events import CustomerErased
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


class Privacy:
    """The rights of one tenant's customers."""

    def __init__(self, runtime: Runtime, sources: ExportSources) -> None:
        self._rt = runtime
        self.consents = Consents(runtime)
        self.requests = Requests(runtime)
        self._exporter = Exporter(runtime, sources)
        self._importer = Importer(runtime)
        self._rectifying = Rectifying(runtime)

    def export(self, customer_id: str, kind: str = ACCESS) -> Export:
        """A copy of what is held about a customer; empty for an erased one.

        With ``access`` (GDPR Art. 15) it is everything, and what must be told with it; with
        ``portability`` (Art. 20) what the person provided and what was observed, in a form that
        `import_portable` and other services read. Other people are left out of both. Raises
        `NotFound` for an id that never was.
        """
        return self._exporter.export(customer_id, kind)

    def import_portable(
        self, document: Mapping[str, Any], *, same_controller: bool, key: str | None = None
    ) -> Imported:
        """A new customer from a portability document, in one transaction.

        Where the `same_controller` gave the document, such as your other venue, the customer
        becomes equal: profile, tags, consents and activities. From anybody else only the profile
        is taken: consent that others were given is not consent to you, and purchases elsewhere
        earn no points here. Raises `InvalidInput` naming the place, and `AlreadyTaken` where a
        customer with that e-mail address is here; then nothing was written.
        """
        return self._importer.import_portable(document, same_controller, key)

    def rectify(
        self,
        customer_id: str,
        changes: Mapping[str, Any],
        *,
        reason: str,
        actor: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Rectified:
        """Correct or complete a profile because the person asked (GDPR Art. 16), and log it.

        Takes what `crm.customers.update` takes but tags. The result names the recipients who
        must hear of it (Art. 19). What happened, `crm.activities.amend` and `void` put right.
        """
        return self._rectifying.rectify(customer_id, changes, reason, actor, at, key)

    def rectifications(self, customer_id: str) -> tuple[Rectification, ...]:
        """What was put right of a customer, in order: from what, to what, why, by whom."""
        return self._rectifying.of(customer_id)

    def run_due(self, at: datetime) -> int:
        """Do what time has made due; returns how many things; crmkit's own."""
        return self.requests.run_due(at)

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
