"""Loyalty programmes and histories by chance, and what must hold of every account after them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import strategies as st

from crmkit import CRMError, CRMService, Programme, Settings
from crmkit.loyalty import accounts, ledger
from crmkit.loyalty.periods import period
from crmkit.model import Activity, PointsAccount, PointsEntry, PointsLot
from crmkit.model.catalogue import evolved
from crmkit.model.time import FOREVER
from crmkit.ports.keys import StoredKey
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.programmes import Cap, EarnRule, Multiplier, Reward, Tier
from crmkit.testing import CountingIds, FrozenClock

START = datetime.fromisoformat("2026-03-27T10:00:00+00:00")
"""Two days before summer time begins there."""
ZONE = "Europe/Bucharest"
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)

Step = tuple[Any, ...]
TENANTS = (f"points {n}" for n in itertools.count())

# --- programmes ---

_CAPS = st.sampled_from(
    [None, Cap(60, "day"), Cap(100, "week"), Cap(150, "month"), Cap(90, "ever")]
)
_TIERS = (Tier("BRONZE", 0), Tier("SILVER", 100), Tier("GOLD", 250), Tier("VIP"))
_MULTIPLIERS = (
    Multiplier(name="birthday", times=Decimal(2), during="birthday_month"),
    Multiplier(name="opening", times=Decimal("1.5"), ends=START + 30 * HOUR, kinds=["visit"]),
    Multiplier(name="more", times=Decimal("1.1"), starts=START - 20 * HOUR, stacks=True),
)


@st.composite
def programmes(draw: st.DrawFn, /, **fixed: Any) -> Programme:
    """Rules of every sort, with and without caps, holds and expiry."""
    some = st.lists(st.sampled_from(_MULTIPLIERS), unique_by=lambda m: m.name)
    rules = (
        EarnRule(
            name="booking", kind="booking", points=100, completed=True,
            pending=draw(st.booleans()),
        ),
        EarnRule(
            name="party", kind="booking", points=200, completed=True, where={"type": "party"},
            expires_days=draw(st.sampled_from([None, 2])),
        ),
        EarnRule(
            name="sale", kind="purchase", points=3, per=Decimal(10), cap=draw(_CAPS),
            hold_days=draw(st.sampled_from([None, 1])),
        ),
        EarnRule(name="visit", kind="visit", points=40, cap=draw(_CAPS)),
        EarnRule(name="thanks", kind="visit", points=7, stacks=True, qualifies=False),
    )  # fmt: skip
    return Programme(
        **{
            "earn_rules": rules,
            "multipliers": draw(some),
            "tiers": _TIERS,
            "hold_days": draw(st.sampled_from([0, 0, 2])),
            "expires_days": draw(st.sampled_from([None, 1, 4])),
            "on_spent": draw(st.sampled_from(["debt", "floor", "block"])),
            "milestones": (),
            "rewards": (Reward(name="beer", cost=30, hold_days=1),),
            **fixed,
        }
    )


# --- what happens ---

_WHO, _NTH = st.integers(0, 1), st.integers(0, 9)
_BACK = st.sampled_from([0, 0, 0, 1, 15, 30, 72, -20])
"""How many hours ago it happened; some is told ahead of its time."""


@st.composite
def tracked(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A fact that earns, or ends what does."""
    earning = ("booking", "completion", "purchase", "visit")
    kind = draw(st.sampled_from((*earning, *earning, "refund", "cancellation", "no_show")))
    payload: dict[str, Any] = {}
    if kind != "visit":
        payload["reference"] = draw(st.sampled_from(["r1", "r1", "r2"]))
    if kind == "purchase" or (kind in ("booking", "refund") and draw(st.booleans())):
        payload["amount"] = draw(st.sampled_from([10, 45, 99, 200]))
    if kind == "booking":
        payload |= draw(
            st.sampled_from([{"status": "completed"}, {"type": "party"}, {}, {"type": "cafe"}])
        )
    return kind, payload


