"""`crm.gdpr`: what people may ask about their data, driven by the catalogue."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from crmkit.erasure_ledger import ErasureEntry
from crmkit.errors import InvalidInput
from crmkit.gdpr import erasing, objections, replaying, restriction
from crmkit.gdpr.addresses import address_of, checked_channel, kind_of, purpose_key
from crmkit.gdpr.audit import Audit
from crmkit.gdpr.consents import Consents
from crmkit.gdpr.export import ACCESS, Export
from crmkit.gdpr.exporting import Exporter, ExportSources
from crmkit.gdpr.holders import Holders
from crmkit.gdpr.importing import Imported, Importer
from crmkit.gdpr.permission import covers
from crmkit.gdpr.processing import ProcessingRecord, processing_record
from crmkit.gdpr.receipts import ErasureReceipt, content
from crmkit.gdpr.rectifying import Rectified, Rectifying
from crmkit.gdpr.replaying import Replayed
from crmkit.gdpr.requests import Requests
from crmkit.gdpr.retention import Retention
from crmkit.gdpr.rotation import Rotation, rotate
from crmkit.gdpr.statements import check_past, checked_purpose
from crmkit.model import Objection, Rectification, Restriction, Suppression
from crmkit.model.document import text
from crmkit.ports.holders import Holder
from crmkit.ports.keys import RotatingKeys
from crmkit.ports.runtime import Runtime, checked_id
from crmkit.ports.storage import UnitOfWork

_KIND = re.compile(r"[a-z][a-z_]{0,29}", re.ASCII)


class Privacy:
    """The rights of one tenant's customers."""

    def __init__(self, runtime: Runtime, sources: ExportSources) -> None:
        self._rt = runtime
        self.consents = Consents(runtime)
        self.audit = Audit(runtime)
        self.holders = Holders(runtime)
        self.retention = Retention(runtime)
        self.requests = Requests(runtime)
        self._exporter = Exporter(runtime, sources)
        self._importer = Importer(runtime)
        self._rectifying = Rectifying(runtime)

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
            rt.settings,
            self.holders.all(),
            tenant=rt.tenant,
            at=rt.now(),
            encrypted=isinstance(rt.keys, RotatingKeys),
        )

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
        again later is recorded too: a yes from before it ends nothing. The objections, one for
        each channel.
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
            self.consents.withdraw_all(uow, whose, made, None if at is None else moment)
            self.audit.note(uow, "object", customer_id)
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

        def work(uow: UnitOfWork) -> Suppression:
            made = objections.suppress(uow, self._rt, found.key, channel, meant, kind, moment)
            self.audit.note(uow, "suppress", details={"channel": channel, "kind": kind})
            return made

        return self._rt.write(work)

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
            made = restriction.restrict(uow, self._rt, whose, why, who, moment)
            self.holders.restrict(uow, customer.id, restricted=True)
            self.audit.note(uow, "restrict", customer_id)
            return made

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
            lifted = restriction.lift(uow, self._rt, customer.id, why, who)
            self.holders.restrict(uow, customer.id, restricted=False)
            self.audit.note(uow, "lift", customer_id)
            return lifted

        return self._rt.write(work)

    def export(self, customer_id: str, kind: str = ACCESS) -> Export:
        """A copy of what is held about a customer; empty for an erased one.

        With ``access`` (GDPR Art. 15) it is everything, and what must be told with it; with
        ``portability`` (Art. 20) what the person provided and what was observed, in a form that
        `import_portable` and other services read. Other people are left out of both. Raises
        `NotFound` for an id that never was.
        """
        found = self._exporter.export(customer_id, kind)
        self.audit.record("export", found.customer_id)
        return found

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

    def rotate(self, *, progress: Callable[[int], None] | None = None) -> Rotation:
        """Bring all of this tenant that is sealed and hashed to the key ring's current key.

        Calls go on meanwhile: what is not rotated yet is found by its former hashes. It goes
        customer by customer, can be stopped at any time, and goes on where it was. Run for the
        first time on a database that was filled without a key ring, it seals what is there.
        `progress` hears how many customers are done. Raises `InvalidInput` without a key ring,
        and `DecryptionError` for what is sealed with a key that the ring does not have.
        """
        done = rotate(self._rt, progress)
        self.audit.record("rotate", details={"customers": done.customers, "left": done.left})
        return done

    def verify_receipt(self, receipt: ErasureReceipt | Mapping[str, Any]) -> bool:
        """Whether this database gave that receipt, unchanged, and the erasure is on record.

        Takes the receipt, or the document that `to_dict` made of it.
        """
        document = receipt.to_dict() if isinstance(receipt, ErasureReceipt) else receipt
        number = document.get("number") if isinstance(document, Mapping) else None
        if not isinstance(number, str):
            return False
        try:
            made = self._rt.fingerprint("receipt", content(document))
            same = hmac.compare_digest(number.encode(), made.encode())
        except (TypeError, ValueError, RecursionError):  # no JSON, or broken Unicode
            same = False
        if not same:
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


def _reason(reason: object) -> str:
    told = text(reason, field="reason", limit=1_000)
    if told is None:
        raise InvalidInput("expected some text", field="reason")
    return told


def _actor(actor: object) -> str | None:
    return None if actor is None else text(actor, field="actor", limit=200)
