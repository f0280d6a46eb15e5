"""Reports about all customers, worked out by hand, on every storage."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from crmkit import CRMService, InvalidInput, Settings
from crmkit.ports.storage import Storage
from crmkit.reporting.report import Report
from crmkit.testing import FrozenClock

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
"""Where the clock of the tests stands."""


def guest(crm: CRMService, who: str, **profile: Any) -> str:
    return crm.find_or_create({"email": f"{who}@mail.com", **profile}).id


def told(crm: CRMService, who: str, kind: str, *days_ago: float, **payload: Any) -> None:
    for days in days_ago:
        crm.track_activity(who, kind, payload, at=NOW - timedelta(days=days))


def figure(report: Report, name: str) -> Any:
    return dict(report.figures)[name]


class TestActive:
    def test_within_30_60_and_90_days(self, crm: CRMService) -> None:
        """A window holds who came less than so many days ago; a lead only counts as customer."""
        for name, days in (("a", 29), ("b", 30), ("c", 59), ("d", 89), ("e", 90)):
            told(crm, guest(crm, name), "visit", days)
        guest(crm, "lead")
        found = crm.reports.active()
        assert found.rows == (
            ("30 days", 1, 1 / 6), ("60 days", 3, 3 / 6), ("90 days", 4, 4 / 6), ("ever", 5, 5 / 6),
        )  # fmt: skip
        assert figure(found, "Customers") == 6

    def test_as_of_the_past(self, crm: CRMService) -> None:
        """Who was not yet known, and what came later, do not count."""
        told(crm, guest(crm, "a"), "visit", 50, 5)
        told(crm, guest(crm, "b"), "visit", 10)
        found = crm.reports.active(at=NOW - timedelta(days=15))
        assert [row[1] for row in found.rows] == [0, 1, 1, 1]
        assert figure(found, "Customers") == 1


class TestAcquisition:
    def test_by_month_of_the_first_word_of_them(self, crm: CRMService) -> None:
        told(crm, guest(crm, "a"), "visit", 40)  # 6 December
        told(crm, guest(crm, "b"), "purchase", 20, amount=5)  # 26 December
        told(crm, ana := guest(crm, "c", account_created_at="2025-11-03T10:00:00Z"), "visit", 1)
        told(crm, ana, "referral", 3, 2)
        found = crm.reports.acquisition(months=3)
        assert found.rows == (("2025-11", 1, 0, 0), ("2025-12", 2, 1, 0), ("2026-01", 0, 0, 2))
        assert figure(found, "New this month") == 0

    def test_months_are_those_of_business_days(self, storage: Storage, clock: FrozenClock) -> None:
        """At one o'clock on the first of January the night of 31 December goes on."""
        club = Settings(day_ends="06:00")
        crm = CRMService(storage, clock=clock, settings=club)
        who = guest(crm, "a")
        crm.track_activity(who, "visit", at="2026-01-01T01:00:00Z")
        assert crm.reports.acquisition(months=2).rows == (
            ("2025-12", 1, 0, 0),
            ("2026-01", 0, 0, 0),
        )


class TestChannels:
    def test_the_return_on_what_a_source_cost(self, crm: CRMService) -> None:
        """60 for 40 is half again as much; nobody came of the flyers."""
        told(crm, guest(crm, "a", source="instagram"), "purchase", 5, amount=60)
        guest(crm, "b", source="instagram")
        told(crm, guest(crm, "c"), "purchase", 5, amount=10)
        found = crm.reports.channels(costs={"instagram": 40, "flyers": "15.50"})
        assert [row[:5] for row in found.rows] == [
            ("instagram", 2, 1, Decimal(60), Decimal(30)),
            ("unknown", 1, 1, Decimal(10), Decimal(10)),
            ("flyers", 0, 0, Decimal(0), None),
        ]
        assert [row[5:] for row in found.rows] == [
            (None, Decimal(40), 0.5), (None, None, None), (None, Decimal("15.50"), -1.0),
        ]  # fmt: skip

    def test_with_a_model_it_tells_what_is_to_come(self, crm: CRMService) -> None:
        for n, source in enumerate(("a", "b", "a")):
            told(crm, guest(crm, f"g{n}", source=source), "purchase", 40 + n, 10 + n, amount=60)
        crm.insights.fit()
        worth = {v.customer_id: v.predicted for v in crm.insights.values()}
        found = {row[0]: row[5] for row in crm.reports.channels().rows}
        whole = sum(m.amount for m in worth.values() if m)
        assert sum(v for v in found.values() if isinstance(v, Decimal)) == whole > 0

    def test_a_cost_is_an_amount(self, crm: CRMService) -> None:
        with pytest.raises(InvalidInput) as caught:
            crm.reports.channels(costs={"flyers": "much"})
        assert caught.value.field == "costs.flyers"


