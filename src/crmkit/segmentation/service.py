"""`crm.segments`: who is in, by rule at any instant, or by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, cast

from crmkit.errors import AlreadyTaken, InvalidInput, NotFound, unknown
from crmkit.model import Customer, Membership, Segment
from crmkit.model.document import document, text
from crmkit.model.rule import AnyOf, Member, Rule
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import RulePushdown, UnitOfWork
from crmkit.segmentation.evaluate import compiled
from crmkit.segmentation.rules import parse
from crmkit.segmentation.subjects import all_subjects, subjects

_PAGE = 500


class Segments:
    """Segments of one tenant. Membership by rule is asked anew each time: it is never stale."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime

    def create(
        self,
        name: str,
        rules: Mapping[str, Any] | None = None,
        *,
        auto_update: bool = True,
        description: str | None = None,
    ) -> Segment:
        """Make a segment: by rule, or without `rules` a static one that is filled by hand.

        With `auto_update=False` the rule is asked once, now, and whoever it fits stays.
        Raises `RuleError` with the path into the rule, and `AlreadyTaken`.
        """
        called = text(name, field="name", limit=100)
        if called is None:
            raise InvalidInput("expected some text", field="name")
        rule = None if rules is None else parse(rules, self._rt.settings)
        now = self._rt.now()
        segment = Segment(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            name=called,
            description=text(description or "", field="description", limit=1_000),
            rules=None if rules is None else document(rules, field="rules"),
            auto_update=auto_update,
            created_at=now,
        )

        def work(uow: UnitOfWork) -> Segment:
            uow.lock([self._rt.fingerprint("segment", called)])
            if uow.find(Segment, name=called):
                raise AlreadyTaken("a segment of this name is there already", field="name")
            uow.add(segment)
            if rule is not None and not auto_update:
                uow.add_many(
                    self._membership(segment, customer_id, now)
                    for customer_id in list(self._ids(uow, rule, now))
                )
            return segment

        return self._rt.write(work)

    def get(self, name: str) -> Segment:
        """The segment of that name; raises `NotFound` with the nearest name."""
        with self._rt.read() as uow:
            return self._segment(uow, name)

    def list(self) -> tuple[Segment, ...]:
        """All segments, by name."""
        with self._rt.read() as uow:
            return tuple(sorted(uow.find(Segment), key=lambda s: s.name))

    def members(self, name: str, *, at: datetime | str | None = None) -> Iterator[Customer]:
        """The customers in the segment at that instant, in the order of their ids."""
        moment = self._rt.at(at)
        with self._rt.read() as uow:
            rule = self._rule(self._segment(uow, name))
        return self._members(rule, moment)

    def count(self, name: str, *, at: datetime | str | None = None) -> int:
        """How many customers are in the segment at that instant."""
        moment = self._rt.at(at)
        with self._rt.read() as uow:
            rule = self._rule(self._segment(uow, name))
            if hasattr(uow, "count_matching"):
                able = cast(RulePushdown, uow)
                sure, unsure = able.count_matching(rule, self._rt.settings, moment)
                return sure + len(self._holding(uow, rule, unsure, moment))
            return sum(1 for _ in self._ids(uow, rule, moment))

    def is_member(self, customer_id: str, name: str, *, at: datetime | str | None = None) -> bool:
        """Whether the customer is in the segment at that instant."""
        moment = self._rt.at(at)
        with self._rt.read() as uow:
            rule = self._rule(self._segment(uow, name))
            (subject,) = subjects(uow, [self._rt.customer(uow, customer_id)])
        return compiled(rule, self._rt.settings)(subject, moment)

    def of(self, customer_id: str, *, at: datetime | str | None = None) -> tuple[str, ...]:
        """The names of the segments the customer is in at that instant."""
        moment = self._rt.at(at)
        with self._rt.read() as uow:
            customer = self._rt.customer(uow, customer_id)
            return self.names(uow, customer.id, moment)

    def add(self, customer_id: str, name: str) -> None:
        """Put a customer into a segment by hand; a segment that is not there yet is made.

        In a segment with a rule the customer is in from then on, whatever the rule says.
        """
        called = text(name, field="name", limit=100)
        if called is None:
            raise InvalidInput("expected some text", field="name")

        def work(uow: UnitOfWork) -> None:
            customer = self._rt.customer(uow, customer_id, lock=True)
            found = uow.find(Segment, name=called)
            if not found:
                uow.lock([self._rt.fingerprint("segment", called)])
                found = uow.find(Segment, name=called) or [self._static(uow, called)]
            uow.add_if_absent(self._membership(found[0], customer.id, self._rt.now()))

        self._rt.write(work)

    def remove(self, customer_id: str, name: str) -> None:
        """Take a customer out who was put in by hand; the rule, if any, still applies."""

        def work(uow: UnitOfWork) -> None:
            customer = self._rt.customer(uow, customer_id, lock=True)
            segment = self._segment(uow, name)
            uow.remove(Membership, segment_id=segment.id, customer_id=customer.id)

        self._rt.write(work)

    def names(self, uow: UnitOfWork, customer_id: str, at: datetime) -> tuple[str, ...]:
        """`of`, inside a unit of work that is under way."""
        segments = sorted(uow.find(Segment), key=lambda s: s.name)
        if not segments:
            return ()
        (subject,) = subjects(uow, [self._rt.customer(uow, customer_id)])
        settings = self._rt.settings
        return tuple(s.name for s in segments if compiled(self._rule(s), settings)(subject, at))

    def _segment(self, uow: UnitOfWork, name: str) -> Segment:
        called = text(name, field="name", limit=100) or ""
        found = uow.find(Segment, name=called)
        if not found:
            raise NotFound(unknown("segment", called, [s.name for s in uow.find(Segment)]))
        return found[0]

    def _rule(self, segment: Segment) -> Rule:
        """Who is in: those put in by hand, and those the rule fits."""
        by_hand = Member(segment.id)
        if segment.rules is None or not segment.auto_update:
            return by_hand
        return AnyOf((parse(segment.rules, self._rt.settings), by_hand))

    def _members(self, rule: Rule, at: datetime) -> Iterator[Customer]:
        after: str | None = None
        while True:
            with self._rt.read() as uow:
                ids = list(islice(self._ids(uow, rule, at, after=after, limit=_PAGE), _PAGE))
                page = uow.find(Customer, order=("id",), id=tuple(ids)) if ids else []
            yield from page
            if len(ids) < _PAGE:
                return
            after = ids[-1]

    def _ids(
        self,
        uow: UnitOfWork,
        rule: Rule,
        at: datetime,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> Iterator[str]:
        """Ids the rule fits, ascending: asked of the storage where it can, else in memory."""
        settings = self._rt.settings
        if hasattr(uow, "matching"):
            return self._found(uow, rule, at, after=after, limit=limit)
        holds: Callable[[Any, datetime], bool] = compiled(rule, settings)
        everybody = all_subjects(uow, after=after)
        return (s.customer.id for s in everybody if s.begins_at <= at and holds(s, at))

    def _found(
        self, uow: UnitOfWork, rule: Rule, at: datetime, *, after: str | None, limit: int | None
    ) -> Iterator[str]:
        able, settings = cast(RulePushdown, uow), self._rt.settings
        while True:
            page = able.matching(rule, settings, at, after=after, limit=limit)
            held = self._holding(uow, rule, [i for i, sure in page if not sure], at)
            yield from (i for i, sure in page if sure or i in held)
            if limit is None or len(page) < limit:
                return
            after = page[-1][0]

    def _holding(
        self, uow: UnitOfWork, rule: Rule, ids: Sequence[str], at: datetime
    ) -> frozenset[str]:
        """Those of these customers whom the rule fits, asked in memory."""
        holds, found = compiled(rule, self._rt.settings), set[str]()
        for n in range(0, len(ids), _PAGE):
            page = uow.find(Customer, order=("id",), id=tuple(ids[n : n + _PAGE]))
            found |= {s.customer.id for s in subjects(uow, page) if holds(s, at)}
        return frozenset(found)

    def _static(self, uow: UnitOfWork, name: str) -> Segment:
        made = Segment(
            tenant=self._rt.tenant,
            id=self._rt.new_id(),
            name=name,
            rules=None,
            created_at=self._rt.now(),
        )
        uow.add(made)
        return made

    def _membership(self, segment: Segment, customer_id: str, at: datetime) -> Membership:
        return Membership(
            tenant=self._rt.tenant,
            segment_id=segment.id,
            customer_id=customer_id,
            added_at=at,
        )
