"""A copy of everything: complete by the catalogue, without anybody else, in four forms."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest

from crmkit import CRMService, InvalidInput, NotFound, Settings
from crmkit.gdpr import portable
from crmkit.gdpr.disclosing import SOMEBODY, of_others
from crmkit.gdpr.export import Export
from crmkit.gdpr.exporting import reading_order
from crmkit.model import Activity, Data, Note, Origin, catalogue
from crmkit.model.catalogue import evolved, owned
from crmkit.ports.storage import Storage, UnitOfWork
from crmkit.privacy_settings import PrivacyNotice, Purpose
from crmkit.testing import FrozenClock
from tests.canaries import canaries
from tests.populate import canary, populate, rows

STAFF = (
    "author", "host", "owner", "waiter", "manager", "actor of merge", "clerk", "lawyer", "judge",
)  # fmt: skip
"""The canaries in which somebody else is named."""


@pytest.fixture
def person(crm: CRMService) -> str:
    return populate(crm)


def unshown(
    export: Export, stored: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[tuple[str, str]]:
    """The personal columns that hold something of the person and are in no way in the copy."""
    withheld = {(w.table, w.field) for w in export.withheld}
    return [
        (entry.table, column.name)
        for entry in owned()
        for column in entry.columns
        if column.personal
        and any(
            row[entry.owner or ""] == export.customer_id
            and row[column.name] not in (None, (), {}, [])
            for row in stored[entry.table]
        )
        and not any(column.name in row for row in export.records.get(entry.table, ()))
        and (entry.table, column.name) not in withheld
    ]


def test_every_personal_column_is_in_the_copy(
    crm: CRMService, storage: Storage, person: str
) -> None:
    """By the catalogue: each that holds something is shown, or named as withheld.

    A record or column that is added needs nothing to be done for it. A copy that leaves out
    any one of them is noticed.
    """
    friend = crm.find_or_create({"nickname": "friend"})
    bill = {"amount": 80, "participants": [{"customer_id": person}]}
    crm.track_activity(friend.id, "purchase", bill)
    crm.segments.change("by rule", rules={"field": "bookings", "operator": ">", "value": 99})
    stored = rows(storage, crm.tenant)
    export = crm.gdpr.export(person)
    assert unshown(export, stored) == []
    seen = {(t, name) for t, found in export.records.items() for row in found for name in row}
    personal = {(e.table, c.name) for e in owned() for c in e.columns if c.personal}
    assert len(personal & seen) > 100
    hidden = {(w.table, w.field) for w in export.withheld}
    for table, name in sorted((personal & seen) - hidden):
        less = [{k: v for k, v in row.items() if k != name} for row in export.records[table]]
        twin = attrs.evolve(export, records={**export.records, table: less})
        assert unshown(twin, stored) == [(table, name)]


def test_every_canary_but_those_of_others_is_in_the_copy(
    crm: CRMService, person: str, storage: Storage
) -> None:
    """What is stored about the person in any text comes out again, as JSON and as HTML."""
    export = crm.gdpr.export(person)
    of_staff = {canary(name) for name in STAFF}
    held = canaries(str(rows(storage, crm.tenant)))
    for told in (export.json(), export.html()):
        assert canaries(told) == held - of_staff
    assert of_staff <= held


def test_nobody_else_is_disclosed(crm: CRMService, person: str) -> None:
    """Who wrote a note, who shared a bill, who came by a referral: neither names nor ids."""
    friend = crm.find_or_create({"name": "Friend"}).id
    payer = crm.find_or_create({"name": "Payer"}).id
    bill = {"amount": 90, "participants": [{"customer_id": friend, "share": 0.5}]}
    crm.track_activity(person, "purchase", bill)
    crm.track_activity(person, "referral", {"referred_customer_id": friend})
    theirs = {"amount": 60, "item": "Pizza", "participants": [{"customer_id": person}]}
    crm.track_activity(payer, "purchase", theirs)
    code = crm.loyalty.referrals.code(person)
    crm.loyalty.referrals.accept(friend, code)
    for kind in ("access", "portability"):
        export = crm.gdpr.export(person, kind)
        for told in (export.json(), export.html()):
            assert friend not in told
            assert payer not in told
    access = crm.gdpr.export(person)
    (shared,) = access.worked_out["shared"]
    assert (shared["item"], shared["part"] * 2) == ("Pizza", shared["of"])
    payloads = [row.get("payload", {}) for row in access.records["crm_activities"]]
    assert {"referred_customer_id": SOMEBODY} in payloads
    assert [p["participants"] for p in payloads if "participants" in p] == [
        [{"customer_id": SOMEBODY, "share": 0.5}]
    ]
    withheld = {(w.table, w.field) for w in access.withheld}
    assert {("crm_notes", "author"), ("crm_activities", "payload")} <= withheld


def test_a_merge_that_was_undone_names_nobody(crm: CRMService) -> None:
    """The other is another person again, so their id is withheld."""
    one, other = (crm.find_or_create({"name": n}).id for n in ("Ana Pop", "Zoe Dan"))
    merge = crm.identity.merge(one, other, reason="same")
    assert other in crm.gdpr.export(one).json()
    assert crm.gdpr.export(other).customer_id == one
    crm.identity.unmerge(merge.id)
    assert other not in crm.gdpr.export(one).json()
    assert one not in crm.gdpr.export(other).json()


def test_a_link_that_nobody_gave_is_somebody_elses() -> None:
    """Whoever adds a field for who acted need not think of it; a booking's id is no person."""
    masked = {
        (entry.record, column.name)
        for entry in catalogue()
        for column in entry.columns
        if of_others(entry, column)
    }
    links = {
        (entry.record, column.name)
        for entry in catalogue()
        for column in entry.columns
        if column.data is Data.LINK and column.origin is not Origin.PROVIDED
    }
    assert (Note, "author") in masked
    assert links - masked == {(Activity, "reference")}


