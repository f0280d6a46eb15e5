"""What the entries of an account leave at any instant; pure.

An entry counts from its own instant on, for the lot it belongs to. A lot can be used from
`available_at` on and before `expires_at`. As long as no lot is overdrawn the balance is a sum:
that of the entries of the lots that can be used. A lot is overdrawn when points are taken
back that were used; what it lacks is debt, which points that can be used pay at once, the
ones first that expire first. Then only going through all instants in their order tells what
is left, which `replay` does; the result depends on the entries, not on when anybody looked.

At one instant points expire first, then come those that are given, then those that are
taken; then debt may be waived, and at last it is paid. A waiver is of debt alone: it gives
nobody points. When points come back to the lot, from a reward that was cancelled or a refund
that was voided, they first undo the waiver.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter

import attrs

from crmkit.model import PointsEntry
from crmkit.model.time import FOREVER


@attrs.define
class Lot:
    """A lot while its account is replayed.

    `left` can be used unless it is pending; `owed` was used and taken back, and nobody has
    paid for it: no other lot (`covered`, of which they say `absorbed`), and it was not waived.
    ``left + used + revoked + expired + absorbed = issued + covered + waived + owed`` holds
    after each instant.
    """

    id: str
    available_at: datetime
    expires_at: datetime
    issued: int = 0
    revoked: int = 0
    used: int = 0
    left: int = 0
    owed: int = 0
    expired: int = 0
    absorbed: int = 0
    covered: int = 0
    waived: int = 0

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Which lot is used first."""
        return self.expires_at, self.available_at, self.id

    def is_usable(self, at: datetime) -> bool:
        """Whether its points can be used at that instant."""
        return self.available_at <= at < self.expires_at


@attrs.frozen
class Effect:
    """What follows from the entries and has none of its own.

    ``expire``: points of a lot expired, below zero; or had expired and were taken back then,
    above. ``waive``: less is waived than an entry says. With the entries' points the effects
    add up to balance and pending points.
    """

    kind: str
    lot_id: str
    points: int
    at: datetime


@attrs.frozen
class State:
    """An account at an instant."""

    at: datetime
    lots: Mapping[str, Lot]
    effects: Sequence[Effect] = ()

    @property
    def usable(self) -> int:
        """The points that can be used."""
        return sum(lot.left for lot in self.lots.values() if lot.is_usable(self.at))

    @property
    def debt(self) -> int:
        """The points that are owed."""
        return sum(lot.owed for lot in self.lots.values())

    @property
    def balance(self) -> int:
        """What can be used; below zero what is owed. Never both at once."""
        return self.usable - self.debt

    @property
    def pending(self) -> int:
        """The points that cannot be used yet."""
        return sum(lot.left for lot in self.lots.values() if lot.available_at > self.at)

    @property
    def expired(self) -> int:
        """The points that expired unused."""
        return sum(lot.expired for lot in self.lots.values())


def replay(entries: Iterable[PointsEntry], at: datetime) -> State:
    """The account as its entries leave it at an instant.

    Entries of no lot, and those that happen later, are left out.
    """
    account = _Account()
    for moment, some in _turns(account, [e for e in entries if e.occurred_at <= at]):
        if moment <= at:
            account.turn(moment, some)
    return State(at, account.lots, account.effects)


def spare(entries: Iterable[PointsEntry], at: datetime) -> list[tuple[str, int]]:
    """The lots that can be used at an instant, the ones first that expire first.

    Of each the points that lie there unused at all later instants too, so that taking them
    leaves nothing short that was entered already.
    """
    account = _Account()
    turns = _turns(account, entries)
    for moment, some in turns:
        if moment <= at:
            account.turn(moment, some)
    usable = [lot for lot in account.filled.values() if lot.is_usable(at)]
    account.least = {lot.id: lot.left for lot in usable}
    for moment, some in turns:
        if moment > at:
            account.turn(moment, some)
    found = [(lot.id, account.least[lot.id]) for lot in sorted(usable, key=attrgetter("order"))]
    return [(lot_id, points) for lot_id, points in found if points]


def short(entries: Iterable[PointsEntry], since: datetime) -> list[tuple[str, int, datetime]]:
    """What must be waived so that nothing is owed from an instant on: lot, points, when."""
    account, found = _Account(), list[tuple[str, int, datetime]]()
    turns = {since: (), **dict(_turns(account, entries))}
    for moment in sorted(turns):
        account.turn(moment, turns[moment])
        if moment >= since:
            for lot in sorted(account.owing.values(), key=attrgetter("order")):
                found.append((lot.id, lot.owed, moment))
                account.waive(lot, lot.owed)
    return found


