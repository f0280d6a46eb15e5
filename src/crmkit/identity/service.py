"""`crm.identity`: find-or-create on identifiers that are equal in canonical form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from crmkit.customers import normalise, records
from crmkit.customers.normalise import Given
from crmkit.errors import Erased, InvalidInput
from crmkit.identity import merges
from crmkit.identity.matching import Evidence, Resolution, conflict
from crmkit.identity.merges import Unmerged
from crmkit.model import Customer, Identity, Merge, Redirect
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.time import iso
from crmkit.ports.events import ConsentStated, CustomerCreated
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork


@attrs.frozen
class _Match:
    """What the identifiers of the data lead to."""

    customer: Customer | None
    matched_by: str | None
    evidence: tuple[Evidence, ...]
    candidates: tuple[str, ...]
    unlinked: bool  # whether an identifier is not linked to the customer yet
    origin: str | None = None  # where the identifier that decided belongs


class Identities:
    """Finds the customer that data speaks of."""

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
        """Find the customer with any of these identifiers, or create one.

        User account, external id, e-mail, phone and Instagram decide in this order. What
        the profile lacks is filled in; what is there stays. A phone or Instagram handle
        decides nothing between people whose birth dates differ. With `dry_run` nothing is
        written, and a customer that would be created has an empty id.

        Raises `InvalidInput` naming the field, `IdempotencyConflict`, and `Erased` where
        `key` stands for somebody who was erased.
        """
        moment = self._rt.at(at)
        if key is None and not dry_run:
            # Most guests are known and bring nothing new: then there is nothing to check
            # for storing, and nothing to write.
            given = self._given(data, check_email=False)
            with self._rt.read() as uow:
                match = self._match(uow, given)
            if _complete(match, given):
                return self._resolution(match, given, moment)
        given = self._given(data)
        if dry_run:
            with self._rt.read() as uow:
                return self._resolution(self._match(uow, given), given, moment)
        call = Call.of(self._rt, "identity.resolve", key, _content(given, at))
        return self._rt.write(lambda uow: self._resolve(uow, given, moment, call))

    def merge(
        self,
        keep: str,
        drop: str,
        *,
        reason: str,
        actor: str | None = None,
        at: datetime | str | None = None,
        key: str | None = None,
    ) -> Merge:
        """Make one customer of two, in one transaction: everything of `drop` goes to `keep`.

        The dropped id leads to the kept customer from then on. `reason` says why, `actor` who
        decided. Two who were merged by this pair of ids before are answered with that merge.

        Raises `InvalidInput` where both are one already, `NotFound` and `Erased`.
        """
        why = text(reason, field="reason", limit=500)
        if why is None:
            raise InvalidInput("expected some text", field="reason")
        who = None if actor is None else text(actor, field="actor", limit=200)
        said = merges.Words(why, who, self._rt.at(at))
        merge_id = self._rt.new_id()
        content = canonical([checked_id(keep), checked_id(drop), why, who, stated(at)])
        call = Call.of(self._rt, "identity.merge", key, content)

        def work(uow: UnitOfWork) -> Merge:
            seen = call.earlier(uow) if call else None
            if seen is not None:
                return merges.known(uow, self._rt, seen.result_id or "")
            fact = merges.merge(uow, self._rt, keep, drop, merge_id, said)
            if call:
                call.claim(uow, self._rt, customer_id=fact.customer_id, result_id=fact.id)
            return fact

        return self._rt.write(work)

    def unmerge(
        self, merge_id: str, *, to_dropped: Iterable[str] = (), dry_run: bool = False
    ) -> Unmerged:
        """Make two customers of one again: each gets back what was theirs.

        What came since the merge follows the id or the identifier that it came with. What
        carried none is undecided and stays, but for the facts named in `to_dropped`. With
        `dry_run` nothing is changed, and the answer says what would be.

        Raises `NotFound`, `Erased` where the person was erased since, and `InvalidInput` for a
        merge that was undone before and for facts that are not undecided.
        """
        wanted = frozenset(to_dropped)
        checked_id(merge_id)

        def work(uow: UnitOfWork) -> Unmerged:
            return merges.unmerge(uow, self._rt, merge_id, wanted, dry_run=dry_run)

        return merges.rehearsed(self._rt, work) if dry_run else self._rt.write(work)

    def merges(self, customer_id: str) -> tuple[Merge, ...]:
        """The merges that made up a person, in their order; those that were undone too."""
        with self._rt.read() as uow:
            return merges.of_person(uow, self._rt, customer_id)

    def _given(self, data: Mapping[str, Any], *, check_email: bool = True) -> Given:
        settings = self._rt.settings
        today = self._rt.now().astimezone(settings.zone).date()
        given = normalise.given(data, settings, today=today, check_email=check_email)
        if not given.fields:
            raise InvalidInput("nothing to tell a customer by", field="customer")
        return given

    def _resolve(
        self, uow: UnitOfWork, given: Given, at: datetime, call: Call | None
    ) -> Resolution:
        prints = [self._rt.fingerprint(i.kind, i.value) for i in given.identifiers]
        uow.lock([*prints, call.fingerprint] if call else prints)
        seen = call.earlier(uow) if call else None
        if seen is not None and seen.customer_id:
            customer = uow.get(Customer, seen.customer_id)
            if customer is None:
                raise Erased("what this key stood for was erased with its customer")
            return Resolution(customer, False, "key", (), ())
        resolution = self._settle(uow, given, at, self._locked_match(uow, given))
        if call:
            found = resolution.customer.id
            call.claim(uow, self._rt, customer_id=found, result_id=found)
        return resolution

    def _settle(self, uow: UnitOfWork, given: Given, at: datetime, match: _Match) -> Resolution:
        """Create the customer, or fill in what the one who was found lacks."""
        if match.customer is None:
            customer = records.create(uow, self._rt, given, at)
            self._rt.events.publish(uow, CustomerCreated(customer))
        else:
            customer = self._fill(uow, match.customer, given, at, match.origin)
        self._tell(uow, customer.id, given, at, match.origin)
        return Resolution(
            customer, match.customer is None, match.matched_by, match.evidence, match.candidates
        )

    def _locked_match(self, uow: UnitOfWork, given: Given) -> _Match:
        """The match, with its customer held; one that is being erased is waited for."""
        match = self._match(uow, given)
        while match.customer is not None:
            held = uow.get(Customer, match.customer.id, lock=True)
            if held is not None and match.origin is None:
                return attrs.evolve(match, customer=held)
            # Gone, or one who may have been parted while they were waited for.
            match = self._match(uow, given)
            if held is not None and match.customer is not None and match.customer.id == held.id:
                return match
        return match

    def _fill(
        self, uow: UnitOfWork, customer: Customer, given: Given, at: datetime, origin: str | None
    ) -> Customer:
        """Add what the profile lacks, and link the identifiers that are nobody's yet."""
        fields = records.filled(customer, given.fields)
        for identifier in given.identifiers:
            mine = records.identity(self._rt, identifier, customer.id)
            if uow.add_if_absent(evolved(mine, origin=origin)):
                continue
            owner = uow.get(Identity, mine.kind, mine.fingerprint, mine.slot)
            if owner is None or owner.customer_id != customer.id:
                for field in (identifier.kind, f"{identifier.kind}_typed"):
                    fields.pop(field, None)  # it stays with the customer it belongs to
        return records.change(uow, self._rt, customer, fields, at, origin) if fields else customer

    def _tell(
        self, uow: UnitOfWork, customer_id: str, given: Given, at: datetime, origin: str | None
    ) -> None:
        records.tag(uow, self._rt, customer_id, given.tags, at, origin)
        for said in given.consents:
            self._rt.events.publish(
                uow,
                ConsentStated(
                    customer_id, said.purpose, said.channel, said.granted, said.source,
                    said.at or at, origin,
                ),
            )  # fmt: skip

    def _match(self, uow: UnitOfWork, given: Given) -> _Match:
        """The first identifier, in order of trust, that leads to a customer."""
        if not given.identifiers:
            return _Match(None, None, (), (), unlinked=False)
        prints = {self._rt.fingerprint(i.kind, i.value): i.kind for i in given.identifiers}
        owners: dict[str, list[str]] = {p: [] for p in prints}
        origins: dict[str, str | None] = {}
        customers: dict[str, Customer] = {}
        for row, customer in uow.linked(tuple(dict.fromkeys(prints.values())), tuple(prints)):
            owners[row.fingerprint].append(customer.id)
            origins.setdefault(row.fingerprint + customer.id, row.origin)
            customers[customer.id] = customer
        evidence: list[Evidence] = []
        chosen: Customer | None = None
        matched_by = origin = None
        for fingerprint, kind in prints.items():
            for owner in () if chosen else owners[fingerprint]:
                against = (
                    conflict(customers[owner], given.fields)
                    if kind in records.SHARED_KINDS
                    else None
                )
                if against is None:
                    chosen, matched_by = customers[owner], kind
                    origin = origins[fingerprint + owner]
                    break
                evidence.append(against)
            if chosen and chosen.id in owners[fingerprint]:
                evidence.append(Evidence(kind, "equal"))
        others = dict.fromkeys(o for found in owners.values() for o in found)
        candidates = tuple(o for o in others if chosen is None or o != chosen.id)
        unlinked = chosen is not None and any(chosen.id not in o for o in owners.values())
        return _Match(chosen, matched_by, tuple(evidence), candidates, unlinked, origin)

    def _resolution(self, match: _Match, given: Given, at: datetime) -> Resolution:
        customer = match.customer or Customer(
            tenant=self._rt.tenant, id="", created_at=at, updated_at=at, **given.fields
        )
        return Resolution(
            customer, match.customer is None, match.matched_by, match.evidence, match.candidates
        )


