"""The record of processing: all that is stored is in it, and nothing is made up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from crmkit import (
    CRMService,
    KeyRing,
    MemoryStorage,
    PrivacyNotice,
    Purpose,
    RetentionPolicy,
    Settings,
)
from crmkit.gdpr.processing import _AREAS, ProcessedRecord
from crmkit.model import Data, Entry, catalogue
from crmkit.ports.holders import HeldTable
from crmkit.testing import FrozenClock


@pytest.fixture
def crm() -> CRMService:
    return CRMService(MemoryStorage(), clock=FrozenClock(), tenant="club | one")


def _of(crm: CRMService, entry: Entry) -> ProcessedRecord:
    areas = crm.gdpr.processing_record().areas.values()
    (found,) = (r for _, records in areas for r in records if r.table == entry.table)
    return found


def test_each_table_and_each_personal_field_is_on_the_page(crm: CRMService) -> None:
    """With its category."""
    page = crm.gdpr.processing_record().markdown()
    for entry in catalogue():
        (row,) = (line for line in page.splitlines() if f"| `{entry.table}` |" in line)
        for column in entry.columns:
            for c in (column, *column.nested):
                if c.data.personal:
                    told = re.search(rf"\*\*{c.data.value}\*\*: ([\w, ]+)", row)
                    assert told is not None, (entry.table, c.data)
                    assert c.name in told[1].strip().split(", "), (entry.table, c.name)
    for kind in Data:
        assert (f"**{kind.value}**" in page) is kind.personal, kind


@pytest.mark.parametrize("entry", catalogue(), ids=lambda e: e.table)
def test_whose_a_record_is_and_what_erasure_does(crm: CRMService, entry: Entry) -> None:
    record = _of(crm, entry)
    assert (record.subjects == "customers") is (entry.owner is not None)
    assert entry.reason in record.erasure
    assert bool(record.fields) is bool(record.origins)


def test_only_the_audit_speaks_of_staff(crm: CRMService) -> None:
    assert [e.table for e in catalogue() if _of(crm, e).subjects == "staff"] == ["crm_audit"]


def test_every_area_has_a_purpose(crm: CRMService) -> None:
    """A module of records that is added says there what it is for."""
    assert {e.record.__module__.rpartition(".")[2] for e in catalogue()} <= set(_AREAS)
    purposes = {purpose for purpose, _ in crm.gdpr.processing_record().areas.values()}
    assert "to be stated" not in purposes


@pytest.mark.parametrize("level", ["acts", "writes", "reads"])
def test_measures_are_those_of_the_settings(crm: CRMService, level: str) -> None:
    audited = crm.for_tenant("x", settings=Settings(audit=level))
    record = audited.gdpr.processing_record()
    assert ("all writes" in record.measures["Audit"]) is (level != "acts")
    assert ("reads" in record.measures["Audit"]) is (level == "reads")
    assert record.measures["Encryption of personal fields"] == "off"


def test_what_nobody_stated_is_to_be_stated(crm: CRMService) -> None:
    """The controller, the basis, transfers and time limits; never a guess."""
    page = crm.gdpr.processing_record().markdown()
    for word in ("controller", "lawful basis", "recipients", "third countries", "time limits"):
        assert re.search(rf"^- \[ \] .*{word}", page, re.MULTILINE), word


class _Bookings:
    name = "bookings"

    def describe(self) -> Sequence[HeldTable]:
        return [
            HeldTable(
                table="bookings",
                fields={"guest_id": "whose it is", "wishes": "free text | of\nguests"},
                purpose="keeping the reservation",
                recipients=("the kitchen",),
            )
        ]

    def export(self, tx: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
        return [{"tx": tx, "ids": len(ids)}]

    def erase(self, tx: Any, ids: Sequence[str]) -> dict[str, int]:
        return {"bookings": len(ids) if tx else 0}


def test_holders_tables_are_in_it(crm: CRMService) -> None:
    """With what they left open on the list; a line cannot break out of the table."""
    crm.gdpr.register(_Bookings())
    page = crm.gdpr.processing_record().markdown()
    (row,) = (line for line in page.splitlines() if line.startswith("| `bookings` |"))
    assert row == (
        "| `bookings` | **guest_id**: whose it is; **wishes**: free text \\| of guests"
        " | keeping the reservation | to be stated | to be stated | the kitchen |"
    )
    assert "- [ ] retention of the table `bookings`" in page
    assert "- [ ] purpose of the table `bookings`" not in page


def test_the_page_is_a_page(crm: CRMService) -> None:
    """Each table of it has as many cells in each row; the tenant's name is made harmless."""
    page = crm.gdpr.processing_record().markdown()
    assert page.startswith("# Record of processing activities\n\nGDPR Art. 30(1). Tenant: club \\|")
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_what_the_controller_states_is_on_the_page_and_no_longer_open() -> None:
    """In their own words; what they leave out stays to be stated."""
    notice = PrivacyNotice(
        controller="Crypt SRL", contact="privacy@crypt.ro", recipients=(), retention="ten years",
        purposes=[Purpose(name="bookings", legal_basis="contract")],
    )  # fmt: skip
    policy = RetentionPolicy(name="old notes", of="notes", after="24mo")
    settings = Settings(privacy=notice, retention=[policy])
    keys = KeyRing({"2026": bytes(32)})
    record = CRMService(MemoryStorage(), settings=settings, keys=keys).gdpr.processing_record()
    assert record.stated == {
        "Controller": "Crypt SRL",
        "Contact": "privacy@crypt.ro",
        "Recipients": "none",
        "Kept": "ten years",
        "Purpose: bookings": "contract",
        "Policy: old notes": "notes after 24mo: delete",
    }
    articles = [re.findall(r"30\(1\)\(\w\)", text)[0] for text in record.to_state]
    assert articles == ["30(1)(a)", "30(1)(e)", "30(1)(g)"]
    assert record.measures["Encryption of personal fields"] == "on"
    assert "| Controller | Crypt SRL |" in record.markdown()
