"""`crm.gdpr`: export and erasure, driven by the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crmkit.gdpr.consents import Consents
from crmkit.gdpr.documents import ErasureReceipt, Export, blanks, exported, tells
from crmkit.model import Customer, Erasure, Metrics, OnErase
from crmkit.model.catalogue import owned
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


class Privacy:
    """The rights of one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self.consents = Consents(runtime)

    def export(self, customer_id: str) -> Export:
        """Everything held about a customer (GDPR Art. 15); empty for an erased one.

        Raises `NotFound` for an id that never was.
        """
        records: dict[str, tuple[Mapping[str, Any], ...]] = {}
        with self._rt.read() as uow:
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
        led to this customer, raise `Erased` from then on. Erasing again erases what has
        appeared since. Raises `NotFound` for an id that never was.
        """
        return self._rt.write(lambda uow: self._erase(uow, checked_id(customer_id)))

    def _erase(self, uow: UnitOfWork, customer_id: str) -> ErasureReceipt:
        present = uow.get(Customer, customer_id, lock=True)
        earlier = self._erasure(uow, customer_id)  # a restored backup may bring a profile back
        if present is None and earlier is None:
            raise self._rt.missing(uow, customer_id)
        uow.get(Metrics, customer_id, lock=True)  # activities under way come first
        deleted: dict[str, int] = {}
        anonymised: dict[str, int] = {}
        for entry in owned():
            theirs: dict[str, Any] = {entry.owner or "": customer_id}
            if entry.erase is OnErase.ANONYMISE:
                anonymised[entry.table] = uow.change(entry.record, blanks(entry), **theirs)
            else:
                deleted[entry.table] = uow.remove(entry.record, **theirs)
        if earlier is None:
            subject = self._rt.fingerprint("erased", customer_id)
            earlier = Erasure(tenant=self._rt.tenant, subject=subject, erased_at=self._rt.now())
            uow.add(earlier)
        return ErasureReceipt(
            customer_id,
            earlier.erased_at,
            {table: n for table, n in deleted.items() if n},
            {table: n for table, n in anonymised.items() if n},
        )

    def _erasure(self, uow: UnitOfWork, customer_id: str) -> Erasure | None:
        return uow.get(Erasure, self._rt.fingerprint("erased", checked_id(customer_id)))