class TestValues:
    def test_without_a_model_by_what_was_spent(self, crm: CRMService) -> None:
        for n, amount in enumerate((10, 70, 40)):
            told(crm, guest(crm, f"g{n}", name=f"Guest {n}"), "purchase", 5, amount=amount)
        guest(crm, "lead")
        found = crm.reports.values(top=2)
        assert [row[1:] for row in found.rows] == [
            ("Guest 1", Decimal(70), Decimal(70), None, None),
            ("Guest 2", Decimal(40), Decimal(40), None, None),
        ]
        assert figure(found, "Customers who bought") == 3
        assert figure(found, "Average spent") == Decimal(40)
        assert figure(found, "Average predicted") is None
        assert "no model" in found.note

    def test_with_a_model_by_both_together(self, crm: CRMService) -> None:
        """Who spent less but comes every week is worth more."""
        told(crm, guest(crm, "rich"), "purchase", 300, amount=100)
        told(crm, often := guest(crm, "often"), "purchase", 22, 15, 8, 1, amount=20)
        crm.insights.fit()
        found = crm.reports.values()
        value = crm.get_lifetime_value(often)
        assert value.total is not None
        assert found.rows[0][0] == often
        assert found.rows[0][2] == value.total.amount
        assert found.rows[0][5] == pytest.approx(value.p_active)


class TestRetention:
    def test_who_came_again(self, crm: CRMService) -> None:
        """In December came a and b, of whom a came in January; c is new in January."""
        told(crm, guest(crm, "a"), "visit", 40, 5)
        told(crm, guest(crm, "b"), "visit", 45, 44.5)
        told(crm, guest(crm, "c"), "visit", 3)
        found = crm.reports.retention(months=2, days=30)
        assert found.rows == (("2025-12", 2, 2, 0, None), ("2026-01", 2, 1, 1, 0.5))
        assert figure(found, "Repeat rate") == 2 / 3
        assert figure(found, "30-day retention rate") == 1 / 2
        assert figure(found, "30-day churn rate") == 1 / 2

    def test_of_nobody_nothing_is_told(self, crm: CRMService) -> None:
        found = crm.reports.retention(months=1)
        assert found.rows == (("2026-01", 0, 0, 0, None),)
        assert {cell for _, cell in found.figures} == {None}


def test_cohorts_are_those_of_insights(crm: CRMService) -> None:
    told(crm, guest(crm, "a"), "visit", 80, 40)  # 27 October, 6 December
    told(crm, guest(crm, "b"), "visit", 85)
    found = crm.reports.cohorts(months=3)
    assert found.columns == ("month", "customers", "month_1", "month_2", "month_3")
    assert found.rows == (("2025-10", 2, 0.0, 0.5, None),)
    rolling = crm.reports.cohorts(months=3, rolling=True)
    assert rolling.rows == (("2025-10", 2, 0.5, 0.5, None),)


def test_segments_with_their_comings_and_goings(crm: CRMService, clock: FrozenClock) -> None:
    crm.segments.create("seen", {"field": "last_visit", "operator": "within", "value": "5d"})
    crm.segments.create("all", {"field": "activities", "operator": ">=", "value": 0})
    told(crm, guest(crm, "a"), "visit", 1)
    guest(crm, "b")
    clock.advance(days=10)
    told(crm, guest(crm, "c"), "visit", -10)
    crm.run_due()
    found = crm.reports.segments()
    assert found.rows == (("all", 3, 1.0, 3, 0), ("seen", 1, 1 / 3, 2, 1))


class TestDistribution:
    def test_every_one_counts_each_customer_once(self, crm: CRMService) -> None:
        """Of value only those who bought."""
        for n in range(5):
            told(crm, guest(crm, f"g{n}"), "purchase", *range(5, 5 + n), amount=90)
        crm.insights.fit()
        for of in ("lifecycle", "spending", "frequency", "tier", "journey", "rfm", "churn"):
            found = crm.reports.distribution(of)
            counts = [row[1] for row in found.rows]
            assert sum(n for n in counts if isinstance(n, int)) == (
                4 if of in ("rfm", "churn") else 5
            )
        lifecycle = {row[0]: row[1] for row in crm.reports.distribution("lifecycle").rows}
        assert lifecycle == {"lead": 1, "new": 4, "active": 0, "at_risk": 0, "churned": 0}

    def test_tiers_as_of_the_past(self, crm: CRMService, clock: FrozenClock) -> None:
        """A customer is counted in the tier of that instant."""
        who = guest(crm, "a")
        guest(crm, "b")
        first, second, *_ = crm.settings.programme.tiers
        clock.advance(days=2)
        crm.loyalty.set_tier(who, second.name, reason="a friend of the house")
        clock.advance(days=2)
        for at, of_the_first in (("2026-01-16T12:00:00Z", 2), ("2026-01-18T12:00:00Z", 1)):
            rows = {row[0]: row[1] for row in crm.reports.distribution("tier", at=at).rows}
            assert (rows[first.name], rows[second.name]) == (of_the_first, 2 - of_the_first)

    def test_an_unknown_one_is_refused(self, crm: CRMService) -> None:
        with pytest.raises(InvalidInput, match="did you mean 'tier'"):
            crm.reports.distribution("tiers")


