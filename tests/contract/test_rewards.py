"""Rewards are reserved, handed out and given back alike on every storage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import attrs
import pytest

from crmkit import (
    CRMService,
    Erased,
    IdempotencyConflict,
    InsufficientPoints,
    InvalidInput,
    NotFound,
    Settings,
)
from crmkit.loyalty.rewards import Redeemed
from crmkit.model import PointsEntry, PointsLot, Redemption, RewardStock
from crmkit.ports.storage import Storage
from crmkit.programmes import Reward
from crmkit.testing import FrozenClock
from tests.rewards import NOW, PROGRAMME, against, balance, left, refused


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    settings = Settings(programmes=[PROGRAMME], timezone="Europe/Bucharest")
    return CRMService(storage, clock=clock, settings=settings)


@pytest.fixture
def ana(crm: CRMService) -> str:
    found = crm.find_or_create({"name": "Ana", "birth_date": "1990-06-15"}).id
    crm.loyalty.update_points(found, 100, reason="gift")
    return found


# --- reserving ---


def test_points_are_taken_at_once_and_the_code_hands_the_reward_out(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    made = crm.loyalty.redeem(ana, "beer", actor="till 1")
    assert (made.state, made.cost, made.type) == ("reserved", 60, "FREE_BEVERAGE")
    assert (made.reserved_at, made.until) == (NOW, NOW + timedelta(days=2))
    assert balance(crm, ana) == 40
    clock.advance(hours=1)
    given = crm.loyalty.fulfil(made.code.lower().replace("-", " "), actor="bar")
    assert (given.id, given.state, given.fulfilled_at) == (made.id, "fulfilled", clock())
    assert balance(crm, ana) == 40
    assert [e.kind for e in crm.loyalty.history(ana)] == ["burn", "adjust"]


def test_a_reward_that_points_do_not_cover_takes_none(crm: CRMService, ana: str) -> None:
    crm.loyalty.redeem(ana, "beer")
    with pytest.raises(InsufficientPoints):
        crm.loyalty.redeem(ana, "beer")
    with pytest.raises(InsufficientPoints):
        crm.loyalty.redeem(crm.find_or_create({"name": "new"}).id, "beer")
    assert balance(crm, ana) == 40
    assert crm.loyalty.rewards.offers(ana)["beer"].missing == 20
    assert len(crm.loyalty.rewards.history(ana)) == 1


def test_what_expires_first_pays_and_returns_with_its_expiry(
    storage: Storage, clock: FrozenClock
) -> None:
    """Points that come back expire when they would have: late ones are gone at once."""
    programme = attrs.evolve(PROGRAMME, expires_days=10)
    crm = CRMService(storage, clock=clock, settings=Settings(programmes=[programme]))
    ana = crm.find_or_create({"name": "Ana"}).id
    for days in (0, 5):
        clock.set(NOW + timedelta(days=days))
        crm.loyalty.update_points(ana, 50, reason="gift")
    clock.set(NOW + timedelta(days=9, hours=13))
    made = crm.loyalty.redeem(ana, "beer")
    assert balance(crm, ana) == 40
    assert [e.points for e in crm.loyalty.expiring(ana, within="30d")] == [40]
    clock.advance(days=1)
    assert crm.loyalty.cancel(made.id, reason="changed her mind").state == "cancelled"
    assert balance(crm, ana) == 50
    told = crm.loyalty.history(ana)
    returned = [(e.points, e.reason) for e in told if e.kind == "return"]
    assert sorted(returned) == [(10, "changed her mind"), (50, "changed her mind")]


def test_the_same_key_reserves_once_and_gives_the_same_code(
    crm: CRMService, ana: str, storage: Storage
) -> None:
    """Also once it was handed out; other content is a conflict."""
    one = crm.loyalty.redeem(ana, "beer", key="k")
    assert crm.loyalty.redeem(ana, "beer", key="k").code == one.code
    crm.loyalty.fulfil(one.code)
    again = crm.loyalty.redeem(ana, "beer", key="k")
    assert (again.id, again.code, again.state) == (one.id, one.code, "fulfilled")
    for other in ("shirt", "water"):
        with pytest.raises(IdempotencyConflict):
            crm.loyalty.redeem(ana, other, key="k")
    bob = crm.find_or_create({"name": "Bob"}).id
    crm.loyalty.update_points(bob, 100, reason="gift")
    with pytest.raises(IdempotencyConflict):
        crm.loyalty.redeem(bob, "beer", key="k")
    assert (balance(crm, ana), balance(crm, bob)) == (40, 100)
    with storage.read(crm.tenant) as uow:
        assert uow.count(Redemption) == 1
        assert [r.code for r in uow.find(Redemption)] != [one.code]


def test_a_refused_call_leaves_its_key_free(crm: CRMService, ana: str) -> None:
    for _ in range(2):
        crm.loyalty.redeem(ana, "water")
    assert refused(lambda: crm.loyalty.redeem(ana, "water", key="k")) == "limit"
    assert crm.loyalty.redeem(ana, "beer", key="k").state == "reserved"


def test_each_condition_is_asked(crm: CRMService, ana: str, clock: FrozenClock) -> None:
    """What is offered, and what is refused, agree."""
    crm.track_activity(ana, "attendance")
    assert against(crm, ana, "lounge") == ["tier"]
    crm.loyalty.update_points(ana, 3_000, reason="gift")
    assert against(crm, ana, "lounge") == []
    assert against(crm, ana, "hello") == []
    crm.track_activity(ana, "purchase", {"amount": 5})
    assert against(crm, ana, "hello") == ["rule"]
    assert against(crm, ana, "table") == ["card"]
    assert against(crm, ana, "bottle") == ["party_size"]
    assert against(crm, ana, "bottle", 5) == ["party_size"]
    assert against(crm, ana, "bottle", 6) == []
    assert against(crm, ana, "autumn") == ["not_yet"]
    assert against(crm, ana, "entry") == []
    clock.set("2026-06-15T21:00:00Z")  # midnight there
    assert against(crm, ana, "entry") == ["birthday"]
    clock.set("2026-07-01T00:00:00Z")
    assert against(crm, ana, "bottle", 6) == ["birthday"]
    clock.set(NOW + timedelta(days=99))
    assert against(crm, ana, "autumn") == ["over"]


def test_what_is_to_come_can_be_asked(crm: CRMService, ana: str) -> None:
    """Offers as of an instant ahead: who has birthday then."""
    late = crm.loyalty.rewards.offers(ana, at=NOW + timedelta(days=1))
    assert [r.reason for r in late["entry"].why_not] == ["birthday"]
    assert crm.loyalty.rewards.offers(ana, at=NOW + timedelta(days=91))["autumn"].available


def test_a_limit_counts_what_stands_in_the_local_period(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    first, _ = (crm.loyalty.redeem(ana, "water") for _ in range(2))
    assert against(crm, ana, "water") == ["limit"]
    crm.loyalty.cancel(first.id)
    assert against(crm, ana, "water") == []
    crm.loyalty.redeem(ana, "water")
    clock.set("2026-06-15T20:59:59Z")
    assert against(crm, ana, "water") == ["limit"]
    clock.set("2026-06-15T21:00:00Z")
    assert against(crm, ana, "water") == []


def test_who_left_the_programme_gets_nothing_until_they_are_back(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    crm.loyalty.leave(ana)
    clock.advance(hours=1)
    assert against(crm, ana, "beer") == ["not_enrolled"]
    assert balance(crm, ana) == 100
    crm.loyalty.enrol(ana)
    clock.advance(hours=1)
    assert crm.loyalty.redeem(ana, "beer").state == "reserved"


def test_what_is_wrong_is_named(crm: CRMService, ana: str) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'beer'"):
        crm.loyalty.redeem(ana, "bear")
    for party in (0, -1, True, "6", 2.5):
        with pytest.raises(InvalidInput, match="party_size"):
            crm.loyalty.redeem(ana, "bottle", party_size=party)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="programme"):
        crm.loyalty.redeem(ana, "beer", programme="other")
    made = crm.loyalty.redeem(ana, "beer")
    for wrong in ({}, {"code": made.code, "redemption_id": made.id}):
        with pytest.raises(InvalidInput, match="code"):
            crm.loyalty.fulfil(**wrong)
    for code in ("ABCD-EFGH-JKMN-PQRS", "", made.id, "x" * 500):
        with pytest.raises(NotFound):
            crm.loyalty.fulfil(code)
    for call in (lambda i: crm.loyalty.fulfil(redemption_id=i), crm.loyalty.cancel):
        for nothing in ("none", "", made.code, None):
            with pytest.raises((NotFound, InvalidInput)):
                call(nothing)  # type: ignore[arg-type]
    for at in (NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)):
        for late in (crm.loyalty.cancel, lambda i, at: crm.loyalty.fulfil(redemption_id=i, at=at)):
            with pytest.raises(InvalidInput, match="at"):
                late(made.id, at=at)
    assert crm.loyalty.rewards.history(ana).items[0].state == "reserved"


# --- handing out and giving back ---


def test_a_code_is_used_once(crm: CRMService, ana: str) -> None:
    """A second scan is told so; a retry of the first one is not."""
    made = crm.loyalty.redeem(ana, "beer")
    first = crm.loyalty.fulfil(made.code, key="scan 1")
    assert crm.loyalty.fulfil(made.code, key="scan 1") == first
    assert crm.loyalty.fulfil(redemption_id=made.id, key="scan 1") == first
    assert refused(lambda: crm.loyalty.fulfil(made.code)) == "used"
    assert refused(lambda: crm.loyalty.fulfil(made.code, key="scan 2")) == "used"
    assert refused(lambda: crm.loyalty.cancel(made.id)) == "used"
    other = crm.loyalty.redeem(ana, "water")
    with pytest.raises(IdempotencyConflict):
        crm.loyalty.fulfil(other.code, key="scan 1")
    assert crm.loyalty.fulfil(other.code, key="scan 2").state == "fulfilled"


def test_what_was_cancelled_is_not_handed_out(
    crm: CRMService, ana: str, clock: FrozenClock, storage: Storage
) -> None:
    """Cancelling again changes nothing, and the points come back once."""
    made = crm.loyalty.redeem(ana, "beer")
    clock.advance(hours=3)
    when = NOW + timedelta(hours=1)
    gone = crm.loyalty.cancel(made.id, at=when, actor="desk", reason="closed")
    assert (gone.state, gone.cancelled_at) == ("cancelled", when)
    assert crm.loyalty.cancel(made.id, reason="other") == gone
    assert refused(lambda: crm.loyalty.fulfil(made.code)) == "cancelled"
    for at, expected in ((NOW, 40), (when - timedelta(seconds=1), 40), (when, 100)):
        assert crm.loyalty.account(ana, at=at).balance == expected
    with storage.read(crm.tenant) as uow:
        (kept,) = uow.find(Redemption)
        (back,) = uow.find(PointsEntry, kind="return")
        assert {lot.left for lot in uow.find(PointsLot)} == {100}
    assert (kept.ended_by, kept.reason) == (back.actor, back.reason) == ("desk", "closed")


@pytest.mark.parametrize("runs_due", [False, True])
def test_what_nobody_fetched_comes_back_whether_or_not_a_job_ran(
    crm: CRMService, ana: str, clock: FrozenClock, runs_due: bool
) -> None:
    """Points, stock, limits and history are the same before the job as after it."""
    beer, shirt = crm.loyalty.redeem(ana, "beer"), crm.loyalty.redeem(ana, "shirt")
    waters = [crm.loyalty.redeem(ana, "water") for _ in range(2)]
    assert (balance(crm, ana), left(crm)) == (30, 1)
    clock.advance(days=2, microseconds=-1)
    assert (balance(crm, ana), left(crm)) == (30, 1)
    clock.advance(microseconds=1)
    if runs_due:
        crm.run_due()
    assert (balance(crm, ana), left(crm)) == (100, 2)
    states = {r.id: (r.state, r.cancelled_at) for r in crm.loyalty.rewards.history(ana)}
    assert states[beer.id] == states[shirt.id] == ("lapsed", beer.until)
    assert {states[w.id] for w in waters} == {("reserved", None)}
    told = [(e.kind, e.points, e.occurred_at) for e in crm.loyalty.history(ana)]
    assert sorted(told[:2]) == [("return", 10, beer.until), ("return", 60, beer.until)]
    assert len({e.id for e in crm.loyalty.history(ana)}) == len(told) == 5
    assert refused(lambda: crm.loyalty.fulfil(beer.code)) == "lapsed"
    assert crm.loyalty.cancel(beer.id).state == "lapsed"
    assert crm.loyalty.account(ana, at=beer.until - timedelta(seconds=1)).balance == 30
    assert crm.loyalty.redeem(ana, "beer").state == "reserved"
    assert balance(crm, ana) == 40


def test_of_two_pages_of_history_the_second_goes_on(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    made: list[Redeemed] = []
    for _ in range(5):
        made.append(crm.loyalty.redeem(ana, "water"))
        clock.advance(days=1)
    first = crm.loyalty.rewards.history(ana, limit=3)
    rest = crm.loyalty.rewards.history(ana, limit=3, after=first.next)
    assert [r.id for r in (*first, *rest)] == [r.id for r in reversed(made)]
    assert rest.next is None


# --- stock ---


def test_stock_goes_down_and_comes_back(crm: CRMService, ana: str, storage: Storage) -> None:
    made = [crm.loyalty.redeem(ana, "shirt") for _ in range(2)]
    assert left(crm) == 0
    assert against(crm, ana, "shirt") == ["sold_out"]
    crm.loyalty.cancel(made[0].id)
    assert left(crm) == 1
    crm.loyalty.fulfil(made[1].code)
    assert left(crm) == 1
    with storage.read(crm.tenant) as uow:
        assert [(row.reward, row.level) for row in uow.find(RewardStock)] == [("shirt", -1)]
    assert balance(crm, ana) == 90


def test_the_last_ones_that_others_did_not_fetch_can_be_had(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    """No job ran: what others let lapse is put back for who asks."""
    bob = crm.find_or_create({"name": "Bob"}).id
    crm.loyalty.update_points(bob, 100, reason="gift")
    for _ in range(2):
        crm.loyalty.redeem(bob, "shirt")
    assert against(crm, ana, "shirt") == ["sold_out"]
    clock.advance(days=2)
    assert crm.loyalty.rewards.offers(ana)["shirt"].left == 2
    for n in (1, 0):
        assert crm.loyalty.redeem(ana, "shirt").state == "reserved"
        assert left(crm) == n
    assert (balance(crm, ana), balance(crm, bob)) == (80, 100)
    crm.run_due()
    assert (left(crm), balance(crm, bob)) == (0, 100)


def test_what_an_erased_customer_reserved_comes_back_to_the_stock(
    crm: CRMService, ana: str, clock: FrozenClock, storage: Storage
) -> None:
    """The sums of points stay, and the code is of no use."""
    bob = crm.find_or_create({"name": "Bob"}).id
    crm.loyalty.update_points(bob, 100, reason="gift")
    made = [crm.loyalty.redeem(bob, "shirt", key=f"k{n}") for n in range(2)]
    with storage.read(crm.tenant) as uow:
        before = uow.totals(PointsEntry, "points")
    crm.gdpr.erase(bob)
    with pytest.raises(NotFound):
        crm.loyalty.fulfil(made[0].code)
    calls: list[Callable[[], object]] = [
        lambda: crm.loyalty.cancel(made[0].id),
        lambda: crm.loyalty.fulfil(redemption_id=made[0].id),
        lambda: crm.loyalty.redeem(bob, "shirt", key="k0"),
    ]
    for call in calls:
        with pytest.raises(Erased):
            call()
    assert left(crm) == 0
    clock.advance(days=2)
    assert left(crm) == 2
    crm.loyalty.redeem(ana, "shirt")
    assert left(crm) == 1
    crm.run_due()
    assert left(crm) == 1
    with storage.read(crm.tenant) as uow:
        assert uow.totals(PointsEntry, "points") == {(): before[()] - 10}
        kept = [r for r in uow.find(Redemption) if r.customer_id is None]
    assert [(r.reward, r.cost, r.code, r.card) for r in kept] == [("shirt", 10, None, None)] * 2


def test_a_stock_that_is_lowered_below_what_is_out_is_sold_out(
    crm: CRMService, ana: str, storage: Storage, clock: FrozenClock
) -> None:
    for _ in range(2):
        crm.loyalty.redeem(ana, "shirt")
    less, more = (
        attrs.evolve(PROGRAMME, rewards=(Reward(name="shirt", cost=10, stock=n),), cards=())
        for n in (1, 3)
    )
    lower, higher = (
        CRMService(storage, clock=clock, settings=Settings(programmes=[p])) for p in (less, more)
    )
    assert left(lower) == 0
    assert against(lower, ana, "shirt") == ["sold_out"]
    assert left(higher) == 1
    assert higher.loyalty.redeem(ana, "shirt").state == "reserved"


# --- merging ---


def test_redemptions_move_with_a_merge_and_back(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    bob = crm.find_or_create({"name": "Bob"}).id
    crm.loyalty.update_points(bob, 80, reason="gift")
    hers, his = crm.loyalty.redeem(ana, "beer", key="a"), crm.loyalty.redeem(bob, "beer", key="b")
    merge = crm.identity.merge(ana, bob, reason="the same")
    assert balance(crm, ana) == balance(crm, bob) == 60
    assert {r.id for r in crm.loyalty.rewards.history(bob)} == {hers.id, his.id}
    assert crm.loyalty.redeem(bob, "beer", key="b").code == his.code
    assert crm.loyalty.fulfil(his.code).customer_id == ana
    crm.identity.unmerge(merge.id)
    assert (balance(crm, ana), balance(crm, bob)) == (40, 20)
    assert [r.id for r in crm.loyalty.rewards.history(bob)] == [his.id]
    assert [r.state for r in crm.loyalty.rewards.history(bob)] == ["fulfilled"]
    clock.advance(days=2)
    assert (balance(crm, ana), balance(crm, bob)) == (100, 20)
    crm.run_due()
    assert (balance(crm, ana), balance(crm, bob)) == (100, 20)


def test_a_free_reservation_lapses_after_a_merge_too(
    crm: CRMService, ana: str, clock: FrozenClock
) -> None:
    """The account that is made anew knows what is waited for."""
    merge = crm.identity.merge(
        ana, (bob := crm.find_or_create({"name": "Bob"}).id), reason="the same"
    )
    crm.loyalty.redeem(bob, "shirt")
    assert left(crm) == 1
    crm.identity.unmerge(merge.id)
    clock.advance(days=2)
    crm.run_due()
    assert (left(crm), balance(crm, ana), balance(crm, bob)) == (2, 100, 0)


def test_what_both_paid_for_is_cancelled_when_they_are_parted(
    crm: CRMService, ana: str, clock: FrozenClock, storage: Storage
) -> None:
    """What was handed out stays; of what waits, each has their own points back."""
    bob = crm.find_or_create({"name": "Bob"}).id
    crm.loyalty.update_points(bob, 80, reason="gift")
    merge = crm.identity.merge(ana, bob, reason="the same")
    made = [crm.loyalty.redeem(ana, "beer") for _ in range(3)]
    crm.loyalty.fulfil(made[0].code)
    assert balance(crm, ana) == 0
    crm.identity.unmerge(merge.id)
    states = {r.id: r.state for r in crm.loyalty.rewards.history(ana)}
    assert [states[r.id] for r in made] == ["fulfilled", "cancelled", "cancelled"]
    assert refused(lambda: crm.loyalty.fulfil(made[1].code)) == "cancelled"
    for _ in range(2):
        assert (balance(crm, ana), balance(crm, bob)) == (40, 80)
        clock.advance(days=2)
        crm.run_due()
    with storage.read(crm.tenant) as uow:
        for who in (ana, bob):
            lots = sum(lot.left for lot in uow.find(PointsLot, customer_id=who))
            assert lots == balance(crm, who)


# --- birthdays ---


def test_birthdays_to_come_are_told_a_page_at_a_time(
    crm: CRMService, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today's and those of the next days, by the local calendar; of leap days the 28th."""
    monkeypatch.setattr("crmkit.loyalty.offering._PAGE", 2)
    clock.set("2027-02-21T23:30:00Z")  # the 22nd there
    born = [
        "1990-02-21",
        "1991-02-22",
        "1992-02-29",
        "1993-03-01",
        "1994-03-02",
        None,
        "2000-01-01",
    ]
    people = [
        crm.find_or_create({"name": f"p{n}", "birth_date": day} if day else {"name": f"p{n}"}).id
        for n, day in enumerate(born)
    ]
    told = {b.customer_id: b.date.isoformat() for b in crm.loyalty.rewards.birthdays()}
    assert told == {
        people[1]: "2027-02-22",
        people[2]: "2027-02-28",
        people[3]: "2027-03-01",
    }
    assert len(list(crm.loyalty.rewards.birthdays(within="1d"))) == 1
    with pytest.raises(InvalidInput, match="within"):
        crm.loyalty.rewards.birthdays(within="soon")
