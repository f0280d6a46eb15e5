"""Hearing of changes and asking the watched segments again, inside the unit of work."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from crmkit.activities.recording import StoriesChanged, StoryChange
from crmkit.model import (
    Customer,
    Metrics,
    Rank,
    Segment,
    SegmentState,
    SegmentStay,
    SegmentVersion,
)
from crmkit.model.rule import Top
from crmkit.ports.events import (
    ActivitiesAnonymised,
    ConsentChanged,
    CustomerErased,
    CustomersMerged,
    MergeUndone,
    NumbersCorrected,
    PointsChanged,
    ProfileChanged,
    ScoresRefreshed,
    SegmentLeft,
)
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.segmentation import asking, ranks, watching
from crmkit.segmentation.needs import Needs
from crmkit.segmentation.subjects import AT_ONCE
from crmkit.segmentation.watching import Watched, Watchlist

_EVERYTHING = Needs(
    profile=True,
    metrics=True,
    points=True,
    tiers=True,
    tags=True,
    consents=True,
    scores=True,
    by_hand=True,
)
_PAGE = 500


def watchlist(uow: UnitOfWork, rt: Runtime) -> Sequence[Watched]:
    """The segments whose comings and goings are kept."""
    return Watchlist.of(uow, rt, lambda uow: _compiled(uow, rt))


def _compiled(uow: UnitOfWork, rt: Runtime) -> Sequence[Watched]:
    segments = uow.find(Segment, archived_at=None)
    named = {s.name: s for s in segments}
    since = {(v.segment_id, v.version): v.since for v in uow.find(SegmentVersion)}
    return [
        Watched.of(s, since[s.id, s.version], asking.whole(s, named, rt), rt.settings)
        for s in segments
    ]


@attrs.frozen
class Keeper:
    """Keeps the comings and goings of one tenant's segments."""

    rt: Runtime

    def on_stories(self, uow: UnitOfWork, event: StoriesChanged) -> None:
        """Ask about those whose numbers may have changed."""
        watched = watchlist(uow, self.rt)
        if not watched:
            return
        earliest = min(map(_since, event.changes))
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
        # Points follow from what was done, and tiers from them.
        what = Needs(metrics=True, points=True, tiers=True, kinds=kinds)
        self._changed(uow, watched, since, what)

    def on_profile(self, uow: UnitOfWork, event: ProfileChanged) -> None:
        """Ask about a profile; all there is where it is new."""
        what = _EVERYTHING if event.created else Needs(profile=True, tags=True)
        self.changed(uow, event.customer_id, event.at, what, anew=event.created)

    def on_consent(self, uow: UnitOfWork, event: ConsentChanged) -> None:
        """Ask about what a customer consents to."""
        self.changed(uow, event.customer_id, event.at, Needs(consents=True))

    def on_points(self, uow: UnitOfWork, event: PointsChanged) -> None:
        """Ask about a customer's points, and the tier that follows from them."""
        self.changed(uow, event.customer_id, event.at, Needs(points=True, tiers=True))

    def on_scores(self, uow: UnitOfWork, event: ScoresRefreshed) -> None:
        """Ask about those whose scores have changed; who refreshes holds them."""
        watched = watchlist(uow, self.rt)
        what = Needs(scores=True)
        if any(w.needs.meets(what) for w in watched):
            self._changed(uow, watched, dict.fromkeys(sorted(event.customers), event.at), what)

    def on_merged(self, uow: UnitOfWork, event: CustomersMerged) -> None:
        """Ask anew about one who was two; what was kept of the other is theirs no more."""
        gone = event.merge.dropped_id
        self._say_left(uow, gone, event.merge.recorded_at)
        self._from_the_start(uow, [event.merge.kept_id], gone)
        for kind in (SegmentState, SegmentStay, Rank):
            uow.remove(kind, customer_id=gone)

    def on_undone(self, uow: UnitOfWork, event: MergeUndone) -> None:
        """Ask anew about both who were one."""
        self._from_the_start(uow, [event.merge.customer_id, event.merge.dropped_id])

    def on_corrected(self, uow: UnitOfWork, event: NumbersCorrected) -> None:
        """Ask anew about one whose numbers were wrong."""
        self._from_the_start(uow, [event.customer_id])

    def on_anonymised(self, uow: UnitOfWork, event: ActivitiesAnonymised) -> None:
        """Ask as of now about those of whom some doings are gone; what was, stays."""
        watched = watchlist(uow, self.rt)
        if watched:
            since = dict.fromkeys(sorted(event.customers), event.at)
            self._changed(uow, watched, since, _EVERYTHING, anew=True)

    def on_erased(self, uow: UnitOfWork, event: CustomerErased) -> None:
        """Let the others move up; what is kept of the customer goes with all the rest."""
        self._say_left(uow, event.customer_id, event.at)
        watched = watchlist(uow, self.rt)
        if any(w.tops for w in watched):
            self._ranked(
                uow, watched, (), _as_told(self.rt.now(), [event.at]), gone=event.customer_id
            )

    def _say_left(self, uow: UnitOfWork, customer_id: str, at: datetime) -> None:
        """Tell that somebody leaves who is nobody from now on."""
        names = {w.segment_id: w.name for w in watchlist(uow, self.rt)}
        for state in uow.find(SegmentState, customer_id=customer_id) if names else ():
            if state.member and state.segment_id in names:
                of = state.segment_id
                self.rt.events.publish(
                    uow, SegmentLeft(of, names[of], customer_id, at, state.version)
                )

    def _from_the_start(
        self, uow: UnitOfWork, customers: Sequence[str], gone: str | None = None
    ) -> None:
        watched = watchlist(uow, self.rt)
        if watched:
            start = min(w.since for w in watched)
            since = dict.fromkeys(customers, start)
            self._changed(uow, watched, since, _EVERYTHING, anew=True, gone=gone)

    def changed(
        self, uow: UnitOfWork, customer_id: str, at: datetime, what: Needs, *, anew: bool = False
    ) -> None:
        """Ask again what depends on facts that changed; with `anew` all segments."""
        watched = watchlist(uow, self.rt)
        if watched:
            if not anew:  # who records what the customer did holds these
                uow.hold(Metrics, [customer_id])
            self._changed(uow, watched, {customer_id: at}, what, anew=anew)

    def _changed(
        self,
        uow: UnitOfWork,
        watched: Sequence[Watched],
        since: Mapping[str, datetime],
        what: Needs,
        *,
        anew: bool = False,
        gone: str | None = None,
    ) -> None:
        now = _as_told(self.rt.now(), since.values())
        asked = [w for w in watched if not w.tops]
        meant = [w for w in asked if anew or w.needs.meets(what)]
        if any(w.tops and (anew or w.needs.meets(what)) for w in watched):
            counts = anew or what.metrics or what.points
            ready = self._ranked(uow, watched, since if counts else (), now, gone=gone)
            meant += [w for w in ready if anew or w.needs.meets(what)]
        late = min(since.values()) < now
        earlier = watching.settle(uow, self.rt, meant, since, now) if meant or late else ()
        rest = [w for w in asked if w not in meant]
        if earlier and rest:
            watching.settle(uow, self.rt, rest, {c: since[c] for c in earlier}, now)

    # --- ranks ---

    def _ranked(
        self,
        uow: UnitOfWork,
        watched: Sequence[Watched],
        customers: Iterable[str],
        now: datetime,
        *,
        gone: str | None = None,
    ) -> Sequence[Watched]:
        """Move the ranks by what has changed, and ask those others about whom that decides.

        The segments that rank, ready to be asked about the customers themselves.
        """
        own = frozenset(customers) | ({gone} if gone else frozenset())
        standing, watched = self._standing(uow, watched, sorted(own), gone)
        ready = [w.at(standing.cutoffs, self.rt) for w in watched if w.tops]
        for top, edges in standing.passed.items():
            concerned = [w for w in ready if top in w.tops]
            for some in ranks.between(uow, top, edges):
                others = {c: now for c in some if c not in own}
                watching.settle(uow, self.rt, concerned, others, now)
        return ready

    def _standing(
        self,
        uow: UnitOfWork,
        watched: Sequence[Watched],
        customers: Sequence[str] = (),
        gone: str | None = None,
    ) -> tuple[ranks.Standing, Sequence[Watched]]:
        try:
            standing = ranks.followed(uow, self.rt, _tops(watched), customers, gone=gone)
        except ranks.Outdated:
            watched = self.forget(uow)
            standing = ranks.followed(uow, self.rt, _tops(watched), customers, gone=gone)
        return standing, watched

    def _ready(self, uow: UnitOfWork) -> Sequence[Watched]:
        """All segments, ready to be asked."""
        watched = watchlist(uow, self.rt)
        if not any(w.tops for w in watched):
            return watched
        standing, watched = self._standing(uow, watched)
        return [w.at(standing.cutoffs, self.rt) for w in watched]

    def unfilled(self, uow: UnitOfWork, segments: Collection[str]) -> frozenset[str]:
        """The fields by which these segments rank, and none did before."""
        tops = self._tops(uow, segments)
        return ranks.unfilled(uow, tops) if tops else frozenset()

    def fill(self, uow: UnitOfWork, fields: Iterable[str], after: str | None) -> str | None:
        """Take in the numbers of a page of customers by which nobody was ranked before."""
        return ranks.fill(uow, self.rt, fields, after)

    def begin(self, uow: UnitOfWork, segments: Collection[str]) -> None:
        """Find where the tops begin of segments, once the numbers are there."""
        if self._tops(uow, segments):
            ranks.alone(uow)
            ranks.begin(uow, self.rt, self._tops(uow, segments))

    def _tops(self, uow: UnitOfWork, segments: Collection[str]) -> frozenset[Top]:
        return _tops(w for w in watchlist(uow, self.rt) if w.segment_id in segments)

    def forget(self, uow: UnitOfWork) -> Sequence[Watched]:
        """Rank no more by what no segment asks for any longer; the segments as they are now."""
        ranks.alone(uow)
        watched = watchlist(uow, self.rt)
        ranks.forget(uow, _tops(watched))
        return watched

    # --- a page of work at a time ---

    def build(
        self, uow: UnitOfWork, segments: Collection[str], since: datetime, after: str | None
    ) -> str | None:
        """Ask a page of customers about segments from an instant on; the last of a full page."""
        edge = None if after is None else (after,)
        page = uow.find(Customer, order=("id",), after=edge, limit=AT_ONCE)
        held = watching.hold(uow, [c.id for c in page])
        new = [w for w in self._ready(uow) if w.segment_id in segments]
        if held and new:
            watching.settle(uow, self.rt, new, dict.fromkeys(held, since), self.rt.now())
        return page[-1].id if new and len(page) == AT_ONCE else None

    def due(self, uow: UnitOfWork, now: datetime) -> int:
        """Ask about a page of those for whom time alone may have changed an answer; how many."""
        return watching.due(uow, self.rt, lambda: self._ready(uow), now, _PAGE)

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
        changed = _since(change)
        since[payer] = min(since.get(payer, changed), changed)
    return since


def _since(change: StoryChange) -> datetime:
    """From when on anything may be otherwise; points count what is told ahead of time at once."""
    found = change.since
    for story in (change.before, change.after):
        for fact in story.standing if story is not None else ():
            if fact.occurred_at >= change.since:
                found = min(found, fact.recorded_at)
    return found


def _tops(watched: Iterable[Watched]) -> frozenset[Top]:
    return frozenset(top for w in watched for top in w.tops)
