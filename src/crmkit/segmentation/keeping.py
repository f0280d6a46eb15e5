"""Hearing of changes and asking the watched segments again, inside the unit of work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from crmkit.activities.recording import StoriesChanged
from crmkit.model import Customer, Metrics, Segment, SegmentState, SegmentStay, SegmentVersion
from crmkit.model.rule import Top, leaves
from crmkit.ports.events import (
    ConsentChanged,
    CustomersMerged,
    MergeUndone,
    PointsChanged,
    ProfileChanged,
    SegmentEntered,
    SegmentLeft,
)
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation import asking, watching
from crmkit.segmentation.evaluate import lasting
from crmkit.segmentation.moments import Answer
from crmkit.segmentation.needs import Needs, needs
from crmkit.segmentation.subject import Subject
from crmkit.segmentation.subjects import AT_ONCE
from crmkit.segmentation.watching import Watched, Watchlist

_EVERYTHING = Needs(profile=True, metrics=True, points=True, tags=True, consents=True, by_hand=True)
_PAGE = 500


def watchlist(uow: UnitOfWork, rt: Runtime) -> Sequence[Watched]:
    """The segments whose comings and goings are kept."""
    return Watchlist.of(uow, rt, lambda uow: _compiled(uow, rt))


def _compiled(uow: UnitOfWork, rt: Runtime) -> Sequence[Watched]:
    segments = uow.find(Segment, archived_at=None)
    named = {s.name: s for s in segments}
    since = {(v.segment_id, v.version): v.since for v in uow.find(SegmentVersion)}
    found = []
    for segment in segments:
        rule = asking.whole(segment, named, rt)
        ranked = any(isinstance(leaf, Top) for leaf in leaves(rule))
        found.append(
            Watched(
                segment_id=segment.id,
                name=segment.name,
                version=segment.version,
                since=since[segment.id, segment.version],
                rule=rule,
                ranked=ranked,
                ask=_never if ranked else lasting(rule, rt.settings),
                needs=needs(rule),
            )
        )
    return found


def _never(_: Subject, __: datetime) -> Answer:
    raise AssertionError("a rank is asked of all at once")


@attrs.frozen
class Keeper:
    """Keeps the comings and goings of one tenant's segments."""

    rt: Runtime

    def on_stories(self, uow: UnitOfWork, event: StoriesChanged) -> None:
        """Ask about those whose numbers may have changed."""
        watched = watchlist(uow, self.rt)
        if not watched:
            return
        earliest = min(change.since for change in event.changes)
        since = dict.fromkeys(event.customers, earliest)
        if len(event.customers) > 1:
            since |= _by_payer(event)
        kinds = frozenset(
            fact.kind
            for change in event.changes
            for story in (change.before, change.after)
            if story is not None
            for fact in story.standing
        )
        # Points follow from what was done.
        self._changed(uow, watched, since, Needs(metrics=True, points=True, kinds=kinds))

    def on_profile(self, uow: UnitOfWork, event: ProfileChanged) -> None:
        """Ask about a profile; all there is where it is new."""
        what = _EVERYTHING if event.created else Needs(profile=True, tags=True)
        self.changed(uow, event.customer_id, event.at, what, anew=event.created)

    def on_consent(self, uow: UnitOfWork, event: ConsentChanged) -> None:
        """Ask about what a customer consents to."""
        self.changed(uow, event.customer_id, event.at, Needs(consents=True))

    def on_points(self, uow: UnitOfWork, event: PointsChanged) -> None:
        """Ask about a customer's points."""
        self.changed(uow, event.customer_id, event.at, Needs(points=True))

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Ask anew about one who was two; what was kept of the other is theirs no more."""
        gone = event.merge.dropped_id
        uow.remove(SegmentState, customer_id=gone)
        uow.remove(SegmentStay, customer_id=gone)
        self._from_the_start(uow, event.merge.kept_id)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Ask anew about both who were one."""
        for customer_id in (event.merge.customer_id, event.merge.dropped_id):
            self._from_the_start(uow, customer_id)

    def _from_the_start(self, uow: UnitOfWork, customer_id: str) -> None:
        watched = watchlist(uow, self.rt)
        if watched:
            start = min(w.since for w in watched)
            self.changed(uow, customer_id, start, _EVERYTHING, anew=True)

    def changed(
        self, uow: UnitOfWork, customer_id: str, at: datetime, what: Needs, *, anew: bool = False
    ) -> None:
        """Ask again what depends on facts that changed; with `anew` all segments."""
        watched = watchlist(uow, self.rt)
        if watched:
            uow.hold(Metrics, [customer_id])  # else what is being done would not be seen
            self._changed(uow, watched, {customer_id: at}, what, anew=anew)

    def _changed(
        self,
        uow: UnitOfWork,
        watched: Sequence[Watched],
        since: Mapping[str, datetime],
        what: Needs,
        *,
        anew: bool = False,
    ) -> None:
        now = _as_told(self.rt.now(), since.values())
        asked = [w for w in watched if not w.ranked]
        meant = [w for w in asked if anew or w.needs.meets(what)]
        late = min(since.values()) < now
        earlier = watching.settle(uow, self.rt, meant, since, now) if meant or late else ()
        rest = [w for w in asked if w not in meant]
        if earlier and rest:
            watching.settle(uow, self.rt, rest, {c: since[c] for c in earlier}, now)

    # --- a page of work at a time ---

    def build(
        self, uow: UnitOfWork, new: Sequence[Watched], since: datetime, after: str | None
    ) -> str | None:
        """Ask a page of customers about segments from an instant on; the last of a full page."""
        edge = None if after is None else (after,)
        page = uow.find(Customer, order=("id",), after=edge, limit=AT_ONCE)
        held = watching.hold(uow, [c.id for c in page])
        if held:
            watching.settle(uow, self.rt, new, dict.fromkeys(held, since), self.rt.now())
        return page[-1].id if len(page) == AT_ONCE else None

    def due(self, uow: UnitOfWork, now: datetime) -> int:
        """Ask about a page of those for whom time alone may have changed an answer; how many."""
        watched = [w for w in watchlist(uow, self.rt) if not w.ranked]
        return watching.due(uow, self.rt, watched, now, _PAGE)

    def rank(self, uow: UnitOfWork, of: Watched, now: datetime) -> int:
        """Let those come and go whose rank has changed since it was last looked at; how many."""
        uow.lock([self.rt.fingerprint("ranks", of.segment_id)])
        when = asking.When(now, live=True)
        inside = set(asking.ids(uow, self.rt, of.rule, when))
        kept = {
            s.customer_id: s for s in uow.find(SegmentState, segment_id=of.segment_id) if s.member
        }
        come, gone = sorted(inside - kept.keys()), sorted(kept.keys() - inside)
        uow.put_many(_inside(self.rt, of, customer_id, now) for customer_id in come)
        self._leave(uow, of.name, of.version, [kept[customer_id] for customer_id in gone], now)
        for customer_id in come:
            entered = SegmentEntered(of.segment_id, of.name, customer_id, now, of.version)
            self.rt.events.publish(uow, entered)
        return len(come) + len(gone)

    def close(self, uow: UnitOfWork, of: Segment, now: datetime) -> bool:
        """Let a page of members leave a segment that is kept no longer; whether any were left."""
        page = uow.find(SegmentState, segment_id=of.id, limit=_PAGE)
        self._leave(uow, of.name, of.version, page, now)
        return bool(page)

    def _leave(
        self,
        uow: UnitOfWork,
        name: str,
        version: int,
        states: Iterable[SegmentState],
        now: datetime,
    ) -> None:
        for state in states:
            uow.remove(SegmentState, segment_id=state.segment_id, customer_id=state.customer_id)
            if not state.member:
                continue
            if state.since < now:
                uow.put(
                    SegmentStay(
                        tenant=self.rt.tenant,
                        segment_id=state.segment_id,
                        customer_id=state.customer_id,
                        entered_at=state.since,
                        left_at=now,
                        version=state.version,
                    )
                )
            left = SegmentLeft(state.segment_id, name, state.customer_id, now, version)
            self.rt.events.publish(uow, left)


_A_MOMENT = timedelta(seconds=5)


def _as_told(now: datetime, since: Iterable[datetime]) -> datetime:
    """Now; or the instant that a call took for now, a moment ago, before it could begin."""
    last = max(since)
    return last if timedelta(0) <= now - last <= _A_MOMENT else now


def _by_payer(event: StoriesChanged) -> dict[str, datetime]:
    """From when on each who pays was changed, where nobody else bears a share."""
    shared = any(f.shares for c in event.changes for f in c.after.standing)
    since: dict[str, datetime] = {}
    for change in () if shared else event.changes:
        payer = change.fact.customer_id or ""
        since[payer] = min(since.get(payer, change.since), change.since)
    return since


def _inside(rt: Runtime, of: Watched, customer_id: str, now: datetime) -> SegmentState:
    return SegmentState(
        tenant=rt.tenant,
        segment_id=of.segment_id,
        customer_id=customer_id,
        member=True,
        since=now,
        version=of.version,
    )
