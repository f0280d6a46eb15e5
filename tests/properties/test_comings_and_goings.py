"""Who comes and goes is kept with each change, and is what all the facts say at every instant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import CRMError, CRMService, MemoryStorage, Settings
from crmkit.config import Kind
from crmkit.model import Customer, SegmentState, SegmentStay
from crmkit.model.time import instant
from crmkit.ports.storage import Storage
from crmkit.programmes import Cap, EarnRule, Programme, Reward, Tier, TierPolicy
from crmkit.rules import did, did_not, f, in_segment
from crmkit.testing import FrozenClock

ZONE = "Europe/Bucharest"
START = instant("2025-03-27T21:00:00Z")  # three days before its clocks go forward
RULES: Mapping[str, Mapping[str, Any]] = {
    "spent": f.total_spend >= 100,
    "engaged": (f.total_spend >= 100) & (f.last_purchase.within("90d") | (f.events_attended >= 2)),
    "new": f.first_booking.within("1mo"),
    "lapsed": f.last_purchase.not_within("60d") & f.last_purchase.within("6mo"),
    "fan": did("purchase", f.item == "X", within="90d").count >= 2,
    "big month": did("purchase", within="30d").sum >= 100,
    "cart": did("form", within="7d").not_then(did("ticket"), within="1h"),
    "bought": did("form", within="7d").then(did("ticket"), within="1h"),
    "quiet": did_not("purchase", within="30d"),
    "twice": did("visit", during="this month").count >= 2,
    "last month": did("visit", during="last month").count >= 1,
    "birthday": f.birth_date.anniversary_within("7d"),
    "tagged": f.tags.contains("vip") & ~(f.city == "Cluj"),
    "reachable": f["consent.marketing_email"] == True,  # noqa: E712 - a rule, not a comparison
    "points": f.points >= 150,
    "in debt": f.points < 0,
    "some points": (f.points >= 50) & f.last_purchase.within("30d"),
    "earned": f.qualifying_points >= 150,
    "tier": f.tier >= "SILVER",
    "thirty": f.age >= 30,
    "both": in_segment("spent") & (f.city == "Cluj"),
    "lately": did("purchase").last.within("20d"),
    "no booking": ~(f.total_bookings >= 1),
}
# Time alone takes a tier away, and brings and takes points; what nobody fetches comes back.
PROGRAMME = Programme(
    tiers=(Tier("BRONZE", 0), Tier("SILVER", 150)),
    policy=TierPolicy(window_days=20, grace_days=5),
    earn_rules=(
        EarnRule(name="sale", kind="purchase", points=1, per=1, hold_days=2),
        EarnRule(name="booking", kind="booking", points=70, pending=True, completed=True),
        EarnRule(name="visit", kind="visit", points=50, expires_days=3, cap=Cap(100, "month")),
    ),
    rewards=(Reward(name="beer", cost=50, hold_days=1),),
    expires_days=9,
)
KINDS = ("purchase", "visit", "booking", "form", "ticket", "attendance")
_tenants = (f"comings {n}" for n in itertools.count())

_BACK = st.sampled_from([0, 0, 0, 1, 89, 60 * 24, 60 * 24 * 40])  # minutes
_WHO = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 60, 600, 1440, 9 * 1440, 31 * 1440])),
    st.tuples(st.just("do"), _WHO, st.sampled_from(KINDS), st.sampled_from([20, 60, 120]),
              st.sampled_from("XY"), st.integers(0, 3), _BACK),
    st.tuples(st.just("do"), _WHO, st.sampled_from(KINDS), st.sampled_from([20, 60, 120]),
              st.sampled_from("XY"), st.integers(0, 3), _BACK),
    st.tuples(st.just("cancel"), _WHO, st.integers(0, 3), _BACK),
    st.tuples(st.just("void"), st.integers(0, 9)),
    st.tuples(st.just("refund"), st.integers(0, 9), _BACK),
    st.tuples(st.just("move"), _WHO, st.sampled_from(["Cluj", "Roma"])),
    st.tuples(st.just("tag"), _WHO, st.booleans()),
    st.tuples(st.just("consent"), _WHO, st.booleans(), _BACK,
              st.sampled_from([None, None, "one@mail.com", "two@mail.com"]),
              st.sampled_from([None, 61, 9 * 1440])),
    st.tuples(st.just("object"), _WHO),
    st.tuples(st.just("points"), _WHO, st.sampled_from([150, -50])),
    st.tuples(st.just("redeem"), _WHO),
    st.tuples(st.just("give back"), st.integers(0, 3), _BACK),
    st.tuples(st.just("fetch"), st.integers(0, 3)),
    st.tuples(st.just("by hand"), _WHO, st.sampled_from(["add", "keep_out", "remove"])),
    st.tuples(st.just("merge"), _WHO, _WHO),
    st.tuples(st.just("part")),
    st.tuples(st.just("erase"), _WHO),
    st.tuples(st.just("run")),
)  # fmt: skip


class Base:
    """A small base of customers, to whom things happen."""

    def __init__(self, storage: Storage, chosen: list[str]) -> None:
        self.clock = FrozenClock(START)
        kinds = (*Settings().kinds, Kind(name="form"))
        self.crm = CRMService(
            storage,
            settings=Settings(timezone=ZONE, kinds=kinds, programmes=(PROGRAMME,)),
            clock=self.clock,
            tenant=next(_tenants),
        )
        births = ["1995-04-02", "2004-02-29", "1995-03-28", ""]
        self.people = [
            self.crm.find_or_create({"user_id": str(n), "birth_date": born, "city": "Cluj"}).id
            for n, born in enumerate(births)
        ]
        self.facts: list[str] = []
        self.merges: list[str] = []
        self.made: list[str] = []
        for name in dict.fromkeys(("spent", *chosen)):
            self.crm.segments.create(name, RULES[name])
        self.names = [s.name for s in self.crm.segments.list()]

    def step(self, what: str, *of: Any) -> None:
        """One thing happens, or is refused."""
        with suppress(CRMError):
            getattr(self, f"_{what.replace(' ', '_')}")(*of)

    def _ago(self, minutes: int) -> datetime | None:
        return self.clock() - timedelta(minutes=minutes) if minutes else None

    def _wait(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    def _do(self, who: int, kind: str, amount: int, item: str, n: int, back: int) -> None:
        payload: dict[str, Any] = {"item": item}
        if kind in ("purchase", "booking", "ticket"):
            payload |= {"amount": amount, "reference": f"{kind} {n}"}
        fact = self.crm.track_activity(self.people[who], kind, payload, at=self._ago(back))
        self.facts.append(fact.id)

    def _cancel(self, who: int, n: int, back: int) -> None:
        told = {"reference": f"booking {n}"}
        self.crm.track_activity(self.people[who], "cancellation", told, at=self._ago(back))

    def _void(self, n: int) -> None:
        if self.facts:
            self.crm.activities.void(self.facts[n % len(self.facts)])

    def _refund(self, n: int, back: int) -> None:
        if self.facts:
            fact = self.facts[n % len(self.facts)]
            self.crm.activities.refund(fact, amount=30, at=self._ago(back))

    def _move(self, who: int, city: str) -> None:
        self.crm.customers.update(self.people[who], {"city": city})

    def _tag(self, who: int, on: bool) -> None:
        (self.crm.customers.tag if on else self.crm.customers.untag)(self.people[who], "vip")

    def _consent(
        self, who: int, given: bool, back: int, address: str | None, lasts: int | None
    ) -> None:
        consents, at = self.crm.gdpr.consents, self._ago(back)
        told: Any = {"source": "form", "at": at, "address": address}
        if given and lasts:
            told["expires_at"] = (at or self.clock()) + timedelta(minutes=lasts)
        say: Any = consents.give if given else consents.withdraw
        say(self.people[who], "email", **told)

    def _object(self, who: int) -> None:
        self.crm.gdpr.object(self.people[who])

    def _points(self, who: int, delta: int) -> None:
        self.crm.loyalty.update_points(self.people[who], delta, reason="goodwill")

    def _redeem(self, who: int) -> None:
        self.made.append(self.crm.loyalty.redeem(self.people[who], "beer").id)

    def _give_back(self, n: int, back: int) -> None:
        if self.made:
            self.crm.loyalty.cancel(self.made[n % len(self.made)], at=self._ago(back))

    def _fetch(self, n: int) -> None:
        if self.made:
            self.crm.loyalty.fulfil(redemption_id=self.made[n % len(self.made)])

    def _by_hand(self, who: int, how: str) -> None:
        getattr(self.crm.segments, how)(self.people[who], self.names[0])

    def _merge(self, keep: int, drop: int) -> None:
        done = self.crm.identity.merge(self.people[keep], self.people[drop], reason="same")
        self.merges.append(done.id)

    def _part(self) -> None:
        if self.merges:
            self.crm.identity.unmerge(self.merges.pop())

    def _erase(self, who: int) -> None:
        self.crm.gdpr.erase(self.people[who])

    def _run(self) -> None:
        self.crm.run_due()

    # --- what must hold ---

    def check_members(self) -> None:
        """What is kept is what a full recompute says, but for who is due."""
        for name in self.names:
            assert self.crm.segments.verify(name).exact, name

    def kept(self) -> Iterator[tuple[str, str, list[tuple[datetime, datetime | None]]]]:
        """By segment and customer, from when until when they are kept as members."""
        with self.crm._runtime.read() as uow:
            people = [c.id for c in uow.find(Customer)]
            states, stays = uow.find(SegmentState), uow.find(SegmentStay)
        for segment in self.crm.segments.list():
            for who in people:
                key = (segment.id, who)
                over: list[tuple[datetime, datetime | None]] = [
                    (s.entered_at, s.left_at) for s in stays if (s.segment_id, s.customer_id) == key
                ]
                now: list[tuple[datetime, datetime | None]] = [
                    (s.since, None)
                    for s in states
                    if (s.segment_id, s.customer_id) == key and s.member
                ]
                yield segment.name, who, sorted(over) + now

    def check_history(self) -> None:
        """At each edge of each stay, and between, the facts until then say the same."""
        now, moment = self.clock(), timedelta(microseconds=1)
        for name, who, stays in self.kept():
            edges = {e for stay in stays for e in stay if e is not None}
            asked = {p for e in edges for p in (e - moment, e, e + moment)}
            asked |= {START + (now - START) * n / 5 for n in range(6)}
            for at in sorted(p for p in asked if START <= p <= now):
                inside = any(a <= at and (b is None or at < b) for a, b in stays)
                assert inside == self.crm.segments.is_member(who, name, at=at), (name, at, stays)

    def check_points(self) -> None:
        """At the ends of days, and between, a segment says of points what their owner is told."""
        now, noon = self.clock(), timedelta(hours=12)
        asked = {START + n * noon for n in range((now - START) // noon + 1)} | {now}
        with self.crm._runtime.read() as uow:
            people = [c.id for c in uow.find(Customer)]
        rule = {"field": "points", "operator": ">=", "value": 50}
        for at in sorted(asked)[-40:]:
            fits = {c.id for c in self.crm.segments.preview(rule, at=at, sample=9).sample}
            told = {p for p in people if self.crm.loyalty.account(p, at=at).balance >= 50}
            assert fits == told, at


SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
CHOSEN = st.lists(st.sampled_from(sorted(RULES)), min_size=4, max_size=6, unique=True)


@given(chosen=CHOSEN, steps=st.lists(STEPS, max_size=25))
@SHARED
def test_comings_and_goings_are_what_the_facts_say(
    storage: Storage, chosen: list[str], steps: list[tuple[Any, ...]]
) -> None:
    """Late, voided, merged and erased facts among them, and however seldom time is let run."""
    base = Base(storage, chosen)
    for what, *of in steps:
        base.step(what, *of)
    base.check_members()
    base.check_points()
    base.crm.run_due()
    base.check_members()
    base.check_points()
    assert not any(base.crm.segments.verify(name).pending for name in base.names)
    base.check_history()


MINUTES = st.lists(
    st.tuples(st.sampled_from(["form", "ticket", "visit"]), st.integers(0, 400)), max_size=8
)
WITHIN_HOURS: Mapping[str, Mapping[str, Any]] = {
    "lately": did("visit", within="2h").count >= 1,
    "busy": did("visit", within="3h").count >= 2,
    "cart": did("form", within="4h").not_then(did("ticket"), within="1h"),
    "quiet": did_not("form", within="1h"),
}


def _replayed(
    base: Base, told: list[tuple[str, int]], due: Callable[[int], None]
) -> dict[tuple[str, datetime], bool]:
    """The answers of each minute, asked while the clock stands there."""
    seen: dict[tuple[str, datetime], bool] = {}
    who = base.people[0]
    for minute in range(420):
        for kind, at in told:
            if at == minute:
                base.crm.track_activity(who, kind, {})
        for name in WITHIN_HOURS:
            seen[name, base.clock()] = base.crm.segments.is_member(who, name)
        due(minute)
        base.clock.advance(timedelta(minutes=1))
    return seen


def _watched(base: Base) -> Base:
    for name, rule in WITHIN_HOURS.items():
        base.crm.segments.create(name, rule)
    return base


@given(told=MINUTES, every=st.integers(1, 300))
@settings(max_examples=10)
def test_history_is_a_replay_minute_by_minute(told: list[tuple[str, int]], every: int) -> None:
    """However seldom time is let run."""
    base = _watched(Base(MemoryStorage(), []))
    seen = _replayed(base, told, lambda minute: None if minute % every else base.step("run"))
    base.crm.run_due()
    stays = {(name, who): found for name, who, found in base.kept()}
    for (name, at), inside in seen.items():
        kept = stays[name, base.people[0]]
        assert inside == any(a <= at and (b is None or at < b) for a, b in kept), (name, at)


def test_a_job_that_looks_now_and_then_misses_some_of_it() -> None:
    """The naive way, a recompute each hour: the replay tells that its history is wrong."""
    base = _watched(Base(MemoryStorage(), []))
    looked: list[tuple[datetime, tuple[str, ...]]] = []

    def look(minute: int) -> None:
        if minute % 60 == 0:
            looked.append((base.clock(), base.crm.segments.segments_of(base.people[0])))

    seen = _replayed(base, [("visit", 10), ("form", 130), ("visit", 130)], look)
    wrong = {
        name
        for (name, at), inside in seen.items()
        if inside != (name in [names for when, names in looked if when <= at][-1])
    }
    assert wrong == {"lately", "busy", "cart", "quiet"}