_CORRECTIONS = st.sampled_from(
    [
        ("void", {}),
        ("void", {}),
        ("refund", {}),
        ("refund", {"fraction": "0.333"}),
        ("refund", {"fraction": "0.5"}),
        ("amend", {"changes": {"amount": 150}}),
        ("amend", {"changes": {"type": "party"}}),
        ("amend", {"changes": {"status": "completed"}}),
    ]
)
_DONE: dict[str, tuple[int, st.SearchStrategy[Step]]] = {
    "track": (12, st.tuples(st.just("track"), _WHO, tracked(), _BACK)),
    "correct": (5, st.tuples(st.just("correct"), _NTH, _CORRECTIONS)),
    "points": (2, st.tuples(
        st.just("points"), _WHO, st.sampled_from([-90, -60, -10, 30, 80]), _BACK)),
    "again": (1, st.tuples(st.just("again"), _NTH)),
    "redeem": (5, st.tuples(st.just("redeem"), _WHO)),
    "cancel": (2, st.tuples(st.just("cancel"), _NTH)),
    "fulfil": (1, st.tuples(st.just("fulfil"), _NTH)),
    "leave": (1, st.tuples(st.just("leave"), _WHO, _BACK)),
    "enrol": (1, st.tuples(st.just("enrol"), _WHO, _BACK)),
    "wait": (4, st.tuples(st.just("wait"), st.sampled_from([1, 9, 24, 49, 100]))),
    "merge": (1, st.just(("merge",))),
    "part": (1, st.just(("part",))),
    "job": (2, st.just(("job",))),
}  # fmt: skip


