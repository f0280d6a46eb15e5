"""A customer as they were at any instant: what rules look at, folded from the facts until then.

Tiers need no folding: what is kept of them holds for every instant.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from functools import cached_property
from operator import attrgetter
from typing import Any

import attrs

from crmkit.activities.carrying import carried, had_ended
from crmkit.activities.metrics import NOTHING, Effect, Folded, added, advance, effect, shared
from crmkit.activities.recording import joined
from crmkit.activities.stories import read
from crmkit.config import Settings
from crmkit.gdpr.consent_state import lasting, said_by
from crmkit.loyalty.courses import Course, courses
from crmkit.model import (
    Activity,
    Column,
    Consent,
    Customer,
    Metrics,
    PointsEntry,
    ProfileChange,
    entry_of,
)
from crmkit.model.catalogue import evolved, from_document, gathered
from crmkit.model.time import instant
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation.needs import Needs
from crmkit.segmentation.subject import Subject

BY_HAND = "segments"
"""The change of a profile that says how somebody was put into a segment by hand, and before."""

_COLUMNS = {c.name: c for c in entry_of(Customer).columns}
_IN_TIME = ("occurred_at", "id")


@attrs.define(slots=False)
class History:
    """All facts about one customer that rules with these needs look at."""

    settings: Settings
    now: Subject
    counts: bool
    """Whether metrics are looked at; else those of now stand for all, and no activity is read."""
    activities: Sequence[tuple[Activity, str]]
    """Facts with the share of their story that the customer bears, "" for their own."""
    changes: Sequence[ProfileChange]
    consents: Sequence[Consent]
    course: Course | None
    """Of the account, where there is one and points are looked at."""
    carried: Sequence[Folded] = ()
    """What is carried on of activities that were anonymised, where metrics are looked at."""

    @classmethod
    def load(cls, uow: UnitOfWork, rt: Runtime, now: Subject, wanted: Needs) -> History:
        """The history of a customer whose subject, as of now, was loaded with the same needs."""
        of: dict[str, Any] = {"customer_id": now.customer.id}
        told: list[tuple[Activity, str]] = []
        if wanted.metrics:
            told += ((fact, "") for fact in uow.stream(Activity, order=_IN_TIME, **of))
            for facts, share in joined(uow, now.customer.id):
                told += [(fact, share) for fact in facts]
        account = [now.account] if now.account is not None else []
        looks = wanted.profile or wanted.tags or wanted.by_hand
        return cls(
            rt.settings,
            now,
            wanted.metrics,
            told,
            uow.find(ProfileChange, order=_IN_TIME, **of) if looks else (),
            uow.find(Consent, order=_IN_TIME, **of) if wanted.consents else (),
            courses(uow, account).get(now.customer.id),
            carried(uow, now.customer.id) if wanted.metrics else (),
        )

    @cached_property
    def instants(self) -> Sequence[datetime]:
        """When something happened that may change an answer, in order."""
        found = {at for at, _ in self._metrics}
        for facts in (self.changes, self.consents):
            found.update(map(attrgetter("occurred_at"), facts))
        found |= self.course.instants if self.course else set()
        found.add(self.now.begins_at)
        for told in self.now.occasions.values():
            found.update(o.since for o in told)
            found.update(o.until for o in told if o.until is not None)
        return sorted(found)

    def following(self, at: datetime) -> datetime | None:
        """The next such instant."""
        n = bisect_right(self.instants, at)
        return self.instants[n] if n < len(self.instants) else None

    def at(self, at: datetime) -> Subject:
        """The customer as they were."""
        now = self.now
        customer, tags, by_hand = self._profile(at)
        return attrs.evolve(
            now,
            customer=customer,
            metrics=self._numbers(at),
            account=self.course.at(at) if self.course else None,
            tags=tags,
            consents=lasting(said_by(self.consents, at)),
            memberships=frozenset(s for s, out in by_hand.items() if not out),
            kept_out=frozenset(s for s, out in by_hand.items() if out),
        )

    def _numbers(self, at: datetime) -> Metrics:
        if not self.counts:
            return self.now.metrics
        n = bisect_right(self._metrics, at, key=lambda step: step[0])
        found = self._metrics[n - 1][1] if n else self._nothing
        for gone in self.carried:
            found = gathered(found, gone.metrics) if had_ended(gone, at) else found
        return found

    @property
    def _nothing(self) -> Metrics:
        customer = self.now.customer
        return Metrics(tenant=customer.tenant, customer_id=customer.id)

    @cached_property
    def _metrics(self) -> Sequence[tuple[datetime, Metrics]]:
        """The metrics from each instant on."""
        kinds = self.settings.kinds_by_name
        told: dict[tuple[str, str], list[Activity]] = defaultdict(list)
        known: dict[tuple[str, str], Effect] = {}
        coming: list[tuple[Activity, str]] = []
        for fact, share in self.activities:
            # A void or an amendment tells what always was.
            if kinds[fact.kind].role in ("voids", "amends"):
                told[fact.story, share].append(fact)
            else:
                coming.append((fact, share))
        coming.sort(key=lambda c: c[0].occurred_at)
        metrics = self._nothing
        steps: list[tuple[datetime, Metrics]] = []
        for fact, share in coming:
            place = (fact.story, share)
            told[place].append(fact)
            story = read(told[place], kinds)
            after = (
                shared(story, share, self.settings)
                if share
                else effect(story, self.settings, tallied=False)
            )
            grown = advance(metrics, known.get(place, NOTHING), after)
            known[place] = after
            if grown is None:
                grown = added(self._nothing, known.values(), str).metrics
            metrics = grown
            if steps and steps[-1][0] == fact.occurred_at:
                steps.pop()
            steps.append((fact.occurred_at, metrics))
        return steps

    def _profile(self, at: datetime) -> tuple[Customer, frozenset[str], dict[str, bool]]:
        """Profile, tags, and segments by hand: as now, but for what was told later."""
        now = self.now
        tags = set(now.tags)
        by_hand = dict.fromkeys(now.memberships, False) | dict.fromkeys(now.kept_out, True)
        later: set[str] = set()
        told: dict[str, Any] = {}
        for change in self.changes:
            if change.occurred_at <= at:
                told |= change.changes
        for change in reversed(self.changes):
            if change.occurred_at <= at:
                break
            fields = dict(change.changes)
            tagged = fields.pop("tags", {})
            tags = (tags - {*tagged.get("added", ())}) | {*tagged.get("removed", ())}
            for segment_id, (was, _) in fields.pop(BY_HAND, {}).items():
                by_hand.pop(segment_id, None)
                if was is not None:
                    by_hand[segment_id] = was
            later.update(fields)
        values = {f: _typed(_COLUMNS[f], told.get(f)) for f in later if f in _COLUMNS}
        customer = evolved(now.customer, **values) if values else now.customer
        return customer, frozenset(tags), by_hand


def last_fact_at(uow: UnitOfWork, now: Subject) -> datetime:
    """The last instant at which something happened to a customer, or was said of them."""
    found = [now.customer.created_at]
    if now.metrics.last_activity_at is not None:
        found.append(now.metrics.last_activity_at)
    of: dict[str, Any] = {"customer_id": now.customer.id}
    for kind in (ProfileChange, Consent, PointsEntry):
        last: list[Any] = uow.find(kind, order=_IN_TIME, descending=True, limit=1, **of)
        found += (fact.occurred_at for fact in last)
    return max(found)


def _typed(column: Column, value: Any) -> Any:
    """A value of a profile that a change tells, in the form the profile has it."""
    if value is None:
        return None if column.optional else column.type()
    if column.type is datetime:
        return instant(value)
    if column.type is date:
        return date.fromisoformat(value)
    if column.type is tuple:
        return tuple(value)
    return from_document(column.type, value) if column.nested else value
