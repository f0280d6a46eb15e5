"""Referrals carried into their records and the ledger, in one unit of work.

What a referral has come to is worked out anew from the facts of both sides, and the
differences to what its entries tell are posted, each at the instant it belongs to. So the
order in which facts come does not matter.

Who writes what follows from a referral holds its referrer; who reads its referee's facts for
that holds the referee first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from crmkit.activities.bulk import CHUNK, chunked
from crmkit.activities.stories import stories
from crmkit.loyalty import accounts
from crmkit.loyalty.ledger import is_overdrawn
from crmkit.loyalty.membership import memberships
from crmkit.loyalty.periods import end_of_day, period
from crmkit.loyalty.turns import Turn, turns, was_customer
from crmkit.model import (
    Activity,
    Metrics,
    PointsEntry,
    PointsLot,
    ReferralAccepted,
    ReferralMade,
)
from crmkit.model.catalogue import evolved
from crmkit.model.time import FOREVER
from crmkit.ports.events import PointsChanged
from crmkit.ports.runtime import Runtime
from crmkit.ports.storage import UnitOfWork
from crmkit.programmes import Programme

SAME_CONTACT: Final = "same_contact"
SAME_PERSON: Final = "same_person"
EXISTING: Final = "existing_customer"
REFERRED_BEFORE: Final = "referred_before"
REFERRED_BACK: Final = "referred_back"
DECIDED: Final = frozenset({SAME_CONTACT, REFERRED_BACK})
"""Reasons that are found when a code is accepted, and stand whatever comes."""

_SIDES: Final = ("referrer", "referee")
_EARNED: Final = frozenset({"earn", "reverse"})
_TRIES: Final = 20

Story = Sequence[Activity]


@attrs.define
class Referring:
    """What is known of some referrals, and what of it is to be stored."""

    uow: UnitOfWork
    rt: Runtime
    held: set[str] = attrs.field(factory=set)
    rows: dict[str, ReferralAccepted] = attrs.field(factory=dict)
    stored: dict[str, ReferralAccepted] = attrs.field(factory=dict)
    made: dict[str, ReferralMade] = attrs.field(factory=dict)
    turns: dict[str, Sequence[Turn]] = attrs.field(factory=dict)
    news: dict[str, list[PointsEntry]] = attrs.field(factory=lambda: defaultdict(list))
    """By programme."""
    lots: dict[str, dict[str, PointsLot]] = attrs.field(factory=lambda: defaultdict(dict))
    overdrawn: dict[str, set[str]] = attrs.field(factory=lambda: defaultdict(set))
    """Of whom more was taken than a lot had, by programme."""

    def settle(self, referees: Iterable[str], referrers: Iterable[str] = ()) -> list[Programme]:
        """Bring referrals in line with what is known; returns the programmes posted to.

        Those of `referees`, and what limits those that `referrers` made; all of them are held.
        """
        limited = {(c, p.name) for c in referrers for p in self.rt.settings.programmes}
        for customer_id in sorted(set(referees)):
            limited |= self._judge_all(customer_id)
        for customer_id, programme in sorted(limited):
            self._limit(customer_id, programme)
        for row in self.rows.values():
            self._post(row)
        self.uow.put_many(r for r in self.rows.values() if self.stored[r.id] != r)
        return self._store()

    # --- what a referral has come to ---

    def _judge_all(self, referee: str) -> set[tuple[str, str]]:
        """Judge all referrals of a referee; returns the referrers whose limit it may concern."""
        self._read(referee)
        mine = [row for row in self.rows.values() if row.customer_id == referee]
        facts = self._facts(referee) if mine else ()
        limited: set[tuple[str, str]] = set()
        for programme in self.rt.settings.programmes:
            taken = any(row.kept_by for row in mine if row.programme == programme.name)
            for row in sorted(mine, key=lambda row: (row.accepted_at, row.id)):
                if row.programme != programme.name or row.kept_by:
                    continue
                now = self._judged(row, facts, taken=taken)
                taken = taken or now.reason is None
                self.rows[row.id] = now
                referrer = self.made[row.id].customer_id
                limits = row.terms.get("limit") or (programme.referral and programme.referral.limit)
                if limits and referrer and now != row:
                    limited.add((referrer, programme.name))
        return limited

    def _read(self, referee: str) -> None:
        """Read a referee's referrals once all their referrers are held."""
        self.held.add(referee)
        for _ in range(_TRIES):  # a referrer may be merged while waited for
            rows = self.uow.find(ReferralAccepted, customer_id=referee)
            made = self._made(rows)
            missing = {m.customer_id for m in made if m.customer_id} - self.held
            if not missing:
                self._know(rows, made)
                return
            self.held |= self.uow.hold(Metrics, missing)
        raise self.rt.missing(self.uow, referee)

    def _made(self, rows: Iterable[ReferralAccepted]) -> list[ReferralMade]:
        ids = tuple(row.id for row in rows)
        return self.uow.find(ReferralMade, id=ids) if ids else []

    def _know(self, rows: Iterable[ReferralAccepted], made: Iterable[ReferralMade]) -> None:
        for row in rows:
            self.stored.setdefault(row.id, row)
            self.rows.setdefault(row.id, row)
        self.made |= {m.id: m for m in made}

    def _facts(self, referee: str) -> Collection[Story]:
        told = self.uow.stream(Activity, customer_id=referee, order=("occurred_at", "id"))
        return list(stories(told))

    def _judged(
        self, row: ReferralAccepted, facts: Collection[Story], *, taken: bool
    ) -> ReferralAccepted:
        reason = self._reason(row, facts, taken=taken)
        found = self.turns[row.id] = () if reason else self._turns(row, facts)
        last = found[-1] if found and found[-1].end is None else None
        return evolved(
            row,
            reason=reason,
            qualified_at=last and last.since,
            usable_at=last and last.since + _window(row),
            within_limit=row.within_limit if last else True,
        )

    def _reason(
        self, row: ReferralAccepted, facts: Collection[Story], *, taken: bool
    ) -> str | None:
        kinds = self.rt.settings.kinds_by_name
        if row.reason in DECIDED:
            return row.reason
        if row.customer_id == self.made[row.id].customer_id:
            return SAME_PERSON
        if any(was_customer(story, row.accepted_at, kinds) for story in facts):
            return EXISTING
        return REFERRED_BEFORE if taken else None

    def _turns(self, row: ReferralAccepted, facts: Collection[Story]) -> Sequence[Turn]:
        kinds = self.rt.settings.kinds_by_name
        return turns(facts, row.accepted_at, row.terms["window_days"], kinds)

    # --- limits ---

    def _limit(self, referrer: str, programme: str) -> None:
        """Let those referrals pay the referrer that qualified first."""
        made = self.uow.find(ReferralMade, customer_id=referrer, programme=programme)
        for some in chunked((m.id for m in made), CHUNK):
            self._know(self.uow.find(ReferralAccepted, id=tuple(some)), ())
        self.made |= {m.id: m for m in made}
        paid: list[datetime] = []
        for qualified, row_id in sorted(
            (row.qualified_at, m.id)
            for m in made
            if (row := self.rows[m.id]).qualified_at is not None and row.reason is None
        ):
            row = self.rows[row_id]
            within = self._is_within(row, qualified, paid)
            if within:
                paid.append(qualified)
            if within != row.within_limit:
                self.rows[row_id] = evolved(row, within_limit=within)
        for m in made:  # of those that stay as they are nothing is posted
            if self.rows[m.id] == self.stored[m.id] and m.id not in self.turns:
                del self.rows[m.id]

    def _is_within(
        self, row: ReferralAccepted, qualified: datetime, paid: Sequence[datetime]
    ) -> bool:
        limit = row.terms.get("limit")
        if row.kept_by or row.customer_id is None:
            return row.within_limit
        if limit is None:
            return True
        start, _ = period(limit["per"], qualified, self.rt.settings.zone)
        return len(paid) - bisect_left(paid, start) < int(limit["times"])

    # --- points ---

    def _post(self, row: ReferralAccepted) -> None:
        """Post the differences for both sides, instant by instant and lot by lot."""
        if row.kept_by or row.customer_id is None:
            return
        if row.id not in self.turns:  # its referrer's limit has changed
            self.turns[row.id] = self._turns(row, self._facts(row.customer_id))
        of: dict[str, Any] = {"story": row.id, "programme": row.programme}
        lots = self.uow.find(PointsLot, **of)
        told = self.uow.find(PointsEntry, **of) if lots else []
        owners: Mapping[str, ReferralAccepted | ReferralMade] = {
            "referrer": self.made[row.id],
            "referee": row,
        }
        for side in _SIDES:
            mine = {lot.earned_at: lot for lot in lots if lot.rule == side}
            self._post_side(row, side, owners[side], mine, told)

    def _post_side(
        self,
        row: ReferralAccepted,
        side: str,
        owner: ReferralAccepted | ReferralMade,
        lots: Mapping[datetime, PointsLot],
        told: Sequence[PointsEntry],
    ) -> None:
        if owner.customer_id is None:
            return
        programme = self.rt.settings.programme_named(row.programme)
        due = self._due(row, side, owner.customer_id, programme)
        for since in sorted({*lots, *due}):
            lot = lots.get(since) or self._lot(row, side, owner, programme, since)
            mine = [e for e in told if e.lot_id == lot.id]
            posted: dict[datetime, int] = defaultdict(int)
            for entry in mine:
                if entry.kind in _EARNED:
                    posted[entry.occurred_at] += entry.points
            wanted = due.get(since, {})
            news = [
                self._entry(lot, programme, points, moment)
                for moment in sorted({*posted, *wanted})
                if (points := wanted.get(moment, 0) - posted[moment])
            ]
            if news:
                self._keep(lot, programme, mine, news)

    def _due(
        self, row: ReferralAccepted, side: str, customer_id: str, programme: Programme
    ) -> dict[datetime, dict[datetime, int]]:
        """What a side's lots must come to: when each was earned, and its points by instant."""
        points = int(row.terms[side])
        if not points or (side == "referrer" and not row.within_limit):
            return {}
        due: dict[datetime, dict[datetime, int]] = {}
        known = accounts.read(self.uow, self.rt, [customer_id], programme.name)
        takes_part = memberships(self.uow, programme, known).get(customer_id)
        for turn in self.turns[row.id]:
            if takes_part is None or takes_part(turn.since):
                moments = due.setdefault(turn.since, {})
                moments[turn.start] = moments.get(turn.start, 0) + points
                if turn.end is not None:
                    moments[turn.end] = moments.get(turn.end, 0) - points
        return due

    def _lot(
        self,
        row: ReferralAccepted,
        side: str,
        owner: ReferralAccepted | ReferralMade,
        programme: Programme,
        since: datetime,
    ) -> PointsLot:
        available, days = since + _window(row), programme.expires_days
        zone = self.rt.settings.zone
        return PointsLot(
            tenant=self.rt.tenant,
            id=self.rt.new_id(),
            customer_id=owner.customer_id or "",
            programme=programme.name,
            source="referral",
            rule=side,
            story=row.id,
            full=int(row.terms[side]),
            earned_at=since,
            available_at=available,
            expires_at=FOREVER if days is None else end_of_day(available, days, zone),
            origin=owner.origin,
        )

    def _entry(
        self, lot: PointsLot, programme: Programme, points: int, at: datetime, kind: str = ""
    ) -> PointsEntry:
        return PointsEntry(
            tenant=self.rt.tenant,
            id=self.rt.new_id(),
            customer_id=lot.customer_id,
            programme=programme.name,
            lot_id=lot.id,
            kind=kind or ("earn" if points > 0 else "reverse"),
            points=points,
            qualifying=0,
            available_at=lot.available_at,
            expires_at=lot.expires_at,
            story=lot.story,
            rule=lot.rule,
            version=programme.version,
            occurred_at=at,
            recorded_at=self.rt.now(),
            origin=lot.origin,
        )

    def _keep(
        self,
        lot: PointsLot,
        programme: Programme,
        told: Sequence[PointsEntry],
        news: Sequence[PointsEntry],
    ) -> None:
        """Note what a lot comes to."""
        left = lot.left + sum(entry.points for entry in news)
        is_over = lot.expires_at <= self.rt.now()
        status = "expired" if is_over else "open" if left else "spent"
        self.lots[programme.name][lot.id] = evolved(lot, left=left, status=status)
        self.news[programme.name] += news
        if is_overdrawn([*told, *news]):
            self.overdrawn[programme.name].add(lot.customer_id)

    def _forgive(self, programme: Programme, customer_id: str) -> None:
        """Waive what is owed for points that were used, where the programme does."""
        account = accounts.empty(self.rt, customer_id, programme.name)
        news = [e for e in self.news[programme.name] if e.customer_id == customer_id]
        since = min(entry.occurred_at for entry in news)
        known = self.lots[programme.name]
        owed = accounts.owed(self.uow, self.rt, account, news, since)
        ids = tuple({lot_id for lot_id, _, _ in owed} - known.keys())
        if ids:
            known |= {lot.id: lot for lot in self.uow.find(PointsLot, id=ids)}
        for lot_id, points, at in owed:
            waived = self._entry(known[lot_id], programme, points, at, "waive")
            self._keep(known[lot_id], programme, (), [waived])

    def _store(self) -> list[Programme]:
        posted = [p for p in self.rt.settings.programmes if p.name in self.news]
        first: dict[str, datetime] = {}
        for programme in posted:
            overdrawn = self.overdrawn[programme.name]
            if programme.on_spent == "floor":
                for customer_id in sorted(overdrawn):
                    self._forgive(programme, customer_id)
            news, lots = self.news[programme.name], self.lots[programme.name].values()
            accounts.post(self.uow, self.rt, programme.name, news, lots, overdrawn)
            for entry in news:
                customer_id = entry.customer_id or ""
                known = first.get(customer_id, entry.occurred_at)
                first[customer_id] = min(known, entry.occurred_at)
        for customer_id, at in sorted(first.items()):
            self.rt.events.publish(self.uow, PointsChanged(customer_id, at))
        return posted


def _window(row: ReferralAccepted) -> timedelta:
    return timedelta(days=row.terms["window_days"])
