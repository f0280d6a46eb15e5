"""Referrals after any history: the order of facts does not matter, merges can be undone."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crmkit import CRMError, CRMService, MemoryStorage, Settings, SqlStorage
from crmkit.loyalty import accounts, ledger
from crmkit.model import PointsAccount, PointsEntry, PointsLot, ReferralAccepted
from crmkit.model.catalogue import evolved
from crmkit.ports.storage import Storage
from crmkit.programmes import Limit, Programme, ReferralPolicy
from crmkit.testing import FrozenClock
from tests.fixtures import sqlite_url

shared_storages = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
_tenants = (f"referrals {n}" for n in itertools.count())

START = datetime(2026, 1, 24, 12, tzinfo=UTC)
WINDOW = 5
REFERRER, REFEREE = 50, 30
SETTINGS = Settings(
    programmes=[
        Programme(
            earn_rules=(),
            multipliers=(),
            milestones=(),
            referral=ReferralPolicy(
                referrer=REFERRER, referee=REFEREE, window_days=WINDOW, limit=Limit(1, "month")
            ),
        )
    ]
)
PEOPLE = 5
"""The first two hand out codes, the others come by them."""
END = 40

Fact = tuple[int, int, str, str | None]
"""The day, who, what, and of which booking."""
Accepted = tuple[int, int, int]
"""The day, the referrer, the referee."""
Turns = list[tuple[int, int, int | None]]
"""Since when, from when, until when a referral counted."""


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """Visits and bookings of guests, most of which take place, and many are called off."""
    found: dict[tuple[int, int], Fact] = {}
    for person in range(2, PEOPLE):
        for booking in draw(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=4)):
            day = draw(st.integers(2, 14))
            told: list[Fact] = [(day, person, "booking" if booking else "visit", booking)]
            if booking and draw(st.integers(0, 5)):
                told.append((day + draw(st.integers(1, 3)), person, "completion", booking))
            if booking and draw(st.integers(0, 2)):
                kind = draw(st.sampled_from(["cancellation", "refund"]))
                told.append((day + draw(st.integers(1, 10)), person, kind, booking))
            # A day holds one fact of a person at most: what one instant says together is a
            # story's matter.
            found = {fact[:2]: fact for fact in told} | found
    return list(found.values())


FACTS = histories()
_accepted: st.SearchStrategy[Accepted] = st.tuples(
    st.integers(0, 4), st.sampled_from([0, 0, 0, 1, 2]), st.integers(2, PEOPLE - 1)
)
ACCEPTED = st.lists(_accepted, min_size=2, max_size=6, unique_by=(lambda a: a[0], lambda a: a[1:]))


@pytest.fixture(scope="module")
def storages(
    _postgres_storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[Storage]]:
    folder: Path = tmp_path_factory.mktemp("referrals")
    sqlite = SqlStorage.open(sqlite_url(folder))
    yield MemoryStorage(), sqlite, _postgres_storage
    sqlite.close()


def on(day: float) -> datetime:
    return START + timedelta(days=day)


def fresh(storage: Storage) -> tuple[CRMService, list[str]]:
    clock = FrozenClock(on(END))
    crm = CRMService(storage, clock=clock, settings=SETTINGS, tenant=next(_tenants))
    return crm, [crm.find_or_create({"user_id": n}).id for n in range(PEOPLE)]


def tell(crm: CRMService, ids: Sequence[str], told: Fact | Accepted) -> None:
    if len(told) == 3:
        day, referrer, referee = told
        code = crm.loyalty.referrals.code(ids[referrer])
        crm.loyalty.referrals.accept(ids[referee], code, at=on(day - 0.5))
    else:
        day, who, kind, booking = told
        payload = {"booking_id": booking} if booking else {}
        crm.track_activity(ids[who], kind, payload, at=on(day))


# --- what must come of it, told day by day ---


@attrs.define
class Expected:
    """What a day-by-day reader makes of one referee's facts."""

    facts: Sequence[Fact]

    def bookings(self, day: int) -> Iterator[tuple[str, bool]]:
        """What counted at the end of a day."""
        so_far = [fact for fact in self.facts if fact[0] <= day]
        for told_on, _, kind, _ in so_far:
            if kind == "visit":
                yield f"visit {told_on}", True
        for booking in ("a", "b", "c"):
            kinds = {fact[2] for fact in so_far if fact[3] == booking}
            off = kinds & {"cancellation", "refund"}
            yield booking, kinds >= {"booking", "completion"} and not off

    def was_customer(self, accepted: int) -> bool:
        for day, _, kind, booking in self.facts:
            kinds = {fact[2] for fact in self.facts if fact[3] == booking}
            if day < accepted and kind == "visit":
                return True
            if day < accepted and kind == "booking" and "cancellation" not in kinds:
                return True
        return False

    def turns(self, accepted: int) -> Turns:
        """Since when, from when, until when the referral counted."""
        began: dict[str, int] = {}
        found: Turns = []
        by: str | None = None
        for day in range(END):
            counts = {name for name, holds in self.bookings(day) if holds}
            began = {name: began.get(name, day) for name in counts}
            if by is not None and by not in counts:
                since, start, _ = found.pop()
                if day >= since + WINDOW:
                    return [*found, (since, start, None)]
                found.append((since, start, day))
                by = None
            waiting = [(since, name) for name, since in began.items() if since >= accepted]
            if by is None and waiting:
                since, by = min(waiting)
                found.append((since, day, None))
        return found


