"""`crm.gdpr`: export and erasure, driven by the catalogue."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from crmkit.erasure_ledger import ErasureEntry
from crmkit.gdpr import erasing, replaying
from crmkit.gdpr.consents import Consents
from crmkit.gdpr.documents import Export, exported, tells
from crmkit.gdpr.receipts import ErasureReceipt, content
from crmkit.gdpr.replaying import Replayed
from crmkit.gdpr.retention import Retention
from crmkit.model import Erasure
from crmkit.model.catalogue import owned
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork


class Privacy:
    """The rights of one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        self.consents = Consents(runtime)
        self.retention = Retention(runtime)

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

    def erase(self, customer_id: str, *, despite_hold: bool = False) -> ErasureReceipt:
        """Erase a customer (GDPR Art. 17) in one transaction.

        Amounts, points and dates stay, linked to nobody. The id, and every `key=` that
        led to this customer, raise `Erased` from then on; so do the ids that were merged into
        it, and no merge of theirs can be undone any more. Erasing again erases what has
        appeared since. Where `Settings.erasure_ledger` is set, it has the ids before anything
        is committed.

        Raises `NotFound` for an id that never was, and `OnHold` where a legal hold stands,
        unless it is to be done `despite_hold`.
        """
        checked_id(customer_id)
        return self._rt.write(
            lambda uow: erasing.erase(uow, self._rt, customer_id, despite_hold=despite_hold)
        )

    def verify_receipt(self, receipt: ErasureReceipt | Mapping[str, Any]) -> bool:
        """Whether this database gave that receipt, unchanged, and the erasure is on record.

        Takes the receipt, or the document that `to_dict` made of it.
        """
        document = receipt.to_dict() if isinstance(receipt, ErasureReceipt) else receipt
        number = document.get("number") if isinstance(document, Mapping) else None
        if not isinstance(number, str):
            return False
        if not hmac.compare_digest(
            number.encode(), self._rt.fingerprint("receipt", content(document)).encode()
        ):
            return False
        with self._rt.read() as uow:
            return all(erasing.erasure(uow, self._rt, gone) for gone in document["ids"])

    def replay_erasures(
        self,
        entries: Iterable[ErasureEntry],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Replayed:
        """Erase again whom a ledger tells of, after a backup came back.

        Each entry is a transaction of its own, and as it was the first time: with all ids, and
        with its date. Ids that the backup does not know are refused from then on too. Run it as
        often as you like, and again where it was cut off. Legal holds do not stop it: they were
        asked when it was erased. Entries of other tenants are passed over; `progress` hears how
        many of this one are done.
        """
        return replaying.replay(self._rt, entries, progress)

    def _erasure(self, uow: UnitOfWork, customer_id: str) -> Erasure | None:
        return erasing.erasure(uow, self._rt, customer_id)
