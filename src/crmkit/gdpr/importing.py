"""A new customer from a portability document (GDPR Art. 20), in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from crmkit.activities.holding import hold
from crmkit.activities.recording import record
from crmkit.customers import contacts, records
from crmkit.customers.normalise import Identifier
from crmkit.errors import AlreadyTaken, Erased, InvalidInput
from crmkit.gdpr import auditing
from crmkit.gdpr.addresses import address_of
from crmkit.gdpr.reading import Fact, Portable, read
from crmkit.model import Activity, Consent, Customer, Identity
from crmkit.model.document import canonical
from crmkit.ports.events import ConsentChanged
from crmkit.ports.idempotency import Call
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_LINKED = ("email", "phone", "instagram")


@attrs.frozen
class Imported:
    """The customer that was made, and how much came with the profile."""

    customer: Customer
    tags: int
    consents: int
    activities: int


class Importer:
    """Makes customers of one tenant from portability documents."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def import_portable(
        self, document: Mapping[str, Any], same_controller: bool, key: str | None
    ) -> Imported:
        """Check the document, then store all of it or nothing."""
        if not isinstance(same_controller, bool):
            raise InvalidInput("expected True or False", field="same_controller")
        now = self._rt.now()
        said = read(document, self._rt.settings, now, profile_only=not same_controller)
        content = "" if key is None else canonical([said, same_controller])
        call = Call.of(self._rt, "gdpr.import_portable", key, content)

        def work(uow: UnitOfWork) -> Imported:
            identifiers = [*said.given.identifiers, *_aliases(said)]
            prints = {self._rt.fingerprint(i.kind, i.value) for i in identifiers}
            uow.lock({*prints, call.fingerprint} if call else prints)
            seen = call.earlier(uow) if call else None
            if seen is not None:
                return _counted(self._known(uow, seen.result_id), said)
            self._check_free(uow, said)
            customer = records.create(uow, self._rt, said.given, said.created_at)
            for further in _aliases(said):  # a mailbox of somebody else stays theirs
                uow.add_if_absent(records.identity(self._rt, further, customer.id))
            for tag, at in said.tags:
                records.tag(uow, self._rt, customer.id, [tag], at)
            self._consent(uow, customer.id, said)
            self._record(uow, customer.id, said.facts)
            if call:
                call.claim(uow, self._rt, customer_id=customer.id, result_id=customer.id)
            auditing.note(uow, self._rt, "import", customer.id)
            return _counted(customer, said)

        return self._rt.write(work)

    def _known(self, uow: UnitOfWork, customer_id: str | None) -> Customer:
        if customer_id is None:
            raise Erased("what this key stood for was erased with its customer")
        return self._rt.customer(uow, customer_id)

    def _check_free(self, uow: UnitOfWork, said: Portable) -> None:
        for identifier in said.given.identifiers:
            if identifier.kind in records.SHARED_KINDS:
                continue
            hashes = self._rt.indexes(identifier.kind, identifier.value)
            if uow.find(Identity, kind=identifier.kind, fingerprint=hashes, slot=""):
                raise AlreadyTaken("belongs to a customer who is here", field=identifier.kind)

    def _consent(self, uow: UnitOfWork, customer_id: str, said: Portable) -> None:
        now = self._rt.now()
        uow.add_many(
            Consent(
                tenant=self._rt.tenant,
                id=self._rt.new_id(),
                customer_id=customer_id,
                recorded_at=now,
                address_key=self._address_key(fields),
                **fields,
            )
            for fields in said.consents
        )
        for fields in said.consents:
            self._rt.events.publish(uow, ConsentChanged(customer_id, fields["occurred_at"]))

    def _address_key(self, fields: Mapping[str, Any]) -> str | None:
        address = fields.get("address")
        return address and address_of(self._rt, fields["channel"], address).key

    def _record(self, uow: UnitOfWork, customer_id: str, facts: tuple[Fact, ...]) -> None:
        if not facts:
            return
        now = self._rt.now()
        ids = [self._rt.new_id() for _ in facts]
        stories = self._stories(customer_id, facts, ids)
        held = hold(uow, self._rt, [customer_id])
        made = [
            Activity(
                tenant=self._rt.tenant,
                id=ids[fact.no - 1],
                customer_id=customer_id,
                recorded_at=now,
                story=stories[fact.story],
                **{
                    **{"amount_minor": None, "currency": None, "status": None},
                    **{"item": None, "venue": None},
                    **fact.fields,
                    "corrects": ids[fact.corrects - 1] if fact.corrects else None,
                },
            )
            for fact in facts
        ]
        record(uow, self._rt, made, {}, held)

    def _stories(
        self, customer_id: str, facts: tuple[Fact, ...], ids: list[str]
    ) -> Mapping[int, str]:
        """What each story is called here: as tracking would call it, so that it can go on."""
        names: dict[int, str] = {}
        used: set[str] = set()
        for fact in facts:
            reference = fact.fields.get("reference")
            if fact.story in names or not reference or not fact.reference_name:
                continue
            name = self._rt.fingerprint("story", f"{customer_id}:{fact.reference_name}:{reference}")
            if name not in used:  # a merged customer may have told of one booking as two
                names[fact.story] = name
                used.add(name)
        return {fact.story: names.get(fact.story, ids[fact.story - 1]) for fact in facts}


def _aliases(said: Portable) -> Iterator[Identifier]:
    """The identifiers among what the person is also known by."""
    for kind, values in said.given.fields.get("aliases", {}).items():
        for value in values if kind in _LINKED else ():
            yield Identifier(kind, contacts.canonical_email(value) if kind == "email" else value)


def _counted(customer: Customer, said: Portable) -> Imported:
    return Imported(customer, len(said.tags), len(said.consents), len(said.facts))
