"""Points that stories of facts earn: what changes of stories mean for the ledger.

What a story has earned at each instant is worked out anew, and the differences to what its
entries tell are posted, each at the instant it belongs to. So the order in which facts come
does not matter, and a fact that comes twice adds nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

import attrs

from crmkit.activities.recording import StoryChange
from crmkit.activities.stories import Story
from crmkit.errors import InsufficientPoints
from crmkit.loyalty import accounts
from crmkit.loyalty.earning import (
    Place,
    Run,
    Worth,
    counts_from,
    moments,
    regranted,
    runs,
    worth,
)
from crmkit.loyalty.ledger import is_overdrawn
from crmkit.loyalty.periods import celebrates, dates, period
from crmkit.model import Activity, Customer, Enrolment, PointsAccount, PointsEntry, PointsLot
from crmkit.model.catalogue import evolved
from crmkit.model.money import digits
from crmkit.model.time import FOREVER
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import EarnRule, Multiplier, Programme

Fits = Callable[[UnitOfWork, Mapping[str, Any], str, datetime], bool]
"""Whether a customer fits a segmentation rule at an instant."""

_EARNED = frozenset({"earn", "reverse"})


@attrs.define
class Granting:
    """What changes of stories mean for one programme's ledger, in one unit of work."""

    uow: UnitOfWork
    rt: Runtime
    programme: Programme
    fits: Fits
    births: Mapping[str, Any] = attrs.field(factory=dict)
    lots: dict[str, dict[str, PointsLot]] = attrs.field(factory=lambda: defaultdict(dict))
    """By story, by id."""
    stored: dict[str, PointsLot] = attrs.field(factory=dict)
    entries: dict[str, list[PointsEntry]] = attrs.field(factory=lambda: defaultdict(list))
    """By story."""
    news: list[PointsEntry] = attrs.field(factory=list)
    changed: dict[str, PointsLot] = attrs.field(factory=dict)
    overdrawn: set[str] = attrs.field(factory=set)
    joined: dict[str, Callable[[datetime], bool]] = attrs.field(factory=dict)
    capped: set[tuple[str, str, datetime]] = attrs.field(factory=set)

    def post(self, changes: Sequence[StoryChange]) -> Mapping[str, accounts.Posted]:
        """Store what changes of stories mean; returns what was posted, by customer.

        Raises `InsufficientPoints` where points were used that would have to be taken back,
        and the programme blocks that.
        """
        self._read(changes)
        for change in changes:
            self._change(change)
        self._cap()
        lots = [lot for lot in self.changed.values() if self.stored.get(lot.id) != lot]
        if not self.news and not lots:
            return {}
        return accounts.post(
            self.uow, self.rt, self.programme.name, self.news, lots, self.overdrawn
        )

    # --- what is there ---

    def _read(self, changes: Sequence[StoryChange]) -> None:
        going_on = tuple(c.fact.story for c in changes if c.before)
        of: dict[str, Any] = {"story": going_on, "programme": self.programme.name}
        if going_on:
            for lot in self.uow.find(PointsLot, **of):
                self.lots[lot.story or ""][lot.id] = self.stored[lot.id] = lot
            if self.lots or self.programme.policy.by != "points":
                for entry in self.uow.find(PointsEntry, **of):
                    self.entries[entry.story or ""].append(entry)
        rules = self.programme.earn_rules
        earning = {
            c.fact.customer_id or "" for c in changes if worth(c.after, rules, self._minor).points
        }
        self._read_customers(earning)

    def preview(self, story: Story, customer_id: str) -> list[tuple[EarnRule, int]]:
        """What each rule would give for a story once it is completed."""
        self._read_customers({customer_id})
        plain = [attrs.evolve(r, completed=False, pending=False) for r in self.programme.earn_rules]
        asked = partial(self._asked, customer_id, {})
        found = runs(story, self.rt.settings.kinds_by_name, plain, self._minor, asked)
        given = [(self.programme.rule(run.place.rule), run.final) for run in found]
        return [(rule, points) for rule, points in given if rule is not None and points]

    def _read_customers(self, customers: Collection[str]) -> None:
        """What earning depends on of these customers: birthdays, and whether they take part."""
        if not customers:
            return
        if any(m.during for m in self.programme.multipliers):
            self.births = dict(
                self.uow.rows(Customer, ("id", "birth_date"), id=tuple(sorted(customers)))
            )
        self.joined |= memberships(self.uow, self.programme, customers)

    @property
    def _minor(self) -> int:
        return int(10 ** digits(self.rt.settings.currency))

    # --- one story ---

    def _change(self, change: StoryChange) -> None:
        story = change.fact.story
        told = [e for e in self.entries[story] if e.kind in _EARNED]
        if self._is_former(change, told):
            self._regrant(change, told)
        else:
            self._grant(change, told)
        self._qualify(change)
        for lot_id in [n for n in self.lots[story] if n in self.changed]:
            self._cover(change, self.changed[lot_id])

    def _grant(self, change: StoryChange, told: Sequence[PointsEntry]) -> None:
        """Post the differences, instant by instant and lot by lot."""
        known = {_place(lot): lot for lot in self.lots[change.fact.story].values()}
        kinds, rules = self.rt.settings.kinds_by_name, self.programme.earn_rules
        customer_id = change.fact.customer_id or ""
        asked = partial(self._asked, customer_id, known)
        found = runs(change.after, kinds, rules, self._minor, asked)
        due: dict[Place, Mapping[datetime, int]] = {}
        for run in found:
            lot = known.get(run.place)
            if lot is None and any(run.totals.values()):
                lot = known[run.place] = self._new_lot(change.fact, run)
            if lot is not None:
                due[run.place] = self._due(customer_id, run, lot, told)
                self._keep(evolved(self._now(lot), full=run.final))
        posted: dict[Place, dict[datetime, int]] = defaultdict(lambda: defaultdict(int))
        places = {lot.id: place for place, lot in known.items()}
        for entry in told:
            posted[places[entry.lot_id or ""]][entry.occurred_at] += entry.points
        for place in known:
            self._differ(change.fact, known[place], posted[place], due.get(place, {}))
            if place not in due:
                self._keep(evolved(self._now(known[place]), full=0))

    def _asked(
        self, customer_id: str, known: Mapping[Place, PointsLot], rule: EarnRule, since: datetime
    ) -> Decimal | None:
        """What a rule is multiplied by, as it was decided before if it was; None for nothing."""
        for pending in (False, True):
            lot = known.get(Place(rule.name, since, pending))
            if lot is not None:
                return Decimal(lot.times)
        takes_part = self.joined.get(customer_id)
        if takes_part is not None and not takes_part(since):
            return None
        if rule.when and not self.fits(self.uow, rule.when, customer_id, since):
            return None
        return self._times(rule, customer_id, since)

    def _due(
        self, customer_id: str, run: Run, lot: PointsLot, told: Sequence[PointsEntry]
    ) -> Mapping[datetime, int]:
        """What a lot's entries must come to; of a capped rule no more than was given so far."""
        rule = self.programme.rule(run.place.rule)
        if rule is None or rule.cap is None or run.place.pending:
            return run.differences()
        self.capped.add((customer_id, rule.name, run.place.since))
        return run.differences(most=sum(e.points for e in told if e.lot_id == lot.id))

    def _differ(
        self,
        fact: Activity,
        lot: PointsLot,
        posted: Mapping[datetime, int],
        due: Mapping[datetime, int],
    ) -> None:
        for moment in sorted({*posted, *due}):
            points = due.get(moment, 0) - posted.get(moment, 0)
            if points:
                self._enter(fact, lot, points, moment, self.programme.version)

    def _is_former(self, change: StoryChange, told: Sequence[PointsEntry]) -> bool:
        """Whether a story was granted what it has, or nothing, by a former configuration."""
        if told:
            same = all(e.version == self.programme.version for e in told)
            return not same and not self._would_give(change, told)
        plain = [r for r in self.programme.earn_rules if r.when is None and r.cap is None]
        return (
            change.before is not None
            and change.fact.customer_id not in self.joined
            and worth(change.before, plain, self._minor).kept > 0
        )

    def _would_give(self, change: StoryChange, told: Sequence[PointsEntry]) -> bool:
        """Whether today's rules give a story what it has, as it was told before."""
        lots = self.lots[change.fact.story].values()
        asked = partial(
            self._asked, change.fact.customer_id or "", {_place(lot): lot for lot in lots}
        )
        kinds, rules = self.rt.settings.kinds_by_name, self.programme.earn_rules
        story = change.before or change.after
        due = {run.place: run.final for run in runs(story, kinds, rules, self._minor, asked)}
        given = {lot.id: sum(e.points for e in told if e.lot_id == lot.id) for lot in lots}
        return all(given[lot.id] == due.get(_place(lot), 0) or self._is_capped(lot) for lot in lots)

    def _is_capped(self, lot: PointsLot) -> bool:
        rule = self.programme.rule(lot.rule or "")
        return rule is not None and rule.cap is not None

    def _regrant(self, change: StoryChange, told: Sequence[PointsEntry]) -> None:
        """Points of former rules stay granted; the story's own change is added or taken."""
        fact, rules = change.fact, self.programme.earn_rules
        version = told[-1].version if told else None
        given = sum(e.points for e in told)
        after = worth(change.after, rules, self._minor)
        before = worth(change.before, rules, self._minor) if change.before else Worth(0)
        owed = (0 if change.after.off else regranted(given, before, after)) - given
        lots = sorted(self.lots[fact.story].values(), key=lambda lot: (lot.earned_at, lot.id))
        if owed > 0:
            lot = lots[-1] if lots else self._lot_of(change)
            self._enter(fact, lot, owed, counts_from(fact), version)
        for lot in reversed(lots):
            part = min(-owed, sum(e.points for e in told if e.lot_id == lot.id))
            if part > 0:
                owed += part
                self._enter(fact, lot, -part, counts_from(fact), version)

    def _lot_of(self, change: StoryChange) -> PointsLot:
        """A lot for points that a story gains since it says more."""
        kinds, rules = self.rt.settings.kinds_by_name, self.programme.earn_rules
        found = runs(change.after, kinds, rules, self._minor, lambda *_: Decimal(1))
        return self._new_lot(change.fact, max(found, key=lambda run: run.place.since))

    def _qualify(self, change: StoryChange) -> None:
        """Post what counts for the tier where that is money or visits."""
        by = self.programme.policy.by
        if by == "points":
            return
        posted: dict[datetime, int] = defaultdict(int)
        for entry in self.entries[change.fact.story]:
            if entry.kind == "qualify":
                posted[entry.occurred_at] += entry.qualifying
        kinds = self.rt.settings.kinds_by_name
        due: dict[datetime, int] = {}
        before = 0
        takes_part = self.joined.get(change.fact.customer_id or "")
        for moment, story in moments(change.after, kinds):
            if by == "spend":
                now = 0 if story.off or story.paid is None else story.left
            else:
                counts = any("visits" in kinds[f.kind].counts for f in story.said)
                now = int((counts or story.completed) and not story.off)
            if takes_part is not None and not takes_part(moment):
                now = before
            due[moment] = now - before
            before = now
        for moment in sorted({*posted, *due}):
            points = due.get(moment, 0) - posted[moment]
            if points:
                self.news.append(self._entry(change.fact, "qualify", 0, moment, qualifying=points))

    def _cover(self, change: StoryChange, lot: PointsLot) -> None:
        """See to points that are taken back and were used."""
        told = [e for e in (*self.entries[change.fact.story], *self.news) if e.lot_id == lot.id]
        policy = self.programme.on_spent
        if policy == "floor":
            waived = sum(e.points for e in told if e.kind == "waive")
            due = max(0, waived - lot.left)
            if due != waived:
                at = max(e.occurred_at for e in self.news if e.lot_id == lot.id)
                told.append(self._entry(change.fact, "waive", due - waived, at, lot=lot))
                self.news.append(told[-1])
                self._keep(evolved(lot, left=lot.left + due - waived))
        if is_overdrawn(told):
            if policy == "block" and not is_overdrawn(self.entries[change.fact.story]):
                raise InsufficientPoints("points of this activity were used already")
            self.overdrawn.add(lot.customer_id)

    # --- caps ---

    def _cap(self) -> None:
        """Let earlier stories of a period have what a cap leaves, and later ones the rest."""
        periods: set[tuple[str, str, datetime, datetime]] = set()
        for customer_id, name, since in self.capped:
            rule = self.programme.rule(name)
            if rule is not None and rule.cap is not None:
                start, end = period(rule.cap.per, since, self.rt.settings.zone)
                periods.add((customer_id, name, start, end))
        for customer_id, name, start, end in sorted(periods):
            self._share(customer_id, name, start, end)

    def _share(self, customer_id: str, name: str, start: datetime, end: datetime) -> None:
        rule = self.programme.rule(name)
        cap = rule.cap.points if rule is not None and rule.cap is not None else 0
        of: dict[str, Any] = {"customer_id": customer_id, "programme": self.programme.name}
        stored = {lot.id: lot for lot in self.uow.find(PointsLot, rule=name, source="earn", **of)}
        self.stored |= {n: lot for n, lot in stored.items() if n not in self.stored}
        stored |= {
            lot.id: lot
            for lot in self.changed.values()
            if lot.customer_id == customer_id and lot.rule == name
        }
        inside = [
            lot
            for lot in stored.values()
            if start <= lot.earned_at < end and lot.available_at != FOREVER
        ]
        given = self._given(inside)
        for lot in sorted(inside, key=lambda lot: (lot.earned_at, lot.story or "")):
            due = min(lot.full, cap)
            cap -= due
            if due != given[lot.id]:
                self._recap(lot, due - given[lot.id])

    def _recap(self, lot: PointsLot, points: int) -> None:
        """Give a lot more of what its rule gave, or less."""
        told = self.uow.find(PointsEntry, lot_id=lot.id)
        self.news.append(
            PointsEntry(
                tenant=self.rt.tenant,
                id=self.rt.new_id(),
                customer_id=lot.customer_id,
                programme=self.programme.name,
                lot_id=lot.id,
                kind="earn" if points > 0 else "reverse",
                points=points,
                qualifying=self._qualifying(lot, points),
                available_at=lot.available_at,
                expires_at=lot.expires_at,
                story=lot.story,
                rule=lot.rule,
                version=self.programme.version,
                occurred_at=lot.earned_at,
                recorded_at=self.rt.now(),
                origin=lot.origin,
            )
        )
        self._keep(evolved(lot, left=lot.left + points))
        if is_overdrawn([*told, *(e for e in self.news if e.lot_id == lot.id)]):
            self.overdrawn.add(lot.customer_id)

    def _given(self, lots: Iterable[PointsLot]) -> Mapping[str, int]:
        given = dict.fromkeys((lot.id for lot in lots), 0)
        stored = self.uow.find(PointsEntry, lot_id=tuple(given)) if given else []
        for entry in (*stored, *self.news):
            if entry.lot_id in given and entry.kind in _EARNED:
                given[entry.lot_id] += entry.points
        return given

    # --- parts ---

    def _times(self, rule: EarnRule, customer_id: str, since: datetime) -> Decimal:
        best, stacked = Decimal(1), Decimal(1)
        for multiplier in self.programme.multipliers:
            if not self._multiplies(multiplier, rule, customer_id, since):
                continue
            if multiplier.stacks:
                stacked *= multiplier.times
            else:
                best = max(best, multiplier.times)
        return best * stacked

    def _multiplies(
        self, multiplier: Multiplier, rule: EarnRule, customer_id: str, since: datetime
    ) -> bool:
        if multiplier.kinds is not None and rule.kind not in multiplier.kinds:
            return False
        if multiplier.starts is not None and since < multiplier.starts:
            return False
        if multiplier.ends is not None and since >= multiplier.ends:
            return False
        born = self.births.get(customer_id)
        if multiplier.during and not celebrates(
            born, multiplier.during, since, self.rt.settings.zone
        ):
            return False
        return not multiplier.when or self.fits(self.uow, multiplier.when, customer_id, since)

    def _new_lot(self, fact: Activity, run: Run) -> PointsLot:
        rule = self.programme.rule(run.place.rule)
        available, expires = dates(self.programme, rule, run.place.since, self.rt.settings.zone)
        if run.place.pending:
            available = expires = FOREVER
        lot = PointsLot(
            tenant=self.rt.tenant,
            id=self.rt.new_id(),
            customer_id=fact.customer_id or "",
            programme=self.programme.name,
            source="earn",
            rule=run.place.rule,
            story=fact.story,
            times=str(run.times),
            earned_at=run.place.since,
            available_at=available,
            expires_at=expires,
            origin=fact.origin,
        )
        self.lots[fact.story][lot.id] = lot
        return lot

    def _now(self, lot: PointsLot) -> PointsLot:
        return self.changed.get(lot.id, lot)

    def _keep(self, lot: PointsLot) -> None:
        status = lot.status if lot.status == "expired" else "open" if lot.left else "spent"
        self.changed[lot.id] = evolved(lot, status=status)

    def _enter(
        self,
        fact: Activity,
        lot: PointsLot,
        points: int,
        at: datetime,
        version: str | None,
    ) -> None:
        """Post points of a lot, as given by that version of the programme."""
        lot = self._now(lot)
        kind = "earn" if points > 0 else "reverse"
        qualifying = self._qualifying(lot, points)
        entry = self._entry(fact, kind, points, at, lot=lot, qualifying=qualifying)
        self.news.append(evolved(entry, version=version))
        self._keep(evolved(lot, left=lot.left + points))

    def _qualifying(self, lot: PointsLot, points: int) -> int:
        rule = self.programme.rule(lot.rule or "")
        counts = self.programme.policy.by == "points" and lot.available_at != FOREVER
        return points if counts and (rule is None or rule.qualifies) else 0

    def _entry(
        self,
        fact: Activity,
        kind: str,
        points: int,
        at: datetime,
        *,
        lot: PointsLot | None = None,
        qualifying: int = 0,
    ) -> PointsEntry:
        return PointsEntry(
            tenant=self.rt.tenant,
            id=self.rt.new_id(),
            customer_id=fact.customer_id,
            programme=self.programme.name,
            lot_id=lot.id if lot else None,
            kind=kind,
            points=points,
            qualifying=qualifying,
            available_at=lot.available_at if lot else at,
            expires_at=lot.expires_at if lot else FOREVER,
            story=fact.story,
            rule=lot.rule if lot else None,
            version=self.programme.version,
            occurred_at=at,
            recorded_at=fact.recorded_at,
            origin=fact.origin,
        )


