"""`crm.loyalty.referrals`: codes that customers hand to friends, and what both sides get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any, Final, Literal

import attrs

from crmkit.activities.bulk import CHUNK, chunked
from crmkit.activities.recording import StoriesChanged, StoryChange
from crmkit.errors import InvalidInput, NotFound
from crmkit.loyalty import tiering
from crmkit.loyalty.codes import code_of, read_code
from crmkit.loyalty.earning import counts_from
from crmkit.loyalty.kinship import household, reached
from crmkit.loyalty.referring import DECIDED, EXISTING, REFERRED_BACK, SAME_CONTACT, Referring
from crmkit.loyalty.turns import makes_customer
from crmkit.model import (
    Customer,
    Page,
    ProfileChange,
    ReferralAccepted,
    ReferralCode,
    ReferralMade,
)
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import FOREVER, from_micros, to_micros
from crmkit.ports.events import ActivitiesAnonymised, CustomersMerged, MergeUndone
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme, ReferralPolicy

_GROUPS: Final = 3
"""60 bits: short enough to be told to a friend, and of 2**60 codes nobody guesses one."""
_ANONYMISED: Final = "anonymised"
"""In the place of the merge since which nothing of a referral changes any more."""

State = Literal["pending", "qualified", "rewarded", "refused"]


@attrs.frozen
class Referral:
    """That one customer came by another's code, and what became of it.

    `state` is ``pending`` until the referred customer first comes, ``qualified`` while the
    points of that can be called off, ``rewarded`` from `usable_at` on, or ``refused``, with
    a `reason`: ``same_person``, ``same_contact``, ``existing_customer``, ``referred_before``,
    ``referred_back``, or ``erased`` before anything came of it. `flags` tell what speaks for
    one household. `referrer_points` is 0 beyond the referrer's limit. An id is None once that
    customer was erased.
    """

    id: str
    programme: str
    referrer_id: str | None
    referee_id: str | None
    state: State
    reason: str | None
    flags: tuple[str, ...]
    referrer_points: int
    referee_points: int
    accepted_at: datetime
    qualified_at: datetime | None
    usable_at: datetime | None


@attrs.frozen
class ReferralCounts:
    """How many referrals a customer made, by what became of them."""

    made: int
    pending: int
    qualified: int
    rewarded: int
    refused: int


class Referrals:
    """Customers who bring customers."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def code(self, customer_id: str) -> str:
        """The code that a customer hands to friends, such as ``7KQ2-MX94-TA8P``; always the same.

        It leads to whoever holds this id: after a merge, the codes of both lead to the kept
        customer.
        """
        with self._rt.read() as uow:
            self._rt.customer(uow, customer_id)
            found = self._issued(uow, customer_id)
        return found or self._rt.write(partial(self._issue, customer_id=customer_id))

    def accept(
        self,
        referee_id: str,
        code: str,
        *,
        key: str | None = None,
        at: datetime | str | None = None,
        programme: str | None = None,
    ) -> Referral:
        """Note that a customer came by a code.

        Who cannot be referred is told as a result: see `Referral`. Somebody who had a
        booking, an order or a visit before `at` is an existing customer, whenever that
        becomes known. Of several referrals the first counts. Contacts are compared now, with
        those that either had before. The same referral again is the one that was made.

        Raises `NotFound` for an unknown code or customer, `InvalidInput` where the programme
        has no referrals or `at` lies ahead.
        """
        of, when = self._rt.settings.programme_named(programme), self._rt.at(at)
        policy = of.referral
        if policy is None:
            raise InvalidInput("this programme has no referrals", field="programme")
        if when > self._rt.now():
            raise InvalidInput("expected no instant ahead", field="at")
        checked_id(referee_id)
        known = self._known(read_code(code, _GROUPS) or "")
        content = canonical([known, stated(at), of.name])
        call = Call.of(self._rt, "referrals.accept", key, content)

        def work(uow: UnitOfWork) -> Referral:
            referrer, referee = self._held(uow, known, referee_id)
            row = self._row(of, policy, when, referee)
            earlier = self._same(uow, row, referrer.customer_id)
            seen = call and call.claim(
                uow, self._rt, customer_id=referee.customer_id, result_id=earlier or row.id,
                origin=referee.origin,
            )  # fmt: skip
            found = (seen and seen.result_id) or earlier
            if found is None:
                self._accept(uow, row, referrer)
            return self._told(uow, uow.find(ReferralAccepted, id=found or row.id))[0]

        return self._rt.write(work)

    def of(self, customer_id: str, *, limit: int = 100, after: str | None = None) -> Page[Referral]:
        """The referrals that a customer made, the latest first."""
        limit, start = checked_limit(limit), position(after, (int, str))
        with self._rt.read() as uow:
            made = uow.find(
                ReferralMade,
                customer_id=self._rt.customer(uow, customer_id).id,
                order=("accepted_at", "id"),
                descending=True,
                after=(from_micros(start[0]), start[1]) if start else None,
                limit=limit + 1,
            )
            rows = {r.id: r for r in self._accepted(uow, made)}
            found = self._told(uow, [rows[m.id] for m in made], made)
        return paged(found, limit, lambda r: (to_micros(r.accepted_at), r.id))

    def by(self, customer_id: str, *, programme: str | None = None) -> Referral | None:
        """By which referral a customer came, if any; refused ones are left out."""
        of = self._rt.settings.programme_named(programme)
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            rows = uow.find(ReferralAccepted, customer_id=holder, programme=of.name, reason=None)
            found = self._told(uow, sorted(rows, key=lambda r: (r.accepted_at, r.id)))
        return found[0] if found else None

    def count(self, customer_id: str) -> ReferralCounts:
        """How many referrals a customer made, by what became of them."""
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            made = uow.find(ReferralMade, customer_id=holder)
            found = [_state(row, self._rt.now())[0] for row in self._accepted(uow, made)]
        states: tuple[State, ...] = ("pending", "qualified", "rewarded", "refused")
        return ReferralCounts(len(found), *(found.count(state) for state in states))

    # --- what happens elsewhere ---

    def on_stories(self, uow: UnitOfWork, event: StoriesChanged) -> None:
        """Let referrals follow what was recorded of the referred; crmkit's own."""
        since: dict[str, datetime] = {}
        for change in event.changes:
            begun = self._begun(change)
            if begun is not None:
                customer_id = change.fact.customer_id or ""
                since[customer_id] = min(begun, since.get(customer_id, begun))
        if not since:
            return
        rows = uow.find(ReferralAccepted, customer_id=tuple(sorted(since)))
        self._settle(uow, {c for row in rows if (c := row.customer_id) and _may(row, since[c])})

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Take back what is pending and may no longer be, and keep the rest; crmkit's own."""
        merge = event.merge
        for row in self._concerned(uow, merge.kept_id):
            usable = row.usable_at is not None and row.usable_at <= merge.recorded_at
            if usable and row.kept_by is None:
                uow.put(evolved(row, kept_by=merge.id))
        self._settle(uow, [merge.kept_id], [merge.kept_id])

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Let referrals be as if that merge had never been; crmkit's own."""
        both = (event.merge.customer_id, event.merge.dropped_id)
        for customer_id in both:
            for row in self._concerned(uow, customer_id):
                if row.kept_by == event.merge.id:
                    uow.put(evolved(row, kept_by=None))
        self._settle(uow, both, both)

    def on_anonymised(self, uow: UnitOfWork, event: ActivitiesAnonymised) -> None:
        """Let stand what was decided by facts that are gone; crmkit's own."""
        rows = uow.find(ReferralAccepted, customer_id=tuple(sorted(event.customers)))
        uow.put_many(
            evolved(row, kept_by=_ANONYMISED) for row in rows if row.reason or row.qualified_at
        )

    # --- codes ---

    def _code(self, customer_id: str, n: int) -> str:
        """The n-th code of an id; the first, unless another's happens to be the same."""
        return code_of(self._rt.fingerprint("referral", f"{customer_id}:{n}"), _GROUPS)

    def _known(self, digits: str) -> str:
        return self._rt.fingerprint("referral code", digits)

    def _codes(self, customer_id: str) -> Iterator[tuple[str, str]]:
        """The codes that an id may have, each with what is kept of it."""
        for n in count():
            code = self._code(customer_id, n)
            yield code, self._known(code.replace("-", ""))

    def _issued(self, uow: UnitOfWork, customer_id: str) -> str | None:
        for code, fingerprint in self._codes(customer_id):
            known = uow.get(ReferralCode, fingerprint)
            if known is None:
                break
            if known.issued_to == customer_id:
                return code
        return None

    def _issue(self, uow: UnitOfWork, customer_id: str) -> str:
        holder = self._rt.metrics(uow, customer_id, lock=True).customer_id
        found = self._issued(uow, customer_id)
        if found is not None:
            return found
        issued = ReferralCode(
            tenant=self._rt.tenant,
            fingerprint="",
            customer_id=holder,
            issued_to=customer_id,
            origin=self._rt.whose(uow, customer_id, holder).origin,
        )
        return next(
            code
            for code, fingerprint in self._codes(customer_id)
            if uow.add_if_absent(evolved(issued, fingerprint=fingerprint))
        )

    # --- accepting ---

    def _held(self, uow: UnitOfWork, known: str, referee_id: str) -> tuple[Whose, Whose]:
        """Referrer and referee, held in the order of their ids."""
        code = uow.get(ReferralCode, known)
        if code is None:
            self._rt.customer(uow, referee_id)
            raise NotFound("no such referral code")
        told = (code.issued_to, referee_id)
        held = {c: self._rt.metrics(uow, c, lock=True).customer_id for c in sorted(set(told))}
        referrer, referee = (self._rt.whose(uow, c, held[c]) for c in told)
        return referrer, referee

    def _row(
        self, of: Programme, policy: ReferralPolicy, at: datetime, referee: Whose
    ) -> ReferralAccepted:
        return ReferralAccepted(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            customer_id=referee.customer_id,
            programme=of.name,
            terms=attrs.asdict(policy),
            accepted_at=at,
            recorded_at=self._rt.now(),
            origin=referee.origin,
        )

    def _same(self, uow: UnitOfWork, row: ReferralAccepted, referrer: str) -> str | None:
        """A referral of who accepts by that referrer, unless it was refused."""
        of: dict[str, Any] = {"customer_id": row.customer_id, "programme": row.programme}
        rows = uow.find(ReferralAccepted, reason=None, **of)
        made = uow.find(ReferralMade, id=tuple(r.id for r in rows)) if rows else []
        return next((m.id for m in made if m.customer_id == referrer), None)

    def _accept(self, uow: UnitOfWork, row: ReferralAccepted, referrer: Whose) -> None:
        made = ReferralMade(
            tenant=row.tenant,
            id=row.id,
            customer_id=referrer.customer_id,
            programme=row.programme,
            accepted_at=row.accepted_at,
            origin=referrer.origin,
        )
        referee_id = row.customer_id or ""
        if referrer.customer_id != referee_id:
            row = self._compared(uow, row, referrer.customer_id, referee_id)
        uow.add(row)
        uow.add(made)
        self._settle(uow, [referee_id])

    def _compared(
        self, uow: UnitOfWork, row: ReferralAccepted, referrer: str, referee: str
    ) -> ReferralAccepted:
        """The referral, with what the profiles of both tell."""
        people = [self._rt.customer(uow, c) for c in (referrer, referee)]
        mine, theirs = (self._reached(uow, customer) for customer in people)
        kinds = {kind for kind, _ in mine & theirs}
        flags = household(*people)
        if kinds == {"phone"} and row.terms["shared_phone"] == "flag":
            flags, kinds = (*flags, "same_phone"), set()
        if kinds:
            return evolved(row, flags=flags, reason=SAME_CONTACT)
        back = self._same(uow, evolved(row, customer_id=referrer), referee)
        return evolved(row, flags=flags, reason=REFERRED_BACK if back else None)

    def _reached(self, uow: UnitOfWork, customer: Customer) -> set[tuple[str, str]]:
        told = uow.find(ProfileChange, customer_id=customer.id)
        return reached(customer, (change.changes for change in told))

    # --- parts ---

    def _begun(self, change: StoryChange) -> datetime | None:
        """Since when a story tells of a customer, if it does, or did before it changed."""
        kinds = self._rt.settings.kinds_by_name
        told = [s for s in (change.before, change.after) if s and makes_customer(s, kinds)]
        return min((counts_from(fact) for s in told for fact in s.standing), default=None)

    def _settle(
        self, uow: UnitOfWork, referees: Iterable[str], referrers: Iterable[str] = ()
    ) -> None:
        for programme in Referring(uow, self._rt).settle(referees, referrers):
            tiering.note_once(uow, self._rt, programme)

    def _concerned(self, uow: UnitOfWork, customer_id: str) -> list[ReferralAccepted]:
        """The referrals in which a customer has a side."""
        made = uow.find(ReferralMade, customer_id=customer_id)
        found = {row.id: row for row in self._accepted(uow, made)}
        found |= {row.id: row for row in uow.find(ReferralAccepted, customer_id=customer_id)}
        return list(found.values())

    def _accepted(self, uow: UnitOfWork, made: Sequence[ReferralMade]) -> list[ReferralAccepted]:
        return [
            row
            for some in chunked((m.id for m in made), CHUNK)
            for row in uow.find(ReferralAccepted, id=tuple(some))
        ]

    def _told(
        self,
        uow: UnitOfWork,
        rows: Sequence[ReferralAccepted],
        made: Sequence[ReferralMade] | None = None,
    ) -> list[Referral]:
        if made is None:
            made = uow.find(ReferralMade, id=tuple(row.id for row in rows)) if rows else []
        referrers = {m.id: m.customer_id for m in made}
        now = self._rt.now()
        return [_referral(row, referrers[row.id], now) for row in rows]


def _referral(row: ReferralAccepted, referrer: str | None, now: datetime) -> Referral:
    state, reason = _state(row, now)
    shown = state != "pending" and state != "refused"
    return Referral(
        id=row.id,
        programme=row.programme,
        referrer_id=referrer,
        referee_id=row.customer_id,
        state=state,
        reason=reason,
        flags=row.flags,
        referrer_points=int(row.terms["referrer"]) if row.within_limit else 0,
        referee_points=int(row.terms["referee"]),
        accepted_at=row.accepted_at,
        qualified_at=row.qualified_at if shown else None,
        usable_at=row.usable_at if shown else None,
    )


def _state(row: ReferralAccepted, now: datetime) -> tuple[State, str | None]:
    if row.reason is not None:
        return "refused", row.reason
    if row.qualified_at is None:
        return ("refused", "erased") if row.customer_id is None else ("pending", None)
    return ("qualified" if (row.usable_at or FOREVER) > now else "rewarded"), None


def _may(row: ReferralAccepted, since: datetime) -> bool:
    """Whether a story that began then may change what a referral has come to."""
    if row.kept_by or row.reason in DECIDED:
        return False
    if row.reason == EXISTING:
        return since < row.accepted_at
    return row.qualified_at is None or since <= row.qualified_at