def course(entries: Iterable[PointsEntry], *, indebted: bool) -> list[tuple[datetime, int]]:
    """The balance from each instant on at which it changes, in order; before, it is zero.

    `indebted` as of an account: otherwise no lot is overdrawn.
    """
    found: list[tuple[datetime, int]] = []
    before = 0
    for moment, balance in _replayed(entries) if indebted else _summed(entries):
        if balance != before:
            found.append((moment, balance))
        before = balance
    return found


def _replayed(entries: Iterable[PointsEntry]) -> Iterator[tuple[datetime, int]]:
    account = _Account()
    for moment, some in _turns(account, entries):
        account.turn(moment, some)
        usable = sum(lot.left for lot in account.filled.values() if lot.is_usable(moment))
        yield moment, usable - sum(lot.owed for lot in account.owing.values())


def _turns(
    account: _Account, entries: Iterable[PointsEntry]
) -> list[tuple[datetime, Sequence[PointsEntry]]]:
    """The instants at which something happens in an account, which is told of its lots."""
    by_instant: dict[datetime, list[PointsEntry]] = defaultdict(list)
    for entry in entries:
        if entry.lot_id is not None:
            by_instant[entry.occurred_at].append(entry)
            if entry.lot_id not in account.lots:
                lot = Lot(entry.lot_id, entry.available_at, entry.expires_at)
                account.lots[lot.id] = lot
    lots = account.lots.values()
    account.ending = sorted(lots, key=attrgetter("order"), reverse=True)
    turns = {t for lot in lots for t in (lot.available_at, lot.expires_at) if t != FOREVER}
    return [(moment, by_instant.get(moment, ())) for moment in sorted(turns | by_instant.keys())]


@attrs.define
class _Account:
    """The lots of an account, on their way through time."""

    lots: dict[str, Lot] = attrs.field(factory=dict)
    ending: list[Lot] = attrs.field(factory=list)
    """Those that have not expired, the next to expire at the end."""
    filled: dict[str, Lot] = attrs.field(factory=dict)
    """Those with points left."""
    owing: dict[str, Lot] = attrs.field(factory=dict)
    paid: dict[tuple[str, str], int] = attrs.field(factory=dict)
    """How much one lot paid for another's debt."""
    effects: list[Effect] = attrs.field(factory=list)
    least: dict[str, int] = attrs.field(factory=dict)
    """The lots of which is noted the least that ever lay there unused."""

    def turn(self, moment: datetime, entries: Sequence[PointsEntry]) -> None:
        """Take in what happens at one instant."""
        while self.ending and self.ending[-1].expires_at <= moment:
            self._expire(self.ending.pop(), moment)
        ordered = sorted(entries, key=lambda e: (e.points < 0, e.lot_id, e.kind))
        for entry in ordered:
            lot = self.lots[entry.lot_id or ""]
            if entry.kind == "waive":
                continue
            _count(lot, entry)
            if entry.points >= 0:
                self._give(lot, entry.points, moment)
            else:
                self._take(lot, -entry.points, moment, used=entry.kind != "reverse")
        for entry in ordered:
            if entry.kind == "waive":
                lot = self.lots[entry.lot_id or ""]
                waived = self.waive(lot, entry.points)
                self._tell("waive", lot, waived - entry.points, moment)
        if self.owing:
            self._pay(moment)

    def waive(self, lot: Lot, points: int) -> int:
        """Forgive what the lot owes, so much at most; returns how much it was."""
        points = min(points, lot.owed)
        lot.owed -= points
        lot.waived += points
        self._note(lot)
        return points

    def _tell(self, kind: str, lot: Lot, points: int, moment: datetime) -> None:
        if points:
            self.effects.append(Effect(kind, lot.id, points, moment))

    def _note(self, lot: Lot) -> None:
        for places, has in ((self.filled, lot.left), (self.owing, lot.owed)):
            if has:
                places[lot.id] = lot
            else:
                places.pop(lot.id, None)
        if lot.id in self.least:
            self.least[lot.id] = min(self.least[lot.id], lot.left + lot.expired)

    def _expire(self, lot: Lot, moment: datetime) -> None:
        if lot.left and lot.expires_at <= moment:
            self._tell("expire", lot, -lot.left, moment)
            lot.expired += lot.left
            lot.left = 0
            self.filled.pop(lot.id, None)

    def _give(self, lot: Lot, points: int, moment: datetime) -> None:
        """First to its own debt, then to what was waived or paid of it, then to be used."""
        own = min(points, lot.owed)
        lot.owed -= own
        points -= own
        again = min(points, lot.waived)
        lot.waived -= again
        points -= again
        self._tell("waive", lot, -again, moment)
        payers = [self.lots[payer] for payer, owing in self.paid if owing == lot.id]
        for payer in sorted(payers, key=attrgetter("order"), reverse=True):
            back = min(points, self.paid[payer.id, lot.id])
            if back:
                points -= back
                self._cover(payer, lot, -back)
                self._give(payer, back, moment)
        lot.left += points
        self._expire(lot, moment)
        self._note(lot)

    def _take(self, lot: Lot, points: int, moment: datetime, *, used: bool) -> None:
        """Take points off a lot: what is left, and what expired, before it is owed.

        What expired was never used: taking it back again takes nothing from anybody.
        """
        taken = min(points, lot.left)
        lot.left -= taken
        points -= taken
        if not used:
            gone = min(points, lot.expired)
            lot.expired -= gone
            points -= gone
            self._tell("expire", lot, gone, moment)
        lot.owed += points
        self._note(lot)

    def _pay(self, moment: datetime) -> None:
        """Let what can be used pay for what is owed."""
        usable = [lot for lot in self.filled.values() if lot.is_usable(moment)]
        for payer in sorted(usable, key=attrgetter("order")):
            for lot in sorted(self.owing.values(), key=attrgetter("order")):
                points = min(payer.left, lot.owed)
                if points:
                    payer.left -= points
                    lot.owed -= points
                    self._cover(payer, lot, points)
                    self._note(payer)
                    self._note(lot)

    def _cover(self, payer: Lot, lot: Lot, points: int) -> None:
        """Note that one lot paid for another's debt, or that it need not have (below zero)."""
        payer.absorbed += points
        lot.covered += points
        pair = (payer.id, lot.id)
        self.paid[pair] = self.paid.get(pair, 0) + points


