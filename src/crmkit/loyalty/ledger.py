"""What the entries of an account leave at any instant; pure.

An entry counts from its own instant on, for the lot it belongs to. A lot can be used from
`available_at` on and before `expires_at`. As long as no lot is overdrawn the balance is a sum:
that of the entries of the lots that can be used. A lot is overdrawn when points are taken
back that were used; what it lacks is debt, which points that can be used pay at once, the
ones first that expire first. Then only going through all instants in their order tells what
is left, which `replay` does; the result depends on the entries, not on when anybody looked.

At one instant points expire first, then come those that are given, then those that are
taken, and at last debt is paid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter

import attrs

from crmkit.model import PointsEntry


@attrs.define
class Lot:
    """A lot while its account is replayed.

    `left` can be used unless it is pending; `owed` was used and taken back, and nobody has
    paid for it. ``left + expired + used + absorbed + revoked = issued + covered - owed`` holds
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

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Which lot is used first."""
        return self.expires_at, self.available_at, self.id

    def is_usable(self, at: datetime) -> bool:
        """Whether its points can be used at that instant."""
        return self.available_at <= at < self.expires_at


@attrs.frozen
class Expiry:
    """Points of a lot that expired, as a number below zero."""

    lot_id: str
    points: int
    at: datetime


@attrs.frozen
class State:
    """An account at an instant."""

    at: datetime
    lots: Mapping[str, Lot]
    expiries: Sequence[Expiry] = ()

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
    by_instant: dict[datetime, list[PointsEntry]] = defaultdict(list)
    account = _Account()
    for entry in entries:
        if entry.lot_id is not None and entry.occurred_at <= at:
            by_instant[entry.occurred_at].append(entry)
            if entry.lot_id not in account.lots:
                lot = Lot(entry.lot_id, entry.available_at, entry.expires_at)
                account.lots[lot.id] = lot
    lots = account.lots.values()
    account.ending = sorted(lots, key=attrgetter("order"), reverse=True)
    turns = {t for lot in lots for t in (lot.available_at, lot.expires_at) if t <= at}
    for moment in sorted(turns | by_instant.keys()):
        account.turn(moment, by_instant.get(moment, ()))
    return State(at, account.lots, account.expiries)


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
    expiries: list[Expiry] = attrs.field(factory=list)

    def turn(self, moment: datetime, entries: Sequence[PointsEntry]) -> None:
        """Take in what happens at one instant."""
        while self.ending and self.ending[-1].expires_at <= moment:
            self._expire(self.ending.pop(), moment)
        for entry in sorted(entries, key=lambda e: (e.points < 0, e.lot_id)):
            lot = self.lots[entry.lot_id or ""]
            _count(lot, entry)
            if entry.points >= 0:
                self._give(lot, entry.points, moment)
            else:
                _take(lot, -entry.points, used=entry.kind not in ("reverse", "waive"))
            self._note(lot)
        if self.owing:
            self._pay(moment)

    def _note(self, lot: Lot) -> None:
        for places, has in ((self.filled, lot.left), (self.owing, lot.owed)):
            if has:
                places[lot.id] = lot
            else:
                places.pop(lot.id, None)

    def _expire(self, lot: Lot, moment: datetime) -> None:
        if lot.left and lot.expires_at <= moment:
            self.expiries.append(Expiry(lot.id, -lot.left, moment))
            lot.expired += lot.left
            lot.left = 0
            self._note(lot)

    def _give(self, lot: Lot, points: int, moment: datetime) -> None:
        """First to its own debt, then to the lots that paid for it, then to be used."""
        own = min(points, lot.owed)
        lot.owed -= own
        points -= own
        payers = [self.lots[payer] for payer, owing in self.paid if owing == lot.id]
        for payer in sorted(payers, key=attrgetter("order"), reverse=True):
            back = min(points, self.paid[payer.id, lot.id])
            if back:
                self._move(payer, lot, -back)
                self._expire(payer, moment)
                points -= back
        lot.left += points
        self._expire(lot, moment)

    def _pay(self, moment: datetime) -> None:
        """Let what can be used pay for what is owed."""
        usable = [lot for lot in self.filled.values() if lot.is_usable(moment)]
        for payer in sorted(usable, key=attrgetter("order")):
            for lot in sorted(self.owing.values(), key=attrgetter("order")):
                points = min(payer.left, lot.owed)
                if points:
                    lot.owed -= points
                    self._move(payer, lot, points)

    def _move(self, payer: Lot, lot: Lot, points: int) -> None:
        """Let one lot pay for another's debt, or take back (below zero) what it paid."""
        payer.left -= points
        payer.absorbed += points
        lot.covered += points
        pair = (payer.id, lot.id)
        self.paid[pair] = self.paid.get(pair, 0) + points
        self._note(payer)
        self._note(lot)


def _count(lot: Lot, entry: PointsEntry) -> None:
    """Note what the entry says of the lot."""
    points = entry.points
    if entry.kind in ("earn", "reverse", "waive"):
        if points >= 0:
            lot.issued += points
        else:
            lot.revoked -= points
    elif entry.kind == "adjust" and points >= 0:
        lot.issued += points
    else:
        lot.used -= points


def _take(lot: Lot, points: int, *, used: bool) -> None:
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
    lot.owed += points


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


def is_overdrawn(entries: Iterable[PointsEntry]) -> bool:
    """Whether more was taken off a lot at any instant than it had; `entries` are that lot's."""
    left = 0
    for entry in sorted(entries, key=lambda e: (e.occurred_at, e.points < 0)):
        left += entry.points
        if left < 0:
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