def histories(*left_out: str, size: int = 16) -> st.SearchStrategy[list[Step]]:
    """Steps of a `House`, most of them facts; first something happens."""
    done = {name: what for name, what in _DONE.items() if name not in left_out}
    names = st.sampled_from([name for name, (weight, _) in done.items() for _ in range(weight)])
    steps = names.flatmap(lambda name: done[name][1])
    return st.builds(
        lambda first, rest: [first, *rest],
        done["track"][1],
        st.lists(steps, min_size=size // 2, max_size=size),
    )


class House:
    """A business with two customers, to whom things happen."""

    def __init__(
        self,
        storage: Storage,
        programme: Programme,
        *,
        clock: FrozenClock | None = None,
        first_id: int = 1,
        tenant: str = "",
    ) -> None:
        self.clock = clock or FrozenClock(START)
        self.crm = CRMService(
            storage,
            clock=self.clock,
            settings=Settings(programmes=[programme], timezone=ZONE),
            ids=CountingIds(first_id),
            keys=StoredKey(lambda: b"the same on every storage"),
            tenant=tenant or next(TENANTS),
        )
        born = ("1990-03-31", "1990-10-01")
        self.people = [
            self.crm.find_or_create({"user_id": n, "birth_date": day}).id
            for n, day in enumerate(born)
        ]
        self.calls: list[Any] = []
        self.facts: list[str] = []
        self.made: list[str] = []
        self.merges: list[str] = []

    def configured(self, programme: Programme) -> None:
        """Go on with another configuration."""
        tenant = self.crm.tenant
        settings = attrs.evolve(self.crm.settings, programmes=[programme])
        self.crm = self.crm.for_tenant(tenant, settings=settings)

    def step(self, what: str, *of: Any) -> str:
        """One thing happens, or is refused."""
        try:
            getattr(self, f"_{what}")(*of)
        except CRMError as error:
            return type(error).__name__
        return ""

    def _at(self, back: int) -> datetime:
        return self.clock() - back * HOUR

    def _keyed(self, call: Any) -> Any:
        done = call()
        self.calls.append(call)
        return done

    def _track(self, who: int, told: tuple[str, dict[str, Any]], back: int) -> None:
        (kind, payload), at, key = told, self._at(back), f"track {len(self.calls)}"
        if "reference" in payload:  # nobody's but theirs: else a merge makes one story of two
            payload = payload | {"reference": f"{payload['reference']} of {who}"}
        crm, customer = self.crm, self.people[who]
        fact = self._keyed(lambda: crm.activities.track(customer, kind, payload, at=at, key=key))
        self.facts.append(fact.id)

    def _correct(self, n: int, told: tuple[str, dict[str, Any]]) -> None:
        if not self.facts:
            return
        (name, of), key = told, f"correct {len(self.calls)}"
        correct, target = getattr(self.crm.activities, name), self.facts[-1 - n % len(self.facts)]
        self._keyed(lambda: correct(target, **of, key=key))

    def _points(self, who: int, delta: int, back: int) -> None:
        at, key = self._at(back), f"points {len(self.calls)}"
        crm, customer = self.crm, self.people[who]
        self._keyed(
            lambda: crm.loyalty.update_points(customer, delta, reason="why", key=key, at=at)
        )

    def _again(self, n: int) -> None:
        if n < len(self.calls):
            self.calls[-1 - n]()

    def _redeem(self, who: int) -> None:
        self.made.append(self.crm.loyalty.redeem(self.people[who], "beer").id)

    def _cancel(self, n: int) -> None:
        if n < len(self.made):
            self.crm.loyalty.cancel(self.made[-1 - n])

    def _fulfil(self, n: int) -> None:
        if n < len(self.made):
            self.crm.loyalty.fulfil(redemption_id=self.made[-1 - n])

    def _leave(self, who: int, back: int) -> None:
        self.crm.loyalty.leave(self.people[who], at=self._at(back))

    def _enrol(self, who: int, back: int) -> None:
        self.crm.loyalty.enrol(self.people[who], at=self._at(back))

    def _merge(self) -> None:
        self.merges.append(self.crm.identity.merge(*self.people, reason="same").id)

    def _part(self) -> None:
        if self.merges:
            self.crm.identity.unmerge(self.merges.pop())

    def _wait(self, hours: int) -> None:
        self.clock.advance(hours=hours)

    def _job(self) -> None:
        self.crm.run_due()

    # --- what can be asked ---

    def rows(self) -> tuple[dict[str, PointsEntry], dict[str, PointsLot]]:
        """All entries and lots, by id."""
        with self.crm._runtime.read() as uow:
            found = uow.find(PointsEntry), uow.find(PointsLot)
        return {e.id: e for e in found[0]}, {lot.id: lot for lot in found[1]}

    def kept(self) -> tuple[dict[str, PointsEntry], dict[str, PointsLot]]:
        """All entries and lots, whether or not it was seen that a lot is over."""
        entries, lots = self.rows()
        return entries, {n: evolved(lot, status="") for n, lot in lots.items()}

    def recorded(self) -> list[Activity]:
        """All facts, in the order in which they were told."""
        with self.crm._runtime.read() as uow:
            return uow.find(Activity, order=("id",))

    def probes(self) -> list[datetime]:
        """The instants at which anything may change, and those just before."""
        edges = {START, self.clock()}
        for entry in self.rows()[0].values():
            edges |= {t for t in ledger.instants(entry) if t < FOREVER}
        return sorted({t + d for t in edges for d in (-TICK, timedelta(0))})

    def told(self, probes: Sequence[datetime]) -> list[Any]:
        """What hosts are told of both accounts at these instants; None of who was erased."""
        return [self._told(who, probes) for who in self.people]

    def _told(self, who: str, probes: Sequence[datetime]) -> Any:
        loyalty = self.crm.loyalty
        try:
            found = [attrs.evolve(loyalty.account(who, at=t), customer_id="") for t in probes]
        except CRMError:
            return None
        expiring = [loyalty.expiring(who, within="9d", at=t) for t in probes[::5]]
        happened: Counter[datetime] = Counter()
        for entry in self.history(who):
            happened[entry.occurred_at] += entry.points
        return found, expiring, {t: points for t, points in happened.items() if points}

    def history(self, who: str, limit: int = 100) -> list[PointsEntry]:
        """All pages of a history."""
        found: list[PointsEntry] = []
        after: str | None = None
        while True:
            page = self.crm.loyalty.history(who, limit=limit, after=after)
            found += page
            after = page.next
            if after is None:
                return found


# --- what must hold ---


class _Undo(Exception):
    """Ends a unit of work so that nothing of it stays."""


def is_sound(house: House) -> None:
    """Of every account: what is kept is what its entries tell, at every instant."""
    entries, lots = house.rows()
    sums: Counter[str] = Counter()
    for entry in entries.values():
        sums[entry.lot_id or ""] += entry.points
        assert entry.occurred_at <= entry.recorded_at <= house.clock()
        assert entry.programme == "points"
    assert {lot.id: lot.left for lot in lots.values()} == {n: sums[n] for n in lots}
    with house.crm._runtime.read() as uow:
        found = uow.find(PointsAccount)
    for account in found:
        _is_sound(house, account)


def _is_sound(house: House, account: PointsAccount) -> None:
    rt, now, who = house.crm._runtime, house.clock(), account.customer_id
    probes = house.probes()
    with rt.read() as uow:
        told = accounts.entries(uow, account)
        states = {t: ledger.replay([*told, *accounts.lapsed(uow, account, t)], t) for t in probes}
        for t, state in states.items():
            reversed_ = any(e.kind == "reverse" and e.occurred_at <= t for e in told)
            assert reversed_ or not state.debt
            held = accounts.balance(uow, account, t)
            assert (held.balance, held.pending) == (state.balance, state.pending)
            assert not (state.usable and state.debt)
        lots = uow.find(PointsLot, customer_id=who)
    again = _rebuilt(house, account)
    assert account.qualifying == again.qualifying
    assert account.indebted or not again.indebted
    if account.next_at is None or account.next_at > now:
        assert (account.balance, account.pending) == (again.balance, again.pending)
    if not again.indebted:
        assert all(lot.left >= 0 for lot in lots)
        assert all(state.debt == 0 for state in states.values())
    for t in probes:
        mine = house.crm.loyalty.account(who, at=t)
        assert mine.qualifying == sum(e.qualifying for e in told if e.occurred_at <= t)
    _history_is_sound(house, who, {t: s for t, s in states.items() if t <= now})
    _grows_by_nothing(house, who, [t for t in probes if t >= now])


def _rebuilt(house: House, account: PointsAccount) -> PointsAccount:
    """The account as it would be rebuilt; nothing is stored."""
    rt, found = house.crm._runtime, list[PointsAccount | None]()

    def work(uow: UnitOfWork) -> None:
        found.append(accounts.rebuilt(uow, rt, account.customer_id, account.programme))
        raise _Undo

    with suppress(_Undo):
        rt.write(work)
    assert found[-1] is not None
    return found[-1]


def _history_is_sound(house: House, who: str, states: Mapping[datetime, ledger.State]) -> None:
    """What happened by an instant adds up to what there was then; pages leave nothing out."""
    every = house.history(who)
    for t, state in states.items():
        assert sum(e.points for e in every if e.occurred_at <= t) == state.balance + state.pending
    places = [(e.occurred_at, e.id) for e in every]
    assert places == sorted(set(places), reverse=True)
    assert all(at <= house.clock() for at, _ in places)
    paged = house.history(who, limit=2)
    assert [(e.id, e.points) for e in paged] == [(e.id, e.points) for e in every]


def _grows_by_nothing(house: House, who: str, probes: Sequence[datetime]) -> None:
    """Without new facts points only expire, as was foretold; what lapses comes back."""
    rt, loyalty = house.crm._runtime, house.crm.loyalty
    with rt.read() as uow:
        account = uow.get(PointsAccount, who, "points")
        if account is None or list(accounts.lapsed(uow, account, FOREVER)):
            return
    whole = [(a.balance + a.pending) for t in probes for a in [loyalty.account(who, at=t)]]
    assert whole == sorted(whole, reverse=True)
    expiring = loyalty.expiring(who, within="300y")
    assert whole[0] - sum(e.points for e in expiring) == whole[-1]


def nothing_was_changed(
    before: Mapping[str, PointsEntry], after: Mapping[str, PointsEntry]
) -> None:
    """Entries stay as they were; a merge may hand them on."""
    assert before.keys() <= after.keys()
    for n, entry in before.items():
        now = after[n]
        assert evolved(now, customer_id=entry.customer_id, origin=entry.origin) == entry


def caps_hold(house: House, uncapped: House) -> None:
    """At every instant each period has what it would have without caps, but no more than its cap.

    The other house was told the same, of a programme without caps.
    """
    [programme] = house.crm.settings.programmes
    for rule in programme.earn_rules:
        for at in uncapped.probes() if rule.cap else ():
            whole = given_by_period(uncapped, rule, at)
            cap = rule.cap.points if rule.cap else 0
            most = {part: min(points, cap) for part, points in whole.items()}
            assert +given_by_period(house, rule, at) == +Counter(most)


def without_caps(programme: Programme) -> Programme:
    """The same programme, but no rule has a cap."""
    rules = [attrs.evolve(rule, cap=None) for rule in programme.earn_rules]
    return attrs.evolve(programme, earn_rules=rules)


def given_by_period(house: House, rule: EarnRule, at: datetime) -> Counter[Any]:
    """What a rule has given by an instant, by customer and the period of its cap."""
    entries, lots = house.rows()
    found: Counter[Any] = Counter()
    for entry in entries.values():
        lot = lots.get(entry.lot_id or "")
        if lot and lot.rule == rule.name and entry.kind in ("earn", "reverse"):
            per = rule.cap.per if rule.cap else "ever"
            start, _ = period(per, lot.earned_at, house.crm.settings.zone)
            if entry.occurred_at <= at:
                found[house.people.index(lot.customer_id), start] += entry.points
    return found