def test_segments_bear_their_names(crm: CRMService, person: str) -> None:
    """Memberships by hand, and what rules say now, though nobody stored it."""
    export = crm.gdpr.export(person)
    assert {row["segment"] for row in export.records["crm_segment_customers"]} == {
        "by hand", "fixed",
    }  # fmt: skip
    assert set(export.worked_out["segments"]) == {"by hand", "fixed", "by rule", "by rank"}
    assert export.worked_out["lifetime_value"]["currency"] == "EUR"


def test_what_the_host_states_is_told_and_the_rest_is_missing(
    storage: Storage, clock: FrozenClock
) -> None:
    """Art. 15(1)(a) to (h) and (2); nothing is made up."""
    notice = PrivacyNotice(
        controller="Club SRL, Str. Lunga 1, Cluj",
        purposes=[
            Purpose(name="taking bookings", legal_basis="contract", retention="three years"),
            Purpose(name="a points scheme", tables=["crm_loyalty_entries"]),
        ],
        recipients=[],
    )
    crm = CRMService(storage, clock=clock, settings=Settings(privacy=notice))
    ana = crm.find_or_create({"name": "Ana"}).id
    export = crm.gdpr.export(ana)
    assert export.missing == (
        "contact", "retention", "authority", "source", "automated", "transfers",
    )  # fmt: skip
    information = export.to_dict()["information"]
    assert information["purposes"] == [
        "taking bookings; legal basis: contract; kept: three years", "a points scheme",
    ]  # fmt: skip
    assert (information["recipients"], information["transfers"]) == ([], None)
    assert information["categories"] == ["behaviour", "free text", "name"]
    profile = export.to_dict()["tables"]["crm_customers"]
    assert (profile["purposes"], profile["legal_bases"]) == (["taking bookings"], ["contract"])
    assert profile["fields"]["name"] == {"category": "name", "origin": "provided"}
    diet = {"category": "special category", "origin": "provided"}
    assert profile["fields"]["preferences.dietary"] == diet


def test_a_purpose_of_an_unknown_table_is_refused(storage: Storage) -> None:
    notice = PrivacyNotice(purposes=[Purpose(name="x", tables=["crm_note"])])
    with pytest.raises(InvalidInput, match="did you mean 'crm_notes'"):
        CRMService(storage, settings=Settings(privacy=notice)).gdpr  # noqa: B018 - made when asked


def test_an_unknown_kind_is_refused(crm: CRMService, person: str) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'access'"):
        crm.gdpr.export(person, "acess")


def test_who_never_was_is_not_found(crm: CRMService) -> None:
    for kind in ("access", "portability"):
        with pytest.raises(NotFound):
            crm.gdpr.export("nobody", kind)


def test_an_erased_customer_has_nothing(crm: CRMService, person: str) -> None:
    """Both kinds say when, and every form can be made."""
    receipt = crm.gdpr.erase(person)
    for kind in ("access", "portability"):
        export = crm.gdpr.export(person, kind)
        assert export.is_empty
        assert export.erased_at == receipt.erased_at
        assert "Nothing is held" in export.html()
        assert json.loads(export.json())["records"] == {}


def test_rows_are_read_by_an_index(storage: Storage) -> None:
    """For each record there is an order in which pages neither miss nor repeat a row."""
    for entry in owned():
        order = reading_order(entry)
        assert not [f for f in order if entry.column(f).optional], entry.table
        assert {*entry.key[1:]} <= {*order, entry.owner}, entry.table

    def many(uow: UnitOfWork) -> None:
        note = Note(
            tenant="t", id="", customer_id="c", text="x", kind="general",
            occurred_at=FrozenClock()(), recorded_at=FrozenClock()(),
        )  # fmt: skip
        uow.add_many(evolved(note, id=f"{n:04}") for n in range(2_100))

    storage.write("t", many)
    crm = CRMService(storage, tenant="t")
    notes = crm.gdpr.export("c").records["crm_notes"]
    assert [note["id"] for note in notes] == [f"{n:04}" for n in range(2_100)]


