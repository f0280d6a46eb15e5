"""What segments promise on every storage: as objects, by hand, and how they change."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crmkit import (
    AlreadyTaken,
    CRMService,
    InvalidInput,
    NotFound,
    Programme,
    RuleError,
    Settings,
    Tier,
)
from crmkit.model import Metrics, SegmentState, SegmentStay
from crmkit.ports.storage import Storage
from crmkit.programmes import DEFAULT_TIERS
from crmkit.rules import did, f, in_segment
from crmkit.testing import FrozenClock

SPENT = f.total_spend >= 100


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock("2026-03-02T12:00:00Z")


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    return CRMService(storage, settings=Settings(timezone="Europe/Rome"), clock=clock)


def ana(crm: CRMService, name: str = "ana", **fields: object) -> str:
    return crm.find_or_create({"user_id": name, **fields}).id


def rows(crm: CRMService, kind: type) -> list[object]:
    with crm._runtime.read() as uow:
        found: list[object] = uow.find(kind)
        return found


def names(crm: CRMService, segment: str) -> list[str | None]:
    return [c.user_id for c in crm.segments.members(segment)]


def test_a_purchase_lets_in_and_a_refund_lets_out_at_their_instants(
    crm: CRMService, clock: FrozenClock
) -> None:
    who = ana(crm)
    crm.segments.create("spent", SPENT)
    bought = crm.track_activity(who, "purchase", {"order_id": "1", "amount": 150})
    came = clock()
    clock.advance(days=3)
    crm.activities.refund(bought.id, amount=100)
    (stay,) = rows(crm, SegmentStay)
    assert isinstance(stay, SegmentStay)
    assert (stay.entered_at, stay.left_at) == (came, clock())
    assert crm.segments.is_member(who, "spent", at=came)
    assert not crm.segments.is_member(who, "spent")


def test_time_lets_out_at_the_very_instant_however_late_it_runs(
    crm: CRMService, clock: FrozenClock
) -> None:
    who = ana(crm)
    crm.segments.create("active", f.last_purchase.within("90d"))
    crm.track_activity(who, "purchase", {"order_id": "1", "amount": 10})
    bought = clock()
    clock.advance(days=200)
    assert not crm.segments.is_member(who, "active")
    assert crm.segments.verify("active").pending == 1
    assert crm.run_due().done == 1
    (stay,) = rows(crm, SegmentStay)
    assert isinstance(stay, SegmentStay)
    assert stay.left_at == bought + timedelta(days=90)
    assert rows(crm, SegmentState) == []
    assert crm.run_due().done == 0


def test_time_is_not_let_run_ahead_of_the_clock(crm: CRMService, clock: FrozenClock) -> None:
    """Whoever asks for next year gets what is due by now."""
    who = ana(crm)
    crm.segments.create("active", f.last_purchase.within("90d"))
    crm.track_activity(who, "purchase", {"order_id": "1", "amount": 10})
    assert crm.run_due(clock() + timedelta(days=365)).at == clock()
    assert names(crm, "active") == ["ana"]


def test_a_late_fact_corrects_what_was_kept(crm: CRMService, clock: FrozenClock) -> None:
    """Told a week later, it counts from when it happened."""
    who = ana(crm)
    crm.segments.create("spent", SPENT)
    clock.advance(days=30)
    then = clock() - timedelta(days=7)
    crm.track_activity(who, "purchase", {"order_id": "1", "amount": 100}, at=then)
    (state,) = rows(crm, SegmentState)
    assert isinstance(state, SegmentState)
    assert state.since == then
    assert crm.segments.is_member(who, "spent", at=then)
    assert not crm.segments.is_member(who, "spent", at=then - timedelta(seconds=1))


def test_by_hand_is_stronger_than_the_rule(crm: CRMService, clock: FrozenClock) -> None:
    """Put in, kept out and taken back; the past stays as it was."""
    who = ana(crm)
    crm.segments.create("spent", SPENT)
    steps = []
    for act in (crm.segments.add, crm.segments.keep_out, crm.segments.remove):
        clock.advance(days=1)
        act(who, "spent")
        steps.append((clock(), crm.segments.is_member(who, "spent")))
    clock.advance(days=1)
    crm.track_activity(who, "purchase", {"order_id": "1", "amount": 100})
    clock.advance(days=1)
    crm.segments.keep_out(who, "spent")
    steps.append((clock(), crm.segments.is_member(who, "spent")))
    assert [inside for _, inside in steps] == [True, False, False, False]
    clock.advance(days=1)
    for at, inside in steps:
        assert crm.segments.is_member(who, "spent", at=at) is inside
        assert crm.segments.count("spent", at=at) == int(inside)
    assert crm.segments.verify("spent").exact


def test_a_segment_that_is_not_there_keeps_nobody_out(crm: CRMService) -> None:
    who = ana(crm)
    for act in (crm.segments.keep_out, crm.segments.remove):
        with pytest.raises(NotFound):
            act(who, "spnt")
    assert crm.segments.list() == ()


def test_a_new_rule_is_a_new_version(crm: CRMService, clock: FrozenClock) -> None:
    """Who comes or goes by it does so when it changes, and the history says by which."""
    rich, poor = ana(crm, "rich"), ana(crm, "poor")
    for who, amount in ((rich, 500), (poor, 50)):
        crm.track_activity(who, "purchase", {"order_id": who, "amount": amount})
    crm.segments.create("spent", SPENT)
    clock.advance(days=1)
    changed = crm.segments.change("spent", rules=f.total_spend.between(10, 100))
    assert (changed.version, changed.watched) == (2, True)
    assert names(crm, "spent") == ["poor"]
    (stay,) = rows(crm, SegmentStay)
    (state,) = rows(crm, SegmentState)
    assert isinstance(stay, SegmentStay)
    assert isinstance(state, SegmentState)
    assert (stay.customer_id, stay.left_at, stay.version) == (rich, clock(), 1)
    assert (state.customer_id, state.since, state.version) == (poor, clock(), 2)
    versions = crm.segments.analytics.versions("spent")
    assert [v.version for v in versions] == [1, 2]
    assert versions[0].rules == SPENT.to_dict()


def test_a_rule_that_cannot_be_read_changes_nothing(crm: CRMService) -> None:
    made = crm.segments.create("spent", SPENT)
    with pytest.raises(RuleError, match="did you mean"):
        crm.segments.change("spent", rules={"field": "total_spnd", "operator": ">", "value": 1})
    crm.segments.create("friends")
    with pytest.raises(InvalidInput, match="rules"):
        crm.segments.change("friends", rules=SPENT)
    assert crm.segments.get("spent").version == made.version


def test_a_renamed_segment_is_still_asked_for(crm: CRMService) -> None:
    """By its new name, in the rules of others; the old name is free again."""
    who = ana(crm, city="Cluj")
    crm.track_activity(who, "purchase", {"order_id": "1", "amount": 100})
    crm.segments.create("spent", SPENT)
    crm.segments.create("local", in_segment("spent") & (f.city == "Cluj"))
    listed = {"field": "segment", "operator": "in", "value": ["spent", "local"]}
    crm.segments.create("either", listed)
    crm.segments.change("spent", rename="big spenders")
    assert names(crm, "local") == names(crm, "either") == ["ana"]
    with pytest.raises(AlreadyTaken):
        crm.segments.change("local", rename="either")
    crm.segments.create("spent", f.total_spend < 0)
    assert names(crm, "local") == ["ana"]


def test_who_asks_for_a_segment_follows_its_rule(crm: CRMService, clock: FrozenClock) -> None:
    """A new rule of the one lets come and go in the other, at the same instant."""
    who = ana(crm, city="Cluj")
    crm.segments.create("spent", SPENT)
    crm.segments.create("local", in_segment("spent") & (f.city == "Cluj"))
    clock.advance(days=1)
    crm.segments.change("spent", rules=f.total_spend >= 0)
    assert crm.segments.segments_of(who) == ("local", "spent")
    states = [s for s in rows(crm, SegmentState) if isinstance(s, SegmentState)]
    assert {s.since for s in states} == {clock()}
    assert len(states) == 2
    assert crm.segments.verify("local").exact


def test_segments_do_not_ask_in_a_circle(crm: CRMService) -> None:
    crm.segments.create("a", SPENT)
    crm.segments.create("b", in_segment("a"))
    crm.segments.create("c", in_segment("b"))
    with pytest.raises(RuleError, match="a → c → b → a"):
        crm.segments.change("a", rules=in_segment("c"))
    with pytest.raises(RuleError, match="circle"):
        crm.segments.create("d", in_segment("d"))
    with pytest.raises(RuleError, match="did you mean"):
        crm.segments.create("e", in_segment("bb"))


def test_an_archived_segment_lets_go_and_keeps_its_history(
    crm: CRMService, clock: FrozenClock
) -> None:
    who = ana(crm)
    crm.track_activity(who, "purchase", {"order_id": "1", "amount": 100})
    crm.segments.create("spent", SPENT)
    crm.segments.create("local", in_segment("spent"))
    with pytest.raises(InvalidInput, match="local"):
        crm.segments.change("spent", archived=True)
    crm.segments.change("local", archived=True)
    clock.advance(days=1)
    archived = crm.segments.change("spent", archived=True)
    assert archived.archived_at == clock()
    assert crm.segments.list() == ()
    assert [s.name for s in crm.segments.list(archived=True)] == ["local", "spent"]
    assert crm.segments.segments_of(who) == ()
    assert crm.segments.count("spent") == 0
    assert not crm.segments.is_member(who, "spent")
    assert crm.segments.is_member(who, "spent", at=clock() - timedelta(seconds=1))
    with pytest.raises(InvalidInput, match="archived"):
        crm.segments.explain(who, "spent")
    (stay,) = [s for s in rows(crm, SegmentStay) if s.segment_id == archived.id]  # type: ignore[attr-defined]
    assert isinstance(stay, SegmentStay)
    assert stay.left_at == clock()
    clock.advance(days=1)
    assert crm.segments.change("spent", archived=False).version == 2
    assert crm.segments.segments_of(who) == ("spent",)
    assert crm.segments.verify("spent").exact


def test_an_archived_segment_is_renamed_with_what_it_asks_for(crm: CRMService) -> None:
    """So that it asks for the same when it comes back, whatever has the old name by then."""
    who = ana(crm)
    crm.segments.create("a", f.user_id.exists())
    crm.segments.create("b", in_segment("a"))
    crm.segments.change("b", archived=True)
    crm.segments.change("a", rename="a2")
    crm.segments.create("a", SPENT)
    crm.segments.change("b", archived=False)
    assert set(crm.segments.segments_of(who)) == {"a2", "b"}


def test_nobody_is_put_into_an_archived_segment(crm: CRMService) -> None:
    who = ana(crm)
    crm.segments.create("spent", SPENT)
    crm.segments.change("spent", archived=True)
    for act in (crm.segments.add, crm.segments.keep_out):
        with pytest.raises(InvalidInput, match="archived"):
            act(who, "spent")
    with pytest.raises(AlreadyTaken, match="archived"):
        crm.segments.create("spent", SPENT)
    assert crm.segments.analytics.compare("spent", "spent").both == 0


def test_segments_that_double_each_other_are_refused(crm: CRMService) -> None:
    """Before they are many: each asks twice for the one before."""
    crm.segments.create("s0", SPENT)

    def double() -> None:
        for n in range(1, 40):
            crm.segments.create(f"s{n}", in_segment(f"s{n - 1}") | ~in_segment(f"s{n - 1}"))

    with pytest.raises(RuleError, match="5,000 conditions"):
        double()


def test_a_change_that_breaks_who_asks_for_it_is_refused(crm: CRMService) -> None:
    """Neither changes, and both still answer."""
    many = {"operator": "or", "conditions": [
        {"did": "visit", "within": f"{n + 1}d", "count": 2} for n in range(900)
    ]}  # fmt: skip
    crm.segments.create("a", SPENT)
    six = in_segment("a")
    for _ in range(5):
        six = six & in_segment("a")
    crm.segments.create("b", six)
    with pytest.raises(RuleError):
        crm.segments.change("a", rules=many)
    assert crm.segments.get("a").version == 1
    assert crm.segments.count("b") == 0


def test_a_rule_that_settings_no_longer_know_is_named(storage: Storage) -> None:
    CRMService(storage).segments.create("gold", f.tier >= "GOLD")
    poorer = CRMService(storage, settings=Settings(programmes=[Programme(tiers=DEFAULT_TIERS[:1])]))
    with pytest.raises(RuleError, match="'gold'"):
        poorer.segments.count("gold")


def test_other_settings_let_come_and_go_from_when_time_runs(
    storage: Storage, clock: FrozenClock
) -> None:
    """A tier that begins later, with the instant at which it was noticed."""
    crm = CRMService(storage, clock=clock)
    who = ana(crm)
    crm.loyalty.update_points(who, 1_500, reason="welcome")
    crm.segments.create("silver", f.tier >= "SILVER")
    clock.advance(days=1)
    tiers = (Tier("BRONZE", 0), Tier("SILVER", 5_000))
    later = CRMService(storage, settings=Settings(programmes=[Programme(tiers=tiers)]), clock=clock)
    assert later.segments.is_member(who, "silver")
    later.run_due()
    assert not later.segments.is_member(who, "silver")
    assert later.segments.verify("silver").exact
    (stay,) = rows(later, SegmentStay)
    assert isinstance(stay, SegmentStay)
    assert stay.left_at == clock()


def test_a_preview_saves_nothing(crm: CRMService) -> None:
    """It counts, shows some, and parts them by band."""
    for n in range(3):
        crm.track_activity(ana(crm, f"p{n}"), "purchase", {"order_id": str(n), "amount": 300 * n})
    seen = crm.segments.preview(f.total_spend >= 300, sample=1)
    assert (seen.count, [c.user_id for c in seen.sample]) == (2, ["p1"])
    assert seen.bands["spending"] == {"low": 0, "medium": 1, "high": 1, "vip": 0}
    assert sum(seen.bands["lifecycle"].values()) == sum(seen.bands["frequency"].values()) == 2
    assert crm.segments.list() == ()
    with pytest.raises(InvalidInput, match="limit"):
        crm.segments.preview(SPENT, sample=-1)


def test_bands_of_rules_are_bands_of_insights(crm: CRMService, clock: FrozenClock) -> None:
    """To the microsecond at which one becomes the next."""
    made = [ana(crm, f"p{n}") for n in range(4)]
    for n, who in enumerate(made):
        amount = (99.99, 100, 1000, 1000.01)[n]
        crm.track_activity(who, "purchase", {"order_id": who, "amount": amount})
    start, moment = clock(), timedelta(microseconds=1)
    for edge in (30, 90, 180):
        for at in (-moment, timedelta(0), moment):
            clock.set(start + timedelta(days=edge) + at)
            bands = crm.segments.preview(f.total_spend >= 0).bands
            told = [crm.insights.for_customer(who) for who in made]
            for band, count in bands["lifecycle"].items():
                assert count == sum(t.lifecycle_stage == band for t in told), (edge, at, band)
            for band, count in bands["spending"].items():
                assert count == sum(t.spending_band == band for t in told)


def test_limits_of_a_rule_are_those_that_are_promised(crm: CRMService) -> None:
    """A thousand conditions and sixteen levels are kept as they are."""
    wide = {"operator": "or", "conditions": [
        {"field": "total_spend", "operator": ">", "value": n} for n in range(999)
    ]}  # fmt: skip
    deep: dict[str, object] = {"field": "total_spend", "operator": ">", "value": 1}
    for _ in range(15):
        deep = {"operator": "not", "conditions": [deep]}
    for name, rule in (("wide", wide), ("deep", deep)):
        assert crm.segments.create(name, rule).rules == rule
        assert crm.segments.count(name) == 0


def test_numbers_that_are_put_right_are_asked_anew(crm: CRMService) -> None:
    """What a mistaken hand had written into the metrics, `rebuild` corrects everywhere."""
    who = ana(crm)
    crm.segments.create("spent", SPENT)
    crm.segments.create("first", {"field": "total_spend", "operator": "top_count", "value": 1})
    crm.track_activity(who, "purchase", {"order_id": "1", "amount": 150})
    crm._runtime.write(lambda uow: uow.change(Metrics, {"spend_minor": 0}, customer_id=who))
    crm.customers.update(who, {"city": "Cluj"})
    crm.track_activity(who, "visit")
    assert names(crm, "spent") == []
    assert crm.activities.rebuild() == 1
    assert names(crm, "spent") == names(crm, "first") == ["ana"]
    assert crm.segments.verify("spent").exact
    assert crm.segments.verify("first").exact


def test_what_lies_ahead_counts_for_nobody_yet(crm: CRMService, clock: FrozenClock) -> None:
    """Neither for who it is about, nor for the rank of others; from its instant on it does."""
    one, other = ana(crm, "one"), ana(crm, "other")
    ahead = clock() + timedelta(days=60)
    crm.track_activity(one, "purchase", {"order_id": "1", "amount": 100})
    crm.track_activity(other, "purchase", {"order_id": "2", "amount": 900}, at=ahead)
    crm.segments.create("first", {"field": "total_spend", "operator": "top_count", "value": 1})
    crm.segments.create("rich", f.total_spend >= 500)
    assert (names(crm, "first"), names(crm, "rich")) == (["one"], [])
    assert (crm.segments.count("first"), crm.segments.count("rich")) == (1, 0)
    assert crm.segments.is_member(one, "first")
    clock.set(ahead)
    crm.run_due()
    assert names(crm, "first") == names(crm, "rich") == ["other"]
    assert crm.segments.verify("rich").exact


def test_members_of_the_past_are_those_of_then(crm: CRMService, clock: FrozenClock) -> None:
    """Profile, tags, consents, points and deeds, as they were at the instant."""
    who = ana(crm, city="Cluj", tags=["vip"])
    crm.gdpr.consents.give(who, "email", source="form")
    crm.loyalty.update_points(who, 100, reason="welcome")
    crm.track_activity(who, "visit")
    then = clock()
    clock.advance(days=40)
    crm.customers.update(who, {"city": "Roma"})
    crm.customers.untag(who, "vip")
    crm.gdpr.consents.withdraw(who, "email")
    crm.loyalty.update_points(who, -100, reason="used")
    clock.advance(days=1)
    rules = {
        "city": f.city == "Cluj",
        "tag": f.tags.contains("vip"),
        "consent": f["consent.marketing_email"] == True,  # noqa: E712 - a rule
        "points": f.points >= 100,
        "deed": did("visit", within="30d").count >= 1,
    }
    for name, rule in rules.items():
        crm.segments.create(name, rule)
        assert names(crm, name) == [], name
        assert [c.id for c in crm.segments.members(name, at=then)] == [who], name
        assert crm.segments.count(name, at=then) == 1, name
    assert set(crm.segments.segments_of(who, at=then)) == set(rules)
