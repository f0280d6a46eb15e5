"""Figures about segments, on every storage, against what single answers add up to."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crmkit import CRMService, InvalidInput, Money, NotFound, Settings, presets
from crmkit.ports.storage import Storage
from crmkit.rules import did, f
from crmkit.segmentation.figures import Group, Overview, Stay
from crmkit.testing import FrozenClock
from tests.guests import NOW, Guest, guests

THEN = NOW - timedelta(days=60)
BANDS = {
    "spending_tiers": "spending_band",
    "frequency_tiers": "frequency_band",
    "lifecycle_stages": "lifecycle_stage",
}
FAVOURITES = {
    "game_preferences": "favourite_item",
    "category_preferences": "favourite_category",
    "venue_preferences": "preferred_venue",
}


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def crm(storage: Storage, clock: FrozenClock) -> CRMService:
    return CRMService(storage, clock=clock)


@pytest.fixture
def made(crm: CRMService) -> list[Guest]:
    return guests(crm, 60, seed=3)


def _groups(overview: Overview) -> list[Group]:
    return [group for kind in (*BANDS, *FAVOURITES) for group in getattr(overview, kind)]


def _all(crm: CRMService, group: Group, limit: int) -> list[str]:
    found, after = list[str](), None
    while True:
        page = crm.segments.analytics.customers(group, limit=limit, after=after)
        found += [c.id for c in page]
        after = page.next
        if after is None:
            return found


class TestOverview:
    """S-40: bands and preferences, with counts and customers."""

    @pytest.mark.parametrize("at", [None, THEN], ids=["now", "then"])
    def test_it_adds_up_the_insights_of_each(
        self, crm: CRMService, made: list[Guest], at: datetime | None
    ) -> None:
        """At an instant of the past too; who came later is not in it."""
        late = crm.find_or_create({"name": "came lately"}).id
        known = [g.id for g in made] + ([late] if at is None else [])
        told = [crm.insights.for_customer(customer_id, at=at) for customer_id in known]
        overview = crm.segments.analytics.overview(at=at)
        assert overview.at == (at or NOW)
        for kind, name in BANDS.items():
            counts = Counter(getattr(one, name) for one in told)
            groups = {g.name: g.count for g in getattr(overview, kind)}
            assert groups == {band: counts[band] for band in groups}
            assert sum(groups.values()) == len(known)
        for kind, name in FAVOURITES.items():
            chosen = Counter(getattr(one, name).value for one in told if getattr(one, name))
            assert {g.name: g.count for g in getattr(overview, kind)} == chosen
            assert chosen

    @pytest.mark.parametrize("at", [None, THEN], ids=["now", "then"])
    def test_the_customers_of_a_group_come_page_by_page(
        self, crm: CRMService, made: list[Guest], at: datetime | None
    ) -> None:
        told = {g.id: crm.insights.for_customer(g.id, at=at) for g in made}
        for group in _groups(crm.segments.analytics.overview(at=at)):
            found = _all(crm, group, limit=3)
            assert len(found) == group.count
            assert found == sorted(found)
            name = (BANDS | FAVOURITES)[group.kind]
            for customer_id in found:
                said = getattr(told[customer_id], name)
                assert getattr(said, "value", said) == group.name

    def test_the_largest_preference_comes_first_by_its_last_name(self, crm: CRMService) -> None:
        for n, (venue, label) in enumerate((("v1", "Old"), ("v2", "North"), ("v1", "New"))):
            guest = crm.find_or_create({"email": f"{n}@mail.com"})
            crm.track_activity(guest.id, "visit", {"venue_id": venue, "venue": label},
                               at=NOW - timedelta(days=9 - n))  # fmt: skip
        found = crm.segments.analytics.overview().venue_preferences
        assert [(g.name, g.label, g.count) for g in found] == [("v1", "New", 2), ("v2", "North", 1)]

    def test_nobody_is_in_it_before_anybody_is_known(self, crm: CRMService) -> None:
        assert all(g.count == 0 for g in _groups(crm.segments.analytics.overview()))

    @pytest.mark.parametrize(("kind", "name"), [("bands", "vip"), ("spending_tiers", "gold")])
    def test_a_group_that_is_none_is_refused(self, crm: CRMService, kind: str, name: str) -> None:
        with pytest.raises(InvalidInput, match="group: unknown"):
            crm.segments.analytics.customers(Group(kind, name, name, 0, NOW))


class TestDistribution:
    @pytest.mark.parametrize("at", [None, THEN], ids=["now", "then"])
    def test_each_segment_has_its_share_of_all(
        self, crm: CRMService, made: list[Guest], at: datetime | None
    ) -> None:
        """S-12: the largest first; of all who were known by then."""
        crm.find_or_create({"name": "came lately"})
        crm.segments.install(presets.spending())
        crm.segments.create("nobody", f.total_visits > 999)
        found = crm.segments.analytics.distribution(at=at)
        assert found.customers == len(made) + (at is None)
        counts = [s.count for s in found.segments]
        assert counts == sorted(counts, reverse=True)
        assert {s.name: s.count for s in found.segments} == {
            s.name: crm.segments.count(s.name, at=at) for s in crm.segments.list()
        }
        assert sum(s.share for s in found.segments) == pytest.approx(1)

    def test_without_customers_every_share_is_zero(self, crm: CRMService) -> None:
        crm.segments.install(presets.spending())
        assert {s.share for s in crm.segments.analytics.distribution().segments} == {0.0}


class TestComparison:
    """S-10: segments beside each other."""

    @pytest.mark.parametrize("at", [None, THEN], ids=["now", "then"])
    def test_two_segments_as_sets(
        self, crm: CRMService, made: list[Guest], at: datetime | None
    ) -> None:
        crm.segments.create("spenders", f.total_spend >= 100)
        crm.segments.create("visitors", did("visit") | did("purchase"))
        sets = [{c.id for c in crm.segments.members(n, at=at)} for n in ("spenders", "visitors")]
        one, other = sets
        found = crm.segments.analytics.compare("spenders", "visitors", at=at)
        assert made
        assert (found.one.count, found.other.count) == (len(one), len(other))
        assert (found.only_one, found.only_other) == (len(one - other), len(other - one))
        assert found.both == len(one & other) > 0
        assert found.jaccard == len(one & other) / len(one | other)
        for side, members in zip((found.one, found.other), sets, strict=True):
            spent = sum(crm.insights.for_customer(c, at=at).total_spent.minor for c in members)
            assert side.spend == Money(spent, "EUR")
            assert side.average_spend == Money(round(spent / len(members)), "EUR")

    def test_two_empty_ones_have_nothing_to_compare(self, crm: CRMService) -> None:
        crm.segments.create("a")
        crm.segments.create("b")
        found = crm.segments.analytics.compare("a", "b")
        assert (found.both, found.jaccard, found.one.average_spend) == (0, None, None)

    def test_overlap_is_a_matrix(self, crm: CRMService, made: list[Guest]) -> None:
        names = crm.segments.install([presets.top_fans(30), presets.regulars(), presets.dormant()])
        found = crm.segments.analytics.overlap(names)
        members = [{c.id for c in crm.segments.members(n)} for n in names]
        assert made
        assert found.names == names
        assert found.counts == tuple(tuple(len(a & b) for b in members) for a in members)

    @pytest.mark.parametrize("names", [[], "vip", ["x"] * 31], ids=["none", "text", "many"])
    def test_what_is_no_list_of_segments_is_refused(self, crm: CRMService, names: Any) -> None:
        with pytest.raises(InvalidInput, match="names: expected a list of 1 to 30"):
            crm.segments.analytics.overlap(names)

    def test_a_misspelt_segment_is_told(self, crm: CRMService) -> None:
        crm.segments.create("regulars")
        with pytest.raises(NotFound, match="did you mean 'regulars'"):
            crm.segments.analytics.compare("regulars", "regular")


def _months(crm: CRMService, clock: FrozenClock) -> dict[datetime, set[str]]:
    """Half a year of visits with a scheduler; who was a member at the end of each month."""
    clock.set("2026-01-10T12:00:00Z")
    crm.segments.create("lately", f.last_visit.within("30d"))
    crm.segments.create("often", f.total_visits >= 3)
    ids = [crm.find_or_create({"email": f"{n}@mail.com"}).id for n in range(6)]
    members: dict[datetime, set[str]] = {}
    for week in range(26):
        for n, customer_id in enumerate(ids):
            if (week * 7 + n * 3) % (5 + 4 * n) < 2:
                crm.track_activity(customer_id, "visit")
        before = clock()
        if clock.advance(days=7).month != before.month:
            end = clock().replace(day=1, hour=0)
            members[end] = {c.id for c in crm.segments.members("lately", at=end - _TICK)}
        crm.run_due()
    return members


_TICK = timedelta(microseconds=1)


class TestOverTime:
    def test_growth_counts_comings_and_goings(self, crm: CRMService, clock: FrozenClock) -> None:
        """S-10: members at the end of each month are what the rule says of that instant."""
        members = _months(crm, clock)
        steps = crm.segments.analytics.growth("lately", "2026-01-01T00:00:00Z")
        assert [s.since for s in steps[1:]] == list(members) == [s.until for s in steps[:-1]]
        assert [s.members for s in steps[:-1]] == [len(m) for m in members.values()]
        assert steps[-1].members == crm.segments.count("lately")
        stays = crm.segments.analytics.history("lately", limit=1_000).items
        for step in steps:
            came = [s for s in stays if step.since <= s.entered_at < step.until]
            went = [s for s in stays if s.left_at and step.since <= s.left_at < step.until]
            assert (step.entered, step.left) == (len(came), len(went))
        assert sum(s.left for s in steps) > 3

    def test_growth_may_begin_in_the_midst(self, crm: CRMService, clock: FrozenClock) -> None:
        """Who came earlier is a member from the first step on."""
        _months(crm, clock)
        whole = crm.segments.analytics.growth("lately", "2026-01-01T00:00:00Z")
        part = crm.segments.analytics.growth(
            "lately", "2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z"
        )
        assert part == whole[2:4]

    def test_steps_follow_the_calendar_of_the_place(self, storage: Storage) -> None:
        settings = Settings(timezone="Europe/Bucharest")
        crm = CRMService(storage, clock=FrozenClock(NOW), settings=settings)
        crm.segments.create("all")
        steps = crm.segments.analytics.growth("all", "2026-03-28T12:00:00Z", step="day")
        assert [s.since.isoformat() for s in steps[:3]] == [
            "2026-03-28T12:00:00+00:00",
            "2026-03-28T22:00:00+00:00",
            "2026-03-29T21:00:00+00:00",  # clocks were turned
        ]

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"step": "hour"}, "step: unknown step 'hour'"),
            ({"until": "2026-01-01T00:00:00Z"}, "since: expected an instant before"),
            ({"since": "1990-01-01T00:00:00Z", "step": "day"}, "step: more than 1,000"),
        ],
        ids=["unknown step", "no time", "too many"],
    )
    def test_what_is_no_series_is_refused(
        self, crm: CRMService, more: dict[str, str], message: str
    ) -> None:
        crm.segments.create("all")
        with pytest.raises(InvalidInput, match=message):
            crm.segments.analytics.growth("all", **({"since": "2026-01-01T00:00:00Z"} | more))

    def test_history_comes_page_by_page_the_latest_first(
        self, crm: CRMService, clock: FrozenClock
    ) -> None:
        """All stays once, those that go on and those that are over."""
        _months(crm, clock)
        whole = crm.segments.analytics.history("lately", limit=1_000).items
        assert list(whole) == sorted(whole, key=lambda s: (s.entered_at, s.customer_id))[::-1]
        paged, after = list[Stay](), None
        while True:
            page = crm.segments.analytics.history("lately", limit=2, after=after)
            paged += page
            after = page.next
            if after is None:
                break
        assert paged == list(whole)
        inside = {s.customer_id for s in whole if s.left_at is None}
        assert inside == {c.id for c in crm.segments.members("lately")}
        assert len(whole) > len(inside) > 0

    def test_history_of_a_customer_names_the_segments(
        self, crm: CRMService, clock: FrozenClock
    ) -> None:
        _months(crm, clock)
        (guest, *_) = crm.segments.members("often")
        stays = crm.segments.analytics.history(customer_id=guest.id)
        assert {s.segment for s in stays} == {"lately", "often"}
        assert {s.customer_id for s in stays} == {guest.id}
        for stay in stays:
            came = stay.entered_at
            assert crm.segments.is_member(guest.id, stay.segment, at=came)
            assert not crm.segments.is_member(guest.id, stay.segment, at=came - _TICK)
        only = crm.segments.analytics.history("often", customer_id=guest.id)
        assert [s.segment for s in only] == ["often"]

    def test_history_outlives_the_segment(self, crm: CRMService, clock: FrozenClock) -> None:
        """Archiving lets the members go."""
        ana = crm.find_or_create({"name": "Ana"})
        crm.add_to_segment(ana.id, "friends")
        left = clock.advance(days=1)
        crm.segments.change("friends", archived=True)
        stay = Stay("friends", ana.id, NOW, left, 1)
        assert crm.segments.analytics.history("friends").items == (stay,)
        assert crm.segments.analytics.history(customer_id=ana.id).items == (stay,)

    def test_history_says_by_which_version_they_came(
        self, crm: CRMService, clock: FrozenClock
    ) -> None:
        ana = crm.find_or_create({"name": "Ana", "city": "Cluj"})
        crm.segments.create("locals", f.city == "Iasi")
        entered = clock.advance(days=1)
        crm.segments.change("locals", rules=f.city == "Cluj")
        left = clock.advance(days=1)
        crm.segments.change("locals", archived=True)
        found = crm.segments.analytics.history("locals").items
        assert found == (Stay("locals", ana.id, entered, left, 2),)

    def test_history_of_nothing_is_refused(self, crm: CRMService) -> None:
        with pytest.raises(InvalidInput, match="name: expected a segment, or a customer_id"):
            crm.segments.analytics.history()
        with pytest.raises(InvalidInput, match="after: not a cursor"):
            crm.segments.analytics.history("x", after="x")


class TestExport:
    """S-11: a segment as CSV."""

    def test_the_columns_that_are_chosen(self, crm: CRMService) -> None:
        ana = crm.find_or_create(
            {
                "name": "Ana",
                "email": "ana@mail.com",
                "birth_date": "1990-06-16",
                "tags": ["vip", "early"],
                "custom": {"table": 7},
            }
        )
        crm.track_activity(ana.id, "purchase", {"amount": "100.50"}, at=THEN)
        crm.track_activity(ana.id, "purchase", {"amount": "50.25"}, at=THEN)
        crm.segments.create("all", f.total_orders >= 0)
        columns = {
            "id": ana.id,
            "full_name": "Ana",
            "phone": "",
            "age": "35",
            "birth_date": "1990-06-16",
            "tags": "early; vip",
            "custom.table": "7",
            "custom.none": "",
            "total_spend": "150.75",
            "average_order_value": "75.38",
            "total_orders": "2",
            "last_purchase": "2026-04-16T12:07:00Z",
            "tier": "BRONZE",
            "points": "0",
            "consent.marketing_email": "no",
            "lifecycle_stage": "active",
            "spending_band": "medium",
            "frequency_band": "none",
        }
        out = io.StringIO()
        assert crm.segments.analytics.export("all", out, tuple(columns)) == 1
        assert list(csv.DictReader(io.StringIO(out.getvalue()))) == [columns]

    def test_no_cell_is_a_formula(self, crm: CRMService) -> None:
        """Nor is a phone number; what a guest typed comes back with an apostrophe before it."""
        formula = '=HYPERLINK("http://evil","x")'
        guest = {"name": formula, "phone": "+40722123456", "city": "@SUM(1)", "tags": ["-1+1"]}
        crm.find_or_create({**guest, "custom": {"a": "+1"}})
        crm.segments.create("all", f.total_orders >= 0)
        out = io.StringIO()
        columns = ("full_name", "name", "phone", "city", "tags", "custom.a")
        crm.segments.analytics.export("all", out, columns)
        (row,) = list(csv.reader(io.StringIO(out.getvalue())))[1:]
        assert row == [f"'{formula}"] * 2 + ["'+40722123456", "'@SUM(1)", "'-1+1", "'+1"]

    def test_everybody_is_on_it_once(self, crm: CRMService) -> None:
        """However many pages they take."""
        ids = [crm.find_or_create({"email": f"{n}@mail.com"}).id for n in range(205)]
        crm.segments.create("all", f.total_orders >= 0)
        out = io.StringIO()
        assert crm.segments.analytics.export("all", out) == 205
        assert [row["id"] for row in csv.DictReader(io.StringIO(out.getvalue()))] == sorted(ids)

    def test_it_tells_of_another_instant(self, crm: CRMService, made: list[Guest]) -> None:
        crm.segments.create("spenders", f.total_spend > 0)
        out = io.StringIO()
        columns = ("id", "total_bookings", "spending_band", "lifecycle_stage")
        crm.segments.analytics.export("spenders", out, columns, at=THEN)
        found = list(csv.DictReader(io.StringIO(out.getvalue())))
        members = [c.id for c in crm.segments.members("spenders", at=THEN)]
        assert made
        assert [row["id"] for row in found] == members
        for row in found:
            told = crm.insights.for_customer(row["id"], at=THEN)
            assert row["total_bookings"] == str(told.total_bookings)
            assert row["spending_band"] == told.spending_band
            assert row["lifecycle_stage"] == told.lifecycle_stage

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (["emial"], "unknown column 'emial'; did you mean 'email'"),
            (["location"], "unknown column 'location'"),
            ([7], "unknown column '7'"),
            ([], "expected a list of columns"),
            ("email", "expected a list of columns"),
        ],
    )
    def test_what_is_no_column_is_refused(
        self, crm: CRMService, columns: Any, message: str
    ) -> None:
        """Before anything is written."""
        crm.segments.create("all")
        out = io.StringIO()
        with pytest.raises(InvalidInput, match=message):
            crm.segments.analytics.export("all", out, columns)
        assert out.getvalue() == ""


class TestMetadata:
    """S-39: what a host keeps of a customer."""

    def test_the_whole_document(self, crm: CRMService) -> None:
        ana = crm.find_or_create({"name": "Ana", "tags": ["vip", "early"]}, at=THEN)
        for n in range(2):
            crm.track_activity(
                ana.id,
                "booking",
                {"booking_id": str(n), "amount": 90, "game_id": "g1", "game": "Crypt",
                 "venue_id": "v1", "venue": "Centre"},
                at=datetime(2026, 5, 10 + n, 20, tzinfo=UTC),
            )  # fmt: skip
        crm.segments.install([*presets.spending(), presets.fan_of("g1", times=2)])
        assert crm.segments.analytics.metadata(ana.id).to_dict() == {
            "segments": ["fans of g1", "spending_medium"],
            "favorite_game_id": "g1",
            "favorite_game_name": "Crypt",
            "preferred_venue_id": "v1",
            "preferred_venue_name": "Centre",
            "lifecycle_stage": "active",
            "spending_tier": "medium",
            "frequency_tier": "occasional",
            "last_booking_date": "2026-05-11T20:00:00Z",
            "days_since_last_visit": 34,
            "average_booking_value": 90.0,
            "booking_frequency_per_month": pytest.approx(2 / (35.6715 / 30.4375), rel=1e-4),
            "marketing_tags": ["early", "vip"],
        }

    def test_of_another_instant(self, crm: CRMService, clock: FrozenClock) -> None:
        """Also what was tagged since then is not there yet."""
        ana = crm.find_or_create({"name": "Ana"})
        crm.segments.create("buyers", f.total_orders > 0)
        clock.advance(days=1)
        crm.customers.tag(ana.id, "vip")
        crm.track_activity(ana.id, "purchase", {"amount": 700, "venue": "Centre"})
        then = crm.segments.analytics.metadata(ana.id, at=NOW).to_dict()
        assert (then["segments"], then["marketing_tags"]) == ([], [])
        assert (then["spending_tier"], then["preferred_venue_id"]) == ("low", None)
        now = crm.segments.analytics.metadata(ana.id).to_dict()
        assert (now["segments"], now["marketing_tags"]) == (["buyers"], ["vip"])
        assert (now["spending_tier"], now["preferred_venue_id"]) == ("high", "Centre")

    def test_an_id_that_was_merged_away_leads_on(self, crm: CRMService) -> None:
        one, other = crm.find_or_create({"name": "Ana"}), crm.find_or_create({"name": "Dan"})
        crm.track_activity(other.id, "purchase", {"amount": 700})
        crm.segments.install(presets.spending())
        crm.identity.merge(one.id, other.id, reason="the same")
        assert crm.segments.analytics.metadata(other.id).segments == ("spending_high",)
        stays = crm.segments.analytics.history(customer_id=other.id)
        assert {s.customer_id for s in stays if s.left_at is None} == {one.id}
