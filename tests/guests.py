"""A few hundred invented guests, and what a plain loop over their facts says of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from crmkit import CRMService

NOW = datetime(2026, 6, 15, 12, 7, tzinfo=UTC)
_DATED = {
    **dict.fromkeys(("booking",), "booking"),
    **dict.fromkeys(("purchase", "ticket"), "order"),
    **dict.fromkeys(("visit", "check_in", "attendance"), "visit"),
}
_KINDS = (
    "booking", "purchase", "ticket", "visit", "check_in", "attendance", "message_delivered",
    "message_opened", "message_clicked", "funnel_step",
)  # fmt: skip
_TASTES = (
    _KINDS,
    ("booking",),
    ("booking", "purchase"),
    ("visit", "check_in", "attendance"),
    ("attendance", "purchase"),
    ("message_delivered",),
    ("funnel_step", "ticket"),
)
"""What some guests do, and nothing else."""


@attrs.frozen
class Fact:
    """Something a guest did: a hundred days ago, or an hour."""

    kind: str
    at: datetime
    payload: dict[str, Any]
    cancelled: bool = False

    def within(self, **length: float) -> bool:
        return timedelta(0) <= NOW - self.at < timedelta(**length)


@attrs.define
class Guest:
    """A guest as the loop knows them."""

    id: str
    facts: list[Fact]
    followers: int | None
    subscribed: bool
    tags: frozenset[str]
    points: int
    genres: tuple[str, ...]

    def did(self, *kinds: str, days: float | None = None, **asked: Any) -> list[Fact]:
        return [
            f
            for f in self.facts
            if f.kind in kinds
            and not f.cancelled
            and (days is None or f.within(days=days))
            and all(f.payload.get(name) == value for name, value in asked.items())
        ]

    @property
    def came(self) -> list[datetime]:
        return [f.at for f in self.facts if f.kind in _DATED and not f.cancelled]

    @property
    def spent(self) -> int:
        return sum(f.payload.get("amount", 0) for f in self.did("booking", "purchase", "ticket"))

    @property
    def bookings(self) -> int:
        return len(self.did("booking"))

    @property
    def orders(self) -> int:
        paid = [f for f in self.did("booking") if "amount" in f.payload]
        return len(paid) + len(self.did("purchase", "ticket"))

    @property
    def visits(self) -> int:
        return len(self.did("visit", "check_in", "attendance"))

    def came_within(self, days: float) -> bool:
        return any(NOW - at < timedelta(days=days) for at in self.came)

    def new(self, days: float) -> bool:
        return bool(self.came) and NOW - min(self.came) < timedelta(days=days)


def guests(crm: CRMService, count: int, seed: int = 7) -> list[Guest]:
    """Tell crmkit of so many guests and what they did, each in the order of time."""
    rng = random.Random(seed)
    made = [_guest(crm, rng, n) for n in range(count)]
    items = [item for guest in made for item in _items(guest)]
    assert crm.activities.track_many(items).refused == 0
    return made


def _guest(crm: CRMService, rng: random.Random, n: int) -> Guest:
    followers = rng.choice([None, 500, 10_000, 10_001, 80_000])
    subscribed, tags = rng.random() < 0.4, ["party-regular"] if rng.random() < 0.4 else []
    genres, points = (
        rng.sample(["rock", "house", "jazz"], rng.randint(0, 2)),
        rng.choice([0, 7_000]),
    )
    told: dict[str, Any] = {
        "email": f"guest{n}@mail.com",
        "preferences": {"music_genres": genres},
        "tags": tags,
    }
    if followers is not None:
        told["instagram_followers"] = followers
    if subscribed:
        told["consent"] = {"marketing_email": True, "source": "form"}
    made = crm.find_or_create(told, at=NOW - timedelta(days=400)).id
    if points:
        crm.loyalty.update_points(made, points, reason="start")
    guest = Guest(made, [], followers, subscribed, frozenset(tags), points, tuple(genres))
    since = rng.choice([3, 20, 100, 250, 390])
    kinds = rng.choice(_TASTES)
    for _ in range(rng.choice([0, 1, 2, 4, 8, 16, 24])):
        guest.facts.append(_fact(rng, kinds, since))
    guest.facts.sort(key=lambda f: f.at)
    return guest


def _fact(rng: random.Random, kinds: Sequence[str], since: int) -> Fact:
    kind = rng.choice(kinds)
    payload: dict[str, Any] = {}
    if kind in ("purchase", "ticket") or (kind == "booking" and rng.random() < 0.8):
        payload["amount"] = rng.choice([20, 50, 100, 150, 400])
    if kind == "booking":
        payload["game"] = rng.choice(["Crypt", "Prison", "Lab"])
        payload["venue"] = rng.choice(["Centre", "North"])
        payload["category"] = rng.choice(["special_event", "special_event", "dinner"])
    if kind == "funnel_step":
        payload["step"] = payload["category"] = rng.choice(["view", "form_start"])
    back = rng.choice([timedelta(minutes=rng.randint(1, 300)), timedelta(days=since)])
    at = NOW - timedelta(seconds=rng.uniform(0, 1) * back.total_seconds())
    return Fact(kind, at, payload, kind == "booking" and rng.random() < 0.2)


def _items(guest: Guest) -> Iterator[dict[str, Any]]:
    for n, fact in enumerate(guest.facts):
        about = {"reference": f"{guest.id} {n}"}
        item = {"customer_id": guest.id, "at": fact.at, "key": f"{guest.id} {n}"}
        yield {**item, "kind": fact.kind, "payload": {**fact.payload, **about}}
        if fact.cancelled:
            yield {**item, "kind": "cancellation", "payload": about, "key": f"{guest.id} {n} off"}


def top(made: Sequence[Guest], value: Any, percent: int) -> set[str]:
    """Who is among so many percent with the highest values above 0, ties included."""
    ranked = sorted((value(g) for g in made if value(g) > 0), reverse=True)
    if not ranked:
        return set()
    last = ranked[-(-len(ranked) * percent // 100) - 1]
    return {g.id for g in made if value(g) >= last}
