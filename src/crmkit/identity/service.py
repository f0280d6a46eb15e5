"""`crm.identity`: who is who. The customer that data speak of, and duplicates among customers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final

import attrs

from crmkit.customers import blocking, normalise, records, traits
from crmkit.customers.normalise import Given
from crmkit.errors import Erased, InvalidInput
from crmkit.identity import lookup, review
from crmkit.identity.lookup import Found
from crmkit.identity.matcher import Evidence, Match, Matcher
from crmkit.identity.review import Duplicate, Scan
from crmkit.model import Customer, Identity, MatchModel, Page
from crmkit.model.document import canonical
from crmkit.model.time import iso
from crmkit.ports.events import ConsentStated, CustomerCreated
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork

_CHUNK: Final = 200


@attrs.frozen
class Resolution:
    """The customer that data stand for, and why.

    `matched_by` is the kind of identifier that decided, ``profile`` where the whole did, or
    None for a new customer. `probability` is that of the data and the customer being one
    person. `candidates` are other customers who may be meant.
    """

    customer: Customer
    created: bool
    matched_by: str | None
    evidence: tuple[Evidence, ...]
    candidates: tuple[str, ...]
    probability: float = 1.0


class Identities:
    """Tells who is who among one tenant's customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def resolve(
        self,
        data: Mapping[str, Any],
        *,
        at: datetime | str | None = None,
        key: str | None = None,
        dry_run: bool = False,
    ) -> Resolution:
        """Find the customer whom these data mean, or create one.

        A user account or an external id decides. Otherwise profiles are compared: those who
        share an identifier, and where none of them fits, those who resemble the data. Names,
        birth dates or accounts that contradict each other are two persons, whatever they
        share. What the profile lacks is filled in; what is there stays, and what differs is
        kept among its aliases. With `dry_run` nothing is written, and a customer that would
        be created has an empty id.

        Raises `InvalidInput` naming the field, `IdempotencyConflict`, and `Erased` where
        `key` stands for somebody who was erased.
        """
        moment = self._rt.at(at)
        if key is None and not dry_run:
            # Most guests are known and bring nothing new: then there is nothing to check
            # for storing, and nothing to write.
            given = self._given(data, check_email=False)
            with self._rt.read() as uow:
                found = self._found(uow, given)
            if _complete(found, given):
                return self._resolution(found, given, moment)
        given = self._given(data)
        if dry_run:
            with self._rt.read() as uow:
                return self._resolution(self._found(uow, given), given, moment)
        call = Call.of(self._rt, "identity.resolve", key, _content(given, at))
        return self._rt.write(lambda uow: self._resolve(uow, given, moment, call))

    def resolve_many(
        self,
        people: Iterable[Mapping[str, Any]],
        *,
        at: datetime | str | None = None,
        match: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[str, ...]:
        """Find or create the customers of many mappings; their ids, in order.

        Some hundreds share a transaction. Without `match` only accounts and external ids
        find a customer: each other mapping becomes one, as in the table that it comes from,
        and `scan` tells afterwards who is there twice. `progress` hears how many are done.

        Raises `InvalidInput` naming the mapping by its place; what came in earlier chunks
        stays, what is in this one does not.
        """
        moment = self._rt.at(at)
        identities = self if match else Identities(self._unmatched())
        many = ManyAtOnce(identities)
        ids: list[str] = []
        rest = iter(people)
        while chunk := list(islice(rest, _CHUNK)):
            asked = []
            for n, data in enumerate(chunk, len(ids)):
                try:
                    asked.append((identities._given(data), moment))
                except InvalidInput as error:
                    raise error.within(f"people[{n}]") from None
            ids += self._rt.write(partial(many.found, people=asked))
            if progress:
                progress(len(ids))
        return tuple(ids)

    def _unmatched(self) -> Runtime:
        """The same, but for a matching in which no field takes part."""
        settings = self._rt.settings
        matching = attrs.evolve(settings.identity, fields=(), fuzzy_match=False)
        return attrs.evolve(self._rt, settings=attrs.evolve(settings, identity=matching))

    def compare(self, customer_id: str, other_id: str) -> Match:
        """How probable it is that two customers are one person, with the evidence."""
        with self._rt.read() as uow:
            return review.compare(uow, self._rt, self._matcher(uow), customer_id, other_id)

    def duplicates(
        self, *, min_score: float | None = None, limit: int = 100, after: str | None = None
    ) -> Page[Duplicate]:
        """Pairs of customers who may be one person, the likeliest first, with the evidence.

        They were found by `scan`, or when one of the two was created. Dismissed pairs never
        come back. `min_score` is a probability; without it `Settings.identity.maybe` is.
        """
        return review.duplicates(self._rt, self._matcher, min_score, limit, after)

    def dismiss(self, customer_id: str, other_id: str, *, actor: str | None = None) -> None:
        """Say that two customers are two persons, for ever: also when either is merged later."""
        review.dismiss(self._rt, customer_id, other_id, actor)

    def fit(self, *, progress: Callable[[str, int, int], None] | None = None) -> MatchModel:
        """Estimate the weights anew from this tenant's customers, without labels.

        Deterministic: the same customers give the same weights. Stored with the next version,
        and used from then on. `progress` hears a stage, how much is done, and of how much.
        """
        return review.fit(self._rt, progress)

    def model(self) -> MatchModel | None:
        """The fitted weights that are used, or None while the shipped ones are."""
        with self._rt.read() as uow:
            return uow.get(MatchModel, review.CURRENT)

    def scan(self, *, progress: Callable[[str, int, int], None] | None = None) -> Scan:
        """Find all duplicates among all customers, and keep the pairs for `duplicates`.

        The weights are fitted first if they never were. Nobody is merged: see `merge_all`.
        """
        return review.scan(self._rt, progress)

    def _matcher(self, uow: UnitOfWork) -> Matcher:
        return review.matcher(uow, self._rt)

    def _given(self, data: Mapping[str, Any], *, check_email: bool = True) -> Given:
        settings = self._rt.settings
        today = self._rt.now().astimezone(settings.zone).date()
        given = normalise.given(data, settings, today=today, check_email=check_email)
        if not given.fields:
            raise InvalidInput("nothing to tell a customer by", field="customer")
        return given

    def _found(self, uow: UnitOfWork, given: Given) -> Found:
        return lookup.found(uow, self._rt, self._matcher(uow), given)

    def _names(self, given: Given) -> set[str]:
        """What is locked so that nobody else creates the same customer meanwhile."""
        prints = {self._rt.fingerprint(i.kind, i.value) for i in given.identifiers}
        tokens = blocking.of_traits(traits.of_fields(given.fields))
        contacts = [t for t in tokens if t[0] in blocking.CONTACTS]
        return prints | blocking.hashes(self._rt, contacts)

    def _resolve(
        self, uow: UnitOfWork, given: Given, at: datetime, call: Call | None
    ) -> Resolution:
        names = self._names(given)
        uow.lock({*names, call.fingerprint} if call else names)
        seen = call.earlier(uow) if call else None
        if seen is not None and seen.customer_id:
            customer = uow.get(Customer, seen.customer_id)
            if customer is None:
                raise Erased("what this key stood for was erased with its customer")
            return Resolution(customer, False, "key", (), ())
        resolution = self._settle(uow, given, at, self._locked(uow, given))
        if call:
            found = resolution.customer.id
            call.claim(uow, self._rt, customer_id=found, result_id=found)
        return resolution

    def _settle(self, uow: UnitOfWork, given: Given, at: datetime, found: Found) -> Resolution:
        """Create the customer, or fill in what the one who was found lacks."""
        if found.customer is None:
            customer = records.create(uow, self._rt, given, at)
            review.note(uow, self._rt, customer.id, found.others)
            self._rt.events.publish(uow, CustomerCreated(customer))
        else:
            customer = self._fill(uow, found.customer, given, at)
        self._tell(uow, customer.id, given, at)
        return attrs.evolve(self._resolution(found, given, at), customer=customer)

    def _locked(self, uow: UnitOfWork, given: Given) -> Found:
        """Who was found, and is held; one who is being erased is waited for."""
        found = self._found(uow, given)
        while found.customer is not None:
            held = uow.get(Customer, found.customer.id, lock=True)
            if held is not None:
                return attrs.evolve(found, customer=held)
            found = self._found(uow, given)
        return found

    def _fill(self, uow: UnitOfWork, customer: Customer, given: Given, at: datetime) -> Customer:
        """Add what the profile lacks, and link the identifiers that are nobody's yet."""
        usable = dict(given.fields)
        for identifier in given.identifiers:
            mine = records.identity(self._rt, identifier, customer.id)
            if uow.add_if_absent(mine):
                continue
            owner = uow.get(Identity, mine.kind, mine.fingerprint, mine.slot)
            if owner is None or owner.customer_id != customer.id:
                for field in (identifier.kind, f"{identifier.kind}_typed"):
                    usable.pop(field, None)  # it stays with the customer it belongs to
        fields = records.filled(customer, usable)
        return records.change(uow, self._rt, customer, fields, at) if fields else customer

    def _tell(self, uow: UnitOfWork, customer_id: str, given: Given, at: datetime) -> None:
        records.tag(uow, self._rt, customer_id, given.tags, at)
        for said in given.consents:
            self._rt.events.publish(
                uow,
                ConsentStated(
                    customer_id, said.purpose, said.channel, said.granted, said.source,
                    said.at or at,
                ),
            )  # fmt: skip

    def _resolution(self, found: Found, given: Given, at: datetime) -> Resolution:
        customer = found.customer or Customer(
            tenant=self._rt.tenant, id="", created_at=at, updated_at=at, **given.fields
        )
        return Resolution(
            customer,
            found.customer is None,
            found.matched_by,
            found.evidence,
            tuple(found.others),
            found.probability,
        )


class ManyAtOnce:
    """Finding or creating the customers of many items, inside one unit of work."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def understood(self, data: Mapping[str, Any]) -> Given:
        """What a mapping tells about a person; raises `InvalidInput`."""
        return self._identities._given(data)

    def found(self, uow: UnitOfWork, people: Sequence[tuple[Given, datetime]]) -> list[str]:
        """The customers' ids, in order; who is not there yet is created as of that moment."""
        identities = self._identities
        # All names at once and sorted, so that two such units of work never wait crosswise.
        uow.lock({name for given, _ in people for name in identities._names(given)})
        ids: list[str] = []
        for given, at in people:
            found = identities._found(uow, given)
            if found.customer is not None and _complete(found, given):
                ids.append(found.customer.id)
                continue
            if found.customer is not None:
                found = identities._locked(uow, given)
            ids.append(identities._settle(uow, given, at, found).customer.id)
        return ids


def _complete(found: Found, given: Given) -> bool:
    """Whether there is nothing to write: found, and nothing to add."""
    return (
        found.customer is not None
        and not found.unlinked
        and not given.tags
        and not given.consents
        and not records.filled(found.customer, given.fields)
    )


def _content(given: Given, at: datetime | str | None) -> str:
    """What is asked, as canonical text."""
    said = [
        [c.purpose, c.channel, c.granted, c.source, iso(c.at) if c.at else None]
        for c in given.consents
    ]
    return canonical([records.plain(given.fields), list(given.tags), said, stated(at)])
