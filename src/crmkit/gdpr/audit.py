"""`crm.gdpr.audit`: who did what to whom, when and why; sealed into a chain, and verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Any, Final, TextIO

import attrs

from crmkit.gdpr import auditing
from crmkit.gdpr.chaining import AuditHead, exported, of_chain, pruned, sealed, started
from crmkit.gdpr.verifying import AuditReport, verified
from crmkit.model import AuditChain, AuditRow, AuditSubject, Customer, Page, Redirect
from crmkit.model.catalogue import evolved
from crmkit.model.page import checked_limit, paged, position
from crmkit.model.time import from_micros, to_micros
from crmkit.ports.events import ConsentChanged, CustomerErased, CustomersMerged, MergeUndone
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import STREAM_PAGE, UnitOfWork

SEALED_AT_ONCE: Final = 2_000
_LOCK: Final = "audit"
_LAST: Final = "~"  # behind every id


@attrs.frozen
class AuditEntry:
    """What somebody did: `actor` by `via`, at `occurred_at`, to `customer_id`, and why.

    `actor` is None where nobody was named; `customer_id` and `reason` are None where the entry
    is about nobody in particular, or about somebody who was erased. `details` counts rows
    by table, or says in words of crmkit's own what was done, and holds nothing personal.
    `sequence` is the place in the chain, None until it is sealed.
    """

    id: str
    occurred_at: datetime
    action: str
    actor: str | None = attrs.field(repr=False)
    via: str | None
    customer_id: str | None
    reason: str | None = attrs.field(repr=False)
    details: Mapping[str, Any]
    sequence: int | None


class Audit:
    """The audit of one tenant."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def acting(
        self, actor: str, *, reason: str | None = None, via: str | None = None
    ) -> AbstractContextManager[None]:
        """Name who acts while the block lasts, for all that this thread or task does in it.

        `actor` is a member of staff, or a job, in the host's own words, such as ``"staff:7"``;
        an id rather than a name. `via` is the program. What an inner block leaves out is
        as outside.
        """
        return auditing.acting(actor, reason=reason, via=via)

    def entries(
        self,
        *,
        customer_id: str | None = None,
        actor: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[AuditEntry]:
        """What was done, the earliest first; to that customer, by that actor, in that time.

        From `since` on, and before `until`. Raises `NotFound` or `Erased` for a customer who
        is not there.
        """
        size, place = checked_limit(limit), position(after, (int, str))
        start = (from_micros(place[0]), place[1]) if place else None
        if since is not None:
            first = (self._rt.at(since) - timedelta(microseconds=1), _LAST)
            start = max(start, first) if start else first
        end = self._rt.at(until) if until is not None else None
        mark = auditing.actor_mark(self._rt.keys, self._rt.tenant, actor) if actor else None
        with self._rt.read() as uow:
            if customer_id is None:
                rows = self._rows(uow, mark, start)
            else:
                rows = self._rows_about(uow, self._rt.customer(uow, customer_id).id, mark, start)
            kept = takewhile(lambda row: end is None or row.occurred_at < end, rows)
            found = list(islice(kept, size + 1))
            page = paged(found, size, lambda row: (to_micros(row.occurred_at), row.id))
            told = _subjects(uow, page.items)
        return Page(tuple(_entry(row, told.get(row.id)) for row in page), page.next)

    def export(self, file: TextIO) -> int:
        """Write the sealed rows as JSON lines, in the chain's order; returns how many.

        Each line has what the chain's hash covers, so that others can verify it. Customers are in
        it as salted hashes only: the file may be kept when they are erased.
        """
        count = 0
        with self._rt.read() as uow:
            for row in self._chain(uow):
                file.write(exported(row) + "\n")
                count += 1
        return count

    def seal(self) -> int:
        """Chain the rows that are not sealed yet; returns how many. `run_due` does it too.

        Several processes may do so at once: they wait for each other. Rows that are committed
        later than others with a greater id come into a later batch.
        """
        done = 0
        while count := self._rt.write(self._seal):
            done += count
        return done

    def run_due(self) -> int:
        """`seal`, unless there is nothing to seal; crmkit's own."""
        with self._rt.read() as uow:
            waiting = uow.find(AuditRow, sequence=0, order=("id",), limit=1)
        return self.seal() if waiting else 0

    def export_head(self) -> AuditHead:
        """Seal, and hand out the head of the chain, to be kept where the database is not."""
        self.seal()
        with self._rt.read() as uow:
            return of_chain(self._rt.keys, self._known(uow))

    def verify(self, head: AuditHead | Mapping[str, Any] | None = None) -> AuditReport:
        """Whether the audit is what it was when it was written.

        Without a `head` that was exported before, who has the database and its key could have
        cut off the newest rows, or written the whole chain anew; with it both are found.
        """
        given = AuditHead.of(head) if head is not None else None
        while True:
            with self._rt.read() as uow:
                report = verified(uow, self._rt, given)
            if report is not None:  # None: something was pruned in the meantime
                return report

    def prune(self, before: datetime | str) -> int:
        """Take out the oldest sealed rows, up to the first one from `before` on.

        The rest stays verifiable: the chain remembers where it was cut, and that is audited too.
        Export a new head afterwards. Returns how many rows went.
        """
        moment, done = self._rt.at(before), 0
        self.seal()
        while count := self._rt.write(lambda uow: self._prune(uow, moment)):
            done += count
        return done

    # --- what crmkit itself calls ---

    def note(
        self,
        uow: UnitOfWork,
        action: str,
        customer_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """See `auditing.note`; crmkit's own."""
        auditing.note(uow, self._rt, action, customer_id, details)

    def record(
        self, action: str, customer_id: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        """`note` in a transaction of its own, for what only reads; crmkit's own."""

        def work(uow: UnitOfWork) -> None:
            if customer_id is not None:  # no erasure comes between
                uow.get(Customer, self._rt.led(uow, customer_id), lock=True)
            self.note(uow, action, customer_id, details)

        self._rt.write(work)

    def on_consent(self, uow: UnitOfWork, event: ConsentChanged) -> None:
        """Put down that a word on consent was recorded; crmkit's own."""
        self.note(uow, "consent", event.customer_id)

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Hand over what was done to the dropped customer, and put the merge down; crmkit's own."""
        merge = event.merge
        to = {"customer_id": merge.kept_id}
        uow.change(AuditSubject, to, customer_id=merge.dropped_id)
        for side in (merge.kept_id, merge.dropped_id):
            # Not with the merge's reason: it speaks of both, and outlives an erasure of one.
            self.note(uow, "merge", side)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Give back what was done to the dropped customer, and put that down; crmkit's own."""
        merge = event.merge
        back = merge.dropped_id
        ids = (back, *(led.id for led in uow.find(Redirect, customer_id=back)))
        uow.change(AuditSubject, {"customer_id": back}, customer_id=merge.customer_id, told_as=ids)
        for side in (merge.customer_id, back):
            self.note(uow, "unmerge", side)

    def on_erased(self, uow: UnitOfWork, event: CustomerErased) -> None:
        """Put an erasure down, and mark the rows whose subject it empties; crmkit's own."""
        rt, scribe = self._rt, auditing.Scribe.of(self._rt)
        told = {"despite_hold": True} if event.despite_hold else None
        auditing.add(uow, scribe.draft(rt.tenant, "erase", event.customer_id, told, gone=True))
        theirs: dict[str, Any] = {"customer_id": event.customer_id, "unlinked": None}
        while found := uow.find(AuditSubject, limit=STREAM_PAGE, **theirs):
            uow.put_many(
                evolved(s, unlinked=auditing.unlinked(rt.keys, rt.tenant, s.audit_id))
                for s in found
            )

    # --- rows ---

    def _rows(self, uow: UnitOfWork, mark: str | None, start: Any) -> Iterator[AuditRow]:
        equal: dict[str, Any] = {"actor_mark": mark} if mark else {}
        while True:
            page = uow.find(
                AuditRow,
                order=("occurred_at", "id"),
                after=start,
                limit=STREAM_PAGE,
                **equal,
            )
            yield from page
            if len(page) < STREAM_PAGE:
                return
            start = (page[-1].occurred_at, page[-1].id)

    def _rows_about(
        self, uow: UnitOfWork, customer_id: str, mark: str | None, start: Any
    ) -> Iterator[AuditRow]:
        while True:
            page = uow.find(
                AuditSubject,
                customer_id=customer_id,
                order=("occurred_at", "audit_id"),
                after=start,
                limit=STREAM_PAGE,
            )
            rows = {r.id: r for r in uow.find(AuditRow, id=tuple(s.audit_id for s in page))}
            told = (rows[s.audit_id] for s in page if s.audit_id in rows)
            yield from (row for row in told if mark is None or row.actor_mark == mark)
            if len(page) < STREAM_PAGE:
                return
            start = (page[-1].occurred_at, page[-1].audit_id)

    def _chain(self, uow: UnitOfWork) -> Iterator[AuditRow]:
        """The sealed rows, in order."""
        start: tuple[Any, ...] = (0, _LAST)
        while page := uow.find(AuditRow, order=("sequence", "id"), after=start, limit=STREAM_PAGE):
            yield from page
            start = (page[-1].sequence, page[-1].id)

    def _known(self, uow: UnitOfWork) -> AuditChain:
        found = uow.get(AuditChain, self._rt.tenant)
        return found or started(self._rt.keys, self._rt.tenant, self._rt.now())

    def _seal(self, uow: UnitOfWork) -> int:
        uow.lock([_LOCK])
        rows = uow.find(AuditRow, sequence=0, order=("id",), limit=SEALED_AT_ONCE)
        if rows:
            chain, chained = sealed(self._rt.keys, self._known(uow), rows, self._rt.now())
            uow.put_many(chained)
            uow.put(chain)
        return len(rows)

    def _prune(self, uow: UnitOfWork, before: datetime) -> int:
        uow.lock([_LOCK])
        chain = self._known(uow)
        rows = uow.find(
            AuditRow,
            order=("sequence", "id"),
            after=(chain.pruned, _LAST),
            limit=SEALED_AT_ONCE,
        )
        cut, old = pruned(self._rt.keys, chain, rows, before)
        if old:
            ids = tuple(row.id for row in old)
            uow.remove(AuditRow, id=ids)
            uow.remove(AuditSubject, audit_id=ids)
            uow.put(cut)
            self.note(uow, "prune", details={"sequence": cut.pruned, "hash": cut.pruned_hash})
        return len(old)


def _subjects(uow: UnitOfWork, rows: tuple[AuditRow, ...]) -> dict[str, AuditSubject]:
    ids = tuple(row.id for row in rows)
    return {s.audit_id: s for s in uow.find(AuditSubject, audit_id=ids)} if ids else {}


def _entry(row: AuditRow, subject: AuditSubject | None) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        occurred_at=row.occurred_at,
        action=row.action,
        actor=row.actor,
        via=row.via,
        customer_id=subject.customer_id if subject else None,
        reason=subject.reason if subject else None,
        details=row.details,
        sequence=row.sequence or None,
    )