def test_consent_by_purpose_and_channel(crm: CRMService) -> None:
    """What was withdrawn counts as withdrawn; who said nothing as neither."""
    a, b, c = (guest(crm, n) for n in "abc")
    for who in (a, b):
        crm.gdpr.consents.give(who, "email", source="form", at=NOW - timedelta(days=9))
    crm.gdpr.consents.withdraw(b, "email", at=NOW - timedelta(days=2))
    crm.gdpr.consents.give(c, "sms", source="form", at=NOW - timedelta(days=1))
    assert crm.reports.consent().rows == (
        ("marketing", "email", 1, 1, 1 / 3),
        ("marketing", "sms", 1, 0, 1 / 3),
    )


class TestBirthdays:
    def test_todays_first(self, crm: CRMService) -> None:
        """The window is of whole days from today on; the year of birth tells how old one gets."""
        today = guest(crm, "a", name="Ana", birth_date="1990-01-15")
        soon = guest(crm, "b", first_name="Bo", last_name="Li", birth_date="2000-01-20")
        guest(crm, "c", birth_date="2000-01-22")
        guest(crm, "d", birth_date="2000-01-14")
        found = crm.reports.birthdays(days=7)
        assert found.rows == (
            (date(2026, 1, 15), "Ana", 36, today),
            (date(2026, 1, 20), "Bo Li", 26, soon),
        )

    def test_over_the_turn_of_the_year_and_on_29_february(
        self, storage: Storage, clock: FrozenClock
    ) -> None:
        crm = CRMService(storage, clock=clock)
        clock.advance(days=335)  # 16 December
        guest(crm, "a", birth_date="1992-02-29")
        guest(crm, "b", birth_date="1990-01-02")
        found = [row[0] for row in crm.reports.birthdays(days=80).rows]
        assert found == [date(2027, 1, 2), date(2027, 2, 28)]


def test_promoters_with_their_commission(crm: CRMService) -> None:
    """Guests count once, stories each; what was called off brings nothing."""
    a, b = guest(crm, "a"), guest(crm, "b")
    told(crm, a, "booking", 9, booking_id="1", amount=100, promoter="Max")
    told(crm, a, "visit", 8, promoter="Max")
    told(crm, b, "booking", 7, booking_id="2", amount=50, promoter="Max")
    told(crm, b, "booking", 7, booking_id="3", amount=70, promoter="Eva")
    told(crm, b, "cancellation", 6, booking_id="3")
    told(crm, b, "booking", 200, booking_id="4", amount=30, promoter="Ida")
    found = crm.reports.promoters(since=NOW - timedelta(days=30), commission=0.1)
    assert found.rows == (("Max", 2, 3, Decimal(150), Decimal(15)),)


def test_when_customers_come(crm: CRMService) -> None:
    """15 January 2026 is a Thursday."""
    told(crm, guest(crm, "a"), "visit", 0, 7)
    told(crm, guest(crm, "b"), "visit", 1)
    found = crm.reports.visits()
    rows = {str(row[0]): row[1:] for row in found.rows}
    assert (rows["thursday"][12], rows["wednesday"][12]) == (2, 1)
    assert figure(found, "Visits") == 3


def test_revenue_by_month(crm: CRMService) -> None:
    told(crm, guest(crm, "a"), "purchase", 40, 3, 2, amount="10.50")
    assert crm.reports.revenue(months=3).rows == (
        ("2025-11", Decimal("0.00")), ("2025-12", Decimal("10.50")), ("2026-01", Decimal("21.00")),
    )  # fmt: skip


def test_what_customers_choose(crm: CRMService) -> None:
    """By how often; under the name an item bore last."""
    a, b = guest(crm, "a"), guest(crm, "b")
    told(crm, a, "purchase", 9, item_id="i1", item="Crypt", amount=20)
    told(crm, b, "purchase", 5, item_id="i1", item="The Crypt", amount=30)
    told(crm, b, "purchase", 7, item="Lab", amount=90)
    assert crm.reports.items(top=1).rows == (("The Crypt", 2, 2, Decimal(50)),)
    assert [row[0] for row in crm.reports.items().rows] == ["The Crypt", "Lab"]