def expected(facts: Sequence[Fact], accepted: Sequence[Accepted]) -> list[dict[int, int]]:
    """For each person by how much all points change at the end of a day, and when."""
    changes: list[dict[int, int]] = [defaultdict(int) for _ in range(PEOPLE)]
    qualified: list[tuple[int, int, int, Turns]] = []
    for person in range(2, PEOPLE):
        told = Expected([fact for fact in facts if fact[1] == person])
        for day, referrer, referee in sorted(accepted):
            if referee == person != referrer and not told.was_customer(day):
                turns = told.turns(day)
                note(changes[person], turns, REFEREE)
                last = turns[-1][0] if turns and turns[-1][2] is None else END
                qualified.append((last, day, referrer, turns))
                break
    paid: list[tuple[int, datetime]] = []
    for last, _, referrer, turns in sorted(qualified):
        month = on(last).replace(day=1)
        if last == END or paid.count((referrer, month)) < 1:
            note(changes[referrer], turns, REFERRER)
        if last != END:
            paid.append((referrer, month))
    return changes


def note(changes: dict[int, int], turns: Turns, points: int) -> None:
    for _, start, end in turns:
        changes[start] += points
        if end is not None:
            changes[end] -= points


@shared_storages
@given(FACTS, ACCEPTED, st.data())
def test_the_order_of_facts_does_not_matter(
    storages: Sequence[Storage], facts: list[Fact], accepted: list[Accepted], data: st.DataObject
) -> None:
    """Codes and visits told in any order, some of them twice, are what a diary would tell."""
    due = expected(facts, accepted)
    news: list[Fact | Accepted] = [*facts, *accepted]
    for storage in storages:
        crm, ids = fresh(storage)
        order: Sequence[Fact | Accepted] = data.draw(st.permutations(news))
        for told in order:
            tell(crm, ids, told)
        for person, customer in enumerate(ids):
            for day in range(0, END, 3):
                account = crm.loyalty.account(customer, at=on(day + 0.1))
                held = sum(points for at, points in due[person].items() if at <= day)
                assert account.balance + account.pending == held, (person, day)
        is_sound(crm, storage)


def is_sound(crm: CRMService, storage: Storage) -> None:
    """What is cached is what the entries tell; nobody owes for what nobody used."""
    assert crm.loyalty.ledger.verify() == ()
    with storage.read(crm.tenant) as uow:
        left = {lot.id: lot.left for lot in uow.stream(PointsLot)}
        sums = uow.totals(PointsEntry, "points", by=("lot_id",))
        assert {lot: n for (lot,), n in sums.items()} == left
        for account in uow.stream(PointsAccount):
            told = accounts.entries(uow, account)
            state = ledger.replay(told, on(END))
            assert (account.balance, account.pending) == (state.balance, state.pending)
            assert not account.indebted
            assert accounts.balance(uow, evolved(account, since=None), on(END)).balance >= 0
        for row in uow.stream(ReferralAccepted):
            assert (row.usable_at is None) == (row.qualified_at is None)


def seen(crm: CRMService, ids: Sequence[str]) -> list[Any]:
    return [
        (
            crm.loyalty.account(c).balance,
            crm.loyalty.account(c).pending,
            crm.loyalty.referrals.by(c),
            list(crm.loyalty.referrals.of(c)),
        )
        for c in ids
    ]


@shared_storages
@given(
    FACTS,
    ACCEPTED,
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4),
    st.integers(0, 25),
    st.randoms(use_true_random=False),
)
def test_merges_undone_in_any_order_leave_referrals_as_they_were(
    storages: Sequence[Storage],
    facts: list[Fact],
    accepted: list[Accepted],
    pairs: list[tuple[int, int]],
    now: int,
    chance: Any,
) -> None:
    """While they stand no points are lost that could be used."""
    for storage in storages:
        crm, ids = fresh(storage)
        news: list[Fact | Accepted] = [*accepted, *facts]
        for told in news:
            tell(crm, ids, told)
        clock = crm._runtime.clock
        assert isinstance(clock, FrozenClock)
        clock.set(on(now))
        before = seen(crm, ids)
        usable = sum(balance for balance, *_ in before)
        made = []
        for a, b in pairs:
            with suppress(CRMError):
                made.append(crm.identity.merge(ids[a], ids[b], reason="one person"))
            people = {customer.id for customer in crm.customers.list()}
            assert sum(crm.loyalty.account(c).balance for c in people) >= usable
        made = list({merge.id: merge for merge in made}.values())
        chance.shuffle(made)
        for merge in made:
            crm.identity.unmerge(merge.id)
        assert seen(crm, ids) == before
