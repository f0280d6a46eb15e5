"""What entries leave at any instant, against a model that moves single points, minute by minute."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crmkit.loyalty.ledger import (
    Lot,
    State,
    is_overdrawn,
    last_and_next,
    replay,
    short,
    spare,
    summed,
)
from crmkit.model import PointsEntry
from crmkit.model.catalogue import evolved
from crmkit.model.time import FOREVER

START = datetime(2026, 1, 1, tzinfo=UTC)
END = 14
"""The minutes that are looked at; what does not end ends after them."""

many = settings(max_examples=5 * settings().max_examples)


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)


def entry(kind: str, lot: Lot, points: int, at: int, **told: Any) -> PointsEntry:
    """An entry of a lot, in a minute."""
    return PointsEntry(
        **{
            "tenant": "t",
            "id": f"{kind} {lot.id} {at} {points}",
            "customer_id": "c",
            "lot_id": lot.id,
            "kind": kind,
            "points": points,
            "qualifying": 0,
            "available_at": lot.available_at,
            "expires_at": lot.expires_at,
            "occurred_at": minute(at),
            "recorded_at": minute(at),
            **told,
        }
    )


@st.composite
def lots(draw: st.DrawFn) -> list[Lot]:
    """Some lots: held or not, soon over or never, and pending for ever."""

    def dates() -> tuple[datetime, datetime]:
        available = draw(st.sampled_from([0, 0, 0, 2, 5, None]))
        if available is None:
            return FOREVER, FOREVER
        lasts = draw(st.sampled_from([1, 4, 7, None]))
        return minute(available), FOREVER if lasts is None else minute(available + lasts)

    return [Lot(f"lot {n}", *dates()) for n in range(draw(st.integers(1, 4)))]


_SIGNS = {"earn": 1, "reverse": -1, "burn": -1, "return": 1, "waive": 1}


@st.composite
def anything(draw: st.DrawFn) -> list[PointsEntry]:
    """Entries of any kind in any order, also such as nobody would post."""
    some = draw(lots())
    steps = st.tuples(
        st.sampled_from([*_SIGNS, "adjust", "burn", "reverse"]),
        st.sampled_from(some),
        st.integers(1, 5),
        st.integers(0, END - 1),
    )
    found = []
    for kind, lot, points, at in draw(st.lists(steps, max_size=14)):
        sign = _SIGNS.get(kind) or draw(st.sampled_from([-1, 1]))
        found.append(entry(kind, lot, sign * points, at))
    return found


# --- the naive model ---


class Naive:
    """Each point is a thing of its own: it lies in a lot, or it is owed by one."""

    def __init__(self, entries: Sequence[PointsEntry]) -> None:
        self.entries = entries
        self.lots = {e.lot_id: (e.expires_at, e.available_at, e.lot_id) for e in entries}
        self.left: list[str] = []
        self.expired: list[str] = []
        self.owed: list[str] = []
        self.waived: list[str] = []
        self.paid: list[tuple[str, str]] = []

    def until(self, end: int) -> None:
        for number in range(end + 1):
            self.now = minute(number)
            for lot in [lot for lot in self.left if self.is_over(lot)]:
                self.left.remove(lot)
                self.expired.append(lot)
            mine = [e for e in self.entries if e.occurred_at == self.now]
            for e in sorted(mine, key=lambda e: (e.points < 0, e.lot_id, e.kind)):
                for _ in range(abs(e.points) if e.kind != "waive" else 0):
                    (self.give if e.points > 0 else self.take)(e.lot_id or "", e.kind)
            for e in mine:
                for _ in range(e.points):
                    if e.kind == "waive" and e.lot_id in self.owed:
                        self.owed.remove(e.lot_id)
                        self.waived.append(e.lot_id)
            self.pay()

    def is_over(self, lot: str) -> bool:
        return self.lots[lot][0] <= self.now

    def is_usable(self, lot: str) -> bool:
        return self.lots[lot][1] <= self.now and not self.is_over(lot)

    def order(self, lot: str) -> Any:
        return self.lots[lot]

    def give(self, lot: str, _: str = "") -> None:
        payers = [payer for payer, owing in self.paid if owing == lot]
        if lot in self.owed:
            self.owed.remove(lot)
        elif lot in self.waived:
            self.waived.remove(lot)
        elif payers:
            payer = max(payers, key=self.order)
            self.paid.remove((payer, lot))
            self.give(payer)
        else:
            (self.expired if self.is_over(lot) else self.left).append(lot)

    def take(self, lot: str, kind: str) -> None:
        if lot in self.left:
            self.left.remove(lot)
        elif kind == "reverse" and lot in self.expired:
            self.expired.remove(lot)
        else:
            self.owed.append(lot)

    def pay(self) -> None:
        usable = sorted(filter(self.is_usable, self.left), key=self.order)
        for payer, lot in zip(usable, sorted(self.owed, key=self.order), strict=False):
            self.left.remove(payer)
            self.owed.remove(lot)
            self.paid.append((payer, lot))

    @property
    def numbers(self) -> dict[str, int]:
        usable = sum(map(self.is_usable, self.left))
        return {
            "usable": usable,
            "debt": len(self.owed),
            "balance": usable - len(self.owed),
            "pending": len(self.left) - usable,
            "expired": len(self.expired),
        }


def numbers(state: State) -> dict[str, int]:
    names = ("usable", "debt", "balance", "pending", "expired")
    return {name: getattr(state, name) for name in names}


@given(anything(), st.randoms(use_true_random=False))
@many
def test_replay_agrees_with_single_points_moved_minute_by_minute(
    entries: list[PointsEntry], rng: random.Random
) -> None:
    """At every minute, whatever is posted, and in whatever order the entries are read."""
    for number in range(END + 1):
        naive = Naive(entries)
        naive.until(number)
        told = replay(rng.sample(entries, len(entries)), minute(number))
        assert numbers(told) == naive.numbers
        for lot in told.lots.values():
            assert lot.left == naive.left.count(lot.id)
            assert lot.expired == naive.expired.count(lot.id)
            assert lot.owed == naive.owed.count(lot.id)
            assert lot.waived == naive.waived.count(lot.id)
            assert lot.absorbed == sum(payer == lot.id for payer, _ in naive.paid)
            assert lot.covered == sum(owing == lot.id for _, owing in naive.paid)


@given(anything())
@many
def test_every_point_is_somewhere(entries: list[PointsEntry]) -> None:
    """Of each lot at every minute; and entries and effects add up to what there is."""
    for number in range(END + 1):
        state = replay(entries, minute(number))
        for lot in state.lots.values():
            gone = lot.used + lot.revoked + lot.expired + lot.absorbed
            assert lot.left + gone == lot.issued + lot.covered + lot.waived + lot.owed
            assert min(lot.left, lot.owed, lot.expired, lot.absorbed, lot.waived) >= 0
            assert not (lot.left and lot.owed)
        told = [e.points for e in entries if e.occurred_at <= state.at]
        follows = [e.points for e in state.effects]
        assert sum(told) + sum(follows) == state.balance + state.pending
        assert all(e.at <= state.at for e in state.effects)
        expired = sum(e.points for e in state.effects if e.kind == "expire")
        assert expired == -state.expired
        waived = [e.points for e in entries if e.kind == "waive" and e.occurred_at <= state.at]
        undone = sum(e.points for e in state.effects if e.kind == "waive")
        assert sum(waived) + undone == sum(lot.waived for lot in state.lots.values())
        assert {e.kind for e in state.effects} <= {"expire", "waive"}


@given(anything())
@many
def test_debt_and_points_to_use_are_never_there_together(entries: list[PointsEntry]) -> None:
    for number in range(END + 1):
        state = replay(entries, minute(number))
        assert not (state.usable and state.debt)
        assert state.balance == (-state.debt if state.debt else state.usable)


@given(anything())
@many
def test_without_new_entries_nothing_grows(entries: list[PointsEntry]) -> None:
    """Neither waiting, nor what is pending becoming usable, adds a point."""
    happens = {e.occurred_at for e in entries}
    for number in range(1, END + 1):
        before, now = (replay(entries, minute(n)) for n in (number - 1, number))
        if minute(number) not in happens:
            assert now.balance + now.pending <= before.balance + before.pending
            assert now.debt <= before.debt


@given(anything())
@many
def test_the_answer_at_an_instant_holds_until_the_next_one(entries: list[PointsEntry]) -> None:
    """What happens later changes nothing before: a cut-off list gives the same."""
    for number in range(END + 1):
        told = [e for e in entries if e.occurred_at <= minute(number)]
        state = replay(entries, minute(number))
        assert state == replay(told, minute(number))
        later = replay(entries, minute(number) + timedelta(seconds=59))
        assert numbers(later) == numbers(state)


# --- entries as they are posted ---


@st.composite
def sound(draw: st.DrawFn, *, reversing: bool = True) -> list[PointsEntry]:
    """Entries as somebody would post them, minute by minute.

    No more is used than can be, no more comes back than was used, no more is reversed than
    was earned.
    """
    some = draw(lots())
    told: list[PointsEntry] = []

    def sums(lot: Lot, *kinds: str) -> int:
        return sum(e.points for e in told if e.lot_id == lot.id and e.kind in kinds)

    names = ["earn", "burn", "burn", "return", "adjust", *(["reverse"] * 2 if reversing else [])]
    for n in range(draw(st.integers(0, 12))):
        at = draw(st.integers(told_at(told), END - 1)) if n else 0
        kind, lot, points = (
            draw(st.sampled_from(names)), draw(st.sampled_from(some)), draw(st.integers(1, 5)),
        )  # fmt: skip
        if kind in ("burn", "adjust"):
            usable = dict(spare(told, minute(at)))
            kind, points = kind, -min(points, usable.get(lot.id, 0))
        elif kind == "return":
            points = min(points, -sums(lot, "burn", "return"))
        elif kind == "reverse":
            points = -min(points, sums(lot, "earn", "reverse"))
        if points:
            told.append(entry(kind, lot, points, at, id=f"{n}"))
    return told


def told_at(entries: Sequence[PointsEntry]) -> int:
    """The minute of the last entry."""
    return int((entries[-1].occurred_at - START).total_seconds()) // 60 if entries else 0


def by_lot(entries: Sequence[PointsEntry]) -> dict[str, list[PointsEntry]]:
    return {
        lot: [e for e in entries if e.lot_id == lot] for lot in {e.lot_id or "" for e in entries}
    }


@given(sound(reversing=False))
@many
def test_only_a_reversal_of_used_points_goes_negative(entries: list[PointsEntry]) -> None:
    """Without one there is no debt, and every lot has between nothing and what was issued."""
    assert not any(map(is_overdrawn, by_lot(entries).values()))
    for number in range(END + 1):
        state = replay(entries, minute(number))
        assert state.debt == 0
        assert all(0 <= lot.left <= lot.issued for lot in state.lots.values())


@given(sound())
@many
def test_sums_are_enough_where_no_lot_is_overdrawn(entries: list[PointsEntry]) -> None:
    """Balance and pending points need no replay; nor does what is left of each lot."""
    if any(map(is_overdrawn, by_lot(entries).values())):
        return
    for number in range(END + 1):
        state = replay(entries, minute(number))
        assert summed([e for e in entries if e.lot_id], minute(number)) == (
            state.balance,
            state.pending,
        )
        assert state.debt == 0


@given(sound())
@many
def test_all_that_was_earned_went_somewhere(entries: list[PointsEntry]) -> None:
    """Earned - used + returned - expired - revoked = what is left - debt, at every minute."""
    for number in range(END + 1):
        state = replay(entries, minute(number))
        told = [e for e in entries if e.occurred_at <= minute(number)]
        assert sum(e.points for e in told) - state.expired == (
            sum(lot.left for lot in state.lots.values()) - state.debt
        )
        assert all(0 <= lot.left <= lot.issued for lot in state.lots.values())


@given(sound())
@many
def test_reversing_all_and_giving_all_back_leaves_nothing(entries: list[PointsEntry]) -> None:
    """Whatever debts were paid by other lots in between: nobody keeps a point, or owes one."""
    told = list(entries)
    for lot, mine in by_lot(entries).items():
        for kind, kinds in (("return", ("burn", "return", "adjust")), ("reverse", ("earn",))):
            points = -sum(e.points for e in mine if e.kind in (*kinds, kind))
            if points:
                told.append(evolved(mine[0], id=f"{kind} {lot}", kind=kind, points=points,
                                    occurred_at=minute(END)))  # fmt: skip
    state = replay(told, minute(END))
    assert (state.balance, state.pending, state.debt) == (0, 0, 0)


@given(sound(), st.none() | st.integers(0, END - 1))
@many
def test_points_that_can_be_spared_leave_nothing_short(
    entries: list[PointsEntry], number: int | None
) -> None:
    """Taken at an instant of the past, too: no debt comes of it, nor grows, at any instant."""
    number = told_at(entries) if number is None else number
    found = spare(entries, minute(number))
    state = replay(entries, minute(number))
    assert sum(points for _, points in found) <= max(state.balance, 0)
    order = [state.lots[lot].order for lot, _ in found]
    assert order == sorted(order)
    if told_at(entries) <= number:
        assert sum(points for _, points in found) == max(state.balance, 0)
    taken = [
        entry("burn", state.lots[lot], -points, number, id=f"taken {lot}") for lot, points in found
    ]
    overdrawn = {lot for lot, mine in by_lot(entries).items() if is_overdrawn(mine)}
    if not overdrawn:
        assert not any(map(is_overdrawn, by_lot([*entries, *taken]).values()))
    for later in range(END + 1):
        assert replay([*entries, *taken], minute(later)).debt == replay(entries, minute(later)).debt


@given(sound(), st.integers(0, END - 1))
@many
def test_what_is_waived_leaves_no_debt(entries: list[PointsEntry], number: int) -> None:
    """From that instant on; and where nothing was waived, no point is given to anybody."""
    found = short(entries, minute(number))
    lot_of = replay(entries, minute(END)).lots
    waivers = [
        evolved(entry("waive", lot_of[lot], points, 0, id=f"waive {n}"), occurred_at=at)
        for n, (lot, points, at) in enumerate(found)
    ]
    for later in range(END + 1):
        before = replay(entries, minute(later))
        after = replay([*entries, *waivers], minute(later))
        if later >= number:
            assert after.debt == 0
        if before.debt == 0:
            assert after.balance + after.pending >= before.balance + before.pending
    assert short([*entries, *waivers], minute(number)) == []


def test_what_was_waived_is_undone_first_when_points_come_back() -> None:
    """Or one could use points, have their booking refunded, and cancel the reward."""
    lot = Lot("lot", minute(0), FOREVER)
    told = [entry("earn", lot, 100, 0), entry("burn", lot, -80, 1), entry("reverse", lot, -100, 2)]
    assert short(told, minute(0)) == [("lot", 80, minute(2))]
    told.append(entry("waive", lot, 80, 2))
    assert [replay(told, minute(n)).balance for n in range(3)] == [100, 20, 0]
    told.append(entry("return", lot, 80, 3))
    state = replay(told, minute(3))
    assert state.balance == 0
    assert [(e.kind, e.points, e.at) for e in state.effects] == [("waive", -80, minute(3))]


def test_what_must_be_waived_is_told_in_the_order_in_which_lots_expire() -> None:
    """Each with its instant; what can be used then pays first."""
    late, soon = Lot("1", minute(0), FOREVER), Lot("2", minute(0), minute(9))
    more = Lot("3", minute(4), FOREVER)
    told = [
        entry(kind, lot, points, at)
        for lot in (late, soon)
        for kind, points, at in (("earn", 10, 0), ("burn", -10, 1), ("reverse", -10, 3))
    ]
    told.append(entry("earn", more, 4, 0))
    assert short(told, minute(0)) == [("2", 10, minute(3)), ("1", 10, minute(3))]
    assert short(told, minute(4)) == [("2", 6, minute(4)), ("1", 10, minute(4))]
    assert short(told, minute(6)) == [("2", 6, minute(6)), ("1", 10, minute(6))]
    assert short(told[:3], minute(4)) == [("1", 10, minute(4))]


def test_sums_do_not_tell_what_is_left_where_something_was_waived() -> None:
    """Even if it is not overdrawn now, by what came at the same instant."""
    lot = Lot("lot", minute(0), FOREVER)
    told = [entry("earn", lot, 10, 0), entry("burn", lot, -10, 0), entry("waive", lot, 10, 0)]
    assert is_overdrawn(told)
    assert replay(told, minute(0)).balance == 0
    assert not is_overdrawn(told[:2])


def test_points_that_come_back_go_to_the_lots_that_paid() -> None:
    """And from them to their own debt; those whose lot is over are over."""
    first, second = Lot("1", minute(0), minute(5)), Lot("2", minute(0), FOREVER)
    told = [
        entry("earn", first, 10, 0),
        entry("earn", second, 10, 0),
        entry("burn", first, -10, 1),
        entry("reverse", first, -10, 2),  # the second pays
    ]
    assert replay(told, minute(2)).balance == 0
    back = [*told, entry("return", first, 10, 3)]
    assert replay(back, minute(3)).lots["2"].left == 10
    owing = [*told, entry("reverse", second, -10, 3)]
    assert replay(owing, minute(3)).balance == -10
    assert replay([*owing, entry("return", first, 10, 6)], minute(6)).balance == 0
    turned = [
        evolved(e, lot_id={"1": "2", "2": "1"}[e.lot_id or ""], **_dates(e, first, second))
        for e in told
    ]
    late = replay([*turned, entry("return", second, 10, 6)], minute(6))
    assert (late.balance, late.expired) == (0, 10)


def _dates(e: PointsEntry, first: Lot, second: Lot) -> dict[str, datetime]:
    lot = second if e.lot_id == first.id else first
    return {"available_at": lot.available_at, "expires_at": lot.expires_at}


@given(st.lists(st.integers(0, 9)), st.integers(0, 9))
def test_the_last_instant_and_the_next(given_: list[int], now: int) -> None:
    past = [n for n in given_ if n <= now]
    ahead = [n for n in given_ if n > now]
    assert last_and_next(map(minute, given_), minute(now)) == (
        minute(max(past)) if past else None,
        minute(min(ahead)) if ahead else None,
    )