def test_what_is_portable_was_decided() -> None:
    """A record that holds what a person provided is in the document, or there is a reason."""
    assert [e.table for e in owned() if not portable.is_decided(e)] == []
    assert set(portable.left_out()).isdisjoint(
        {"crm_customers", "crm_tags", "crm_consents", "crm_activities"}
    )


def test_the_document_to_take_along_has_nothing_inferred(crm: CRMService, person: str) -> None:
    """Neither scores, points, segments and notes, nor who worked for the business."""
    told = crm.gdpr.export(person, "portability").json()
    assert "conversion_score" not in told
    for name in ("note", "reason", "reason of tier", "free_beverage", *STAFF):
        assert canary(name) not in told
    for name in ("name", "dress", "deep", "first tag", "form", "payload", "other name"):
        assert canary(name) in told


# --- forms ---


def test_json_is_the_document(crm: CRMService, person: str, tmp_path: Path) -> None:
    export = crm.gdpr.export(person)
    assert json.loads(export.json()) == export.to_dict()
    export.to_json(tmp_path / "copy.json")
    assert (tmp_path / "copy.json").read_text(encoding="utf-8") == export.json()


def test_csv_is_a_sheet_for_each_table(crm: CRMService, person: str, tmp_path: Path) -> None:
    """In a folder or a ZIP archive, the same bytes; no cell is a formula."""
    crm.customers.add_note(person, '=HYPERLINK("http://x")')
    export = crm.gdpr.export(person)
    folder = tmp_path / "copy"
    folder.mkdir()
    names = export.csv(folder)
    assert {f"{table}.csv" for table in export.records} <= set(names)
    archive = io.BytesIO()
    assert export.csv(archive) == names
    with zipfile.ZipFile(archive) as opened:
        assert {n: opened.read(n) for n in names} == {n: (folder / n).read_bytes() for n in names}
    with (folder / "crm_notes.csv").open(encoding="utf-8-sig", newline="") as file:
        notes = list(csv.DictReader(file))
    assert len(notes) == len(export.records["crm_notes"])
    assert any(note["text"].startswith("'=HYPERLINK") for note in notes)
    assert all(note["author"] in ("", SOMEBODY) for note in notes)
    export.csv(tmp_path / "copy.zip")
    assert (tmp_path / "copy.zip").read_bytes() == archive.getvalue()


def test_csv_needs_a_place(crm: CRMService, person: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="folder"):
        crm.gdpr.export(person).csv(tmp_path / "none" / "copy.zip")


def test_the_page_is_for_readers(crm: CRMService, person: str) -> None:
    """Amounts in major units, the profile first; the JSON keeps minor units."""
    export = crm.gdpr.export(person)
    text = export.html()
    assert "120.50 EUR" in text
    assert "12050" not in text
    assert '"amount_minor": 12050' in export.json()
    assert text.index("Your profile") < text.index("What you did")


class Page(HTMLParser):
    """What a page is made of: its tags with their attributes, and whether they are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table></body>",
    "<a href='javascript:x'>",
    "&lt;b&gt; ]]> <!-- ",
]


def test_the_page_runs_and_fetches_nothing(crm: CRMService) -> None:
    """Whatever people wrote, as values and as keys, is text."""
    guest = crm.find_or_create(
        {"name": HOSTILE[0], "custom": {text: [text] for text in HOSTILE}, "tags": HOSTILE}
    ).id
    for text in HOSTILE:
        crm.customers.add_note(guest, text)
        crm.track_activity(guest, "visit", {text: {text: text}})
    for kind in ("access", "portability"):
        page = Page(crm.gdpr.export(guest, kind).html())
        assert page.open == []
        used = {tag for tag, _ in page.tags}
        assert not used & {"script", "img", "link", "iframe", "object", "form", "b", "base"}
        said: dict[str, Any] = {k: v for _, attrs in page.tags for k, v in attrs.items()}
        assert not [k for k in said if k.startswith("on") or k == "src"]
        links = [attrs["href"] or "" for tag, attrs in page.tags if tag == "a"]
        assert all(link.startswith("#crm_") for link in links)


def test_the_page_is_accessible(crm: CRMService, person: str) -> None:
    """A language, one main heading, captions and header cells in every table, unique ids."""
    text = crm.gdpr.export(person).html()
    page = Page(text)
    tags = [tag for tag, _ in page.tags]
    assert dict(page.tags)["html"] == {"lang": "en"}
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert tags.count("table") == tags.count("caption") > 10
    assert all(attrs.get("scope") in ("row", "col") for tag, attrs in page.tags if tag == "th")
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    linked = {str(attrs["href"])[1:] for tag, attrs in page.tags if tag == "a"}
    assert linked <= set(ids)
    assert "not stated" in text
