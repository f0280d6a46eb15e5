"""Keeping who comes and goes: each change of the facts, and each instant that time makes due.

A customer's answers are asked again when a fact comes on which they depend, from the instant
of that fact on, and when time alone may have changed them, at that very instant. So comings
and goings bear their true time, however late a fact or a run is. But where a rule ranks
customers, a late fact moves the ranks from the instant on at which it becomes known: what
that says of everybody's past is never asked again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from crmkit.config import Settings
from crmkit.loyalty.accounts import holds
from crmkit.model import Customer, Metrics, Segment, SegmentCatalogue, SegmentState, SegmentStay
from crmkit.model.catalogue import evolved
from crmkit.model.rule import Rule, Top, leaves
from crmkit.model.time import FOREVER
from crmkit.ports.events import SegmentEntered, SegmentLeft
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation import asking
from crmkit.segmentation.evaluate import Lasting, lasting
from crmkit.segmentation.moments import Answer
from crmkit.segmentation.needs import Needs, needs, together
from crmkit.segmentation.past import History, last_fact_at
from crmkit.segmentation.stays import Change, Stay, replaced, sweep
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.subjects import AT_ONCE, subjects


@attrs.frozen
class Watched:
    """A segment whose comings and goings are kept, by its rule as it is since an instant.

    Where the rule ranks customers by these `tops`, it can be asked once it is told where
    each of them begins.
    """

    segment_id: str
    name: str
    version: int
    since: datetime
    rule: Rule
    tops: frozenset[Top]
    needs: Needs
    ask: Lasting
    ready: bool

    @classmethod
    def of(cls, segment: Segment, since: datetime, rule: Rule, settings: Settings) -> Watched:
        """A segment as its rule is since then."""
        tops = frozenset(leaf for leaf in leaves(rule) if isinstance(leaf, Top))
        return cls(
            segment_id=segment.id,
            name=segment.name,
            version=segment.version,
            since=since,
            rule=rule,
            tops=tops,
            needs=needs(rule),
            ask=_never if tops else lasting(rule, settings),
            ready=not tops,
        )

    def at(self, cutoffs: Mapping[Top, int | None], rt: Runtime) -> Watched:
        """The segment ready to be asked; as it is where a top of it has still to be built."""
        if not self.tops or not self.tops <= cutoffs.keys():
            return self
        values = tuple((top, cutoffs[top]) for top in self.tops)
        place = ("segment at cut-offs", rt.tenant, self.segment_id)
        known: tuple[Watched, object, Watched] | None = rt.memory.get(place)
        if known is not None and known[0] is self and known[1] == values:
            return known[2]
        rule = asking.at_cutoffs(self.rule, cutoffs)
        ready = attrs.evolve(self, ask=lasting(rule, rt.settings), ready=True)
        rt.memory[place] = (self, values, ready)
        return ready


def _never(_: Subject, __: datetime) -> Answer:
    raise AssertionError("where its tops begin was not told")


@attrs.define
class _Written:
    """What follows for the storage and for those who listen."""

    put: list[object] = attrs.field(factory=list)
    gone: list[SegmentState | SegmentStay] = attrs.field(factory=list)
    told: list[SegmentEntered | SegmentLeft] = attrs.field(factory=list)

    def write(self, uow: UnitOfWork, rt: Runtime) -> None:
        for row in self.gone:
            of = {"segment_id": row.segment_id, "customer_id": row.customer_id}
            if isinstance(row, SegmentStay):
                uow.remove(SegmentStay, entered_at=row.entered_at, **of)
            else:
                uow.remove(SegmentState, **of)
        for kind in (SegmentState, SegmentStay):
            uow.put_many(row for row in self.put if isinstance(row, kind))
        for event in sorted(self.told, key=lambda e: e.at):
            rt.events.publish(uow, event)


def hold(uow: UnitOfWork, customer_ids: Iterable[str]) -> frozenset[str]:
    """Who of these is there; nobody changes their profiles or activities before this unit ends.

    Profiles first, as everywhere: who tracks an activity holds the metrics alone.
    """
    there = uow.hold(Customer, customer_ids)
    return uow.hold(Metrics, there)


def settle(
    uow: UnitOfWork,
    rt: Runtime,
    watched: Sequence[Watched],
    since: Mapping[str, datetime],
    now: datetime,
) -> list[str]:
    """Ask these segments again about these customers, from an instant of each on.

    The customers are held. Of a segment that was due earlier, from then on. Returns those who
    were not known yet at their instant: they have begun earlier than was thought.
    """
    wanted = together(w.needs for w in watched)
    ids, earlier = sorted(since), list[str]()
    for first in range(0, len(ids), AT_ONCE):
        some = tuple(ids[first : first + AT_ONCE])
        known: dict[str, dict[str, SegmentState]] = defaultdict(dict)
        for state in uow.find(SegmentState, customer_id=some):
            known[state.customer_id][state.segment_id] = state
        written = _Written()
        customers = uow.find(Customer, id=some)
        for subject in subjects(uow, rt, customers, wanted, now):
            customer_id = subject.customer.id
            person = _Person(uow, rt, subject, wanted, now, written)
            person.settle(watched, known[customer_id], since[customer_id])
            if since[customer_id] < subject.customer.created_at:
                earlier.append(customer_id)
        written.write(uow, rt)
    return earlier


def due(
    uow: UnitOfWork,
    rt: Runtime,
    ready: Callable[[], Sequence[Watched]],
    now: datetime,
    limit: int,
) -> int:
    """Ask about a number of those for whom time alone may have changed an answer; how many.

    `ready` gives the segments as they can be asked once the customers are held.
    """
    seen = uow.due(SegmentState, "next_change_at", now, limit=limit)
    if not seen:
        return 0
    held = hold(uow, {row.customer_id for row in seen})
    by_segment = {w.segment_id: w for w in ready()}
    written = _Written()
    turned: dict[str, list[SegmentState]] = defaultdict(list)
    # Once more, for they may have changed before they were held.
    for row in uow.due(SegmentState, "next_change_at", now, limit=limit):
        of = by_segment.get(row.segment_id)
        if row.customer_id not in held or of is None:
            continue
        if of.ready:
            turned[row.customer_id].append(row)
        else:  # it is being built, and all will be asked
            written.put.append(evolved(row, next_change_at=None))
    # What they did is read only of those who are asked about it.
    alike: dict[Needs, list[str]] = defaultdict(list)
    for customer_id, states in turned.items():
        alike[together(by_segment[s.segment_id].needs for s in states)].append(customer_id)
    for wanted, customer_ids in alike.items():
        customers = uow.find(Customer, id=tuple(sorted(customer_ids)))
        for subject in subjects(uow, rt, customers, wanted, now):
            person = _Person(uow, rt, subject, wanted, now, written)
            for state in turned[subject.customer.id]:
                of = by_segment[state.segment_id]
                person.ask(of, state, state.next_change_at or now, due=True)
    # Of a customer who is gone, or of a segment that is kept no longer.
    written.gone += (
        row for row in seen if row.customer_id not in held or row.segment_id not in by_segment
    )
    written.write(uow, rt)
    return len(seen)


@attrs.define
class _Person:
    """One customer whose answers are asked again."""

    uow: UnitOfWork
    rt: Runtime
    subject: Subject
    needs: Needs
    now: datetime
    written: _Written
    _last_fact_at: datetime | None = None
    _history: History | None = None
    _stays: dict[str, list[SegmentStay]] | None = None

    def settle(
        self,
        watched: Iterable[Watched],
        states: Mapping[str, SegmentState],
        since: datetime,
    ) -> None:
        for of in watched:
            if not of.ready:
                continue
            self.ask(of, states.get(of.segment_id), since)

    def ask(
        self, of: Watched, state: SegmentState | None, since: datetime, *, due: bool = False
    ) -> None:
        """Ask one segment from an instant on, or from when it was due before that.

        With `due` since the instant to which the facts led that have come so far.
        """
        turns = state.next_change_at if state else None
        # What a moment ago was taken for now may lie before the segment was there.
        now = max(self.now, of.since)
        if of.tops:
            if state is not None:  # who moved the ranks before may have had a clock ahead
                now = max(now, state.since)
            since = now
        start = max(since if turns is None else min(since, turns), of.since)
        start = min(start, now)  # time will come to a fact of the future
        # As the customer is now they have been since the last fact.
        plain = (
            (turns is None or turns >= start)
            and (not of.needs.points or self._has_as_then(start, now))
            and self._is_as_then(start, due=due)
        )
        if plain and start == now and self._goes_on(of, state, start):
            return
        if plain:
            found = sweep(lambda at: of.ask(self.subject, at), _nothing, start, now, FOREVER)
        else:
            past = self.past()
            found = sweep(lambda at: of.ask(past.at(at), at), past.following, start, now, FOREVER)
        enters = state is None and found.changes[0][1]
        settled = state is None or start > state.since
        latest = (due or start == now) and settled and not enters
        closed = () if latest else self._closed(of)
        late = not settled or any(s.left_at >= start for s in closed)
        stays = [Stay(s.entered_at, s.left_at, s.version) for s in closed]
        if state is not None and state.member:
            stays.append(Stay(state.since, None, state.version))
        anew, flips = replaced(stays, found.changes, of.version)
        self._keep(of, state, closed, anew, found.until, start)
        was = state is not None and state.member
        self._tell(of, _news(flips, anew, start, was=was, late=late))

    def _has_as_then(self, start: datetime, now: datetime) -> bool:
        """Whether the customer had at that instant, and has had until now, the points of now."""
        account = self.subject.account
        return account is None or (holds(account, start) and holds(account, now))

    def _is_as_then(self, start: datetime, *, due: bool) -> bool:
        """Whether the customer was at that instant, and has been since, as they are now."""
        if due or start >= self.now:
            return self.subject.is_settled(start)
        if self._last_fact_at is None:
            self._last_fact_at = last_fact_at(self.uow, self.subject)
        return start >= self._last_fact_at

    def _goes_on(self, of: Watched, state: SegmentState | None, start: datetime) -> bool:
        """Whether all stays as it is kept, or at most another instant has to be waited for.

        What most facts do to most segments: it is told apart first, for it costs least.
        """
        truth, until = of.ask(self.subject, start)
        if state is None:
            return not truth and until == FOREVER
        if truth is not state.member or start <= state.since:
            return False
        turns = state.next_change_at
        # To ask too early costs less than to write each time.
        if turns is None or turns <= start or until < turns:
            later = None if until == FOREVER else until
            if later != turns:
                self.written.put.append(evolved(state, next_change_at=later))
        return True

    def past(self) -> History:
        """The customer's history, loaded once."""
        if self._history is None:
            self._history = History.load(self.uow, self.rt, self.subject, self.needs)
        return self._history

    def _closed(self, of: Watched) -> Sequence[SegmentStay]:
        """Stays that are over, for what was so before may change."""
        if self._stays is None:
            self._stays = defaultdict(list)
            customer_id = self.subject.customer.id
            for stay in self.uow.find(SegmentStay, customer_id=customer_id):
                self._stays[stay.segment_id].append(stay)
        return sorted(self._stays[of.segment_id], key=lambda s: s.entered_at)

    def _keep(
        self,
        of: Watched,
        state: SegmentState | None,
        closed: Sequence[SegmentStay],
        stays: Sequence[Stay],
        until: datetime | None,
        start: datetime,
    ) -> None:
        key = {
            "tenant": self.rt.tenant,
            "segment_id": of.segment_id,
            "customer_id": self.subject.customer.id,
        }
        over = [
            SegmentStay(**key, entered_at=s.entered_at, left_at=s.left_at, version=s.version)
            for s in stays
            if s.left_at is not None
        ]
        known = {s.entered_at: s for s in closed}
        self.written.put += (s for s in over if known.pop(s.entered_at, None) != s)
        self.written.gone += known.values()
        last = stays[-1] if stays else None
        member = last is not None and last.left_at is None
        if not member and until is None:
            if state is not None:
                self.written.gone.append(state)
            return
        since = start if last is None else last.entered_at if member else last.left_at or start
        version = last.version if last is not None and member else of.version
        anew = SegmentState(
            **key, member=member, since=since, version=version, next_change_at=until
        )
        if anew != state:
            self.written.put.append(anew)

    def _tell(self, of: Watched, flips: Iterable[Change]) -> None:
        for at, inside in flips:
            event = SegmentEntered if inside else SegmentLeft
            self.written.told.append(
                event(of.segment_id, of.name, self.subject.customer.id, at, of.version)
            )


