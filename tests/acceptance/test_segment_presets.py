"""The segments that the sources name: installed, and held to a plain loop over the guests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs
import pytest

from crmkit import CRMService, InvalidInput, Kind, RuleError, Settings, presets
from crmkit.config import DEFAULT_KINDS
from crmkit.demo.bookings import PACKAGED
from crmkit.model import Activity
from crmkit.ports.storage import Storage
from crmkit.presets import Preset, SegmentDefinition
from crmkit.rules import f
from crmkit.testing import FrozenClock
from tests.guests import NOW, Fact, Guest, guests, top
from tests.mappings import BOOKINGS, LONDON, rows_of

Holds = Callable[[Guest], bool]
VERTICALS = (
    presets.nightclub,
    presets.restaurant,
    presets.escape_rooms,
    presets.playcentre,
    presets.ticketing,
)
VISITS = ("visit", "check_in", "attendance")


@pytest.fixture
def crm(storage: Storage) -> CRMService:
    return CRMService(storage, clock=FrozenClock(NOW))


def _abandoned(guest: Guest) -> bool:
    """Began a form in the last 7 days, and in the hour after it, which is over, got no ticket."""
    hour = timedelta(hours=1)
    tickets = [t.at for t in guest.did("ticket")]
    return any(
        step.at + hour < NOW and not any(step.at <= at <= step.at + hour for at in tickets)
        for step in guest.did("funnel_step", days=7, category="form_start")
    )


def _dormant(guest: Guest) -> bool:
    return (
        len(guest.did("message_delivered", days=90)) >= 3
        and not guest.did("message_opened", "message_clicked", days=90)
        and not guest.came_within(90)
    )


def _bands(preset: Preset) -> Mapping[str, Holds]:
    new, risk, gone = attrs.astuple(preset.lifecycle)
    return {
        "lifecycle_lead": lambda g: not g.came,
        "lifecycle_new": lambda g: g.new(new),
        "lifecycle_active": lambda g: bool(g.came) and not g.new(new) and g.came_within(risk),
        "lifecycle_at_risk": lambda g: (
            bool(g.came) and not g.new(new) and not g.came_within(risk) and g.came_within(gone)
        ),
        "lifecycle_churned": lambda g: bool(g.came) and not g.new(new) and not g.came_within(gone),
        "spending_low": lambda g: g.spent < 100,
        "spending_medium": lambda g: 100 <= g.spent < 500,
        "spending_high": lambda g: 500 <= g.spent <= 1000,
        "spending_vip": lambda g: g.spent > 1000,
        "frequency_none": lambda g: g.bookings == 0,
        "frequency_one_time": lambda g: g.bookings == 1,
        "frequency_occasional": lambda g: 2 <= g.bookings <= 4,
        "frequency_regular": lambda g: 5 <= g.bookings <= 10,
        "frequency_frequent": lambda g: g.bookings > 10,
        f"at_risk_{risk}d": lambda g: bool(g.came) and not g.came_within(risk),
    }


def _expected(made: Sequence[Guest]) -> Mapping[str, Holds]:
    spenders, fans = top(made, lambda g: g.spent, 10), top(made, lambda g: g.visits, 10)
    half_a_year = NOW.replace(year=2025, month=12)
    return {
        "vip_spenders": lambda g: g.id in spenders,
        "vip_value": lambda g: g.id in spenders,
        "vip_guests": lambda g: g.spent >= 500 and len(g.did("attendance")) >= 5,
        "high_spenders": lambda g: g.orders > 0 and g.spent > 100 * g.orders,
        "habituals": lambda g: len(g.did(*VISITS, days=30)) >= 4,
        "regulars": lambda g: len(g.did(*VISITS, days=30)) >= 2,
        "occasionals": lambda g: g.visits > 0 and len(g.did(*VISITS, days=30)) < 2,
        "top_fans": lambda g: g.id in fans,
        "influencers": lambda g: (g.followers or 0) > 10_000,
        "abandoned_carts": _abandoned,
        "dormant": _dormant,
        "occasion_diners": lambda g: (
            {"special_event"} == {b.payload["category"] for b in g.did("booking")}
        ),
        "email_subscribers": lambda g: g.subscribed,
        "loyalty_members": lambda g: g.points > 0,
        "platinum_party-regular": lambda g: (
            g.points >= 6_000 and "party-regular" in g.tags and g.bookings >= 5
        ),
        "not_purchased_6mo": lambda g: (
            bool(g.orders) and max(o.at for o in _ordered(g)) <= half_a_year
        ),
        "new_customers": lambda g: g.new(30),
        "fani-rock": lambda g: "rock" in g.genres,
        "fans of Crypt": lambda g: len(g.did("booking", game="Crypt")) >= 3,
        "special_event_fan": lambda g: len(g.did("booking", category="special_event")) >= 3,
        "regulars at North": lambda g: len(g.did("booking", venue="North")) >= 3,
    }


def _ordered(guest: Guest) -> list[Fact]:
    paid = [b for b in guest.did("booking") if "amount" in b.payload]
    return [*paid, *guest.did("purchase", "ticket")]


class TestInstalled:
    def test_every_segment_is_what_a_plain_loop_finds(self, crm: CRMService) -> None:
        """S-20 to S-41, each vertical with its thresholds, on every storage."""
        made = guests(crm, 160)
        expected = _expected(made)
        asked: set[str] = set()
        filled: set[str] = set()
        for vertical in VERTICALS:
            preset = vertical()
            crm.segments.install(preset, replace=True)
            for name in (of.name for of in preset):
                holds = {**expected, **_bands(preset)}[name]
                wanted = sorted(g.id for g in made if holds(g))
                assert [c.id for c in crm.segments.members(name)] == wanted, (preset.name, name)
                assert crm.segments.count(name) == len(wanted)
                asked.add(name)
                filled |= {name} if wanted else set()
        assert asked == filled  # or the loop has shown little

    def test_segments_of_tastes_are_what_a_plain_loop_finds(self, crm: CRMService) -> None:
        """S-23, S-24, S-28 and S-41: games, venues, new ones and fani-rock."""
        made = guests(crm, 100)
        tastes = (
            presets.new_customers(),
            presets.fans_of_genre("rock"),
            presets.fan_of("Crypt"),
            presets.fans_of_category("special_event"),
            presets.regular_at("North"),
        )
        names = crm.segments.install(tastes)
        assert names == tuple(of.name for of in tastes)
        expected = _expected(made)
        for name in names:
            wanted = sorted(g.id for g in made if expected[name](g))
            assert [c.id for c in crm.segments.members(name)] == wanted, name
            assert wanted

    def test_what_is_kept_of_them_is_exact(self, crm: CRMService) -> None:
        guests(crm, 60)
        for name in crm.segments.install(presets.nightclub()):
            assert crm.segments.verify(name).exact

    def test_installing_again_changes_nothing(self, crm: CRMService) -> None:
        first = crm.segments.install(presets.restaurant())
        kept = crm.segments.list()
        assert first == tuple(of.name for of in presets.restaurant())
        assert crm.segments.install(presets.restaurant()) == ()
        assert crm.segments.install(presets.restaurant(), replace=True) == ()
        assert crm.segments.list() == kept

    def test_what_is_there_stays_unless_it_is_to_be_replaced(self, crm: CRMService) -> None:
        """With `replace` it is given the preset's rule, as a new version."""
        mine = f.total_visits >= 1
        crm.segments.create("regulars", mine)
        assert "regulars" not in crm.segments.install(presets.restaurant())
        assert crm.segments.get("regulars").rules == mine.to_dict()
        assert crm.segments.install(presets.restaurant(), replace=True) == ("regulars",)
        replaced = crm.segments.get("regulars")
        assert replaced.rules == presets.regulars().rules
        assert (replaced.version, replaced.description) == (2, presets.regulars().description)

    def test_what_is_archived_stays_so(self, crm: CRMService) -> None:
        crm.segments.install([presets.top_fans()])
        crm.segments.change("top_fans", archived=True)
        assert crm.segments.install([presets.top_fans(20)], replace=True) == ()
        assert crm.segments.get("top_fans").archived_at is not None

    def test_a_rule_that_is_not_understood_leaves_nothing(self, storage: Storage) -> None:
        """All are read before one is made; the error names the segment and the path."""
        kinds = tuple(k for k in DEFAULT_KINDS if k.name != "ticket")
        crm = CRMService(storage, settings=Settings(kinds=kinds))
        with pytest.raises(RuleError, match=r"abandoned_carts: not_then.did: unknown kind"):
            crm.segments.install(presets.ticketing())
        assert crm.segments.list() == ()
        assert len(crm.segments.install(presets.ticketing().without("abandoned_carts"))) > 15

    def test_two_of_one_name_are_refused(self, crm: CRMService) -> None:
        with pytest.raises(InvalidInput, match="two segments of the name 'habituals'"):
            crm.segments.install([presets.habituals(), presets.habituals(8)])
        assert crm.segments.list() == ()

    def test_a_definition_of_your_own_is_installed_alike(self, crm: CRMService) -> None:
        mine = SegmentDefinition("locals", "from Cluj", f.city == "Cluj")
        assert crm.segments.install([mine, presets.top_fans()]) == ("locals", "top_fans")

    def test_the_steps_of_a_funnel_may_be_kinds_of_your_own(self, storage: Storage) -> None:
        """S-30 with a kind for the form: who bought a ticket in time did not abandon it."""
        clock = FrozenClock(NOW)
        settings = Settings(kinds=(*DEFAULT_KINDS, Kind(name="form_start")))
        crm = CRMService(storage, clock=clock, settings=settings)
        crm.segments.install([presets.abandoned_carts(started="form_start", category=None)])
        ana, dan = (crm.find_or_create({"name": n, "email": f"{n}@x.ro"}) for n in ("ana", "dan"))
        for guest in (ana, dan):
            crm.track_activity(guest.id, "form_start")
        clock.advance(minutes=20)
        crm.track_activity(ana.id, "ticket", {"ticket_id": "t1", "amount": 30})
        clock.advance(minutes=41)
        assert [c.id for c in crm.segments.members("abandoned_carts")] == [dan.id]


