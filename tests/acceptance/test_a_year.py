"""A year of a small venue: what is kept of every segment is what the facts say, at any instant."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from crmkit import CRMError, CRMService, MemoryStorage, Settings, SqlStorage
from crmkit.model import Customer, SegmentState, SegmentStay
from crmkit.model.time import instant
from crmkit.ports.storage import Storage
from crmkit.rules import did, did_not, f, in_segment
from crmkit.testing import FrozenClock
from tests.fixtures import sqlite_url

DEEP = settings().max_examples > 1_000
SEEDS = range(4) if DEEP else range(1)
PEOPLE = 100 if DEEP else 40
EACH_TIME = 4 if DEEP else 3  # things that happen, at most, each time the clock is moved
ASKED = 1_000 if DEEP else 200

START = instant("2024-12-31T22:00:00Z")  # the year begins in Bucharest
MONTHS = [
    instant(f"{2025 + n // 12}-{n % 12 + 1:02}-01T00:00:00+0{3 if 3 <= n <= 9 else 2}:00")
    for n in range(1, 13)
]
MICROSECOND = timedelta(microseconds=1)

RULES: Mapping[str, Mapping[str, Any]] = {
    "spenders": f.total_spend >= 400,
    "regulars": did("visit", within="30d").count >= 3,
    "this month": did("visit", during="this month").count >= 2,
    "paid last month": did("purchase", during="last month").sum >= 100,
    "fans": did("purchase", (f.item == "Quiz") & (f.amount > 20), within="3mo").count >= 2,
    "did not come": did("booking", within="14d").not_then(did("visit"), within="2d"),
    "lapsed": did_not("purchase", within="1mo") & (f.total_orders >= 1),
    "birthday": f.birth_date.anniversary_within("7d"),
    "good and here": in_segment("spenders") & f.last_purchase.within("2mo") & ~(f.city == "Cluj"),
    "reachable": (f["consent.marketing_email"] == True) & ~f.tags.contains("no mail"),  # noqa: E712 - a rule, not a comparison
    "points": (f.points >= 150) | in_segment("fans"),
    "best": f.total_spend.top_percent(12.5),
}
RANKED = ("best",)
"""Comings and goings of ranks are noticed when time is let run, not at their own instants."""

WHAT = {
    "visit": 20, "purchase": 18, "booking": 12, "cancellation": 4, "refund": 3, "void": 2,
    "tag": 2, "consent": 2, "points": 2, "move": 2, "merge": 0.5, "unmerge": 0.4, "erase": 0.05,
}  # fmt: skip


class Year:
    """A venue, to whose guests things happen at random."""

    def __init__(self, storage: Storage, seed: int) -> None:
        self.random = random.Random(seed)  # the same year each time
        self.clock = FrozenClock(START)
        self.crm = CRMService(
            storage, clock=self.clock, settings=Settings(timezone="Europe/Bucharest"), tenant="t"
        )
        self.people = [self._guest(n) for n in range(PEOPLE)]
        self.facts: list[str] = []
        self.merges: list[str] = []
        self.counted = Counter[str]()
        for name, rule in RULES.items():
            self.crm.segments.create(name, rule)

    def _guest(self, n: int) -> str:
        born = f"{1960 + n % 45}-{n % 12 + 1:02}-{n % 28 + 1:02}" if n % 7 else "2004-02-29"
        return self.crm.find_or_create({"user_id": str(n), "birth_date": born, "city": "Roma"}).id

    # --- what happens ---

    def happen(self) -> None:
        """Something happens to somebody, or is refused."""
        (what,) = self.random.choices([*WHAT], [*WHAT.values()])
        who = self.random.choice(self.people)
        try:
            getattr(self, f"_{what}")(who)
        except CRMError:
            what = f"refused {what}"
        self.counted[what] += 1

    def _ago(self) -> datetime:
        """Now, mostly; else up to 40 days ago."""
        late = self.random.choice([0, 0, 0, 0, 0, 1, 600, 60 * 24 * 7, 60 * 24 * 40])
        return self.clock() - timedelta(minutes=self.random.randint(0, late))

    def _track(self, who: str, kind: str, payload: Mapping[str, Any]) -> None:
        self.facts.append(self.crm.track_activity(who, kind, payload, at=self._ago()).id)

    def _visit(self, who: str) -> None:
        self._track(who, "visit", {})

    def _purchase(self, who: str) -> None:
        sold = {"item": self.random.choice(["Quiz", "Heist"]), "amount": self.random.randint(5, 60)}
        self._track(who, "purchase", sold)

    def _booking(self, who: str) -> None:
        told = {"reference": str(self.random.randint(0, 5)), "amount": self.random.randint(0, 40)}
        self._track(who, "booking", told)

    def _cancellation(self, who: str) -> None:
        self._track(who, "cancellation", {"reference": str(self.random.randint(0, 5))})

    def _refund(self, who: str) -> None:  # noqa: ARG002 - whoever it was
        fact = self.random.choice(self.facts[-100:])
        self.crm.activities.refund(fact, fraction=0.5, at=self._ago())

    def _void(self, who: str) -> None:  # noqa: ARG002 - whoever it was
        self.crm.activities.void(self.random.choice(self.facts[-100:]))

    def _tag(self, who: str) -> None:
        change = self.random.choice([self.crm.customers.tag, self.crm.customers.untag])
        change(who, "no mail")

    def _consent(self, who: str) -> None:
        consents = self.crm.gdpr.consents
        say = consents.give if self.random.random() < 0.7 else consents.withdraw
        say(who, "email", source="form", at=self._ago())

    def _points(self, who: str) -> None:
        delta = self.random.choice([100, 60, -50])
        self.crm.loyalty.update_points(who, delta, reason="goodwill")

    def _move(self, who: str) -> None:
        holder = self.crm.customers.get(who).id  # see the last test here
        self.crm.customers.update(holder, {"city": self.random.choice(["Cluj", "Roma"])})

    def _merge(self, who: str) -> None:
        other = self.random.choice(self.people)
        self.merges.append(self.crm.identity.merge(who, other, reason="the same").id)

    def _unmerge(self, who: str) -> None:  # noqa: ARG002 - whoever it was
        self.crm.identity.unmerge(self.merges.pop() if self.merges else "none")

    def _erase(self, who: str) -> None:
        self.crm.gdpr.erase(who)

    def pass_by(self) -> None:
        """The year, checked at the end of each month, to the microsecond."""
        for end in MONTHS:
            while (left := end - MICROSECOND - self.clock()) > timedelta():
                step = timedelta(hours=self.random.choice([1, 1, 2, 5, 9, 24]))
                self.clock.advance(min(step, left))
                for _ in range(self.random.randint(0, EACH_TIME)):
                    self.happen()
                if self.random.random() < 0.05:
                    self.crm.run_due()
            self.check_members()
            self.clock.set(end)
            self.check_members()

    # --- what must hold ---

    def check_members(self) -> None:
        """Who is kept as a member is who is one, but for those who are due; then nobody is."""
        for name in RULES:
            if name not in RANKED:
                assert self.crm.segments.verify(name).exact, (name, self.clock())
        self.crm.run_due()
        for name in RULES:
            verified = self.crm.segments.verify(name)
            assert verified.exact, (name, self.clock())
            assert not verified.pending, (name, self.clock())

    def kept(self) -> dict[str, list[tuple[str, datetime, datetime | None]]]:
        """By segment, who was in it from when until when."""
        with self.crm._runtime.read() as uow:
            states, stays = uow.find(SegmentState), uow.find(SegmentStay)
        return {
            s.name: [
                *(
                    (of.customer_id, of.entered_at, of.left_at)
                    for of in stays
                    if of.segment_id == s.id
                ),
                *(
                    (of.customer_id, of.since, None)
                    for of in states
                    if of.segment_id == s.id and of.member
                ),
            ]
            for s in self.crm.segments.list()
        }

    def moments(self) -> Iterator[datetime]:
        """Past instants: any, and those at which somebody came or went, to the microsecond."""
        edges = [
            e
            for of in self.kept().values()
            for stay in of
            for e in stay[1:]
            if isinstance(e, datetime)
        ]
        for n in range(ASKED):
            if n % 2:
                edge = self.random.choice([e for e in edges if e > START])
                yield edge - self.random.choice([0, 0, 1]) * MICROSECOND
            else:
                yield START + self.random.random() * (self.clock() - START)

    def check_history(self) -> None:
        """All ways to ask about the past say the same."""
        kept, segments = self.kept(), self.crm.segments
        with self.crm._runtime.read() as uow:
            here = sorted(c.id for c in uow.find(Customer))
        for n, at in enumerate(self.moments()):
            everybody = n % 4 == 0  # the slow ways to ask, not each time
            name = self.random.choice([r for r in RULES if everybody or r not in RANKED])
            stayed = {w for w, a, b in kept[name] if a <= at and (b is None or at < b)}
            if everybody:
                members = {c.id for c in segments.members(name, at=at)}
                assert segments.count(name, at=at) == len(members), (name, at)
                assert name in RANKED or stayed == members, (name, at)
                stayed = members
            for who in self.random.sample(here, 3):
                inside = segments.is_member(who, name, at=at)
                assert inside == (who in stayed), (name, at)


@pytest.fixture(params=["memory", "sqlite"])
def local(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A fresh storage on this machine."""
    made = MemoryStorage() if request.param == "memory" else SqlStorage.open(sqlite_url(tmp_path))
    yield made
    made.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_kept_of_a_year_is_what_the_facts_say(local: Storage, seed: int) -> None:
    """At the end of each month, and for any instant of the year; nothing differs."""
    year = Year(local, seed)
    year.pass_by()
    year.check_history()
    assert len(year.facts) > 1_000
    assert all(year.counted[what] for what in WHAT), year.counted
    assert all(year.kept()[name] for name in RULES)