def _count(lot: Lot, entry: PointsEntry) -> None:
    """Note what the entry says of the lot."""
    points = entry.points
    if entry.kind == "reverse":
        lot.revoked -= points
    elif entry.kind == "earn" or (entry.kind == "adjust" and points > 0):
        lot.issued += points
    else:
        lot.used -= points


# --- sums, where no lot is overdrawn ---


def summed(entries: Iterable[PointsEntry], at: datetime) -> tuple[int, int]:
    """Balance and pending points at an instant, of an account that is not indebted."""
    balance = pending = 0
    for entry in entries:
        if entry.occurred_at <= at < entry.expires_at:
            if entry.available_at <= at:
                balance += entry.points
            else:
                pending += entry.points
    return balance, pending


def _summed(entries: Iterable[PointsEntry]) -> Iterator[tuple[datetime, int]]:
    changes: Counter[datetime] = Counter()
    for entry in entries:
        begins = max(entry.occurred_at, entry.available_at)
        if begins < entry.expires_at:
            changes[begins] += entry.points
            changes[entry.expires_at] -= entry.points
    balance = 0
    for moment in sorted(changes.keys() - {FOREVER}):
        balance += changes[moment]
        yield moment, balance


def is_overdrawn(entries: Iterable[PointsEntry]) -> bool:
    """Whether more was taken off a lot at any instant than it had; `entries` are that lot's.

    Where something was waived it was, or seemed so: sums do not tell what is left of it.
    """
    left = 0
    for entry in sorted(entries, key=lambda e: (e.occurred_at, e.points < 0)):
        left += entry.points
        if left < 0 or entry.kind == "waive":
            return True
    return False


def last_and_next(
    dated: Iterable[datetime], now: datetime
) -> tuple[datetime | None, datetime | None]:
    """The last of these instants that is over, and the first that is to come."""
    past: datetime | None = None
    ahead: datetime | None = None
    for moment in dated:
        if moment <= now:
            past = moment if past is None or moment > past else past
        elif ahead is None or moment < ahead:
            ahead = moment
    return past, ahead


def instants(entry: PointsEntry) -> tuple[datetime, datetime, datetime]:
    """When an entry may change what can be used."""
    return entry.occurred_at, entry.available_at, entry.expires_at