def test_a_real_table_gives_the_segments_of_a_plain_loop(storage: Storage) -> None:
    """Bookings of escape rooms, at the end of their year: one loop over the cells."""
    now = datetime(2012, 1, 1, tzinfo=LONDON)
    settings = Settings(currency="GBP", timezone="Europe/London")
    crm = CRMService(storage, clock=FrozenClock(now), settings=settings)
    # Some guests of the table were born later than they came.
    rows = [row for row in rows_of(PACKAGED)[::46] if row["birth_date"] < "2011"]
    assert crm.activities.sync(iter(rows), BOOKINGS).refused == 0
    crm.segments.install(presets.escape_rooms())
    with crm._runtime.read() as uow:
        owners = {a.reference: a.customer_id for a in uow.find(Activity)}
    came: dict[str | None, list[datetime]] = defaultdict(list)
    spent: Counter[str | None] = Counter()
    for row in rows:
        if row["status"] == "completed":
            owner = owners[row["booking_id"]]
            came[owner].append(datetime.fromisoformat(row["booked_at"]).replace(tzinfo=LONDON))
            spent[owner] += round(float(row["amount"]) * 100)
    days = {c: (now - max(all_of)) / timedelta(days=1) for c, all_of in came.items()}
    wanted = {
        "at_risk_90d": {c for c, n in days.items() if n >= 90},
        "lifecycle_churned": {c for c, n in days.items() if n >= 180},
        "spending_high": {c for c, n in spent.items() if 500_00 <= n <= 1000_00},
        "frequency_one_time": {c for c, all_of in came.items() if len(all_of) == 1},
        "frequency_occasional": {c for c, all_of in came.items() if 2 <= len(all_of) <= 4},
    }
    for name, ids in wanted.items():
        assert {c.id for c in crm.segments.members(name)} == ids, name
        assert 0 < len(ids) < len(came), name


