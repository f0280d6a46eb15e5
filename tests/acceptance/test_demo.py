"""The main job: real bookings become customers, numbers and a report; twice is once."""

from __future__ import annotations

import csv
import gzip
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import pytest
import sqlalchemy as sa

from crmkit import CRMService
from crmkit.demo import report
from crmkit.demo.bookings import PACKAGED
from crmkit.demo.run import ERASED_BY, SEGMENTS, SETTINGS, TENANT, Outcome, run
from crmkit.model import catalogue
from tests.postgres import database

LIMIT = 600
COLUMNS = (
    "booking_id,booked_at,starts_at,venue,item,party_size,booking_method,status,amount,currency,"
    "first_name,last_name,email,phone,country,birth_date,city,instagram,marketing_email"
)
GOOD = (
    "{id},2011-03-05T20:30:00,2011-03-12T19:00:00,Old Mill,The Heist,4,WEBSITE,completed,120.50,GBP"
    ",Zorica,Pop,zorica@example.org,,RO,,,,yes"
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The first bookings, read by nothing of crmkit."""
    with gzip.open(PACKAGED, "rt", encoding="utf-8", newline="") as file:
        return list(islice(csv.DictReader(file), LIMIT))


@attrs.frozen
class Twice:
    """Two runs on one database, and its rows after each."""

    url: str
    first: Outcome
    second: Outcome
    rows_before: Mapping[str, list[tuple[Any, ...]]] = attrs.field(repr=False)
    rows_after: Mapping[str, list[tuple[Any, ...]]] = attrs.field(repr=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def twice(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twice]:
    """The demo on an empty database, run twice."""
    if request.param == "sqlite":
        yield _twice(f"sqlite:///{tmp_path_factory.mktemp('demo')}/demo.db")
        return
    with database(request.getfixturevalue("postgres_url")) as url:
        yield _twice(url)


def _twice(url: str) -> Twice:
    first = run(url, limit=LIMIT)
    before = stored(url)
    second = run(url, limit=LIMIT)
    return Twice(url, first, second, before, stored(url))


def stored(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of crmkit."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {
            entry.table: sorted(
                (tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {entry.table}"))),
                key=repr,
            )
            for entry in catalogue()
        }
    engine.dispose()
    return found


def asked(twice: Twice) -> CRMService:
    """A CRM on what the runs have left."""
    return CRMService(twice.url, settings=SETTINGS, tenant=TENANT)


def file_of(folder: Path, *lines: str | bytes) -> Path:
    """A file of bookings with these lines below its header."""
    path = folder / "mine.csv"
    packed = [line if isinstance(line, bytes) else line.encode() for line in (COLUMNS, *lines)]
    path.write_bytes(b"\n".join(packed) + b"\n")
    return path


def test_every_booking_is_read_and_has_a_customer(twice: Twice) -> None:
    done = twice.first.recording

    assert (done.read, done.skipped, done.erased) == (LIMIT, 0, [])
    assert len(done.customers) == LIMIT
    assert done.created + done.recognised.total() == LIMIT
    assert done.created - done.merged == len(set(done.customers.values())) == twice.first.customers


def test_revenue_is_the_sum_of_the_completed_bookings(
    twice: Twice, rows: list[dict[str, str]]
) -> None:
    months: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "completed":
            months[row["booked_at"][:7]] += int(Decimal(row["amount"]) * 100)

    assert {month: money.minor for month, money in twice.first.revenue.items()} == months
    assert twice.first.total_revenue.minor == months.total()


def test_every_customer_stands_in_one_stage_one_band_and_one_tier(twice: Twice) -> None:
    bands, tiers = twice.first.bands, twice.first.tiers

    assert sum(bands.lifecycle.values()) == twice.first.customers
    assert sum(bands.spending.values()) == twice.first.customers
    assert sum(tiers.values()) == twice.first.customers


def test_bookings_are_tracked_as_what_became_of_them(
    twice: Twice, rows: list[dict[str, str]]
) -> None:
    kinds = {"completed": "booking", "cancelled": "cancellation", "no_show": "no_show"}
    place = [column.name for entry in catalogue() if entry.table == "crm_activities"
             for column in entry.columns].index("kind")  # fmt: skip

    tracked = Counter(row[place] for row in twice.rows_before["crm_activities"])

    assert tracked == Counter(kinds[row["status"]] for row in rows)


def test_completed_bookings_earn_points_and_parties_more(
    twice: Twice, rows: list[dict[str, str]]
) -> None:
    """Twice as many in the month of a birthday, which the lot tells."""
    names = {e.table: e.names for e in catalogue()}
    lots, entries = (
        [dict(zip(names[table], row, strict=True)) for row in twice.rows_before[table]]
        for table in ("crm_loyalty_lots", "crm_loyalty_entries")
    )
    due = sum(
        200 if row["item"] == "Birthday Party" else 100
        for row in rows
        if row["status"] == "completed"
    )

    erased = sum(e["points"] for e in entries if e["customer_id"] is None)
    assert sum(lot["full"] // int(lot["times"]) for lot in lots) + erased == due
    assert {lot["times"] for lot in lots} == {"1", "2"}
    assert sum(e["points"] for e in entries) - erased == sum(lot["full"] for lot in lots)


def test_marketing_consent_is_what_the_booking_form_last_said(
    twice: Twice, rows: list[dict[str, str]]
) -> None:
    said: dict[str, bool] = {}
    for row in rows:
        customer = twice.second.recording.customers.get(row["booking_id"])
        if customer and row["marketing_email"]:
            said[customer] = row["marketing_email"] == "yes"

    with asked(twice) as crm:
        for customer, granted in islice(said.items(), 50):
            consents = crm.gdpr.consents.history(customer)
            assert consents[-1].granted == granted
            assert {consent.source for consent in consents} == {"booking form"}


def test_segments_hold_whom_their_rules_describe(twice: Twice) -> None:
    sizes: Counter[str] = Counter()
    at = twice.second.recording.last_at
    assert at is not None
    with asked(twice) as crm:
        for customer in set(twice.second.recording.customers.values()):
            m = crm.activities.metrics(customer)
            recent = m.last_booking_at is not None and at - m.last_booking_at < timedelta(days=90)
            spent = m.spend_minor / 100
            sizes["engaged"] += spent >= 100 and (recent or m.completed_bookings >= 3)
            sizes["vip"] += spent >= 500 and m.bookings >= 5
            sizes["lapsed regulars"] += m.bookings >= 5 and not recent

    assert {s.name for s in SEGMENTS} == set(twice.second.segments)
    assert dict(twice.second.segments) == {s.name: sizes[s.name] for s in SEGMENTS}


def test_exact_matching_puts_hardly_anybody_wrongly_together(twice: Twice) -> None:
    quality, plain = twice.first.quality, twice.first.plain

    assert quality is not None
    assert plain is not None
    assert quality.records == LIMIT
    assert quality.precision > 0.97
    assert quality.recall > plain.recall
    assert quality.found < plain.found


def test_running_again_changes_no_row(twice: Twice) -> None:
    """But the audit's, which tells that somebody was exported again."""
    before, after = (
        {table: rows for table, rows in found.items() if not table.startswith("crm_audit")}
        for found in (twice.rows_before, twice.rows_after)
    )
    assert after == before
    assert len(twice.rows_before["crm_audit"]) < len(twice.rows_after["crm_audit"])


def test_running_again_finds_everything_recorded_and_the_person_erased(twice: Twice) -> None:
    first, again = twice.first.recording, twice.second.recording
    assert twice.first.person is not None
    theirs = [b for b, c in first.customers.items() if c == twice.first.person.customer_id]

    assert ERASED_BY in theirs
    assert again.erased == theirs
    assert again.created == 0
    assert again.recorded_before == LIMIT - len(theirs)


def test_running_again_erases_nobody_else(twice: Twice) -> None:
    assert twice.first.erasing is not None
    assert twice.second.erasing is None
    assert twice.second.customers == twice.first.customers - 1


def test_a_longer_run_goes_on_where_a_shorter_one_ended(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/demo.db"
    run(url, limit=100)

    longer = run(url, limit=200).recording

    assert longer.recorded_before + len(longer.erased) == 100
    assert longer.read == 200


def test_the_export_is_full_before_the_erasure_and_empty_after(twice: Twice) -> None:
    person, erasing = twice.first.person, twice.first.erasing
    assert person is not None
    assert erasing is not None

    assert person.export["records"]["crm_customers"]
    assert person.export["records"]["crm_activities"]
    assert erasing.is_empty
    assert erasing.export["records"] == {}
    assert erasing.export["erased_at"]


def test_the_sums_survive_the_erasure(twice: Twice) -> None:
    assert twice.first.erasing is not None
    assert twice.first.erasing.revenue == twice.first.total_revenue
    assert twice.second.revenue == twice.first.revenue


def test_no_byte_of_the_erased_person_is_left_in_any_table(twice: Twice) -> None:
    person = twice.first.person
    assert person is not None
    phone = person.profile["phone"]
    values = repr(twice.rows_after)

    assert len(phone) > 9
    assert phone not in values
    assert phone[-9:] not in values
    assert person.customer_id not in values
    assert all(f"'{booking.booking_id}'" not in values for booking in person.typed)


def test_no_byte_of_the_erased_person_is_left_in_the_file(tmp_path: Path) -> None:
    person = run(f"sqlite:///{tmp_path}/demo.db", limit=LIMIT).person
    assert person is not None

    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert b"bk000001" in content
    assert person.profile["phone"][-9:].encode() not in content
    assert person.customer_id.encode() not in content


class Reader(HTMLParser):
    """Reads a page, and fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "link"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_report_is_one_file_that_loads_nothing_and_runs_nothing(twice: Twice) -> None:
    html = report.page(twice.first).to_html()
    page = Reader(html)

    names = {tag for tag, _ in page.tags}
    assert "svg" in names
    assert not names & {"script", "img", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert not {"src", "srcset", "action", "onclick", "onload"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    assert "url(" not in html
    assert "@import" not in html


def test_the_report_tells_all_of_it(twice: Twice) -> None:
    text = " ".join(Reader(report.page(twice.first).to_html()).text)
    assert twice.first.person is not None

    for wanted in (
        "Bookings read", "Customers created", "Customers found", "Rows skipped",
        "Bookings per second", "Precision", "Recall", "F1", "the whole profile",
        "Revenue by month", "Customers by lifecycle", "Customers by spending band",
        "Customers by tier", "lapsed regulars", "Profile of", "Timeline of", "Export of",
        "The export is empty now", "Online Retail", "CC BY 4.0",
        str(twice.first.person.profile["name"]), f"{twice.first.customers:,}",
        f"{twice.first.total_revenue.amount:,.2f}",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert '"records": {}' in text


def test_the_report_of_a_second_run_says_that_the_person_stays_erased(twice: Twice) -> None:
    text = " ".join(Reader(report.page(twice.second).to_html()).text)

    assert twice.first.person is not None
    assert "earlier run erased" in text
    assert "Nobody else was erased" in text
    assert str(twice.first.person.profile["phone"]) not in text


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (GOOD.replace("120.50", "12O.50"), "amount"),
        (GOOD.replace("120.50", "NaN"), "amount"),
        (GOOD.replace("120.50", "-1"), "amount"),
        (GOOD.replace("120.50", "9" * 5_000), "amount"),
        (GOOD.replace("GBP", "USD"), "currency"),
        (GOOD.replace("2011-03-05T20:30:00", "5th of March"), "booked_at"),
        (GOOD.replace("2011-03-12T19:00:00", ""), "starts_at"),
        (GOOD.replace("completed", "zorica@example.org"), "status"),
        (GOOD.replace("yes", "perhaps"), "marketing_email"),
        (GOOD.replace(",4,", ",four,"), "party_size"),
        (GOOD.replace(",4,", ",999999,"), "payload.party_size"),
        (GOOD.replace("{id}", ""), "booking_id"),
        (GOOD.replace("Old Mill", "M" * 300), "payload.venue"),
        (GOOD.replace("zorica@example.org", "zorica@@example.org"), "email"),
        (GOOD.replace(",RO,", ",Romania,"), "country"),
        (GOOD.replace(",RO,,", ",RO,1990-02-30,"), "birth_date"),
        (GOOD.encode().replace(b"Zorica", b"Zoric\xe3"), "first_name"),
        (GOOD.replace("Zorica", "Zo\0rica"), "first_name"),
        (GOOD.replace("Zorica", '"Z"orica'), "row"),
        (GOOD.replace("Zorica", '"Zorica'), "row"),
        (GOOD + ",more", "row"),
        ("bk9", "row"),
    ],
)
def test_a_malformed_row_is_reported_with_its_line_and_skipped(
    tmp_path: Path, bad: str | bytes, field: str
) -> None:
    """Also where the person is fine and only the booking is not: then neither is kept."""
    unfit = bad.replace(b"{id}", b"bk2") if isinstance(bad, bytes) else bad.replace("{id}", "bk2")
    fine = GOOD.replace("{id}", "bk1").replace("Zorica", "Ion").replace("zorica", "ion")
    path = file_of(tmp_path, fine, "", unfit)
    url = f"sqlite:///{tmp_path}/demo.db"

    outcome = run(url, path=path)

    assert outcome.recording.skipped == 1
    (problem,) = outcome.recording.problems
    assert (problem.line, problem.reason.partition(":")[0]) == (4, field)
    assert "zori" not in problem.reason.lower()
    assert outcome.recording.customers.keys() == {"bk1"}
    assert "Zori" not in repr(stored(url))
    assert f"{problem.line}" in report.page(outcome).to_html()


def test_rows_after_a_malformed_one_are_read(tmp_path: Path) -> None:
    path = file_of(tmp_path, *(GOOD.replace("{id}", x) for x in ("bk1", "", "bk3")), "x", GOOD)

    done = run(f"sqlite:///{tmp_path}/demo.db", path=path).recording

    assert [problem.line for problem in done.problems] == [3, 5]
    assert (done.read, done.skipped, len(done.customers)) == (5, 2, 3)


def test_a_booking_that_comes_again_with_other_content_is_reported(tmp_path: Path) -> None:
    url, same = f"sqlite:///{tmp_path}/demo.db", GOOD.replace("{id}", "bk1")
    other = same.replace("120.50", "99.00")

    done = run(url, path=file_of(tmp_path, same, same, other)).recording

    assert [(p.line, p.reason) for p in done.problems] == [
        (4, "this key was used before with other content")
    ]
    assert done.recorded_before == 1


def test_a_file_without_bookings_gives_an_empty_report(tmp_path: Path) -> None:
    outcome = run(f"sqlite:///{tmp_path}/demo.db", path=file_of(tmp_path))

    assert outcome.recording.read == 0
    assert outcome.person is None
    assert outcome.erasing is None
    Reader(report.page(outcome).to_html())


def test_a_truth_beside_the_file_is_compared_with(tmp_path: Path) -> None:
    path = file_of(tmp_path, *(GOOD.replace("{id}", x) for x in ("bk1", "bk2", "bk3")))
    (tmp_path / "mine_truth.csv").write_text("record_id,cluster_id\nbk1,p1\nbk2,p1\nbk3,p2\n")

    quality = run(f"sqlite:///{tmp_path}/demo.db", path=path).quality

    assert quality is not None
    assert (quality.found, quality.true) == (1, 2)
    assert quality.precision == pytest.approx(1 / 3)
    assert quality.recall == 1


def test_nothing_personal_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    outcome = run(f"sqlite:///{tmp_path}/demo.db", limit=60)

    logged = caplog.text.casefold()
    assert outcome.person is not None
    for typed in outcome.person.typed:
        for value in (typed.name, typed.email, typed.phone):
            assert not value or value.casefold() not in logged
    assert "@" not in caplog.text
    assert "@" not in repr(outcome)
    assert outcome.person.typed[0].name not in repr(outcome)