def _news(
    flips: Sequence[Change], stays: Sequence[Stay], start: datetime, *, was: bool, late: bool
) -> Sequence[Change]:
    """The changes that nobody was told of yet."""
    if not late:
        return flips
    # What was told before of an earlier time is not told again: only how it is by now.
    member = bool(stays) and stays[-1].left_at is None
    return () if member is was else flips[-1:] or ((start, member),)


def _nothing(at: datetime) -> None:  # noqa: ARG001 - nothing follows, whenever it is asked
    return None


@attrs.frozen
class Watchlist:
    """The watched segments of a tenant, compiled; kept until one of them changes."""

    mark: str
    settings: Settings
    watched: Sequence[Watched]

    @classmethod
    def of(
        cls, uow: UnitOfWork, rt: Runtime, load: Callable[[UnitOfWork], Sequence[Watched]]
    ) -> Sequence[Watched]:
        """The list as it is now; `load` makes it."""
        kept = uow.get(SegmentCatalogue, rt.tenant)
        if kept is None:
            return ()
        place = ("watched segments", rt.tenant)
        known: Watchlist | None = rt.memory.get(place)
        if known is None or known.mark != kept.mark or known.settings is not rt.settings:
            known = cls(kept.mark, rt.settings, load(uow))
            rt.memory[place] = known
        return known.watched
