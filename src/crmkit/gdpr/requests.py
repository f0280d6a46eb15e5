"""`crm.gdpr.requests`: what people asked about their data, by when it is due, what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

from crmkit.errors import Erased, IdempotencyConflict, InvalidInput, NotFound, unknown
from crmkit.gdpr import auditing
from crmkit.gdpr.deadlines import Term, clock
from crmkit.model import Page, PrivacyRequest
from crmkit.model.catalogue import evolved
from crmkit.model.document import canonical, text
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import Duration, from_micros, to_micros
from crmkit.ports.idempotency import Call, stated
from crmkit.ports.runtime import Runtime, Whose, checked_id
from crmkit.ports.storage import UnitOfWork

OPEN: Final = "open"
COMPLETED: Final = "completed"
REFUSED: Final = "refused"
_STATES: Final = (OPEN, COMPLETED, REFUSED)
_SKEW: Final = timedelta(minutes=5)
_FORGOTTEN_AT_ONCE: Final = 500


class Requests:
    """The requests of one tenant's customers, and of people who are none."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def open(
        self,
        kind: str,
        customer_id: str | None = None,
        *,
        contact: str | None = None,
        details: str | None = None,
        received_at: datetime | str | None = None,
        jurisdiction: str = "gdpr",
        identity_verified: bool = True,
        key: str | None = None,
    ) -> PrivacyRequest:
        """Register a request when it comes; nothing is done about it by that.

        `received_at` is when it reached the business, by any way; the law's clock begins then.
        `contact` tells how to answer. It is needed for somebody of whom there is no customer, and
        kept then no longer than `Settings.privacy.forget_contacts_days` beyond the end. Without
        `identity_verified` you have asked who it is; see `verify`. Raises `InvalidInput`,
        `NotFound` and `Erased`.
        """
        rules, received = clock(jurisdiction, kind), self._past(received_at, "received_at")
        whom = None if contact is None else text(contact, field="contact", limit=500)
        more = None if details is None else text(details, field="details", limit=5_000)
        if customer_id is None and whom is None:
            raise InvalidInput("expected a customer_id, or how to reach them", field="contact")
        checked_id(customer_id or "-")
        said = [kind, jurisdiction, whom, more, stated(received_at), identity_verified]
        call = Call.of(self._rt, "gdpr.requests.open", key, canonical(said))

        def work(uow: UnitOfWork) -> PrivacyRequest:
            seen = _earlier(uow, call) if call else None
            whose = self._whose(uow, customer_id)
            holder = whose.customer_id if whose else None
            if seen and seen.customer_id != holder:
                raise IdempotencyConflict("this key was used before for another customer")
            if seen:
                return seen
            made = PrivacyRequest(
                tenant=self._rt.tenant,
                id=self._rt.new_id(),
                customer_id=holder,
                kind=kind,
                jurisdiction=jurisdiction,
                status=OPEN,
                received_at=received,
                recorded_at=self._rt.now(),
                due_at=self._end(rules.answer, received),
                confirm_by=self._end(rules.confirm, received) if rules.confirm else None,
                verified_at=received if identity_verified else None,
                contact=whom,
                details=more,
                call=call.fingerprint if call else None,
                content=call.content if call else None,
                origin=whose.origin if whose else None,
            )
            uow.add(made)
            auditing.note(uow, self._rt, "request", holder, {"kind": kind})
            return made

        return self._rt.write(work)

    def verify(self, request_id: str, *, at: datetime | str | None = None) -> PrivacyRequest:
        """It is known now who asked. Under the GDPR the month runs from here.

        That is so where you asked without delay (EDPB Guidelines 01/2022); the CCPA's clock
        does not wait. Verifying again changes nothing.
        """
        moment = self._past(at, "at")

        def verified(request: PrivacyRequest) -> PrivacyRequest:
            if request.verified_at is not None:
                return request
            rules = clock(request.jurisdiction, request.kind)
            term = (rules.extended if request.extended_at else None) or rules.answer
            since = max(moment, request.received_at)
            due = self._end(term, since) if rules.from_verified else request.due_at
            return evolved(request, verified_at=since, due_at=max(due, request.due_at))

        return self._change(request_id, verified)

    def confirm(self, request_id: str, *, at: datetime | str | None = None) -> PrivacyRequest:
        """The person was told that the request has come (CCPA); once is enough."""
        moment = self._past(at, "at")
        return self._change(
            request_id, lambda r: r if r.confirmed_at else evolved(r, confirmed_at=moment)
        )

    def extend(
        self, request_id: str, reason: str, *, at: datetime | str | None = None
    ) -> PrivacyRequest:
        """More time, where the law gives it; `at` is when the person was told, with the reason.

        GDPR: two further months, told within the first. CCPA: 45 further days, told within
        the first 45. Once only: extending again changes nothing. Raises `InvalidInput` where
        there is no extension, or where it is too late.
        """
        moment, why = self._past(at, "at"), _needed(reason, "reason")

        def extended(request: PrivacyRequest) -> PrivacyRequest:
            if request.extended_at is not None:
                return request
            rules = clock(request.jurisdiction, request.kind)
            if rules.extended is None:
                raise InvalidInput(f"{rules.source} knows no extension", field="jurisdiction")
            if moment >= request.due_at:
                raise InvalidInput("too late: the first term is over", field="at")
            start = request.received_at
            if rules.from_verified and request.verified_at:
                start = request.verified_at
            due = self._end(rules.extended, start)
            return evolved(request, extended_at=moment, extension=why, due_at=due)

        return self._change(request_id, extended)

    def complete(
        self, request_id: str, outcome: str | None = None, *, at: datetime | str | None = None
    ) -> PrivacyRequest:
        """It was done and the person told; completing again changes nothing."""
        told = None if outcome is None else text(outcome, field="outcome", limit=2_000)
        return self._close(request_id, COMPLETED, told, at)

    def refuse(
        self, request_id: str, reason: str, *, at: datetime | str | None = None
    ) -> PrivacyRequest:
        """It was not done, and the person told why and where to complain (GDPR Art. 12(4))."""
        return self._close(request_id, REFUSED, _needed(reason, "reason"), at)

    def get(self, request_id: str) -> PrivacyRequest:
        """The request; raises `NotFound`."""
        with self._rt.read() as uow:
            return _found(uow, request_id)

    def list(
        self,
        *,
        status: str = OPEN,
        due_before: datetime | str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[PrivacyRequest]:
        """Requests that are open, completed or refused, by when they are or were due."""
        if status not in _STATES:
            raise InvalidInput(unknown("status", status, _STATES), field="status")
        limit, start = checked_limit(limit), position(after, (int, str))
        before = None if due_before is None else self._rt.at(due_before)
        with self._rt.read() as uow:
            found = uow.find(
                PrivacyRequest,
                status=status,
                order=("due_at", "id"),
                after=start and (from_micros(start[0]), start[1]),
                limit=limit + 1,
            )
        wanted = [r for r in found if before is None or r.due_at < before]
        return paged(wanted, limit, lambda r: (to_micros(r.due_at), r.id))

    def of(self, customer_id: str) -> tuple[PrivacyRequest, ...]:
        """A customer's requests, in the order in which they came."""
        with self._rt.read() as uow:
            holder = self._rt.customer(uow, customer_id).id
            return tuple(uow.find(PrivacyRequest, customer_id=holder, order=("received_at", "id")))

    def due(
        self, within: str = "7d", *, at: datetime | str | None = None
    ) -> tuple[PrivacyRequest, ...]:
        """Open requests of which something falls due within that time, or is overdue.

        The most urgent first: by `next_at`, when the receipt is to be confirmed or the answer
        given.
        """
        moment = self._rt.at(at)
        return self._by(
            Duration.parse(within, field="within").after(moment, self._rt.settings.zone)
        )

    def overdue(self, at: datetime | str | None = None) -> tuple[PrivacyRequest, ...]:
        """Open requests of which something should have been done by now."""
        return self._by(self._rt.at(at))

    def run_due(self, at: datetime) -> int:
        """Forget who had asked, long after the end; returns how many requests; crmkit's own."""

        def work(uow: UnitOfWork) -> int:
            ripe = uow.due(PrivacyRequest, "forget_at", at, limit=_FORGOTTEN_AT_ONCE)
            uow.put_many(
                evolved(r, contact=None, details=None, extension=None, outcome=None,
                        content=None, forget_at=None)
                for r in ripe
            )  # fmt: skip
            return len(ripe)

        done = found = self._rt.write(work)
        while found == _FORGOTTEN_AT_ONCE:
            found = self._rt.write(work)
            done += found
        return done

    def _by(self, moment: datetime) -> tuple[PrivacyRequest, ...]:
        with self._rt.read() as uow:
            asked: Iterator[PrivacyRequest] = uow.stream(
                PrivacyRequest, status=OPEN, order=("due_at", "id")
            )
            found = [request for request in asked if request.next_at <= moment]
        return tuple(sorted(found, key=lambda r: (r.next_at, r.id)))

    def _close(
        self, request_id: str, status: str, told: str | None, at: datetime | str | None
    ) -> PrivacyRequest:
        moment = self._past(at, "at")
        days = timedelta(days=self._rt.settings.privacy.forget_contacts_days)

        def closed(request: PrivacyRequest) -> PrivacyRequest:
            forget = moment + days if request.customer_id is None else None
            return evolved(request, status=status, closed_at=moment, outcome=told, forget_at=forget)

        return self._change(request_id, closed, closing=status)

    def _change(
        self,
        request_id: str,
        # Pure: it may run again.
        changed: Callable[[PrivacyRequest], PrivacyRequest],
        closing: str | None = None,
    ) -> PrivacyRequest:
        def work(uow: UnitOfWork) -> PrivacyRequest:
            request = _found(uow, request_id, lock=True)
            if request.status == closing:
                return request
            if request.status != OPEN:
                raise InvalidInput(f"the request is {request.status}", field="status")
            after = changed(request)
            if after is not request:
                uow.put(after)
                told = {"kind": after.kind, "status": after.status}
                auditing.note(uow, self._rt, "request", after.customer_id, told)
            return after

        return self._rt.write(work)

    def _whose(self, uow: UnitOfWork, customer_id: str | None) -> Whose | None:
        if customer_id is None:
            return None
        holder = self._rt.customer(uow, customer_id, lock=True).id
        return self._rt.whose(uow, customer_id, holder)

    def _end(self, term: Term, start: datetime) -> datetime:
        settings = self._rt.settings
        return term.end(start, settings.zone, settings.holidays)

    def _past(self, at: datetime | str | None, field: str) -> datetime:
        moment, now = self._rt.at(at), self._rt.now()
        if moment > now + _SKEW:
            raise InvalidInput("lies ahead; say it when it has happened", field=field)
        return moment


def _earlier(uow: UnitOfWork, call: Call) -> PrivacyRequest | None:
    """The request that this call opened before; raises as `Call.claim` does."""
    uow.lock([call.fingerprint])
    # Not an `IdempotencyKey`: of those, one without a customer means that they were erased.
    for seen in uow.find(PrivacyRequest, call=call.fingerprint):
        if seen.content is None:
            raise Erased("what this key stood for was erased with its customer")
        if seen.content != call.content:
            raise IdempotencyConflict("this key was used before with other content")
        return seen
    return None


def _found(uow: UnitOfWork, request_id: object, *, lock: bool = False) -> PrivacyRequest:
    try:
        known = uow.get(PrivacyRequest, checked_id(request_id), lock=lock)
    except NotFound:
        known = None
    if known is None:
        raise NotFound("no such request: expected the `id` of a request")
    return known


def _needed(value: str, field: str) -> str:
    said = text(value, field=field, limit=2_000)
    if said is None:
        raise InvalidInput("expected some text", field=field)
    return said