class TestTheExamplesOfTheSources:
    def test_s_01_nested_groups(self, crm: CRMService) -> None:
        """Spend from 100 on, and a purchase within 90 days or three events."""
        rules = {
            "operator": "and",
            "conditions": [
                {"field": "total_spend", "operator": ">=", "value": 100},
                {
                    "operator": "or",
                    "conditions": [
                        {"field": "last_purchase", "operator": "within", "value": "90d"},
                        {"field": "events_attended", "operator": ">=", "value": 3},
                    ],
                },
            ],
        }
        made = guests(crm, 80)
        crm.segments.create("engaged", rules)
        wanted = {
            g.id
            for g in made
            if g.spent >= 100
            and (any(o.within(days=90) for o in _ordered(g)) or len(g.did("attendance")) >= 3)
        }
        assert {c.id for c in crm.segments.members("engaged")} == wanted
        assert 0 < len(wanted) < len(made)

    def test_s_03_the_payload_of_creation(self, crm: CRMService) -> None:
        """VIP: spend from 500 on, and five events."""
        payload = {
            "name": "VIP",
            "rules": {
                "operator": "and",
                "conditions": [
                    {"field": "total_spend", "operator": ">=", "value": 500},
                    {"field": "events_attended", "operator": ">=", "value": 5},
                ],
            },
            "auto_update": True,
        }
        ana = crm.find_or_create({"name": "Ana"})
        crm.segments.create(**payload)  # type: ignore[arg-type]
        for _ in range(5):
            assert crm.segments.count("VIP") == 0
            crm.track_activity(ana.id, "purchase", {"amount": 100})
            crm.track_activity(ana.id, "attendance")
        assert [c.id for c in crm.segments.members("VIP")] == [ana.id]
        assert presets.vip_guests().rules == payload["rules"]

    def test_s_38_tier_tag_and_bookings(self, crm: CRMService) -> None:
        """PLATINUM, tagged party-regular, five bookings or more."""
        rules = {
            "operator": "and",
            "conditions": [
                {"field": "tier", "operator": "=", "value": "PLATINUM"},
                {"field": "tags", "operator": "contains", "value": "party-regular"},
                {"field": "total_bookings", "operator": ">=", "value": 5},
            ],
        }
        crm.segments.create("list", rules)
        ana = crm.find_or_create({"name": "Ana", "tags": ["party-regular"]})
        crm.loyalty.update_points(ana.id, 6_000, reason="gift")
        for n in range(5):
            assert not crm.segments.is_member(ana.id, "list")
            crm.track_activity(ana.id, "booking", {"booking_id": str(n)})
        assert crm.segments.is_member(ana.id, "list")
        assert presets.tier_regulars().rules == rules
