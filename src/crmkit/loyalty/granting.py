"""Points that stories of facts earn: what changes of stories mean for the ledger.

What a story has earned at each instant is worked out anew, and the differences to what its
entries tell are posted, each at the instant it belongs to. So the order in which facts come
does not matter, and a fact that comes twice adds nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cached_property, partial
from typing import Any

import attrs

from crmkit.activities.recording import StoryChange
from crmkit.activities.stories import Story
from crmkit.errors import InsufficientPoints
from crmkit.loyalty import accounts
from crmkit.loyalty.capping import EARNED, caps, course, shared, sum_of, sums, totals, written
from crmkit.loyalty.earning import (
    Place,
    Run,
    Worth,
    counts_from,
    earns,
    moments,
    regranted,
    runs,
    worth,
)
from crmkit.loyalty.ledger import is_overdrawn
from crmkit.loyalty.membership import memberships
from crmkit.loyalty.periods import celebrates, dates, period
from crmkit.model import (
    Activity,
    Customer,
    PointsAccount,
    PointsEntry,
    PointsLot,
    ProgrammeVersion,
)
from crmkit.model.catalogue import evolved
from crmkit.model.money import digits
from crmkit.model.time import FOREVER
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Cap, EarnRule, Multiplier, Programme

Fits = Callable[[UnitOfWork, Mapping[str, Any], str, datetime], bool]
"""Whether a customer fits a segmentation rule at an instant."""


@attrs.define(slots=False)
class Granting:
    """What changes of stories mean for one programme's ledger, in one unit of work."""

    uow: UnitOfWork
    rt: Runtime
    programme: Programme
    fits: Fits
    births: Mapping[str, Any] = attrs.field(factory=dict)
    known: Mapping[str, PointsAccount] = attrs.field(factory=dict)
    """By customer, where they were read."""
    lots: dict[str, dict[str, PointsLot]] = attrs.field(factory=lambda: defaultdict(dict))
    """By story, by id."""
    stored: dict[str, PointsLot] = attrs.field(factory=dict)
    entries: dict[str, list[PointsEntry]] = attrs.field(factory=dict)
    """By story, where they were read."""
    news: list[PointsEntry] = attrs.field(factory=list)
    fresh: dict[str, list[PointsEntry]] = attrs.field(factory=lambda: defaultdict(list))
    """The news by lot."""
    changed: dict[str, PointsLot] = attrs.field(factory=dict)
    overdrawn: set[str] = attrs.field(factory=set)
    joined: dict[str, Callable[[datetime], bool]] = attrs.field(factory=dict)
    capped: set[tuple[str, str, datetime]] = attrs.field(factory=set)
    """Customer, rule, and since when: of lots that share a cap with others."""

    def post(self, changes: Sequence[StoryChange]) -> Mapping[str, accounts.Posted]:
        """Store what changes of stories mean; returns what was posted, by customer.

        Raises `InsufficientPoints` where points were used that would have to be taken back,
        and the programme blocks that.
        """
        self._read(changes)
        for change in changes:
            self._change(change)
        self._cap()
        return self._post({change.fact.story for change in changes})

    def _post(self, stories: Collection[str]) -> Mapping[str, accounts.Posted]:
        self._cover(stories)
        lots = [lot for lot in self.changed.values() if self.stored.get(lot.id) != lot]
        if not self.news and not lots:
            return {}
        return accounts.post(
            self.uow,
            self.rt,
            self.programme.name,
            self.news,
            lots,
            self.overdrawn,
            self.known,
        )

    # --- what is there ---

    def _read(self, changes: Sequence[StoryChange]) -> None:
        going_on = tuple(c.fact.story for c in changes if c.before)
        self.entries |= {c.fact.story: [] for c in changes}
        of: dict[str, Any] = {"story": going_on, "programme": self.programme.name}
        if going_on:
            for lot in self.uow.find(PointsLot, **of):
                self.lots[lot.story or ""][lot.id] = self.stored[lot.id] = lot
            if self.lots or self.programme.policy.by != "points":
                self._read_entries(going_on)
        kinds, rules = self.rt.settings.kinds_by_name, self.programme.earn_rules
        by_points = self.programme.policy.by == "points"
        earning = {
            c.fact.customer_id or ""
            for c in changes
            if not by_points or earns(c.after, kinds, rules, self._minor)
        }
        self._read_customers(earning)

    def _read_entries(self, stories: tuple[str, ...]) -> None:
        of: dict[str, Any] = {"story": stories, "programme": self.programme.name}
        self.entries |= {story: [] for story in stories}
        for entry in self.uow.find(PointsEntry, **of):
            self.entries[entry.story or ""].append(entry)

    def _told(self, lot: PointsLot) -> list[PointsEntry]:
        """The entries of a lot, the news too."""
        stored = self.entries.get(lot.story or "", ())
        return [*(e for e in stored if e.lot_id == lot.id), *self.fresh[lot.id]]

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
        name = self.programme.name
        self.known = accounts.read(self.uow, self.rt, customers, name)
        self.joined |= memberships(self.uow, self.programme, self.known)

    @cached_property
    def _minor(self) -> int:
        return int(10 ** digits(self.rt.settings.currency))

    # --- one story ---

    def _change(self, change: StoryChange) -> None:
        told = [e for e in self.entries[change.fact.story] if e.kind in EARNED]
        if self._is_former(change, told):
            self._regrant(change, told)
        else:
            self._grant(change, told)
        self._qualify(change)

    def _grant(self, change: StoryChange, told: Sequence[PointsEntry]) -> None:
        """Post the differences, instant by instant and lot by lot; of a capped rule see `_cap`."""
        known = {_place(lot): lot for lot in self.lots[change.fact.story].values()}
        kinds, rules = self.rt.settings.kinds_by_name, self.programme.earn_rules
        asked = partial(self._asked, change.fact.customer_id or "", known)
        due: dict[Place, Run] = {}
        for run in runs(change.after, kinds, rules, self._minor, asked):
            if run.place not in known and any(run.totals.values()):
                if len(run.totals) == 1 and not self._is_capped(run.place):
                    self._give(change.fact, run)  # nothing to compare, as with most stories
                    continue
                known[run.place] = self._new_lot(change.fact, run)
            due[run.place] = run
        for place, lot in known.items():
            run = due.get(place) or Run(place, Decimal(1), {place.since: 0})
            given = run.differences()
            if self._is_capped(place):
                self.capped.add((lot.customer_id, place.rule, place.since))
            else:
                self._differ(lot, sums(told, lot), given)
            over_time = written(place.since, given)
            self._keep(evolved(self._now(lot), full=run.final, totals=over_time))

    def _give(self, fact: Activity, run: Run) -> None:
        """Post all that a run gives, which nothing was posted of."""
        lot = self._new_lot(fact, run, run.final)
        self.changed[lot.id] = lot
        self._add(self._of_lot(lot, "earn", run.final, run.place.since))

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

    def _is_capped(self, place: Place) -> bool:
        rule = self.programme.rule(place.rule)
        return rule is not None and rule.cap is not None and not place.pending

    def _differ(
        self, lot: PointsLot, posted: Mapping[datetime, int], due: Mapping[datetime, int]
    ) -> None:
        for moment in sorted({*posted, *due}):
            points = due.get(moment, 0) - posted.get(moment, 0)
            if points:
                self._enter(lot, points, moment)

    def _is_former(self, change: StoryChange, told: Sequence[PointsEntry]) -> bool:
        """Whether a story was granted what it has, or nothing, by a former configuration.

        What was only promised was not granted.
        """
        granted = [e for e in told if e.available_at != FOREVER]
        if granted:
            same = all(e.version == self.programme.version for e in granted)
            return not same and not self._would_give(change, granted)
        plain = [r for r in self.programme.earn_rules if r.when is None and r.cap is None]
        return (
            change.before is not None
            and change.fact.customer_id not in self.joined
            and worth(change.before, plain, self._minor).kept > 0
        )

    def _would_give(self, change: StoryChange, granted: Sequence[PointsEntry]) -> bool:
        """Whether today's rules give a story what it has, as it was told before."""
        lots = {_place(lot): lot for lot in self.lots[change.fact.story].values()}
        asked = partial(self._asked, change.fact.customer_id or "", lots)
        kinds, rules = self.rt.settings.kinds_by_name, self.programme.earn_rules
        story = change.before or change.after
        due = {run.place: run.final for run in runs(story, kinds, rules, self._minor, asked)}
        return all(
            (lot.full if self._is_capped(place) else sum_of(granted, lot)) == due.get(place, 0)
            for place, lot in lots.items()
            if not place.pending
        )

    def _regrant(self, change: StoryChange, told: Sequence[PointsEntry]) -> None:
        """Points of former rules stay granted; the story's own change is added or taken."""
        fact, rules = change.fact, self.programme.earn_rules
        lots = sorted(self.lots[fact.story].values(), key=lambda lot: (lot.earned_at, lot.id))
        has = {lot.id: sum_of(told, lot) for lot in lots}
        promised = [lot for lot in lots if _place(lot).pending]
        lots = [lot for lot in lots if lot not in promised]
        for lot in promised:
            if has[lot.id] and (change.after.completed or change.after.off):
                self._enter(lot, -has[lot.id], counts_from(fact))
        version = next((e.version for e in told if e.available_at != FOREVER), None)
        given = sum(has[lot.id] for lot in lots)
        after = worth(change.after, rules, self._minor)
        before = worth(change.before, rules, self._minor) if change.before else Worth(0)
        owed = (0 if change.after.off else regranted(given, before, after)) - given
        if owed > 0:
            lot = lots[-1] if lots else self._lot_of(change)
            self._enter(lot, owed, counts_from(fact), version)
        for lot in reversed(lots):
            part = min(-owed, has[lot.id])
            if part > 0:
                owed += part
                self._enter(lot, -part, counts_from(fact), version)
        for lot in lots:
            now = sums(self._told(lot), lot)
            over_time = written(lot.earned_at, now)
            self._keep(evolved(self._now(lot), full=sum(now.values()), totals=over_time))

    def _lot_of(self, change: StoryChange) -> PointsLot:
        """A lot for points that a story gains since it says more."""
        kinds, rules = self.rt.settings.kinds_by_name, self.programme.earn_rules
        found = runs(change.after, kinds, rules, self._minor, lambda *_: Decimal(1))
        granted = [run for run in found if not run.place.pending]
        return self._new_lot(change.fact, max(granted, key=lambda run: run.place.since))

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
                self.news.append(self._step(change.fact, points, moment))

    # --- caps ---

    def _cap(self) -> None:
        """Let earlier stories of a period have what a cap leaves, and later ones the rest."""
        if not self.capped:
            return
        lots = self._sharing()
        periods: set[tuple[str, str, datetime, datetime]] = set()
        for customer_id, name, since in self.capped:
            per = self._cap_of(name).per
            periods.add((customer_id, name, *period(per, since, self.rt.settings.zone)))
        together = [
            (name, [lot for lot in lots[customer_id, name] if start <= lot.earned_at < end])
            for customer_id, name, start, end in sorted(periods)
        ]
        unread = {lot.story or "" for _, some in together for lot in some} - self.entries.keys()
        if unread:
            self._read_entries(tuple(sorted(unread)))
        for name, some in together:
            self._share(some, self._cap_of(name).points)

    def _cap_of(self, name: str) -> Cap:
        rule = self.programme.rule(name)
        return (rule and rule.cap) or Cap(0)

    def _sharing(self) -> Mapping[tuple[str, str], Sequence[PointsLot]]:
        """The lots that may share a cap, by customer and rule."""
        customers, names = ({part[n] for part in self.capped} for n in (0, 1))
        of: dict[str, Any] = {"customer_id": tuple(sorted(customers)), "rule": tuple(sorted(names))}
        for lot in self.uow.find(PointsLot, source="earn", programme=self.programme.name, **of):
            self.stored.setdefault(lot.id, lot)
        found: dict[tuple[str, str], list[PointsLot]] = defaultdict(list)
        for lot in {**self.stored, **self.changed}.values():
            if lot.available_at != FOREVER:
                found[lot.customer_id, lot.rule or ""].append(lot)
        return found

    def _share(self, lots: Sequence[PointsLot], most: int) -> None:
        """Give each what it may have; what a former configuration gave comes first, and stays."""
        former = self._capped_otherwise([lot for lot in lots if lot.id not in self.changed])
        ordered = sorted(
            lots, key=lambda lot: (lot.id not in former, lot.earned_at, lot.story or "")
        )
        posted = {lot.id: sums(self._told(lot), lot) for lot in ordered}
        courses = [totals(posted[lot.id]) if lot.id in former else course(lot) for lot in ordered]
        for lot, due in zip(ordered, shared(most, courses), strict=True):
            if lot.id not in former:
                self._differ(lot, posted[lot.id], due)

    def _capped_otherwise(self, lots: Sequence[PointsLot]) -> set[str]:
        """Those that were given when their rule had another cap, or none."""
        told = {lot.id: {e.version or "" for e in self._told(lot)} for lot in lots}
        others = set().union(*told.values()) - {self.programme.version}
        if not others:
            return set()
        of: dict[str, Any] = {"programme": self.programme.name, "version": tuple(sorted(others))}
        now = caps(self.programme.document())
        name = lots[0].rule or ""
        found = self.uow.find(ProgrammeVersion, **of)
        others -= {v.version for v in found if caps(v.document).get(name) == now[name]}
        return {lot_id for lot_id, versions in told.items() if versions & others}

    def share_again(self, customers: Collection[str], since: datetime) -> None:
        """Share caps anew of customers who were one from an instant on, where they earned then."""
        names = tuple(rule.name for rule in self.programme.earn_rules if rule.cap)
        of: dict[str, Any] = {"rule": names, "source": "earn"}
        if not names:
            return
        of |= {"customer_id": tuple(sorted(customers)), "programme": self.programme.name}
        lots = self.uow.find(PointsLot, **of)
        self._read_entries(tuple(sorted({lot.story or "" for lot in lots})))
        for lot in lots:
            if lot.available_at != FOREVER and any(e.recorded_at >= since for e in self._told(lot)):
                self.capped.add((lot.customer_id, lot.rule or "", lot.earned_at))
        self._cap()
        self._post(())

    # --- points that were used ---

    def _cover(self, stories: Collection[str]) -> None:
        """See to points that are taken back and were used."""
        since: dict[str, datetime] = {}
        for lot in self.changed.values():
            taken = [e.occurred_at for e in self.fresh[lot.id] if e.points < 0]
            if taken and is_overdrawn(self._told(lot)):
                self.overdrawn.add(lot.customer_id)
            if taken and lot.story in stories:
                since[lot.customer_id] = min(*taken, since.get(lot.customer_id, FOREVER))
        if since and self.programme.on_spent != "debt":
            # Of who has debts, points that were not used may have paid for others.
            of: dict[str, Any] = {"customer_id": tuple(since), "indebted": True}
            found = self.uow.find(PointsAccount, programme=self.programme.name, **of)
            indebted = {account.customer_id for account in found} | self.overdrawn
            for customer_id in sorted(indebted & since.keys()):
                self._forgive(customer_id, since[customer_id])

    def _forgive(self, customer_id: str, since: datetime) -> None:
        """Waive what is owed from an instant on, or refuse it where it was not before."""
        account = accounts.empty(self.rt, customer_id, self.programme.name)
        news = [entry for entry in self.news if entry.customer_id == customer_id]
        owed = accounts.owed(self.uow, self.rt, account, news, since)
        if self.programme.on_spent == "block":
            before = accounts.owed(self.uow, self.rt, account, (), since)
            if sum(points for _, points, _ in owed) > sum(points for _, points, _ in before):
                raise InsufficientPoints("points of this activity were used already")
            return
        self.overdrawn.add(customer_id)
        ids = tuple({lot_id for lot_id, _, _ in owed} - self.changed.keys())
        lots = {lot.id: lot for lot in self.uow.find(PointsLot, id=ids)} if ids else {}
        self.stored = lots | self.stored
        for lot_id, points, at in owed:
            self._enter(self.changed.get(lot_id) or lots[lot_id], points, at, kind="waive")

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

    def _new_lot(self, fact: Activity, run: Run, points: int = 0) -> PointsLot:
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
            full=points,
            left=points,
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
        is_over = lot.expires_at <= self.rt.now()
        status = "expired" if is_over else "open" if lot.left else "spent"
        self.changed[lot.id] = evolved(lot, status=status)

    def _enter(
        self,
        lot: PointsLot,
        points: int,
        at: datetime,
        version: str | None = None,
        kind: str | None = None,
    ) -> None:
        """Post points of a lot, as given by that version of the programme, by default today's."""
        lot = self._now(lot)
        kind = kind or ("earn" if points > 0 else "reverse")
        self._add(self._of_lot(lot, kind, points, at, version))
        self._keep(evolved(lot, left=lot.left + points))

    def _add(self, entry: PointsEntry) -> None:
        self.news.append(entry)
        self.fresh[entry.lot_id or ""].append(entry)

    def _of_lot(
        self, lot: PointsLot, kind: str, points: int, at: datetime, version: str | None = None
    ) -> PointsEntry:
        return PointsEntry(
            tenant=self.rt.tenant,
            id=self.rt.new_id(),
            customer_id=lot.customer_id,
            programme=self.programme.name,
            lot_id=lot.id,
            kind=kind,
            points=points,
            qualifying=self._qualifying(lot, points) if kind in EARNED else 0,
            available_at=lot.available_at,
            expires_at=lot.expires_at,
            story=lot.story,
            rule=lot.rule,
            version=version or self.programme.version,
            occurred_at=at,
            recorded_at=self.rt.now(),
            origin=lot.origin,
        )

    def _qualifying(self, lot: PointsLot, points: int) -> int:
        """What points of a lot count for the tier: as those before them did."""
        told = [e for e in self._told(lot) if e.kind in EARNED]
        rule = self.programme.rule(lot.rule or "")
        counts = self.programme.policy.by == "points" and (rule is None or rule.qualifies)
        if told:
            counts = any(e.qualifying for e in told)
        return points if counts and lot.available_at != FOREVER else 0

    def _step(self, fact: Activity, qualifying: int, at: datetime) -> PointsEntry:
        """What counts for the tier and is no points."""
        return PointsEntry(
            tenant=self.rt.tenant,
            id=self.rt.new_id(),
            customer_id=fact.customer_id,
            programme=self.programme.name,
            kind="qualify",
            points=0,
            qualifying=qualifying,
            available_at=at,
            expires_at=FOREVER,
            story=fact.story,
            version=self.programme.version,
            occurred_at=at,
            recorded_at=fact.recorded_at,
            origin=fact.origin,
        )


def _place(lot: PointsLot) -> Place:
    return Place(lot.rule or "", lot.earned_at, lot.available_at == FOREVER)
