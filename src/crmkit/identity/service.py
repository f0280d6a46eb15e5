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
from crmkit.identity import lookup, merges, review
from crmkit.identity.lookup import Found
from crmkit.identity.matcher import Evidence, Match, Matcher
from crmkit.identity.merges import Unmerged
from crmkit.identity.review import Duplicate, Scan
from crmkit.model import Customer, Identity, MatchModel, Merge, Page, Redirect
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.time import iso
from crmkit.ports.events import ConsentStated, CustomerCreated
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork

_CHUNK: Final = 200
_MERGED_MAX: Final = 20  # customers who are looked at to be merged with one who was found


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
            whose = self._rt.write(partial(many.found, people=asked, first=len(ids)))
            ids += [w.customer_id for w in whose]
            if progress is not None:
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

    def dismiss(self, customer_id: str, other_id: str) -> None:
        """Say that two customers are two persons, for ever: also when either is merged later."""
        review.dismiss(self._rt, customer_id, other_id)

    def fit(self, *, progress: Callable[[str, int, int], None] | None = None) -> MatchModel:
        """Estimate the weights anew from this tenant's customers, without labels.

        Deterministic: the same customers give the same weights. Stored with the next version,
        and used from then on. `progress` hears a stage, how much is done, and of how much.
        """
        return review.fit(self._rt, progress)

    def model(self) -> MatchModel | None:
        """The fitted weights that are used, or None while the shipped ones are."""
        with self._rt.read() as uow:
            return uow.get(MatchModel, self._rt.tenant)

    def scan(self, *, progress: Callable[[str, int, int], None] | None = None) -> Scan:
        """Find all duplicates among all customers, and keep the pairs for `duplicates`.

        The weights are fitted first if they never were. Nobody is merged: see `merge_all`.
        """
        return review.scan(self._rt, progress)

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

    def merge_all(
        self,
        min_score: float,
        *,
        actor: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Merge, ...]:
        """Merge the pairs that `scan` found, from this probability on, the likeliest first.

        Each pair is judged again, with all that is known of both by then, and merged into the
        older customer in a transaction of its own. Dismissed pairs, contradictions, and those of
        whom only the names agree are left for somebody to look at. `progress` hears how many
        were merged. Raises `InvalidInput`.
        """
        return review.merge_all(self._rt, self._matcher, min_score, actor, progress)

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
        telling = [t for t in tokens if t[0] in blocking.CONTACTS + blocking.BIRTH]
        return prints | blocking.names(self._rt, telling)

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
            customer = self._fill(uow, found.customer, given, at, found.origin)
            customer = self._one_with(uow, customer, found, at)
        self._tell(uow, customer.id, given, at, found.origin)
        return attrs.evolve(self._resolution(found, given, at), customer=customer)

    def _one_with(
        self, uow: UnitOfWork, customer: Customer, found: Found, at: datetime
    ) -> Customer:
        """The customer, merged with those whom the data show to be the same person."""
        least = self._rt.settings.identity.merge_at
        others = found.others if least is not None else {}
        said = merges.Words("the same person", None, at)
        for other in sorted(others, key=lambda o: -others[o])[:_MERGED_MAX]:
            made = review.join(
                uow, self._rt, self._matcher(uow), customer.id, other, least or 1.0, said,
                unasked=True,
            )  # fmt: skip
            if made is not None:
                customer = self._rt.customer(uow, made.kept_id)
        return customer

    def _locked(self, uow: UnitOfWork, given: Given) -> Found:
        """Who was found, and is held; one who is being erased is waited for."""
        found = self._found(uow, given)
        while found.customer is not None:
            held = uow.get(Customer, found.customer.id, lock=True)
            if held is not None and found.origin is None:
                return attrs.evolve(found, customer=held)
            # Gone, or one who may have been parted while they were waited for.
            found = self._found(uow, given)
            if held is not None and found.customer is not None and found.customer.id == held.id:
                return found
        return found

    def _fill(
        self, uow: UnitOfWork, customer: Customer, given: Given, at: datetime, origin: str | None
    ) -> Customer:
        """Add what the profile lacks, and link the identifiers that are nobody's yet."""
        usable = dict(given.fields)
        for identifier in given.identifiers:
            mine = records.identity(self._rt, identifier, customer.id)
            if uow.add_if_absent(evolved(mine, origin=origin)):
                continue
            owner = uow.get(Identity, mine.kind, mine.fingerprint, mine.slot)
            if owner is None or owner.customer_id != customer.id:
                if owner is not None and self._share(uow, customer, owner, origin):
                    continue
                for field in (identifier.kind, f"{identifier.kind}_typed"):
                    usable.pop(field, None)  # it stays with the customer it belongs to
        fields = records.filled(customer, usable)
        return records.change(uow, self._rt, customer, fields, at, origin) if fields else customer

    def _share(
        self, uow: UnitOfWork, customer: Customer, owned: Identity, origin: str | None
    ) -> bool:
        """Link a mailbox that is another's too, where the two contradict each other."""
        other = uow.get(Customer, owned.customer_id) if owned.kind == "email" else None
        if other is None:
            return False
        found = self._matcher(uow).judge(traits.of_customer(customer), traits.of_customer(other))
        if found.against is None:
            return False
        uow.add_if_absent(evolved(owned, slot=customer.id, customer_id=customer.id, origin=origin))
        return True

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

    def found(
        self,
        uow: UnitOfWork,
        people: Sequence[tuple[Given, datetime]],
        first: int | None = None,
    ) -> list[Whose]:
        """Whose the data is, in order; who is not there yet is created as of that moment.

        An error names its place in a list of people if that of the `first` one is given.
        """
        identities = self._identities
        # All names at once and sorted, so that two such units of work never wait crosswise.
        uow.lock({name for given, _ in people for name in identities._names(given)})
        out: list[Whose] = []
        for n, (given, at) in enumerate(people, first or 0):
            try:
                out.append(self._one(uow, given, at))
            except InvalidInput as error:
                raise (error if first is None else error.within(f"people[{n}]")) from None
        return out

    def _one(self, uow: UnitOfWork, given: Given, at: datetime) -> Whose:
        found = self._identities._found(uow, given)
        if found.customer is None or not _complete(found, given):
            if found.customer is not None:
                found = self._identities._locked(uow, given)
            settled = self._identities._settle(uow, given, at, found)
            return self._whose(uow, settled.customer.id, found)
        return self._whose(uow, found.customer.id, found)

    def _whose(self, uow: UnitOfWork, customer_id: str, found: Found) -> Whose:
        """What comes with an identifier belongs to the side of a merge that brought it."""
        side = found.origin
        if side is None or (side != customer_id and uow.get(Redirect, side) is None):
            return Whose(customer_id, None, customer_id)
        return Whose(customer_id, side, side)


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