# --- what all have in common ---

REPORTS: dict[str, Callable[[CRMService], Report]] = {
    "active": lambda crm: crm.reports.active(),
    "acquisition": lambda crm: crm.reports.acquisition(),
    "channels": lambda crm: crm.reports.channels(),
    "values": lambda crm: crm.reports.values(),
    "retention": lambda crm: crm.reports.retention(),
    "cohorts": lambda crm: crm.reports.cohorts(),
    "segments": lambda crm: crm.reports.segments(),
    "frequency": lambda crm: crm.reports.distribution(),
    "consent": lambda crm: crm.reports.consent(),
    "birthdays": lambda crm: crm.reports.birthdays(),
    "promoters": lambda crm: crm.reports.promoters(),
    "visits": lambda crm: crm.reports.visits(),
    "revenue": lambda crm: crm.reports.revenue(),
    "items": lambda crm: crm.reports.items(),
}


@pytest.fixture
def busy(crm: CRMService) -> CRMService:
    """A place with a guest of each kind, one with a hostile name."""
    crm.segments.create("all", {"field": "activities", "operator": ">=", "value": 0})
    evil = "=HYPERLINK(1)<script>"
    who = guest(crm, "a", name=evil, source=evil, birth_date="1990-01-20")
    told(crm, who, "booking", 90, 40, amount=50, item=evil, promoter=evil)
    told(crm, who, "visit", 89, 39, 2)
    told(crm, guest(crm, "b"), "purchase", 3, amount=20)
    crm.gdpr.consents.give(who, "email", source="form")
    crm.insights.fit()
    return crm


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_a_document_a_file_and_a_picture(busy: CRMService, name: str) -> None:
    """The same numbers in all, and nothing that a program would run."""
    found = REPORTS[name](busy)
    document = found.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert document["report"] == name
    assert len(document["rows"]) == len(found.rows) > 0
    sheet = list(csv.reader(io.StringIO(found.to_csv())))
    assert sheet[0] == list(found.columns)
    assert len(sheet) == 1 + len(found.rows)
    assert not [cell for row in sheet for cell in row if cell.startswith("=")]
    picture = ET.fromstring(found.to_svg())  # noqa: S314 - made here a line ago
    assert picture.findtext("{http://www.w3.org/2000/svg}title") == found.title
    assert "<script" not in found.to_svg()
    assert "HYPERLINK" not in repr(found)


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_about_nobody_is_a_report(crm: CRMService, name: str) -> None:
    found = REPORTS[name](crm)
    assert found.to_dict()["report"] == name
    assert ET.fromstring(found.to_svg()).tag.endswith("svg")  # noqa: S314 - made here


class _Headings(HTMLParser):
    """The headings of a page, and whatever would load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.foreign: list[str] = []
        self._in = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in = tag == "h2"
        names = {name for name, _ in attrs}
        if tag in ("script", "iframe", "img", "object") or "src" in names or "onclick" in names:
            self.foreign.append(tag)

    def handle_data(self, data: str) -> None:
        if self._in:
            self.found.append(data)
            self._in = False


def test_all_of_them_on_one_page(busy: CRMService) -> None:
    """Every report has its section with the numbers as a table; the page loads and runs nothing."""
    html = busy.reports.page(title="A <place>").to_html()
    read = _Headings()
    read.feed(html)
    assert read.foreign == []
    assert {ask(busy).title for ask in REPORTS.values()} <= set(read.found)
    assert html.count("Same numbers as a table") == len(read.found) - 1
    assert "A &lt;place&gt;" in html


def test_a_page_without_a_model_leaves_out_churn(crm: CRMService) -> None:
    assert "Customers by churn" not in crm.reports.page().to_html()
    crm.insights.fit()
    assert "Customers by churn" in crm.reports.page().to_html()


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda crm: crm.reports.acquisition(months=0), "months"),
        (lambda crm: crm.reports.cohorts(months=121), "months"),
        (lambda crm: crm.reports.values(top=0), "top"),
        (lambda crm: crm.reports.items(top=True), "top"),
        (lambda crm: crm.reports.retention(days=0), "days"),
        (lambda crm: crm.reports.birthdays(days=367), "days"),
        (lambda crm: crm.reports.segments(days="7"), "days"),
        (lambda crm: crm.reports.active(at="yesterday"), "at"),
        (lambda crm: crm.reports.promoters(since="yesterday"), "since"),
        (lambda crm: crm.reports.promoters(commission=-0.1), "commission"),
        (lambda crm: crm.reports.promoters(commission=float("nan")), "commission"),
    ],
)
def test_what_cannot_be_asked(
    crm: CRMService, ask: Callable[[CRMService], object], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(crm)
    assert caught.value.field == field
