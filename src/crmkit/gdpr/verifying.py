"""Whether the audit is what it was: a walk over all rows, in the chain's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from crmkit.gdpr.auditing import START, actor_mark, commitment, link, mac, unlinked
from crmkit.gdpr.chaining import AuditHead, chain_mac, head_mac, of_chain, started
from crmkit.model import AuditChain, AuditRow, AuditSubject, Redirect
from crmkit.ports.keys import Keys
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import STREAM_PAGE, UnitOfWork

MOST_FINDINGS: Final = 1_000
_TRIES: Final = 3


@attrs.frozen
class Finding:
    """What is wrong, and where: the place in the chain, or None for what has none."""

    sequence: int | None
    problem: str


@attrs.frozen
class AuditReport:
    """What `verify` found: nothing, if the audit is what it was.

    `entries` are the sealed ones that were looked at, `unsealed` those that wait to be;
    `pruned` is the place in the chain up to which old ones were taken out. `head` is the
    head as it is now. Of more than 1,000 findings the first are listed.
    """

    entries: int
    unsealed: int
    pruned: int
    head: AuditHead
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@attrs.define
class _Walk:
    """What is known while walking along the chain: pure but for what it remembers."""

    keys: Keys
    chain: AuditChain
    given: AuditHead | None
    expected: int = 0
    previous: str | None = START
    entries: int = 0
    unsealed: int = 0
    subjects: int = 0
    attested: bool = False
    seen: str | None = None
    findings: list[Finding] = attrs.field(factory=list)

    def found(self, sequence: int | None, problem: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(sequence, problem))

    def row(self, row: AuditRow) -> None:
        """Look at the next row in order."""
        place = row.sequence or None
        # Where there is a key ring, what is sealed was opened when the row was read.
        if row.sealed is not None or row.mac != mac(self.keys, row):
            self.found(place, "was changed or added")
        elif row.action == "prune" and not self.attested:
            cut = {"sequence": self.chain.pruned, "hash": self.chain.pruned_hash}
            self.attested = row.details == cut
        if row.actor_mark != (
            actor_mark(self.keys, row.tenant, row.actor) if row.actor is not None else None
        ):
            self.found(place, "its actor was changed")
        if row.sequence == 0:
            self.unsealed += 1
        elif row.sequence < self.expected:
            self.found(place, "is there twice, or where nothing should be")
        else:
            self._next(row)

    def _next(self, row: AuditRow) -> None:
        self.entries += 1
        if row.sequence > self.expected:
            self.found(self.expected, f"is missing, up to {row.sequence - 1}")
            self.previous = None
        if self.previous is not None and row.hash != link(self.previous, row.sequence, row):
            self.found(row.sequence, "does not follow from those before it")
        if self.given is not None and row.sequence == self.given.sequence:
            self.seen = row.hash
        self.previous, self.expected = row.hash or "", row.sequence + 1

    def end(self, chain: AuditChain) -> None:
        """Compare where the rows end with where the chain says it ends."""
        if chain.mac != chain_mac(self.keys, chain):
            self.found(None, "the record of the chain's end was changed")
        if self.expected <= chain.sequence:
            self.found(self.expected, f"is missing, up to {chain.sequence}")
        elif self.expected > chain.sequence + 1:
            self.found(chain.sequence + 1, "was added behind the end")
        elif self.previous is not None and self.previous != chain.hash:
            self.found(chain.sequence, "is not what the chain ends with")
        if chain.pruned and not self.attested:
            self.found(chain.pruned, "was pruned, and no entry says so")
        if self.given is not None:
            self._head(self.given)

    def _head(self, given: AuditHead) -> None:
        if given.tenant != self.chain.tenant or given.mac != head_mac(self.keys, given):
            self.found(None, "the head was changed, or is of another audit")
        elif given.sequence == self.chain.pruned:
            self.seen = self.chain.pruned_hash
        elif given.sequence < self.chain.pruned:
            self.found(given.sequence, "is the head's, and was pruned: use a newer head")
            return
        if self.seen is None:
            self.found(given.sequence, "is missing, and was there when the head was exported")
        elif self.seen != given.hash:
            self.found(given.sequence, "is not what it was when the head was exported")


def verified(uow: UnitOfWork, rt: Runtime, given: AuditHead | None) -> AuditReport | None:
    """Walk over all rows; None if rows were pruned in the meantime, so that it must begin anew."""
    chain = uow.get(AuditChain, rt.tenant) or started(rt.keys, rt.tenant, rt.now())
    walk = _Walk(rt.keys, chain, given)
    walk.expected, walk.previous = chain.pruned + 1, chain.pruned_hash
    start, now = _along(uow, rt, walk, None), uow.get(AuditChain, rt.tenant) or chain
    while now.sequence >= walk.expected and (further := _along(uow, rt, walk, start)) != start:
        start, now = further, uow.get(AuditChain, rt.tenant) or chain  # more was sealed since
    walk.end(now)
    if uow.count(AuditSubject) > walk.subjects:
        _look_for_strays(uow, walk)
    last = uow.get(AuditChain, rt.tenant) or now
    if last.pruned != chain.pruned and last.mac == chain_mac(rt.keys, last):
        return None
    findings = tuple(sorted(walk.findings, key=lambda f: (f.sequence is None, f.sequence or 0)))
    return AuditReport(walk.entries, walk.unsealed, now.pruned, of_chain(rt.keys, now), findings)


def _along(
    uow: UnitOfWork, rt: Runtime, walk: _Walk, start: tuple[Any, ...] | None
) -> tuple[Any, ...] | None:
    """Walk on to the last row there is; returns its place."""
    while page := uow.find(AuditRow, order=("sequence", "id"), after=start, limit=STREAM_PAGE):
        for row in page:
            walk.row(row)
        _look_at_subjects(uow, rt, walk, page)
        start = (page[-1].sequence, page[-1].id)
    return start


def _look_at_subjects(uow: UnitOfWork, rt: Runtime, walk: _Walk, page: Sequence[AuditRow]) -> None:
    """Compare rows with their subjects; what a merge or an erasure changes meanwhile, anew."""
    left, wrong = list(page), list[tuple[AuditRow, str]]()
    for attempt in range(1, _TRIES + 1):
        if not left:
            return
        ids = tuple(row.id for row in left)
        subjects = {s.audit_id: s for s in uow.find(AuditSubject, audit_id=ids)}
        told = tuple({s.told_as for s in subjects.values() if s.told_as is not None})
        led = {r.id: r.customer_id for r in uow.find(Redirect, id=told)} if told else {}
        wrong = [
            (row, problem)
            for row in left
            if (problem := _problem(rt.keys, row, subjects.get(row.id), led))
        ]
        if attempt == 1:
            walk.subjects += len(subjects)
        left = [row for row, _ in wrong]
    for row, problem in wrong:
        walk.found(row.sequence or None, problem)


def _problem(
    keys: Keys, row: AuditRow, subject: AuditSubject | None, led: dict[str, str]
) -> str | None:
    """What is wrong between a row and its subject."""
    if subject is None or row.subject is None:
        alike = subject is None and row.subject is None
        return None if alike else "its subject was taken out or added"
    if subject.sealed is not None or subject.occurred_at != row.occurred_at:
        return "its subject was changed"
    if subject.nonce is None:
        emptied = (subject.customer_id, subject.told_as, subject.reason) == (None, None, None)
        marked = subject.unlinked == unlinked(keys, row.tenant, row.id)
        return None if emptied and marked else "its subject was emptied by no erasure"
    told = subject.told_as
    if row.subject != commitment(subject.nonce, told, subject.reason):
        return "its subject was changed"
    holder = led.get(told, told) if told is not None else None
    if subject.customer_id != holder or subject.unlinked is not None:
        return "its subject was changed"
    return None


def _look_for_strays(uow: UnitOfWork, walk: _Walk) -> None:
    """Find subjects of rows that are not there."""
    after: tuple[Any, ...] | None = None
    while page := uow.rows(AuditSubject, ("audit_id",), after=after, limit=STREAM_PAGE):
        ids = tuple(row[0] for row in page)
        there = {row[0] for row in uow.rows(AuditRow, ("id",), id=ids)}
        for _ in range(len(ids) - len(there)):
            walk.found(None, "a subject is there without its entry")
        after = page[-1]