class ManyAtOnce:
    """Finding or creating the customers of many items, inside one unit of work."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def understood(self, data: Mapping[str, Any]) -> Given:
        """What a mapping tells about a person; raises `InvalidInput`."""
        return self._identities._given(data)

    def found(self, uow: UnitOfWork, people: Sequence[tuple[Given, datetime]]) -> list[Whose]:
        """Whose the data is, in order; who is not there yet is created as of that moment."""
        identities, rt = self._identities, self._identities._rt
        # All names at once and sorted, so that two such units of work never wait crosswise.
        uow.lock({rt.fingerprint(i.kind, i.value) for g, _ in people for i in g.identifiers})
        found: list[Whose] = []
        for given, at in people:
            match = identities._match(uow, given)
            if match.customer is not None and _complete(match, given):
                found.append(self._whose(uow, match.customer.id, match))
                continue
            if match.customer is not None:
                match = identities._locked_match(uow, given)
            settled = identities._settle(uow, given, at, match)
            found.append(self._whose(uow, settled.customer.id, match))
        return found

    def _whose(self, uow: UnitOfWork, customer_id: str, match: _Match) -> Whose:
        """What comes with an identifier belongs to the side of a merge that brought it."""
        side = match.origin
        if side is None or (side != customer_id and uow.get(Redirect, side) is None):
            return Whose(customer_id, None, customer_id)
        return Whose(customer_id, side, side)


def _complete(match: _Match, given: Given) -> bool:
    """Whether there is nothing to write: found, and nothing to add."""
    return (
        match.customer is not None
        and not match.unlinked
        and not given.tags
        and not given.consents
        and not records.filled(match.customer, given.fields)
    )


def _content(given: Given, at: datetime | str | None) -> str:
    """What is asked, as canonical text."""
    said = [
        [c.purpose, c.channel, c.granted, c.source, iso(c.at) if c.at else None]
        for c in given.consents
    ]
    return canonical([records.plain(given.fields), list(given.tags), said, stated(at)])