def _place(lot: PointsLot) -> Place:
    return Place(lot.rule or "", lot.earned_at, lot.available_at == FOREVER)


def memberships(
    uow: UnitOfWork, programme: Programme, customers: Iterable[str]
) -> dict[str, Callable[[datetime], bool]]:
    """Whether these customers take part at an instant; those who always do are left out."""
    ids = tuple(sorted(customers))
    of: dict[str, Any] = {"customer_id": ids, "programme": programme.name}
    always = programme.enrolment == "automatic"
    if always:
        ids = tuple(a.customer_id for a in uow.find(PointsAccount, enrols=True, **of))
        if not ids:
            return {}
        of["customer_id"] = ids
    facts: dict[str, list[Enrolment]] = {customer_id: [] for customer_id in ids}
    for fact in uow.find(Enrolment, order=("occurred_at", "id"), **of):
        facts[fact.customer_id].append(fact)
    return {customer_id: _taking_part(told, always=always) for customer_id, told in facts.items()}


def _taking_part(facts: Sequence[Enrolment], *, always: bool) -> Callable[[datetime], bool]:
    """Whether somebody takes part at an instant, by the facts in their order."""

    def takes_part(at: datetime) -> bool:
        told = [fact for fact in facts if fact.occurred_at <= at]
        return told[-1].joined if told else always

    return takes_part
